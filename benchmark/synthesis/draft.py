"""A query in the making, and the seeded randomness that every step of the stage draws from."""

import hashlib
import random
import re
from dataclasses import dataclass
from typing import Literal

Origin = Literal["llm", "imported", "heading", "acronym", "sentence", "span", "lexical"]
ORIGINS: tuple[Origin, ...] = ("llm", "imported", "heading", "acronym", "sentence", "span", "lexical")
PEOPLE_LIKE: frozenset[Origin] = frozenset({"llm", "imported"})
"""Origins whose queries are questions about the passage, not cuts of it."""


@dataclass(frozen=True)
class Draft:
    """A query and the chunk that it came from.

    Attributes:
        text: The query.
        chunk: Position of its chunk in the corpus.
        origin: How it was made.
        positive: The text that it is trained to find: the chunk's, sometimes with the query's sentence removed.
        type: What was asked for ("question", "keywords", ...); empty for cuts of the text.
        persona: In whose name; empty where nobody was named.
        difficulty: "easy", "medium", "hard", or empty.
        answer: The answer that came with it; empty where there was none.
    """

    text: str
    chunk: int
    origin: Origin
    positive: str
    type: str = ""
    persona: str = ""
    difficulty: str = ""
    answer: str = ""


@dataclass(frozen=True)
class Dropped:
    """A query that a rule removed.

    Attributes:
        draft: The query.
        rule: The rule's name, as in the funnel.
        score: What the rule looked at (a share, a similarity, a rank), where there is such a figure.
    """

    draft: Draft
    rule: str
    score: float | None = None


def seeded(seed: int, *words: str) -> random.Random:
    """Random numbers that depend on the seed and the words alone."""
    digest = hashlib.sha256("\x1f".join((str(seed), *words)).encode("utf-8", "surrogatepass")).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))  # noqa: S311 (sampling, no secret)


_WORD = re.compile(r"[^\W_]+(?:['’\-.][^\W_]+)*")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case; hyphens, apostrophes and decimal points stay inside a word.

    >>> words_of("A 2.5-year note (the issuer's).")
    ['a', '2.5-year', 'note', 'the', "issuer's"]
    """
    return _WORD.findall(text.lower())
