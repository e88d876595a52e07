"""Scores of (query, passage) pairs that were computed once, kept by cross-encoder for the whole project."""

import hashlib
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark.console import Reporter
from benchmark.encoders.rows import Found, Keys, Table, as_keys
from benchmark.encoders.shelf import Shelf, distinct, in_slices
from benchmark.project import Project


def kept_logits(
    shelf: Shelf,
    name: str,
    pairs: Sequence[tuple[str, str]],
    score: Callable[[list[tuple[str, str]]], NDArray[np.float32]],
    reporter: Reporter,
    label: str = "",
) -> NDArray[np.float32]:
    """What a cross-encoder says of each (query, passage), as `logits` does; only what is new is computed.

    Args:
        shelf: What is kept of it.
        name: The spec's.
        pairs: Whatever stands there several times is scored once.
        score: Gives the logits of some pairs; asked where they are missing.
        reporter: Shows progress; told when scores are broken.
        label: What to call this work on the screen.

    Returns:
        Shape (n_pairs,).

    Raises:
        BenchError: The model fails, or gives something else than numbers; what it gave before is kept.
    """
    keys = pair_keys(pairs)

    def make(table: Table, missing: NDArray[np.int64]) -> tuple[int, float]:
        slices = in_slices(missing, [len(query) + len(text) for query, text in pairs])
        made, seconds = 0, 0.0
        for numbers in reporter.track(slices, total=len(slices), label=label):
            if table.came_meanwhile(keys[numbers]):
                continue
            started = time.perf_counter()
            scores = score([pairs[number] for number in numbers])
            seconds += time.perf_counter() - started
            if not made:
                shelf.tell(name, {}, {})
            table.append(keys[numbers], scores[:, None])
            made += len(numbers)
        if made:
            shelf.tell(name, {}, {"pair": made / seconds})
        return made, seconds

    if not pairs:
        return np.zeros(0, dtype=np.float32)
    filled = shelf.filled("pair", "", keys, make, reporter)
    return np.array(filled.rows[filled.places, 0], dtype=np.float32)


def missing_pairs(project: Project, fingerprint: str, pairs: Sequence[tuple[str, str]]) -> int:
    """How many different pairs a cross-encoder would have to score."""
    keys = pair_keys(pairs)
    there = Shelf.of(project, fingerprint).table("pair", "").has(keys)
    return len(distinct(keys, Found(np.where(there, 0, -1), 0)))


def pair_keys(pairs: Sequence[tuple[str, str]]) -> Keys:
    """sha256 over the sha256 of the query and that of the passage, of each pair."""
    known: dict[str, bytes] = {}
    for text in (text for pair in pairs for text in pair):
        if text not in known:
            known[text] = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return as_keys([hashlib.sha256(known[query] + known[text]).digest() for query, text in pairs])
