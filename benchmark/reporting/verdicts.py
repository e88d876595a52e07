"""What the general sets say, in words and tables: forgetting, and the verdict over it and the domain."""

from collections.abc import Collection, Iterator

from markupsafe import Markup

from benchmark.escape import code, md
from benchmark.reporting.board import FEW, TASKS, Leaderboard
from benchmark.reporting.general import METRIC, General, GeneralRow
from benchmark.reporting.render import (
    MARK,
    bold,
    figures_of,
    group,
    interval,
    number,
    p_value,
    signed,
    table,
)
from benchmark.stats import Verdict, verdict

HOW_TO = (
    "Whether a model lost what it knew beside the domain was not measured, so there is no verdict of WIN, MARGINAL or "
    "REGRESSION: name general sets under 'general' in the benchmark file."
)
"""For a leaderboard without general sets."""
_DOMAIN: dict[Verdict, str] = {
    "better": "better on the domain",
    "worse": "worse on the domain",
    "not shown": "no gain shown on the domain",
}


def verdict_sentence(board: Leaderboard, name: str) -> Markup:
    """The verdict on a system over domain and general sets, and why, with the figures.

    Raises:
        KeyError: It is the baseline, or there are no general sets.
    """
    compared = board.comparison(TASKS[0], name)
    row = board.general.row(name) if board.general is not None else None
    if compared is None or board.general is None or row is None:
        raise KeyError(name)
    return Markup("{}: {}, {} (general sets: {} {} to {}, {}).").format(
        bold(board.general.verdicts[name]),
        _DOMAIN[compared.verdict],
        _forgetting(row, board.general.margin, board.settings.alpha),
        METRIC.label,
        number(row.before),
        number(row.after),
        figures_of(row)[1:-1],
    )


def _forgetting(row: GeneralRow, margin: float, alpha: float) -> str:
    lost = verdict(row.difference, row.corrected_p, alpha) == "worse"
    if row.forgetting == "shown":
        return f"and a loss on the general sets is shown, more than {margin:g} in the mean"
    if row.forgetting == "excluded":
        if lost:
            return f"and a loss on the general sets is shown, but one of more than {margin:g} is excluded"
        return f"and a loss of more than {margin:g} on the general sets is excluded"
    if lost:
        return f"and a loss on the general sets is shown, though not that it is more than {margin:g}"
    return f"and a loss of more than {margin:g} on the general sets cannot be excluded"


def sets_line(board: Leaderboard, general: General) -> Markup:
    """Which general sets there are, and how well the baseline does there."""
    sets = Markup(", ").join(Markup("{} ({} queries)").format(code(one.name), len(one.queries)) for one in general.sets)
    few = f" {MARK}" if general.n < FEW else ""
    base = general.pooled(board.baseline.name)
    return Markup("General sets: {}; n = {}{}. {} of the baseline {} on them: {}.").format(
        sets, general.n, few, METRIC.label, code(board.baseline.name), number(sum(base) / len(base))
    )


def forgetting_table(board: Leaderboard, general: General, name: str | None = None) -> Markup:
    """Each system on the general sets against the baseline.

    Args:
        board: The leaderboard, for the order and the domain's verdicts.
        general: Its general sets.
        name: One of the sets; all together by default.
    """
    rows: list[list[object]] = []
    for system in board.ranked(TASKS[0]):
        row = general.row(system.name, name)
        if row is None:
            continue
        cells: list[object] = [
            code(system.name),
            f"{number(row.before)} → {number(row.after)}",
            signed(row.difference),
            interval(row.low, row.high),
            p_value(row.corrected_p),
            number(row.detectable),
            Markup("**shown**") if row.forgetting == "shown" else row.forgetting,
        ]
        compared = board.comparison(TASKS[0], system.name)
        if name is None and compared is not None:
            cells += [compared.verdict, bold(general.verdicts[system.name])]
        rows.append([*cells, row.n])
    head = ["Model", f"{METRIC.label}, baseline → model", "Difference", "95 % interval", "p (Holm)", "Detectable",
            "Forgetting"]  # fmt: skip
    return table([*head, *(["Domain", "Overall"] if name is None else []), "n"], rows)


def rules(board: Leaderboard, general: General) -> Markup:
    """How the verdicts are come by, each in a sentence."""
    settings, margin = board.settings, f"{general.margin:g}"
    several = len(general.sets) > 1
    lines = [
        f"- Forgetting is a loss of more than {margin} in {METRIC.label} against the baseline, over the queries of all "
        "general sets together; every query counts the same.",
        f"- Forgetting is *shown* where p (Holm) is under {settings.alpha:g} and the mean loss is more than {margin}; "
        f"p is from a paired sign-flip test ({settings.permutations:,} permutations), corrected over all models"
        f"{', and for the single sets over all models and sets' * several}.",
        f"- Forgetting is *excluded* where the lower end of the difference's 95 % interval (percentile bootstrap, "
        f"{settings.bootstrap:,} resamples, each comparison on its own) is not under -{margin}.",
        "- Forgetting is *not excluded* in every other case: these queries cannot tell, or a loss is shown that may or "
        "may not be more than the margin.",
        "- Detectable: the true difference that a single comparison of this size would find in 80 of 100 such sets "
        "(2.8 standard errors, before correction); where it is larger than the margin, a loss of the margin would "
        "often go unnoticed.",
        "- **WIN**: better on the domain (as in the table of retrieval), and forgetting excluded.",
        "- **REGRESSION**: worse on the domain, or forgetting shown.",
        "- MARGINAL: everything else; the gain is not shown, or forgetting cannot be excluded.",
    ]
    return Markup("\n".join(lines))  # noqa: S704 (only our words and numbers)


def forgetting_section(board: Leaderboard, general: General) -> Iterator[Markup]:
    """The paragraphs and tables on forgetting, without a headline."""
    yield sets_line(board, general)
    if len(board.systems) == 1:
        return
    yield forgetting_table(board, general)
    if len(general.sets) > 1:
        for one in general.sets:
            yield Markup("### {}").format(md(group(one.name, len(one.queries))))
            yield forgetting_table(board, general, one.name)
        yield Markup("### How these verdicts are come by")
    yield rules(board, general)


def regressions(board: Leaderboard, made: Collection[str] = ()) -> list[str]:
    """One line for each system that is worse on the domain or forgets, for the terminal.

    Args:
        board: The leaderboard.
        made: Look at these systems alone; at all of them where it is empty.
    """
    lines = []
    for system in board.systems[1:]:
        if made and system.name not in made:
            continue
        reasons = []
        compared = board.comparison(TASKS[0], system.name)
        if compared is not None and compared.verdict == "worse":
            reasons.append(f"{board.main.label} on {board.domain} {figures_of(compared)}")
        row = board.general.row(system.name) if board.general is not None else None
        if row is not None and row.forgetting == "shown":
            reasons.append(f"{METRIC.label} on general sets {figures_of(row)}")
        if reasons:
            lines.append(f"regression: {system.name}: {'; '.join(reasons)}")
    return lines
