"""`domainbench judge`: have the answers judged by a language model, and rate the pipelines."""

from typing import Annotated

import typer

from benchmark.cli.opening import BenchmarkFile, DryRun, open_pipelines

PLAIN_ONLY = "answers are rated by the metrics that need no language model, and nobody is asked (docs/judging.md)"


def judge(
    benchmark: BenchmarkFile = None,
    dry_run: DryRun = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ask the judge anew; do not take the verdicts that are kept.")
    ] = False,
) -> None:
    """Kept answers to verdicts of a judge, and to answers.md: which pipeline's answers are better."""
    from benchmark.files import shown
    from benchmark.reporting.answers_pages import conclusions

    pipelines = open_pipelines(benchmark)
    spec = pipelines[0].spec
    judging = spec.answers is None or spec.answers.judge is not None
    if not judging:
        typer.echo(f"no judge is named under 'answers': {PLAIN_ONLY}", err=True)
    for pipeline in pipelines:
        if dry_run:
            for line in pipeline.planned_judge(fresh) if judging else ():
                typer.echo(line)
            continue
        for line in conclusions(pipeline.judge(fresh)):
            typer.echo(f"{pipeline.domain.name}: {line}")
        typer.echo(shown(pipeline.domain.results / "answers.md"))
