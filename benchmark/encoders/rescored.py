"""Search in quantised vectors, whose best hits get the scores of the full ones: those stay in the store, on disk."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmark.console import SILENT, Reporter
from benchmark.encoders.adapter import QuantizedEncoder
from benchmark.encoders.dense import check_finite, count_bad
from benchmark.encoders.quantized import CODES, Codes
from benchmark.encoders.scorers import DenseScorer, Footprint
from benchmark.encoders.store import StoredVectors, query_vectors, stored_documents
from benchmark.project import Domain
from benchmark.records import Chunk, Hit
from benchmark.runs import rank_row

_HITS: Final = 10
"""What `rescore` multiplies: the hits by which systems are compared, however many more an evaluation asks for.

An application that wants ten hits scores so many anew and no more; measured with a hundred, its loss would not show.
"""
_BLOCK: Final = 32


class QuantizedScorer(DenseScorer):
    """Cosine similarity of quantised vectors, and of the full ones for the best hits, which come first.

    Args:
        encoder: Encodes the queries, and says how vectors are quantised.
        ids: One id per chunk.
        vectors: Of the chunks, in full.
        kept_queries: Gives queries' full vectors from the store; without it each query is encoded whenever it is asked.
    """

    encoder: QuantizedEncoder

    def __init__(
        self,
        encoder: QuantizedEncoder,
        ids: Sequence[str],
        vectors: StoredVectors,
        kept_queries: partial[NDArray[np.float32]] | None = None,
    ) -> None:
        super().__init__(encoder, ids, vectors, kept_queries)
        count, dimensions = vectors.shape
        self._codes: Codes = CODES[encoder.kind].empty(count, dimensions)
        for numbers, block in vectors.blocks():
            self._codes.put(numbers, encoder.codes(block))
        self.footprint = Footprint(float(self._codes.bytes_each), 0, dimensions, vectors.seconds)

    def score_rows(self, queries: Sequence[str]) -> Iterator[NDArray[np.float32]]:
        """One row of similarities for each query.

        Raises:
            BenchError: The base gives something else than numbers.
        """
        every = np.arange(len(self.ids))
        encoded = self._encoded(queries)
        for start in range(0, len(encoded), _BLOCK):
            part = encoded[start : start + _BLOCK]
            for query, row in zip(part, self._codes.scores(self.encoder.codes(part)), strict=True):
                yield self._rescored(query, row, every)

    def best(self, queries: Sequence[str], depth: int) -> list[list[Hit]]:
        """The best hits of each query.

        Raises:
            BenchError: The base gives something else than numbers.
        """
        return [rank_row(row, self.ids, depth) for row in self.score_rows(queries)]

    def score_some(self, queries: Sequence[str], wanted: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[np.float32]]:
        """Similarities of each query to some chunks of its own, of which the best are scored anew.

        Raises:
            BenchError: The base gives something else than numbers.
        """
        for query, numbers in zip(self._encoded(queries), wanted, strict=True):
            (row,) = self._codes.take(numbers).scores(self.encoder.codes(query[None]))
            yield self._rescored(query, row, numbers)

    def _rescored(
        self, query: NDArray[np.float32], row: NDArray[np.float32], numbers: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Full scores for the best, and the others' lowered so far that they come after those."""
        count = min(_HITS * self.encoder.rescore, len(row))
        if count == 0:
            return row
        best = self._first(row, numbers, count)
        # Row by row, so that equal vectors have equal scores: a matrix product may round its last rows otherwise.
        full = np.einsum("ij,j->i", self._vectors.take(numbers[best]), query)
        rest = np.ones(len(row), dtype=bool)
        rest[best] = False
        if rest.any():
            lowest = full.min()
            row += min(np.float32(0), lowest - row[rest].max())
            np.minimum(row, np.nextafter(lowest, np.float32(-np.inf)), out=row)
        row[best] = full
        return row

    def _first(self, row: NDArray[np.float32], numbers: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """Places of the best, in trec_eval's order: bits alone give many equal scores."""
        edge = np.partition(row, len(row) - count)[len(row) - count]
        places = np.flatnonzero(row >= edge).tolist()
        places.sort(key=lambda place: (row[place], self.ids[int(numbers[place])]), reverse=True)
        return np.array(places[:count], dtype=np.int64)

    def _encoded(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """The queries' full vectors."""
        if self._kept_queries is not None:
            return self._kept_queries(queries)
        base = self.encoder.base
        encoded = base.encode(queries, "query")
        check_finite(base.name, count_bad(encoded), len(queries))
        return encoded


def open_quantized_scorer(
    domain: Domain, encoder: QuantizedEncoder, chunks: Sequence[Chunk], reporter: Reporter = SILENT
) -> QuantizedScorer:
    """The scorer of a `quantize:` spec; its base's vectors are encoded where the store has them not."""
    vectors = stored_documents(domain, encoder.base, chunks, reporter)
    kept = partial(query_vectors, domain, encoder.base)
    return QuantizedScorer(encoder, [chunk.id for chunk in chunks], vectors, kept)
