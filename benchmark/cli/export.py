"""`domainbench export`: a measured pipeline for use elsewhere."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def export(
    what: Annotated[Literal["haystack"], typer.Argument(help="For which library.")],
    pipeline: Annotated[
        str,
        typer.Option("--pipeline", "-p", help="A letter (A: the baseline, then B, C... as compared) or a model spec."),
    ],
    to: Annotated[
        Path | None, typer.Option("--to", help="The folder; haystack-<model spec> by default. An earlier export goes.")
    ] = None,
    domain: Annotated[
        str | None, typer.Option("--domain", help="The domain; that of the benchmark file by default.")
    ] = None,
    benchmark: Annotated[Path | None, typer.Option("--benchmark", "-b", help="The benchmark file.")] = None,
) -> None:
    """A pipeline with its models and the documents in one folder: Haystack's YAML, a script that asks it, a README."""
    from benchmark.cli.state import project_folder
    from benchmark.errors import BenchError
    from benchmark.export.haystack import export_haystack
    from benchmark.pipeline import hold
    from benchmark.project import Project

    project = Project.find(project_folder())
    path = benchmark or project.root / "benchmark.yaml"
    spec = project.benchmark(path)
    if domain is None:
        if len(spec.domains) > 1:
            raise BenchError(f"{path.name} has several domains; name one with --domain: {', '.join(spec.domains)}")
        domain = spec.domains[0]
    chosen = project.domain(domain)
    hold(chosen)
    for line in export_haystack(project, chosen, spec, pipeline, to):
        typer.echo(line)
