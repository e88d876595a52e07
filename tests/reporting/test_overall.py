"""Several domains in one leaderboard."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from benchmark import stats
from benchmark.errors import BenchError
from benchmark.reporting.compare import with_statistics
from benchmark.reporting.leaderboard import read_leaderboard
from benchmark.reporting.overall import check_overall, make_overall, overall


@pytest.fixture
def two(made):
    """A domain and a smaller one, in which the second model's lead over the baseline is turned around."""
    lab, board = made, read_leaderboard(made.domain)
    names = [system.name for system in board.systems]
    few = 40
    scores = {
        task: {name: {metric: row[:few] for metric, row in columns.items()} for name, columns in systems.items()}
        for task, systems in board.scores.items()
    }
    for columns in scores.values():
        columns[names[0]], columns[names[1]] = columns[names[1]], columns[names[0]]
    return lab, [board, with_statistics(replace(board, domain="second", queries=board.queries[:few], scores=scores))]


def test_every_domain_counts_the_same(two):
    _, boards = two
    found = overall(boards)
    assert found.domains == (boards[0].domain, "second")
    for row in found.rows:
        means = [board.mean("retrieval", row.system).mean for board in boards]
        assert row.by_domain == pytest.approx(means)
        assert row.mean == pytest.approx(np.mean(means))
        if row.against is not None:
            gains = [board.comparison("retrieval", row.system).difference for board in boards]
            assert row.against.difference == pytest.approx(np.mean(gains))
            assert row.against.low < row.against.difference < row.against.high
            assert row.against.corrected_p >= row.against.p


def test_borda_count_is_mteb_s(two):
    """Equal to what mteb's own function makes of the same table."""
    polars = pytest.importorskip("polars")
    from mteb.benchmarks._create_table import _borda_rank_from_long

    _, boards = two
    rows = [
        {"model_name": system.name, "task_name": board.domain, "score": board.mean("retrieval", system.name).mean}
        for board in boards
        for system in board.systems
    ]
    theirs = dict(_borda_rank_from_long(polars.DataFrame(rows)).iter_rows())
    assert {row.system: row.rank for row in overall(boards).rows} == theirs


def test_one_domain_gives_its_own_figures(made):
    board = read_leaderboard(made.domain)
    for row in overall([board]).rows:
        own = board.comparison("retrieval", row.system)
        if own is None:
            continue
        assert row.against.difference == pytest.approx(own.difference)
        assert row.against.p == pytest.approx(own.p)
        assert row.against.corrected_p == pytest.approx(own.corrected_p)


def test_the_interval_draws_within_the_domain():
    rng = np.random.default_rng(3)
    parts = [rng.normal(0.2, 0.1, 400), rng.normal(-0.2, 0.1, 25)]
    low, high = stats.stratified_interval(parts, resamples=4000)
    # Standard error of the mean of both means, by hand.
    error = np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts)) / 2
    centre = np.mean([part.mean() for part in parts])
    assert (low, high) == pytest.approx((centre - 1.96 * error, centre + 1.96 * error), abs=0.15 * error)
    assert stats.stratified_interval([[0.1, 0.2], [0.3]]) is None


def test_equal_systems_share_a_rank_and_nothing_is_shown(made):
    board = read_leaderboard(made.domain)
    base = board.baseline.name
    scores = {task: dict.fromkeys(columns, columns[base]) for task, columns in board.scores.items()}
    same = with_statistics(replace(board, scores=scores))
    found = overall([same, replace(same, domain="second")])
    assert {row.rank for row in found.rows} == {1}
    assert {row.against.verdict for row in found.rows if row.against} == {"not shown"}


def test_files_and_their_check(two):
    lab, boards = two
    path = make_overall(lab.project, boards)
    text = path.read_text(encoding="utf-8")
    assert "2 domains" in text and "(second/leaderboard.md)" in text
    check_overall(lab.project, boards)
    first = {p.name: p.read_bytes() for p in path.parent.glob("leaderboard.*")}
    assert set(first) == {"leaderboard.md", "leaderboard.csv", "leaderboard.tex", "leaderboard.json"}
    make_overall(lab.project, boards)
    assert {p.name: p.read_bytes() for p in path.parent.glob("leaderboard.*")} == first

    path.write_text(text.replace("better", "worse"), encoding="utf-8")
    data = json.loads(first["leaderboard.json"])
    data["rows"][0]["mean"] += 0.01
    path.with_suffix(".json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(BenchError) as caught:
        check_overall(lab.project, boards)
    assert len(caught.value.problems) == 2
    assert all("make it anew" in line for line in caught.value.problems)


def test_leaderboards_that_do_not_fit_are_refused(made):
    board = read_leaderboard(made.domain)
    with pytest.raises(BenchError, match="do not compare the same models"):
        overall([board, replace(board, domain="second", systems=board.systems[:-1])])
    with pytest.raises(BenchError, match="no leaderboard"):
        overall([])


def test_latex_has_a_row_for_each_model_and_no_bare_special_sign(two):
    lab, boards = two
    make_overall(lab.project, boards)
    text = (lab.project.root / "results" / "leaderboard.tex").read_text(encoding="utf-8")
    body = text.split("\\midrule")[1].split("\\bottomrule")[0].strip().split("\n")
    assert len(body) == len(boards[0].systems)
    for line in body:
        assert line.endswith("\\\\")
        assert len(re.split(r"(?<!\\)&", line)) == 5 + 2
        assert not re.search(r"(?<!\\)[_%#]", line)
