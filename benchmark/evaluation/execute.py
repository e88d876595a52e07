"""Carries out a plan, one unit after the other in this process; a model that fails loses no other."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from benchmark.console import Reporter
from benchmark.errors import BenchError, ModelFailuresError
from benchmark.evaluation.bar import WorkBar
from benchmark.evaluation.layout import write_layout
from benchmark.evaluation.plan import Plan, Unit
from benchmark.evaluation.tasks import TaskKind
from benchmark.provenance import Outcome


class Done(NamedTuple):
    """What became of a unit: an outcome, or an error.

    Attributes:
        unit: Which one.
        outcome: What it made; None where it failed.
        error: Why it failed.
    """

    unit: Unit
    outcome: Outcome | None
    error: BenchError | None = None


Executor = Callable[[Plan, WorkBar], Iterator[Done]]
"""Does what a plan has to do, in whatever order, and yields each unit once; raises nothing that is a model's fault."""


class Evaluation(NamedTuple):
    """What became of a plan.

    Attributes:
        outcomes: Of all units but candidates, in the plan's order, kept ones included and failed ones not.
        error: Everything that went wrong: `ModelFailuresError` if a model failed at its work, a plain `BenchError` if there
            were only mistakes in specs or weights that are not there; None where nothing did.
    """

    outcomes: list[Outcome]
    error: BenchError | None

    def all(self) -> list[Outcome]:
        """All outcomes.

        Raises:
            BenchError: The error, if there is one.
        """
        if self.error is not None:
            raise self.error
        return self.outcomes


def carry_out(plan: Plan, reporter: Reporter, executor: Executor | None = None) -> Evaluation:
    """Do everything in a plan that is to be done, and bring the results in mteb's own layout up to date.

    Args:
        plan: What to do.
        reporter: Shows one bar over all of it, and is told of each failure when it happens.
        executor: Does the units; one after the other in this process, by default.
    """
    bar = WorkBar(reporter, plan)
    mistakes = [unit.mistake for unit in plan.units if unit.mistake is not None]
    for line in _lines(mistakes):
        reporter.note(f"failed: {line}; the others go on")
    outcomes = {unit: unit.kept for unit in plan.units if unit.kept is not None}
    failures: list[BenchError] = []
    with bar.shown():
        for done in (executor or in_this_process)(plan, bar):
            if done.outcome is not None:
                outcomes[done.unit] = done.outcome
            elif done.error is not None:
                if str(done.error) not in map(str, failures):
                    bar.note(f"{done.unit.spec}: failed ({done.error.problems[0]}); the others go on")
                failures.append(done.error)
    for evaluator in {unit.domain.name: unit.evaluator for unit in plan.units}.values():
        write_layout(evaluator.project, evaluator.domain)
    made = [outcomes[unit] for unit in plan.units if unit.kind != "candidates" and unit in outcomes]
    lines = _lines([*mistakes, *failures])
    return Evaluation(made, ModelFailuresError(*lines) if failures else BenchError(*lines) if lines else None)


def _lines(errors: Sequence[BenchError]) -> list[str]:
    """Each line once: what is wrong with a model is found out on every task."""
    return list(dict.fromkeys(line for error in errors for line in error.problems))


def in_this_process(plan: Plan, bar: WorkBar) -> Iterator[Done]:
    """One unit after the other; a spec's model is loaded once for both tasks of a domain.

    What is left of a spec that has failed is given up: it would fail again, after the same time.
    """
    failed: dict[str, BenchError] = {}
    no_candidates: dict[str, BenchError] = {}
    for _, group in groupby(plan.to_do, key=lambda unit: (unit.domain.name, unit.spec, unit.kind == "candidates")):
        units = list(group)
        first, domain = units[0], units[0].domain.name
        if first.kind == "candidates":
            done = _candidates(first, bar)
            if done.error is not None:
                no_candidates[domain] = done.error
            yield done
            continue
        hopeless = {unit: failed.get(unit.spec) for unit in units}
        if domain in no_candidates:
            hopeless |= {unit: no_candidates[domain] for unit in units if unit.kind == "reranking"}
        for unit, error in hopeless.items():
            if error is not None:
                bar.end(unit)
                yield Done(unit, None, error)
        for done in _evaluated([unit for unit in units if hopeless[unit] is None], bar):
            if done.error is not None:
                failed[done.unit.spec] = done.error
            yield done


def _candidates(unit: Unit, bar: WorkBar) -> Done:
    bar.begin(unit)
    try:
        return Done(unit, unit.evaluator.candidates(bar))
    except BenchError as error:
        return Done(unit, None, error)
    finally:
        bar.end(unit)


def _evaluated(units: Sequence[Unit], bar: WorkBar) -> Iterator[Done]:
    """Units of one spec on one domain; after a failure the rest of them has failed as well."""
    kinds: list[TaskKind] = [unit.kind for unit in units if unit.kind != "candidates"]
    left = list(units)
    try:
        outcomes = units[0].evaluator.each(units[0].spec, kinds, bar) if units else iter(())
        while left:
            bar.begin(left[0])
            outcome = next(outcomes)
            bar.end(left[0])
            yield Done(left.pop(0), outcome)
    except BenchError as error:
        for unit in left:
            bar.end(unit)
            yield Done(unit, None, error)
