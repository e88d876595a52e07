"""BM25 as a teacher: queries of a passage's most telling words, answered by the passage that BM25 ranks first.

A dense model that is tuned on them learns the field's words from the lexical ranking (SPAR, arXiv 2110.06918).
Where words are written without spaces, there are none: BM25 knows no words there.
"""

import math
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Final

import numpy as np

from benchmark.encoders.bm25 import BM25Index
from benchmark.records import Chunk
from benchmark.synthesis.draft import unspaced_letters, words_of
from benchmark.synthesis.language import small_words, snowball_name
from benchmark.synthesis.search import bm25_settings

_WORDS: Final = (3, 6)
_TELLING: Final = 12
"""Words of a chunk that its queries are drawn from."""
_COMMON: Final = 0.5
"""A word in more than this share of the chunks says nothing about one of them, in whatever language."""


class LexicalTeacher:
    """Draws words and asks BM25 which chunk they belong to.

    Args:
        chunks: The corpus.
        bm25: Its index; made where there is none.
        language: The corpus': ISO 639-3 code and script.
    """

    def __init__(self, chunks: Sequence[Chunk], bm25: BM25Index | None = None, language: str = "eng-Latn") -> None:
        self._chunks = chunks
        self._bm25 = bm25 or BM25Index(
            [chunk.id for chunk in chunks], [chunk.full_text for chunk in chunks], bm25_settings(language)
        )
        self._stopwords = small_words((snowball_name(language) or "").upper())
        self._holders = Counter(word for chunk in chunks for word in set(words_of(chunk.text)))

    def telling(self, place: int) -> list[str]:
        """The chunk's words of the highest idf * tf, at most 12, the most telling first; never mere numbers."""
        counts = Counter(words_of(self._chunks[place].text))
        weights = {word: count * self._idf(word) for word, count in counts.items() if self._speaks(word)}
        return sorted(weights, key=lambda word: (-weights[word], word))[:_TELLING]

    def queries(self, place: int, count: int, rng: Random) -> list[str]:
        """Up to `count` different queries of 3 to 6 telling words of a chunk, in the order of its text."""
        telling = self.telling(place)
        if len(telling) < _WORDS[0]:
            return []
        order = {word: number for number, word in enumerate(dict.fromkeys(words_of(self._chunks[place].text)))}
        found: dict[str, None] = {}
        for _ in range(count):
            words = rng.sample(telling, min(rng.randint(*_WORDS), len(telling)))
            found[" ".join(sorted(words, key=order.__getitem__))] = None
        return list(found)

    def first(self, query: str, place: int) -> int | None:
        """The chunk that BM25 ranks first; of equals the one at `place`, else the earliest; None without a match."""
        scores = self._bm25.scores(query)
        highest = scores.max(initial=0.0)
        if highest <= 0:
            return None
        return place if scores[place] == highest else int(np.argmax(scores))

    def _speaks(self, word: str) -> bool:
        common = self._holders[word] > max(1.0, _COMMON * len(self._chunks))
        told = len(word) > 1 and not common and word not in self._stopwords and any(map(str.isalpha, word))
        return told and not unspaced_letters(word)

    def _idf(self, word: str) -> float:
        """As Lucene's BM25 has it."""
        holders = self._holders[word]
        return math.log(1 + (len(self._chunks) - holders + 0.5) / (holders + 0.5))
