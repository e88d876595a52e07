"""Exact search in blocks: the best chunks of a corpus that need not fit into memory, on a GPU where there is one."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmark.device import device_name
from benchmark.records import Hit
from benchmark.runs import rank

Block = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Positions of some chunks, shape (n,), and their vectors, shape (n, n_dimensions)."""
BLOCK: Final = 16_384
"""Vectors in a block: with so many queries as are scored together their scores take 64 MiB."""
_QUERIES: Final = 1024


def top_k(
    queries: NDArray[np.float32], blocks: Iterable[Block], depth: int, ids: Sequence[str], device: str | None = None
) -> list[list[Hit]]:
    """The chunks with the greatest inner product, for each query; exact, and every block is read once.

    Equal scores stand in trec_eval's order (`benchmark.runs.rank`), also where the last place is tied.

    Args:
        queries: Shape (n_queries, n_dimensions).
        blocks: Every chunk once, in any order.
        depth: How many to keep.
        ids: Chunk ids by position.
        device: Where to multiply; a GPU where there is one, by default.

    Returns:
        Per query at most `depth` hits, best first.
    """
    import torch

    where = device or device_name()
    groups = [slice(start, start + _QUERIES) for start in range(0, len(queries), _QUERIES)]
    best = [_Best(len(queries[group]), depth, ids) for group in groups]
    if depth < 1:
        return [[] for _ in queries]
    asked = [torch.from_numpy(np.ascontiguousarray(queries[group], dtype=np.float32)).to(where) for group in groups]
    for positions, vectors in blocks:
        # A mapped file is read-only, which torch warns about; the vectors are only read here.
        block = torch.from_numpy(_writable(vectors)).to(where)
        for some, found in zip(asked, best, strict=True):
            found.add(some @ block.T, positions)
    return [hits for found in best for hits in found.hits()]


def _writable(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    array = np.ascontiguousarray(vectors, dtype=np.float32)
    return array if array.flags.writeable else array.copy()


class _Best:
    """The best chunks of the blocks so far, for a group of queries.

    A score below the query's last place is dropped where it was computed; the others wait until there are as many of
    them as places, and are then merged.
    """

    def __init__(self, queries: int, depth: int, ids: Sequence[str]) -> None:
        self._depth = depth
        self._ids = ids
        self._edges = np.full(queries, -np.inf, dtype=np.float32)
        self._rows = np.zeros(0, dtype=np.int64)
        self._positions = np.zeros(0, dtype=np.int64)
        self._scores = np.zeros(0, dtype=np.float32)
        self._waiting: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []

    def add(self, scores: Any, positions: NDArray[np.int64]) -> None:
        """Take what is good enough of a block's scores, a tensor of shape (n_queries, n_vectors)."""
        import torch

        edges = torch.from_numpy(self._edges).to(scores.device)
        if scores.shape[1] >= self._depth and bool(torch.isinf(edges).any()):
            # Not all places are taken: this block alone has chunks enough to say what is too low.
            edges = torch.maximum(edges, scores.topk(self._depth, dim=1).values[:, -1])
        rows, columns = (scores >= edges[:, None]).nonzero(as_tuple=True)
        values = scores[rows, columns].cpu().numpy()
        self._waiting.append((rows.cpu().numpy(), positions[columns.cpu().numpy()], values))
        if sum(len(part) for part, _, _ in self._waiting) >= len(self._edges) * self._depth // 2:
            self._merge()

    def _merge(self) -> None:
        parts = [(self._rows, self._positions, self._scores), *self._waiting]
        self._waiting = []
        rows, positions, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((-scores, rows))
        rows, positions, scores = rows[order], positions[order], scores[order]
        starts = np.searchsorted(rows, np.arange(len(self._edges)))
        place = np.arange(len(rows)) - starts[rows]
        last = np.flatnonzero(place == self._depth - 1)
        self._edges[rows[last]] = scores[last]
        # What ties with the last place is kept until the end, unless that is much: then the ids decide at once.
        kept = (place < self._depth) | (scores >= self._edges[rows])
        if kept.sum() > 4 * len(self._edges) * self._depth:
            kept = self._decided(rows, positions, scores, starts)
        self._rows, self._positions, self._scores = rows[kept], positions[kept], scores[kept]

    def _decided(
        self,
        rows: NDArray[np.int64],
        positions: NDArray[np.int64],
        scores: NDArray[np.float32],
        starts: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        kept = np.zeros(len(rows), dtype=bool)
        for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
            order = sorted(range(start, stop), key=lambda i: (scores[i], self._ids[int(positions[i])]), reverse=True)
            kept[order[: self._depth]] = True
        return kept

    def hits(self) -> list[list[Hit]]:
        """The best of all blocks, by query."""
        self._merge()
        bounds = np.searchsorted(self._rows, np.arange(len(self._edges) + 1))
        return [
            rank(
                {self._ids[int(i)]: float(score) for i, score in zip(self._positions[a:b], self._scores[a:b], strict=True)},
                self._depth,
            )
            for a, b in pairwise(bounds)
        ]  # fmt: skip
