"""Was tuning worth it? What the development split chose, and what the test set says, run by run."""

from collections.abc import Iterator

from markupsafe import Markup

from benchmark.escape import code, md
from benchmark.reporting.board import TASKS, Comparison, Leaderboard
from benchmark.reporting.render import cannot_tell, figures_of, number
from benchmark.reporting.systems import Choice, System


def tuning_section(board: Leaderboard) -> list[Markup]:
    """A headline and sentences for each training run with a compared model; empty where no run left its choice."""
    runs: dict[str, list[System]] = {}
    for system in board.systems:
        if system.choice is not None:
            runs.setdefault(system.choice.run, []).append(system)
    parts = []
    for run, systems in runs.items():
        lines = [_development(choice) for choice in dict.fromkeys(one.choice for one in systems) if choice is not None]
        lines += [_judged(board, system) for system in systems if system.name != board.baseline.name]
        parts += [Markup("### {}").format(code(run)), Markup("\n").join(Markup("- {}").format(line) for line in lines)]
    return parts


def _development(choice: Choice) -> Markup:
    chosen = {
        "tuned": "chose the tuned model",
        "mixed": f"chose a mixture of base and tuned model (share of the tuned one {choice.share:g})",
        "base": "chose the base, so by these signs tuning was not worth it",
    }.get(choice.chosen, "weighed the two sides")
    return Markup("The development split (questions made from documents that training did not see) {}: {}.").format(
        chosen, md(choice.why.rstrip("."))
    )


def _judged(board: Leaderboard, system: System) -> Markup:
    """What the test set says of a system against what it would be without training."""
    base = system.tuned_from or board.baseline.name
    row = _against(board, system, base)
    if row is None:
        return Markup("On the test set {} cannot be judged: {}, which it was made from, is not compared.").format(
            code(system.name), code(base)
        )
    figures = Markup("{} {} against {} of {} {}").format(
        board.main.label,
        number(board.mean(TASKS[0], system.name).mean),
        number(board.mean(TASKS[0], base).mean),
        code(base),
        figures_of(row),
    )
    said = Markup(" ".join(_words(board, system, row)))  # noqa: S704 (our words)
    return Markup("On the test set {}: {}. {}").format(code(system.name), figures, said)


def _words(board: Leaderboard, system: System, row: Comparison) -> Iterator[str]:
    what = "Combining" if system.tuned_from is None else "Tuning"
    if row.verdict == "worse":
        yield f"**{what} made it worse.**"
    elif row.verdict == "better":
        against = system.choice is not None and system.choice.chosen == "base"
        yield f"{what} was worth it on this domain" + (
            ", although the development split chose the base." if against else "."
        )
    elif row.wins == row.losses == 0:
        yield f"**{what} was not worth it**: every question scores the same without it."
    else:
        yield f"**{what} was not shown to be worth it.**{cannot_tell(row)}"
    general = board.general.row(system.name) if board.general is not None else None
    if general is not None and (system.tuned_from or board.baseline.name) == board.baseline.name:
        yield {
            "shown": "**It forgets**: see Forgetting.",
            "not excluded": "That it forgets cannot be excluded: see Forgetting.",
            "excluded": "That it forgets is excluded.",
        }[general.forgetting]


def _against(board: Leaderboard, system: System, base: str) -> Comparison | None:
    if base == board.baseline.name:
        return board.comparison(TASKS[0], system.name)
    return next((row for row in board.tuning if row.system == system.name), None)
