"""Mixtures of a tuned model with its base: what is averaged, what is judged on, and what ends in the folder."""

import errno
import shutil
import time

import numpy as np
import pytest

from benchmark.console import SILENT, Notes
from benchmark.encoders.dense import DenseEncoder
from benchmark.errors import BenchError
from benchmark.files import files_below, hash_file, write_jsonl, write_text
from benchmark.pipeline import Pipeline
from benchmark.provenance import Outcome
from benchmark.records import read_chunks
from benchmark.specs import BiEncoderRun
from benchmark.training import mixing
from benchmark.training.choice import Choice
from benchmark.training.job import Job
from benchmark.training.material import development_quality, read_material
from benchmark.training.mixing import mean_cosine, mix, mixed_weights, pooled
from benchmark.training.ranks import best_hits
from benchmark.weights import TRAINED_CHUNKS

RUN = BiEncoderRun(name="tuned", base="tiny", mix=[0.75, 0.25])


# --- weights --------------------------------------------------------------------------------------------------------


def test_weights_are_averaged_in_float32_and_integers_stay_the_tuned_models():
    import torch

    base = {"w": torch.tensor([0.0, 4.0]), "half": torch.tensor([1.0], dtype=torch.bfloat16), "n": torch.tensor([3])}
    tuned = {"w": torch.tensor([1.0, 0.0]), "half": torch.tensor([2.0], dtype=torch.bfloat16), "n": torch.tensor([7])}
    mixed = mixed_weights(base, tuned, 0.25)
    assert mixed["w"].tolist() == [0.25, 3.0]
    assert mixed["half"].tolist() == [1.25]
    assert mixed["half"].dtype == torch.bfloat16
    assert mixed["n"].tolist() == [7]
    # 1 + 2 ** -8 is no bfloat16: the mean of many small steps would be lost if it were taken there.
    fine = mixed_weights({"w": torch.tensor([1.0], dtype=torch.bfloat16)}, {"w": torch.tensor([1.0 + 2**-7])}, 0.5)
    assert fine["w"].tolist() == [1.0 + 2**-8]
    assert tuned["w"].tolist() == [1.0, 0.0]


def test_tied_weights_stay_tied_and_equal():
    import torch

    class Tied(torch.nn.Module):
        def __init__(self, value):
            super().__init__()
            self.first, self.last = torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2, bias=False)
            self.last.weight = self.first.weight
            self.register_buffer("seen", torch.tensor(int(value)))
            with torch.no_grad():
                self.first.weight.fill_(value)

    model = Tied(3.0)
    ours = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for share in (0.25, 0.75, 0.5):
        model.load_state_dict(mixed_weights(Tied(1.0).state_dict(), ours, share))
        assert model.last.weight is model.first.weight
        assert model.first.weight.unique().tolist() == [1.0 + 2.0 * share]
    assert int(model.seen) == 3


# --- passages to judge on -------------------------------------------------------------------------------------------


def test_the_pool_takes_what_is_wanted_then_the_best_hits_of_both_models_in_turn():
    base = np.array([[10, 11, 12], [20, 21, 22]])
    tuned = np.array([[10, 13, 14], [23, 20, 24]])
    assert pooled({5}, [base, tuned], 4).tolist() == [5, 10, 20, 23]
    assert pooled({5}, [base, tuned], 6).tolist() == [5, 10, 11, 13, 20, 23]
    assert pooled({1, 2, 3}, [base, tuned], 2).tolist() == [1, 2, 3]
    assert pooled(set(), [base, tuned], 99).tolist() == [10, 11, 12, 13, 14, 20, 21, 22, 23, 24]


