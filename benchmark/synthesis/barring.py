"""Which chunks may never be a query's negatives."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmark.synthesis.search import Corpus, Places
from benchmark.synthesis.split import hashes, text_keys

RULES: Final = (
    "own_chunk", "other_gold", "same_text", "same_section", "neighbour", "held_out", "near_duplicate", "margin",
    "cross_encoder_margin",
)  # fmt: skip
"""Why a chunk may not be a negative, in the order in which the rules are asked."""
MARGIN: Final = RULES.index("margin") + 1
CROSS_ENCODER_MARGIN: Final = RULES.index("cross_encoder_margin") + 1
_GATHERED: Final = 1024
"""Rows of the matrix that are copied at once, at most."""


class Barring:
    """The rules over one corpus.

    Args:
        corpus: Where negatives come from.
        held_out: Shape (n_chunks,): chunks whose texts are no negatives of queries from other chunks than these.
        near_duplicate: Similarity of two chunks from which on they are twins.
    """

    def __init__(self, corpus: Corpus, held_out: NDArray[np.bool_], near_duplicate: float) -> None:
        chunks = corpus.chunks
        self._chunks, self._vectors = chunks, corpus.vectors
        self._near_duplicate = near_duplicate
        self._texts = text_keys(chunks)
        self._held_out = np.isin(self._texts, self._texts[held_out])
        # Without headings the document is no section: a ready-made corpus would lose all its close negatives.
        self._sections = hashes(
            "\x1f".join((chunk.document, *chunk.headings)) if chunk.headings else f"\x1e{place}"
            for place, chunk in enumerate(chunks)
        )

    def barred(
        self, own: int, golds: frozenset[int], places: Places, over: NDArray[np.bool_] | None
    ) -> NDArray[np.int8]:
        """For each place 0, or 1 + the number of the first rule that bars it; shape (n_places,).

        Args:
            own: Position of the query's chunk.
            golds: Positions of further chunks that answer the query.
            places: Positions of the chunks that are looked at.
            over: Which of them are too similar to the query; None where that is not looked at.
        """
        tests = {
            "own_chunk": places == own,
            "other_gold": np.isin(places, sorted(golds)),
            "same_text": self._texts[places] == self._texts[own],
            "same_section": self._sections[places] == self._sections[own],
            "neighbour": np.isin(places, self._neighbours(own)),
            "held_out": self._held_out[places] & ~self._held_out[own],
            "near_duplicate": self._alike(own, places) >= self._near_duplicate,
        }
        if over is not None:
            tests["margin"] = over
        barred = np.zeros(len(places), dtype=np.int8)
        for rule in reversed(tests):
            barred[tests[rule]] = RULES.index(rule) + 1
        return barred

    def _alike(self, own: int, places: Places) -> NDArray[np.float32]:
        """Similarity of chunks to a query's own chunk, shape (n_places,), without a copy of much of the matrix."""
        if len(places) <= _GATHERED:
            return np.asarray(self._vectors[places] @ self._vectors[own])
        return np.asarray((self._vectors @ self._vectors[own])[places])

    def _neighbours(self, place: int) -> list[int]:
        """The chunks just before and after in the same document."""
        beside = [other for other in (place - 1, place + 1) if 0 <= other < len(self._chunks)]
        return [other for other in beside if self._chunks[other].document == self._chunks[place].document]


def most_allowed(own: float, margin: float) -> float:
    """The highest score that a negative may have, for the score of the positive.

    >>> most_allowed(0.5, 0.5), most_allowed(-0.5, 0.5)
    (0.25, -0.75)
    """
    return own * (margin if own > 0 else 2 - margin)
