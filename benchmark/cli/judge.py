"""`domainbench judge`: have the answers judged by a language model, and rate the pipelines."""

from pathlib import Path
from typing import Annotated

import typer

PLAIN_ONLY = "answers are rated by the metrics that need no language model, and nobody is asked (docs/judging.md)"


def judge(
    benchmark: Annotated[
        Path | None, typer.Argument(help="The benchmark file; benchmark.yaml of the project by default.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say which calls, tokens and money it would take; ask nobody.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ask the judge anew; do not take the verdicts that are kept.")
    ] = False,
) -> None:
    """Kept answers to verdicts of a judge, and to answers.md: which pipeline's answers are better."""
    from benchmark.answers.judge import judge as judge_answers
    from benchmark.answers.judge import planned_judge
    from benchmark.cli.screen import Screen
    from benchmark.cli.state import project_folder
    from benchmark.files import shown
    from benchmark.pipeline import hold
    from benchmark.project import Project
    from benchmark.reporting.answers import make_answers
    from benchmark.reporting.answers_pages import conclusions

    project = Project.find(project_folder())
    spec = project.benchmark(benchmark or project.root / "benchmark.yaml")
    screen = Screen()
    domains = [project.domain(name) for name in spec.domains]
    for domain in domains:
        hold(domain)
    judging = spec.answers is None or spec.answers.judge is not None
    if not judging:
        typer.echo(f"no judge is named under 'answers': {PLAIN_ONLY}", err=True)
    for domain in domains:
        if dry_run:
            for line in planned_judge(project, domain, spec, fresh) if judging else ():
                typer.echo(line)
            continue
        if judging:
            judge_answers(project, domain, spec, screen, fresh)
        board = make_answers(project, domain, spec, screen)
        for line in conclusions(board):
            typer.echo(f"{domain.name}: {line}")
        typer.echo(shown(domain.results / "answers.md"))
