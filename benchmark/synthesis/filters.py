"""Rules that read a query alone, or against its passage and the test questions; the cheapest come first.

The hand-made test questions are read for one purpose only: to drop what resembles them.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from benchmark.records import Chunk
from benchmark.synthesis.draft import Draft, Dropped, words_of

_LENGTH = {"llm": (3, 32), "heading": (1, 40), "acronym": (3, 60), "sentence": (4, 70), "span": (3, 40)}
"""Fewest and most words of a query, the title in front included."""
_COPIED_WORDS = 10
_COPIED_SHARE = 0.75
_REPEATED_SHARE = 0.4
_LEAK_SHARE = 0.5
_LEAK_NGRAM = 3
_DEICTIC = re.compile(
    r"\b(?:(?:this|these|the (?:above|given|following|provided|preceding|previous|present|current))"
    r" (?:document|passage|text|article|section|chapter|paper|study|paragraph|excerpt|page|table|figure|information"
    r"|sentences?|statements?|questions?|answers?|data|context|content|story|author)s?"
    r"|the (?:passage|text|article|excerpt|paragraph|author|authors|story|sentence|question|answer)"
    r"|(?:text|passage|article) (?:above|below)|according to the (?:document|paper|study|report|data)"
    r"|of the following|mentioned above|described above|in this (?:case|example|scenario)|smollm\w*)\b",
    re.IGNORECASE,
)  # fmt: skip

Rule = Callable[[Draft, Chunk], float | None]


def apply_rules(
    drafts: Sequence[Draft], chunks: Sequence[Chunk], test_questions: Iterable[str]
) -> tuple[list[Draft], list[Dropped]]:
    """Keep the drafts that no rule objects to; each dropped one says which rule did, and at which figure.

    Args:
        drafts: Queries in any order; the order is kept.
        chunks: The corpus that `Draft.chunk` counts in.
        test_questions: The hand-made questions, for the leak check only.
    """
    leak = LeakCheck(test_questions)
    rules: list[tuple[str, Rule]] = [
        ("length", _length),
        ("deictic", _deictic),
        ("repetition", _repetition),
        ("copied_span", _copied),
        ("leak", lambda draft, _: leak(draft.text)),
    ]
    kept, dropped = [], []
    seen: set[str] = set()
    for draft in drafts:
        checked = ((name, rule(draft, chunks[draft.chunk])) for name, rule in rules)
        objection = next(((name, score) for name, score in checked if score is not None), None)
        if objection is None and (normal := _normal(draft.text)) not in seen:
            seen.add(normal)
            kept.append(draft)
        else:
            name, score = objection or ("duplicate", 1.0)
            dropped.append(Dropped(draft, name, round(score, 4)))
    return kept, dropped


def _length(draft: Draft, _: Chunk) -> float | None:
    fewest, most = _LENGTH[draft.source]
    count = len(words_of(draft.text))
    return None if fewest <= count <= most else float(count)


def _deictic(draft: Draft, _: Chunk) -> float | None:
    """Questions about the passage as such; what was cut from a text may well speak of "the following table"."""
    return 1.0 if draft.source == "llm" and _DEICTIC.search(draft.text) else None


def _repetition(draft: Draft, _: Chunk) -> float | None:
    """A small model that has begun to go round in circles: the same words over and over."""
    words = words_of(draft.text)
    if draft.source != "llm" or len(words) < 6:
        return None
    pairs = Counter(pairwise(words))
    repeated = 1 - len(pairs) / (len(words) - 1)
    return repeated if repeated >= _REPEATED_SHARE or max(pairs.values()) >= 3 else None


def _copied(draft: Draft, chunk: Chunk) -> float | None:
    """A question that repeats a long stretch of its passage word for word teaches matching of words alone."""
    if draft.source != "llm":
        return None
    words = words_of(draft.text)
    run = longest_run(words, words_of(chunk.text))
    return float(run) if run >= _COPIED_WORDS and run >= _COPIED_SHARE * len(words) else None


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


class LeakCheck:
    """Finds queries that resemble a test question: the same text, or half of the three-word sequences shared."""

    def __init__(self, test_questions: Iterable[str]) -> None:
        self._texts: set[str] = set()
        self._owners: dict[tuple[str, ...], list[int]] = {}
        self._sizes: list[int] = []
        for text in test_questions:
            self._texts.add(_normal(text))
            grams = _ngrams(text)
            for gram in sorted(grams):
                self._owners.setdefault(gram, []).append(len(self._sizes))
            self._sizes.append(len(grams))

    def __call__(self, text: str) -> float | None:
        """How much of the closest test question is in the text (0.5 to 1), or None under a half."""
        if _normal(text) in self._texts:
            return 1.0
        grams = _ngrams(text)
        shared = Counter(owner for gram in grams for owner in self._owners.get(gram, ()))
        # Against the shorter of the two, so that a short question inside a long one is found as well.
        share = max((count / min(len(grams), self._sizes[owner]) for owner, count in shared.items()), default=0.0)
        return share if share >= _LEAK_SHARE else None


def _normal(text: str) -> str:
    return " ".join(words_of(unicodedata.normalize("NFKC", text)))


def _ngrams(text: str) -> set[tuple[str, ...]]:
    words = words_of(unicodedata.normalize("NFKC", text))
    return {tuple(words[i : i + _LEAK_NGRAM]) for i in range(len(words) - _LEAK_NGRAM + 1)}
