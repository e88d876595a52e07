"""Do no harm: which mixture of a tuned model and its base to keep, by the development split alone.

What wins on synthetic queries in the mean can lose on a kind of them, and people's questions may be of that kind:
an adapter that was never shown titles unlearns them. So the share of the tuned model is not simply the one with the
best mean:

1. The mean is that of the questions that were written (by a language model, or by people: origins `llm` and
   `imported`) where there are 50 of them. Cuts of the text outnumber these by far, and a model can learn what cuts
   look like without finding anything better that people ask for. Elsewhere it is the mean of all queries.
2. A share under which any kind of query does significantly worse is passed over for the next one closer to the base.
   The tests are not corrected for their number: a false alarm costs a little of the gain, a missed harm more.
3. Where all queries decide, the kinds have to agree as well: a share under which more kinds lose than gain,
   significantly or not, owes its mean to one kind, and is passed over. Measured on two domains with people's questions,
   with good and with harmful adapters: 20 of 28 mixtures under which more kinds lost were worse than the base on these
   questions, and 3 of 60 others. Written questions speak for themselves.
4. With fewer than 20 queries in all the base stays: nothing can be shown then, and what the base does is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmark.errors import BenchError
from benchmark.files import Json
from benchmark.stats import SAME, differences, sign_flip_tests

ALPHA = 0.05
FEWEST_QUERIES = 20
"""Development queries without which nothing but the base is chosen."""
ENOUGH_WRITTEN = 50
"""Written development queries from which on their mean decides."""


@dataclass(frozen=True)
class Kind:
    """Queries of one kind: what to call it, and their positions among the scores."""

    name: str
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Compared:
    """A kind of query under a mixture and under the base: mean scores, and the two-sided p of their difference."""

    name: str
    queries: int
    base: float
    score: float
    p: float

    @property
    def gains(self) -> bool:
        """Whether the mixture is better here, significantly or not."""
        return self.score - self.base > SAME

    @property
    def loses(self) -> bool:
        """Whether the mixture is worse here, significantly or not."""
        return self.base - self.score > SAME

    @property
    def harmed(self) -> bool:
        """Whether the mixture is significantly worse here."""
        return self.loses and self.p < ALPHA

    def to_json(self) -> Json:
        """Full-precision figures for a manifest."""
        return {"kind": self.name, "queries": self.queries, "base": self.base, "score": self.score, "p": self.p,
                "harmed": self.harmed}  # fmt: skip


def agreement(kinds: Sequence[Compared]) -> float | None:
    """The share of kinds that gain among those that change; None where none does.

    >>> def kind(base, score):
    ...     return Compared("x", 30, base, score, 0.5)
    >>> agreement([kind(0.5, 0.6), kind(0.5, 0.4), kind(0.5, 0.7), kind(0.5, 0.8), kind(0.5, 0.5)])
    0.75
    """
    gain, lose = sum(kind.gains for kind in kinds), sum(kind.loses for kind in kinds)
    return gain / (gain + lose) if gain + lose else None


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why.

    Attributes:
        share: Of the tuned model in the mixture; 0 is the base itself, 1 the tuned model.
        why: In a sentence.
        queries: How many queries' mean decided.
        written: Whether these are the written ones, in place of all.
        scores: Share -> mean score of these queries; the base's stands at 0.
        kinds: Share -> how each kind of query fares.
    """

    share: float
    why: str
    queries: int
    written: bool
    scores: dict[float, float]
    kinds: dict[float, tuple[Compared, ...]]

    @property
    def word(self) -> str:
        """`tuned`, `mixed` or `base`."""
        return {0.0: "base", 1.0: "tuned"}.get(self.share, "mixed")

    def to_json(self) -> Json:
        """The choice for a manifest."""
        mixtures = [
            {
                "share": share,
                "score": score,
                "agreement": agreement(self.kinds.get(share, ())),
                "kinds": [kind.to_json() for kind in self.kinds.get(share, ())],
            }
            for share, score in sorted(self.scores.items())
        ]
        by = {"queries": self.queries, "written": self.written}
        return {"chosen": self.word, "share": self.share, "why": self.why, "by": by, "alpha": ALPHA,
                "mixtures": mixtures}  # fmt: skip


