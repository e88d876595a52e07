"""Training on a tiny model: what it emits, that it goes on after a kill, and that mistakes are clear."""

import hashlib
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark.console import SILENT, Notes
from benchmark.encoders.dense import DenseEncoder
from benchmark.errors import BenchError
from benchmark.files import iter_jsonl, write_jsonl, write_text
from benchmark.pipeline import Pipeline
from benchmark.provenance import Outcome
from benchmark.records import read_chunks
from benchmark.specs import AdapterRun, BiEncoderRun, CrossEncoderRun, HybridRun
from benchmark.training import biencoder, labelled
from benchmark.training.batches import GroupedBatches, RowShapes
from benchmark.training.data import passage_ids, read_table
from benchmark.training.finetune import finetune
from benchmark.training.loop import last_checkpoint
from benchmark.weights import TRAINED_CHUNKS, model_fingerprint, weights_hash

SETTINGS = {
    "base": "tiny",
    "epochs": 1.0,
    "batch_size": 8,
    "mini_batch_size": 4,
    "learning_rate": 1e-3,
    "max_length": 48,
}
SPEC = BiEncoderRun(name="tuned", mix=[], **SETTINGS)
DEVELOPMENT = 24
CROSS = CrossEncoderRun(name="cross", **SETTINGS)


def write_synthetic(domain, rows=48):
    """Training tables in the generate stage's format, from the domain's own chunks."""
    chunks = read_chunks(domain.chunks / "chunks.jsonl")
    texts = [chunk.full_text for chunk in chunks]
    anchors = [f"{' '.join(texts[i % len(texts)].split()[3 : 8 + i // len(texts)])}" for i in range(rows)]
    positives = [texts[i % len(texts)] for i in range(rows)]
    negatives = [texts[(i + 1) % len(texts)] for i in range(rows)]
    domain.synthetic.mkdir(parents=True, exist_ok=True)
    ntuples = pa.table({"anchor": anchors, "positive": positives, "negative_1": negatives})
    pairs = pa.table({"anchor": anchors * 2, "positive": positives + negatives, "label": [1.0] * rows + [0.0] * rows})
    pq.write_table(ntuples, domain.synthetic / "ntuples_train.parquet")
    for name in ("train", "dev"):
        pq.write_table(pairs, domain.synthetic / f"pairs_{name}.parquet")
    queries = [
        {"text": anchors[i], "positive_text": positives[i], "chunk": chunks[i % len(chunks)].id, "split": "train",
         "origin": "span"}
        for i in range(rows)
    ]  # fmt: skip
    write_jsonl(domain.synthetic / "queries.jsonl", queries)
    asked = [{"id": f"d{i}", "text": anchors[i], "origin": "span"} for i in range(DEVELOPMENT)]
    write_jsonl(domain.synthetic / "dev_queries.jsonl", asked)
    lines = [f"d{i}\t{chunks[i % len(chunks)].id}\t1\n" for i in range(DEVELOPMENT)]
    write_text(domain.synthetic / "dev_qrels.tsv", "query-id\tcorpus-id\tscore\n" + "".join(lines))
    return Outcome(domain.synthetic, False, {"outputs": {"rows": str(rows)}})


@pytest.fixture
def ready(project):
    pipeline = Pipeline(project, project.domain("village"), None, SILENT)
    pipeline.chunks()
    return project, pipeline.domain, write_synthetic(pipeline.domain)


