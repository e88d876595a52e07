"""Do no harm: which mixture of a tuned model and its base to keep, by the development split alone.

What wins on synthetic queries in the mean can lose on a kind of them, and people's questions may be of that kind:
an adapter that was never shown titles unlearns them. So a mixture that makes any kind significantly worse is passed
over for one that stays closer to the base, down to the base itself. The tests are not corrected for their number: a
false alarm costs a little of the gain, a harm that is missed costs more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmark.errors import BenchError
from benchmark.files import Json
from benchmark.stats import differences, sign_flip_test

ALPHA = 0.05
FEWEST = 30
"""Queries that a kind needs before its loss counts, unless it says otherwise."""


@dataclass(frozen=True)
class Kind:
    """Queries of one kind.

    Attributes:
        name: What to call it.
        rows: Their positions among the scores.
        fewest: From how many queries on a loss counts.
    """

    name: str
    rows: NDArray[np.int64]
    fewest: int = FEWEST


@dataclass(frozen=True)
class Compared:
    """A kind of query under a mixture and under the base: mean scores, and the two-sided p of their difference."""

    name: str
    queries: int
    base: float
    score: float
    p: float
    counts: bool

    @property
    def harmed(self) -> bool:
        """Whether the mixture is significantly worse here."""
        return self.counts and self.score < self.base and self.p < ALPHA

    def to_json(self) -> Json:
        """Full-precision figures for a manifest."""
        return {"kind": self.name, "queries": self.queries, "base": self.base, "score": self.score, "p": self.p,
                "harmed": self.harmed}  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why.

    Attributes:
        share: Of the tuned model in the mixture; 0 is the base itself, 1 the tuned model.
        why: In a sentence.
        scores: Share -> mean score on the development split; the base's stands at 0.
        kinds: Share -> how each kind of query fares, for the mixtures that were looked at.
    """

    share: float
    why: str
    scores: dict[float, float]
    kinds: dict[float, tuple[Compared, ...]]

    @property
    def word(self) -> str:
        """`tuned`, `mixture` or `base`."""
        return {0.0: "base", 1.0: "tuned"}.get(self.share, "mixture")

    def to_json(self) -> Json:
        """The choice for a manifest."""
        mixtures = [
            {"share": share, "score": score, "kinds": [kind.to_json() for kind in self.kinds.get(share, ())]}
            for share, score in sorted(self.scores.items())
        ]
        return {"chosen": self.word, "share": self.share, "why": self.why, "alpha": ALPHA, "mixtures": mixtures}


def choose(
    base: ArrayLike,
    mixtures: Mapping[float, ArrayLike],
    kinds: Sequence[Kind],
    counted: int | None = None,
    seed: int = 0,
) -> Choice:
    """The mixture with the best mean score, or the next closer to the base under which no kind of query loses.

    Args:
        base: The base's score of each query, shape (n_queries,).
        mixtures: Share of the tuned model, over 0 and up to 1 -> its score of each query.
        kinds: Which queries to look at together.
        counted: The mean is over so many first queries (all by default); those behind them are looked at as kinds only.
        seed: For the permutations of the test.

    Raises:
        BenchError: There is no query, no mixture, or the scores do not match.
    """
    base = np.asarray(base, dtype=np.float64)
    rows = {share: np.asarray(scores, dtype=np.float64) for share, scores in mixtures.items()}
    if not rows or not len(base[:counted]):
        raise BenchError("choice between mixtures: there is nothing to choose by")
    means = {0.0: float(base[:counted].mean()), **{share: float(row[:counted].mean()) for share, row in rows.items()}}
    # Of equal means the one closest to the base.
    best = max(sorted(means), key=lambda share: means[share])
    looked: dict[float, tuple[Compared, ...]] = {}
    for share in sorted((share for share in rows if share <= best), reverse=True):
        looked[share] = tuple(_compared(kind, base, rows[share], seed) for kind in kinds if len(kind.rows))
        if means[share] > means[0.0] and not any(kind.harmed for kind in looked[share]):
            return Choice(share, _why(share, best, means, looked), means, looked)
    return Choice(0.0, _why(0.0, best, means, looked), means, looked)


def _compared(kind: Kind, base: NDArray[np.float64], scores: NDArray[np.float64], seed: int) -> Compared:
    left, right = scores[kind.rows], base[kind.rows]
    p = sign_flip_test(left, right, seed=seed)
    mean = float(right.mean())
    score = mean + float(differences(left, right).mean())
    return Compared(kind.name, len(kind.rows), mean, score, p, len(kind.rows) >= kind.fewest)


def _why(share: float, best: float, means: Mapping[float, float], looked: Mapping[float, tuple[Compared, ...]]) -> str:
    if best == 0.0:
        return "no mixture is better than the base on the development split"
    gain = f"{means[0.0]:.4f} -> {means[share]:.4f} on the development split"
    if share == best:
        return f"share {share:g} is the best of {len(means) - 1} ({gain}), and no kind of query loses significantly"
    worst = min((kind for kind in looked[best] if kind.harmed), key=lambda kind: kind.score - kind.base)
    passed = (
        f"share {best:g} would be the best, but makes queries of the kind '{worst.name}' worse "
        f"({worst.base:.4f} -> {worst.score:.4f}, p {worst.p:.2g})"
    )
    if share == 0.0:
        return f"{passed}, and no smaller share gains without a loss"
    return f"{passed}; share {share:g} does not ({gain})"
