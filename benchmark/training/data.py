"""What the trainers read: the tables of the generate stage."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmark.errors import BenchError
from benchmark.files import dump_json, iter_jsonl, shown, write_text
from benchmark.project import Domain
from benchmark.records import read_chunks
from benchmark.weights import TRAINED_CHUNKS


def read_table(path: Path, seed: int, most: int | None = None) -> Any:
    """A parquet file as a `datasets.Dataset` in memory, shuffled; at most `most` rows.

    Raises:
        BenchError: The file is missing or holds no rows.
    """
    import pyarrow.parquet
    from datasets import Dataset

    if not path.is_file():
        raise BenchError(f"{shown(path)}: no such file; make it with: domainbench generate")
    dataset = Dataset(pyarrow.parquet.read_table(path)).shuffle(seed=seed)
    if len(dataset) == 0:
        raise BenchError(f"{shown(path)}: holds no rows; generate more questions or loosen the filters")
    return at_most(dataset, most)


def at_most(rows: Any, most: int | None) -> Any:
    """The first `most` rows of a `datasets.Dataset`; all of them where it is None."""
    return rows.select(range(min(most, len(rows)))) if most else rows


def passage_ids(domain: Domain, rows: Any) -> Any:
    """Which passages the rows of an n-tuple table hold: a `datasets.Dataset` of ids with a row for each row.

    A positive whose sentence was removed differs in text from its siblings, so that texts cannot tell that two rows
    hold the same passage; ids can. Two rows that do must not meet in a batch: one's positive would be the other's
    negative.
    """
    from datasets import Dataset

    sources = {
        (row["text"], row["positive_text"]): row["chunk"] for row in iter_jsonl(domain.synthetic / "queries.jsonl")
    }
    chunks = {chunk.full_text: chunk.id for chunk in read_chunks(domain.passages)}
    positives = zip(rows["anchor"], rows["positive"], strict=True)
    columns = {"positive": [sources.get(pair, pair[1]) for pair in positives]}
    for name in rows.column_names:
        if name.startswith("negative"):
            columns[name] = [chunks.get(text, text) for text in rows[name]]
    return Dataset.from_dict(columns)


def write_trained(domain: Domain, rows: Any, folder: Path) -> None:
    """Write `trained_chunks.json` beside a model's weights: sorted ids of the chunks whose queries it was tuned on.

    Nothing is written where the passages are not the domain's own documents; their ids say nothing about its corpus.

    Args:
        domain: Whose synthetic data were used.
        rows: A `datasets.Dataset` with what training used, the cut to `max_pairs` included; rows with a `label` under
            0.5 are no positives.
        folder: The model's.
    """
    labels = rows["label"] if "label" in rows.column_names else [1.0] * len(rows)
    triples = zip(rows["anchor"], rows["positive"], labels, strict=True)
    used = {(anchor, positive) for anchor, positive, label in triples if label >= 0.5}
    queries = iter_jsonl(domain.synthetic / "queries.jsonl")
    found = {row["chunk"] for row in queries if (row["text"], row["positive_text"]) in used}
    write_trained_chunks(domain, found, folder)


def write_trained_chunks(domain: Domain, chunks: Iterable[str], folder: Path) -> None:
    """Write `trained_chunks.json`; see `write_trained`.

    Args:
        domain: Whose synthetic data were used.
        chunks: Ids of the chunks that a query was trained to find.
        folder: The model's.
    """
    if domain.passages.parent != domain.synthetic:
        write_text(folder / TRAINED_CHUNKS, dump_json({"chunks": sorted(set(chunks))}))