def test_no_passage_stands_twice_in_a_batch(ready):
    """Two cuts of one chunk are different texts; each would be the other's false negative."""
    _, domain, _ = ready
    table = pq.read_table(domain.synthetic / "ntuples_train.parquet").to_pylist()
    for row in table:
        row["positive"] = row["positive"].rsplit(" ", 1)[0] + f" {len(row['anchor'])}"
    pq.write_table(pa.Table.from_pylist(table), domain.synthetic / "ntuples_train.parquet")
    chunks = [chunk.id for chunk in read_chunks(domain.chunks / "chunks.jsonl")]
    rows = [
        {"text": row["anchor"], "positive_text": row["positive"], "chunk": chunks[i % len(chunks)]}
        for i, row in enumerate(table)
    ]
    write_jsonl(domain.synthetic / "queries.jsonl", rows)
    dataset = read_table(domain.synthetic / "ntuples_train.parquet", 0)
    ids = passage_ids(domain, dataset)
    held = [frozenset(row.values()) for row in ids]
    batches = list(GroupedBatches(RowShapes(np.ones(len(dataset), dtype=np.int64), held), 4, 0))
    assert sum(len(batch) for batch in batches) >= len(dataset) * 0.9
    for batch in batches:
        seen = [ids[i][column] for i in batch for column in ids.column_names]
        assert len(seen) == len(set(seen))


def weights_of(folder):
    return hashlib.sha256(next(folder.rglob("model.safetensors")).read_bytes()).hexdigest()


def test_a_bi_encoder_learns_and_emits_a_spec_that_loads(ready):
    project, domain, synthetic = ready
    outcome = finetune(project, domain, SPEC, 0, synthetic, SILENT)[0]
    facts = outcome.facts
    assert facts["pairs"] == 48
    assert facts["steps"] == 6
    spec = project.model_spec("tuned")
    assert spec.path == "results/village/models/tuned"
    assert spec.provenance["base"] == "tiny"
    assert spec.max_length == 96
    tuned, base = DenseEncoder.load(project, "tuned"), DenseEncoder.load(project, "tiny")
    assert tuned.fingerprint != base.fingerprint
    assert tuned.encode(["x"], "query").shape == (1, 32)
    again = finetune(project, domain, SPEC, 0, synthetic, SILENT)[0]
    assert again.skipped
    other = finetune(project, domain, SPEC.model_copy(update={"epochs": 0.5}), 0, synthetic, SILENT)[0]
    assert not other.skipped


def trained_chunks(outcome):
    return json.loads((outcome.folder / TRAINED_CHUNKS).read_text())["chunks"]


def chunk_of(domain):
    """Query and positive -> the chunk."""
    return {(row["text"], row["positive_text"]): row["chunk"] for row in iter_jsonl(domain.synthetic / "queries.jsonl")}


@pytest.mark.parametrize("negatives", [0, 1])
def test_the_chunks_that_a_bi_encoder_learnt_to_find_are_those_of_the_rows_it_used(ready, negatives):
    project, domain, synthetic = ready
    spec = SPEC.model_copy(update={"max_pairs": 5, "hard_negatives": negatives})
    found = trained_chunks(finetune(project, domain, spec, 0, synthetic, SILENT)[0])
    rows = biencoder.training_rows(domain, spec, 0)
    known = chunk_of(domain)
    assert found == sorted({known[pair] for pair in zip(rows["anchor"], rows["positive"], strict=True)})
    assert len(rows) == 5 and 1 < len(found) <= 5 < len(set(known.values()))


def test_negatives_of_a_cross_encoder_are_no_chunks_it_learnt_to_find(ready):
    project, domain, synthetic = ready
    spec = CROSS.model_copy(update={"max_pairs": 8})
    found = trained_chunks(finetune(project, domain, spec, 0, synthetic, SILENT)[0])
    rows, known = labelled.training_rows(domain, spec, 0).to_list(), chunk_of(domain)
    texts = {chunk.full_text: chunk.id for chunk in read_chunks(domain.chunks / "chunks.jsonl")}
    positives = {known[row["anchor"], row["positive"]] for row in rows if row["label"] == 1.0}
    assert found == sorted(positives) and {texts[row["positive"]] for row in rows} - positives


def test_of_passages_from_elsewhere_nothing_is_told(ready):
    project, domain, synthetic = ready
    shutil.copy(domain.chunks / "chunks.jsonl", domain.synthetic / "passages.jsonl")
    outcome = finetune(project, domain, SPEC, 0, synthetic, SILENT)[0]
    assert not (outcome.folder / TRAINED_CHUNKS).exists() and outcome.facts["pairs"] == 48


