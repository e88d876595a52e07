"""Plots by a second process: the same files, and no loss where that process fails."""

import subprocess
import sys

import pytest

from benchmark.console import SILENT
from benchmark.reporting import drawing
from benchmark.reporting.drawing import Drawing
from benchmark.reporting.leaderboard import read_leaderboard
from benchmark.reporting.plots import planned_plots, write_plots
from benchmark.reporting.whole import make_all


@pytest.fixture
def unloaded(monkeypatch):
    """As in a process that has not loaded matplotlib yet, on a machine with two cores."""
    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
    monkeypatch.setattr(drawing, "cores", lambda: 2)


def plots_of(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_second_process_draws_the_same(made, tmp_path, unloaded, monkeypatch):
    board = read_leaderboard(made.domain)
    monkeypatch.setattr(drawing, "write_plots", lambda *_: pytest.fail("drawn here"))
    with Drawing() as drawn:
        assert drawn.draw(board, tmp_path / "other", {}) == planned_plots(board, {})
    assert plots_of(tmp_path / "other") == plots_of(made.domain.results / "plots")


def test_on_one_core_it_is_drawn_here(made, tmp_path, unloaded, monkeypatch):
    monkeypatch.setattr(drawing, "cores", lambda: 1)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    with Drawing() as drawn:
        drawn.draw(read_leaderboard(made.domain), tmp_path / "here", {})
    assert plots_of(tmp_path / "here") == plots_of(made.domain.results / "plots")


def test_a_process_that_dies_loses_nothing(made, tmp_path, unloaded, monkeypatch):
    monkeypatch.setattr(drawing, "_CHILD", "import sys; sys.exit(3)")
    with Drawing() as drawn:
        drawn.draw(read_leaderboard(made.domain), tmp_path / "again", {})
    assert plots_of(tmp_path / "again") == plots_of(made.domain.results / "plots")


def test_what_hinders_it_is_raised_here(made, tmp_path, unloaded):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"), Drawing() as drawn:
        drawn.draw(read_leaderboard(made.domain), tmp_path / "file" / "plots", {})


def test_where_the_work_fails_nothing_is_drawn(made, tmp_path, unloaded):
    with pytest.raises(KeyError), Drawing() as drawn:
        child = drawn._child
        raise KeyError
    assert child.returncode is not None, "the process has ended"


def test_all_in_one_go_gives_the_files_of_single_steps(made):
    kept = made.domain.results
    names = [*sorted(path.name for path in kept.glob("leaderboard.*")), "report.md"]
    assert len(names) == 6
    before = {name: (kept / name).read_bytes() for name in names}, plots_of(kept / "plots")
    for name in names:
        (kept / name).unlink()
    make_all(made.project, made.domain, made.benchmark, SILENT)
    assert ({name: (kept / name).read_bytes() for name in names}, plots_of(kept / "plots")) == before


def test_write_plots_and_what_is_planned_agree(made, tmp_path):
    board = read_leaderboard(made.domain)
    assert write_plots(board, tmp_path / "p", {}) == planned_plots(board, {})
