"""Scorers: for each query a row of scores over all chunks of a corpus, and what that corpus takes once it is indexed."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from benchmark.encoders.dense import Encoder, check_finite, count_bad
from benchmark.encoders.search import top_k
from benchmark.encoders.store import StoredVectors
from benchmark.records import Hit

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

    def afresh(self) -> Self:
        """The same, without anything that it knows of queries already."""


class DenseScorer:
    """Cosine similarity of a bi-encoder's vectors, in blocks of queries and of chunks.

    Args:
        encoder: Encodes the queries.
        ids: One id per chunk.
        vectors: Of the chunks.
        kept_queries: Gives queries' vectors from the store; without it each query is encoded whenever it is asked.
    """

    def __init__(
        self,
        encoder: Encoder,
        ids: Sequence[str],
        vectors: StoredVectors,
        kept_queries: Callable[[Sequence[str]], NDArray[np.float32]] | None = None,
    ) -> None:
        self.ids = ids
        self.encoder = encoder
        self._vectors = vectors
        self._kept_queries = kept_queries
        dimensions = vectors.shape[1]
        self.footprint = Footprint(4.0 * dimensions, 0, dimensions, vectors.seconds)

    def afresh(self) -> Self:
        """The same scorer, which knows no query yet."""
        other = copy.copy(self)
        other._kept_queries = None
        return other

    def score_rows(self, queries: Sequence[str]) -> Iterator[NDArray[np.float32]]:
        """One row of cosine similarities for each query.

        Raises:
            BenchError: The encoder gives something else than numbers.
        """
        encoded = self._encoded(queries)
        for start in range(0, len(encoded), _BLOCK):
            part = encoded[start : start + _BLOCK]
            scores = np.empty((len(part), len(self.ids)), dtype=np.float32)
            for numbers, vectors in self._vectors.blocks():
                scores[:, numbers] = part @ vectors.T
            yield from scores

    def best(self, queries: Sequence[str], depth: int) -> list[list[Hit]]:
        """The best hits of each query, without a score for every chunk.

        Raises:
            BenchError: The encoder gives something else than numbers.
        """
        return top_k(self._encoded(queries), self._vectors.blocks(), depth, self.ids)

    def score_some(self, queries: Sequence[str], wanted: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[np.float32]]:
        """Cosine similarities of each query to some chunks of its own.

        Args:
            queries: Texts.
            wanted: Numbers of chunks, for each query.

        Raises:
            BenchError: The encoder gives something else than numbers.
        """
        for query, numbers in zip(self._encoded(queries), wanted, strict=True):
            yield self._vectors.take(numbers) @ query

    def _encoded(self, queries: Sequence[str]) -> NDArray[np.float32]:
        if self._kept_queries is not None:
            return self._kept_queries(queries)
        encoded = self.encoder.encode(queries, "query")
        check_finite(self.encoder.name, count_bad(encoded), len(queries))
        return encoded
