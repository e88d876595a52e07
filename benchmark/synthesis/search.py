"""The corpus as a dense encoder and BM25 see it: ranks for the round trip, similarities for negatives."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.console import Reporter
from benchmark.encoders.bm25 import BM25Index
from benchmark.encoders.dense import DenseEncoder
from benchmark.encoders.store import document_vectors
from benchmark.project import Domain
from benchmark.records import Chunk
from benchmark.specs import BM25Settings

BLOCK = 256
"""Queries whose similarities to the whole corpus are in memory at once."""


@dataclass(frozen=True)
class Corpus:
    """Chunks with their vectors, shape (n_chunks, n_dimensions), unit length, and their BM25 index."""

    chunks: Sequence[Chunk]
    vectors: NDArray[np.float32]
    bm25: BM25Index

    @classmethod
    def open(cls, domain: Domain, encoder: DenseEncoder, chunks: Sequence[Chunk], reporter: Reporter) -> "Corpus":
        """Encode (or read the kept vectors of) the corpus, and index it."""
        vectors = document_vectors(domain, encoder, chunks, reporter)
        texts = [chunk.full_text for chunk in chunks]
        return cls(chunks, vectors, BM25Index([chunk.id for chunk in chunks], texts, BM25Settings()))

    def similarity_blocks(self, vectors: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Similarities to every chunk, in blocks: first row's number, shape (at most BLOCK, n_chunks)."""
        for start in range(0, len(vectors), BLOCK):
            yield start, vectors[start : start + BLOCK] @ self.vectors.T


def source_ranks(
    corpus: Corpus, queries: Sequence[str], vectors: NDArray[np.float32], sources: Sequence[int]
) -> NDArray[np.int64]:
    """The better of the dense and the BM25 rank of each query's own chunk, from 1; ties count against it.

    Args:
        corpus: What is ranked.
        queries: Texts, for BM25.
        vectors: The queries' vectors, shape (n_queries, n_dimensions).
        sources: Position of each query's chunk.

    Returns:
        Shape (n_queries,).
    """
    ranks = np.empty(len(queries), dtype=np.int64)
    for start, block in corpus.similarity_blocks(vectors):
        for row, dense in enumerate(block):
            number = start + row
            lexical = corpus.bm25.scores(queries[number])
            ranks[number] = min(_rank(dense, sources[number]), _rank(lexical, sources[number]))
    return ranks


def _rank(scores: NDArray[np.float32], place: int) -> int:
    return int((scores >= scores[place]).sum())


def near_duplicates(vectors: NDArray[np.float32], threshold: float) -> dict[int, float]:
    """Rows that are at least this similar to an earlier row that is not one itself.

    Args:
        vectors: Unit length, shape (n_rows, n_dimensions).
        threshold: Cosine similarity.

    Returns:
        Row -> its similarity to the most similar such row.
    """
    found: dict[int, float] = {}
    alive = np.ones(len(vectors), dtype=bool)
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        similarity = block @ vectors[: start + len(block)].T
        for row in range(len(block)):
            number = start + row
            earlier = np.where(alive[:number], similarity[row, :number], -1.0)
            closest = float(earlier.max(initial=-1.0))
            if closest >= threshold:
                alive[number] = False
                found[number] = closest
    return found
