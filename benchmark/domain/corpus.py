"""The files of the ingest stage: chunks, documents and duplicates, written side by side."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any, Self, TextIO

from benchmark.domain.chunking import Sized
from benchmark.domain.documents import Document
from benchmark.domain.duplicates import NearDuplicates
from benchmark.files import Json, iter_jsonl
from benchmark.records import Chunk

CHUNKS, DOCUMENTS, DUPLICATES = "chunks.jsonl", "documents.jsonl", "duplicates.jsonl"


class CorpusWriter:
    """Writes chunks, documents and duplicates side by side, and counts.

    `duplicates.jsonl` has three kinds of row. `exact`: a chunk whose heading and text another has word for word;
    `chunk` was dropped, `of` was kept, and `document`, `start`, `end` say which passage it was, so that evidence in it
    still counts. `near`: both were kept. `document`: the whole text of `document` is that of `of`.

    Args:
        folder: Where to write; must exist.
        drop: Whether exact duplicates are left out of chunks.jsonl.
    """

    def __init__(self, folder: Path, drop: bool = True) -> None:
        self._folder = folder
        self._drop = drop
        self._stack = ExitStack()
        self._exact: dict[bytes, str] = {}
        self._near = NearDuplicates()
        self._tokens: Counter[int] = Counter()
        self._documents: set[str] = set()
        self._found: Counter[str] = Counter()
        self.chunks = 0

    def __enter__(self) -> Self:
        self._chunk_stream, self._document_stream, self._duplicate_stream = (
            self._open(name) for name in (CHUNKS, DOCUMENTS, DUPLICATES)
        )
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def _open(self, name: str) -> TextIO:
        return self._stack.enter_context((self._folder / name).open("w", encoding="utf-8", newline="\n"))

    def document(self, document: Document, chunks: Iterable[Sized]) -> int:
        """Write a document and its chunks.

        Returns:
            How many chunks it has, dropped ones included.
        """
        _write(
            self._document_stream,
            {
                "document": document.name,
                "title": document.title,
                "sha256": document.sha256,
                "characters": len(document.text),
                "text": document.text,
            },
        )
        self._documents.add(document.name)
        count = 0
        for count, (chunk, tokens) in enumerate(chunks, start=1):  # noqa: B007
            self.chunk(chunk, tokens)
        return count

    def chunk(self, chunk: Chunk, tokens: int | None) -> None:
        """Write a chunk, or drop it and note which one it repeats.

        Args:
            chunk: The passage.
            tokens: Tokens of its full text, where they were counted.
        """
        self._documents.add(chunk.document)
        kept = self._exact.setdefault(_fingerprint(chunk), chunk.id)
        if kept != chunk.id:
            self._duplicate("exact", chunk, kept, 1.0)
            if self._drop:
                return
        elif twin := self._near.add(chunk.id, chunk.text):
            self._duplicate("near", chunk, twin.key, twin.similarity)
        _write(self._chunk_stream, chunk.to_json())
        self.chunks += 1
        if tokens is not None:
            self._tokens[tokens] += 1

    def duplicate_document(self, document: str, of: str) -> None:
        """Note that a whole document repeats another."""
        self._found["document"] += 1
        _write(self._duplicate_stream, {"kind": "document", "document": document, "of": of})

    def _duplicate(self, kind: str, chunk: Chunk, of: str, similarity: float) -> None:
        self._found[kind] += 1
        row = {"kind": kind, "chunk": chunk.id, "of": of, "similarity": similarity}
        _write(self._duplicate_stream, {**row, "document": chunk.document, "start": chunk.start, "end": chunk.end})

    def facts(self) -> Json:
        """Counts for the manifest."""
        return {
            "documents": len(self._documents),
            "chunks": self.chunks,
            "exact_duplicates": self._found["exact"],
            "near_duplicates": self._found["near"],
            "duplicate_documents": self._found["document"],
            "tokens": _statistics(self._tokens) if self._tokens else None,
        }


def _write(stream: TextIO, row: Mapping[str, Any]) -> None:
    stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def _fingerprint(chunk: Chunk) -> bytes:
    """Equal for chunks that an encoder cannot tell apart, but for white space."""
    return sha256(" ".join(chunk.full_text.split()).encode("utf-8", "replace")).digest()[:16]


def _statistics(tokens: Counter[int]) -> Json:
    """Median, 95th percentile (nearest rank) and maximum of a histogram."""
    total = tokens.total()

    def at(share: float) -> int:
        passed = 0
        for value in sorted(tokens):
            passed += tokens[value]
            if passed >= share * total:
                return value
        return max(tokens)

    return {"median": at(0.5), "p95": at(0.95), "max": max(tokens)}


def iter_chunks(folder: Path) -> Iterator[Chunk]:
    """Stream the chunks that the ingest stage wrote to a folder."""
    return map(Chunk.from_json, iter_jsonl(folder / CHUNKS))
