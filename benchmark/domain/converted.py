"""What every converter yields: a document's text with its headings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

_BREAK = re.compile(r"\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+\n")


class Heading(NamedTuple):
    """A heading and the lines that it takes up.

    Attributes:
        level: 1 is the outermost.
        text: The words, without marks.
        start: First character of its first line.
        end: One past its last line.
    """

    level: int
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Converted:
    """A document's text. Every span of the project (evidence, chunks) counts code points of `text`.

    Attributes:
        text: The whole text; Markdown (headings, lists, tables, code) or plain.
        headings: In the order of the text, none within another.
        title: From a first-level heading, or else from the file's own metadata; None where there is neither.
        start: Where the text proper begins (after the front matter of a Markdown file).
        warnings: What a person should know (pages without text).
    """

    text: str
    headings: tuple[Heading, ...] = ()
    title: str | None = None
    start: int = 0
    warnings: tuple[str, ...] = ()


def clean(text: str) -> str:
    r"""Text out of a binary or marked-up file: no control characters, no lone surrogates, one blank line at most.

    >>> clean("a\x00b  \n\n\n\nc\n")
    'ab\n\nc'
    """
    paired = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    lines = _CONTROL.sub("", _BREAK.sub("\n", paired)).split("\n")
    return _BLANK_LINES.sub("\n\n", "\n".join(line.rstrip() for line in lines)).strip()


def one_line(text: str | None) -> str | None:
    """White space folded; None for nothing."""
    return " ".join(text.split()) or None if text else None


def first_title(headings: Sequence[Heading]) -> str | None:
    """The first heading of the first level."""
    return next((heading.text for heading in headings if heading.level == 1), None)


def words_of(name: str) -> str:
    """A file's name in words.

    >>> words_of("clo-waterfall_2024.v2.md")
    'clo waterfall 2024.v2'
    """
    stem = name.rsplit("/", 1)[-1].rsplit(".", 1)[0] or name
    return " ".join(re.sub(r"[_\-]+", " ", stem).split()) or stem
