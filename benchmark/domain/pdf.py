"""PDF: lines become paragraphs, larger lines become headings, running heads and page numbers go."""

import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from math import hypot
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.domain.converted import Converted, Heading, clean, one_line
from benchmark.errors import BenchError
from benchmark.files import shown

if TYPE_CHECKING:
    from pypdf import PageObject, PdfReader

_LARGER = 1.12
"""A heading is set at least this many times as large as the body."""
_HEADING_LENGTH = 150
_COVER = 1000
_FULL_LINE = 0.7
"""A line of this share of the usual width was broken by the margin, not by the author."""
_BULLET = re.compile(r"[•◦▪‣·●○■–—*-]\s|\(?[0-9a-zA-Z]{1,3}[.)]\s")
_SENTENCE_END = re.compile(r"[.!?:;…][\"'”’)\]]*$")
_LEADER = re.compile(r"(?:\. ?){6,}")
_PAGE_NUMBER = re.compile(r"[-– ]*(?:\d+|[ivxlc]+)[-– ]*", re.IGNORECASE)
_NO_TITLE = re.compile(r"^\W*(untitled|microsoft \w+ -|\(?anonymous)|\.(docx?|pptx?|xlsx?|tex|dvi|indd|pdf)\W*$", re.I)
_BROKEN_WORD = re.compile(r"[^\W\d_]-$")


class Line(NamedTuple):
    """A line of a page: its words, the size of most of its letters in points, and the page's number from 0."""

    text: str
    size: float
    page: int


def convert_pdf(path: Path) -> Converted:
    """The text of a PDF, its headings found by the size of their letters.

    Raises:
        BenchError: Broken, encrypted, or scanned (no text on any page).
    """
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it warns of every oddity that it has mended
    try:
        lines, pages, metadata_title = _read(path)
    except BenchError:
        raise
    except Exception as error:  # a parser of foreign files: what it raises depends on what is broken
        raise BenchError(
            f"{shown(path)}: broken PDF ({type(error).__name__}: {error}); print it anew to a PDF"
        ) from None
    empty = pages - len({line.page for line in lines})
    if not lines:
        raise BenchError(f"{shown(path)}: no text on its {pages} pages (scanned?); run OCR on it, e.g. ocrmypdf")
    warnings = (f"{shown(path)}: {empty} of {pages} pages hold no text (pictures or scans)",) if empty else ()
    text, found = _layout(_without_furniture(lines, pages))
    top = [heading for heading in found if heading.level == 1]
    # Chapters at the top level are no title; a title stands alone there, near the beginning.
    titled = len(top) == 1 and top[0].start < _COVER
    return Converted(text, found, top[0].text if titled else metadata_title, warnings=warnings)


def _read(path: Path) -> tuple[list[Line], int, str | None]:
    from pypdf import PdfReader

    with path.open("rb") as stream:
        reader = PdfReader(stream)
        if reader.is_encrypted and not _opened(reader):
            raise BenchError(f"{shown(path)}: is encrypted; save it without a password")
        lines = [line for number, page in enumerate(reader.pages) for line in _page_lines(page, number)]
        title = reader.metadata.title if reader.metadata else None
        return lines, len(reader.pages), None if not title or _NO_TITLE.search(title) else one_line(clean(title))


def _opened(reader: "PdfReader") -> bool:
    """Many files are encrypted with an empty password, only to forbid printing."""
    from pypdf.errors import DependencyError

    try:
        return bool(reader.decrypt(""))
    except DependencyError:
        return False


def _page_lines(page: "PageObject", number: int) -> Iterator[Line]:
    runs: list[tuple[str, float]] = []

    def visit(text: str, cm: list[float], tm: list[float], _font: Any, size: float) -> None:
        runs.append((text, abs(size) * hypot(tm[2], tm[3]) * hypot(cm[2], cm[3])))

    page.extract_text(visitor_text=visit)
    words: list[str] = []
    sizes: Counter[float] = Counter()
    for text, size in [*runs, ("\n", 0.0)]:
        for position, part in enumerate(text.split("\n")):
            if position:
                line = " ".join(clean("".join(words)).split())
                if line:
                    yield Line(line, sizes.most_common(1)[0][0], number)
                words, sizes = [], Counter()
            words.append(part)
            if part.strip():
                sizes[round(size, 1)] += len(part.strip())


