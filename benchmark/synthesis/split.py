"""Training and development: by document, so that a development query's text was never trained on."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import BenchError
from benchmark.records import Chunk
from benchmark.synthesis.draft import seeded

_FEWEST_UNITS = 10
_RUNS = 20


@dataclass(frozen=True)
class Split:
    """Which chunks belong to the development split.

    Attributes:
        held_out: Shape (n_chunks,).
        unit: What was kept together: "document", "section" or "run of chunks".
    """

    held_out: NDArray[np.bool_]
    unit: str


def split_chunks(chunks: Sequence[Chunk], share: float, seed: int) -> Split:
    """Hold out whole documents; where there are fewer than ten, sections, or else runs of neighbouring chunks.

    Args:
        chunks: The corpus, each document's chunks together and in order.
        share: Share of the chunks to hold out; at least one unit is, and at least one is not.
        seed: For the draw.

    Raises:
        BenchError: The corpus has a single chunk.
    """
    if len(chunks) < 2:
        raise BenchError("generate: a corpus of one chunk cannot be split into training and development")
    unit, owners = _units(chunks)
    sizes = Counter(owners)
    order = sorted(sizes)
    seeded(seed, "split").shuffle(order)
    target = share * len(chunks)
    chosen: set[tuple[str, ...]] = set()
    held = 0
    for owner in order:
        if held >= target:
            break
        # A unit far larger than what is wanted would starve the training.
        if held + sizes[owner] <= max(1.5 * target, 1):
            chosen.add(owner)
            held += sizes[owner]
    if not chosen:
        chosen = {min(order, key=lambda owner: (sizes[owner], owner))}
    return Split(np.array([owner in chosen for owner in owners]), unit)


def _units(chunks: Sequence[Chunk]) -> tuple[str, list[tuple[str, ...]]]:
    """What is kept together, and the unit of each chunk."""
    documents: list[tuple[str, ...]] = [(chunk.document,) for chunk in chunks]
    if len(set(documents)) >= _FEWEST_UNITS:
        return "document", documents
    sections: list[tuple[str, ...]] = [(chunk.document, *chunk.headings[:1]) for chunk in chunks]
    if len(set(sections)) >= _FEWEST_UNITS:
        return "section", sections
    length = max(1, -(-len(chunks) // _RUNS))
    return "run of chunks", [(chunk.document, f"{number // length:06d}") for number, chunk in enumerate(chunks)]