def test_best_hits_are_those_of_a_full_sort(monkeypatch):
    from benchmark.training import ranks

    rng = np.random.default_rng(0)
    queries, documents = (rng.normal(size=(n, 8)).astype(np.float32) for n in (25, 60))
    monkeypatch.setattr(ranks, "_BLOCK_BYTES", 4 * 60 * 7)
    expected = np.argsort(-(queries @ documents.T), axis=1)
    np.testing.assert_array_equal(best_hits(queries, documents, 12), expected[:, :12])
    np.testing.assert_array_equal(best_hits(queries, documents, 99), expected)


def test_the_distance_is_a_mean_cosine():
    left = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    assert mean_cosine(left, left) == pytest.approx(1.0)
    assert mean_cosine(left, left[::-1]) == pytest.approx(0.0)
    assert mean_cosine(left, np.array([[0.6, 0.8], [0.6, 0.8]], dtype=np.float32)) == pytest.approx(0.7)


# --- the stage ------------------------------------------------------------------------------------------------------


def write_synthetic(domain):
    """Words of each chunk as queries, each document's last ones in the development split."""
    chunks = read_chunks(domain.chunks / "chunks.jsonl")
    rows = []
    for number, item in enumerate(chunks):
        words = item.text.split()
        rows += [
            {"id": f"{number}-{start}", "text": " ".join(words[start : start + 4]), "chunk": item.id,
             "origin": "llm" if start % 2 else "span", "type": "question" if start % 2 else "",
             "split": "train" if start < 2 else "dev", "positive_text": item.full_text}
            for start in range(8)
        ]  # fmt: skip
    domain.synthetic.mkdir(parents=True, exist_ok=True)
    write_jsonl(domain.synthetic / "queries.jsonl", rows)
    held = [row for row in rows if row["split"] == "dev"]
    write_jsonl(domain.synthetic / "dev_queries.jsonl", held)
    lines = [f"{row['id']}\t{row['chunk']}\t1\n" for row in held]
    write_text(domain.synthetic / "dev_qrels.tsv", "query-id\tcorpus-id\tscore\n" + "".join(lines))


def write_moved(base, folder):
    """The base with some noise on every weight, as if training had moved it."""
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(base), device="cpu")
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor += 0.01 * torch.randn(tensor.shape, generator=noise)
    model.save_pretrained(str(folder), create_model_card=False)


@pytest.fixture
def ready(project):
    """A job whose training left a model of other weights, with prompts of its own."""
    domain = project.domain("village")
    Pipeline(project, domain, None, SILENT).chunks()
    write_synthetic(domain)
    folder = domain.model("tuned")
    write_moved(project.root / "weights" / "tiny", folder)
    write_text(folder / TRAINED_CHUNKS, '{"chunks": ["a"]}\n')
    write_text(
        project.specs_folder / "tuned.yaml",
        "path: results/village/models/tuned\nmax_length: 64\nlicence: MIT\n"
        "prompts: {query: 'query: ', document: ''}\nprovenance: {run: tuned}\n",
    )
    tuned = Outcome(folder, False, {"outputs": {"model": "one"}, "facts": {"pairs": 20}})
    return Job(project, domain, RUN, 0, "synthetic", SILENT), tuned


def always(share):
    """A choice that keeps this share, whatever the development split says; share .25 has the best mean."""

    def told(base, mixtures, kinds, counted, seed, written):
        scores = {0.0: 0.1, **{each: 0.5 - each / 5 for each in mixtures}}
        return Choice(share, "told to", counted, False, scores, {})

    return told


def state(folder):
    from sentence_transformers import SentenceTransformer

    return {name: value.numpy() for name, value in SentenceTransformer(str(folder), device="cpu").state_dict().items()}


