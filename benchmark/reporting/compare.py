"""From per-query scores to means, intervals and corrected comparisons (pure: no file, no clock).

Families for Holm's correction, one for each task:

1. the headline: the main metric over all queries, every system against the baseline;
2. each other metric over all queries: a family of its own, every system;
3. each metric by category: one family, every system in every category;
4. the main metric over all queries, every system that was tuned from another one than the baseline against that one;
5. the main metric of retrieval over all queries, every pair of systems (`benchmark.reporting.pairwise`).

General sets have families of their own (`benchmark.reporting.forgetting`).

A verdict of `better` or `worse` needs a corrected p under alpha.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from benchmark.reporting.board import TASKS, Comparison, Leaderboard, Mean
from benchmark.reporting.compact import ends, kept
from benchmark.reporting.forgetting import with_forgetting
from benchmark.reporting.metrics import Metric
from benchmark.reporting.pairwise import all_pairs
from benchmark.reporting.threads import in_threads
from benchmark.stats import (
    Floats,
    Interval,
    bootstrap_intervals,
    counts,
    differences,
    holm,
    mean,
    minimum_detectable,
    sign_flip_tests,
    verdict,
)


def with_statistics(board: Leaderboard) -> Leaderboard:
    """The leaderboard with means and comparisons computed from its per-query scores.

    Raises:
        BenchError: There is no query, or a score is NaN.
    """
    alpha = board.settings.alpha
    every = [group for task in TASKS for group in groups(board, task)]
    found = in_threads(lambda group: compared(board, group), every)
    comparisons = [
        row
        for task in TASKS
        for row in _corrected([row for one in found for row in one.comparisons if row.task == task], alpha)
    ]
    return with_forgetting(
        replace(
            board,
            means=tuple(mean for one in found for mean in one.means),
            comparisons=tuple(comparisons),
            tuning=tuple(_corrected(list(_against_their_bases(board)), alpha)),
            pairwise=all_pairs(board),
        ),
    )


class Group(NamedTuple):
    """Queries of one task that are looked at together: a category, or all of them; `rows` are their positions."""

    task: str
    category: str | None
    rows: list[int]


class Compared(NamedTuple):
    """Every metric and system on one group; p values not yet corrected."""

    means: list[Mean]
    comparisons: list[Comparison]


def groups(board: Leaderboard, task: str) -> Iterator[Group]:
    """All queries, then each category."""
    yield Group(task, None, list(range(len(board.queries))))
    for category in board.categories:
        rows = [place for place, query in enumerate(board.queries) if query.category == category]
        yield Group(task, category, rows)


def compared(board: Leaderboard, group: Group) -> Compared:
    """The statistics of one group.

    Raises:
        BenchError: There is no query, or a score is NaN.
    """
    task, category, rows = group
    settings, names = board.settings, [system.name for system in board.systems]
    columns = [(metric, name) for metric in board.metrics for name in names]
    pairs = [(metric, name) for metric in board.metrics for name in names[1:]]

    found = {key: np.asarray(board.scores[task][key[1]][key[0]], dtype=np.float64)[rows] for key in columns}
    values = np.column_stack(list(found.values()))
    gaps = np.empty((len(rows), 0))
    if pairs:
        gaps = np.column_stack([differences(found[metric, name], found[metric, names[0]]) for metric, name in pairs])
    intervals = bootstrap_intervals(np.hstack([values, gaps]), resamples=settings.bootstrap, seed=settings.seed)
    p_values = sign_flip_tests(gaps, permutations=settings.permutations, seed=settings.seed)
    means = [
        Mean(task, metric, category, name, len(rows), kept(mean(values[:, place])), *ends(intervals[place]))
        for place, (metric, name) in enumerate(columns)
    ]
    comparisons = [
        _comparison(task, key, category, gaps[:, place], interval, p_values[place], settings.alpha)
        for place, (key, interval) in enumerate(zip(pairs, intervals[len(columns) :], strict=True))
    ]
    return Compared(means, comparisons)


def _comparison(
    task: str,
    key: tuple[Metric, str],
    category: str | None,
    gaps: Floats,
    interval: Interval | None,
    p: float,
    alpha: float,
) -> Comparison:
    metric, system = key
    detectable = minimum_detectable(gaps, alpha=alpha)
    low, high = ends(interval)
    wins, losses, ties = counts(gaps)
    return Comparison(
        task=task,
        metric=metric,
        category=category,
        system=system,
        n=len(gaps),
        difference=kept(mean(gaps)),
        low=low,
        high=high,
        p=kept(p),
        corrected_p=kept(p),
        verdict="not shown",
        wins=wins,
        losses=losses,
        ties=ties,
        detectable=None if detectable is None else kept(detectable),
    )


def _against_their_bases(board: Leaderboard) -> Iterator[Comparison]:
    """Tuned systems against what they were tuned from, where that was measured and is not the baseline."""
    names = {system.name for system in board.systems}
    scores, settings = board.scores[TASKS[0]], board.settings
    for system in board.systems[1:]:
        base = system.tuned_from
        if system.choice is None or base not in names or base in {None, board.baseline.name, system.name}:
            continue
        gaps = differences(np.asarray(scores[system.name][board.main]), np.asarray(scores[base][board.main]))
        interval = bootstrap_intervals(gaps, resamples=settings.bootstrap, seed=settings.seed)[0]
        p = sign_flip_tests(gaps, permutations=settings.permutations, seed=settings.seed)[0]
        yield _comparison(TASKS[0], (board.main, system.name), None, gaps, interval, p, settings.alpha)


def _corrected(comparisons: list[Comparison], alpha: float) -> list[Comparison]:
    """Holm's correction and the verdict, family by family; the order stays."""
    families: dict[tuple[Metric, bool], list[int]] = {}
    for place, row in enumerate(comparisons):
        families.setdefault((row.metric, row.category is None), []).append(place)
    done = list(comparisons)
    for places in families.values():
        for place, p in zip(places, holm([comparisons[place].p for place in places]), strict=True):
            row = comparisons[place]
            done[place] = replace(row, corrected_p=kept(p), verdict=verdict(row.difference, p, alpha))
    return done
