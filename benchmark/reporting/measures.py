"""What the metrics compute, for all queries at once: from the relevance at each rank to a score between 0 and 1.

Sums run from the first rank to the last, as in trec_eval and ranx: the scores are theirs to the last bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from benchmark.records import Hit
from benchmark.runs import Ranking
from benchmark.stats import Floats

Qrels = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Judged:
    """The relevance of what was ranked; all arrays have a row for each query.

    Attributes:
        grades: Relevance at each rank, 0 where the passage is not relevant and beyond the end, shape (n_queries, depth).
        ideal: Relevance of all relevant passages, highest first, shape (n_queries, most relevant passages of a query).
    """

    grades: Floats
    ideal: Floats

    @cached_property
    def relevant(self) -> Floats:
        """How many relevant passages a query has, shape (n_queries,); 1 and more."""
        return np.asarray((self.ideal > 0).sum(axis=1), dtype=np.float64)

    @cached_property
    def found(self) -> Floats:
        """Relevant passages up to each rank, shape (n_queries, depth)."""
        return np.asarray(np.cumsum(self.grades > 0, axis=1), dtype=np.float64)

    def found_at(self, cutoff: int | None) -> Floats:
        """Relevant passages among the first so many, shape (n_queries,)."""
        return self.found[:, _last(self.grades, cutoff)]


class Relevance(dict[str, Mapping[str, int]]):
    """Relevance by query and chunk, which many runs are judged by; every query has a relevant chunk."""

    @cached_property
    def ideal(self) -> Floats:
        """As in `Judged`."""
        ordered = [sorted((grade for grade in row.values() if grade > 0), reverse=True) for row in self.values()]
        ideal = np.zeros((len(ordered), max(1, *map(len, ordered)) if ordered else 1))
        for row, grades in enumerate(ordered):
            ideal[row, : len(grades)] = grades
        return ideal


def judge(run: Mapping[str, Sequence[Hit]], qrels: Qrels, top_k: int) -> Judged:
    """Look up the relevance of every hit.

    Args:
        run: Hits by query, best first.
        qrels: Relevance by query and chunk; every query has a relevant chunk.
        top_k: Hits beyond this rank are ignored.
    """
    ranking = run if isinstance(run, Ranking) else Ranking.of(run)
    relevance = qrels if isinstance(qrels, Relevance) else Relevance(qrels)
    grades = np.zeros((len(qrels), top_k))
    code = {name: number for number, name in enumerate(ranking.names)}
    keys, values = [], []
    rows = np.full(len(ranking.queries), -1)
    for row, (query, judged) in enumerate(qrels.items()):
        place = ranking.place(query)
        if place is None:
            continue
        rows[place] = row
        for chunk, grade in judged.items():
            if grade > 0 and chunk in code:
                keys.append(place * len(code) + code[chunk])
                values.append(grade)
    _fill(grades, ranking, rows, np.array(keys, dtype=np.int64), np.array(values, dtype=np.float64))
    return Judged(grades, relevance.ideal)


def _fill(grades: Floats, ranking: Ranking, rows: NDArray[np.int64], keys: NDArray[np.int64], values: Floats) -> None:
    """Put the relevance of each judged hit at its rank; `rows` has the row of each of the ranking's queries, or -1."""
    if not len(keys):
        return
    order = np.argsort(keys)
    keys, values = keys[order], values[order]
    sizes = np.diff(ranking.starts)
    places = np.repeat(np.arange(len(sizes)), sizes)
    hits = np.flatnonzero(np.isin(ranking.chunks, keys % len(ranking.names)))
    wanted = places[hits] * len(ranking.names) + ranking.chunks[hits]
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    ranks = hits - ranking.starts[places[hits]]
    good = (keys[at] == wanted) & (ranks < grades.shape[1])
    grades[rows[places[hits[good]]], ranks[good]] = values[at[good]]


def _last(grades: Floats, cutoff: int | None) -> int:
    """The column of the last rank that counts."""
    depth: int = grades.shape[1]
    return min(cutoff or depth, depth) - 1


# --- metrics --------------------------------------------------------------------------------------------------------


def hit_rate(judged: Judged, cutoff: int | None) -> Floats:
    """1 where a relevant passage is among the first so many."""
    return np.asarray(judged.found_at(cutoff) > 0, dtype=np.float64)


def mrr(judged: Judged, cutoff: int | None) -> Floats:
    """1 / rank of the first relevant passage."""
    first = np.argmax(judged.grades > 0, axis=1) + 1
    return np.where(judged.found_at(cutoff) > 0, 1 / first, 0.0)


def recall(judged: Judged, cutoff: int | None) -> Floats:
    """Share of the relevant passages that are found."""
    return judged.found_at(cutoff) / judged.relevant


def average_precision(judged: Judged, cutoff: int | None) -> Floats:
    """Mean of the precision at the rank of each relevant passage."""
    last = _last(judged.grades, cutoff) + 1
    precision = judged.found[:, :last] / np.arange(1, last + 1)
    return np.asarray(np.cumsum(precision * (judged.grades[:, :last] > 0), axis=1)[:, -1] / judged.relevant)


def ndcg(judged: Judged, cutoff: int | None) -> Floats:
    """Discounted cumulative gain, linear in the relevance, as a share of the best possible one."""
    return _dcg(judged.grades, cutoff) / _dcg(judged.ideal, cutoff)


def _dcg(grades: Floats, cutoff: int | None) -> Floats:
    last = _last(grades, cutoff) + 1
    return np.asarray(np.cumsum(grades[:, :last] / np.log2(np.arange(2, last + 2)), axis=1)[:, -1])
