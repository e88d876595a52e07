"""Ready-made corpora in the BEIR layout: corpus.jsonl, queries.jsonl, and qrels.tsv or qrels/test.tsv."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.domain.ready_made import Judgement, Placed
from benchmark.errors import BenchError, Problems
from benchmark.files import Json, hash_file, hash_json, shown
from benchmark.project import Domain

_HEADER = ("query-id", "corpus-id", "score")


class BeirFolder:
    """The folder that holds a domain's BEIR files; see `ReadyMade`.

    Args:
        domain: With `beir` in its domain.yaml.

    Raises:
        BenchError: From each of its members: a file is not there, or is not UTF-8.
    """

    def __init__(self, domain: Domain) -> None:
        self._beir = domain.spec.beir
        self._folder = domain.folder / (domain.spec.beir or ".")
        self.queries_name = shown(self._folder / "queries.jsonl")
        self.corpus_name = "corpus.jsonl"
        self.notes: list[str] = []

    @property
    def settings(self) -> Json:
        """The folder's name in domain.yaml."""
        return {"beir": self._beir}

    @property
    def identity(self) -> str:
        """sha256 of the corpus file."""
        return hash_file(self._corpus)

    @property
    def truth_hash(self) -> str:
        """sha256 over the queries and the relevance judgements."""
        others = [[path.name, hash_file(path)] for path in self._other_splits]
        return hash_json([hash_file(self._queries), hash_file(self._qrels), others])

    def corpus(self, problems: Problems) -> Iterator[Placed]:
        """The lines of corpus.jsonl."""
        return _rows(self._corpus, problems)

    def queries(self, problems: Problems) -> Iterator[Placed]:
        """The lines of queries.jsonl."""
        return _rows(self._queries, problems)

    def judgements(self, problems: Problems) -> Iterator[Judgement]:
        """The lines below the header that have three fields."""
        for number, row in _tsv(self._qrels):
            where = f"{shown(self._qrels)}:{number}"
            if number == 1:
                if tuple(row) != _HEADER:
                    problems.add(f"{where}: the header is missing: {' '.join(_HEADER)}, with tabs between")
            elif len(row) != len(_HEADER):
                problems.add(f"{where}: {len(row)} fields, 3 with tabs between are needed: {' '.join(_HEADER)}")
            else:
                yield Judgement(where, *row)

    def judged_elsewhere(self) -> set[str]:
        """Queries in other files of qrels/."""
        return {row[0] for other in self._other_splits for _, row in _tsv(other)}

    @property
    def _corpus(self) -> Path:
        path = self._folder / "corpus.jsonl"
        if not path.is_file():
            raise BenchError(f"{shown(path)}: no such file; 'beir' of domain.yaml names a folder with corpus.jsonl")
        return path

    @property
    def _queries(self) -> Path:
        path = self._folder / "queries.jsonl"
        if not path.is_file():
            raise BenchError(f"{shown(path)}: no such file")
        return path

    @property
    def _qrels(self) -> Path:
        """The file of relevance judgements: qrels.tsv, or else qrels/test.tsv."""
        for path in (self._folder / "qrels.tsv", self._folder / "qrels" / "test.tsv"):
            if path.is_file():
                return path
        raise BenchError(f"{shown(self._folder)}: neither qrels.tsv nor qrels/test.tsv is there")

    @property
    def _other_splits(self) -> list[Path]:
        """Relevance judgements of other splits (train, dev), which lie beside qrels/test.tsv."""
        path = self._qrels
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


def _rows(path: Path, problems: Problems) -> Iterator[Placed]:
    """Stream the objects of a JSON Lines file that somebody else wrote (the whole may be larger than memory)."""
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            if not raw.strip():
                continue
            where = f"{shown(path)}:{number}"
            try:
                value: Any = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                problems.add(f"{where}: not UTF-8 (byte 0x{raw[error.start]:02x})")
            except json.JSONDecodeError as error:
                problems.add(f"{where}: not JSON: {error.msg} (column {error.colno})")
            else:
                if isinstance(value, dict):
                    yield Placed(where, value)
                else:
                    problems.add(f"{where}: not a JSON object but {type(value).__name__}")
