"""Ready-made corpora: what a source of one brings, and what is asked of its rows, wherever they come from."""

from collections.abc import Container, Iterator
from typing import NamedTuple, Protocol

from benchmark.errors import Problems
from benchmark.files import Json
from benchmark.records import Chunk, Query, TestSet


class Placed(NamedTuple):
    """A row and where it stands, for messages."""

    where: str
    row: Json


class Judgement(NamedTuple):
    """How relevant a passage is to a query, as it is written, and where that stands."""

    where: str
    query: str
    chunk: str
    score: str


class ReadyMade(Protocol):
    """A corpus with queries and relevance judgements.

    Attributes:
        corpus_name: What to call the passages in a message.
        queries_name: What to call the queries.
        notes: What was left out, once the passages have been gone through.
    """

    corpus_name: str
    queries_name: str
    notes: list[str]

    @property
    def identity(self) -> str:
        """A hash of the passages."""

    @property
    def truth_hash(self) -> str:
        """A hash of the queries and the judgements."""

    @property
    def settings(self) -> Json:
        """What of domain.yaml names the corpus."""

    def corpus(self, problems: Problems) -> Iterator[Placed]:
        """Rows {_id, title, text, doc_id}."""

    def queries(self, problems: Problems) -> Iterator[Placed]:
        """Rows {_id, text, category, answer, answerable, split}."""

    def judgements(self, problems: Problems) -> Iterator[Judgement]:
        """Relevance judgements."""

    def judged_elsewhere(self) -> set[str]:
        """Ids of queries that have judgements in another split."""


def iter_corpus(source: ReadyMade, problems: Problems) -> Iterator[Chunk]:
    """Stream a corpus; ids are checked, texts come as given (a passage without text is its title).

    Args:
        source: Brings the rows.
        problems: Where mistakes go, with their places.
    """
    seen: set[str] = set()
    for where, row in source.corpus(problems):
        chunk_id = _id(row, where, seen, problems)
        seen.add(chunk_id)
        title, text = _text(row, "title", where, problems), _text(row, "text", where, problems)
        document = row.get("doc_id", chunk_id)
        if not isinstance(document, str):
            problems.add(f"{where}: 'doc_id' is not a text")
        elif not (title + text).strip():
            problems.add(f"{where}: neither title nor text")
        elif chunk_id:
            yield Chunk(chunk_id, document, *((title, (), -1, -1, text) if text.strip() else ("", (), -1, -1, title)))


def read_truth(source: ReadyMade, chunk_ids: Container[str], problems: Problems) -> TestSet:
    """Read queries and relevance judgements.

    Queries of other splits (a `split` other than test, or judged only elsewhere) are left out.

    Args:
        source: Brings the rows.
        chunk_ids: Every id of the corpus.
        problems: Where mistakes go; among them a query without a relevant passage, which mteb would drop silently.
    """
    elsewhere = source.judged_elsewhere()
    queries: dict[str, Query] = {}
    unanswerable: dict[str, Query] = {}
    places: dict[str, str] = {}
    for where, row in source.queries(problems):
        query_id = _id(row, where, places, problems)
        if not query_id:
            continue
        places[query_id] = where
        query = _query(row, query_id, where, problems)
        if row.get("split", "test") != "test":
            elsewhere.add(query_id)
        else:
            (unanswerable if row.get("answerable", True) is False else queries)[query_id] = query
    if not places:
        problems.add(f"{source.queries_name}: no queries in it")
    qrels = _read_qrels(source, places.keys() | elsewhere, chunk_ids, problems)
    for query_id in (query_id for query_id in unanswerable if query_id in qrels):
        problems.add(f"{places[query_id]}: query {query_id}: unanswerable, but it has relevant passages")
    for query_id in (query_id for query_id in queries if query_id not in qrels and query_id not in elsewhere):
        problems.add(f"{places[query_id]}: query {query_id}: no relevant passage in the qrels")
    kept = {query_id: query for query_id, query in queries.items() if query_id in qrels}
    return TestSet(tuple(kept.values()), tuple(unanswerable.values()), {query_id: qrels[query_id] for query_id in kept})


def _query(row: Json, query_id: str, where: str, problems: Problems) -> Query:
    text = " ".join(_text(row, "text", where, problems).split())
    if not text:
        problems.add(f"{where}: query {query_id}: is empty")
    category = _text(row, "category", where, problems) or "core"
    return Query(query_id, text, category, _text(row, "answer", where, problems))


def _read_qrels(
    source: ReadyMade, query_ids: Container[str], chunk_ids: Container[str], problems: Problems
) -> dict[str, dict[str, int]]:
    """Query id -> passage id -> relevance, of 1 and more; 0 is a judgement too, but no positive."""
    judged: dict[tuple[str, str], int] = {}
    queries_name, corpus_name = (name.rsplit("/", 1)[-1] for name in (source.queries_name, source.corpus_name))
    for where, query, chunk, score in source.judgements(problems):
        if not score.isascii() or not score.isdigit():
            problems.add(f"{where}: the relevance {score!r} is not a whole number from 0 on")
        elif query not in query_ids:
            problems.add(f"{where}: query {query} is not in {queries_name}")
        elif chunk not in chunk_ids:
            problems.add(f"{where}: passage {chunk} is not in {corpus_name}")
        elif (query, chunk) in judged:
            problems.add(f"{where}: query {query} and passage {chunk} stand here a second time")
        else:
            judged[query, chunk] = int(score)
    qrels: dict[str, dict[str, int]] = {}
    for (query, chunk), relevance in judged.items():
        if relevance:
            qrels.setdefault(query, {})[chunk] = relevance
    return qrels


def _id(row: Json, where: str, seen: Container[str], problems: Problems) -> str:
    """The id of a row, or an empty text after a problem."""
    value = row.get("_id", row.get("id"))
    if not isinstance(value, str) or not value:
        problems.add(f"{where}: no '_id' or 'id', or not a text")
    elif " " in value or not value.isprintable():
        problems.add(f"{where}: the id {value!r} holds white space, at which TREC files are split")
    elif value in seen:
        problems.add(f"{where}: the id {value} stands here a second time")
    else:
        return value
    return ""


def _text(row: Json, key: str, where: str, problems: Problems) -> str:
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        problems.add(f"{where}: '{key}' is not a text but {type(value).__name__}")
        return ""
    return value.encode("utf-8", "replace").decode("utf-8")  # lone surrogates cannot be written
