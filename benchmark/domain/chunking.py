"""Documents to chunks: split at headings, then at paragraphs and sentences, to a budget of the encoder's own tokens."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import NamedTuple
from urllib.parse import quote

from benchmark.domain.converted import Heading
from benchmark.domain.documents import Document
from benchmark.domain.tokens import Ruler, TokenCounter
from benchmark.records import Chunk
from benchmark.specs import Chunking

_WRAPPED = 45
_ENDED = re.compile(r"[.!?:;|][\"'”’)\]]*\s*$")
_BLOCK_START = re.compile(r"\s|[-+*•|#>]|```|~~~|\(?\w{1,3}[.)]\s")
_BLOCK = 200_000
"""Characters that are tokenised at once; bounds memory for a book in one section."""


class Sized(NamedTuple):
    """A chunk and the tokens of its full text."""

    chunk: Chunk
    tokens: int


@dataclass(frozen=True)
class _Piece:
    """A span of the text: first a whole section, in the end a chunk.

    Attributes:
        path: The headings above its first character, outermost first, without the document's title.
        start: First character.
        end: One past the last character.
    """

    path: tuple[str, ...]
    start: int
    end: int


def chunk_document(document: Document, counter: TokenCounter, chunking: Chunking) -> Iterator[Sized]:
    """Cut a document into chunks; `document.text[chunk.start:chunk.end] == chunk.text`.

    Heading and text together stay within `max_tokens`. A chunk does not cross a heading, unless one side is shorter
    than `min_tokens`: that is joined with a neighbour, and the heading between them stands in the chunk's text.
    Ids are `<document, percent-encoded>#<number from 0>`.
    """
    cutter = _Cutter(document, counter, chunking)
    prefix = quote(document.name, safe="/")
    for number, piece in enumerate(cutter.pieces()):
        title, path = cutter.heading(piece.path)
        text = document.text[piece.start : piece.end]
        chunk = Chunk(f"{prefix}#{number}", document.name, title, path, piece.start, piece.end, text)
        yield Sized(chunk, counter.count(chunk.full_text))


def _sections(document: Document) -> Iterator[_Piece]:
    """The document's text without its heading lines."""
    above: list[Heading] = []
    title_seen = False
    start = document.content.start
    for heading in document.content.headings:
        yield _Piece(tuple(h.text for h in above), start, heading.start)
        is_title = not title_seen and heading.level == 1 and heading.text == document.title
        title_seen = title_seen or is_title
        above = [] if is_title else [*(h for h in above if h.level < heading.level), heading]
        start = heading.end
    yield _Piece(tuple(h.text for h in above), start, len(document.text))


