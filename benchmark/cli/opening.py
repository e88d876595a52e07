"""From a command line to pipelines whose results are locked, and the options that many commands have."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.state import project_folder

if TYPE_CHECKING:
    from benchmark.pipeline import Pipeline
    from benchmark.project import Project
    from benchmark.specs import BenchmarkSpec

BenchmarkFile = Annotated[
    Path | None, typer.Argument(help="The benchmark file; benchmark.yaml of the project by default.")
]
BenchmarkOption = Annotated[Path | None, typer.Option("--benchmark", "-b", help="The benchmark file.")]
DomainOption = Annotated[
    str | None, typer.Option("--domain", help="The domain; that of the benchmark file by default.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Ask the language model anew; do not replay kept answers.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say which calls, tokens and money it would take; ask nobody.")]


def open_pipelines(benchmark: Path | None, general: bool = False) -> "list[Pipeline]":
    """One locked pipeline for each domain of the benchmark file; the locks go with the process.

    Args:
        benchmark: The file; `benchmark.yaml` of the project by default.
        general: Whether the results on general sets are needed, and so locked, as well.
    """
    project, spec = _open(benchmark)
    pipelines = _locked(project, spec, spec.domains)
    if general:
        _locked(project, spec, spec.general)
    return pipelines


def open_pipeline(benchmark: Path | None, domain: str | None, *, lock: bool = True) -> "Pipeline":
    """The pipeline of one domain.

    Args:
        benchmark: The file; `benchmark.yaml` of the project by default.
        domain: What was given with --domain.
        lock: Whether its results are held, as for everything that writes into them.

    Raises:
        BenchError: There are several domains and none was given, or one that the file does not name.
    """
    from benchmark.cli.screen import Screen
    from benchmark.errors import BenchError, did_you_mean
    from benchmark.pipeline import Pipeline

    project, spec = _open(benchmark)
    if domain is None:
        if len(spec.domains) > 1:
            raise BenchError(
                f"the benchmark file has several domains; name one with --domain: {', '.join(spec.domains)}"
            )
        domain = spec.domains[0]
    if domain not in spec.domains:
        raise BenchError(
            f"--domain {domain}: not under 'domains' in the benchmark file; {did_you_mean(domain, spec.domains)}"
        )
    return _locked(project, spec, [domain])[0] if lock else Pipeline(project, project.domain(domain), spec, Screen())


def _open(benchmark: Path | None) -> "tuple[Project, BenchmarkSpec]":
    from benchmark.project import Project

    project = Project.find(project_folder())
    return project, project.benchmark(benchmark or project.root / "benchmark.yaml")


def _locked(project: "Project", spec: "BenchmarkSpec", domains: list[str]) -> "list[Pipeline]":
    from benchmark.cli.screen import Screen
    from benchmark.pipeline import Pipeline, hold

    screen = Screen()
    pipelines = [Pipeline(project, project.domain(name), spec, screen) for name in domains]
    for pipeline in pipelines:
        hold(pipeline.domain)
    return pipelines
