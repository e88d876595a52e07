"""What a system costs: known figures, what is not known, and that measuring changes nothing and asks nobody."""

import json
import random
import shutil
import zlib

import numpy as np
import pytest

from benchmark.console import SILENT
from benchmark.encoders.adapter import LinearMaps
from benchmark.encoders.bm25 import BM25Index
from benchmark.encoders.dense import DenseEncoder
from benchmark.encoders.retrieve import RerankRetriever, open_retriever
from benchmark.evaluation import costs
from benchmark.evaluation.costs import machine, measure_costs
from benchmark.evaluation.evaluate import Evaluator
from benchmark.pipeline import Pipeline
from benchmark.project import Project
from benchmark.reporting.leaderboard import make_leaderboard
from benchmark.runs import read_run, write_run
from benchmark.specs import BM25Settings
from benchmark.weights import ADAPTER_FILE


def spec(project, name, text):
    (project.specs_folder / f"{name}.yaml").write_text(text)


@pytest.fixture
def prepared(project):
    pipeline = Pipeline(project, project.domain("village"), None, SILENT)
    inputs = {"chunks": pipeline.chunks(), "testset": pipeline.testset(), "candidates": pipeline.candidates()}
    return project, Evaluator(project, pipeline.domain, inputs, 100, SILENT), pipeline


@pytest.fixture
def measured(prepared):
    """Costs of a spec, as they stand in its run's manifest."""

    def measure(name, text=None):
        project, evaluator, _ = prepared
        if text is not None:
            spec(project, name, text)
        retrieval, reranking = evaluator.evaluate(name)
        assert "costs" not in reranking.facts
        return json.loads((retrieval.folder / "manifest.json").read_text())["facts"]["costs"]

    return measure


def count(model) -> int:
    return sum(weights.numel() for weights in model.parameters())


def test_figures_of_an_encoder_and_of_bm25(prepared, measured):
    from sentence_transformers import SentenceTransformer

    project, evaluator, _ = prepared
    dense, lexical = measured("tiny"), measured("bm25")
    tiny = SentenceTransformer(str(project.root / "weights" / "tiny"), device="cpu")
    assert dense["parameters"] == count(tiny) and dense["dimensions"] == 32
    assert dense["index_bytes_per_million_chunks"] == 4 * 32 * 1_000_000
    # No weights at all, which is something else than an unknown number of them.
    assert lexical["parameters"] == 0 and lexical["dimensions"] is None
    chunks = evaluator.data("retrieval").chunks
    arrays = BM25Index([c.id for c in chunks], [c.full_text for c in chunks], BM25Settings())._index.scores
    grown = (arrays["data"].nbytes + arrays["indices"].nbytes) / len(chunks) * 1_000_000
    assert lexical["index_bytes_per_million_chunks"] == pytest.approx(grown + arrays["indptr"].nbytes, abs=1)
    for found in (dense, lexical):
        assert found["chunks_per_second"] > 0
        assert 0 < found["query_ms"]["p50"] <= found["query_ms"]["p95"]
        assert found["query_ms"]["questions"] == 8
        assert found["machine"] == machine()


def test_compositions_add_what_their_distinct_parts_have(prepared, measured, cross_encoder):
    from sentence_transformers import CrossEncoder, SentenceTransformer

    project, _, _ = prepared
    weights = project.root / "weights"
    tiny = count(SentenceTransformer(str(weights / "tiny"), device="cpu"))
    reader = count(CrossEncoder(str(weights / "ce"), device="cpu", num_labels=1))
    (weights / "maps").mkdir()
    LinearMaps.identity(32, both=True).save(weights / "maps" / ADAPTER_FILE)
    shutil.copytree(weights / "tiny", weights / "copy")
    spec(project, "copy", "path: weights/copy\nmax_length: 90\n")
    cut = measured("cut", "base: tiny\ntruncate_dim: 16\n")
    assert (cut["parameters"], cut["dimensions"]) == (tiny, 16)
    assert cut["index_bytes_per_million_chunks"] == 4 * 16 * 1_000_000
    assert measured("adapted", "base: tiny\nadapter: weights/maps\n")["parameters"] == tiny + 2 * 32 * 32
    fused = measured("fused", "hybrid: [bm25, tiny]\n")
    assert (fused["parameters"], fused["dimensions"]) == (tiny, 32)
    alone = measured("tiny")["index_bytes_per_million_chunks"] + measured("bm25")["index_bytes_per_million_chunks"]
    assert fused["index_bytes_per_million_chunks"] == pytest.approx(alone, abs=2)
    twice = measured("twice", "hybrid: [tiny, cut]\n")
    assert (twice["parameters"], twice["dimensions"]) == (tiny, None)
    assert measured("both", "hybrid: [tiny, copy]\n")["parameters"] == 2 * tiny
    piped = measured("piped", "retriever: fused\nreranker: ce\ndepth: 3\n")
    assert piped["parameters"] == tiny + reader
    assert piped["index_bytes_per_million_chunks"] == fused["index_bytes_per_million_chunks"]


