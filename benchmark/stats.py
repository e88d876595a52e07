"""Seeded statistics for paired comparisons: interval, test, correction, verdict.

Everything takes per-query scores. Columns that share queries share their resamples as well (one matrix product for
all of them), so that adding a system changes no other system's figures. ranx's own tests are not used: its `fisher`
ignores the seed and knows no correction (AmenRa/ranx#70, #61).

Sources: Efron and Tibshirani 1993, chapter 13 (percentile bootstrap); Smucker, Allan and Carterette, CIKM 2007
(randomisation test for retrieval); Phipson and Smyth 2010 (the + 1); Holm 1979 (step-down correction).
"""

import functools
import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmark.errors import BenchError

Floats = NDArray[np.float64]
Verdict = Literal["better", "worse", "not shown"]
Forgetting = Literal["shown", "excluded", "not excluded"]

CONFIDENCE = 0.95
EXACT_LIMIT = 14  # 2 ** 14 sign patterns are fewer than the 20,000 that would be drawn
SAME = 1e-12  # scores are sums of a few fractions: a smaller gap is rounding, not a difference
_BLOCK = 2_000_000  # numbers held at once: 16 MB
_KEPT = 2**25  # bytes of one set of draws that is kept for the next columns of as many queries


class Interval(NamedTuple):
    """Both ends of a confidence interval."""

    low: float
    high: float


class Counts(NamedTuple):
    """Queries that a system wins, loses and ties against another."""

    wins: int
    losses: int
    ties: int


def _matrix(values: ArrayLike, what: str = "scores") -> Floats:
    """Finite numbers of shape (n_queries, n_columns); a single row of scores becomes one column."""
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    if matrix.ndim != 2 or matrix.shape[0] == 0:
        raise BenchError(f"{what}: no query to compute a statistic on")
    if not np.isfinite(matrix).all():
        raise BenchError(f"{what}: hold NaN or infinity; every query needs a number (0 where nothing was retrieved)")
    return matrix


def mean(scores: ArrayLike) -> float:
    """The mean over all queries, those that score 0 included.

    Raises:
        BenchError: No query, or a score is NaN or infinite.
    """
    return float(_matrix(scores).mean())


def differences(system: ArrayLike, baseline: ArrayLike) -> Floats:
    """System minus baseline, query by query, shape (n_queries,) or (n_queries, n_columns).

    Gaps within rounding become exactly 0.

    Raises:
        BenchError: The lengths differ, there is no query, or a score is NaN or infinite.
    """
    left, right = _matrix(system), _matrix(baseline)
    if len(left) != len(right):
        raise BenchError(f"scores: {len(left)} queries against {len(right)}; a paired comparison needs the same ones")
    gaps = left - right
    gaps[np.abs(gaps) <= SAME] = 0.0
    return gaps[:, 0] if np.ndim(system) == 1 else gaps


def counts(gaps: ArrayLike) -> Counts:
    """Wins, losses and ties among paired differences."""
    column = _matrix(gaps, "differences")[:, 0]
    wins, losses = int((column > SAME).sum()), int((column < -SAME).sum())
    return Counts(wins, losses, len(column) - wins - losses)


# --- bootstrap ------------------------------------------------------------------------------------------------------


def bootstrap_intervals(
    values: ArrayLike, *, resamples: int = 10_000, seed: int = 0, confidence: float = CONFIDENCE
) -> list[Interval | None]:
    """Percentile bootstrap intervals of the mean of each column; queries are drawn, so columns stay paired.

    Args:
        values: Scores or paired differences, shape (n_queries, n_columns) or (n_queries,).
        resamples: How many times the queries are drawn with replacement.
        seed: Equal seeds give equal intervals.
        confidence: Share of the resampled means that lie within.

    Returns:
        One interval for each column; None where a single query leaves nothing to resample.

    Raises:
        BenchError: No query, or a value is NaN or infinite.
    """
    matrix = _matrix(values)
    n, columns = matrix.shape
    if n < 2:
        return [None] * columns
    means = np.concatenate([weights @ matrix for weights in _resampled(n, resamples, seed)]) / n
    return [Interval(float(low), float(high)) for low, high in zip(*_percentiles(means.T, confidence), strict=True)]