def _without_furniture(lines: Sequence[Line], pages: int) -> list[Line]:
    """Drop tables of contents and what stands at the edge of several pages: running heads, footers, page numbers.

    A line counts as the same whatever its numbers are; a bare number at the edge is always dropped.
    """
    by_page = [list(group) for _, group in groupby(lines, key=lambda line: line.page)]
    edges = Counter(mark for page in by_page for mark in {_mark(line) for line in (*page[:2], *page[-2:])})
    often = max(3, pages // 10)

    def is_furniture(page: list[Line], position: int) -> bool:
        line = page[position]
        if _LEADER.search(line.text):
            return True
        if len(by_page) == 1 or 2 <= position < len(page) - 2:
            return False
        return edges[_mark(line)] >= often or _PAGE_NUMBER.fullmatch(line.text) is not None

    return [line for page in by_page for position, line in enumerate(page) if not is_furniture(page, position)]


def _mark(line: Line) -> tuple[str, float]:
    """What two lines have in common that only differ in numbers; a title is larger than its running head."""
    return re.sub(r"\d+", "#", line.text), line.size


def _layout(lines: Sequence[Line]) -> tuple[str, tuple[Heading, ...]]:
    """Lines to paragraphs; larger lines to headings, the largest at level 1."""
    if not lines:
        return "", ()
    weight: Counter[float] = Counter()
    for line in lines:
        weight[line.size] += len(line.text)
    body = weight.most_common(1)[0][0]
    lengths = [len(line.text) for line in lines if line.size == body]
    width = quantiles(lengths, n=10)[-1] if len(lengths) > 1 else lengths[0]
    levels = _levels(lines, body)
    parts: list[str] = []
    found: list[Heading] = []
    length = 0
    for line, before in zip(lines, [None, *lines], strict=False):
        level = levels.get(line.size) if _may_head(line) else None
        wrapped = level and found and before and before.size == line.size and found[-1].end == length
        gap = " " if wrapped else _gap(before, line, width, level, bool(found) and found[-1].end == length)
        if gap == "" and before is not None:
            parts[-1] = parts[-1][:-1]
            length -= 1
        start = length + len(gap)
        parts += [gap, line.text]
        length = start + len(line.text)
        if wrapped:
            last = found.pop()
            found.append(last._replace(text=f"{last.text} {line.text}", end=length))
        elif level:
            found.append(Heading(level, line.text, start, length))
    return "".join(parts), tuple(found)


def _levels(lines: Sequence[Line], body: float) -> dict[float, int]:
    """Sizes of headings -> level; sizes within 3 % are one (rounding of scaled fonts)."""
    sizes = sorted({line.size for line in lines if _may_head(line) and line.size >= _LARGER * body}, reverse=True)
    levels: dict[float, int] = {}
    for size in sizes:
        above = next((other for other in levels if size >= 0.97 * other), None)
        levels[size] = levels[above] if above else len(set(levels.values())) + 1
    return levels


def _may_head(line: Line) -> bool:
    return len(line.text) <= _HEADING_LENGTH and sum(map(str.isalpha, line.text)) >= 2


def _gap(before: Line | None, line: Line, width: float, level: int | None, after_heading: bool) -> str:
    """What goes between two lines; the empty string joins a word broken by a hyphen (which is then cut)."""
    if before is None:
        return ""
    if level or after_heading:
        return "\n\n"
    if _BROKEN_WORD.search(before.text) and line.text[:1].islower():
        return ""
    if _BULLET.match(line.text):
        return "\n"
    if len(before.text) >= _FULL_LINE * width:
        return " "
    return "\n\n" if _SENTENCE_END.search(before.text) else "\n"