def test_measuring_changes_neither_rankings_nor_random_numbers(prepared, cross_encoder, tmp_path):
    import torch

    project, evaluator, pipeline = prepared
    spec(project, "piped", "retriever: tiny\nreranker: ce\ndepth: 3\n")
    data = evaluator.data("retrieval")
    queries = {query.id: query.text for query in data.testset.queries}
    passages = [chunk.full_text for chunk in data.chunks]
    for name in ("tiny", "bm25", "piped"):
        retriever = open_retriever(project, pipeline.domain, name, data.chunks)
        before = retriever.run(queries, 100)
        states = (random.getstate(), np.random.get_state(), torch.get_rng_state())  # noqa: NPY002
        measure_costs(project, name, retriever, passages, list(queries.values()), 100)
        after = (random.getstate(), np.random.get_state(), torch.get_rng_state())  # noqa: NPY002
        assert states[0] == after[0] and all(map(np.array_equal, states[1], after[1]))
        assert torch.equal(states[2], after[2])
        assert retriever.run(queries, 100) == before
        write_run(tmp_path / name, before, name, queries)
        evaluator.evaluate(name)
        assert read_run(pipeline.domain.run("retrieval", name) / "run.trec") == read_run(tmp_path / name)


def test_a_reranker_is_measured_as_for_new_questions(prepared, cross_encoder, monkeypatch):
    project, evaluator, pipeline = prepared
    spec(project, "piped", "retriever: bm25\nreranker: ce\ndepth: 3\n")
    data = evaluator.data("retrieval")
    questions = [query.text for query in data.testset.queries]
    retriever = open_retriever(project, pipeline.domain, "piped", data.chunks)
    retriever.run(dict(enumerate(questions)), 10)
    asked = []
    predict = retriever.cross_encoder.predict
    monkeypatch.setattr(
        retriever.cross_encoder, "predict", lambda pairs, **more: (asked.extend(pairs), predict(pairs, **more))[1]
    )
    retriever.run(dict(enumerate(questions)), 10)
    assert not asked
    costs._query_ms(retriever, questions, 10)
    # Once to warm up, and once for each question.
    assert len(asked) == 3 * (1 + len(questions))
    nested = RerankRetriever(retriever, retriever.cross_encoder, {}, 2)
    assert nested.afresh().first is not retriever and nested.afresh().first._known == {} != retriever._known


def test_speed_is_that_of_encoding_or_of_a_small_sample(prepared, monkeypatch):
    project, evaluator, pipeline = prepared
    data = evaluator.data("retrieval")
    asked = []
    encode = DenseEncoder.encode

    def listening(self, texts, role, *more):
        asked.append((role, list(texts)))
        return encode(self, texts, role, *more)

    monkeypatch.setattr(DenseEncoder, "encode", listening)
    passages = [f"{chunk.full_text} {i}" for i in range(50) for chunk in data.chunks]
    spec(project, "new", "path: weights/tiny\nmax_length: 64\n")
    first = open_retriever(project, pipeline.domain, "new", data.chunks)
    assert [role for role, _ in asked] == ["document"] and first.scorer.footprint.seconds > 0
    assert costs._seconds_per_chunk(first.scorer, passages) == first.scorer.footprint.seconds / len(passages)
    asked.clear()
    again = open_retriever(project, pipeline.domain, "new", data.chunks)
    assert again.scorer.footprint.seconds is None
    assert costs._seconds_per_chunk(again.scorer, passages) > 0
    texts = [text for role, group in asked for text in group if role == "document"]
    assert 0 < len(texts) <= 64 and len(set(texts)) == len(texts) and set(texts) <= set(passages)
    assert len({text.rsplit(" ", 1)[1] for text in texts}) > 25  # from all over the corpus


