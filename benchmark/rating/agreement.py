"""How far raters agree, how far the judge agrees with them, and which answers they prefer. Pure functions.

Both coefficients follow from matrices that add up over questions, so that thousands of resamples are one matrix product.
(The krippendorff package has alpha as well, but stands under the GPL.) Questions, not single ratings, are resampled:
what raters say about the two answers to one question belongs together.

Sources: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability; Cohen 1960 and 1968 (kappa, weighted kappa);
Fleiss and Cohen 1973 (quadratic weights).
"""

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.stats import CONFIDENCE, Interval

FEW: Final = 10  # questions, under which no coefficient is told
MOST_UNDEFINED: Final = 0.05  # of the resamples; with more of them an interval would be about the others alone
Level = Literal["nominal", "ordinal"]
Weights = Literal["none", "quadratic"]
Floats = NDArray[np.float64]


class Said(NamedTuple):
    """What one rater said of one thing.

    Attributes:
        question: What is resampled.
        unit: What is rated, e.g. a question's answer of one pipeline; raters are compared within it.
        rater: Who.
        value: One of the values of the scale.
    """

    question: str
    unit: Hashable
    rater: str
    value: Hashable


@dataclass(frozen=True)
class Agreement:
    """A coefficient of agreement.

    Attributes:
        value: The coefficient, 1 for full agreement and 0 for that of chance; None where `why` says so.
        interval: 95 % bootstrap interval over questions; None where it cannot be told.
        questions: On which it rests.
        units: Things that two or more have rated.
        raw: Share of agreeing pairs among all pairs of ratings of one thing; None without any.
        why: Why there is no value; empty where there is one.
    """

    value: float | None
    interval: Interval | None
    questions: int
    units: int
    raw: float | None
    why: str = ""


def alpha(
    said: Iterable[Said], domain: Sequence[Hashable], level: Level, *, resamples: int = 2_000, seed: int = 0
) -> Agreement:
    """Krippendorff's alpha among raters.

    Args:
        said: All that was said; things that one rater alone has rated are left out.
        domain: Every possible value, in order.
        level: nominal where values only differ, ordinal where they have an order.
        resamples: How many times the questions are drawn with replacement.
        seed: Equal seeds give equal intervals.
    """
    counts, groups = _value_counts(said, domain)
    questions = len(set(groups))
    raw = _pairs_agreeing(counts)
    if questions < FEW:
        return Agreement(None, None, questions, len(counts), raw, _too_few(questions, "two raters have both rated"))
    matrices = _coincidences(counts, groups)
    (value,) = _alpha_of(matrices.sum(axis=0, keepdims=True), level)
    if math.isnan(value):
        return Agreement(None, None, questions, len(counts), raw, "every rating is the same, so there is no scale")
    resampled = _alpha_of(_resampled(matrices, resamples, seed), level)
    return Agreement(float(value), _percentiles(resampled), questions, len(counts), raw)


def _value_counts(said: Iterable[Said], domain: Sequence[Hashable]) -> tuple[NDArray[np.int64], list[str]]:
    """How often each value was given to each thing that two or more rated, (n_units, n_values), and its question."""
    place = {value: column for column, value in enumerate(domain)}
    rows: dict[tuple[str, Hashable], list[int]] = {}
    for one in said:
        rows.setdefault((one.question, one.unit), [0] * len(domain))[place[one.value]] += 1
    kept = {key: row for key, row in rows.items() if sum(row) > 1}
    return np.array(list(kept.values()), dtype=np.int64).reshape(len(kept), len(domain)), [key[0] for key in kept]


def _coincidences(counts: NDArray[np.int64], groups: Sequence[str]) -> Floats:
    """Krippendorff's coincidence matrix of each question, (n_questions, n_values, n_values); they add up."""
    names = {name: place for place, name in enumerate(dict.fromkeys(groups))}
    size = counts.shape[1]
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(size, dtype=np.int64)
    matrices = np.zeros((len(names), size, size))
    np.add.at(matrices, [names[group] for group in groups], pairs / (counts.sum(axis=1) - 1)[:, None, None])
    return matrices


def _alpha_of(matrices: Floats, level: Level) -> Floats:
    """Alpha of coincidence matrices of shape (n, size, size); NaN where only one value was ever given.

    The ordinal distance of two values is the squared gap of their mid-ranks, which is Krippendorff's sum over the
    ranks between them.
    """
    given = matrices.sum(axis=2)
    totals = given.sum(axis=1)
    if level == "nominal":
        cost = np.broadcast_to(1.0 - np.eye(matrices.shape[-1]), matrices.shape)
    else:
        ranks = np.cumsum(given, axis=1) - given / 2
        cost = (ranks[:, :, None] - ranks[:, None, :]) ** 2
    seen = (matrices * cost).sum(axis=(1, 2))
    expected = (given[:, :, None] * given[:, None, :] * cost).sum(axis=(1, 2)) / (totals - 1)
    return _one_minus(seen, expected)