def _percentiles(means: Floats, confidence: float) -> Floats:
    """Both ends of the middle part of each row, shape (2, n_rows)."""
    tail = (1 - confidence) / 2
    # In place of a view across the rows, which takes numpy longer.
    return np.asarray(np.quantile(np.ascontiguousarray(means), [tail, 1 - tail], axis=1))


def bootstrap_interval(
    values: ArrayLike, *, resamples: int = 10_000, seed: int = 0, confidence: float = CONFIDENCE
) -> Interval | None:
    """`bootstrap_intervals` for one column."""
    return bootstrap_intervals(values, resamples=resamples, seed=seed, confidence=confidence)[0]


def stratified_interval(
    parts: Sequence[ArrayLike], *, resamples: int = 10_000, seed: int = 0, confidence: float = CONFIDENCE
) -> Interval | None:
    """Percentile bootstrap interval of the mean of several groups' means; queries are drawn within their group.

    Args:
        parts: Scores or paired differences of each group, shape (n_queries_of_group,).
        resamples: How many times each group's queries are drawn with replacement.
        seed: Equal seeds give equal intervals; every group has its own stream.
        confidence: Share of the resampled means that lie within.

    Returns:
        The interval; None where a group's single query leaves nothing to resample.

    Raises:
        BenchError: A group has no query, or a value is NaN or infinite.
    """
    columns = [_matrix(part)[:, 0] for part in parts]
    if any(len(column) < 2 for column in columns):
        return None
    total = np.zeros(resamples)
    for place, column in enumerate(columns):
        drawn = _resampled(len(column), resamples, (seed, place))
        total += np.concatenate([weights @ column for weights in drawn]) / len(column)
    return Interval(*_percentiles((total / len(columns))[None], confidence)[:, 0].tolist())


def _resampled(n: int, resamples: int, seed: int | tuple[int, int]) -> Iterator[Floats]:
    """How often each query was drawn, in blocks of shape (block, n_queries)."""
    small = n * resamples * np.min_scalar_type(n).itemsize <= _KEPT
    for counts_of_block in _kept_resamples(n, resamples, seed) if small else _resamples(n, resamples, seed):
        yield counts_of_block.astype(np.float64)


def _resamples(n: int, resamples: int, seed: int | tuple[int, int]) -> Iterator[NDArray[Any]]:
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // n)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = rng.integers(0, n, size=(rows, n))
        drawn += np.arange(rows)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)


@functools.lru_cache(maxsize=8)
def _kept_resamples(n: int, resamples: int, seed: int | tuple[int, int]) -> list[NDArray[Any]]:
    """As `_resamples`; both tasks, all pairs and other groups of as many queries have the same ones."""
    return [block.astype(np.min_scalar_type(n)) for block in _resamples(n, resamples, seed)]


# --- paired test ----------------------------------------------------------------------------------------------------


def sign_flip_tests(gaps: ArrayLike, *, permutations: int = 20_000, seed: int = 0) -> list[float]:
    """Two-sided p values of the paired sign-flip (Fisher randomisation) test, one for each column.

    Under the null hypothesis either system could have produced either score, so each difference could as well have
    the other sign. With up to 14 differences other than 0 all sign patterns are enumerated (ties change no sum) and
    p is exact; beyond that `permutations` patterns are drawn and p = (hits + 1) / (permutations + 1), never 0.

    Args:
        gaps: Paired differences, shape (n_queries, n_columns) or (n_queries,).
        permutations: Sign patterns to draw.
        seed: Equal seeds give equal p values.

    Raises:
        BenchError: No query, or a difference is NaN or infinite.
    """
    matrix = _matrix(gaps, "differences")
    moved = np.abs(matrix) > SAME
    p_values = np.ones(matrix.shape[1])
    drawn = moved.sum(axis=0) > EXACT_LIMIT
    for column in np.flatnonzero(~drawn):
        p_values[column] = _exact(matrix[moved[:, column], column])
    if drawn.any():
        p_values[drawn] = _drawn(matrix[:, drawn], permutations, seed)
    return [float(p) for p in p_values]


def sign_flip_test(system: ArrayLike, baseline: ArrayLike, *, permutations: int = 20_000, seed: int = 0) -> float:
    """`sign_flip_tests` for the scores of two systems on the same queries."""
    return sign_flip_tests(differences(system, baseline), permutations=permutations, seed=seed)[0]


