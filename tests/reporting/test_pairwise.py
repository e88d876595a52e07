"""Every model against every other."""

import numpy as np
import pytest

from benchmark import stats
from benchmark.reporting.leaderboard import read_leaderboard
from benchmark.reporting.pages import leaderboard_markdown
from benchmark.reporting.pairwise import pair_of


def test_every_pair_once_with_its_own_figures(made, kit):
    board = read_leaderboard(made.domain)
    names = [system.name for system in board.systems]
    assert len(board.pairwise) == len(names) * (len(names) - 1) // 2
    assert len({frozenset((pair.first, pair.second)) for pair in board.pairwise}) == len(board.pairwise)
    scores = board.scores["retrieval"]
    for pair in board.pairwise:
        one, other = (np.asarray(scores[name][board.main]) for name in (pair.first, pair.second))
        gaps = stats.differences(one, other)
        assert pair.difference == pytest.approx(gaps.mean())
        assert (pair.wins, pair.losses, pair.ties) == stats.counts(gaps)
        expected = stats.sign_flip_test(one, other, permutations=board.settings.permutations, seed=board.settings.seed)
        assert pair.p == pytest.approx(expected)
        assert pair.corrected_p >= pair.p
        assert pair.verdict == stats.verdict(pair.difference, pair.corrected_p, board.settings.alpha)


def test_the_family_is_all_pairs(made):
    board = read_leaderboard(made.domain)
    corrected = stats.holm([pair.p for pair in board.pairwise])
    assert [pair.corrected_p for pair in board.pairwise] == pytest.approx(corrected)
    # Against the baseline the family is smaller, so nothing can be shown only among all pairs.
    for pair in board.pairwise:
        if pair.first == board.baseline.name:
            assert pair.corrected_p >= board.comparison("retrieval", pair.second).corrected_p - 1e-12


def test_seen_from_either_side(made, kit):
    board = read_leaderboard(made.domain)
    here, there = pair_of(board, kit.TUNED, kit.BASE), pair_of(board, kit.BASE, kit.TUNED)
    assert here.difference == -there.difference > 0
    assert (here.low, here.high) == (-there.high, -there.low)
    assert (here.wins, here.losses, here.verdict) == (there.losses, there.wins, "better")
    assert there.verdict == "worse"
    with pytest.raises(KeyError):
        pair_of(board, kit.BASE, kit.BASE)


def test_the_matrix_is_antisymmetric(made):
    board = read_leaderboard(made.domain)
    lines = leaderboard_markdown(board).split("### Every pair of models")[1].split("\n\n")[1].split("\n")
    cells = [[cell.strip() for cell in line.strip("|").split("|")][1:] for line in lines[2:]]
    assert len(cells) == len(board.systems)
    for i, row in enumerate(cells):
        assert row[i] == ""
        for j, cell in enumerate(row):
            if i < j:
                better, worse = "▲" in cell, "▼" in cell
                assert (better, worse) == ("▼" in cells[j][i], "▲" in cells[j][i])
                assert cell.split("(")[1] == cells[j][i].split("(")[1]
