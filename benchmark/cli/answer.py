"""`domainbench answer`: all test questions, by every pipeline; `domainbench ask`: one question of the user's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.state import project_folder

if TYPE_CHECKING:
    from benchmark.pipeline import Pipeline


def answer(
    benchmark: Annotated[
        Path | None, typer.Argument(help="The benchmark file; benchmark.yaml of the project by default.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ask the language model anew; do not replay kept answers.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say which calls, tokens and money it would take; ask nobody.")
    ] = False,
) -> None:
    """Kept runs to a language model's answers, one for each question and pipeline; loads no model that ranks."""
    from benchmark.answers.answer import Inputs, planned
    from benchmark.answers.answer import answer as answer_stage

    for pipeline in _pipelines(benchmark):
        inputs = Inputs(pipeline.chunks(), pipeline.testset())
        parts = pipeline.project, pipeline.domain, pipeline.spec, inputs
        name = pipeline.domain.name
        if dry_run:
            for line in planned(*parts, fresh):
                typer.echo(f"{name}: {line}")
            continue
        facts = answer_stage(*parts, pipeline.reporter, fresh).facts
        typer.echo(
            f"{name}: {facts['answers']} answers from {facts['requests']} requests, {facts['failed']} failed; "
            f"pipelines: {', '.join(facts['pipelines'])}"
        )


def ask(
    question: Annotated[str, typer.Argument(help="Any question.")],
    pipelines: Annotated[
        list[str] | None,
        typer.Option(
            "--pipeline",
            "-p",
            help="A letter (A: the baseline, then B, C... as compared) or a model spec; several times.",
        ),
    ] = None,
    domain: Annotated[
        str | None, typer.Option("--domain", help="The domain; that of the benchmark file by default.")
    ] = None,
    benchmark: Annotated[Path | None, typer.Option("--benchmark", "-b", help="The benchmark file.")] = None,
) -> None:
    """One question, with its passages and a language model's answer from them; two pipelines side by side."""
    from benchmark.answers.answer import MISSING
    from benchmark.answers.ask import ask as ask_pipelines
    from benchmark.answers.ask import chosen_pipelines
    from benchmark.cli.answer_view import show
    from benchmark.errors import BenchError
    from benchmark.records import read_chunks

    found = _pipelines(benchmark, domain)
    if len(found) > 1:
        names = ", ".join(pipeline.domain.name for pipeline in found)
        raise BenchError(f"the benchmark file has several domains; name one with --domain: {names}")
    pipeline = found[0]
    project, spec = pipeline.project, pipeline.spec
    chosen = chosen_pipelines(project, spec, pipelines or [])
    chunks = read_chunks(pipeline.chunks().folder / "chunks.jsonl")
    show(ask_pipelines(project, pipeline.domain, spec, chunks, chosen, question, pipeline.reporter))
    if spec.answers is None:
        typer.echo(f"no answer: {MISSING}", err=True)


def _pipelines(benchmark: Path | None, only: str | None = None) -> "list[Pipeline]":
    """One locked pipeline for each domain of the benchmark file, or for one of them."""
    from benchmark.cli.screen import Screen
    from benchmark.errors import BenchError, did_you_mean
    from benchmark.pipeline import Pipeline, hold
    from benchmark.project import Project

    project = Project.find(project_folder())
    spec = project.benchmark(benchmark or project.root / "benchmark.yaml")
    if only is not None and only not in spec.domains:
        raise BenchError(
            f"--domain {only}: not under 'domains' in the benchmark file; {did_you_mean(only, spec.domains)}"
        )
    screen = Screen()
    names = [only] if only is not None else spec.domains
    pipelines = [Pipeline(project, project.domain(name), spec, screen) for name in names]
    for pipeline in pipelines:
        hold(pipeline.domain)
    return pipelines
