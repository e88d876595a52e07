"""What a model learns from and is chosen by: synthetic queries, with the kinds that no choice may harm."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.console import Reporter
from benchmark.encoders.dense import Encoder
from benchmark.encoders.store import document_vectors, query_vectors
from benchmark.errors import BenchError
from benchmark.files import iter_jsonl, shown
from benchmark.project import Domain
from benchmark.records import Chunk, read_chunks
from benchmark.training.choice import FEWEST, Kind
from benchmark.training.data import read_development
from benchmark.training.ranks import Judged, Quality, quality

MADE = "with title (made for this check)"


@dataclass(frozen=True)
class Asked:
    """A training or development query.

    Attributes:
        text: The query.
        relevant: Rows of its passages in the corpus.
        origin: How it was made.
    """

    text: str
    relevant: tuple[int, ...]
    origin: str


@dataclass(frozen=True)
class Material:
    """What an adapter learns from and is chosen by.

    Attributes:
        chunks: The passages.
        training: Queries to learn from, the first passage of each is the one it was made from.
        development: Queries on documents that training never sees.
        made: Development queries with their document's title put in front, where too few of them begin with it.
    """

    chunks: Sequence[Chunk]
    training: Sequence[Asked]
    development: Sequence[Asked]
    made: Sequence[Asked]

    @property
    def counted(self) -> int:
        """Development queries whose mean is the score; the made ones stand behind them."""
        return len(self.development)

    @property
    def ids(self) -> list[str]:
        """One id for each passage."""
        return [chunk.id for chunk in self.chunks]


def read_material(domain: Domain, most: int | None, seed: int) -> Material:
    """Read the generate stage's queries.

    Args:
        domain: Whose.
        most: At most so many training queries, drawn at random.
        seed: For the draw.

    Raises:
        BenchError: There are no files, no training queries or no development queries.
    """
    path = domain.synthetic / "queries.jsonl"
    if not path.is_file():
        raise BenchError(f"{shown(path)}: no such file; make it with: domainbench generate")
    chunks = read_chunks(domain.passages)
    place = {chunk.id: number for number, chunk in enumerate(chunks)}
    rows = [row for row in iter_jsonl(path) if row["split"] == "train"]
    if not rows:
        raise BenchError(f"{shown(path)}: holds no training queries; generate more questions or loosen the filters")
    if most is not None and most < len(rows):
        rows = [rows[number] for number in sorted(np.random.default_rng(seed).permutation(len(rows))[:most])]
    training = [Asked(row["text"], (place[row["chunk"]],), row["origin"]) for row in rows]
    split = read_development(domain)
    origins = {row["id"]: row["origin"] for row in iter_jsonl(domain.synthetic / "dev_queries.jsonl")}
    development = [
        Asked(text, tuple(sorted(place[chunk] for chunk in split.qrels[query])), origins[query])
        for query, text in split.queries.items()
    ]
    if not development:
        raise BenchError(
            f"{shown(domain.synthetic / 'dev_queries.jsonl')}: holds no queries; an adapter is chosen by them: raise "
            "'development_share' under 'generate' or make more queries"
        )
    return Material(chunks, training, development, _with_titles(development, chunks))


def _named(asked: Asked, chunks: Sequence[Chunk]) -> bool:
    """Whether a query begins with its document's title."""
    title = chunks[asked.relevant[0]].title.lower()
    return bool(title) and asked.text.lower().startswith(title)


def _with_titles(development: Sequence[Asked], chunks: Sequence[Chunk]) -> list[Asked]:
    """Queries that name their document, made where the split has too few: what it never asks, it cannot warn of."""
    if sum(_named(asked, chunks) for asked in development) >= FEWEST:
        return []
    titles = [chunks[asked.relevant[0]].title for asked in development]
    return [
        Asked(f"{title}: {asked.text}", asked.relevant, asked.origin)
        for title, asked in zip(titles, development, strict=True)
        if title and not _named(asked, chunks)
    ]


def kinds_of(material: Material) -> list[Kind]:
    """Development queries by origin, with and without title; the made ones stand behind them."""
    groups: dict[str, list[int]] = defaultdict(list)
    titled: dict[str, list[int]] = defaultdict(list)
    for number, asked in enumerate(material.development):
        groups[asked.origin].append(number)
        if material.chunks[asked.relevant[0]].title:
            titled["with title" if _named(asked, material.chunks) else "without title"].append(number)
    count = len(material.development)
    named = [
        *(Kind(name, np.array(rows)) for name, rows in sorted(groups.items())),
        # A loss of names counts however few ask by them: the test asks for enough of them by itself.
        *(Kind(name, np.array(rows), 1 if name == "with title" else FEWEST) for name, rows in sorted(titled.items())),
    ]
    if material.made:
        named.append(Kind(MADE, np.arange(count, count + len(material.made)), 1))
    return named


def further_positives(material: Material) -> list[list[int]]:
    """Rows that are relevant to each training query beside its own: the same words again, or an equal query's."""
    same_text: dict[str, list[int]] = defaultdict(list)
    for number, chunk in enumerate(material.chunks):
        same_text[" ".join(chunk.text.split())].append(number)
    twins = {row: rows for rows in same_text.values() if len(rows) > 1 for row in rows}
    same_query: dict[str, set[int]] = defaultdict(set)
    for asked in material.training:
        same_query[asked.text].update(asked.relevant)
    found = []
    for asked in material.training:
        rows = {twin for row in same_query[asked.text] for twin in twins.get(row, [row])}
        found.append(sorted(rows - {asked.relevant[0]}))
    return found


def judged(domain: Domain, encoder: Encoder, material: Material, reporter: Reporter) -> Judged:
    """Development queries, the made ones behind them, and all passages, as an encoder sees them; vectors are kept."""
    asked = [*material.development, *material.made]
    documents = document_vectors(domain, encoder, material.chunks, reporter)
    vectors = query_vectors(domain, encoder, [item.text for item in asked], reporter)
    return Judged(vectors, documents, [item.relevant for item in asked], material.ids)


def development_quality(domain: Domain, encoder: Encoder, material: Material, reporter: Reporter) -> Quality:
    """nDCG@10 and MRR@10 of each development query over the whole corpus, the made ones behind them."""
    found = judged(domain, encoder, material, reporter)
    return quality(found.queries, found.documents, found.relevant, found.ids)
