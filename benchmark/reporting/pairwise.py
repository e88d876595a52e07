"""Every model against every other: who wins, corrected for so many comparisons."""

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from benchmark.reporting.compact import ends, kept
from benchmark.stats import (
    Verdict,
    bootstrap_intervals,
    counts,
    differences,
    holm,
    mean,
    sign_flip_tests,
    verdict,
)

if TYPE_CHECKING:
    from benchmark.reporting.board import Leaderboard

_TASK = "retrieval"


@dataclass(frozen=True)
class Pair:
    """Two systems on the main metric of retrieval, over all queries.

    Attributes:
        first: A system.
        second: The other.
        n: Queries.
        difference: Mean of first minus second.
        low: Lower end of the difference's 95 % interval; None with one query.
        high: Upper end.
        p: Paired sign-flip test, two-sided.
        corrected_p: After Holm's correction over all pairs, so never smaller than against the baseline alone.
        verdict: Of the first: better, worse or not shown.
        wins: Queries on which the first scores higher.
        losses: Queries on which the second does.
        ties: The rest.
    """

    first: str
    second: str
    n: int
    difference: float
    low: float | None
    high: float | None
    p: float
    corrected_p: float
    verdict: Verdict
    wins: int
    losses: int
    ties: int

    @property
    def turned(self) -> "Pair":
        """The same comparison, seen from the second system.

        >>> pair = Pair("a", "b", 9, 0.1, 0.05, 0.2, 0.01, 0.02, "better", 6, 2, 1)
        >>> pair.turned.verdict, pair.turned.low, pair.turned.turned == pair
        ('worse', -0.2, True)
        """
        said: dict[Verdict, Verdict] = {"better": "worse", "worse": "better", "not shown": "not shown"}
        return replace(
            self, first=self.second, second=self.first, difference=0.0 - self.difference,
            low=None if self.high is None else 0.0 - self.high, high=None if self.low is None else 0.0 - self.low,
            verdict=said[self.verdict], wins=self.losses, losses=self.wins,
        )  # fmt: skip


def all_pairs(board: "Leaderboard") -> tuple[Pair, ...]:
    """Every two systems, in the leaderboard's order; empty with one system.

    Raises:
        BenchError: There is no query, or a score is NaN.
    """
    settings = board.settings
    names = [(one.name, other.name) for one, other in combinations(board.systems, 2)]
    if not names:
        return ()
    scores = {name: np.asarray(rows[board.main], dtype=np.float64) for name, rows in board.scores[_TASK].items()}
    gaps = np.column_stack([differences(scores[first], scores[second]) for first, second in names])
    intervals = bootstrap_intervals(gaps, resamples=settings.bootstrap, seed=settings.seed)
    p_values = sign_flip_tests(gaps, permutations=settings.permutations, seed=settings.seed)
    return tuple(
        Pair(
            first, second, len(gaps), kept(mean(gaps[:, place])), *ends(intervals[place]), kept(p_values[place]),
            kept(corrected), verdict(mean(gaps[:, place]), corrected, settings.alpha), *counts(gaps[:, place]),
        )
        for place, ((first, second), corrected) in enumerate(zip(names, holm(p_values), strict=True))
    )  # fmt: skip


def pair_of(board: "Leaderboard", first: str, second: str) -> Pair:
    """Two systems' comparison, seen from the first.

    Raises:
        KeyError: They are one system, or one is not compared.
    """
    for pair in board.pairwise:
        if (pair.first, pair.second) == (first, second):
            return pair
        if (pair.second, pair.first) == (first, second):
            return pair.turned
    raise KeyError(first, second)
