"""What an author writes into a report outlives every new making of it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.console import SILENT
from benchmark.reporting.author import PLACES, others, place, read_written, stamped, write_report
from benchmark.reporting.leaderboard import check_leaderboard, read_leaderboard
from benchmark.reporting.plots import planned_plots
from benchmark.reporting.report import make_report

WORDS = (
    "\nI *think* so. {{ 7 * 7 }} {% raw %} <b>&amp;</b> | $5\n\n```\ncode\n```\n   trailing  \r\nümlaut \U0001f41d\n"
)


class Notes:
    """A reporter that keeps what it is told."""

    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)


def undrawn(board, folder, costs):
    """In place of `write_plots`, where a test reads the report's text."""
    return planned_plots(board, costs)


def make(lab) -> list[str]:
    notes = Notes()
    make_report(lab.project, lab.domain, lab.benchmark, read_leaderboard(lab.domain), notes, undrawn)
    return notes.lines


def write_into(path: Path, name: str, words: str) -> None:
    raw = path.read_bytes()
    empty = place(name, {}).encode()
    assert raw.count(empty) == 1
    path.write_bytes(raw.replace(empty, place(name, {name: words}).encode()))


@pytest.fixture
def report(made):
    return made.domain.results / "report.md"


def copies(report) -> list[Path]:
    return sorted(report.parent.glob("report.kept-*.md"))


def test_every_place_is_kept_byte_for_byte(made, report):
    for name in PLACES:
        write_into(report, name, WORDS + name + "\n")
    written = report.read_bytes()
    notes = make(made)
    assert report.read_bytes() == written
    assert read_written(report).places == {name: WORDS + name + "\n" for name in PLACES}
    assert not copies(report)
    assert len(notes) == 1
    check_leaderboard(made.domain, made.benchmark)


def test_an_author_s_words_stay_when_the_figures_change(made, report):
    write_into(report, "discussion", WORDS)
    lab = made.with_benchmark(models=["bm25"])
    from benchmark.reporting.leaderboard import make_leaderboard

    board = make_leaderboard(lab.project, lab.domain, lab.benchmark, SILENT)
    before = report.read_bytes()
    make_report(lab.project, lab.domain, lab.benchmark, board, SILENT, undrawn)
    assert report.read_bytes() != before
    assert read_written(report).places["discussion"] == WORDS


def test_a_renamed_place_is_kept_at_the_end_and_told(made, report):
    write_into(report, "discussion", WORDS)
    report.write_bytes(report.read_bytes().replace(b"<!-- author: discussion -->", b"<!-- author: my thoughts -->"))
    notes = make(made)
    # The mark itself was changed outside of the places, so the old file is kept as well.
    assert any("my thoughts" in line for line in notes)
    assert read_written(report).places["my thoughts"] == WORDS
    assert "## From an earlier report" in report.read_text()
    before = report.read_bytes()
    again = make(made)
    assert report.read_bytes() == before, "it stays there, however often the report is made"
    assert any("my thoughts" in line for line in again)


BROKEN = {
    "not closed": (b"\n<!-- /author -->", b"\n"),
    "closed twice": (b"<!-- /author -->", b"<!-- /author -->\n<!-- /author -->"),
    "begun in another": (b"<!-- /author -->", b"<!-- author: other -->\n<!-- /author -->"),
    "misspelt": (b"<!-- /author -->", b"<!-- /author: discussion -->\n<!-- /author -->"),
    "no mark at all": (b"<!-- author: discussion -->", b""),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_nothing_is_lost_where_a_mark_is_broken(made, report, fault):
    write_into(report, "discussion", WORDS)
    write_into(report, "conclusion", "\nkept\n")
    old, new = BROKEN[fault]
    head, tail = report.read_bytes().split(b"<!-- author: discussion -->")
    whole = head + (b"<!-- author: discussion -->" + tail).replace(old, new, 1)
    report.write_bytes(whole)
    notes = make(made)
    assert [copy.read_bytes() for copy in copies(report)] == [whole]
    (told,) = [line for line in notes if "report.kept-1.md" in line]
    assert "\n" not in told
    again = make(made)
    assert len(copies(report)) == 1, "the new report is whole, so nothing more is kept"
    assert not any("kept-" in line for line in again)
    check_leaderboard(made.domain, made.benchmark)


def test_words_outside_of_the_places_are_kept_in_a_copy(made, report):
    text = report.read_text().replace("## Method", "My own words.\n\n## Method")
    report.write_text(text)
    (told,) = [line for line in make(made) if "kept-1" in line]
    assert "changed outside" in told
    assert copies(report)[0].read_text() == text
    assert "My own words." not in report.read_text()


def test_windows_line_ends_are_no_change(made, report):
    write_into(report, "summary", "\nmine\n")
    report.write_bytes(report.read_bytes().replace(b"\n", b"\r\n"))
    assert not read_written(report).problem
    make(made)
    assert read_written(report).places["summary"] == "\r\nmine\r\n"


@pytest.mark.parametrize("raw", [b"\xff\xfe not text", b"a\0b"])
def test_a_report_that_is_no_text_is_kept_whole(made, report, raw):
    report.write_bytes(raw)
    make(made)
    assert copies(report)[0].read_bytes() == raw
    assert "# Report" in report.read_text()


def test_a_report_of_an_earlier_version_is_no_author_s(tmp_path):
    path = tmp_path / "report.md"
    path.write_text("# Report\n\nwithout places and without a stamp\n")
    assert not read_written(path).problem
    assert write_report(path, lambda written: f"# New\n\n{place('summary', written)}\n") == []
    assert not copies(path)


def test_empty_places_of_other_names_vanish():
    assert others({"summary": "x\n", "gone": " \n", "old": "y\n"}) == ["old"]


def test_copies_never_overwrite_one_another(tmp_path):
    path = tmp_path / "report.md"
    for words in ("one", "two", "two"):
        path.write_text(stamped("# R\n") + words)
        write_report(path, lambda written: "# R\n")
    assert [copy.read_text().rsplit("\n", 1)[-1] for copy in copies(path)] == ["one", "two"]


KILLED = """
import os, signal, sys
from pathlib import Path
import benchmark.files as files
from benchmark.reporting import author
path, number = Path(sys.argv[1]), int(sys.argv[2])
calls = 0
for name in ("fsync", "open", "rename", "replace"):
    real = getattr(os, name)
    def counted(*words, real=real, **more):
        global calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*words, **more)
    setattr(os, name, counted)
author.write_report(path, lambda written: "# New" + chr(10) + author.place("summary", written) + chr(10))
print(calls)
"""


def test_a_kill_at_any_step_loses_nothing(tmp_path):
    path = tmp_path / "report.md"
    text = stamped("# Old\n" + place("summary", {"summary": "\nprecious\n"}) + "\n") + "and outside\n"
    killed = 0
    for number in range(1, 40):
        for old in tmp_path.iterdir():
            old.unlink()
        path.write_text(text)
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(path), str(number)], capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        )  # fmt: skip
        assert "\nprecious\n" in path.read_text()
        assert any("and outside" in file.read_text() for file in tmp_path.glob("report*.md"))
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        killed += 1
    assert killed > 2, "nothing was killed"
