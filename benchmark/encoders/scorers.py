"""Scorers: for each query a row of scores over all chunks of a corpus, and what that corpus takes once it is indexed."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmark.encoders.dense import Encoder, check_finite, count_bad

_BLOCK = 128


class Footprint(NamedTuple):
    """What a corpus takes once it can be searched.

    Attributes:
        bytes_per_chunk: Of the arrays that grow with the corpus.
        fixed_bytes: Of those that grow with the vocabulary.
        dimensions: Of a vector; None where there are none, or several kinds of them.
        seconds: That encoding or indexing took; None where the vectors were in the store.
    """

    bytes_per_chunk: float
    fixed_bytes: int
    dimensions: int | None
    seconds: float | None


class Scorer(Protocol):
    """A retriever that has a score for every chunk."""

    @property
    def ids(self) -> Sequence[str]:
        """One id per chunk, in the order of the scores."""

    @property
    def footprint(self) -> Footprint:
        """What the corpus takes."""

    def score_rows(self, queries: Sequence[str]) -> Iterator[NDArray[np.float32]]:
        """One row of shape (n_chunks,) for each query, in order."""


class DenseScorer:
    """Cosine similarity of a bi-encoder's vectors, in blocks of queries.

    Args:
        encoder: Encodes the queries.
        ids: One id per chunk.
        vectors: Of the chunks, at length 1, shape (n_chunks, n_dimensions).
        seconds: That encoding them took; None where they were in the store.
    """

    def __init__(
        self, encoder: Encoder, ids: Sequence[str], vectors: NDArray[np.float32], seconds: float | None = None
    ) -> None:
        self.ids = ids
        self.encoder = encoder
        self._vectors = vectors
        dimensions = vectors.shape[1]
        self.footprint = Footprint(float(vectors.itemsize * dimensions), 0, dimensions, seconds)

    def score_rows(self, queries: Sequence[str]) -> Iterator[NDArray[np.float32]]:
        """One row of cosine similarities for each query.

        Raises:
            BenchError: The encoder gives something else than numbers.
        """
        encoded = self.encoder.encode(queries, "query")
        check_finite(self.encoder.name, count_bad(encoded), len(queries))
        for start in range(0, len(encoded), _BLOCK):
            yield from encoded[start : start + _BLOCK] @ self._vectors.T
