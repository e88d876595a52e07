"""Queries that ask for nearly the same: the later one goes, and the earlier one remembers where its answers stand."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLOCK: Final = 256
"""Rows whose similarities to all earlier rows are in memory at once."""


class Twin(NamedTuple):
    """The earlier row that a row repeats, and how similar the two are (1: the same text)."""

    other: int
    similarity: float


def near_duplicates(vectors: NDArray[np.float32], threshold: float) -> dict[int, Twin]:
    """Rows that are at least this similar to an earlier row that is not one itself.

    Memory beside the vectors: one block of rows times n_rows similarities.

    Args:
        vectors: Unit length, shape (n_rows, n_dimensions).
        threshold: Cosine similarity.

    Returns:
        Row -> the most similar such row, the first one of equals.
    """
    found: dict[int, Twin] = {}
    alive = np.ones(len(vectors), dtype=bool)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        similarity = block @ vectors[: start + len(block)].T
        similarity[:, np.flatnonzero(~alive[:start])] = -np.inf
        before = _closest(similarity[:, :start])
        for row, twin in enumerate(before):
            number = start + row
            # Rows of the same block may still fall, so that these are looked at one by one.
            inside = np.where(alive[start:number], similarity[row, start:number], -np.inf)
            if row and float(inside.max()) > twin.similarity:
                twin = Twin(start + int(inside.argmax()), float(inside.max()))
            if twin.similarity >= threshold:
                alive[number] = False
                found[number] = twin
    return found


def groups(twins: Mapping[int, Twin]) -> list[list[int]]:
    """The rows that belong together: each row that others repeat, and then those that repeat it, in order.

    >>> groups({3: Twin(0, 1.0), 4: Twin(0, 0.95), 6: Twin(5, 1.0)})
    [[0, 3, 4], [5, 6]]
    """
    found: defaultdict[int, list[int]] = defaultdict(list)
    for number, twin in sorted(twins.items()):
        found[twin.other].append(number)
    return [[first, *others] for first, others in sorted(found.items())]


def _closest(similarity: NDArray[np.float32]) -> list[Twin]:
    """The largest entry of each row of shape (n_rows, n_earlier); minus infinity where nothing is earlier."""
    if not similarity.shape[1]:
        return [Twin(-1, float("-inf"))] * len(similarity)
    places = similarity.argmax(axis=1)
    best = similarity[np.arange(len(similarity)), places]
    return [Twin(int(place), float(value)) for place, value in zip(places, best, strict=True)]
