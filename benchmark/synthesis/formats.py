"""The files of the generate stage: JSON Lines for people, parquet that `datasets` and the trainers load."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from benchmark.files import Json, hash_json, write_jsonl, write_text
from benchmark.records import Chunk
from benchmark.synthesis.draft import Draft, Dropped
from benchmark.synthesis.negatives import Mined
from benchmark.synthesis.rag_columns import COLUMNS, Rag
from benchmark.synthesis.split import Split


class Scores(Protocol):
    """What a teacher says of each pair, from 0 to 1."""

    @property
    def own(self) -> Sequence[float]:
        """Of each kept query and its own passage."""

    @property
    def negatives(self) -> Sequence[Sequence[float]]:
        """Of each kept query and its mined negatives, in their order."""


@dataclass(frozen=True)
class Data:
    """Everything that the stage has found, before it is written.

    Attributes:
        chunks: The passages; positions elsewhere count in them.
        kept: The queries.
        dropped: What the filters removed.
        mined: Negatives of each kept query.
        split: Which passages belong to the development split.
        negatives: How many negatives a row of `ntuples_*` has.
        scores: A teacher's, for the pairs.
        rag: Rows of the seven columns.
        also: Number of a kept query -> further passages that answer it.
    """

    chunks: Sequence[Chunk]
    kept: Sequence[Draft]
    dropped: Sequence[Dropped]
    mined: Mined
    split: Split
    negatives: int
    scores: Scores
    rag: Rag
    also: Mapping[int, frozenset[int]] = field(default_factory=dict)

    def part(self, held_out: bool) -> list[int]:
        """Numbers of the kept queries on one side of the split."""
        return [number for number, draft in enumerate(self.kept) if self.split.held_out[draft.chunk] == held_out]


def write_all(folder: Path, data: Data) -> Json:
    """Write every file of the stage.

    `queries.jsonl`, `dropped.jsonl`; for train and dev `ntuples_*` (anchor, positive, negative_1 to negative_k),
    `triplets_*` (anchor, positive, negative: a row for each negative) and `pairs_*` (anchor, positive, label: 1 for
    the passage that the query was made from, 0 for a mined negative; score: the teacher's, from 0 to 1);
    `dev_queries.jsonl` and `dev_qrels.tsv` (a query's own passage first, then further ones that answer it) for
    retrieval over the whole corpus; `rag.parquet` (the seven columns of
    argilla's synthetic-data-generator) where there are rows for it.

    Returns:
        Rows of each table: {train, dev: {queries, ntuples, triplets, pairs}, rag}.
    """
    rows: Json = {}
    for name, held_out in (("train", False), ("dev", True)):
        part = data.part(held_out)
        ntuples, triplets, pairs = list(_ntuples(data, part)), list(_triplets(data, part)), list(_pairs(data, part))
        columns = [f"negative_{number}" for number in range(1, data.negatives + 1)]
        _parquet(folder / f"ntuples_{name}.parquet", ["anchor", "positive", *columns], ntuples)
        _parquet(folder / f"triplets_{name}.parquet", ["anchor", "positive", "negative"], triplets)
        _parquet(folder / f"pairs_{name}.parquet", ["anchor", "positive", "label", "score"], pairs)
        rows[name] = {"queries": len(part), "ntuples": len(ntuples), "triplets": len(triplets), "pairs": len(pairs)}
    if data.rag.rows:
        _parquet(folder / "rag.parquet", COLUMNS, [astuple(row) for row in data.rag.rows])
    write_jsonl(folder / "queries.jsonl", (_row(data, draft) for draft in data.kept))
    write_jsonl(
        folder / "dropped.jsonl",
        ({**_row(data, item.draft), "rule": item.rule, "score": item.score} for item in data.dropped),
    )
    _write_development(folder, data)
    return {**rows, "rag": len(data.rag.rows)}


def query_id(draft: Draft, chunk: Chunk) -> str:
    """A name that depends on the query alone, so that it stays when others come and go."""
    return f"{draft.origin}-{hash_json([chunk.id, draft.text])[:12]}"


def _row(data: Data, draft: Draft) -> Json:
    chunk = data.chunks[draft.chunk]
    return {
        "id": query_id(draft, chunk),
        "text": draft.text,
        "chunk": chunk.id,
        "document": chunk.document,
        "origin": draft.origin,
        "type": draft.type,
        "persona": draft.persona,
        "difficulty": draft.difficulty,
        "answer": draft.answer,
        "split": "dev" if data.split.held_out[draft.chunk] else "train",
        "positive_text": draft.positive,
    }


def _ntuples(data: Data, part: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    """A row for each query; one short of negatives repeats those it has, one without any is left out."""
    for number in part:
        draft, found = data.kept[number], data.mined.negatives[number]
        if found:
            texts = [data.chunks[found[i % len(found)]].full_text for i in range(data.negatives)]
            yield draft.text, draft.positive, *texts


def _triplets(data: Data, part: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    for number in part:
        draft = data.kept[number]
        for place in data.mined.negatives[number]:
            yield draft.text, draft.positive, data.chunks[place].full_text


def _pairs(data: Data, part: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    for number in part:
        draft = data.kept[number]
        yield draft.text, draft.positive, 1.0, float(data.scores.own[number])
        for place, score in zip(data.mined.negatives[number], data.scores.negatives[number], strict=True):
            yield draft.text, data.chunks[place].full_text, 0.0, float(score)


def _parquet(path: Path, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    import pyarrow
    import pyarrow.parquet

    kinds = {"label": pyarrow.float64(), "score": pyarrow.float64()}
    fields = [pyarrow.field(name, kinds.get(name, pyarrow.string()), nullable=False) for name in columns]
    values = [[row[number] for row in rows] for number in range(len(columns))]
    arrays = [pyarrow.array(column, field.type) for column, field in zip(values, fields, strict=True)]
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(fields)), path)


def _write_development(folder: Path, data: Data) -> None:
    queries: list[Json] = []
    lines = ["query-id\tcorpus-id\tscore\n"]
    for number in data.part(held_out=True):
        draft = data.kept[number]
        name = query_id(draft, data.chunks[draft.chunk])
        queries.append({"id": name, "text": draft.text, "origin": draft.origin, "type": draft.type})
        others = data.also.get(number, frozenset()) - {draft.chunk}
        lines += [f"{name}\t{data.chunks[place].id}\t1\n" for place in (draft.chunk, *sorted(others))]
    write_jsonl(folder / "dev_queries.jsonl", queries)
    write_text(folder / "dev_qrels.tsv", "".join(lines))
