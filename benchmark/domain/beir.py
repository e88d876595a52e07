"""Ready-made corpora in the BEIR layout: corpus.jsonl, queries.jsonl, and qrels.tsv or qrels/test.tsv."""

import json
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from benchmark.errors import BenchError, Problems
from benchmark.files import Json, Line, hash_file, hash_json, shown
from benchmark.project import Domain
from benchmark.records import Chunk, Query, TestSet

_HEADER = ("query-id", "corpus-id", "score")


def folder_of(domain: Domain) -> Path:
    """The folder that holds a domain's BEIR files."""
    return domain.folder / (domain.spec.beir or ".")


def corpus_path(domain: Domain) -> Path:
    """The corpus file.

    Raises:
        BenchError: It is not there.
    """
    path = folder_of(domain) / "corpus.jsonl"
    if not path.is_file():
        raise BenchError(f"{shown(path)}: no such file; 'beir' of domain.yaml names a folder with corpus.jsonl")
    return path


def qrels_path(domain: Domain) -> Path:
    """The file of relevance judgements: qrels.tsv, or else qrels/test.tsv.

    Raises:
        BenchError: Neither is there.
    """
    folder = folder_of(domain)
    for path in (folder / "qrels.tsv", folder / "qrels" / "test.tsv"):
        if path.is_file():
            return path
    raise BenchError(f"{shown(folder)}: neither qrels.tsv nor qrels/test.tsv is there")


def truth_hash(domain: Domain) -> str:
    """sha256 over the queries and the relevance judgements.

    Raises:
        BenchError: A file is not there.
    """
    queries = folder_of(domain) / "queries.jsonl"
    if not queries.is_file():
        raise BenchError(f"{shown(queries)}: no such file")
    others = [[path.name, hash_file(path)] for path in _other_splits(domain)]
    return hash_json([hash_file(queries), hash_file(qrels_path(domain)), others])


def iter_corpus(path: Path, problems: Problems) -> Iterator[Chunk]:
    """Stream a corpus; ids are checked, texts come as given (a passage without text is its title).

    Args:
        path: corpus.jsonl.
        problems: Where mistakes go, with their lines.
    """
    seen: set[str] = set()
    for number, row in _rows(path, problems):
        where = f"{shown(path)}:{number}"
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


def read_truth(domain: Domain, chunk_ids: Container[str], problems: Problems) -> TestSet:
    """Read queries and relevance judgements.

    Queries of other splits (a `split` other than test, or judged only in another file of qrels/) are left out.

    Args:
        domain: Whose.
        chunk_ids: Every id of the corpus.
        problems: Where mistakes go; among them a query without a relevant passage, which mteb would drop silently.
    """
    path = folder_of(domain) / "queries.jsonl"
    elsewhere: set[str] = {row[0] for other in _other_splits(domain) for _, row in _tsv(other)}
    queries: dict[str, Query] = {}
    unanswerable: dict[str, Query] = {}
    lines: dict[str, int] = {}
    for number, row in _rows(path, problems):
        where = f"{shown(path)}:{number}"
        query_id = _id(row, where, lines, problems)
        if not query_id:
            continue
        lines[query_id] = number
        query = _query(row, query_id, where, problems)
        if row.get("split", "test") != "test":
            elsewhere.add(query_id)
        else:
            (unanswerable if row.get("answerable", True) is False else queries)[query_id] = query
    if not lines:
        problems.add(f"{shown(path)}: no queries in it")
    qrels = _read_qrels(qrels_path(domain), lines.keys() | elsewhere, chunk_ids, problems)
    for query_id in (query_id for query_id in unanswerable if query_id in qrels):
        problems.add(f"{shown(path)}:{lines[query_id]}: query {query_id}: unanswerable, but it has relevant passages")
    for query_id in (query_id for query_id in queries if query_id not in qrels and query_id not in elsewhere):
        problems.add(f"{shown(path)}:{lines[query_id]}: query {query_id}: no relevant passage in the qrels")
    kept = {query_id: query for query_id, query in queries.items() if query_id in qrels}
    return TestSet(tuple(kept.values()), tuple(unanswerable.values()), {query_id: qrels[query_id] for query_id in kept})


def _query(row: Json, query_id: str, where: str, problems: Problems) -> Query:
    text = " ".join(_text(row, "text", where, problems).split())
    if not text:
        problems.add(f"{where}: query {query_id}: is empty")
    category = _text(row, "category", where, problems) or "core"
    return Query(query_id, text, category, _text(row, "answer", where, problems))


def _read_qrels(
    path: Path, query_ids: Container[str], chunk_ids: Container[str], problems: Problems
) -> dict[str, dict[str, int]]:
    """Query id -> passage id -> relevance, of 1 and more; 0 is a judgement too, but no positive."""
    judged: dict[tuple[str, str], int] = {}
    for where, (query, chunk, score) in _judgements(path, problems):
        if not score.isascii() or not score.isdigit():
            problems.add(f"{where}: the relevance {score!r} is not a whole number from 0 on")
        elif query not in query_ids:
            problems.add(f"{where}: query {query} is not in queries.jsonl")
        elif chunk not in chunk_ids:
            problems.add(f"{where}: passage {chunk} is not in corpus.jsonl")
        elif (query, chunk) in judged:
            problems.add(f"{where}: query {query} and passage {chunk} stand here a second time")
        else:
            judged[query, chunk] = int(score)
    qrels: dict[str, dict[str, int]] = {}
    for (query, chunk), relevance in judged.items():
        if relevance:
            qrels.setdefault(query, {})[chunk] = relevance
    return qrels


def _judgements(path: Path, problems: Problems) -> Iterator[tuple[str, list[str]]]:
    """The lines below the header that have three fields, and where they stand."""
    for number, row in _tsv(path):
        where = f"{shown(path)}:{number}"
        if number == 1:
            if tuple(row) != _HEADER:
                problems.add(f"{where}: the header is missing: {' '.join(_HEADER)}, with tabs between")
        elif len(row) != len(_HEADER):
            problems.add(f"{where}: {len(row)} fields, 3 with tabs between are needed: {' '.join(_HEADER)}")
        else:
            yield where, row


def _other_splits(domain: Domain) -> list[Path]:
    """Relevance judgements of other splits (train, dev), which lie beside qrels/test.tsv."""
    path = qrels_path(domain)
    return sorted(other for other in path.parent.glob("*.tsv") if other != path) if path.name == "test.tsv" else []


def _tsv(path: Path) -> Iterator[tuple[int, list[str]]]:
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise BenchError(f"{shown(path)}:{number}: not UTF-8") from None
            if line:
                yield number, line.split("\t")


def _rows(path: Path, problems: Problems) -> Iterator[Line]:
    """Stream the objects of a JSON Lines file that somebody else wrote (the whole may be larger than memory)."""
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            if not raw.strip():
                continue
            try:
                value: Any = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                problems.add(f"{shown(path)}:{number}: not UTF-8 (byte 0x{raw[error.start]:02x})")
            except json.JSONDecodeError as error:
                problems.add(f"{shown(path)}:{number}: not JSON: {error.msg} (column {error.colno})")
            else:
                if isinstance(value, dict):
                    yield Line(number, value)
                else:
                    problems.add(f"{shown(path)}:{number}: not a JSON object but {type(value).__name__}")


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
