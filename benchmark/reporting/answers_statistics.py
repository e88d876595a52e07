"""From scores of answers to means, bounds and corrected comparisons (pure: no file, no clock).

Families for Holm's correction: for each metric, all pipelines against the baseline; and all preferences.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from benchmark.reporting.answers_board import Answers, Comparison, Mean, Preference, Repeats
from benchmark.reporting.answers_doubts import doubts
from benchmark.reporting.compact import ends, kept
from benchmark.stats import (
    bootstrap_interval,
    differences,
    holm,
    mean,
    minimum_detectable,
    sign_flip_tests,
    verdict,
)


def with_answer_statistics(board: Answers) -> Answers:
    """The same scores with the statistics that follow from them."""
    everything = list(range(len(board.questions)))
    groups = []
    for group, answerable in (("answerable", True), ("unanswerable", False)):
        places = [place for place, asked in enumerate(board.questions) if asked.answerable == answerable]
        groups += [replace(row, group=group) for row in _means(board, places)] if places else []
    derived = replace(
        board,
        means=tuple(_means(board, everything)),
        groups=tuple(row for row in groups if row.n_scored + row.n_failed),
        comparisons=tuple(_comparisons(board)),
        preferences=tuple(_preferences(board)),
    )
    return replace(derived, warnings=(*board.notes, *doubts(derived)))


def question_score(repeats: Repeats) -> float | None:
    """A question's score: the mean of its repeats, None where one of them failed.

    >>> question_score([0.5, 1.0]), question_score([0.5, None]) is None
    (0.75, True)
    """
    if repeats is None:
        return None
    scored = [score for score in repeats if score is not None]
    return sum(scored) / len(scored) if len(scored) == len(repeats) and scored else None


def _means(board: Answers, places: Sequence[int]) -> Iterator[Mean]:
    for metric in board.metrics:
        for pipeline in board.pipelines:
            column = board.scores[metric][pipeline]
            yield _mean(board, pipeline, metric, [column[place] for place in places])


def _mean(board: Answers, pipeline: str, metric: str, column: Sequence[Repeats]) -> Mean:
    applies = [repeats for repeats in column if repeats is not None]
    scored = [repeats for repeats in applies if question_score(repeats) is not None]
    values = [score for repeats in scored if (score := question_score(repeats)) is not None]
    n, failed = len(values), len(applies) - len(values)
    if not applies:
        return Mean(pipeline, metric, 0, 0, None, None, None, None, None, None)
    settings = board.settings
    interval = bootstrap_interval(values, resamples=settings.bootstrap, seed=settings.seed) if values else None
    total = math.fsum(values)
    return Mean(
        pipeline,
        metric,
        n,
        failed,
        kept(mean(values)) if values else None,
        *ends(interval),
        worst=kept(total / len(applies)),
        best=kept((total + failed) / len(applies)),
        spread=_spread(scored),
    )


def _spread(scored: Sequence[Repeats]) -> float | None:
    """Highest minus lowest mean of one repeat, over the questions that every repeat scored."""
    rows = [repeats for repeats in scored if repeats is not None]
    if not rows or len(rows[0]) < 2:
        return None
    means = np.asarray(rows, dtype=np.float64).mean(axis=0)
    return kept(float(means.max() - means.min()))


def _comparisons(board: Answers) -> Iterator[Comparison]:
    for metric in board.metrics:
        rows = [_comparison(board, pipeline, metric) for pipeline in board.pipelines[1:]]
        tested = [row for row in rows if row.p is not None and row.difference is not None]
        corrected = dict(zip((row.pipeline for row in tested), holm([row.p or 0.0 for row in tested]), strict=True))
        for row in rows:
            p = corrected.get(row.pipeline)
            if p is None or row.difference is None:
                yield row
            else:
                yield replace(row, corrected_p=kept(p), verdict=verdict(row.difference, p, board.settings.alpha))


def _comparison(board: Answers, pipeline: str, metric: str) -> Comparison:
    """Not yet corrected."""
    columns = [board.scores[metric][name] for name in (pipeline, board.baseline)]
    both = [(one, other) for one, other in zip(*columns, strict=True) if one is not None and other is not None]
    pairs = [(question_score(one), question_score(other)) for one, other in both]
    scored = [(one, other) for one, other in pairs if one is not None and other is not None]
    left_out = len(pairs) - len(scored)
    if not scored:
        bound = 1.0 if pairs else None
        low = None if bound is None else -bound
        return Comparison(
            pipeline, metric, 0, left_out, None, None, None, low, bound, None, None, "not shown", None
        )  # fmt: skip
    settings = board.settings
    gaps = differences([one for one, _ in scored], [other for _, other in scored])
    low, high = ends(bootstrap_interval(gaps, resamples=settings.bootstrap, seed=settings.seed))
    p = kept(sign_flip_tests(gaps, permutations=settings.permutations, seed=settings.seed)[0])
    detectable = minimum_detectable(gaps, alpha=settings.alpha)
    return Comparison(
        pipeline=pipeline,
        metric=metric,
        n=len(scored),
        left_out=left_out,
        difference=kept(mean(gaps)),
        low=low,
        high=high,
        worst=kept(_bound(pairs, 0.0, 1.0)),
        best=kept(_bound(pairs, 1.0, 0.0)),
        p=p,
        corrected_p=p,
        verdict="not shown",
        detectable=None if detectable is None else kept(detectable),
    )


def _bound(pairs: Sequence[tuple[float | None, float | None]], for_one: float, for_other: float) -> float:
    """The mean difference with these scores in the place of those that failed."""
    gaps = [(for_one if one is None else one) - (for_other if other is None else other) for one, other in pairs]
    return math.fsum(gaps) / len(gaps)


def _preferences(board: Answers) -> Iterator[Preference]:
    rows = [_preference(board, pipeline) for pipeline in board.pipelines[1:]]
    rows = [row for row in rows if row.n]
    for row, p in zip(rows, holm([row.p for row in rows]), strict=True):
        yield replace(row, corrected_p=kept(p), verdict=verdict(row.wins - row.losses, p, board.settings.alpha))


def _preference(board: Answers, pipeline: str) -> Preference:
    rows = [row for row in board.pairs if row.pipeline == pipeline]
    said = [row.preferred for row in rows]
    wins, losses, ties = said.count("second"), said.count("first"), said.count("tie")
    same = sum(row.preferred == "tie" and not row.orders for row in rows)
    disagreed = sum(row.preferred == "tie" and len(set(row.orders)) == 2 for row in rows)
    p = sign_test(wins, losses)
    return Preference(
        pipeline, len(rows), wins, losses, ties, said.count(None), same, disagreed, kept(p), kept(p), "not shown"
    )


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact p of the sign test; ties are left out (Dixon and Mood 1946).

    >>> sign_test(5, 0), sign_test(0, 0), sign_test(3, 3)
    (0.0625, 1.0, 1.0)
    """
    n = wins + losses
    tail = sum(math.comb(n, k) for k in range(min(wins, losses) + 1))
    return min(1.0, float(2 * tail / (1 << n)))
