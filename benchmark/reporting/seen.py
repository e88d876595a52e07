"""Passages that training has seen and those it has not: is what was learnt more than these passages?"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from markupsafe import Markup

from benchmark.escape import code
from benchmark.files import iter_jsonl
from benchmark.project import Domain
from benchmark.reporting import render
from benchmark.reporting.board import TASKS, Leaderboard
from benchmark.reporting.compare import with_statistics

SEEN: Final = "seen"
UNSEEN: Final = "unseen"


def trained_passages(domain: Domain) -> frozenset[str]:
    """Ids of the corpus's passages that a training query was made from; empty where the data came from elsewhere."""
    path = domain.synthetic / "queries.jsonl"
    if not path.is_file() or domain.passages.parent == domain.synthetic:
        return frozenset()
    return frozenset(row["chunk"] for row in iter_jsonl(path) if row["split"] == "train")


def by_seen(board: Leaderboard, qrels: Mapping[str, Mapping[str, int]], trained: frozenset[str]) -> Leaderboard:
    """The tuned systems against the baseline on retrieval, questions grouped by whether training saw an answer.

    Args:
        board: The leaderboard.
        qrels: Query id -> relevant chunk ids.
        trained: Chunks that a training query was made from.

    Returns:
        A leaderboard with the main metric alone, whose categories are SEEN (at least one relevant passage was
        trained on) and UNSEEN; Holm's correction over all tuned systems and both groups.
    """
    systems = (board.baseline, *(system for system in board.systems[1:] if system.tuned_from is not None))
    queries = tuple(
        replace(query, category=SEEN if trained & qrels[query.id].keys() else UNSEEN) for query in board.queries
    )
    scores = {
        task: {system.name: {board.main: board.scores[task][system.name][board.main]} for system in systems}
        for task in TASKS
    }
    return with_statistics(replace(board, systems=systems, metrics=(board.main,), queries=queries, scores=scores))


def seen_table(board: Leaderboard) -> Markup:
    """The table of what `by_seen` returned: base, tuned, difference, interval, corrected p, verdict, n."""
    task = TASKS[0]
    rows: list[list[object]] = []
    for system in board.systems[1:]:
        for group in sorted(board.categories):
            row = board.comparison(task, system.name, category=group)
            before = board.mean(task, board.baseline.name, category=group)
            after = board.mean(task, system.name, category=group)
            figures = [render.number(before.mean), render.number(after.mean), *render.compared(row)]
            rows.append([code(system.name), render.group(group, board.categories[group]), *figures])
    return render.table(["Model", "Passages", "Baseline", board.main.label, *render.COMPARED], rows, left=2)
