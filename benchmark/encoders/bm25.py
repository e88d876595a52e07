"""BM25 over a corpus, by bm25s; Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import BenchError
from benchmark.specs import BM25Settings


class BM25Index:
    """Scores every chunk of a corpus for a query.

    Args:
        ids: One id per chunk.
        texts: What is indexed, one per chunk.
        settings: k1, b, stemmer and stop words.

    Attributes:
        ids: As given.
        seconds: That indexing took.

    Raises:
        BenchError: An unknown stemmer or stop-word list.
    """

    def __init__(self, ids: Sequence[str], texts: Sequence[str], settings: BM25Settings) -> None:
        import bm25s
        import Stemmer

        started = time.perf_counter()
        self.ids: Sequence[str] = tuple(ids)
        self._stopwords = settings.stopwords
        try:
            self._stemmer = Stemmer.Stemmer(settings.stemmer) if settings.stemmer else None
        except KeyError:
            known = ", ".join(Stemmer.algorithms())
            raise BenchError(f"bm25: unknown stemmer '{settings.stemmer}'; known: {known}") from None
        try:
            corpus = self._tokens(list(texts), ids=True)
        except ValueError as error:
            raise BenchError(f"bm25: stopwords '{settings.stopwords}': {error}") from None
        self._index = bm25s.BM25(k1=settings.k1, b=settings.b, method="lucene")
        # A corpus of stop words alone has no vocabulary, and bm25s cannot index it.
        self._empty = not corpus.vocab
        if not self._empty:
            self._index.index(corpus, show_progress=False)
        self.seconds = time.perf_counter() - started

    @property
    def posting_bytes(self) -> int:
        """Size of the lists of chunks with their scores, which grow with the corpus."""
        return 0 if self._empty else int(self._index.scores["data"].nbytes + self._index.scores["indices"].nbytes)

    @property
    def word_bytes(self) -> int:
        """Size of where each word's list begins, which grows with the vocabulary."""
        return 0 if self._empty else int(self._index.scores["indptr"].nbytes)

    def _tokens(self, texts: list[str], *, ids: bool) -> Any:
        import bm25s

        return bm25s.tokenize(
            texts, stopwords=self._stopwords or [], stemmer=self._stemmer, return_ids=ids, show_progress=False
        )

    def scores(self, query: str) -> NDArray[np.float32]:
        """One score per chunk, shape (n_chunks,); all 0 for a query without a known word."""
        words = [] if self._empty else self._tokens([query], ids=False)[0]
        known = [word for word in words if word in self._index.vocab_dict] if words else []
        if not known:
            return np.zeros(len(self.ids), dtype=np.float32)
        return np.asarray(self._index.get_scores(known), dtype=np.float32)
