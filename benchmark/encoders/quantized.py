"""Vectors as integers of 8 bits or as single bits: what a search index holds of them where memory is dear.

No range is learnt from a corpus: a text's code depends on its vector alone, and a corpus may grow.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from benchmark.specs.models import Quantization

_LARGEST: Final = 127
_ROWS: Final = 4096
"""Codes that are compared at once, so few that what is made of them stays in the processor's cache."""
_WORD: Final = 64
_SMALLEST: Final = 1e-12


class Codes(ABC):
    """Codes of vectors, in their order."""

    @classmethod
    @abstractmethod
    def of(cls, vectors: NDArray[np.float32]) -> Self:
        """The codes of vectors of shape (n_vectors, n_dimensions)."""

    @classmethod
    @abstractmethod
    def empty(cls, count: int, dimensions: int) -> Self:
        """Room for the codes of so many vectors."""

    @abstractmethod
    def put(self, numbers: NDArray[np.int64], codes: Self) -> None:
        """Write codes to their places."""

    @abstractmethod
    def take(self, numbers: NDArray[np.int64]) -> Self:
        """Some of the codes."""

    @abstractmethod
    def vectors(self) -> NDArray[np.float32]:
        """What the codes stand for, at length 1, shape (n_vectors, n_dimensions)."""

    @abstractmethod
    def scores(self, queries: Self) -> NDArray[np.float32]:
        """Cosine similarities of what the codes stand for, shape (n_queries, n_vectors)."""

    @property
    @abstractmethod
    def bytes_each(self) -> int:
        """What a vector takes."""


class Int8Codes(Codes):
    """Integers from -127 to 127, the largest of a vector's values being one of the two.

    Args:
        integers: Shape (n_vectors, n_dimensions).
        inverses: 1 over the length of each row of integers, shape (n_vectors,).
    """

    def __init__(self, integers: NDArray[np.int8], inverses: NDArray[np.float32]) -> None:
        self._integers = integers
        self._inverses = inverses

    @classmethod
    def of(cls, vectors: NDArray[np.float32]) -> Self:
        """The codes of vectors of shape (n_vectors, n_dimensions)."""
        largest = np.abs(vectors).max(axis=1, keepdims=True, initial=_SMALLEST)
        rounded = np.round(vectors * (_LARGEST / largest))
        lengths = np.linalg.norm(rounded, axis=1)
        return cls(rounded.astype(np.int8), (1 / np.maximum(lengths, 1)).astype(np.float32))

    @classmethod
    def empty(cls, count: int, dimensions: int) -> Self:
        """Room for the codes of so many vectors."""
        return cls(np.zeros((count, dimensions), dtype=np.int8), np.zeros(count, dtype=np.float32))

    def put(self, numbers: NDArray[np.int64], codes: Self) -> None:
        """Write codes to their places."""
        self._integers[numbers] = codes._integers
        self._inverses[numbers] = codes._inverses

    def take(self, numbers: NDArray[np.int64]) -> Self:
        """Some of the codes."""
        return type(self)(self._integers[numbers], self._inverses[numbers])

    def vectors(self) -> NDArray[np.float32]:
        """What the codes stand for, at length 1, shape (n_vectors, n_dimensions)."""
        return self._integers.astype(np.float32) * self._inverses[:, None]

    def scores(self, queries: Self) -> NDArray[np.float32]:
        """Cosine similarities of what the codes stand for, shape (n_queries, n_vectors)."""
        found = np.empty((len(queries._integers), len(self._integers)), dtype=np.float32)
        # Products of integers are exact in float32 up to 2^24, which 1,040 dimensions cannot exceed.
        asked = queries._integers.astype(np.float32)
        for start in range(0, len(self._integers), _ROWS):
            part = slice(start, start + _ROWS)
            found[:, part] = (asked @ self._integers[part].astype(np.float32).T) * self._inverses[part]
        found *= queries._inverses[:, None]
        return found

    @property
    def bytes_each(self) -> int:
        """What a vector takes: its integers, and the length."""
        return int(self._integers.shape[1]) + self._inverses.itemsize


class BinaryCodes(Codes):
    """A bit for each dimension: whether the value is greater than 0.

    Args:
        words: Shape (n_vectors, n_words), 64 dimensions in a word, filled up with zeros.
        dimensions: Of the vectors.
    """

    def __init__(self, words: NDArray[np.uint64], dimensions: int) -> None:
        self._words = words
        self._dimensions = dimensions

    @classmethod
    def of(cls, vectors: NDArray[np.float32]) -> Self:
        """The codes of vectors of shape (n_vectors, n_dimensions)."""
        count, dimensions = vectors.shape
        bits = np.zeros((count, -(-dimensions // _WORD) * _WORD), dtype=bool)
        bits[:, :dimensions] = vectors > 0
        return cls(np.packbits(bits, axis=1).view(np.uint64), dimensions)

    @classmethod
    def empty(cls, count: int, dimensions: int) -> Self:
        """Room for the codes of so many vectors."""
        return cls(np.zeros((count, -(-dimensions // _WORD)), dtype=np.uint64), dimensions)

    def put(self, numbers: NDArray[np.int64], codes: Self) -> None:
        """Write codes to their places."""
        self._words[numbers] = codes._words

    def take(self, numbers: NDArray[np.int64]) -> Self:
        """Some of the codes."""
        return type(self)(self._words[numbers], self._dimensions)

    def vectors(self) -> NDArray[np.float32]:
        """What the codes stand for, at length 1, shape (n_vectors, n_dimensions)."""
        bits = np.unpackbits(self._words.view(np.uint8), axis=1, count=self._dimensions)
        one = np.float32(1 / np.sqrt(max(1, self._dimensions)))
        return np.where(bits, one, -one)

    def scores(self, queries: Self) -> NDArray[np.float32]:
        """Cosine similarities of what the codes stand for, shape (n_queries, n_vectors): 1 - 2 * share of other bits."""
        found = np.empty((len(queries._words), len(self._words)), dtype=np.float32)
        for start in range(0, len(self._words), _ROWS):
            part = slice(start, start + _ROWS)
            for row, query in zip(found, queries._words, strict=True):
                row[part] = np.bitwise_count(self._words[part] ^ query).sum(axis=1, dtype=np.int32)
        found *= np.float32(-2 / max(1, self._dimensions))
        found += 1
        return found

    @property
    def bytes_each(self) -> int:
        """What a vector takes."""
        return int(self._words.shape[1]) * self._words.itemsize


CODES: Final[Mapping[Quantization, type[Codes]]] = MappingProxyType({"int8": Int8Codes, "binary": BinaryCodes})
