"""Batches of texts of similar length, in which no passage stands twice.

A batch is padded to its longest text, so rows are sorted by length within large random groups and batches are cut from
these. A seed and an epoch decide everything; training that goes on after a kill finds the batches that it left.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import BenchError

_GROUP: Final = 50
"""Batches whose rows are sorted by length together."""
_GROUPS: Final = 4
"""Groups in an epoch, at least: with fewer, the same rows would meet in every epoch."""

Batch = list[int]


@dataclass(frozen=True)
class RowShapes:
    """What batches are made by.

    Attributes:
        lengths: Of each row's texts together, in tokens, shape (n_rows,).
        passages: Which passages each row holds; empty sets where rows may meet freely.
    """

    lengths: NDArray[np.int64]
    passages: Sequence[frozenset[str]]


class GroupedBatches:
    """A batch sampler for `DataLoader` and the trainers.

    With several processes (one for each GPU) it gives each its part of a batch in turn, as accelerate hands them out;
    a passage then stands once in the parts together, the parts of a batch are equally large, and rows that are too
    many for that wait for another epoch.

    Args:
        shapes: Of the rows.
        batch_size: Rows in a batch, or in one process's part of it.
        seed: For the order.
        processes: How many share a batch.

    Raises:
        BenchError: No two rows can stand in a batch that several processes share.
    """

    def __init__(self, shapes: RowShapes, batch_size: int, seed: int, processes: int = 1) -> None:
        # Told a size, accelerate would drop batches of another one where several processes share them.
        self.batch_size = batch_size if processes == 1 else None
        self.drop_last = False
        self._rows = batch_size * processes
        # accelerate looks for `set_epoch` at `sampler` where it has wrapped a batch sampler.
        self.sampler = self
        self._shapes, self._seed, self._processes = shapes, seed, processes
        self._epoch = 0
        # Learning rate schedule and resumption count steps: every epoch must have as many batches as the first.
        self._count = len(self._drawn(0))
        if self._count == 0:
            raise BenchError(
                f"training rows: no {processes} of {len(shapes.lengths)} hold passages that are all different, and "
                f"{processes} processes cannot share smaller batches; train with one"
            )

    def __len__(self) -> int:
        """Batches in an epoch; with several processes, their parts."""
        return self._count * self._processes

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration goes through, from 0."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._fitted(self._drawn(self._epoch)):
            for process in range(self._processes):
                yield batch[process :: self._processes]

    def _drawn(self, epoch: int) -> list[Batch]:
        found = draw_batches(self._shapes, self._rows, np.random.default_rng([self._seed, epoch]))
        shared = [batch[: len(batch) // self._processes * self._processes] for batch in found]
        return [batch for batch in shared if batch]

    def _fitted(self, batches: list[Batch]) -> list[Batch]:
        """As many batches as the first epoch has: the smallest are left out, or parted, or come again."""
        batches = batches[: self._count]
        while len(batches) < self._count:
            last = batches[-1]
            half = len(last) // 2 // self._processes * self._processes
            batches[-1:] = [last[:half], last[half:]] if half else [last, last]
        return batches


def draw_batches(shapes: RowShapes, size: int, rng: np.random.Generator) -> list[Batch]:
    """All rows once, in batches without a passage that stands twice; full ones shuffled, short ones at the end.

    Args:
        shapes: Of the rows.
        size: Rows in a batch.
        rng: For the order.
    """
    order = rng.permutation(len(shapes.lengths))
    group = size * max(1, min(_GROUP, len(order) // (size * _GROUPS)))
    full: list[Batch] = []
    waiting: Batch = []
    for start in range(0, len(order), group):
        rows = [*waiting, *order[start : start + group].tolist()]
        # Stable: rows of one length keep their random order.
        rows.sort(key=lambda row: int(shapes.lengths[row]))
        done, waiting = _first_fit(rows, size, shapes.passages)
        full += done
    full = [full[place] for place in rng.permutation(len(full))]
    rest = _from_rest(full, waiting, size, shapes.passages, rng)
    return full + sorted(rest, key=len, reverse=True)


def _first_fit(rows: Sequence[int], size: int, passages: Sequence[frozenset[str]]) -> tuple[list[Batch], Batch]:
    """Put each row into the first open batch that holds none of its passages; returns full batches and the rest."""
    opened: list[tuple[Batch, set[str]]] = []
    full: list[Batch] = []
    for row in rows:
        place = next((i for i, (_, seen) in enumerate(opened) if seen.isdisjoint(passages[row])), len(opened))
        if place == len(opened):
            opened.append(([], set()))
        batch, seen = opened[place]
        batch.append(row)
        seen |= passages[row]
        if len(batch) == size:
            full.append(batch)
            del opened[place]
    return full, [row for batch, _ in opened for row in batch]


def _from_rest(
    full: list[Batch], rest: Batch, size: int, passages: Sequence[frozenset[str]], rng: np.random.Generator
) -> list[Batch]:
    """Batches of the rows that are left.

    Where they hold one passage several times they would make several short batches; so as many full ones are taken
    from the end of `full` and mixed with them, without regard to length.
    """
    apart = _one_by_one(rest, size, passages)
    if len(apart) <= 1:
        return apart
    for _ in range(min(len(apart), len(full))):
        rest = [*rest, *full.pop()]
    return _one_by_one([rest[place] for place in rng.permutation(len(rest))], size, passages)


def _one_by_one(rows: Sequence[int], size: int, passages: Sequence[frozenset[str]]) -> list[Batch]:
    """Fill one batch after the other with the first rows that fit."""
    batches = []
    left = list(rows)
    while left:
        batch: Batch = []
        seen: set[str] = set()
        later: Batch = []
        for row in left:
            if len(batch) < size and seen.isdisjoint(passages[row]):
                batch.append(row)
                seen |= passages[row]
            else:
                later.append(row)
        batches.append(batch)
        left = later
    return batches


def sampler(shapes: RowShapes, processes: int = 1) -> Callable[..., GroupedBatches]:
    """What the trainers' `get_batch_sampler` is to be: called with the rows' dataset and the trainer's settings."""

    def make(dataset: Any, *, batch_size: int, seed: int = 0, **_: Any) -> GroupedBatches:
        if len(dataset) != len(shapes.lengths):
            raise ValueError(f"{len(dataset)} rows, but the lengths of {len(shapes.lengths)}")
        return GroupedBatches(shapes, batch_size, seed, processes)

    return make
