"""Leaderboard, report and page of a domain in one go, each run read once; skipped where nothing has changed."""

from benchmark.console import Reporter
from benchmark.files import shown
from benchmark.project import Domain, Project
from benchmark.reporting.board import TASKS, Leaderboard
from benchmark.reporting.drawing import Drawing
from benchmark.reporting.inputs import read_evaluated
from benchmark.reporting.leaderboard import make_leaderboard, read_leaderboard, write_page
from benchmark.reporting.report import make_report
from benchmark.reporting.report_files import FORMS, write_forms
from benchmark.reporting.unchanged import fingerprint_of, is_unchanged, keep
from benchmark.specs import BenchmarkSpec


def make_all(project: Project, domain: Domain, benchmark: BenchmarkSpec, reporter: Reporter) -> Leaderboard:
    """Everything that is made from kept runs; loads no model. What is there and would be the same is left alone.

    Args:
        project: Where the model specs stand.
        domain: Whose runs are compared.
        benchmark: What is compared, on which metric, with which seed.
        reporter: Where notes go.

    Raises:
        BenchError: Runs are missing, belong to another test set, or disagree with the scores that mteb reported.
    """
    fingerprint = fingerprint_of(project, domain, benchmark)
    if is_unchanged(domain, fingerprint):
        reporter.note("leaderboard, report and page: nothing has changed, skipped")
        return read_leaderboard(domain)
    with Drawing() as drawing:
        evaluated = read_evaluated(domain, benchmark)
        board = make_leaderboard(project, domain, benchmark, reporter, evaluated)
        report = make_report(project, domain, benchmark, board, reporter, drawing.draw)
        write_page(project, domain, benchmark, board, evaluated.runs[TASKS[0]])
    # Not before the plots are drawn, which are in them.
    forms = list(write_forms(report, reporter))
    for path in forms:
        reporter.note(f"report: {shown(path)}, as there was one")
    if forms == [path for path in map(report.with_name, FORMS) if path.is_file()]:  # otherwise it is tried again
        keep(domain, fingerprint)
    return board
