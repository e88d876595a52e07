"""Two sides' scores on one scale: hybrids, and rerankers whose scores are added to the first stage's."""

import copy
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from benchmark.encoders.scorers import Footprint, Scorer

# The dense side's weight in a hybrid, where the spec gives none (docs/LOG.md has the measurement).
HYBRID_WEIGHTS = (0.6, 0.4)
# How many hits of each side of a hybrid are pooled before their scores are normalised.
HYBRID_POOL = 100


class ZScores:
    """Rows of scores for the same chunks, brought onto one scale, so that any weights can be tried on them.

    Args:
        rows: One row of shape (n_chunks,) for each side, n_chunks at least 1.
        pool: Positions of the chunks over which mean and deviation are taken; all by default.
    """

    def __init__(self, rows: Sequence[NDArray[np.float32]], pool: NDArray[np.int64] | None = None) -> None:
        values = [(row if pool is None else row[pool]).astype(np.float64) for row in rows]
        self._deviations = [side.std() for side in values]
        self._centred = [row - side.mean() for row, side in zip(rows, values, strict=True)]

    def fused(self, weights: Sequence[float]) -> NDArray[np.float32]:
        """The weighted sum, shape (n_chunks,); a side that scores everything alike has no say."""
        total = np.zeros(len(self._centred[0]), dtype=np.float64)
        for centred, deviation, weight in zip(self._centred, self._deviations, weights, strict=True):
            if deviation > 0:
                total += weight * centred / deviation
        return total.astype(np.float32)


class HybridScorer:
    """Two scorers, z-normalised over the pool of both sides' best hits and added with weights.

    Chunks outside the pool keep their order by the same formula, since both sides score every chunk.

    Attributes:
        sides: Both scorers.
    """

    def __init__(self, sides: Sequence[Scorer], weights: Sequence[float]) -> None:
        self.ids = sides[0].ids
        self.sides = sides
        self._weights = weights

    @property
    def footprint(self) -> Footprint:
        """Of both sides together."""
        found = [side.footprint for side in self.sides]
        dimensions = [one.dimensions for one in found if one.dimensions is not None]
        seconds = [one.seconds for one in found if one.seconds is not None]
        return Footprint(
            sum(one.bytes_per_chunk for one in found),
            sum(one.fixed_bytes for one in found),
            dimensions[0] if len(dimensions) == 1 else None,
            sum(seconds) if len(seconds) == len(found) else None,
        )

    def afresh(self) -> Self:
        """The same scorer, neither side of which knows a query yet."""
        other = copy.copy(self)
        other.sides = [side.afresh() for side in self.sides]
        return other

    def score_rows(self, queries: Sequence[str]) -> Iterator[NDArray[np.float32]]:
        """One row of fused scores for each query."""
        for rows in zip(*(side.score_rows(queries) for side in self.sides), strict=True):
            yield fuse_rows(rows, self._weights)


def hybrid_scores(rows: Sequence[NDArray[np.float32]]) -> ZScores:
    """Both sides of a hybrid on one scale: mean and deviation are over the union of each side's best hits.

    Args:
        rows: One row of shape (n_chunks,) for each side.
    """
    depth = min(HYBRID_POOL, len(rows[0]))
    return ZScores(rows, np.unique(np.concatenate([np.argpartition(-row, depth - 1)[:depth] for row in rows])))


def fuse_rows(rows: Sequence[NDArray[np.float32]], weights: Sequence[float]) -> NDArray[np.float32]:
    """Weighted sum of z-normalised scores; see `hybrid_scores`.

    Args:
        rows: One row of shape (n_chunks,) for each side.
        weights: One weight for each side.
    """
    return hybrid_scores(rows).fused(weights)


def fuse_reranked(first: Sequence[float], reranked: Sequence[float], weights: Sequence[float]) -> NDArray[np.float32]:
    """Weighted sum of a first stage's and a reranker's scores of one query's candidates, both z-normalised over them.

    Args:
        first: The first stage's scores, shape (n_candidates,).
        reranked: The reranker's.
        weights: Of the two.

    >>> fuse_reranked([3.0, 2.0, 1.0], [10.0, 30.0, 20.0], [0.0, 1.0]).argsort().tolist()
    [0, 2, 1]
    """
    if not len(first):
        return np.zeros(0, dtype=np.float32)
    return ZScores([np.asarray(row, dtype=np.float32) for row in (first, reranked)]).fused(weights)
