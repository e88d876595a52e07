"""What is put before a rater: pairs of answers to the same question, in an order and on sides that tell nothing."""

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from benchmark.answer_records import Answered, Asked, read_answers, read_asked
from benchmark.errors import BenchError, did_you_mean
from benchmark.files import hash_json, hash_text, iter_jsonl, shown
from benchmark.project import Domain
from benchmark.records import Chunk

SCALES: Final = ("accuracy", "relevance", "completeness")
POINTS: Final = (1, 2, 3, 4, 5)
TIE: Final = "tie"


class Pair(NamedTuple):
    """Two pipelines that are compared; the first is the baseline of the comparison."""

    first: str
    second: str


class Key(NamedTuple):
    """What a rating is about: a question and a pair, whichever of the two stood on the left."""

    question: str
    pair: frozenset[str]


@dataclass(frozen=True)
class Item:
    """A question with the answers of two pipelines.

    Attributes:
        asked: The question.
        pair: The pipelines.
        first: The answer of the first.
        second: The answer of the second.
    """

    asked: Asked
    pair: Pair
    first: Answered
    second: Answered

    @property
    def key(self) -> Key:
        """What ratings of it are filed under."""
        return Key(self.asked.id, frozenset(self.pair))

    @property
    def answers_hash(self) -> str:
        """Changes when one of the two answers does; the same whichever side they stand on."""
        return hash_json({answer.pipeline: shown_text(answer) for answer in (self.first, self.second)})

    def sides(self, rater: str, seed: int) -> tuple[Answered, Answered]:
        """The left and the right answer for a rater: drawn by hash, so that it stays on reloading."""
        drawn = hash_text("\n".join(("sides", str(seed), rater, self.asked.id, *sorted(self.pair))))
        one, other = sorted((self.first, self.second), key=lambda answer: answer.pipeline)
        return (one, other) if int(drawn, 16) % 2 else (other, one)


@dataclass(frozen=True)
class Material:
    """All that can be rated of a domain.

    Attributes:
        pairs: The pipelines that are compared.
        items: Pairs of answers that differ, in the order of rating, which is the same for every rater.
        identical: Pairs whose answers are the same text: ties by definition, asked of nobody.
        failed: Pairs one of whose answers failed: nothing to rate.
    """

    pairs: tuple[Pair, ...]
    items: tuple[Item, ...]
    identical: tuple[Item, ...]
    failed: tuple[Item, ...]


def shown_text(answer: Answered) -> str:
    """The answer as a rater sees it; one that declines without a word gets the words."""
    if not answer.text.strip() and answer.declined:
        return "The passages do not answer this question."
    return answer.text.strip()


def chosen_pairs(answering: Sequence[str], chosen: str | None = None) -> tuple[Pair, ...]:
    """The first of the pipelines against each of the others.

    >>> chosen_pairs(["base", "tuned", "bm25"], "A,C")
    (Pair(first='base', second='bm25'),)

    Args:
        answering: The pipelines, the baseline first; A, B, C... in this order.
        chosen: Some of them with commas, by letter or by name; all by default.

    Raises:
        BenchError: One is unknown or named twice, or there are fewer than two.
    """
    letters = dict(zip(string.ascii_uppercase, answering, strict=False))
    names = list(answering)
    if chosen is not None:
        words = [word.strip() for word in chosen.split(",") if word.strip()]
        names = [word if word in answering else letters.get(word, word) for word in words]
        for name in names:
            if name not in answering:
                raise BenchError(f"--pipelines: no pipeline '{name}' answers; {did_you_mean(name, answering)}")
        if len(set(names)) < len(names):
            raise BenchError(f"--pipelines: {chosen} names one pipeline twice")
    if len(names) < 2:
        raise BenchError("rating compares pipelines: two or more are needed, e.g. --pipelines A,B")
    return tuple(Pair(names[0], other) for other in names[1:])


def read_material(domain: Domain, pairs: Sequence[Pair], seed: int) -> Material:
    """The pairs of answers of a domain, sorted into what can be rated and what cannot.

    Args:
        domain: Whose `answers/` are read.
        pairs: The pipelines to compare.
        seed: Decides the order of the items.

    Raises:
        BenchError: There are no answers, or some of a pipeline are missing.
    """
    asked = {row.id: row for row in read_asked(domain.answers)}
    answers = {(row.question, row.pipeline): row for row in read_answers(domain.answers)}
    there = {pipeline for _, pipeline in answers}
    for name in sorted({name for pair in pairs for name in pair} - there):
        raise BenchError(f"{shown(domain.answers)}: no answers of '{name}'; make them with: domainbench answer")
    items: list[Item] = []
    identical: list[Item] = []
    failed: list[Item] = []
    for question in asked.values():
        for pair in pairs:
            first, second = (answers.get((question.id, name)) for name in pair)
            if first is None or second is None:
                raise BenchError(
                    f"{shown(domain.answers)}: no answer to '{question.id}' with one of {', '.join(pair)}; "
                    "make them anew with: domainbench answer"
                )
            item = Item(question, pair, first, second)
            if _failed(first) or _failed(second):
                failed.append(item)
            elif shown_text(first) == shown_text(second):
                identical.append(item)
            else:
                items.append(item)
    items.sort(key=lambda item: hash_text("\n".join(("order", str(seed), item.asked.id, *sorted(item.pair)))))
    return Material(tuple(pairs), tuple(items), tuple(identical), tuple(failed))


def _failed(answer: Answered) -> bool:
    return bool(answer.failure) or not shown_text(answer)


def passages_of(domain: Domain, items: Iterable[Item]) -> dict[str, Chunk]:
    """The chunks that answers were made from, by id; one that is there no more is left out.

    Raises:
        BenchError: There are no chunks at all.
    """
    path = domain.chunks / "chunks.jsonl"
    if not path.is_file():
        raise BenchError(f"{shown(path)}: no such file; make it with: domainbench ingest")
    wanted = {chunk for item in items for answer in (item.first, item.second) for chunk in answer.passages}
    return {row["id"]: Chunk.from_json(row) for row in iter_jsonl(path) if row["id"] in wanted}
