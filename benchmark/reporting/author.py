"""The author's own places in a report: what stands there outlives every new making of the report, byte for byte.

A place begins with the line `<!-- author: NAME -->` and ends with `<!-- /author -->`. Whatever cannot be carried over (a
place that is not closed, words written outside of the places) is kept in a copy of the whole file, so that nothing that
a person wrote is ever lost.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from benchmark.files import hash_text, shown, write_bytes

PLACES: Final = ("summary", "discussion", "conclusion")
"""The places that every report has."""
_OPENS: Final = re.compile(r"<!-- author: ([a-z0-9][a-z0-9 _-]*) -->")
_CLOSES: Final = "<!-- /author -->"
_LIKE: Final = re.compile(r"<!--\s*/?\s*author\s*(:|-->)", re.IGNORECASE)
_STAMP: Final = re.compile(r"<!-- made: ([0-9a-f]{64}) -->")


@dataclass(frozen=True)
class Written:
    """What a person has written into a report.

    Attributes:
        places: Name -> text, with its line ends as they are.
        problem: Why something beyond the places has to be kept, in a few words; empty where nothing has.
        raw: The whole file; None where there was none.
    """

    places: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    raw: bytes | None = None


class _Parsed(NamedTuple):
    """A report taken apart: the places, what stands outside of them, its stamp, and the first broken mark."""

    places: dict[str, str]
    outside: str
    stamp: str
    problem: str


def read_written(path: Path) -> Written:
    """What stands in the author's places of a report, and whether there is more that must not be lost.

    Args:
        path: Of the report; it need not be there.
    """
    if not path.is_file():
        return Written()
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Written({}, "it is not UTF-8", raw)
    if "\0" in text:
        return Written({}, "it holds NUL bytes", raw)
    found = _parsed(text)
    problem = found.problem
    if not problem and found.stamp and found.stamp != hash_text(found.outside):
        problem = "it was changed outside of the author's places"
    if not problem and not found.stamp and any(words.strip() for words in found.places.values()):
        problem = (
            "its last line (<!-- made: ... -->) is missing, so changes outside of the author's places would not show"
        )
    return Written(found.places, problem, raw)


def _parsed(text: str) -> _Parsed:
    """Take a report apart; a place whose marks are broken is none, and is told."""
    places: dict[str, str] = {}
    outside: list[str] = []
    stamp, problem, name, spoiled = "", "", "", False
    inside: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        bare = line.strip()
        opens, made = _OPENS.fullmatch(bare), _STAMP.fullmatch(bare)
        told = _wrong(bare, opens[1] if opens else "", name, places)
        if told:
            problem, spoiled = problem or f"line {number}: {told}", True
        if opens and not told:
            name, inside, spoiled = opens[1], [], False
            outside.append(bare)
        elif bare == _CLOSES and name:
            if not spoiled:
                places[name] = "".join(f"{part}\n" for part in inside)
            name = ""
            outside.append(bare)
        elif name:
            inside.append(line)
        elif made:
            stamp = made[1]
        else:
            outside.append(line.removesuffix("\r"))
    if name:
        problem = problem or f"the place '{name}' is not closed with {_CLOSES}"
    return _Parsed(places, "\n".join(outside), stamp, problem)


def _wrong(bare: str, opened: str, name: str, places: Mapping[str, str]) -> str:
    """What is wrong with a line as a mark; empty where it is none, or a good one."""
    if opened:
        if name:
            return f"the place '{opened}' begins before '{name}' is closed"
        return f"a second place '{opened}'" if opened in places else ""
    if bare == _CLOSES:
        return "" if name else f"{_CLOSES} without a place"
    return f"'{bare[:60]}' is no mark of a place" if _LIKE.match(bare) else ""


# --- writing --------------------------------------------------------------------------------------------------------


def place(name: str, written: Mapping[str, str]) -> str:
    """A place with its marks and with what stands in it; an empty line where nothing does."""
    return f"<!-- author: {name} -->\n{written.get(name, chr(10))}{_CLOSES}"


def others(written: Mapping[str, str]) -> list[str]:
    """Names of places that reports no longer have (renamed, or of another version) and in which something stands."""
    return [name for name, words in written.items() if name not in PLACES and words.strip()]


def stamped(text: str) -> str:
    """A report with a last line by which the next making knows whether anything outside of the places was changed."""
    parsed = _parsed(text)
    return f"{text}<!-- made: {hash_text(parsed.outside)} -->\n"


def write_report(path: Path, make: Callable[[Mapping[str, str]], str]) -> list[str]:
    """Write a report anew with what the author has written into it.

    First a copy of the old one where something could not be carried over, then the new one, each in one step: killed
    anywhere, every word of the author's stands in a file.

    Args:
        path: Of the report.
        make: From the places to the report's text, which holds them.

    Returns:
        What to tell.
    """
    written, notes = read_written(path), []
    text = stamped(make(written.places))
    if written.raw is not None and written.problem:
        copy = _copy(path, written.raw)
        notes.append(f"{shown(path)}: {written.problem}; the report as it was is kept in {copy.name}")
    write_bytes(path, text.encode())
    kept = others(written.places)
    if kept:
        notes.append(f"{shown(path)}: no place is called {', '.join(kept)}; what stands there is kept at its end")
    return notes


def _copy(path: Path, raw: bytes) -> Path:
    """A copy under the first free name; the same bytes are kept once."""
    number = 1
    while True:
        copy = path.with_name(f"{path.stem}.kept-{number}{path.suffix}")
        if not copy.exists():
            write_bytes(copy, raw)
            return copy
        if copy.read_bytes() == raw:
            return copy
        number += 1
