"""Phrases that recur in many texts, ranked by C-value (Frantzi, Ananiadou and Mima, Int. J. Digit. Libr. 3, 2000)."""

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import log2
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.synthesis.language import likeliest_small_words

TOKEN = re.compile(r"[^\W_]+(?:[-‐‑][^\W_]+)*|\n\s*\n|[^\w\s]|_")
"""A word with its hyphens, or something that no phrase reaches across."""
PART = re.compile(r"[^\W_]+")
LONGEST: Final = 4
"""Words in a phrase; a hyphenated word is one."""
_MOST_CANDIDATES: Final = 20_000
_BOUND_SHARE: Final = 0.3
"""A phrase with a small word inside ("event of default") must make up this share of what its rarer end occurs in."""

Ints = NDArray[np.integer[Any]]
Phrase = tuple[str, ...]


def c_values(counts: Mapping[Phrase, int]) -> dict[Phrase, float]:
    """The C-value of each phrase, those of 0 and less left out.

    log2(length) * (count - mean count of the longer phrases around it); the length counts the parts of hyphenated
    words.

    Args:
        counts: Phrase -> how often it occurs, inside longer ones too; no phrase of one unhyphenated word.

    >>> c_values({("soft", "contact", "lens"): 3, ("contact", "lens"): 5, ("soft", "contact"): 3})
    {('soft', 'contact', 'lens'): 4.754888, ('contact', 'lens'): 2.0}
    """
    inside: Counter[Phrase] = Counter()  # how often it stands inside longer phrases, each place counted once
    around: Counter[Phrase] = Counter()  # how many longer phrases it stands in
    values = {}
    for phrase in sorted(counts, key=len, reverse=True):
        count = counts[phrase]
        length = sum(word.count("-") + 1 for word in phrase)
        value = round(log2(length) * (count - inside[phrase] / max(1, around[phrase])), 6)
        if value <= 0:
            continue  # no term, so that what stands inside it stands inside a longer one, which has counted
        values[phrase] = value
        parts = {phrase[i:j] for i in range(len(phrase)) for j in range(i + 1, len(phrase) + 1)} - {phrase}
        for part in parts & counts.keys():
            inside[part] += count - inside[phrase]
            around[part] += 1
    return values


def frequent_phrases(texts: Sequence[str]) -> dict[str, float]:
    """Phrase (singular, small letters) -> C-value, the highest first.

    Phrases of 2 to 4 words, or of one with hyphens, that stand in two texts or more and neither begin nor end with a
    small word or a number. Of the many of a large corpus, the 20,000 or so that occur most often are ranked.
    """
    tokens = _read(texts)
    found: list[_Counted] = list(_counted(tokens))
    every = np.sort(np.concatenate([part.counts for part in found]))[::-1]
    fewest = int(every[_MOST_CANDIDATES]) if len(every) > _MOST_CANDIDATES else 0
    counts: dict[Phrase, int] = {}
    for part in found:
        for place in np.flatnonzero(part.counts >= fewest):
            start = int(part.starts[place])
            phrase = tuple(tokens.words[number] for number in tokens.numbers[start : start + part.length])
            counts[phrase] = int(part.counts[place])
    values = c_values(counts)
    order = sorted(values, key=lambda phrase: (-values[phrase], phrase))
    return {" ".join(phrase): values[phrase] for phrase in order}


class _Tokens(NamedTuple):
    """The tokens of all texts in one row; number 0 is a break.

    Attributes:
        numbers: A token's number, shape (n_tokens,).
        texts: A token's text, shape (n_tokens,); never falling.
        words: Number -> the word, singular and in small letters.
        small: Whether a number is a small word's, shape (n_words,).
        fit: Whether it may stand at a phrase's end, shape (n_words,).
    """

    numbers: Ints
    texts: Ints
    words: list[str]
    small: NDArray[np.bool_]
    fit: NDArray[np.bool_]


class _Counted(NamedTuple):
    """Phrases of one length: where each first starts, and how often it occurs."""

    length: int
    starts: Ints
    counts: Ints


class _Numbers(dict[str, int]):
    """Token -> number of its folded word, given out as they come."""

    def __init__(self) -> None:
        self.words = [""]
        self._known: dict[str, int] = {}

    def __missing__(self, token: str) -> int:
        number = 0
        if token[0].isalnum():
            word = "-".join(folded(token))
            number = self._known.setdefault(word, len(self.words))
            if number == len(self.words):
                self.words.append(word)
        self[token] = number
        return number