def _exact(gaps: Floats) -> float:
    return float((np.abs(_signs(len(gaps)) @ gaps) >= abs(gaps.sum()) - len(gaps) * SAME).mean())


@functools.cache
def _signs(m: int) -> Floats:
    """All sign patterns of m differences, shape (2 ** m, m)."""
    return np.asarray(1.0 - 2.0 * ((np.arange(2**m)[:, None] >> np.arange(m)) & 1), dtype=np.float64)


def _drawn(gaps: Floats, permutations: int, seed: int) -> Floats:
    n = len(gaps)
    bar = np.abs(gaps.sum(axis=0)) - n * SAME
    hits = np.zeros(gaps.shape[1])
    for flips in _kept_flips(n, permutations, seed) if n * permutations <= _KEPT else _flips(n, permutations, seed):
        signs = flips.astype(np.float64)
        signs *= -2.0
        signs += 1.0
        sums = signs @ gaps
        hits += (np.abs(sums, out=sums) >= bar).sum(axis=0)
    return np.asarray((hits + 1) / (permutations + 1), dtype=np.float64)


def _flips(n: int, permutations: int, seed: int) -> Iterator[NDArray[np.int8]]:
    """Which differences change their sign (1) or not (0), in blocks of shape (block, n_queries)."""
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // n)
    for start in range(0, permutations, block):
        yield rng.integers(0, 2, size=(min(block, permutations - start), n), dtype=np.int8)


@functools.lru_cache(maxsize=8)
def _kept_flips(n: int, permutations: int, seed: int) -> list[NDArray[np.int8]]:
    """As `_flips`; both tasks, all pairs and other groups of as many queries have the same ones."""
    return list(_flips(n, permutations, seed))


# --- correction, verdict, power -------------------------------------------------------------------------------------


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the chance of even one false finding in the family stays under alpha.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]

    Raises:
        BenchError: A value is NaN or lies outside 0..1.
    """
    if any(not 0 <= p <= 1 for p in p_values):
        raise BenchError("p values: one is NaN or lies outside 0..1")
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for position, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - position) * p_values[index]))
        corrected[index] = highest
    return corrected


def verdict(difference: float, corrected_p: float, alpha: float = 0.05) -> Verdict:
    """What a comparison allows to say: `better` or `worse` where the corrected p is under alpha, else `not shown`."""
    if corrected_p >= alpha or abs(difference) <= SAME:
        return "not shown"
    return "better" if difference > 0 else "worse"


def forgetting(
    difference: float, low: float | None, corrected_p: float, margin: float, alpha: float = 0.05
) -> Forgetting:
    """What a comparison on general knowledge allows to say of a loss of more than `margin`.

    `shown`: there is a loss (corrected p under alpha), and its best estimate is more than the margin. `excluded`: the
    interval's lower end is no loss of more than the margin (a test of non-inferiority; Piaggio et al., JAMA 2012).
    `not excluded`: neither; too few queries, or a loss about as large as the margin.

    >>> forgetting(-0.05, -0.08, 0.001, 0.02), forgetting(0.0, -0.01, 1.0, 0.02), forgetting(-0.05, -0.12, 0.2, 0.02)
    ('shown', 'excluded', 'not excluded')

    Args:
        difference: Mean of model minus baseline.
        low: Lower end of its interval; None with one query.
        corrected_p: Of the paired test for any difference.
        margin: What may be lost.
        alpha: Under which the p value counts.
    """
    if difference < -margin and verdict(difference, corrected_p, alpha) == "worse":
        return "shown"
    return "excluded" if low is not None and low >= -margin else "not excluded"


def minimum_detectable(gaps: ArrayLike, *, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """The true difference that a single paired comparison of this size would find in 80 of 100 test sets.

    (z(1 - alpha / 2) + z(power)) standard errors of the mean difference: 2.80 of them at the defaults (the normal
    approximation of Cohen 1988; before correction, which asks for more).

    Returns:
        The difference, in the scores' unit; None with one query or where no query differs.
    """
    column = _matrix(gaps, "differences")[:, 0]
    if len(column) < 2 or not (np.abs(column) > SAME).any():
        return None
    normal = NormalDist()
    error = float(column.std(ddof=1)) / math.sqrt(len(column))
    return (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)) * error
