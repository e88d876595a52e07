"""`domainbench report`: the report anew with the author's words in it, and as HTML and PDF."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    benchmark: Annotated[
        Path | None, typer.Argument(help="The benchmark file; benchmark.yaml of the project by default.")
    ] = None,
    html: Annotated[bool, typer.Option("--html", help="Write report.html as well, which needs no other file.")] = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write report.pdf as well; needs domainbench[pdf].")] = False,
) -> None:
    """The kept leaderboard to report.md, with what its author wrote into it, and to HTML and PDF."""
    from benchmark.cli.screen import Screen
    from benchmark.cli.state import project_folder
    from benchmark.files import shown
    from benchmark.pipeline import hold
    from benchmark.project import Project
    from benchmark.reporting.report_files import write_report_files

    project = Project.find(project_folder())
    spec = project.benchmark(benchmark or project.root / "benchmark.yaml")
    domains = [project.domain(name) for name in spec.domains]
    for domain in domains:
        hold(domain)
    for domain in domains:
        for path in write_report_files(project, domain, spec, Screen(), html=html, pdf=pdf):
            typer.echo(shown(path))
