"""`domainbench export`: a measured pipeline for use elsewhere."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from benchmark.cli.opening import BenchmarkOption, DomainOption, open_pipeline


def export(
    what: Annotated[Literal["haystack"], typer.Argument(help="For which library.")],
    pipeline: Annotated[
        str,
        typer.Option("--pipeline", "-p", help="A letter (A: the baseline, then B, C... as compared) or a model spec."),
    ],
    to: Annotated[
        Path | None, typer.Option("--to", help="The folder; haystack-<model spec> by default. An earlier export goes.")
    ] = None,
    domain: DomainOption = None,
    benchmark: BenchmarkOption = None,
) -> None:
    """A pipeline with its models and the documents in one folder: Haystack's YAML, a script that asks it, a README."""
    from benchmark.export.haystack import export_haystack

    chosen = open_pipeline(benchmark, domain)
    for line in export_haystack(chosen.project, chosen.domain, chosen.spec, pipeline, to):
        typer.echo(line)
