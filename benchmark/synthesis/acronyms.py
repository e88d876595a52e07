"""Acronyms and what they stand for, found in the text (Schwartz and Hearst, PSB 2003)."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from benchmark.synthesis.draft import UNSPACED, unspaced_letters
from benchmark.synthesis.language import small_words

_BRACKET = re.compile(r"\(([A-Z][A-Za-z&-]{1,8})\)")
_BREAK = re.compile(r"[^\w'& -]")
_LONGEST = 200
"""Characters in front of a bracket that are looked at: more than a long form of the most words takes."""
_CAPITALS = re.compile(r"(?<![\w&-])([A-Z][A-Z0-9&]{1,9})s?(?![\w&-])")
_LATIN = re.compile(r"[A-Za-z][A-Za-z&-]+")
_RUN = re.compile(rf"[^\W{UNSPACED}]+|(?=\w)[{UNSPACED}]")
_ROMAN = re.compile(r"[IVX]+")


def find_acronyms(texts: Iterable[str]) -> dict[str, str]:
    """Acronym -> its commonest expansion, for `long form (ABC)` anywhere in the texts; sorted by acronym."""
    seen: dict[str, Counter[str]] = {}
    articles = small_words("ENGLISH")  # "the rule for a protocol (TCP)" is no long form
    for text in texts:
        flat = " ".join(text.split())
        for match in _BRACKET.finditer(flat):
            short = match[1].removesuffix("s") if match[1][:-1].isupper() else match[1]
            before = _BREAK.split(flat[max(0, match.start() - _LONGEST) : match.start()])[-1]
            if sum(letter.isupper() for letter in short) < 2:
                continue
            expansion = long_form(short, before.strip())
            if expansion is not None and expansion.split()[0].lower() not in articles:
                seen.setdefault(short, Counter())[_inside(expansion)] += 1
    return {short: min(counts, key=lambda text: (-counts[text], text)) for short, counts in sorted(seen.items())}


def capitals(text: str) -> list[str]:
    r"""Words of 2 to 8 capitals, in the order of their first place; headings in capitals and Roman numerals left out.

    >>> capitals("GENERAL TERMS\nPart II: the VPCs and EC2 hosts of an AWS account, AWS-wide.")
    ['VPC', 'EC2', 'AWS']
    """
    found: dict[str, None] = {}
    for match in _CAPITALS.finditer(text):
        word = match[1]
        letters = sum(character.isalpha() for character in word)
        line_end = text.find("\n", match.end())
        line = text[text.rfind("\n", 0, match.start()) + 1 : len(text) if line_end < 0 else line_end]
        if 2 <= letters <= 8 and not _ROMAN.fullmatch(word) and not line.isupper():
            found[word] = None
    return list(found)


def _inside(expansion: str) -> str:
    """As it reads inside a sentence: a capital that only the sentence's beginning called for is lowered."""
    return expansion.lower() if expansion[1:].islower() else expansion


def long_form(short: str, before: str) -> str | None:
    """The shortest end of `before` that holds the acronym's letters in order, its first letter beginning a word.

    >>> long_form("PWCE", "The second layer is program-wide credit enhancement")
    'program-wide credit enhancement'
    >>> long_form("ABC", "nothing of the kind") is None
    True
    """
    words = before.split()
    most = min(len(short) + 5, len(short) * 2)
    at = len(before) - 1
    for place in range(len(short) - 1, -1, -1):
        letter = short[place].lower()
        if not letter.isalnum():
            continue
        while at >= 0 and not (before[at].lower() == letter and (place > 0 or at == 0 or not before[at - 1].isalnum())):
            at -= 1
        if at < 0:
            return None
        at -= 1
    found = before[before.rfind(" ", 0, at + 1) + 1 :]
    too_long = len(found.split()) > min(most, len(words))
    return None if too_long or len(found) <= len(short) or short in found.split() else found


class Swapper:
    """Spells acronyms out, and abbreviates what they stand for.

    Args:
        acronyms: Short form -> expansion.

    >>> swapper = Swapper({"CPR": "conditional prepayment rate"})
    >>> swapper.swapped("A rise in CPR hurts.")
    'A rise in conditional prepayment rate hurts.'
    >>> swapper.swapped("The Conditional Prepayment Rate rose.")
    'The CPR rose.'
    """

    def __init__(self, acronyms: Mapping[str, str]) -> None:
        self._acronyms = acronyms
        self._by_first_word: dict[str, list[_Expansion]] = {}
        self._always: list[_Expansion] = []
        """Expansions that begin with no word, which may stand anywhere."""
        for order, (short, expansion) in enumerate(acronyms.items()):
            item = _Expansion(order, short, expansion, _folded(expansion))
            first = _RUN.match(item.folded)
            (self._by_first_word.setdefault(first[0], []) if first else self._always).append(item)

    def swapped(self, text: str) -> str | None:
        """The text with its first acronym spelt out, or its first expansion abbreviated; None where neither occurs."""
        lower = text.lower()
        for word in _LATIN.findall(text):
            if word in self._acronyms and self._acronyms[word].lower() not in lower:
                return re.sub(_standing(word, text), self._acronyms[word].replace("\\", ""), text, count=1)
        for item in self._candidates(text):
            pattern = re.compile(_standing(item.expansion, text), re.IGNORECASE)
            if pattern.search(text) and not re.search(_standing(item.short, text), text):
                return pattern.sub(item.short, text, count=1)
        return None

    def _candidates(self, text: str) -> "list[_Expansion]":
        """Every expansion that may stand in the text, in the order of the acronyms."""
        folded = _folded(text)
        begun = [item for word in set(_RUN.findall(folded)) for item in self._by_first_word.get(word, ())]
        return sorted(item for item in (*begun, *self._always) if item.folded in folded)


class _Expansion(NamedTuple):
    """An acronym and its expansion, as it is written and as letters of either case are compared."""

    order: int
    short: str
    expansion: str
    folded: str


def _standing(words: str, text: str) -> str:
    """A pattern for words that stand alone in a text; letters of a script without spaces may stand next to them."""
    if not unspaced_letters(text):
        return rf"\b{re.escape(words)}\b"
    return rf"(?:\b|(?<=[{UNSPACED}])){re.escape(words)}(?:\b|(?=[{UNSPACED}]))"


def _folded(text: str) -> str:
    # Regular expressions that ignore the case take the Turkish letters for an i.
    return text.replace("İ", "i").replace("ı", "i").casefold()
