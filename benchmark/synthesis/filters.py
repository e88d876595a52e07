"""Rules that read a query's text alone or against its own passage: the cheapest filters, asked first.

Which rule concerns which origin:

- length: all, with bounds of their own.
- language, deictic, repetition: questions (`PEOPLE_LIKE`). What was cut from a text may well speak of "the following
  table" or quote another language; it is training material as it stands.
- copied_span: questions that a language model wrote here. It was told to use words of its own, and a copied sentence
  shows that it did not. Imported questions are left alone: a data set shows how its askers ask, and people who quote
  a clause to find it are what a search engine meets; whether such a query leads home is the round trip's business.
- duplicate: all; the first of several stays.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmark.files import Json
from benchmark.records import Chunk
from benchmark.specs import Rule
from benchmark.synthesis.draft import PEOPLE_LIKE, Draft, Origin, stretches, word_count, words_of
from benchmark.synthesis.twins import Twin

Check = Callable[[Draft, Chunk], float | None]
"""A rule: the figure that it objects to, or None."""
LanguageCheck = Callable[[str], float | None]
"""A figure for a text in another language than the domain's, or None for one that is fine or too short to tell."""


@dataclass(frozen=True)
class Verdict:
    """What a rule says about a sequence of queries.

    Attributes:
        objections: Number of each query that it objects to -> the figure that it objects to, or the earlier query
            that this one repeats.
        facts: The rule's own figures, for the manifest.
        relaxed: Where too little would have survived: which setting went from which value to which (`setting`,
            `from`, `to`); empty where nothing was relaxed.
        notes: Lines for the user.
    """

    objections: Mapping[int, float | Twin]
    facts: Json = field(default_factory=dict)
    relaxed: Json = field(default_factory=dict)
    notes: tuple[str, ...] = ()


_LENGTH: Mapping[Origin, tuple[int, int]] = {
    "llm": (3, 32), "imported": (2, 64), "heading": (1, 40), "acronym": (3, 60), "sentence": (4, 70), "span": (3, 40),
    "lexical": (2, 60),
}  # fmt: skip
"""Fewest and most words of a query, the title in front included."""
_LENGTH_BY_TYPE: Mapping[str, tuple[int, int]] = {"keywords": (2, 12)}
"""The same for written questions of a type."""
_COPIED_WORDS = 10
_COPIED_SHARE = 0.75
_REPEATED_SHARE = 0.4
_DEICTIC = re.compile(
    r"\b(?:(?:this|these|the (?:above|given|following|provided|preceding|previous|present|current))"
    r" (?:document|passage|text|article|section|chapter|paper|study|paragraph|excerpt|page|table|figure|information"
    r"|sentences?|statements?|questions?|answers?|data|context|content|story|author)s?"
    r"|the (?:passage|text|article|excerpt|paragraph|author|authors|story|sentence|question|answer)"
    r"|(?:text|passage|article) (?:above|below)|according to the (?:document|paper|study|report|data)"
    r"|of the following|mentioned above|described above|in this (?:case|example|scenario)|smollm\w*)\b",
    re.IGNORECASE,
)  # fmt: skip


def text_checks(language: LanguageCheck | None) -> dict[Rule, Check]:
    """The rules that look at one query at a time, in the order in which they are asked.

    Args:
        language: None where the domain's language is not known; the rule is then missing.
    """
    checks: dict[Rule, Check] = {"length": _length}
    if language is not None:
        checks["language"] = lambda draft, _: language(draft.text) if draft.origin in PEOPLE_LIKE else None
    return checks | {"deictic": _deictic, "repetition": _repetition, "copied_span": _copied}


def objections(check: Check, drafts: Sequence[Draft], chunks: Sequence[Chunk]) -> dict[int, float]:
    """Number of each draft that a rule objects to, and the figure that it objects to.

    Args:
        check: The rule.
        drafts: Queries in any order.
        chunks: The corpus that `Draft.chunk` counts in.
    """
    found = ((number, check(draft, chunks[draft.chunk])) for number, draft in enumerate(drafts))
    return {number: score for number, score in found if score is not None}


def exact_duplicates(drafts: Sequence[Draft]) -> dict[int, Twin]:
    """Drafts with the words of an earlier one (case, width and punctuation aside), and that earlier one."""
    first: dict[tuple[str, ...], int] = {}
    twins: dict[int, Twin] = {}
    for number, draft in enumerate(drafts):
        other = first.setdefault(tuple(plain_words(draft.text)), number)
        if other != number:
            twins[number] = Twin(other, 1.0)
    return twins


def plain_words(text: str) -> list[str]:
    """The words of a text, with letters of odd widths made plain (NFKC).

    >>> plain_words("Ｗhat is it?")
    ['what', 'is', 'it']
    """
    return words_of(unicodedata.normalize("NFKC", text))


def _length(draft: Draft, _: Chunk) -> float | None:
    bounds = _LENGTH[draft.origin]
    if draft.origin == "llm":
        bounds = _LENGTH_BY_TYPE.get(draft.type, bounds)
    count = word_count(draft.text)
    return None if bounds[0] <= count <= bounds[1] else float(count)


def _deictic(draft: Draft, _: Chunk) -> float | None:
    """Questions about the passage as such, which nobody asks who has not seen it."""
    return 1.0 if draft.origin in PEOPLE_LIKE and _DEICTIC.search(draft.text) else None


def _repetition(draft: Draft, _: Chunk) -> float | None:
    """A small model that has begun to go round in circles: the same words over and over."""
    if draft.origin not in PEOPLE_LIKE or word_count(draft.text) < 6:
        return None
    pairs = Counter(stretches(words_of(draft.text), 2))
    repeated = 1 - len(pairs) / pairs.total()
    return repeated if repeated >= _REPEATED_SHARE or max(pairs.values()) >= 3 else None


def _copied(draft: Draft, chunk: Chunk) -> float | None:
    """A question that repeats a long stretch of its passage word for word teaches matching of words alone."""
    count = word_count(draft.text)
    if draft.origin != "llm" or count < _COPIED_WORDS:
        return None
    words = words_of(draft.text)
    # Where letters stand for words, two of them count as one.
    run = longest_run(words, words_of(chunk.text)) * count / len(words)
    return run if run >= _COPIED_WORDS and run >= _COPIED_SHARE * count else None


def longest_run(words: Sequence[str], text: Sequence[str]) -> int:
    """The longest stretch of words that stands in both, in words.

    >>> longest_run(["a", "b", "c", "d"], ["x", "b", "c", "y"])
    2
    """
    best = 0
    before = [0] * (len(text) + 1)
    for word in words:
        row = [0] * (len(text) + 1)
        for place, other in enumerate(text, start=1):
            if word == other:
                row[place] = before[place - 1] + 1
                best = max(best, row[place])
        before = row
    return best
