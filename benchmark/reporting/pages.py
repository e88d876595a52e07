"""`leaderboard.md` and `leaderboard.csv`."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence

from markupsafe import Markup

from benchmark.escape import code, csv_cell, md
from benchmark.reporting.board import TASKS, Leaderboard, Mean
from benchmark.reporting.general import METRIC, General
from benchmark.reporting.pairwise import pair_of
from benchmark.reporting.render import (
    SIGNS,
    category_comparisons,
    category_table,
    ceiling_line,
    detectable_line,
    group,
    headline_table,
    legend,
    metric_table,
    p_value,
    questions_line,
    signed,
    table,
)
from benchmark.reporting.tuning import tuning_section
from benchmark.reporting.verdicts import forgetting_section
from benchmark.stats import mean


def leaderboard_markdown(board: Leaderboard) -> str:
    """`leaderboard.md`."""
    parts: list[str] = [
        f"# Leaderboard: {md(board.title)}",
        f"{questions_line(board)}. Main metric: {board.main.label}. Baseline: {code(board.baseline.name)}. "
        f"Seed {board.settings.seed}.",
        f"## Retrieval (`{board.task_names['retrieval']}`)",
        headline_table(board, "retrieval"),
        detectable_line(board),
        "### All metrics",
        metric_table(board, "retrieval"),
        "### By category",
        category_table(board, "retrieval"),
    ]
    for category, n in board.categories.items():
        parts += [f"#### {md(group(category, n))}", category_comparisons(board, "retrieval", category)]
    if len(board.systems) > 2:
        parts += ["### Every pair of models", *pairwise_section(board)]
    if board.general is not None:
        parts += ["## Forgetting", *forgetting_section(board, board.general)]
    tuned = tuning_section(board)
    if tuned:
        parts += ["## Tuning", *tuned]
    parts += [
        f"## Reranking (`{board.task_names['reranking']}`)",
        ceiling_line(board),
        headline_table(board, "reranking"),
        "### All metrics of reranking",
        metric_table(board, "reranking"),
        "### Reranking by category",
        category_table(board, "reranking"),
        "## How to read this",
        legend(board),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def pairwise_section(board: Leaderboard) -> Iterator[Markup]:
    """A matrix of all models, best first, and how to read it."""
    names = [system.name for system in board.ranked(TASKS[0])]
    numbers = {name: str(place) for place, name in enumerate(names, start=1)}
    rows = [
        [Markup("{}. {}").format(numbers[row], code(row)), *(_pair(board, row, column) for column in names)]
        for row in names
    ]
    yield table(["Row minus column", *numbers.values()], rows)
    yield Markup(
        "Difference in {} of the row's model minus the column's (by their numbers), with p after Holm's correction over "
        "all {} pairs of models; ▲ the row's is better, ▼ worse, no sign: not shown. So many comparisons at once show "
        "less than those with the baseline alone: decide beforehand what you want to know."
    ).format(board.main.label, len(board.pairwise))


def _pair(board: Leaderboard, row: str, column: str) -> str:
    if row == column:
        return ""
    pair = pair_of(board, row, column)
    return f"{signed(pair.difference)}{SIGNS[pair.verdict]} ({p_value(pair.corrected_p)})"


# --- CSV ------------------------------------------------------------------------------------------------------------

_MEAN_COLUMNS = ("n", "mean", "low", "high")
_COMPARISON_COLUMNS = (
    "difference", "low", "high", "p", "corrected_p", "verdict", "wins", "losses", "ties", "detectable",
)  # fmt: skip


def leaderboard_csv(board: Leaderboard) -> str:
    """`leaderboard.csv`: a row for each task, metric, group and system, six digits.

    General sets stand under the task `general`: all together, then each; what is shown there is `forgetting`, and the
    last column has the verdict over domain and general sets. Without such sets both columns are left out.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["task", "model", "what", "metric", "group", "category", *_MEAN_COLUMNS]
        + [f"difference_{name}" if name in {"low", "high"} else name for name in _COMPARISON_COLUMNS]
        + (["forgetting", "overall"] if board.general is not None else [])
    )
    kinds = {system.name: system.kind for system in board.systems}
    for row in board.means:
        writer.writerow(_csv_row(row, kinds[row.system], board))
    if board.general is not None:
        writer.writerows(_general_rows(board, board.general, kinds))
    return stream.getvalue()


def _csv_row(mean: Mean, kind: str, board: Leaderboard) -> list[str]:
    row = board.comparison(mean.task, mean.system, mean.metric, mean.category)
    labels = [mean.task, mean.system, kind, str(mean.metric)]
    labels += ["overall", ""] if mean.category is None else ["category", mean.category]
    figures: list[object] = [getattr(mean, name) for name in _MEAN_COLUMNS]
    figures += [getattr(row, name) if row else None for name in _COMPARISON_COLUMNS]
    if board.general is not None:
        headline = mean.category is None and (mean.task, mean.metric) == (TASKS[0], board.main)
        figures += [None, board.general.verdicts.get(mean.system) if headline else None]
    return [csv_cell(label) for label in labels] + [_csv_figure(figure) for figure in figures]


def _general_rows(board: Leaderboard, general: General, kinds: Mapping[str, str]) -> Iterator[list[str]]:
    groups: list[tuple[str | None, int, Callable[[str], Sequence[float]]]] = [(None, general.n, general.pooled)]
    if len(general.sets) > 1:
        groups += [(one.name, len(one.queries), one.scores.__getitem__) for one in general.sets]
    for name, n, scores in groups:
        for system in board.systems:
            row = general.row(system.name, name)
            labels = ["general", system.name, kinds[system.name], str(METRIC)]
            labels += ["overall", ""] if name is None else ["set", name]
            figures: list[object] = [n, mean(scores(system.name)), None, None]
            figures += [getattr(row, name, None) for name in _COMPARISON_COLUMNS]
            overall = general.verdicts.get(system.name) if name is None else None
            figures += [row.forgetting if row else None, overall]
            yield [csv_cell(label) for label in labels] + [_csv_figure(figure) for figure in figures]


def _csv_figure(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else str(value)