def test_what_was_trained_on_changes_no_hash_of_the_weights(ready):
    project, domain, synthetic = ready
    outcome = finetune(project, domain, SPEC, 0, synthetic, SILENT)[0]
    assert TRAINED_CHUNKS in outcome.manifest["outputs"]
    before = model_fingerprint(project, "tuned"), weights_hash(outcome.folder)
    (outcome.folder / TRAINED_CHUNKS).unlink()
    assert (model_fingerprint(project, "tuned"), weights_hash(outcome.folder)) == before


def test_the_loss_falls(ready):
    project, domain, synthetic = ready
    long = SPEC.model_copy(update={"epochs": 4.0, "learning_rate": 3e-3})
    short = SPEC.model_copy(update={"epochs": 1.0, "learning_rate": 1e-6})
    untrained = finetune(project, domain, short, 0, synthetic, SILENT)[0].facts["final_loss"]
    assert finetune(project, domain, long, 0, synthetic, SILENT)[0].facts["final_loss"] < untrained * 0.8


def test_a_cross_encoder_emits_a_spec_of_its_kind(ready):
    project, domain, synthetic = ready
    facts = finetune(project, domain, CROSS, 0, synthetic, SILENT)[0].facts
    assert project.model_spec("cross").kind == "cross-encoder"
    assert facts["pairs"] == 96
    assert 0 < facts["development"]["after"]["ndcg@10"] <= 1


def stamps(project):
    """Every emitted spec with the time it was written."""
    return {path.name: path.stat().st_mtime_ns for path in project.specs_folder.glob("*.yaml")}


def test_a_mixed_run_emits_both_and_the_tuned_spec_says_what_was_chosen(ready):
    project, domain, synthetic = ready
    run = SPEC.model_copy(update={"mix": [0.5]})
    outcomes = finetune(project, domain, run, 0, synthetic, SILENT)
    assert [outcome.folder.name for outcome in outcomes] == list(run.emits) == ["tuned", "tuned-mixed"]
    choice = outcomes[1].facts["choice"]
    told = project.model_spec("tuned").provenance["choice"]
    assert told == {name: choice[name] for name in ("chosen", "share", "why")}
    assert project.model_spec("tuned-mixed").provenance["tuned"] == "tuned"
    before, heard = stamps(project), Notes()
    again = finetune(project, domain, run, 0, synthetic, heard)
    assert all(outcome.skipped for outcome in again) and stamps(project) == before
    assert not any("wrote" in line for line in heard.lines)


def test_a_run_starts_from_what_another_one_made_and_a_hybrid_is_made_of_both(ready):
    project, domain, synthetic = ready
    linear = AdapterRun(name="linear", base="tuned", epochs=2)
    both = HybridRun(name="both", sides=["bm25", "linear"])
    made = [finetune(project, domain, run, 0, synthetic, SILENT)[0] for run in (SPEC, linear, both)]
    assert project.model_spec("linear").base == "tuned"
    assert project.model_spec("both").hybrid == ["bm25", "linear"]
    assert "choice" in made[2].facts
    # Other weights below: everything above is made anew.
    other = SPEC.model_copy(update={"epochs": 0.5})
    again = [finetune(project, domain, run, 0, synthetic, SILENT)[0] for run in (other, linear, both)]
    assert not any(outcome.skipped for outcome in again)
    assert made[1].manifest["inputs"]["tuned"] != again[1].manifest["inputs"]["tuned"]