def _read(texts: Sequence[str]) -> _Tokens:
    numbers = _Numbers()
    row = array("i")
    sizes = array("i")
    for text in texts:
        before = len(row)
        row.extend(map(numbers.__getitem__, TOKEN.findall(text)))
        row.append(0)
        sizes.append(len(row) - before)
    every = np.array(row, dtype=np.int32)
    owners = np.repeat(np.arange(len(texts), dtype=np.int32), np.array(sizes, dtype=np.int64))
    counts = np.bincount(every, minlength=len(numbers.words))
    spelt: Counter[str] = Counter()
    for token, number in numbers.items():
        spelt[token.lower()] = int(counts[number])
    small_words = likeliest_small_words(spelt)
    small = np.zeros(len(numbers.words), dtype=bool)
    for token, number in numbers.items():
        small[number] |= token.lower() in small_words
    fit = np.array([is_word(word) for word in numbers.words], dtype=bool)
    return _Tokens(every, owners, numbers.words, small, fit & ~small)


def is_word(token: str) -> bool:
    """Whether a token has two characters and a letter.

    >>> is_word("2a-7"), is_word("2020"), is_word("a")
    (True, False, False)
    """
    return len(token) > 1 and token[0].isalnum() and any(character.isalpha() for character in token)


def _counted(tokens: _Tokens) -> Iterator[_Counted]:
    """Candidates by length; a longer phrase recurs only where its two shorter ones do, so the others are pruned."""
    numbers = tokens.numbers
    frequency = np.bincount(numbers, minlength=len(tokens.words))
    frequency[0] = 0
    level, size = _recurring(numbers, numbers != 0, tokens.texts)
    hyphened = np.fromiter(("-" in word for word in tokens.words), dtype=bool, count=len(tokens.words))
    yield _candidates(1, level, size, hyphened[numbers] & tokens.fit[numbers])
    small = tokens.small[numbers]
    for length in range(2, LONGEST + 1):
        left, right = level[:-1], level[1:]
        there = (left >= 0) & (right >= 0)
        if length == 2:
            there &= ~(small[:-1] & small[1:])  # two small words in a row are inside no term
        level, size = _recurring(left.astype(np.int64) * size + right, there, tokens.texts[: len(left)])
        first, last = numbers[: len(level)], numbers[length - 1 :]
        fit = tokens.fit[first] & tokens.fit[last]
        for inner in range(1, length - 1):
            rarer = np.minimum(frequency[first], frequency[last])
            occurring = np.where(level >= 0, np.bincount(level[level >= 0], minlength=1)[level], 0)
            fit &= ~small[inner : inner + len(level)] | (occurring >= _BOUND_SHARE * rarer)
        yield _candidates(length, level, size, fit)


def _recurring(keys: Ints, there: NDArray[np.bool_], texts: Ints) -> tuple[Ints, int]:
    """Number the keys that stand in two texts or more.

    Args:
        keys: A key for each place, shape (n_places,).
        there: Which places have one, shape (n_places,).
        texts: The text of each place, shape (n_places,).

    Returns:
        A number for each place, -1 where there is none, shape (n_places,); and how many numbers.
    """
    places = np.flatnonzero(there)
    # Stable, so that the places of one key stay in the order of their texts.
    places = places[np.argsort(keys[places], kind="stable")]
    level = np.full(len(keys), -1, dtype=np.int32)
    if not len(places):
        return level, 0
    starting = np.flatnonzero(np.concatenate([[True], np.diff(keys[places]) != 0]))
    ending = np.append(starting[1:], len(places)) - 1
    kept = texts[places[starting]] != texts[places[ending]]
    numbers = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)
    level[places] = np.repeat(numbers, ending - starting + 1)
    return level, int(kept.sum())


def _candidates(length: int, level: Ints, size: int, fit: NDArray[np.bool_]) -> _Counted:
    """The phrases of one length that may be terms."""
    places = np.flatnonzero((level >= 0) & fit)
    starts = np.full(size, -1, dtype=np.int64)
    starts[level[places][::-1]] = places[::-1]
    counts = np.bincount(level[places], minlength=size)
    kept = counts > 0
    return _Counted(length, starts[kept], counts[kept])


def folded(text: str) -> Phrase:
    """The words of a term in small letters and the singular.

    >>> folded("Pass-through Certificates")
    ('pass', 'through', 'certificate')
    """
    return tuple(singular(word) for word in PART.findall(text.lower()))


def singular(word: str) -> str:
    """An English plural's singular, as far as its letters tell; both forms of other words fold alike.

    >>> [singular(word) for word in ("loans", "losses", "policies", "basis", "vpcs")]
    ['loan', 'loss', 'policy', 'basis', 'vpc']
    """
    if len(word) < 3 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("sses", "xes", "ches", "shes")) else word[:-1]
