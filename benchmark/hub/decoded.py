"""What a program that reads a file would see of it: the cells of tables, and texts without their escapes."""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmark.hub.parcel import Item

_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([!-/:-@\[-`{-~bfnrt]))")
"""Those of JSON, and a sign that Markdown or TeX would take for its own."""
_SIGNS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_TEXTS: Final = frozenset({".json", ".jsonl", ".html", ".md", ".yaml", ".csv", ".tex", ".svg", ".txt"})
_DEEPEST: Final = 3
"""Times that escapes are looked for again: JSON in a string of JSON, on a page."""
_APART: Final = "\n\0\n"
"""Between two cells: nothing that is looked for goes over it."""


def decoded_lines(item: Item) -> Iterator[tuple[int, bytes]]:
    r"""The lines of a text that hold escapes of JSON, Markdown or HTML, by number from 1, each time with one layer less.

    An escape can hide the border of a word: in `\nhf_...` the token is a part of the word `nhf_...`.
    """
    if Path(item.path).suffix not in _TEXTS:
        return
    content = item.source if isinstance(item.source, bytes) else item.source.read_bytes()
    for number, line in enumerate(content.split(b"\n"), start=1):
        if b"\\" in line or b"&" in line:
            for text in layers(line.decode("utf-8", "replace")):
                yield number, text.encode("utf-8", "replace")


def layers(text: str) -> Iterator[str]:
    r"""A text without its escapes, as often as there are any.

    >>> list(layers(r'{"a": "x\\ny &quot;"}'))
    ['{"a": "x\\ny ""}', '{"a": "x\ny ""}']
    >>> list(layers("nothing"))
    []
    """
    for _ in range(_DEEPEST):
        shorter = html.unescape(_ESCAPE.sub(_unescaped, text))
        if shorter == text:
            return
        text = shorter
        yield text


def _unescaped(found: re.Match[str]) -> str:
    code, sign = found.groups()
    return chr(int(code, 16)) if code else _SIGNS.get(sign, sign)


def rows(item: Item) -> Iterator[bytes]:
    """The rows of a table: the texts in its cells as they are, each after its column's name or its key."""
    from pyarrow import BufferReader
    from pyarrow.parquet import ParquetFile

    source = BufferReader(item.source) if isinstance(item.source, bytes) else item.source
    with ParquetFile(source) as table:
        for batch in table.iter_batches():
            for row in batch.to_pylist():
                yield _APART.join(_words(row)).encode("utf-8", "replace")


def _words(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _words(inner, str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            # A map comes as pairs of key and value.
            pair = isinstance(inner, tuple) and len(inner) == 2 and isinstance(inner[0], str)
            yield from _words(inner[1], inner[0]) if pair else _words(inner, key)
    elif isinstance(value, str | bytes):
        text = value if isinstance(value, str) else value.decode("utf-8", "replace")
        yield f"{key}: {text}" if key else text
