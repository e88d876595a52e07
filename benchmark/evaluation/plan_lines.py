"""A plan in words: a line for each model and task, and one for all of it."""

from collections.abc import Iterable, Sequence
from typing import Final

from benchmark.console import Reporter
from benchmark.evaluation.needs import NotFetchedError
from benchmark.evaluation.plan import Plan, Unit, Work

_HEAD: Final = ("domain", "model", "task", "to do", "time")
_NOT_KNOWN: Final = "time not known"


def plan_lines(plan: Plan) -> list[str]:
    """A table of the units and a line with the sum."""
    rows = [_HEAD, *(_row(unit) for unit in plan.units)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD) - 1)]
    table = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]
    return [*table, sum_line(plan)]


def sum_line(plan: Plan) -> str:
    """What is kept, what is to be done and how long it takes, in one line."""
    if not plan.to_do and plan.not_fetched:
        return f"nothing known to do before weights are fetched for {plan.not_fetched} of {len(plan.units)}"
    if not plan.to_do:
        impossible = len(plan.units) - sum(unit.kept is not None for unit in plan.units)
        return "nothing to do: the others are kept" if impossible else "nothing to do: everything is kept"
    kept = sum(unit.kept is not None for unit in plan.units)
    parts = [f"{kept} of {len(plan.units)} kept"]
    parts += [f"{plan.not_fetched} not known before their weights are fetched"] if plan.not_fetched else []
    texts = sum(work.count for work in plan.works if work.source != "pairs")
    pairs = sum(work.count for work in plan.works if work.source == "pairs")
    parts += [f"{texts:,} texts to encode"] if texts else []
    parts += [f"at most {pairs:,} pairs to score"] if pairs else []
    if not plan.works:
        return f"in all: {', '.join(parts)}; nothing to encode or score"
    return f"in all: {', '.join(parts)}; {_time(plan.works)}"


def tell_plan(plan: Plan, reporter: Reporter) -> None:
    """Say all of a plan; where everything is kept, only that."""
    for line in plan_lines(plan) if plan.to_do else [sum_line(plan)]:
        reporter.note(line)


def _row(unit: Unit) -> tuple[str, str, str, str, str]:
    place = (unit.domain.name, unit.spec, unit.kind)
    if unit.kept is not None:
        return (*place, "kept", "")
    if isinstance(unit.mistake, NotFetchedError):
        return (*place, "fetch the weights; what else, they will tell", "")
    if unit.mistake is not None:
        return (*place, "cannot be done", "")
    if not unit.works:
        return (*place, "rank; all vectors are kept, or come before" if unit.needs.encoders else "rank", "")
    return (*place, "; ".join(_what(unit)), _time(unit.works))


def _what(unit: Unit) -> Iterable[str]:
    """What each model is to compute, in words, questions of both kinds together."""
    verbs = {"api": "ask the API for at most", "cross-encoder": "score at most"}
    nouns = {"pairs": "pair", "corpus": "chunk"}
    for model in dict.fromkeys(work.model for work in unit.works):
        counts: dict[str, int] = {}
        for work in unit.works:
            if work.model == model:
                noun = nouns.get(work.source, "question")
                counts[noun] = counts.get(noun, 0) + work.count
        what = " and ".join(f"{count:,} {noun}{'' if count == 1 else 's'}" for noun, count in counts.items())
        whose = "" if model.spec == unit.spec else f" with {model.spec}"
        yield f"{verbs.get(model.family, 'encode')} {what}{whose}"


def _time(works: Sequence[Work]) -> str:
    """About how long works take; honest about those of which it is not known."""
    known = [work.seconds for work in works if work.seconds is not None]
    unknown = sorted({work.model.spec for work in works if work.seconds is None})
    if not known:
        return _NOT_KNOWN
    told = duration(sum(known))
    return f"{told}, and what {', '.join(unknown)} will take" if unknown else told


def duration(seconds: float) -> str:
    """Seconds for people, with as much precision as an estimate deserves.

    >>> duration(0.2), duration(42.3), duration(200), duration(9000)
    ('under 1 s', 'about 42 s', 'about 3 min', 'about 2 h 30 min')
    """
    if seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"about {seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"about {minutes} min"
    return f"about {minutes // 60} h {minutes % 60} min"
