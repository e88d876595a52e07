"""The records that stages hand to each other through files. Offsets count Unicode code points, ends are exclusive."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.files import Json, iter_jsonl


@dataclass(frozen=True)
class Chunk:
    """A passage: what is retrieved.

    Attributes:
        id: Unique in its corpus, without white space.
        document: The document's path relative to the domain's documents folder, with `/` (or its BEIR doc_id).
        title: The document's title.
        headings: Headings above the passage, outermost first, without the document's title.
        start: First character in the document's text, or -1 where the corpus came ready-made.
        end: One past the last character, or -1.
        text: The passage itself; never empty.
    """

    id: str
    document: str
    title: str
    headings: tuple[str, ...]
    start: int
    end: int
    text: str

    @property
    def heading(self) -> str:
        """Title and headings in one line: what the encoder sees before the text (mteb's `title`)."""
        return " - ".join(part for part in (self.title, *self.headings) if part)

    @property
    def full_text(self) -> str:
        """What is encoded and indexed: heading, space, text, as mteb joins them."""
        return f"{self.heading} {self.text}".strip()

    def to_json(self) -> Json:
        """A JSON object with this record's fields."""
        return {**asdict(self), "headings": list(self.headings)}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Chunk":
        """The inverse of `to_json`."""
        return cls(**{**row, "headings": tuple(row["headings"])})


@dataclass(frozen=True)
class Query:
    """A question of the test set (relevance stands in `TestSet.qrels`)."""

    id: str
    text: str
    category: str = "core"
    answer: str = ""


@dataclass(frozen=True)
class TestSet:
    """What retrieval is measured on.

    Attributes:
        queries: Questions with at least one relevant chunk, in the file's order.
        unanswerable: Questions without an answer in the corpus; used for answers, not for retrieval.
        qrels: Query id -> chunk id -> relevance (1 or higher).
    """

    __test__ = False  # not a test class for pytest

    queries: tuple[Query, ...]
    unanswerable: tuple[Query, ...]
    qrels: dict[str, dict[str, int]] = field(default_factory=dict)


class Hit(NamedTuple):
    """A ranked chunk."""

    chunk: str
    score: float


Run = dict[str, list[Hit]]
"""Query id -> hits, best first: score descending, then id descending, as trec_eval orders them."""


def read_chunks(path: Path) -> list[Chunk]:
    """Read `chunks.jsonl` as the ingest stage wrote it."""
    return [Chunk.from_json(row) for row in iter_jsonl(path)]


def read_testset(folder: Path) -> TestSet:
    """Read `queries.jsonl` and `qrels.tsv` as the testset stage wrote them."""
    answerable: list[Query] = []
    unanswerable: list[Query] = []
    for row in iter_jsonl(folder / "queries.jsonl"):
        has_answer = row.pop("answerable")
        (answerable if has_answer else unanswerable).append(Query(**row))
    qrels: dict[str, dict[str, int]] = {}
    lines = (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]
    for line in lines:
        query, chunk, score = line.split("\t")
        qrels.setdefault(query, {})[chunk] = int(score)
    return TestSet(tuple(answerable), tuple(unanswerable), qrels)
