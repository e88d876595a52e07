"""Training and development: by document, so that what a development query asks about was never trained on.

A text may stand in several documents (copies of a file, a clause that every contract has), so that documents alone do
not keep it apart: units that share a text are drawn as one. The same text means the same words in the same order;
white space and case do not count, and neither do headings and titles.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import BenchError
from benchmark.records import Chunk
from benchmark.synthesis.draft import seeded

_FEWEST_UNITS: Final = 10
_RUNS: Final = 20
_FEW_UNITS: Final = 5
"""Units that a text may stand in and still hold them together, where holding all together would leave one lump."""
_Unit = tuple[str, ...]


@dataclass(frozen=True)
class Split:
    """Which chunks belong to the development split.

    Attributes:
        held_out: Shape (n_chunks,).
        unit: What was kept together: "document", "section", "run of chunks", or "passage" where each chunk is a
            document of its own.
        common: Chunks that belong to training whatever their unit, since their text stands in too many units.
    """

    held_out: NDArray[np.bool_]
    unit: str
    common: int = 0


def split_chunks(chunks: Sequence[Chunk], share: float, seed: int) -> Split:
    """Hold out whole documents; where there are fewer than ten, sections, or else runs of neighbouring chunks.

    No text stands on both sides. Units that share a text are merged before the draw. Where that would join more than
    half of the corpus into one, only texts that stand in at most five units merge them, and where that does so, too,
    none; every chunk of the other shared texts then belongs to training, whatever its unit, so that no development
    query is about it.

    Args:
        chunks: The corpus, each document's chunks together and in order.
        share: Share of the chunks to hold out; at least one unit is, and at least one is not.
        seed: For the draw.

    Raises:
        BenchError: The corpus has a single chunk, or repeats the text of every chunk in too many units.
    """
    if len(chunks) < 2:
        raise BenchError("generate: a corpus of one chunk cannot be split into training and development")
    unit, single = _units(chunks)
    owners, common = _merged(single, text_keys(chunks))
    sizes = Counter(owner for owner, everywhere in zip(owners, common.tolist(), strict=True) if not everywhere)
    if not sizes:
        raise BenchError(
            "generate: the corpus repeats the text of every chunk, so that nothing can be held out for development; "
            "remove the copies"
        )
    order = sorted(sizes)
    seeded(seed, "split").shuffle(order)
    target = share * len(chunks)
    chosen: set[_Unit] = set()
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
    return Split(np.array([owner in chosen for owner in owners]) & ~common, unit, int(common.sum()))


def text_keys(chunks: Iterable[Chunk]) -> NDArray[np.int64]:
    """A number for each chunk's text, shape (n_chunks,): the same where white space and case alone differ."""
    return hashes(" ".join(chunk.text.split()).casefold() for chunk in chunks)


def hashes(texts: Iterable[str]) -> NDArray[np.int64]:
    """Eight bytes for each text, shape (n_texts,): the same for the same text.

    Hashes, not the texts: a second copy of a large corpus would not fit into memory.
    """
    digests = (blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts)
    return np.fromiter((int.from_bytes(digest, "big", signed=True) for digest in digests), dtype=np.int64)


def _units(chunks: Sequence[Chunk]) -> tuple[str, list[_Unit]]:
    """What is kept together, and the unit of each chunk."""
    documents: list[_Unit] = [(chunk.document,) for chunk in chunks]
    if len(set(documents)) == len(chunks):
        return "passage", documents
    if len(set(documents)) >= _FEWEST_UNITS:
        return "document", documents
    sections: list[_Unit] = [(chunk.document, *chunk.headings[:1]) for chunk in chunks]
    if len(set(sections)) >= _FEWEST_UNITS:
        return "section", sections
    length = max(1, -(-len(chunks) // _RUNS))
    return "run of chunks", [(chunk.document, f"{number // length:06d}") for number, chunk in enumerate(chunks)]


def _merged(owners: Sequence[_Unit], keys: NDArray[np.int64]) -> tuple[list[_Unit], NDArray[np.bool_]]:
    """The merged unit of each chunk, and which chunks have a shared text that merged nothing; shape (n_chunks,)."""
    shared = _shared(owners, keys)
    for most in (len(owners), _FEW_UNITS, 1):
        roots = _joined([units for units in shared.values() if len(units) <= most])
        merged = [roots.get(owner, owner) for owner in owners]
        joined = set(roots.values())
        largest = max((size for owner, size in Counter(merged).items() if owner in joined), default=0)
        if 2 * largest <= len(owners):
            break
    common = [key for key, units in shared.items() if len(units) > most]
    return merged, np.isin(keys, np.array(common, dtype=np.int64))


def _shared(owners: Sequence[_Unit], keys: NDArray[np.int64]) -> dict[int, list[_Unit]]:
    """Each text that stands in more than one unit -> those units."""
    found, counts = np.unique(keys, return_counts=True)
    repeated = np.isin(keys, found[counts > 1])
    units: defaultdict[int, set[_Unit]] = defaultdict(set)
    for place in np.flatnonzero(repeated).tolist():
        units[int(keys[place])].add(owners[place])
    return {key: sorted(held) for key, held in units.items() if len(held) > 1}


def _joined(groups: Iterable[Sequence[_Unit]]) -> dict[_Unit, _Unit]:
    """Each unit of the groups -> the first in order of all units that it hangs together with (union-find)."""
    parent: dict[_Unit, _Unit] = {}

    def root(unit: _Unit) -> _Unit:
        parent.setdefault(unit, unit)
        while parent[unit] != unit:
            parent[unit] = parent[parent[unit]]
            unit = parent[unit]
        return unit

    for group in groups:
        first, *others = sorted({root(unit) for unit in group})
        parent.update(dict.fromkeys(others, first))
    return {unit: root(unit) for unit in list(parent)}
