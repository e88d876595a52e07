"""The corpus as a dense encoder and BM25 see it: ranks for the round trip, similarities for negatives."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmark.console import Reporter
from benchmark.encoders.bm25 import BM25Index
from benchmark.encoders.dense import Encoder
from benchmark.encoders.store import document_vectors
from benchmark.project import Domain
from benchmark.records import Chunk
from benchmark.specs import BM25Settings
from benchmark.synthesis.language import small_words, snowball_name

BLOCK_BYTES: Final = 64 * 2**20
"""Similarities in memory at once: as many queries' rows as fit, at least one."""

Places = NDArray[np.int64]
"""Positions of chunks in the corpus, shape (n,)."""


def bm25_settings(language: str) -> BM25Settings:
    """BM25 with the stemmer and the stop words of a language, as far as PyStemmer and bm25s have them.

    Chinese, Japanese and Thai are written without spaces, so that BM25's words are whole clauses there and find next
    to nothing. That does no harm: the round trip takes the better of two ranks, and rests on the encoder's then.

    Args:
        language: ISO 639-3 code and script, e.g. "deu-Latn".
    """
    import Stemmer

    name = snowball_name(language)
    if name is None:
        return BM25Settings(stemmer=None, stopwords=None)
    if name == "english":
        return BM25Settings()
    return BM25Settings(
        stemmer=name if name in Stemmer.algorithms() else None, stopwords=name if small_words(name.upper()) else None
    )


@dataclass(frozen=True)
class Corpus:
    """Chunks with their vectors, shape (n_chunks, n_dimensions), unit length, and their BM25 index."""

    chunks: Sequence[Chunk]
    vectors: NDArray[np.float32]
    bm25: BM25Index

    @classmethod
    def open(cls, domain: Domain, encoder: Encoder, chunks: Sequence[Chunk], reporter: Reporter) -> "Corpus":
        """Encode (or read the kept vectors of) the corpus, and index it."""
        vectors = document_vectors(domain, encoder, chunks, reporter)
        texts = [chunk.full_text for chunk in chunks]
        settings = bm25_settings(domain.spec.language)
        return cls(chunks, vectors, BM25Index([chunk.id for chunk in chunks], texts, settings))

    @property
    def block_rows(self) -> int:
        """Queries whose similarities to the whole corpus are in memory at once."""
        return max(1, BLOCK_BYTES // (max(1, len(self.vectors)) * np.dtype(np.float32).itemsize))

    def similarity_blocks(self, vectors: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Similarities to every chunk: first row's number, shape (at most `block_rows`, n_chunks).

        All blocks share one buffer, so that there is never a second one: a block is overwritten by the next.
        """
        rows = min(self.block_rows, len(vectors))
        buffer = np.empty((rows, len(self.vectors)), dtype=np.float32)
        for start in range(0, len(vectors), max(1, rows)):
            part = vectors[start : start + rows]
            yield start, np.matmul(part, self.vectors.T, out=buffer[: len(part)])


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


def best(scores: NDArray[np.float32], count: int) -> Places:
    """Positions of the highest scores, best first, ties by position; shape (at most count,)."""
    count = min(count, len(scores))
    if count == 0:
        return np.empty(0, dtype=np.int64)
    edge = np.partition(scores, len(scores) - count)[len(scores) - count]
    places = np.flatnonzero(scores >= edge)
    order = np.lexsort((places, -scores[places]))
    return np.asarray(places[order[:count]])
