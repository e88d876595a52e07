"""The report in all its forms: report.md from the kept leaderboard, and report.html and report.pdf from it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmark.console import Reporter
from benchmark.errors import BenchError
from benchmark.files import shown, write_bytes, write_text
from benchmark.project import Domain, Project
from benchmark.reporting import report_html, report_pdf
from benchmark.reporting.board import Settings
from benchmark.reporting.leaderboard import read_leaderboard
from benchmark.reporting.page.runs import read_manifests
from benchmark.reporting.report import make_report
from benchmark.specs import BenchmarkSpec

FORMS: Final = (report_html.NAME, report_pdf.NAME)
"""Of the report, beside `report.md`."""
_AGAIN = "make it anew: domainbench leaderboard"


def write_report_files(
    project: Project, domain: Domain, benchmark: BenchmarkSpec, reporter: Reporter, *, html: bool, pdf: bool
) -> Iterator[Path]:
    """Make the report anew from the kept leaderboard, and its other forms from it.

    Args:
        project: Where the specs are.
        domain: Whose report.
        benchmark: What was run.
        reporter: Where notes go.
        html: Whether to write `report.html`, also where there is none yet.
        pdf: The same for `report.pdf`.

    Yields:
        The files, as they are written.

    Raises:
        BenchError: There is no leaderboard, it is not that of the runs or of the benchmark file, or the PDF needs a
            package that is not installed.
    """
    if pdf:
        report_pdf.check_installed()
    board = read_leaderboard(domain)
    where = shown(domain.results / "leaderboard.json")
    if board.settings != Settings.of(benchmark) or [one.name for one in board.systems] != list(benchmark.compared):
        raise BenchError(f"{where}: is not what the benchmark file asks for; {_AGAIN}")
    read_manifests(domain, board)
    report = make_report(project, domain, benchmark, board, reporter)
    yield report
    yield from write_forms(report, reporter, html=html, pdf=pdf)


def write_forms(report: Path, reporter: Reporter, *, html: bool = False, pdf: bool = False) -> Iterator[Path]:
    """The other forms of a `report.md`; those that are there are made anew, lest they show an earlier verdict.

    Args:
        report: The `report.md`.
        reporter: Told of a form that cannot be made anew.
        html: Whether to write `report.html`, also where there is none yet.
        pdf: The same for `report.pdf`.

    Yields:
        The files, as they are written.

    Raises:
        BenchError: The PDF is asked for and cannot be made.
    """
    path = report.with_name(report_html.NAME)
    if html or path.is_file():
        write_text(path, report_html.report_html(report))
        yield path
    path = report.with_name(report_pdf.NAME)
    if pdf or path.is_file():
        try:
            write_bytes(path, report_pdf.report_pdf(report))
        except BenchError as error:
            if pdf:
                raise
            reporter.note(f"{shown(path)}: is still that of an earlier report ({error})")
            return
        yield path
