"""nDCG@10 and MRR@10 of vectors, query by query, over all passages that they are given.

Ranks are trec_eval's: score as float32 descending, then id descending (see `benchmark/runs.py`). nDCG with binary
relevance: Järvelin and Kekäläinen, ACM TOIS 20(4), 2002.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.encoders.adapter import LinearMaps

CUTOFF = 10
_BLOCK_BYTES = 32 * 2**20

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Quality:
    """Scores of each query, from 0 to 1, shape (n_queries,)."""

    ndcg: Floats
    mrr: Floats

    def means(self, counted: int | None = None) -> dict[str, float]:
        """Mean nDCG@10 and MRR@10 over the first `counted` queries; all by default."""
        return {"ndcg@10": float(self.ndcg[:counted].mean()), "mrr@10": float(self.mrr[:counted].mean())}


@dataclass(frozen=True)
class Judged:
    """Queries whose relevant documents are known, as the base encodes them.

    Attributes:
        queries: Unit vectors, shape (n_queries, n_dimensions).
        documents: Unit vectors, shape (n_documents, n_dimensions).
        relevant: Rows in `documents` that are relevant to each query; at least one.
        ids: One id for each document: where scores are equal, the higher id comes first.
    """

    queries: NDArray[np.float32]
    documents: NDArray[np.float32]
    relevant: Sequence[Sequence[int]]
    ids: Sequence[str]

    def quality(self, maps: LinearMaps) -> Quality:
        """How well adapted queries find what is relevant to them among the adapted documents."""
        return quality(
            maps.apply(self.queries, "query"), maps.apply(self.documents, "document"), self.relevant, self.ids
        )


def quality(
    queries: NDArray[np.float32],
    documents: NDArray[np.float32],
    relevant: Sequence[Sequence[int]],
    ids: Sequence[str],
) -> Quality:
    """How well queries find what is relevant to them; the arguments are those of `ranks`."""
    found = ranks(queries, documents, relevant, ids)
    return Quality(np.array([_ndcg(row) for row in found]), np.array([_mrr(row) for row in found]))


def ranks(
    queries: NDArray[np.float32],
    documents: NDArray[np.float32],
    relevant: Sequence[Sequence[int]],
    ids: Sequence[str],
) -> list[NDArray[np.int64]]:
    """The rank, from 1, of each relevant document of each query; similarities are held a block at a time.

    Args:
        queries: Unit vectors, shape (n_queries, n_dimensions).
        documents: Unit vectors, shape (n_documents, n_dimensions).
        relevant: Rows in `documents` for each query.
        ids: One id for each document.
    """
    last = np.empty(len(ids), dtype=np.int64)
    last[np.argsort(np.array(ids, dtype=str), kind="stable")] = np.arange(len(ids))
    size = max(1, _BLOCK_BYTES // (4 * max(1, len(documents))))
    found = []
    for start in range(0, len(queries), size):
        similar = queries[start : start + size] @ documents.T
        for row, wanted in zip(similar, relevant[start : start + size], strict=True):
            found.append(np.array([_rank(row, last, column) for column in wanted], dtype=np.int64))
    return found


def best_hits(queries: NDArray[np.float32], documents: NDArray[np.float32], depth: int) -> NDArray[np.int64]:
    """Rows of each query's most similar documents, best first, shape (n_queries, at most depth)."""
    depth = min(depth, len(documents))
    size = max(1, _BLOCK_BYTES // (4 * max(1, len(documents))))
    found = np.empty((len(queries), depth), dtype=np.int64)
    for start in range(0, len(queries), size):
        similar = queries[start : start + size] @ documents.T
        near = np.argpartition(-similar, depth - 1, axis=1)[:, :depth]
        order = np.argsort(-np.take_along_axis(similar, near, axis=1), axis=1, kind="stable")
        found[start : start + size] = np.take_along_axis(near, order, axis=1)
    return found


def _rank(row: NDArray[np.float32], last: NDArray[np.int64], column: int) -> int:
    own = row[column]
    ties = np.flatnonzero(row == own)
    return 1 + int((row > own).sum()) + int((last[ties] > last[column]).sum())


def _ndcg(found: NDArray[np.int64]) -> float:
    near = found[found <= CUTOFF]
    ideal = (1 / np.log2(1 + np.arange(1, min(len(found), CUTOFF) + 1))).sum()
    return float((1 / np.log2(1 + near)).sum() / ideal)


def _mrr(found: NDArray[np.int64]) -> float:
    first = int(found.min())
    return 1 / first if first <= CUTOFF else 0.0
