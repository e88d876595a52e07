"""Notation, and per-query scores against pytrec_eval."""

import numpy as np
import pytest

from benchmark.errors import BenchError
from benchmark.records import Hit
from benchmark.reporting.by_ranx import load_ranx
from benchmark.reporting.metrics import MEASURES, Metric, first_relevant, metrics_for, score_run
from benchmark.runs import rank

ALL = metrics_for("ndcg@10", 100)


@pytest.mark.parametrize("text", ["ndcg@10", "hit_rate@3", "mrr@10", "recall@100", "map", "map@5"])
def test_a_metric_prints_as_its_own_input(text):
    metric = Metric.parse(text)
    assert str(metric) == repr(metric) == text
    assert Metric.parse(str(metric)) == metric
    assert hash(Metric.parse(text)) == hash(metric)


@pytest.mark.parametrize(("text", "hint"), [
    ("ndgc@10", "did you mean 'ndcg@10'"), ("NDCG@10", "did you mean 'ndcg@10'"), ("hitrate@10", "hit_rate@10"),
    ("precision", "known: "), ("", "known: "), ("ndcg", "needs a cut-off, for example ndcg@10"),
    ("ndcg@", "whole number"), ("mrr@0", "whole number"), ("mrr@-1", "whole number"), ("recall@1.5", "whole number"),
    ("ndcg@10@3", "whole number"), ("ndcg@ 10", "whole number"), ("ndcg@٣", "whole number"),
])  # fmt: skip
def test_what_is_no_metric_is_refused_with_a_hint(text, hint):
    with pytest.raises(BenchError, match=hint):
        Metric.parse(text)


def test_a_metric_cannot_be_changed():
    with pytest.raises(AttributeError):
        Metric("ndcg", 10).cutoff = 5


def test_the_main_metric_comes_first_and_once():
    names = [str(metric) for metric in metrics_for("mrr@10", 50)]
    assert names[0] == "mrr@10"
    assert sorted(names) == sorted(
        ["ndcg@10", "mrr@10", "hit_rate@1", "hit_rate@3", "hit_rate@5", "hit_rate@10", "recall@10", "map", "recall@50"]
    )
    assert len(metrics_for("recall@10", 10)) == 8


def test_a_cut_off_beyond_the_runs_is_refused():
    with pytest.raises(BenchError, match=r"ndcg@200.*hold 100"):
        metrics_for("ndcg@200", 100)


def test_names_in_mteb():
    assert [metric.mteb_key(100) for metric in ALL[:2]] == ["ndcg_at_10", "mrr_at_10"]
    assert Metric("map").mteb_key(100) == "map_at_100"
    assert Metric("hit_rate", 3).mteb_key(100) == "hit_rate_at_3"


def random_case(seed: int, ties: bool) -> tuple[dict, dict]:
    """Graded relevance, runs of many lengths, ids of many lengths; every ninth query has no hit at all."""
    rng = np.random.default_rng(seed)
    ids = [f"d{'x' * (i % 30)}{i}" for i in range(300)]
    queries = [f"q{i}" for i in rng.permutation(120)]
    qrels = {
        q: {ids[i]: int(rng.integers(1, 4)) for i in rng.choice(300, int(rng.integers(1, 7)), False)} for q in queries
    }
    raw = {}
    for place, query in enumerate(queries):
        values = rng.random(300)
        values[[ids.index(chunk) for chunk in qrels[query]]] += 0.3
        chosen = rng.choice(300, int(rng.integers(1, 200)), False)
        raw[query] = {ids[i]: round(float(values[i]), 1 if ties else 9) for i in chosen} if place % 9 else {}
    return qrels, raw


