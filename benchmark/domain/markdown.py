"""Markdown and plain text: the text stays as it is, its headings are found."""

import re
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from benchmark.domain.converted import Converted, Heading, first_title, one_line
from benchmark.files import read_text

_FRONT_MATTER = re.compile(r"---[ \t]*\n(?P<body>[\w-]+[ \t]*:.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title[ \t]*:[ \t]*(?P<quote>[\"']?)(?P<title>.+?)(?P=quote)[ \t]*$", re.MULTILINE)


def convert_text(path: Path) -> Converted:
    """A plain text file, as it is; it has no headings.

    Raises:
        BenchError: Not UTF-8, or NUL bytes.
    """
    return Converted(read_text(path))


def convert_markdown(path: Path) -> Converted:
    """A Markdown file, as it is; front matter is left out of the chunks, its `title` is the second choice.

    Raises:
        BenchError: Not UTF-8, or NUL bytes.
    """
    text = read_text(path)
    front = _FRONT_MATTER.match(text)
    start = front.end() if front else 0
    found = headings(text, start)
    named = _FRONT_TITLE.search(front["body"]) if front else None
    title = first_title(found) or (one_line(named["title"]) if named else None)
    return Converted(text, found, title, start)


def headings(text: str, start: int = 0) -> tuple[Heading, ...]:
    """The headings of a Markdown text, as CommonMark sees them (none in code, quotes or lists).

    Args:
        text: The text.
        start: Where to begin; the headings' positions count from the beginning of `text` all the same.
    """
    body = text[start:]
    line_starts = list(accumulate((len(line) + 1 for line in body.split("\n")), initial=start))
    tokens = _blocks().parse(body)
    found = []
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open" or opening.level or opening.map is None:
            continue
        first, after = opening.map
        words = one_line(_plain(inline.content))
        if words:
            found.append(Heading(int(opening.tag[1:]), words, line_starts[first], min(line_starts[after], len(text))))
    return tuple(found)


@cache
def _blocks() -> MarkdownIt:
    """A parser of blocks alone: ten times as fast, and only headings are wanted."""
    return MarkdownIt("commonmark").enable("table").disable("inline")


@cache
def _inlines() -> MarkdownIt:
    return MarkdownIt("commonmark")


def _plain(content: str) -> str:
    """The words of a heading without links, emphasis and HTML."""
    parts: list[str] = []

    def walk(tokens: list[Token]) -> None:
        for token in tokens:
            if token.type in {"text", "code_inline"}:
                parts.append(token.content)
            elif token.type in {"softbreak", "hardbreak"}:
                parts.append(" ")
            walk(token.children or [])

    walk(_inlines().parseInline(content))
    return "".join(parts)
