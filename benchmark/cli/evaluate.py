"""`domainbench evaluate`: a plan of what is kept and what must be computed, then the runs."""

from enum import StrEnum
from typing import Annotated

import typer

from benchmark.cli.opening import BenchmarkOption, open_pipelines
from benchmark.errors import BenchError


class Where(StrEnum):
    """What carries the work out."""

    local = "local"
    ray = "ray"


def evaluate(
    name: Annotated[str | None, typer.Argument(help="One model spec; those of the benchmark file by default.")] = None,
    benchmark: BenchmarkOption = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only say what is kept, what must be encoded and scored, and how long it takes."
        ),
    ] = False,
    executor: Annotated[
        Where, typer.Option("--executor", help="local: this process; ray: the machines of a Ray cluster.")
    ] = Where.local,
    address: Annotated[
        str | None,
        typer.Option("--address", help="Of the cluster's head, HOST:PORT; the cluster found here by default."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", min=1, help="Processor cores of each Ray task; as many as this process uses by default."
        ),
    ] = None,
) -> None:
    """Model specs to runs: a ranking for each question, scored by mteb. Exits with 1 where a model failed."""
    from benchmark.evaluation.execute import carry_out
    from benchmark.evaluation.plan import make_plan
    from benchmark.evaluation.plan_lines import plan_lines, tell_plan
    from benchmark.evaluation.rates import Rates

    if executor is not Where.ray and (address is not None or threads is not None):
        raise BenchError("--address and --threads go with --executor ray")
    pipelines = open_pipelines(benchmark, general=True)
    project, reporter, spec = pipelines[0].project, pipelines[0].reporter, pipelines[0].spec
    groups = [pipeline.evaluators() for pipeline in pipelines]
    names = (name,) if name else spec.compared
    plan = make_plan(groups, names, Rates(project, measure=True, reporter=reporter), fetch=not dry_run)
    if dry_run:
        for line in plan_lines(plan):
            typer.echo(line)
        plan.check()
        return
    tell_plan(plan, reporter)
    chosen = None
    if executor is Where.ray:
        from benchmark.evaluation.ray_executor import RayExecutor

        chosen = RayExecutor(project, address, threads)
    evaluation = carry_out(plan, reporter, chosen)
    for outcome in evaluation.outcomes:
        score = outcome.facts["scores"]["ndcg_at_10"]
        typer.echo(f"{outcome.facts['task']} {outcome.facts['spec']}: nDCG@10 {score:.4f}")
    evaluation.all()
