"""What is there and would come out the same is not made again; everything else is."""

import pytest

from benchmark.console import SILENT
from benchmark.files import write_text
from benchmark.project import Project
from benchmark.reporting import unchanged, whole
from benchmark.reporting.leaderboard import read_leaderboard
from benchmark.reporting.unchanged import RECORD, fingerprint_of, is_unchanged, keep
from benchmark.reporting.whole import make_all


def run(lab):
    return make_all(lab.project, lab.domain, lab.benchmark, SILENT)


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """Every time that runs are read and scored."""
    found: list[str] = []
    real = whole.read_evaluated
    monkeypatch.setattr(whole, "read_evaluated", lambda *words: (found.append("read"), real(*words))[1])
    return found


def test_the_second_time_nothing_is_made(made, calls):
    board = run(made)
    before = {path: path.stat().st_mtime_ns for path in made.domain.results.rglob("*") if path.is_file()}
    assert run(made) == board == read_leaderboard(made.domain)
    assert {path: path.stat().st_mtime_ns for path in made.domain.results.rglob("*") if path.is_file()} == before
    assert calls == ["read"]


def edit_report(lab, kit):
    path = lab.domain.results / "report.md"
    write_text(path, path.read_text() + "\nA line of mine.\n")


def edit_run(lab, kit):
    lab.evaluate(kit.TUNED, "reranking", lab.scores(0.5, 99))


CHANGES = {
    "a run": edit_run,
    "the report": edit_report,
    "a plot": lambda lab, kit: (lab.domain.results / "plots" / "scores.png").unlink(),
    "a plot too many": lambda lab, kit: write_text(lab.domain.results / "plots" / "old.png", "x"),
    "a page": lambda lab, kit: (lab.domain.results / "leaderboard.html").unlink(),
    "a figure": lambda lab, kit: write_text(lab.domain.results / "leaderboard.csv", "mine"),
    "a spec's description": lambda lab, kit: write_text(
        lab.project.specs_folder / f"{kit.BASE}.yaml", "package: some_package/model\ndescription: another\n"
    ),
    "what was trained on": lambda lab, kit: write_text(
        lab.domain.model(kit.TUNED) / "trained_chunks.json", '{"chunks": ["doc-0.md#0"]}'
    ),
    "answers": lambda lab, kit: write_text(lab.domain.results / "ratings.json", "{}"),
    "the record": lambda lab, kit: write_text(lab.domain.results / RECORD, "{broken"),
}


def stands(lab) -> bool:
    return is_unchanged(lab.domain, fingerprint_of(lab.project, lab.domain, lab.benchmark))


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_seen(made, kit, what):
    keep(made.domain, fingerprint_of(made.project, made.domain, made.benchmark))
    assert stands(made)
    CHANGES[what](made, kit)
    assert not stands(made)


def test_other_settings_and_another_program_are_changes(made, monkeypatch):
    keep(made.domain, fingerprint_of(made.project, made.domain, made.benchmark))
    assert not stands(made.with_benchmark(seed=7))
    monkeypatch.setattr(unchanged, "_program", lambda: ["another"])
    assert not stands(made)


def test_a_general_set_counts(made, kit):
    lab = kit.add_general(made, "everyday", kit.SYSTEMS)
    keep(lab.domain, fingerprint_of(lab.project, lab.domain, lab.benchmark))
    assert stands(lab) and not stands(made)
    kit.add_general(lab, "everyday", {**kit.SYSTEMS, kit.TUNED: 0.1})
    assert not stands(lab)


def test_what_a_part_says_counts_although_it_is_not_compared(made, kit):
    benchmark = made.benchmark.model_copy(update={"models": [kit.FUSED]})
    path = made.project.specs_folder / f"{kit.TUNED}.yaml"
    before = fingerprint_of(made.project, made.domain, benchmark)
    for words, same in (("description: of another day\n", True), ("licence: MIT\n", False)):
        write_text(path, path.read_text() + words)
        again = fingerprint_of(Project(made.project.root), made.domain, benchmark)
        assert (again == before) == same
