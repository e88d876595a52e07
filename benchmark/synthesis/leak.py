"""The leak check: no training query may resemble a hand-made test question.

Test questions are read here for this one purpose: to drop what is the same text, shares half of the three-word
sequences (six letters where words are written without spaces), or means the same to an encoder.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.synthesis.draft import stretches
from benchmark.synthesis.filters import plain_words

LeakKind = Literal["exact", "ngram", "embedding"]
LEAK_KINDS: Final[tuple[LeakKind, ...]] = ("exact", "ngram", "embedding")
_SHARE: Final = 0.5
_NGRAM: Final = 3
_BLOCK: Final = 1024
"""Queries whose similarities to the test questions are in memory at once."""


class Leak(NamedTuple):
    """How a query resembles a test question, and how much: 1 is the same text."""

    kind: LeakKind
    score: float


class LeakCheck:
    """Finds queries that resemble a test question in their words.

    Args:
        test_questions: The hand-made questions.
    """

    def __init__(self, test_questions: Iterable[str]) -> None:
        self._texts: set[tuple[str, ...]] = set()
        self._owners: dict[tuple[str, ...], list[int]] = {}
        self._sizes: list[int] = []
        for text in test_questions:
            words = plain_words(text)
            self._texts.add(tuple(words))
            grams = _ngrams(words)
            for gram in sorted(grams):
                self._owners.setdefault(gram, []).append(len(self._sizes))
            self._sizes.append(len(grams))

    def __call__(self, text: str) -> Leak | None:
        """How much of the closest test question is in the text (0.5 to 1), or None under a half."""
        words = plain_words(text)
        if tuple(words) in self._texts:
            return Leak("exact", 1.0)
        grams = _ngrams(words)
        shared = Counter(owner for gram in grams for owner in self._owners.get(gram, ()))
        # Against the shorter of the two, so that a short question inside a long one is found as well.
        share = max((count / min(len(grams), self._sizes[owner]) for owner, count in shared.items()), default=0.0)
        return Leak("ngram", share) if share >= _SHARE else None


def _ngrams(words: list[str]) -> set[tuple[str, ...]]:
    return set(stretches(words, _NGRAM))


def closest_similarity(vectors: NDArray[np.float32], questions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each query's cosine similarity to the test question that is closest to it, in blocks of queries.

    Args:
        vectors: Of the queries; unit length, shape (n_queries, n_dimensions).
        questions: Of the test questions; unit length, shape (n_questions, n_dimensions).

    Returns:
        Shape (n_queries,); -1 throughout where there are no test questions.
    """
    closest = np.full(len(vectors), -1.0, dtype=np.float32)
    if len(questions):
        for start in range(0, len(vectors), _BLOCK):
            block = vectors[start : start + _BLOCK]
            closest[start : start + len(block)] = (block @ questions.T).max(axis=1)
    return closest
