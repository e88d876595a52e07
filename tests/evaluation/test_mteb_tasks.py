"""Domains as MTEB tasks: mteb's own evaluation of a plain model and ours must agree, and nothing is ever stale."""

import errno

import pytest

import benchmark
from benchmark.console import SILENT
from benchmark.errors import BenchError
from benchmark.evaluation.evaluate import Evaluator, cutoffs
from benchmark.evaluation.tasks import task_class, task_name
from benchmark.pipeline import Pipeline
from benchmark.runs import read_run


@pytest.fixture
def prepared(project):
    pipeline = Pipeline(project, project.domain("village"), None, SILENT)
    inputs = {"chunks": pipeline.chunks(), "testset": pipeline.testset(), "candidates": pipeline.candidates()}
    return project, Evaluator(project, pipeline.domain, inputs, 100, SILENT), pipeline


def test_registered_tasks_work_in_plain_mteb(project):
    import mteb
    from sentence_transformers import SentenceTransformer

    names = benchmark.register_tasks(str(project.root))
    assert names == ["VillageRetrieval", "VillageReranking"]
    model = SentenceTransformer(str(project.root / "weights" / "tiny"), device="cpu")
    for name in names:
        task = mteb.get_task(name)
        result = mteb.evaluate(model, tasks=[task], cache=None, show_progress_bar=False)
        scores = result.task_results[0].scores["test"][0]
        assert 0 <= scores["ndcg_at_10"] <= 1
        assert scores["main_score"] == scores["ndcg_at_10"]
    # Registering again, after an edit, brings the new data.
    assert benchmark.register_tasks(str(project.root)) == names


def test_our_scores_are_those_of_mteb_with_a_plain_model(prepared):
    import mteb
    from sentence_transformers import SentenceTransformer

    project, evaluator, pipeline = prepared
    model = SentenceTransformer(str(project.root / "weights" / "tiny"), device="cpu")
    model.max_seq_length = 96
    ours = evaluator.evaluate("tiny")
    for kind, outcome in zip(("retrieval", "reranking"), ours, strict=True):
        task = task_class(pipeline.domain, kind, lambda _, k: evaluator.data(k), cutoffs(100))()
        plain = mteb.evaluate(model, tasks=[task], cache=None, show_progress_bar=False)
        scores = plain.task_results[0].scores["test"][0]
        for key, value in outcome.facts["scores"].items():
            assert scores[key] == pytest.approx(value, abs=1e-5), (kind, key)
        assert outcome.facts["task"] == task_name(pipeline.domain, kind)


def test_a_run_is_kept_for_every_query_and_made_anew_only_after_a_change(prepared):
    project, evaluator, pipeline = prepared
    first = evaluator.evaluate("tiny")
    run = read_run(pipeline.domain.run("retrieval", "tiny") / "run.trec")
    assert len(run) == 8
    chunks = pipeline.chunks().facts["chunks"]
    assert all(len(hits) == min(100, chunks) for hits in run.values())
    assert [outcome.skipped for outcome in evaluator.evaluate("tiny")] == [True, True]
    (project.specs_folder / "tiny.yaml").write_text("path: weights/tiny\nmax_length: 5\n")
    second = evaluator.evaluate("tiny")
    assert [outcome.skipped for outcome in second] == [False, False]
    assert second[0].facts["model"] != first[0].facts["model"]


def test_two_checkpoints_that_differ_in_one_weight_never_share_a_result(prepared):
    from safetensors.torch import load_file, save_file

    project, evaluator, _ = prepared
    evaluator.evaluate("tiny")
    path = next((project.root / "weights" / "tiny").rglob("model.safetensors"))
    weights = load_file(path)
    name = next(name for name in weights if "word_embeddings" in name)
    weights[name] = weights[name].flip(0)
    save_file(weights, path, metadata={"format": "pt"})
    assert [outcome.skipped for outcome in evaluator.evaluate("tiny")] == [False, False]


