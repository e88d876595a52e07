"""What the explorer shows: each question, its relevant passages, and what every model ranked first."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from benchmark.files import Json
from benchmark.records import Chunk, Query, TestSet
from benchmark.reporting.board import Leaderboard
from benchmark.reporting.page.runs import MOST_HITS, NOTHING, Heads
from benchmark.reporting.page.text import json_for_html, plain


class Cut(NamedTuple):
    """How much of the test set a page holds.

    Attributes:
        characters: Of a passage and of a reference answer; what is longer is cut there.
        hits: Of each model and question.
        questions: The first so many; None for all.
    """

    characters: int
    hits: int
    questions: int | None = None


CUTS = (
    *(Cut(characters, MOST_HITS) for characters in (4000, 1500, 800, 400, 250)),
    Cut(250, 1),
    Cut(250, 1, 2000),
    Cut(120, 1, 500),
)
"""From everything that one wants to read to the least that is still of use."""


def questions_block(
    board: Leaderboard, testset: TestSet, chunks: Sequence[Chunk], heads: Mapping[str, Heads], budget: int
) -> str:
    """The explorer's data as JSON for a page.

    Args:
        board: The leaderboard; its order of queries and systems is kept.
        testset: Texts, answers and relevance.
        chunks: The corpus.
        heads: Of the retrieval runs, by system.
        budget: Bytes; the first of `CUTS` that fits is taken, or else the last.
    """
    clean = cache(plain)
    known = {chunk.id: chunk for chunk in chunks}
    text = ""
    for cut in CUTS:
        shown = _shown(board, testset, heads, cut)
        least = sum(min(len(clean(known[chunk].text)), cut.characters) for chunk in shown if chunk in known)
        if least > budget and cut is not CUTS[-1]:
            continue  # its passages' letters alone are too many
        text = json_for_html(explorer(board, testset, chunks, heads, cut, clean))
        if len(text.encode()) <= budget:
            break
    return text


def _shown(board: Leaderboard, testset: TestSet, heads: Mapping[str, Heads], cut: Cut) -> set[str]:
    """Ids of the passages that a cut holds."""
    asked = [query.id for query in board.queries[: cut.questions]]
    found = {chunk for query in asked for chunk, grade in testset.qrels[query].items() if grade > 0}
    for row in heads.values():
        found.update(chunk for query in asked for chunk in row.get(query, NOTHING).hits[: cut.hits])
    return found


def explorer(
    board: Leaderboard,
    testset: TestSet,
    chunks: Sequence[Chunk],
    heads: Mapping[str, Heads],
    cut: Cut,
    clean: Callable[[object], str] = plain,
) -> Json:
    """The explorer's data; passages once, and named by their place in the list.

    Args:
        board: The leaderboard; its order of queries and systems is kept.
        testset: Texts, answers and relevance.
        chunks: The corpus.
        heads: Of the retrieval runs, by system.
        cut: How much of it.
        clean: `plain`, or a form of it that remembers what it has seen.
    """
    known = {chunk.id: chunk for chunk in chunks}
    queries = {query.id: query for query in testset.queries}
    order = [queries[query.id] for query in board.queries[: cut.questions]]
    names = [system.name for system in board.systems]
    places: dict[str, int] = {}
    rows = [_row(query, testset.qrels[query.id], names, heads, places, cut) for query in order]
    passages = [_passage(chunk, known.get(chunk), cut.characters, clean) for chunk in places]
    return {
        "withheld": False,
        "cut": {
            **cut._asdict(),
            "depth": board.settings.top_k,
            "shortened": sum("cut" in passage for passage in passages),
        },
        "questions": rows,
        "passages": passages,
    }


def _row(
    query: Query, relevant: Mapping[str, int], names: Sequence[str], heads: Mapping[str, Heads], places: dict[str, int],
    cut: Cut,
) -> Json:  # fmt: skip
    """A question: for each system the rank of its first relevant passage (or None), and its first hits."""

    def place(chunk: str) -> int:
        return places.setdefault(chunk, len(places))

    gold = [place(chunk) for chunk, grade in relevant.items() if grade > 0]
    found = [heads[name].get(query.id, NOTHING) for name in names]
    ranked = [[head.first, [place(chunk) for chunk in head.hits[: cut.hits]]] for head in found]
    answer = _cut(plain(query.answer), cut.characters)
    return {"text": plain(query.text), "answer": answer, "relevant": gold, "ranked": ranked}


def _passage(chunk: str, found: Chunk | None, characters: int, clean: Callable[[object], str]) -> Json:
    """A passage that the corpus no longer has is its id alone."""
    if found is None:
        return {"id": clean(chunk)}
    whole = clean(found.text)
    shorter = {"cut": len(whole)} if len(whole) > characters else {}
    return {
        "id": clean(chunk),
        "document": clean(found.document),
        "heading": clean(found.heading),
        "text": _cut(whole, characters),
        **shorter,
    }


def _cut(whole: str, characters: int) -> str:
    return whole if len(whole) <= characters else whole[:characters].rstrip() + " …"


def without_passages(value: Json) -> Json:
    """The same data without words of the test set and of documents.

    Questions keep what each model ranked; passages are running numbers, since their ids hold the documents' names.
    """
    questions = [{**row, "text": "", "answer": ""} for row in value["questions"]]
    passages = [{"id": f"passage {number}"} for number in range(1, len(value["passages"]) + 1)]
    cut = {**value["cut"], "shortened": 0}
    return {**value, "withheld": True, "cut": cut, "questions": questions, "passages": passages}
