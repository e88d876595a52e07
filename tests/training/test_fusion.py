"""Weights of a reranker beside its first stage, and of a hybrid's sides, learnt on the development split."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmark.console import SILENT, Notes
from benchmark.encoders.retrieve import open_retriever
from benchmark.errors import BenchError
from benchmark.files import iter_jsonl, write_jsonl, write_text
from benchmark.records import read_chunks
from benchmark.specs import CrossEncoderRun, HybridRun, ModelSpec
from benchmark.training import fusion
from benchmark.training.fusion import GRID, fuse, learn_hybrid
from benchmark.training.job import Job
from benchmark.training.ranking import graded
from benchmark.training.train import train_run
from benchmark.weights import TRAINED_CHUNKS

_spec = importlib.util.spec_from_file_location("words", Path(__file__).parent / "test_crossencoder.py")
words = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(words)

RUN = words.RUN.model_copy(update={"depth": 48})
HYBRID = HybridRun(name="both", sides=["bm25", "tiny"])


@pytest.fixture
def domain(project):
    return words.write_words(project)


def job(project, run=RUN, reporter=SILENT, synthetic="data"):
    return Job(project, project.domain("village"), run, 0, synthetic, reporter)


@pytest.fixture(scope="module")
def shared_training(tmp_path_factory, tiny_model):
    # So short that the reranker sees who says yes, but not to what.
    project = words.make_project(tmp_path_factory.mktemp("fused") / "project", tiny_model, max_length=6)
    given = job(project)
    outcome = train_run(given, given.domain.model(RUN.name))
    folder = outcome.folder.relative_to(project.root).as_posix()
    spec = f"path: {folder}\nkind: cross-encoder\nmax_length: 6\nprovenance: {{run: cross}}\n"
    write_text(project.specs_folder / "cross.yaml", spec)
    return project, outcome


@pytest.fixture
def tuned(shared_training):
    """A project with a trained reranker that has not been fused yet, and what its training left."""
    project, outcome = shared_training
    yield project, outcome
    shutil.rmtree(project.domain("village").model("cross-fused"), ignore_errors=True)
    (project.specs_folder / "cross-fused.yaml").unlink(missing_ok=True)


def measured(project, name, depth=48):
    """nDCG@10 on the development split by the retriever that a spec opens."""
    domain = project.domain("village")
    retriever = open_retriever(project, domain, name, read_chunks(domain.chunks / "chunks.jsonl"))
    queries = {row["id"]: row["text"] for row in iter_jsonl(domain.synthetic / "dev_queries.jsonl")}
    run = retriever.run(queries, depth)
    return float(np.mean([graded([hit.chunk for hit in hits], {f"a-{query}"})[0] for query, hits in run.items()]))


def emitted(project, name):
    spec = project.model_spec(name)
    facts = spec.provenance["facts"]
    return spec, facts


def test_a_reranker_is_fused_with_its_first_stage(tuned):
    project, tuned = tuned
    heard = Notes()
    outcome = fuse(job(project, reporter=heard), tuned)
    spec, facts = emitted(project, "cross-fused")
    assert (spec.retriever, spec.reranker, spec.depth) == ("bm25", "cross", 48)
    assert spec.weights == outcome.facts["weights"] == facts["weights"]
    assert sum(spec.weights) == pytest.approx(1.0)
    table = {row["share"]: row["score"] for row in outcome.facts["choice"]["mixtures"]}
    assert tuple(table) == GRID
    # BM25 finds the word, the reranker knows the answer; only together they are always right.
    assert 0 < spec.weights[1] < 1
    assert table[spec.weights[1]] == max(table.values()) > max(table[0.0], table[1.0])
    # What the table says is what the spec's retriever does.
    assert measured(project, "cross-fused") == pytest.approx(table[spec.weights[1]])
    assert measured(project, "bm25") == pytest.approx(table[0.0])
    assert facts["choice"]["why"] in heard.lines[-2] + heard.lines[-1]
    assert "6 development queries of every origin" in facts["choice"]["why"]
    assert "mixtures" not in facts["choice"]
    assert tuned.facts["development"]["after"]["ndcg@10"] == pytest.approx(table[1.0])
    assert tuned.facts["development"]["before"]["ndcg@10"] == pytest.approx(table[0.0])


def test_its_folder_has_a_table_and_no_weights(tuned):
    project, tuned = tuned
    folder = fuse(job(project), tuned).folder
    assert folder == project.domain("village").model("cross-fused")
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", TRAINED_CHUNKS, "weights.json"]
    shown = json.loads((folder / "weights.json").read_text())
    assert shown["sides"] == ["bm25", "cross"] and list(shown["ndcg@10"]) == [f"{weight:g}" for weight in GRID]
    assert (folder / TRAINED_CHUNKS).read_text() == (tuned.folder / TRAINED_CHUNKS).read_text()


def test_what_training_has_scored_is_not_scored_again(tuned, monkeypatch):
    project, tuned = tuned
    domain = project.domain("village")
    monkeypatch.setattr(fusion, "open_cross_encoder", lambda *_: pytest.fail("scored again"))
    assert not fuse(job(project), tuned).skipped
    assert fuse(job(project), tuned).skipped
    monkeypatch.undo()
    (kept,) = (domain.results.parent / ".vectors").rglob("pair-*.rows")
    before = kept.read_bytes()
    kept.write_bytes(before[:-4])
    (domain.model("cross-fused") / "manifest.json").unlink()
    assert not fuse(job(project), tuned).skipped
    np.testing.assert_allclose(np.frombuffer(kept.read_bytes(), "<f4"), np.frombuffer(before, "<f4"), atol=1e-5)


def test_other_data_or_another_depth_are_weighed_anew(tuned):
    project, tuned = tuned
    fuse(job(project), tuned)
    assert not fuse(job(project, synthetic="other"), tuned).skipped
    assert not fuse(job(project, RUN.model_copy(update={"depth": 5}), synthetic="other"), tuned).skipped
    assert project.model_spec("cross-fused").depth == 5


def test_a_hybrids_weights_are_learnt_over_the_whole_corpus(project, domain):
    outcome = learn_hybrid(job(project, HYBRID))
    spec, facts = emitted(project, "both")
    assert spec.hybrid == ["bm25", "tiny"] and spec.weights == outcome.facts["weights"]
    table = {row["share"]: row["score"] for row in outcome.facts["choice"]["mixtures"]}
    assert tuple(table) == GRID
    assert measured(project, "both") == pytest.approx(max(table.values()))
    for share, name in ((0.0, "bm25"), (1.0, "tiny")):
        assert measured(project, name) == pytest.approx(table[share])
    for share in (0.3, 0.7):
        spec = ModelSpec(hybrid=["bm25", "tiny"], weights=[1 - share, share])
        write_text(project.specs_folder / "fixed.yaml", json.dumps(spec.model_dump(exclude_defaults=True)))
        assert measured(project, "fixed") == pytest.approx(table[share])
    assert facts["queries"] == 6
    assert learn_hybrid(job(project, HYBRID)).skipped


def test_equal_weights_leave_all_to_the_first_side(project, domain):
    write_text(project.specs_folder / "again.yaml", "bm25: {}\n")
    outcome = learn_hybrid(job(project, HybridRun(name="same", sides=["bm25", "again"])))
    assert outcome.facts["weights"] == [1.0, 0.0]
    assert outcome.facts["choice"]["chosen"] == "bm25"


def test_written_queries_alone_decide_where_there_are_enough(project, domain):
    rows = list(iter_jsonl(domain.synthetic / "dev_queries.jsonl"))
    lines = (domain.synthetic / "dev_qrels.tsv").read_text()
    for i in range(50):
        row = rows[i % words.HELD_OUT]
        lines += f"w{i}\ta-{row['id']}\t1\n"
        rows.append({**row, "id": f"w{i}", "text": f"{row['text']} {i}", "origin": "llm"})
    write_jsonl(domain.synthetic / "dev_queries.jsonl", rows)
    write_text(domain.synthetic / "dev_qrels.tsv", lines)
    facts = learn_hybrid(job(project, HYBRID)).facts
    assert (facts["queries"], facts["asked"]) == (50, "written development queries")
    assert "on 50 written development queries" in facts["choice"]["why"]


def test_a_side_of_two_stages_is_refused(project, domain, cross_encoder):
    write_text(project.specs_folder / "two.yaml", "retriever: bm25\nreranker: ce\n")
    with pytest.raises(BenchError, match="two stages cannot be a side of a hybrid"):
        learn_hybrid(job(project, HybridRun(name="x", sides=["bm25", "two"])))
    assert not domain.model("x").exists() and "x" not in project.spec_names


def test_a_first_stage_may_be_a_hybrid(tuned):
    project, tuned = tuned
    learn_hybrid(job(project, HYBRID))
    run = CrossEncoderRun.model_validate({**RUN.model_dump(exclude_unset=True), "first_stage": "both"})
    fuse(job(project, run), tuned)
    assert project.model_spec("cross-fused").retriever == "both"
    assert measured(project, "cross-fused") >= measured(project, "both") - 1e-9
