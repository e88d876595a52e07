"""`domainbench check`: every mistake of a project in one go."""

import os
from pathlib import Path

import typer

from benchmark.cli.screen import Screen
from benchmark.errors import BenchError, Problems
from benchmark.project import Project


def check_project(folder: Path | None, only: str | None) -> int:
    """Print notes and mistakes; returns the exit code (0 without mistakes, 2 otherwise).

    Raises:
        BenchError: There is no project, or no domain of this name.
    """
    from benchmark.domain.check import check_domain

    project = Project.find(folder)
    problems = Problems()
    names = (only,) if only else project.domain_names
    if not names:
        problems.add("tasks/: holds no domain (a folder with a domain.yaml)")
    for name in names:
        try:
            report = check_domain(project, project.domain(name), Screen())
        except BenchError as error:
            problems.absorb(error)
            continue
        for note in report.notes:
            typer.echo(f"note: {name}: {note}")
        for line in report.problems:
            problems.add(line)
    if only is None:
        _check_files(project, problems)
    for line in problems.lines:
        typer.echo(f"error: {line}", err=True)
    typer.echo(f"{len(names)} domain(s) checked, {len(problems)} mistake(s)")
    return 2 if problems.lines else 0


def _check_files(project: Project, problems: Problems) -> None:
    """Model specs and the benchmark file."""
    for name in project.spec_names:
        try:
            spec = project.model_spec(name)
        except BenchError as error:
            problems.absorb(error)
            continue
        variable = spec.api.api_key_env if spec.api is not None else None
        if variable is not None and not os.environ.get(variable):
            typer.echo(
                f"note: model_specs/{name}.yaml: the environment variable {variable} is not set; without it only kept "
                "vectors are there"
            )
    path = project.root / "benchmark.yaml"
    if path.is_file():
        try:
            project.benchmark(path)
        except BenchError as error:
            told = set(problems.lines)
            for line in error.problems:
                if line not in told:
                    problems.add(line)
