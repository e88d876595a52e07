"""Runs: a ranking per query, in TREC format, with one tie-break everywhere.

The order is trec_eval's: score as float32 descending, then chunk id descending. Every reader of the files (ranx,
ir_measures, trec_eval, pytrec_eval) then sees the order that we saw.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import BenchError
from benchmark.files import shown, write_text
from benchmark.records import Hit, Run


def rank(scores: Mapping[str, float], depth: int) -> list[Hit]:
    """The best `depth` chunks in trec_eval's order.

    >>> rank({"a": 1.0, "b": 2.0, "c": 1.0}, 3)
    [Hit(chunk='b', score=2.0), Hit(chunk='c', score=1.0), Hit(chunk='a', score=1.0)]
    """
    order = sorted(((float(np.float32(score)), chunk) for chunk, score in scores.items()), reverse=True)
    return [Hit(chunk, score) for score, chunk in order[:depth]]


def rank_row(scores: NDArray[np.float32], ids: Sequence[str], depth: int) -> list[Hit]:
    """The best `depth` chunks from one score per chunk, in trec_eval's order; ties at the edge are kept right.

    Args:
        scores: Shape (n_chunks,).
        ids: One id per chunk.
        depth: How many to keep.
    """
    row = np.asarray(scores, dtype=np.float32)
    depth = min(depth, len(row))
    if depth == 0:
        return []
    edge = np.partition(row, len(row) - depth)[len(row) - depth]
    return rank({ids[int(i)]: float(row[i]) for i in np.flatnonzero(row >= edge)}, depth)


def write_run(path: Path, run: Run, tag: str, queries: Iterable[str]) -> None:
    """Write a run as TREC lines `query Q0 chunk rank score tag`, queries in the given order.

    Scores are printed so that they read back as the same float32.
    """
    lines = [
        f"{query} Q0 {hit.chunk} {position} {np.float32(hit.score)!s} {tag}\n"
        for query in queries
        for position, hit in enumerate(run.get(query, []), start=1)
    ]
    write_text(path, "".join(lines))


def read_run(path: Path) -> Run:
    """Read a TREC run; the order is made anew from the scores, whatever the file's order or ranks.

    Raises:
        BenchError: The file is missing, a line is not TREC, or a chunk stands twice for one query.
    """
    if not path.is_file():
        raise BenchError(f"{shown(path)}: no such run; make it with: domainbench evaluate")
    scores: dict[str, dict[str, float]] = {}
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            fields = line.split()
            try:
                query, _, chunk, _, score, _ = fields
                value = float(score)
            except ValueError:
                raise BenchError(f"{shown(path)}:{number}: not a TREC run line (6 fields, the 5th a number)") from None
            if chunk in scores.setdefault(query, {}):
                raise BenchError(f"{shown(path)}:{number}: chunk {chunk} a second time for query {query}")
            scores[query][chunk] = value
    return {query: rank(row, len(row)) for query, row in scores.items()}
