"""What a model learns from and is chosen by: synthetic queries, with the kinds that no choice may harm."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmark.console import Reporter
from benchmark.encoders.dense import Encoder
from benchmark.encoders.store import document_vectors, query_vectors
from benchmark.errors import BenchError
from benchmark.files import iter_jsonl, shown
from benchmark.project import Domain
from benchmark.records import Chunk, read_chunks
from benchmark.training.choice import Kind
from benchmark.training.ranks import Judged, Quality, quality

MADE: Final = "with title (made for this check)"
FEWEST: Final = 30
"""Queries that make a kind of their own; kinds with fewer are looked at together."""
WRITTEN: Final = frozenset({"llm", "imported"})
"""Origins whose queries are questions as people ask them, not cuts of the text."""


@dataclass(frozen=True)
class Asked:
    """A training or development query.

    Attributes:
        text: The query.
        relevant: Rows of its passages in the corpus.
        origin: How it was made.
        type: What was asked for ("question", "keywords", ...); empty for cuts of the text.
    """

    text: str
    relevant: tuple[int, ...]
    origin: str
    type: str = ""


@dataclass(frozen=True)
class Material:
    """What a model learns from and is chosen by.

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
    def judged(self) -> list[Asked]:
        """Development queries and the made ones behind them, the order of every array of scores."""
        return [*self.development, *self.made]

    @property
    def written(self) -> NDArray[np.int64]:
        """Positions of the written questions among the development queries."""
        return np.flatnonzero([asked.origin in WRITTEN for asked in self.development])

    @property
    def ids(self) -> list[str]:
        """One id for each passage."""
        return [chunk.id for chunk in self.chunks]

    def only(self, rows: NDArray[np.int64]) -> "Material":
        """The same with these of the `judged` queries."""
        count, asked = self.counted, self.judged
        return replace(
            self,
            development=[asked[row] for row in rows if row < count],
            made=[asked[row] for row in rows if row >= count],
        )


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
    training = [Asked(row["text"], (place[row["chunk"]],), row["origin"], row.get("type", "")) for row in rows]
    development = list(_development(domain, place))
    if not development:
        raise BenchError(
            f"{shown(domain.synthetic / 'dev_queries.jsonl')}: holds no queries; models are chosen by them: raise "
            "'development_share' under 'generate' or make more queries"
        )
    return Material(chunks, training, development, _with_titles(development, chunks))


def _development(domain: Domain, place: dict[str, int]) -> Iterator[Asked]:
    """The development split; several passages may be relevant to a query."""
    relevant: dict[str, set[int]] = defaultdict(set)
    for line in (domain.synthetic / "dev_qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, chunk, _ = line.split("\t")
        relevant[query].add(place[chunk])
    for row in iter_jsonl(domain.synthetic / "dev_queries.jsonl"):
        yield Asked(row["text"], tuple(sorted(relevant[row["id"]])), row["origin"], row.get("type", ""))


def _named(asked: Asked, chunks: Sequence[Chunk]) -> bool:
    """Whether a query begins with its document's title."""
    title = chunks[asked.relevant[0]].title.lower()
    return bool(title) and asked.text.lower().startswith(title)


def _with_titles(development: Sequence[Asked], chunks: Sequence[Chunk]) -> list[Asked]:
    """Queries that name their document, made where the split has too few: what it never asks, it cannot warn of."""
    if sum(_named(asked, chunks) for asked in development) >= FEWEST:
        return []
    return [
        _titled(asked, chunks) for asked in development if chunks[asked.relevant[0]].title and not _named(asked, chunks)
    ]


def _titled(asked: Asked, chunks: Sequence[Chunk]) -> Asked:
    """A query with its document's title put in front."""
    return replace(asked, text=f"{chunks[asked.relevant[0]].title}: {asked.text}")


def kinds_of(material: Material) -> list[Kind]:
    """Development queries by origin, written ones by type, all with and without title; the made ones stand behind them.

    Where an origin has too few queries for a kind of its own, it is looked at together with others like it: together
    they may warn of what none of them could show.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    types: dict[tuple[str, str], list[int]] = defaultdict(list)
    titled: dict[str, list[int]] = {"with title": [], "without title": []}
    for number, asked in enumerate(material.development):
        groups[asked.origin].append(number)
        if asked.type:
            types[asked.origin, asked.type].append(number)
        if material.chunks[asked.relevant[0]].title:
            titled["with title" if _named(asked, material.chunks) else "without title"].append(number)
    large = {name: rows for name, rows in groups.items() if len(rows) >= FEWEST}
    few = sorted(groups.keys() - large.keys())
    found = sorted(large.items())
    if few:
        found.append((f"{', '.join(few)} (few of each)", sorted(row for name in few for row in groups[name])))
    found += [
        (f"{origin}: {kind}", rows)
        for (origin, kind), rows in sorted(types.items())
        if FEWEST <= len(rows) < len(groups[origin])
    ]
    # Few ask by names, and the test asks for enough of them by itself: a loss of names counts however few they are.
    found += [(name, rows) for name, rows in titled.items() if len(rows) >= (1 if name == "with title" else FEWEST)]
    if material.made:
        found.append((MADE, list(range(material.counted, material.counted + len(material.made)))))
    return [Kind(name, np.array(rows, dtype=np.int64)) for name, rows in found]


def drawn(material: Material, most: int, seed: int) -> NDArray[np.int64]:
    """Which of the `judged` queries to look at: at most so many development queries, and what was made of these.

    All kinds are there in proportion: every n-th query is taken in the order of the kinds, within a kind at random.

    Returns:
        Positions among the `judged` ones, ascending.
    """
    development, count = material.development, material.counted
    if count <= most:
        return np.arange(count + len(material.made))
    keys = [(asked.origin, asked.type, _named(asked, material.chunks)) for asked in development]
    shuffled = np.random.default_rng(seed).permutation(count).tolist()
    order = np.array(sorted(shuffled, key=lambda row: keys[row]), dtype=np.int64)
    rows = np.sort(order[np.arange(most) * count // most])
    chosen = {_titled(development[row], material.chunks) for row in rows}
    behind = [count + number for number, asked in enumerate(material.made) if asked in chosen]
    return np.concatenate([rows, np.array(behind, dtype=np.int64)])


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
    asked = material.judged
    documents = document_vectors(domain, encoder, material.chunks, reporter)
    vectors = query_vectors(domain, encoder, [item.text for item in asked], reporter)
    return Judged(vectors, documents, [item.relevant for item in asked], material.ids)


def development_quality(domain: Domain, encoder: Encoder, material: Material, reporter: Reporter) -> Quality:
    """nDCG@10 and MRR@10 of each development query over the whole corpus, the made ones behind them."""
    found = judged(domain, encoder, material, reporter)
    return quality(found.queries, found.documents, found.relevant, found.ids)
