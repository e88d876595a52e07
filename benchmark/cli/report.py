"""`domainbench report`: the report anew with the author's words in it, and as HTML and PDF."""

from typing import Annotated

import typer

from benchmark.cli.opening import BenchmarkFile, open_pipelines


def report(
    benchmark: BenchmarkFile = None,
    html: Annotated[bool, typer.Option("--html", help="Write report.html as well, which needs no other file.")] = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write report.pdf as well; needs domainbench[pdf].")] = False,
) -> None:
    """The kept leaderboard to report.md, with what its author wrote into it, and to HTML and PDF."""
    from benchmark.files import shown
    from benchmark.reporting.report_files import write_report_files

    for pipeline in open_pipelines(benchmark):
        parts = pipeline.project, pipeline.domain, pipeline.spec, pipeline.reporter
        for path in write_report_files(*parts, html=html, pdf=pdf):
            typer.echo(shown(path))