def test_the_mixture_is_a_whole_model_whose_weights_lie_between(ready, monkeypatch):
    from sentence_transformers import SentenceTransformer

    job, tuned = ready
    monkeypatch.setattr(mixing, "choose", always(0.75))
    outcome = mix(job, tuned)
    assert outcome.folder == job.domain.model("tuned-mixed")
    base, ours, mixed = state(job.project.root / "weights" / "tiny"), state(tuned.folder), state(outcome.folder)
    assert base.keys() == ours.keys() == mixed.keys()
    moved = 0
    for name, tensor in mixed.items():
        np.testing.assert_allclose(tensor, base[name] + 0.75 * (ours[name] - base[name]), atol=1e-6)
        moved += not np.array_equal(base[name], ours[name])
    assert moved > 10

    spec, parent = job.project.model_spec("tuned-mixed"), job.project.model_spec("tuned")
    assert spec.path == "results/village/models/tuned-mixed"
    assert (spec.prompts, spec.max_length, spec.licence) == (parent.prompts, 64, "MIT")
    assert spec.description == "tiny mixed with tuned: 75% of the tuned weights"
    assert spec.provenance["base"] == "tiny"
    assert spec.provenance["tuned"] == "tuned"
    assert spec.provenance["facts"]["choice"]["chosen"] == "mixed"
    assert "mixtures" not in spec.provenance["facts"]["choice"]
    plain = SentenceTransformer(str(outcome.folder), device="cpu")
    encoder = DenseEncoder.load(job.project, "tuned-mixed")
    expected = plain.encode(["query: a berth"], normalize_embeddings=True)
    np.testing.assert_allclose(encoder.encode(["a berth"], "query"), expected, atol=1e-6)
    assert plain.max_seq_length == 64
    assert (outcome.folder / TRAINED_CHUNKS).read_bytes() == (tuned.folder / TRAINED_CHUNKS).read_bytes()
    assert "# tuned-mixed" in (outcome.folder / "README.md").read_text()


def test_what_is_judged_in_memory_is_what_is_saved(ready):
    job, tuned = ready
    heard = Notes()
    outcome = mix(Job(job.project, job.domain, RUN, 0, "synthetic", heard), tuned)
    material = read_material(job.domain, None, 0)
    facts = outcome.facts
    for name, key in (("tiny", "before"), ("tuned", "tuned"), ("tuned-mixed", "after")):
        found = development_quality(job.domain, DenseEncoder.load(job.project, name), material, SILENT)
        assert facts["development"][key] == pytest.approx(found.means(material.counted), abs=1e-6)
    assert facts["development"]["queries"] == material.counted
    chosen = {row["share"]: row["score"] for row in facts["choice"]["mixtures"]}
    assert set(chosen) == {0.0, 0.25, 0.75, 1.0}
    assert facts["saved_share"] in {0.25, 0.75}
    assert facts["judged_on"].startswith(f"{len(material.chunks)} of {len(material.chunks)} passages by ")
    assert 0.5 < facts["distance"]["documents"] < 0.999
    assert any(f"{facts['choice']['chosen']}: {facts['choice']['why']}" in line for line in heard.lines)


@pytest.mark.parametrize(
    ("chosen", "word", "saved"), [(0.0, "base", 0.25), (1.0, "tuned", 0.25), (0.75, "mixed", 0.75)]
)
def test_the_best_mixture_is_saved_whatever_is_chosen(ready, monkeypatch, chosen, word, saved):
    job, tuned = ready
    monkeypatch.setattr(mixing, "choose", always(chosen))
    facts = mix(job, tuned).facts
    assert (facts["choice"]["chosen"], facts["choice"]["share"], facts["saved_share"]) == (word, chosen, saved)


def test_nothing_is_done_again_until_something_changes(ready):
    job, tuned = ready
    assert not mix(job, tuned).skipped
    emitted = (job.project.specs_folder / "tuned-mixed.yaml").read_bytes()
    assert mix(job, tuned).skipped
    assert (job.project.specs_folder / "tuned-mixed.yaml").read_bytes() == emitted
    again = Outcome(tuned.folder, False, {"outputs": {"model": "two"}, "facts": tuned.facts})
    assert not mix(job, again).skipped
    assert not mix(job.with_run(RUN.model_copy(update={"mix": [0.5]})), again).skipped