def _one_minus(seen: Floats, expected: Floats) -> Floats:
    """1 - seen / expected disagreement; NaN where none is expected."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(expected > 0, 1 - seen / expected, np.nan), dtype=np.float64)


def _resampled(matrices: Floats, resamples: int, seed: int) -> Floats:
    """Sums of the matrices of questions that are drawn with replacement, (resamples, size, size)."""
    questions = len(matrices)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(questions, np.full(questions, 1 / questions), size=resamples).astype(np.float64)
    return (drawn @ matrices.reshape(questions, -1)).reshape(resamples, *matrices.shape[1:])


def _pairs_agreeing(counts: NDArray[np.int64]) -> float | None:
    totals = counts.sum(axis=1)
    pairs = (totals * (totals - 1)).sum()
    return float((counts * (counts - 1)).sum() / pairs) if pairs else None


def _percentiles(values: Floats) -> Interval | None:
    defined = values[np.isfinite(values)]
    if len(defined) < (1 - MOST_UNDEFINED) * len(values):
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(float(low), float(high))


def _too_few(questions: int, what: str) -> str:
    return f"not enough: {questions} questions that {what}, {FEW} are needed"


# --- two judges -----------------------------------------------------------------------------------------------------


def kappa(
    one: Sequence[Hashable],
    other: Sequence[Hashable],
    questions: Sequence[str],
    domain: Sequence[Hashable],
    weights: Weights,
    *,
    resamples: int = 2_000,
    seed: int = 0,
) -> Agreement:
    """Cohen's kappa between two who judged the same things.

    Args:
        one: What the one said of each thing.
        other: What the other said of it.
        questions: The question that each thing belongs to; questions are resampled.
        domain: Every possible value, in order.
        weights: none where values only differ; quadratic where a disagreement is worse the further apart.
        resamples: How many times the questions are drawn with replacement.
        seed: Equal seeds give equal intervals.
    """
    size = len(domain)
    place = {value: column for column, value in enumerate(domain)}
    names = {name: row for row, name in enumerate(dict.fromkeys(questions))}
    matrices = np.zeros((len(names), size, size))
    for a, b, question in zip(one, other, questions, strict=True):
        matrices[names[question], place[a], place[b]] += 1
    whole = matrices.sum(axis=0)
    raw = float(np.trace(whole) / len(one)) if len(one) else None
    if len(names) < FEW:
        return Agreement(
            None, None, len(names), len(one), raw, _too_few(len(names), "people and judge have both rated")
        )
    (value,) = _kappa_of(whole[None], weights)
    if math.isnan(value):
        return Agreement(
            None, None, len(names), len(one), raw, "both said the same of everything, so there is no scale"
        )
    resampled = _kappa_of(_resampled(matrices, resamples, seed), weights)
    return Agreement(float(value), _percentiles(resampled), len(names), len(one), raw)


def _kappa_of(matrices: Floats, weights: Weights) -> Floats:
    """Kappa of confusion matrices of shape (n, size, size); NaN where chance alone would agree fully."""
    size = matrices.shape[-1]
    gap = np.abs(np.arange(size)[:, None] - np.arange(size))
    cost = (gap > 0).astype(np.float64) if weights == "none" else (gap / (size - 1)) ** 2
    totals = matrices.sum(axis=(1, 2))
    seen = (matrices * cost).sum(axis=(1, 2))
    expected = np.einsum("ni,nj,ij->n", matrices.sum(axis=2), matrices.sum(axis=1), cost) / totals
    return _one_minus(seen, expected)


# --- preference -----------------------------------------------------------------------------------------------------


def sign_test(wins: int, losses: int) -> float:
    """Two-sided p of the exact sign test; ties say nothing about the direction and are left out.

    >>> round(sign_test(9, 1), 4), sign_test(0, 0)
    (0.0215, 1.0)
    """
    n = wins + losses
    tail = sum(math.comb(n, k) for k in range(max(wins, losses), n + 1))
    return min(1.0, 2 * tail / (1 << n))


def leaning(votes: Iterable[str], one: str, other: str, tie: str) -> str:
    """Which of two has more votes; `tie` where they have as many.

    >>> leaning(["a", "tie", "tie"], "a", "b", "tie"), leaning(["a", "b", "tie"], "a", "b", "tie")
    ('a', 'tie')
    """
    given = list(votes)
    ahead = given.count(one) - given.count(other)
    return tie if ahead == 0 else one if ahead > 0 else other