def test_a_slow_model_is_measured_no_longer_than_needed(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(costs.time, "perf_counter", lambda: clock[0])

    class Slow:
        groups = ()

        def encode(self, texts, role):
            self.groups = (*self.groups, len(texts))
            clock[0] += 0.5 * len(texts)

        def run(self, queries, depth):
            self.groups = (*self.groups, len(queries))
            clock[0] += 2.0

        def afresh(self):
            return self

    encoder, retriever = Slow(), Slow()
    assert costs._sampled(encoder, [str(i) for i in range(1000)]) == 0.5
    assert encoder.groups == (4, 8)
    found = costs._query_ms(retriever, [str(i) for i in range(100)], 10)
    assert found == {"p50": 2000.0, "p95": 2000.0, "questions": 1}
    assert retriever.groups == (1, 1)
    assert costs._sampled(Slow(), []) is None and costs._query_ms(Slow(), [], 10) is None


def test_nothing_is_asked_of_an_api_for_measuring(prepared, measured, serve):
    evaluator = prepared[1]

    def answer(body):
        rows = [
            {"index": i, "embedding": np.random.default_rng(zlib.crc32(text.encode())).normal(size=12).tolist()}
            for i, text in enumerate(body["input"])
        ]
        return 200, {}, {"data": rows, "model": body["model"], "usage": {"prompt_tokens": 1, "total_tokens": 1}}

    server = serve(answer)
    api = f"api: {{base_url: '{server.url}', model: embedder}}\n"
    found = measured("far", api)
    data = evaluator.data("retrieval")
    # Those without an answer are ranked as well, for what is answered with their passages.
    asked = (*data.testset.queries, *data.testset.unanswerable)
    needed = {chunk.full_text for chunk in data.chunks} | {query.text for query in asked}
    sent = [text for body in server.bodies for text in body["input"]]
    assert sorted(sent) == sorted(needed)
    assert found["parameters"] is None and found["dimensions"] == 12
    assert found["query_ms"] is None and found["chunks_per_second"] is None
    assert found["index_bytes_per_million_chunks"] == 4 * 12 * 1_000_000
    assert measured("told", api + "parameters: 7000\n")["parameters"] == 7000
    fused = measured("fused", "hybrid: [bm25, far]\n")
    assert fused["parameters"] is None and fused["query_ms"] is None and fused["chunks_per_second"] is None
    assert measured("cut", "base: told\ntruncate_dim: 6\n")["parameters"] == 7000
    assert len([text for body in server.bodies for text in body["input"]]) == len(sent)


def test_the_machine_is_described():
    import torch

    found = machine()
    assert set(found) == {"cpu", "cores", "threads", "gpu", "torch"}
    assert found["cores"] >= 1 and found["threads"] == torch.get_num_threads() and found["torch"] == torch.__version__
    assert found["cpu"] is None or found["cpu"].strip()
    assert (found["gpu"] is None) == (not torch.cuda.is_available())


# --- one more model costs its own time ------------------------------------------------------------------------------


@pytest.fixture
def loaded(monkeypatch):
    """Folders of the models that sentence-transformers loads, and the corpora that are indexed."""
    from sentence_transformers import CrossEncoder, SentenceTransformer

    names: list[str] = []
    for kind in (SentenceTransformer, CrossEncoder):
        plain = kind.__init__

        def listening(self, folder=None, *args, plain=plain, **settings):
            names.append(str(folder).rsplit("/", 1)[-1])
            plain(self, folder, *args, **settings)

        monkeypatch.setattr(kind, "__init__", listening)
    index = BM25Index.__init__
    monkeypatch.setattr(BM25Index, "__init__", lambda self, *args: (names.append("bm25"), index(self, *args))[1])
    return names


def test_one_more_spec_loads_no_other_model_and_costs_do_not_reach_the_leaderboard(project, loaded, cross_encoder):
    (project.root / "benchmark.yaml").write_text(
        "domains: [village]\nfinetune: []\nbaseline: bm25\nmodels: [tiny, fused, piped]\npermutations: 1000\n"
        "bootstrap: 1000\n"
    )
    spec(project, "fused", "hybrid: [bm25, tiny]\n")
    spec(project, "piped", "retriever: bm25\nreranker: ce\ndepth: 3\n")

    def evaluate():
        fresh = Project(project.root)
        read = fresh.benchmark(project.root / "benchmark.yaml")
        domain = fresh.domain("village")
        return Pipeline(fresh, domain, read, SILENT).evaluate(), fresh, domain, read

    first, *_ = evaluate()
    assert not any(outcome.skipped for outcome in first) and {"tiny", "ce", "bm25"} <= set(loaded)
    loaded.clear()
    shutil.copytree(project.root / "weights" / "tiny", project.root / "weights" / "newcomer")
    # The only file that is touched.
    spec(project, "added", "path: weights/newcomer\nmax_length: 64\ncompare: true\n")
    outcomes, fresh, domain, read = evaluate()
    assert [o.facts["spec"] for o in outcomes if not o.skipped] == ["added", "added"]
    assert loaded == ["newcomer"]
    loaded.clear()
    assert all(outcome.skipped for outcome in evaluate()[0]) and not loaded

    def written():
        make_leaderboard(fresh, domain, read, SILENT)
        return {path.name: path.read_bytes() for path in sorted(domain.results.glob("leaderboard.*"))}

    expected = written()
    assert len(expected) >= 3 and expected == written() and not loaded
