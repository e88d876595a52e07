"""Kept runs in mteb's folder layout, read by mteb itself."""

import shutil

import pytest

from benchmark.console import SILENT
from benchmark.evaluation import layout
from benchmark.evaluation.evaluate import Evaluator
from benchmark.evaluation.layout import write_layout
from benchmark.files import read_json, write_text
from benchmark.pipeline import Pipeline

SECRET = "no boat goes faster than three knots"


@pytest.fixture
def prepared(project):
    """The village with runs of BM25 on both tasks, and of the tiny model on one."""
    pipeline = Pipeline(project, project.domain("village"), None, SILENT)
    inputs = {"chunks": pipeline.chunks(), "testset": pipeline.testset(), "candidates": pipeline.candidates()}
    evaluator = Evaluator(project, pipeline.domain, inputs, 100, SILENT)
    found = {"bm25": evaluator.evaluate("bm25"), "tiny": evaluator.evaluate("tiny", ["retrieval"])}
    return project, pipeline.domain, found


def files(folder) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_mteb_reads_every_score(prepared):
    import mteb

    project, domain, outcomes = prepared
    folder = write_layout(project, domain)
    assert folder == domain.results / "mteb"
    results = mteb.ResultCache(folder).load_results(include_remote=False)
    found = {
        (row.model_name, row.model_revision, task.task_name): task
        for row in results.model_results
        for task in row.task_results
    }
    facts = [outcome.facts for rows in outcomes.values() for outcome in rows]
    assert found.keys() == {(f"local/{row['spec']}", row["model"], row["task"]) for row in facts} and len(found) == 3
    for row in facts:
        task = found[f"local/{row['spec']}", row["model"], row["task"]]
        assert task.get_score() == row["scores"]["ndcg_at_10"]
        (scores,) = task.scores["test"]
        assert {key: scores[key] for key in row["scores"]} == row["scores"]
        assert task.dataset_revision == row["testset"][:40] and task.mteb_version == mteb.__version__
    table = results.to_dataframe()
    assert {"local/bm25", "local/tiny"} <= set(table.columns)


def test_it_holds_no_word_of_documents_or_questions(prepared):
    project, domain, _ = prepared
    text = "".join(files(write_layout(project, domain)).values())
    assert SECRET in (domain.chunks / "chunks.jsonl").read_text()
    assert SECRET not in text and "quay" not in text and str(project.root) not in text


def test_what_has_not_changed_is_left_alone_without_mteb(prepared, monkeypatch):
    project, domain, _ = prepared
    folder = write_layout(project, domain)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    monkeypatch.setattr(layout, "model_meta", lambda *_: pytest.fail("mteb is asked"))
    write_layout(project, domain)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_model_that_changed_is_described_anew(prepared):
    project, domain, _ = prepared
    folder = write_layout(project, domain)
    (path,) = folder.glob("results/local__tiny/*/model_meta.json")
    assert read_json(path)["n_parameters"] is None
    write_text(project.specs_folder / "tiny.yaml", "path: weights/tiny\nmax_length: 96\nparameters: 1234\n")
    write_layout(project, domain)
    assert read_json(path)["n_parameters"] == 1234
    path.write_text("{broken")
    write_layout(project, domain)
    assert read_json(path)["name"] == "local/tiny"


def test_runs_that_are_gone_or_of_other_data_are_taken_out(prepared):
    project, domain, _ = prepared
    folder = write_layout(project, domain)
    assert len(files(folder)) == 5
    shutil.rmtree(domain.run("retrieval", "tiny"))
    assert {name.split("/")[1] for name in files(write_layout(project, domain))} == {"local__bm25"}
    candidates = domain.candidates / "manifest.json"
    write_text(candidates, candidates.read_text().replace('"candidates.jsonl": "', '"candidates.jsonl": "0'))
    assert [name for name in files(write_layout(project, domain)) if "Reranking" in name] == []
    shutil.rmtree(domain.chunks)
    assert files(write_layout(project, domain)) == {}
