"""Passages that training has seen and those it has not: is what was learnt more than these passages?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from markupsafe import Markup

from benchmark.escape import code
from benchmark.files import read_json
from benchmark.project import Domain
from benchmark.reporting import render
from benchmark.reporting.board import TASKS, Comparison, Leaderboard, Mean
from benchmark.reporting.compare import compared, groups
from benchmark.reporting.systems import System
from benchmark.stats import holm, verdict
from benchmark.weights import TRAINED_CHUNKS

SEEN: Final = "seen"
UNSEEN: Final = "unseen"


@dataclass(frozen=True)
class Row:
    """A tuned system against the baseline, on the questions of one group.

    Attributes:
        system: Its name.
        group: SEEN or UNSEEN.
        before: The baseline's mean of the main metric.
        after: The system's.
        comparison: The difference, corrected over all rows.
    """

    system: str
    group: str
    before: Mean
    after: Mean
    comparison: Comparison


def trained_passages(domain: Domain, board: Leaderboard) -> dict[str, frozenset[str]]:
    """Tuned system -> ids of the corpus's passages that its training queries were made from.

    A system is missing where its model folder does not tell: it was tuned elsewhere, or on other passages than the
    domain's documents.
    """
    paths = {system.name: domain.model(system.name) / TRAINED_CHUNKS for system in board.systems if system.tuned_from}
    return {name: frozenset(read_json(path)["chunks"]) for name, path in paths.items() if path.is_file()}


def by_seen(
    board: Leaderboard, qrels: Mapping[str, Mapping[str, int]], trained: Mapping[str, frozenset[str]]
) -> list[Row]:
    """Tuned systems against the baseline on retrieval, questions grouped by whether training saw an answer.

    Args:
        board: The leaderboard.
        qrels: Query id -> relevant chunk ids.
        trained: System -> chunks that its training queries were made from.

    Returns:
        On the main metric alone, for each of the systems a row for SEEN (at least one relevant passage was trained
        on) and one for UNSEEN, as far as there are such questions; Holm's correction over all rows.
    """
    tuned = [system for system in board.systems[1:] if system.name in trained]
    rows = [row for system in tuned for row in _rows(board, system, qrels, trained[system.name])]
    corrected = holm([row.comparison.p for row in rows])
    return [
        replace(row, comparison=_corrected(row.comparison, float(p), board.settings.alpha))
        for row, p in zip(rows, corrected, strict=True)
    ]


def _rows(
    board: Leaderboard, system: System, qrels: Mapping[str, Mapping[str, int]], trained: frozenset[str]
) -> list[Row]:
    """One system's rows; its p values are not corrected for those of others."""
    systems, task = (board.baseline, system), TASKS[0]
    queries = tuple(
        replace(query, category=SEEN if trained & qrels[query.id].keys() else UNSEEN) for query in board.queries
    )
    scores = {task: {one.name: {board.main: board.scores[task][one.name][board.main]} for one in systems}}
    split = replace(board, systems=systems, metrics=(board.main,), queries=queries, scores=scores, general=None)
    rows = []
    for group in sorted(groups(split, task), key=lambda group: group.category or ""):
        if group.category is not None:
            (before, after), (comparison,) = compared(split, group)
            rows.append(Row(system.name, group.category, before, after, comparison))
    return rows


def _corrected(row: Comparison, p: float, alpha: float) -> Comparison:
    return replace(row, corrected_p=p, verdict=verdict(row.difference, p, alpha))


def seen_table(rows: Sequence[Row]) -> Markup:
    """The table of what `by_seen` returned: base, tuned, difference, interval, corrected p, verdict, n."""
    cells = [
        [
            code(row.system),
            render.group(row.group, row.comparison.n),
            render.number(row.before.mean),
            render.number(row.after.mean),
            *render.compared(row.comparison),
        ]
        for row in rows
    ]
    label = rows[0].after.metric.label
    return render.table(["Model", "Passages", "Baseline", label, *render.COMPARED], cells, left=2)
