"""A report's Markdown read for its other forms: headings with anchors, pictures that lie beside it, no foreign HTML."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from markdown_it.token import Token

_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
PICTURES: Final = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
                   ".webp": "image/webp"}  # fmt: skip
"""File endings of the pictures that are taken along, and their types."""


class Heading(NamedTuple):
    """A heading of the second level: where a link leads, and its words."""

    id: str
    words: str


def parse(text: str) -> "list[Token]":
    """The tokens of a report; each heading has an `id` like GitHub's, comments are gone, other HTML is text."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    seen: dict[str, int] = {}
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", _anchor(words_of(tokens[place + 1].children or []), seen))
    return list(_without_html(tokens))


def headings(tokens: "Sequence[Token]") -> list[Heading]:
    """Those of the second level, for a table of contents."""
    return [
        Heading(str(token.attrGet("id")), words_of(tokens[place + 1].children or []))
        for place, token in enumerate(tokens)
        if token.type == "heading_open" and token.tag == "h2"
    ]


def title(tokens: "Sequence[Token]") -> str:
    """The words of the first heading."""
    found = (place for place, token in enumerate(tokens) if token.type == "heading_open")
    place = next(found, None)
    return "" if place is None else words_of(tokens[place + 1].children or [])


def words_of(children: "Sequence[Token]") -> str:
    """What a reader sees of a line."""
    return "".join(
        " "
        if child.type in {"softbreak", "hardbreak"}
        else words_of(child.children)
        if child.children
        else child.content
        for child in children
    )


def _anchor(words: str, seen: dict[str, int]) -> str:
    slug = re.sub(r"[^\w\- ]", "", words.lower()).strip().replace(" ", "-") or "part"
    count = seen[slug] = seen.get(slug, -1) + 1
    return slug if count == 0 else f"{slug}-{count}"


def _without_html(tokens: "Sequence[Token]") -> "Iterator[Token]":
    """Comments are left out; what else looks like HTML was written by a person and is shown as it was written."""
    from markdown_it.token import Token

    for token in tokens:
        if token.children:
            token.children = list(_without_html(token.children))
        if token.type not in {"html_block", "html_inline"}:
            yield token
            continue
        rest = _COMMENT.sub("", token.content)
        if not rest.strip():
            continue
        text = Token("text", "", 0, content=rest)
        if token.type == "html_inline":
            yield text
        else:
            yield Token("paragraph_open", "p", 1, block=True)
            yield Token("inline", "", 0, content=rest, children=[text], block=True)
            yield Token("paragraph_close", "p", -1, block=True)


def picture(folder: Path, source: str) -> Path | None:
    """The file of a picture that lies in the report's folder or below it; None for any other."""
    path = (folder / source).resolve()
    inside = path.is_relative_to(folder.resolve()) and path.suffix.lower() in PICTURES
    return path if inside and path.is_file() else None