def test_a_reranker_with_a_first_stage_is_emitted_fused_as_well(ready):
    project, domain, synthetic = ready
    run = CROSS.model_copy(update={"first_stage": "bm25", "depth": 4})
    made = finetune(project, domain, run, 0, synthetic, SILENT)
    assert [outcome.folder.name for outcome in made] == ["cross", "cross-fused"]
    spec = project.model_spec("cross-fused")
    assert (spec.retriever, spec.reranker, spec.depth) == ("bm25", "cross", 4)
    assert all(outcome.skipped for outcome in finetune(project, domain, run, 0, synthetic, SILENT))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(ready):
    project, domain, synthetic = ready
    seen = []
    for seed in (0, 0, 1):
        outcome = finetune(project, domain, SPEC, seed, synthetic, SILENT)[0]
        seen.append(weights_of(outcome.folder))
        (outcome.folder / "manifest.json").unlink()
    assert seen[0] == seen[1] != seen[2]


def test_killed_in_the_middle_it_goes_on_and_ends_with_the_same_weights(ready, start_doomed):
    project, domain, synthetic = ready
    spec = SPEC.model_copy(update={"epochs": 2.0})
    code = f"""
    from pathlib import Path
    from benchmark.console import SILENT, Notes
    from benchmark.project import Project
    from benchmark.provenance import Outcome
    from benchmark.specs import BiEncoderRun, CrossEncoderRun
    from benchmark.training.finetune import finetune
    project = Project(Path({str(project.root)!r}))
    domain = project.domain("village")
    spec = {type(spec).__name__}.model_validate_json({spec.model_dump_json()!r})
    finetune(project, domain, spec, 0, Outcome(domain.synthetic, False, {synthetic.manifest!r}), SILENT)
    """
    work = domain.results / "models" / ".tuned.checkpoints"
    start_doomed(code)
    assert last_checkpoint(work) is not None
    assert not domain.model("tuned").exists()

    heard = Notes()
    resumed = finetune(project, domain, spec, 0, synthetic, heard)[0]
    assert any("goes on from step" in line for line in heard.lines)
    assert not work.exists()
    first = weights_of(resumed.folder)
    (resumed.folder / "manifest.json").unlink()
    assert weights_of(finetune(project, domain, spec, 0, synthetic, SILENT)[0].folder) == first


def test_a_spec_written_by_hand_is_not_replaced(ready):
    project, domain, synthetic = ready
    (project.specs_folder / "tuned.yaml").write_text("path: weights/tiny\n")
    with pytest.raises(BenchError, match=r"model_specs/tuned.yaml: was written by hand"):
        finetune(project, domain, SPEC, 0, synthetic, SILENT)


@pytest.mark.parametrize(("negatives", "name"), [(0, "pairs_train.parquet"), (1, "ntuples_train.parquet")])
def test_missing_and_empty_data_say_what_to_do(ready, negatives, name):
    project, domain, synthetic = ready
    spec = SPEC.model_copy(update={"hard_negatives": negatives})
    path = domain.synthetic / name
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(BenchError, match=f"{name}: holds no rows"):
        finetune(project, domain, spec, 0, synthetic, SILENT)
    path.unlink()
    with pytest.raises(BenchError, match=f"{name}: no such file; make it with: domainbench generate"):
        finetune(project, domain, spec, 0, synthetic, SILENT)
    assert not domain.model("tuned").exists()


def test_more_negatives_than_were_mined_is_told(ready):
    project, domain, synthetic = ready
    greedy = SPEC.model_copy(update={"hard_negatives": 3})
    with pytest.raises(BenchError, match="hard_negatives is 3, but 'negatives' under 'generate' is 1"):
        finetune(project, domain, greedy, 0, synthetic, SILENT)
    plain = SPEC.model_copy(update={"hard_negatives": 0, "max_pairs": 20})
    assert finetune(project, domain, plain, 0, synthetic, SILENT)[0].facts["pairs"] == 20


def test_too_little_memory_says_what_to_lower(ready, monkeypatch):
    import torch
    from sentence_transformers import SentenceTransformerTrainer

    project, domain, synthetic = ready

    def fail(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(SentenceTransformerTrainer, "train", fail)
    with pytest.raises(BenchError, match=r"lower mini_batch_size \(now 4\)"):
        finetune(project, domain, SPEC, 0, synthetic, SILENT)