def test_reranking_sees_only_the_candidates(prepared, cross_encoder):
    project, evaluator, pipeline = prepared
    (project.specs_folder / "two.yaml").write_text("retriever: bm25\nreranker: ce\ndepth: 3\n")
    candidates = evaluator.data("reranking").candidates
    for name in ("bm25", "two"):
        evaluator.evaluate(name, ["reranking"])
        run = read_run(pipeline.domain.run("reranking", name) / "run.trec")
        assert {query: {hit.chunk for hit in hits} for query, hits in run.items()} == {
            query: set(chunks) for query, chunks in candidates.items()
        }
    facts = pipeline.candidates().facts
    found = sum(len(set(candidates[q]) & set(r)) for q, r in evaluator.data("retrieval").testset.qrels.items())
    assert facts["relevant_among_candidates"] == found


def test_a_failing_spec_does_not_lose_the_others(prepared):
    from benchmark.evaluation.evaluate import evaluate_all

    project, evaluator, pipeline = prepared
    (project.specs_folder / "gone.yaml").write_text("path: weights/gone\n")
    with pytest.raises(BenchError, match="weights/gone: no such folder"):
        evaluate_all(evaluator, ["gone", "bm25"], SILENT)
    assert (pipeline.domain.run("retrieval", "bm25") / "run.trec").is_file()


@pytest.mark.parametrize(
    "raised", [RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nmore"), AttributeError("a"), IndexError("b")]
)
def test_a_spec_that_breaks_in_its_own_way_does_not_lose_the_others(prepared, monkeypatch, raised):
    from benchmark.evaluation import evaluate

    _, evaluator, pipeline = prepared
    open_retriever = evaluate.open_retriever

    class Broken:
        def run(self, *_):
            raise raised

    monkeypatch.setattr(
        evaluate, "open_retriever",
        lambda project, domain, name, *more: Broken() if name == "tiny" else open_retriever(project, domain, name, *more),
    )  # fmt: skip
    with pytest.raises(BenchError) as error:
        evaluate.evaluate_all(evaluator, ["tiny", "bm25"], SILENT)
    (line,) = error.value.problems
    first = str(raised).splitlines()[0]
    assert line == f"model_specs/tiny.yaml: cannot be evaluated: {type(raised).__name__}: {first}"
    assert (pipeline.domain.run("retrieval", "bm25") / "run.trec").is_file()
    assert not (pipeline.domain.run("retrieval", "tiny") / "run.trec").exists()


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full"), OSError(errno.EROFS, "no")])
def test_what_is_no_models_mistake_ends_the_evaluation(prepared, monkeypatch, raised):
    from benchmark.evaluation import evaluate

    def fail(*_):
        raise raised

    monkeypatch.setattr(evaluate, "open_retriever", fail)
    with pytest.raises(type(raised)):
        evaluate.evaluate_all(prepared[1], ["tiny", "bm25"], SILENT)


def test_names_and_languages_that_mteb_refuses_are_told(project):
    path = project.root / "tasks" / "village" / "domain.yaml"
    text = path.read_text()
    path.write_text(text + "mteb_domains: [Villages]\n")
    with pytest.raises(BenchError, match=r"tasks/village/domain.yaml: mteb refuses domains"):
        benchmark.register_tasks(str(project.root))
    from mteb.get_tasks import _TASKS_REGISTRY

    taken = next(name for name in sorted(_TASKS_REGISTRY) if name.endswith("Retrieval") and name.isalnum())
    path.write_text(text + f"task_name: {taken.removesuffix('Retrieval')}\n")
    with pytest.raises(BenchError, match=f"mteb has a task {taken} of its own"):
        benchmark.register_tasks(str(project.root))


def test_cutoffs_hold_what_the_leaderboard_needs():
    assert cutoffs(100) == (1, 3, 5, 10, 20, 100)
    assert cutoffs(10) == (1, 3, 5, 10)
