"""Acronyms and what they stand for, found in the text (Schwartz and Hearst, PSB 2003)."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

_BRACKET = re.compile(r"\(([A-Z][A-Za-z&-]{1,8})\)")
_BEFORE = re.compile(r"[\w'&-]+(?:[ ][\w'&-]+)*[ ]?$")


def find_acronyms(texts: Iterable[str]) -> dict[str, str]:
    """Acronym -> its commonest expansion, for `long form (ABC)` anywhere in the texts; sorted by acronym."""
    seen: dict[str, Counter[str]] = {}
    for text in texts:
        flat = " ".join(text.split())
        for match in _BRACKET.finditer(flat):
            short = match[1].removesuffix("s") if match[1][:-1].isupper() else match[1]
            before = _BEFORE.search(flat[: match.start()])
            if before is None or sum(letter.isupper() for letter in short) < 2:
                continue
            expansion = long_form(short, before[0].strip())
            if expansion is not None:
                seen.setdefault(short, Counter())[_inside(expansion)] += 1
    return {short: min(counts, key=lambda text: (-counts[text], text)) for short, counts in sorted(seen.items())}


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


def swapped(text: str, acronyms: Mapping[str, str]) -> str | None:
    """The text with its first acronym spelt out, or its first expansion abbreviated; None where neither occurs.

    >>> swapped("A rise in CPR hurts.", {"CPR": "conditional prepayment rate"})
    'A rise in conditional prepayment rate hurts.'
    >>> swapped("The Conditional Prepayment Rate rose.", {"CPR": "conditional prepayment rate"})
    'The CPR rose.'
    """
    for word in re.findall(r"[A-Za-z][A-Za-z&-]+", text):
        if word in acronyms and acronyms[word].lower() not in text.lower():
            return re.sub(rf"\b{re.escape(word)}\b", acronyms[word].replace("\\", ""), text, count=1)
    for short, expansion in acronyms.items():
        pattern = re.compile(rf"\b{re.escape(expansion)}\b", re.IGNORECASE)
        if pattern.search(text) and not re.search(rf"\b{re.escape(short)}\b", text):
            return pattern.sub(short, text, count=1)
    return None
