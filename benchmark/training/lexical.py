"""A lexical teacher for adapters: what BM25 and the base rank high together, query by query.

Where BM25 knows a field's words better than the base does, its ranking is a target to learn from (SPAR, Chen et al.,
arXiv 2110.06918): softer than the one passage that a query was cut from, and it tells related passages from others.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmark.encoders.retrieve import bm25_index
from benchmark.records import Chunk
from benchmark.specs import BM25Settings
from benchmark.training.linear import Pairs, Targets

DEPTH: Final = 256
"""Passages that a query's target is spread over."""
_BLOCK: Final = 256


def lexical_targets(
    pairs: Pairs, texts: Sequence[str], chunks: Sequence[Chunk], weights: NDArray[np.float32]
) -> Targets:
    """A distribution over the candidates for each query: softmax of the mean of both sides' z-normalised scores.

    Args:
        pairs: Queries and candidates as the base sees them; what is nobody's candidate, and a query's further
            positives, have no share.
        texts: The queries, in the same order.
        chunks: The candidates, in the same order.
        weights: What each query's shares sum to, from 0 to 1, shape (n_queries,).
    """
    index = bm25_index(chunks, BM25Settings())
    depth = min(DEPTH, pairs.candidates)
    rows = np.empty((len(texts), depth), dtype=np.int64)
    shares = np.empty((len(texts), depth), dtype=np.float32)
    open_ = ~pairs.left_out
    for start in range(0, len(texts), _BLOCK):
        dense = pairs.queries[start : start + _BLOCK] @ pairs.documents.T
        for number, row in enumerate(dense, start):
            fused = (_normalised(row, open_) + _normalised(index.scores(texts[number]), open_)) / 2
            fused[pairs.left_out] = -np.inf
            fused[list(pairs.also[number])] = -np.inf
            best = np.argpartition(-fused, depth - 1)[:depth]
            raised = np.exp(fused[best] - fused[best].max())
            rows[number], shares[number] = best, weights[number] * raised / raised.sum()
    return Targets(rows, shares)


def _normalised(scores: NDArray[np.float32], counted: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Scores with mean 0 and deviation 1 over the passages that count; all 0 where no score differs."""
    deviation = scores[counted].std()
    if deviation == 0:
        return np.zeros_like(scores)
    return np.asarray((scores - scores[counted].mean()) / deviation, dtype=np.float32)
