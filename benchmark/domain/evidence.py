"""From evidence to relevant chunks: finding a quote in a document, and the chunks that hold it."""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from functools import cached_property
from typing import NamedTuple

_SHARE = 0.5
_ENOUGH = 200
_SHOWN = 120
_BEFORE = 40
_INVISIBLE = "\u00ad\u200b\u200c\u200d\ufeff"
_FOLDED = re.compile(rf"[{_INVISIBLE}\s]*\s[{_INVISIBLE}\s]*|[{_INVISIBLE}‘’‚‛′“”„‟″«»‐‑‒–—―−…]")
_PLAIN = {
    **dict.fromkeys("‘’‚‛′", "'"),
    **dict.fromkeys("“”„‟″«»", '"'),
    **dict.fromkeys("‐‑‒–—―−", "-"),
    **dict.fromkeys(_INVISIBLE, ""),
    "…": "...",
}


class Span(NamedTuple):
    """Characters of a document's text; the end is exclusive."""

    start: int
    end: int


class Place(NamedTuple):
    """A chunk's span in its document, and the id under which it is in the corpus (another's if it was dropped)."""

    start: int
    end: int
    chunk: str


def relevant(span: Span, places: Iterable[Place]) -> tuple[str, ...]:
    """Chunks that hold a piece of evidence: half of it, or 200 characters of it, or else the largest part.

    Args:
        span: The evidence.
        places: The document's chunks, in order.

    Returns:
        Chunk ids in the order of the text, each once; none if no chunk touches the evidence.
    """
    shares = [(min(span.end, place.end) - max(span.start, place.start), place) for place in places]
    touching = [(overlap, place) for overlap, place in shares if overlap > 0]
    need = min(_SHARE * (span.end - span.start), _ENOUGH)
    chosen = [place for overlap, place in touching if overlap >= need]
    if not chosen and touching:
        chosen = [max(touching, key=lambda pair: pair[0])[1]]
    return tuple(dict.fromkeys(place.chunk for place in chosen))


class Folded(NamedTuple):
    """A text with plain quotes and dashes and single spaces, and the way back to the original's offsets.

    Attributes:
        text: The folded text.
        folded_at: Offsets of the folded text from which on the distance to the original is another, ascending.
        original_at: The original's offset of each.
    """

    text: str
    folded_at: list[int]
    original_at: list[int]

    def original(self, position: int) -> int:
        """The original's offset of a character of the folded text."""
        change = bisect_right(self.folded_at, position) - 1
        return position if change < 0 else self.original_at[change] + position - self.folded_at[change]


def fold(text: str) -> Folded:
    """Typographic quotes, dashes and ellipses made plain, runs of white space one space, soft hyphens gone.

    >>> fold("a  “b”").text
    'a "b"'
    """
    parts: list[str] = []
    folded_at: list[int] = []
    original_at: list[int] = []
    length = done = 0
    for match in _FOLDED.finditer(text):
        plain = _PLAIN.get(match[0], " ")
        if plain == match[0]:
            continue
        parts += [text[done : match.start()], plain]
        length += match.start() - done
        folded_at += range(length + 1, length + len(plain))  # the second and third dot of an ellipsis
        original_at += [match.start()] * (len(plain) - 1)
        length += len(plain)
        done = match.end()
        folded_at.append(length)
        original_at.append(done)
    parts.append(text[done:])
    return Folded("".join(parts), folded_at, original_at)


class Searchable:
    """A document's text, in which quotes are looked up."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def _folded(self) -> Folded:
        return fold(self.text)

    def find(self, quote: str) -> list[Span]:
        """Every place of a quote: word for word, or else but for white space, typographic quotes and dashes."""
        wanted = quote.strip()
        exact = [Span(at, at + len(wanted)) for at in _occurrences(wanted, self.text)]
        if exact:
            return exact
        plain = fold(wanted).text.strip()
        if not plain:
            return []
        return [
            Span(self._folded.original(at), self._folded.original(at + len(plain) - 1) + 1)
            for at in _occurrences(plain, self._folded.text)
        ]

    def nearest(self, quote: str) -> str:
        """The passage most like a quote, 120 characters of it from where they part; empty if no word of it occurs.

        The window of as many words that shares the most words is found first, and the best few of those are compared
        by characters.
        """
        words = [match.span() for match in re.finditer(r"\S+", self.text)]
        keys = [_key(self.text[start:end]) for start, end in words]
        wanted = [_key(word) for word in quote.split()]
        width = min(len(wanted), len(words))
        scores = _window_scores(keys, Counter(wanted), width)
        best = sorted(range(len(scores)), key=lambda at: (-scores[at], at))[:8]
        windows = [self.text[words[at][0] : words[at + width - 1][1]] for at in best if scores[at]]
        if not windows:
            return ""
        closest = max(windows, key=lambda window: SequenceMatcher(None, window, quote, autojunk=False).ratio())
        return shorten(_from_difference(" ".join(closest.split()), " ".join(quote.split())))


def _from_difference(passage: str, quote: str) -> str:
    """A passage that begins like a quote, begun a little before the first difference, so that it is seen."""
    pairs = enumerate(zip(passage, quote, strict=False))
    same = next((at for at, (one, other) in pairs if one != other), 0)
    begin = passage.rfind(" ", 0, max(0, same - _BEFORE)) + 1
    return f"…{passage[begin:]}" if begin and len(passage) > _SHOWN else passage


def _occurrences(wanted: str, text: str) -> list[int]:
    found = []
    at = text.find(wanted)
    while at >= 0:
        found.append(at)
        at = text.find(wanted, at + 1)
    return found


def _key(word: str) -> str:
    return "".join(filter(str.isalnum, word.casefold()))


def _window_scores(keys: Sequence[str], wanted: Counter[str], width: int) -> list[int]:
    """For each window of `width` words, how many of the wanted words it holds."""
    inside: Counter[str] = Counter()
    score = 0
    scores = []
    for at, key in enumerate(keys):
        inside[key] += 1
        score += bool(key) and inside[key] <= wanted[key]
        if at >= width:
            gone = keys[at - width]
            score -= bool(gone) and inside[gone] <= wanted[gone]
            inside[gone] -= 1
        if at >= width - 1:
            scores.append(score)
    return scores


def shorten(text: str) -> str:
    r"""One line of at most 120 characters.

    >>> shorten("two\nlines")
    'two lines'
    """
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