@pytest.mark.parametrize("ties", [False, True])
def test_scores_equal_pytrec_evals(ties, kit):
    qrels, raw = random_case(3 + ties, ties)
    # The oracle sees the raw scores and orders them itself; ours come out of the kept run.
    run = {query: rank(row, 100) for query, row in raw.items() if row}
    oracle = kit.by_pytrec(qrels, {query: [Hit(*pair) for pair in row.items()] for query, row in raw.items() if row})
    assert any(len(set(row.values())) < len(row) for row in raw.values()) == ties
    found = score_run(run, qrels, ALL, top_k=100)
    for metric in ALL:
        expected = [oracle.get(query, {}).get(metric.mteb_key(100), 0.0) for query in qrels]
        np.testing.assert_allclose(found[metric], expected, rtol=0, atol=1e-9, err_msg=str(metric))
        assert 0 < found[metric].mean() < 1


def test_scores_are_ranxs_to_the_last_bit():
    """Without ties, which ranx orders otherwise; queries without a hit are none of its."""
    qrels, raw = random_case(11, ties=False)
    raw = {query: row for query, row in raw.items() if row}
    run = {query: rank(row, 100) for query, row in raw.items()}
    found = score_run(run, {query: qrels[query] for query in raw}, ALL, top_k=100)
    theirs = load_ranx().evaluate(
        {query: qrels[query] for query in raw},
        {query: {hit.chunk: hit.score for hit in hits} for query, hits in run.items()},
        [str(metric) for metric in ALL],
        return_mean=False,
    )
    for metric in ALL:
        assert found[metric].tolist() == theirs[str(metric)].tolist(), metric


def test_a_run_of_other_queries_and_judgements_of_zero():
    qrels = {"q1": {"a": 1, "b": 0}, "q2": {"c": 1}}
    run = {"other": [Hit("a", 2.0)], "q1": [Hit("b", 2.0), Hit("a", 1.0)]}
    found = score_run(run, qrels, [Metric("mrr", 10), Metric("recall", 10)], top_k=10)
    assert found[Metric("mrr", 10)].tolist() == [0.5, 0]
    assert found[Metric("recall", 10)].tolist() == [1, 0]


def test_scores_that_differ_by_less_than_float32_are_ties():
    qrels = {"q": {"a": 1}}
    run = {"q": rank({"a": 0.5 + 1e-9, "b": 0.5}, 10)}
    assert score_run(run, qrels, [Metric("mrr", 10)], top_k=10)[Metric("mrr", 10)] == [0.5]


def test_a_query_without_hits_scores_zero_and_stays():
    qrels = {"q1": {"a": 1}, "q2": {"a": 1}, "q3": {"a": 1}}
    run = {"q2": [Hit("a", 1.0)], "q3": []}
    found = score_run(run, qrels, ALL, top_k=100)
    assert all(row.tolist() == [0, 1, 0] for row in found.values())


def test_an_empty_and_a_perfect_run():
    qrels = {"q1": {"a": 1, "b": 1}, "q2": {"c": 2}}
    assert all(row.tolist() == [0, 0] for row in score_run({}, qrels, ALL, top_k=100).values())
    run = {"q1": [Hit("b", 2.0), Hit("a", 1.0)], "q2": [Hit("c", 1.0)]}
    rows = score_run(run, qrels, [metric for metric in ALL if metric.cutoff != 1], top_k=100)
    assert all(row.tolist() == [1, 1] for row in rows.values())


def test_hits_beyond_the_depth_do_not_count():
    hits = [Hit(f"d{i}", float(-i)) for i in range(30)]
    found = score_run({"q": hits}, {"q": {"d20": 1}}, [Metric("map"), Metric("recall", 20)], top_k=20)
    assert found[Metric("map")] == [0]
    assert score_run({"q": hits}, {"q": {"d20": 1}}, [Metric("map")], top_k=30)[Metric("map")] == [1 / 21]


def test_first_relevant():
    hits = [Hit("a", 3.0), Hit("b", 2.0), Hit("c", 1.0)]
    assert first_relevant(hits, {"c": 1, "b": 0}) == 3
    assert first_relevant(hits, {"x": 1}) is None
    assert first_relevant([], {"x": 1}) is None


def test_every_measure_is_explained():
    for name, measure in MEASURES.items():
        assert measure.label and len(measure.meaning) > 20, name
