"""`domainbench answer`: all test questions, by every pipeline; `domainbench ask`: one question of the user's own."""

from typing import Annotated

import typer

from benchmark.cli.opening import (
    BenchmarkFile,
    BenchmarkOption,
    DomainOption,
    DryRun,
    Fresh,
    open_pipeline,
    open_pipelines,
)


def answer(
    benchmark: BenchmarkFile = None,
    fresh: Fresh = False,
    dry_run: DryRun = False,
) -> None:
    """Kept runs to a language model's answers, one for each question and pipeline; loads no model that ranks."""
    for pipeline in open_pipelines(benchmark):
        name = pipeline.domain.name
        if dry_run:
            for line in pipeline.planned_answers(fresh):
                typer.echo(f"{name}: {line}")
            continue
        facts = pipeline.answer(fresh).facts
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
    domain: DomainOption = None,
    benchmark: BenchmarkOption = None,
) -> None:
    """One question, with its passages and a language model's answer from them; two pipelines side by side."""
    from benchmark.answers.answer import MISSING
    from benchmark.answers.ask import ask as ask_pipelines
    from benchmark.answers.ask import chosen_pipelines
    from benchmark.cli.answer_view import show
    from benchmark.records import read_chunks

    pipeline = open_pipeline(benchmark, domain)
    project, spec = pipeline.project, pipeline.spec
    chosen = chosen_pipelines(project, spec, pipelines or [])
    chunks = read_chunks(pipeline.chunks().folder / "chunks.jsonl")
    show(ask_pipelines(project, pipeline.domain, spec, chunks, chosen, question, pipeline.reporter))
    if spec.answers is None:
        typer.echo(f"no answer: {MISSING}", err=True)