def choose(
    base: ArrayLike,
    mixtures: Mapping[float, ArrayLike],
    kinds: Sequence[Kind],
    counted: int | None = None,
    seed: int = 0,
    written: ArrayLike = (),
) -> Choice:
    """The mixture with the best mean score, or the next closer to the base that nothing speaks against.

    Args:
        base: The base's score of each query, shape (n_queries,).
        mixtures: Share of the tuned model, over 0 and up to 1 -> its score of each query.
        kinds: Which queries to look at together.
        counted: The mean is over so many first queries (all by default); those behind them are looked at as kinds only.
        seed: For the permutations of the test.
        written: Positions of the written questions among the counted ones.

    Raises:
        BenchError: There is no query, no mixture, or the scores do not match.
    """
    base = np.asarray(base, dtype=np.float64)
    rows = {share: np.asarray(scores, dtype=np.float64) for share, scores in sorted(mixtures.items())}
    count = len(base[:counted])
    if not rows or not count:
        raise BenchError("choice between mixtures: there is nothing to choose by")
    asked = np.asarray(written, dtype=np.int64)
    by_written = len(asked) >= ENOUGH_WRITTEN
    deciding = asked if by_written else np.arange(count)
    # From the differences, in which rounding is 0: equal scores are then equal means.
    mean = float(base[deciding].mean())
    means = {0.0: mean} | {share: mean + float(differences(row, base)[deciding].mean()) for share, row in rows.items()}
    looked = _compared(kinds, base, rows, seed)

    def chosen(share: float, why: str) -> Choice:
        return Choice(share, why, len(deciding), by_written, means, looked)

    if count < FEWEST_QUERIES:
        return chosen(0.0, f"{count} development queries cannot show a difference ({FEWEST_QUERIES} are needed)")
    # Of equal means the one closest to the base.
    best = max(means, key=lambda share: means[share])
    what = f"{len(deciding)} written development queries" if by_written else "the development split"
    if best == 0.0:
        return chosen(0.0, f"no mixture is better than the base on {what}")
    against = {share: _against(looked[share], by_written) for share in rows}
    for share in sorted((share for share in rows if share <= best), reverse=True):
        if means[share] > mean and not against[share]:
            gain = f"{mean:.4f} -> {means[share]:.4f} on {what}"
            return chosen(share, _why(share, best, len(rows), gain, against[best]))
    return chosen(
        0.0,
        f"share {best:g} would be the best, but {against[best]}, and no smaller share gains with nothing against it",
    )


def _compared(
    kinds: Sequence[Kind], base: NDArray[np.float64], rows: Mapping[float, NDArray[np.float64]], seed: int
) -> dict[float, tuple[Compared, ...]]:
    """How each kind fares under each mixture; the mixtures share their permutations."""
    found: dict[float, list[Compared]] = {share: [] for share in rows}
    for kind in kinds:
        if not len(kind.rows):
            continue
        before = base[kind.rows]
        gaps = differences(np.stack([row[kind.rows] for row in rows.values()], axis=1), before)
        mean = float(before.mean())
        for share, gain, p in zip(rows, gaps.mean(axis=0), sign_flip_tests(gaps, seed=seed), strict=True):
            found[share].append(Compared(kind.name, len(kind.rows), mean, mean + float(gain), p))
    return {share: tuple(compared) for share, compared in found.items()}


def _against(kinds: Sequence[Compared], by_written: bool) -> str:
    """What speaks against a mixture; empty if nothing does."""
    harmed = [kind for kind in kinds if kind.harmed]
    if harmed:
        worst = min(harmed, key=lambda kind: kind.score - kind.base)
        return (
            f"makes queries of the kind '{worst.name}' worse ({worst.base:.4f} -> {worst.score:.4f}, p {worst.p:.2g})"
        )
    agree = agreement(kinds)
    if by_written or agree is None or agree >= 0.5:
        return ""
    gain, lose = sum(kind.gains for kind in kinds), sum(kind.loses for kind in kinds)
    return f"more kinds of query lose than gain ({lose} and {gain})"


def _why(share: float, best: float, count: int, gain: str, against: str) -> str:
    if share == best:
        return f"share {share:g} is the best of {count} ({gain}), and no kind of query loses significantly"
    return f"share {best:g} would be the best, but {against}; nothing speaks against share {share:g} ({gain})"