class _Cutter:
    """Cuts one document."""

    def __init__(self, document: Document, counter: TokenCounter, chunking: Chunking) -> None:
        self._document = document
        self._text = document.text
        self._counter = counter
        self._chunking = chunking
        self._headings: dict[tuple[str, ...], tuple[str, tuple[str, ...]]] = {}

    def pieces(self) -> Sequence[_Piece]:
        """All spans, short ones joined."""
        return self._join([piece for section in _sections(self._document) for piece in self._split(section)])

    def heading(self, path: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """Title and headings as the chunk shows them: at most half of the budget, outer headings dropped first."""
        if path not in self._headings:
            self._headings[path] = self._shortened(path)
        return self._headings[path]

    def _shortened(self, path: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        room = self._chunking.max_tokens // 2
        title = self._document.title
        for first in range(len(path) + 1):
            if self._counter.count(_line(title, path[first:])) <= room:
                return title, path[first:]
        words = title.split()
        while len(words) > 1 and self._counter.count(" ".join(words)) > room:
            words.pop()
        short = " ".join(words)
        while self._counter.count(short) > room:  # one word without end
            short = short[: len(short) // 2]
        return short, ()

    def _tokens(self, path: tuple[str, ...], start: int, end: int) -> int:
        """Tokens of the chunk that this span would be, heading included."""
        return self._counter.count(f"{_line(*self.heading(path))} {self._text[start:end]}".strip())

    def _split(self, section: _Piece) -> Iterator[_Piece]:
        room = self._chunking.max_tokens - self._counter.count(_line(*self.heading(section.path)))
        for start, end in self._blocks(section.start, section.end):
            yield from self._fitting(section.path, start, end, room)

    def _fitting(self, path: tuple[str, ...], start: int, end: int, room: int) -> Iterator[_Piece]:
        """Split a span; should tokens merge across a boundary, so that a piece is over, split that piece again."""
        for first, last in self._spans(start, end, room):
            over = self._tokens(path, first, last) - self._chunking.max_tokens
            if over > 0 and room > over:
                yield from self._fitting(path, first, last, room - over)
            else:
                yield _Piece(path, first, last)

    def _blocks(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Cut a very long section at paragraphs, or else lines or words."""
        while end - start > _BLOCK:
            cuts = (self._text.rfind(mark, start + _BLOCK // 2, start + _BLOCK) for mark in ("\n\n", "\n", " "))
            cut = next((at for at in cuts if at > 0), start + _BLOCK)
            yield start, cut
            start = cut
        yield start, end

    def _spans(self, start: int, end: int, room: int) -> list[tuple[int, int]]:
        """Chunks of a span; where the last would be an orphan, the same number of more even ones if that can be."""
        if not any(map(str.isalnum, self._text[start:end])):
            return []
        ruler = Ruler(softened(self._text[start:end]), self._counter)
        parts = ceil(ruler.total / room)
        if parts < 2:
            return self._cut(ruler, start, (room, room))
        even = ceil(ruler.total / parts)
        spans = self._cut(ruler, start, (even, room))
        if self._short(spans[-1]):
            evener = self._cut(ruler, start, (even, min(room, ceil(1.25 * even))))
            if len(evener) <= len(spans) and not any(map(self._short, evener)):
                return evener
        return spans

    def _short(self, span: tuple[int, int]) -> bool:
        text = self._text[slice(*span)]
        least = self._chunking.min_tokens
        # Each word is a token at least, and counting words is far cheaper.
        return len(text.split()) < least and self._counter.count(text) < least

    def _cut(self, ruler: Ruler, start: int, capacity: tuple[int, int]) -> list[tuple[int, int]]:
        """The splitter's chunks of the ruler's text, without white space around them and without mere rules.

        Args:
            ruler: The text and its tokens.
            start: Where that text begins in the document.
            capacity: Tokens from which on a chunk is full, and which it may have at most.
        """
        from semantic_text_splitter import TextSplitter  # its MarkdownSplitter cuts sentences at each apostrophe

        overlap = min(self._chunking.overlap, capacity[0] // 2)
        splitter = TextSplitter.from_callback(ruler, capacity, overlap=overlap)
        spans = []
        for offset, part in splitter.chunk_indices(ruler.text):
            first = start + offset + len(part) - len(part.lstrip())
            if any(map(str.isalnum, part)):
                spans.append((first, first + len(part.strip())))
        return spans

    def _join(self, pieces: list[_Piece]) -> list[_Piece]:
        """Join what is shorter than `min_tokens` with the neighbour under the nearer heading, where both fit."""
        done: list[_Piece] = []
        waiting = pieces[::-1]
        while waiting:
            piece = waiting.pop()
            if self._short((piece.start, piece.end)):
                after = self._joined(piece, waiting[-1]) if waiting else None
                before = self._joined(done[-1], piece) if done else None
                if before and after:
                    nearer = _shared(done[-1].path, piece.path) > _shared(piece.path, waiting[-1].path)
                    before, after = (before, None) if nearer else (None, after)
                if after:
                    waiting[-1] = after
                    continue
                if before:
                    done[-1] = before
                    continue
            done.append(piece)
        return done

    def _joined(self, first: _Piece, second: _Piece) -> _Piece | None:
        both = replace(first, end=max(first.end, second.end))
        return both if self._tokens(both.path, both.start, both.end) <= self._chunking.max_tokens else None


def softened(text: str) -> str:
    r"""The text, as long as before, with a space for each line break that only the margin made.

    The splitter holds a line break for a better boundary than a sentence's end, which is wrong in a paragraph that
    was broken at a column. Lists, tables, code and lines shorter than 45 characters keep their breaks.

    >>> softened("A sentence which somebody has broken at column\n45 ends here.\n- a list")
    'A sentence which somebody has broken at column 45 ends here.\n- a list'
    """
    lines = text.split("\n")
    parts: list[str] = []
    fenced = False
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        fenced ^= line.lstrip().startswith(("```", "~~~"))
        broken = len(line) >= _WRAPPED and not fenced and line[:1] not in "|#" and not _ENDED.search(line)
        parts += [line, " " if broken and after.strip() and not _BLOCK_START.match(after) else "\n"]
    return "".join(parts[:-1])


def _line(title: str, path: tuple[str, ...]) -> str:
    return Chunk("", "", title, path, 0, 0, "").heading


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many headings two paths have in common."""
    same = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        same += 1
    return same
