"""A reranker whose scores are added to those of its first stage."""

import numpy as np
import pytest

from benchmark.encoders.fused import ZScores, fuse_reranked
from benchmark.encoders.retrieve import RerankRetriever, open_retriever
from benchmark.records import Chunk, Hit
from benchmark.weights import model_fingerprint

TEXTS = ["a mooring is let", "the queen is old and the hive is crowded", "rye flour and water", "ninety minutes", "let"]
CHUNKS = [Chunk(f"d#{i}", "d", "", (), -1, -1, text) for i, text in enumerate(TEXTS)]
QUERIES = {"q1": "is a mooring let", "q2": "rye and the queen"}


class Known:
    """A first stage with given scores."""

    def __init__(self, scores):
        self.scores = scores

    def run(self, queries, depth, candidates=None):
        hits = [Hit(chunk, score) for chunk, score in sorted(self.scores.items(), key=lambda item: -item[1])]
        return {
            query: [hit for hit in hits if candidates is None or hit.chunk in candidates[query]][:depth]
            for query in queries
        }


class Reader:
    """A cross-encoder that looks its scores up, and counts what it was asked."""

    def __init__(self, scores):
        self.scores, self.asked = scores, 0

    def predict(self, pairs, **settings):
        self.asked += len(pairs)
        return np.array([self.scores[text] for _, text in pairs], dtype=np.float32)


FIRST = {"a": 10.0, "b": 9.0, "c": 8.0, "d": 1.0, "e": 0.5}
SECOND = {"A": -5.0, "B": 3.0, "C": 9.0, "D": 99.0, "E": 50.0}


def ranked(weights, depth=3, candidates=None, reader=None):
    texts = {name: name.upper() for name in FIRST}
    retriever = RerankRetriever(Known(FIRST), reader or Reader(SECOND), texts, depth, weights=weights)
    return retriever.run({"q": "query"}, 5, candidates)["q"]


def names(hits):
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    return "".join(hit.chunk for hit in hits)


def test_only_the_best_hits_are_fused_and_the_rest_keeps_its_order():
    assert names(ranked(None)) == "cbade"
    assert names(ranked([0.0, 1.0])) == "cbade"
    assert names(ranked([1.0, 0.0])) == "abcde"
    # Over a, b and c both sides are close to evenly spaced: what the weights say decides.
    assert names(ranked([0.6, 0.4])) == "abcde"
    assert names(ranked([0.4, 0.6])) == "cbade"


def test_candidates_are_fused_whatever_the_depth():
    assert names(ranked([0.0, 1.0], depth=1, candidates={"q": ["a", "d", "c"]})) == "dca"
    assert names(ranked([1.0, 0.0], depth=1, candidates={"q": ["a", "d", "c"]})) == "acd"
    assert ranked([0.5, 0.5], candidates={"q": []}) == []


def test_a_reranker_without_weight_is_not_asked():
    reader = Reader(SECOND)
    ranked([1.0, 0.0], reader=reader)
    assert reader.asked == 0
    ranked([0.9, 0.1], reader=reader)
    assert reader.asked == 3


def test_scores_are_normalised_over_the_candidates():
    fused = fuse_reranked([3.0, 1.0, 2.0], [10.0, 10.0, 40.0], [0.25, 0.75])
    first = np.array([1.0, -1.0, 0.0]) / np.sqrt(2 / 3)
    second = np.array([-10.0, -10.0, 20.0]) / np.sqrt(200)
    np.testing.assert_allclose(fused, 0.25 * first + 0.75 * second, rtol=1e-5)
    assert len(fuse_reranked([], [], [0.5, 0.5])) == 0
    assert fuse_reranked([1.0], [2.0], [0.5, 0.5]).tolist() == [0.0]


def test_a_pool_decides_the_scale_and_everything_is_scored():
    row = np.array([1.0, 3.0, 100.0], dtype=np.float32)
    scores = ZScores([row, np.zeros(3, dtype=np.float32)], np.array([0, 1])).fused([1.0, 1.0])
    np.testing.assert_allclose(scores, [-1.0, 1.0, 98.0])


@pytest.fixture
def specs(project, cross_encoder):
    for name, weights in (("plain", ""), ("first", "[1, 0]"), ("second", "[0, 1]"), ("both", "[0.5, 0.5]")):
        more = f"weights: {weights}\n" if weights else ""
        (project.specs_folder / f"{name}.yaml").write_text(f"retriever: bm25\nreranker: ce\ndepth: 3\n{more}")
    return project


def test_a_specs_weights_rank(specs):
    domain = specs.domain("village")
    found = {
        name: open_retriever(specs, domain, name, CHUNKS).run(QUERIES, 5)
        for name in ("bm25", "plain", "first", "second", "both")
    }
    for query in QUERIES:
        order = {name: [hit.chunk for hit in run[query]] for name, run in found.items()}
        assert order["first"] == order["bm25"]
        assert order["second"] == order["plain"]
        assert sorted(order["both"]) == sorted(order["bm25"])
        assert order["both"][3:] == order["bm25"][3:]
    assert any(found["plain"][query][0].chunk != found["bm25"][query][0].chunk for query in QUERIES)


def test_weights_are_part_of_a_pipelines_identity(specs):
    prints = {name: model_fingerprint(specs, name) for name in ("plain", "first", "second", "both")}
    assert len(set(prints.values())) == 4
