"""Runs: a ranking per query, in TREC format, with one tie-break everywhere.

The order is trec_eval's: score as float32 descending, then chunk id descending. Every reader of the files (ranx,
ir_measures, trec_eval, pytrec_eval) then sees the order that we saw.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

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
    return dict(read_ranking(path))


class Ranking(Mapping[str, list[Hit]]):
    """A run in columns: what a large file is read into. As a mapping it is the run, whose hits are made when asked for.

    Attributes:
        queries: Those with a hit.
        starts: The first row of each query, and the end of the last, shape (n_queries + 1,).
        names: Ids of the chunks, each once.
        chunks: Place in `names` for each row, shape (n_rows,); within a query in trec_eval's order.
        scores: The score for each row, shape (n_rows,).
    """

    def __init__(
        self,
        queries: Sequence[str],
        starts: NDArray[np.int64],
        names: Sequence[str],
        chunks: NDArray[np.int64],
        scores: NDArray[np.float32],
    ) -> None:
        self.queries, self.starts, self.names, self.chunks, self.scores = queries, starts, names, chunks, scores
        self._places = {query: place for place, query in enumerate(queries)}

    @classmethod
    def of(cls, run: Mapping[str, Sequence[Hit]]) -> "Ranking":
        """A run whose hits stand in trec_eval's order; queries without a hit are left out."""
        found = {query: hits for query, hits in run.items() if hits}
        names: dict[str, int] = {}
        chunks = [names.setdefault(hit.chunk, len(names)) for hits in found.values() for hit in hits]
        scores = [hit.score for hits in found.values() for hit in hits]
        starts = np.cumsum([0, *(len(hits) for hits in found.values())])
        return cls(list(found), starts, list(names), np.array(chunks, np.int64), np.array(scores, np.float32))

    @property
    def depth(self) -> int:
        """Hits of the query that has most."""
        return int(np.diff(self.starts).max(initial=0))

    def place(self, query: str) -> int | None:
        """The query's place in `queries`; None where nothing was retrieved for it."""
        return self._places.get(query)

    def heads(self, query: str, count: int) -> list[str]:
        """Ids of the first chunks of a query."""
        place = self._places.get(query)
        if place is None:
            return []
        start, end = int(self.starts[place]), int(self.starts[place + 1])
        return [self.names[int(chunk)] for chunk in self.chunks[start : min(end, start + count)]]

    def __getitem__(self, query: str) -> list[Hit]:
        place = self._places[query]
        rows = slice(int(self.starts[place]), int(self.starts[place + 1]))
        names, scores = self.names, self.scores[rows].tolist()
        return [Hit(names[chunk], score) for chunk, score in zip(self.chunks[rows].tolist(), scores, strict=True)]

    def __contains__(self, query: object) -> bool:
        return query in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self.queries)

    def __len__(self) -> int:
        return len(self.queries)


def read_ranking(path: Path) -> Ranking:
    """As `read_run`, into columns: a million lines in a fraction of a second.

    Raises:
        BenchError: As `read_run`.
    """
    if not path.is_file():
        raise BenchError(f"{shown(path)}: no such run; make it with: domainbench evaluate")
    return _as_written(path) or Ranking.of(_line_by_line(path))


def _as_written(path: Path) -> Ranking | None:
    """A file in `write_run`'s own form and order; None where anything about it is otherwise."""
    table = _columns(path)
    if table is None:
        return None
    queries, chunks, score = (table.column(name).chunk(0) for name in ("query", "chunk", "score"))
    of_query, of_chunk = (_numbers(column.indices, np.int32).astype(np.int64) for column in (queries, chunks))
    scores = _numbers(score, np.float64).astype(np.float32)
    names = chunks.dictionary.to_pylist()
    # A query's number is that of its first line, so that rising numbers mean that its lines stand together.
    if (np.diff(of_query) < 0).any() or not _is_ranked(of_query, of_chunk, scores, names):
        return None
    pairs = np.sort(of_query * len(names) + of_chunk)
    if (pairs[1:] == pairs[:-1]).any():
        return None
    starts = np.searchsorted(of_query, np.arange(len(queries.dictionary) + 1))
    return Ranking(queries.dictionary.to_pylist(), starts, names, of_chunk, scores)


def _columns(path: Path) -> Any:
    """The columns query, chunk and score as an Arrow table; None where the file is not lines of six fields."""
    import pyarrow
    from pyarrow import csv

    kinds = {"query": pyarrow.dictionary(pyarrow.int32(), pyarrow.string()), "score": pyarrow.float64()}
    kinds["chunk"] = kinds["query"]
    try:
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(column_names=["query", "zero", "chunk", "rank", "score", "tag"]),
            parse_options=csv.ParseOptions(delimiter=" ", quote_char=False, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(column_types=kinds, include_columns=list(kinds), null_values=[]),
        ).unify_dictionaries()
    except pyarrow.ArrowInvalid:
        return None
    table = table.combine_chunks()
    return table if table.num_rows else None


def _numbers(column: Any, kind: type[np.generic]) -> NDArray[Any]:
    """An Arrow array without gaps; its own `to_numpy` would import pandas."""
    return np.frombuffer(column.buffers()[1], dtype=kind)[column.offset : column.offset + len(column)]


def _is_ranked(
    of_query: NDArray[np.int64], of_chunk: NDArray[np.int64], scores: NDArray[np.float32], names: Sequence[str]
) -> bool:
    """Whether the rows of each query stand in trec_eval's order."""
    if np.isnan(scores).any():
        return False
    same = of_query[1:] == of_query[:-1]
    if (same & (scores[1:] > scores[:-1])).any():
        return False
    tied = np.flatnonzero(same & (scores[1:] == scores[:-1]))
    return all(names[of_chunk[row]] > names[of_chunk[row + 1]] for row in tied.tolist())


def _line_by_line(path: Path) -> Run:
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
