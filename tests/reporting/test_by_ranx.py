"""`leaderboard --check` where the runs are kept: ranx gives every score once more."""

import dataclasses

import numpy as np
import pytest

from benchmark.errors import BenchError
from benchmark.reporting.by_ranx import check_by_ranx, scores_by_ranx
from benchmark.reporting.leaderboard import read_leaderboard
from benchmark.reporting.metrics import Metric


def test_every_score_is_compared(made):
    board = read_leaderboard(made.domain)
    wanted = 2 * len(board.systems) * len(board.metrics) * len(board.queries)
    assert check_by_ranx(made.domain, made.benchmark, board) == wanted


def test_a_score_that_ranx_does_not_give_is_told(made, kit):
    board = read_leaderboard(made.domain)
    metric = board.metrics[0]
    column = list(board.scores["reranking"][kit.TUNED][metric])
    column[3] += 0.01
    rows = {**board.scores["reranking"][kit.TUNED], metric: column}
    scores = {**board.scores, "reranking": {**board.scores["reranking"], kit.TUNED: rows}}
    with pytest.raises(BenchError) as error:
        check_by_ranx(made.domain, made.benchmark, dataclasses.replace(board, scores=scores))
    (line,) = error.value.problems
    assert f"{metric}: for 1 of {len(board.queries)} questions ranx's score is not the leaderboard's" in line


def test_other_runs_than_the_leaderboards_are_not_asked_about(made):
    board = read_leaderboard(made.domain)
    systems = (dataclasses.replace(board.systems[0], fingerprint="another"), *board.systems[1:])
    assert check_by_ranx(made.domain, made.benchmark, dataclasses.replace(board, systems=systems)) is None
    assert check_by_ranx(made.domain, made.benchmark.model_copy(update={"top_k": 17}), board) is None


def test_a_query_without_hits_scores_zero():
    found = scores_by_ranx({"q2": []}, {"q1": {"a": 1}, "q2": {"a": 1}}, [Metric("mrr", 10)], top_k=10)
    np.testing.assert_array_equal(found[Metric("mrr", 10)], [0, 0])