def test_of_a_large_corpus_only_a_pool_is_encoded_for_mixtures(ready, monkeypatch):
    job, tuned = ready
    material = read_material(job.domain, None, 0)
    whole = len(material.chunks)
    monkeypatch.setattr(mixing, "MOST_QUERIES", 4)
    monkeypatch.setattr(mixing, "MOST_PASSAGES", 5)
    for name in ("tiny", "tuned"):
        development_quality(job.domain, DenseEncoder.load(job.project, name), material, SILENT)
    encoded = []
    original = DenseEncoder.encode

    def spy(self, texts, role, *more):
        encoded.append((role, len(texts)))
        return original(self, texts, role, *more)

    monkeypatch.setattr(DenseEncoder, "encode", spy)
    facts = mix(job, tuned).facts
    assert whole > 5
    made = 4 if material.made else 0
    assert encoded == [("query", 4 + made), ("document", 5)] * 2 + [("document", 1)]  # the last before it is saved
    assert facts["judged_on"] == f"5 of {whole} passages by 4 of {material.counted} development queries"
    assert facts["development"]["queries"] == 4


def test_all_relevant_passages_are_judged_on(ready):
    job, _ = ready
    material = read_material(job.domain, None, 0)
    vectors = np.eye(len(material.chunks), 8, dtype=np.float32)
    asked = material.judged
    found = mixing.Judged(
        np.ones((len(asked), 8), dtype=np.float32), vectors, [a.relevant for a in asked], material.ids
    )
    ground = mixing.Ground.of(material, found, found, 0)
    assert {row for item in asked for row in item.relevant} <= set(ground.passages.tolist())


def test_models_that_do_not_match_are_not_mixed(ready):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense

    job, tuned = ready
    model = SentenceTransformer(str(tuned.folder), device="cpu")
    model.append(Dense(32, 16))
    model.save_pretrained(str(tuned.folder), create_model_card=False)
    with pytest.raises(BenchError, match=r"tuned: cannot be mixed with its base: 2 of .* set 'mix: \[\]'"):
        mix(job, tuned)
    assert not job.domain.model("tuned-mixed").exists()


def test_a_full_disk_is_told_and_leaves_nothing(ready, monkeypatch):
    job, tuned = ready

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mixing, "_save", full)
    with pytest.raises(BenchError, match="tuned: cannot write to "):
        mix(job, tuned)
    assert not job.domain.model("tuned-mixed").exists()
    assert "tuned-mixed" not in job.project.spec_names


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): hash_file(path)
        for path in files_below(folder)
        if path.name != "manifest.json"
    }


def test_killed_in_the_middle_and_started_again_it_ends_with_the_same_bytes(ready, start):
    job, tuned = ready
    root = str(job.project.root)
    code = f"""
    import time
    from pathlib import Path
    import benchmark.training.mixing as module
    from benchmark.console import SILENT
    from benchmark.project import Project
    from benchmark.provenance import Outcome
    from benchmark.specs import BiEncoderRun
    from benchmark.training.job import Job
    save = module._save
    def slow(*given):
        save(*given)
        (Path({root!r}) / "written").touch()
        time.sleep(60)
    module._save = slow
    project = Project(Path({root!r}))
    domain = project.domain("village")
    run = BiEncoderRun.model_validate_json({RUN.model_dump_json()!r})
    tuned = Outcome(domain.model("tuned"), False, {tuned.manifest!r})
    module.mix(Job(project, domain, run, 0, "synthetic", SILENT), tuned)
    """
    mark = job.project.root / "written"
    process = start(code)
    while not mark.exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert mark.exists(), process.stderr
    folder = job.domain.model("tuned-mixed")
    assert not folder.exists()
    assert "tuned-mixed" not in job.project.spec_names
    first = tree(mix(job, tuned).folder)
    shutil.rmtree(folder)
    shutil.rmtree(job.domain.results.parent / ".vectors")
    assert tree(mix(job, tuned).folder) == first
