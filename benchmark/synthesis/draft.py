"""A query in the making, and the seeded randomness that every step of the stage draws from."""

import hashlib
import random
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

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


UNSPACED: Final = (
    "\u3005-\u3007\u3041-\u309f\u30a0-\u30ff\u3105-\u312f\u31f0-\u31ff\uff66-\uff9f"  # kana and the like
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
)
"""Scripts that write words without spaces between them, as the inside of a regular expression's [...]."""
_MARKS: Final = "".join(
    chr(code) for code in (*range(0x0300, 0x1E00), 0x3099, 0x309A) if unicodedata.category(chr(code)).startswith("M")
)
"""Accents and vowel signs that follow their letter."""
_LETTERS: Final = rf"[^\W_{UNSPACED}]+(?:[{_MARKS}][^\W_{UNSPACED}]*)*"
_WORD = re.compile(rf"{_LETTERS}(?:['’\-.]{_LETTERS})*|(?=\w)[{UNSPACED}][{_MARKS}]*")
_UNSPACED_LETTER = re.compile(rf"(?=\w)[{UNSPACED}]")
_LETTERS_OF_A_WORD: Final = 2
"""A word's length in scripts without spaces, roughly; a word of Chinese has 1.5 to 2 characters."""


def words_of(text: str) -> list[str]:
    """The words of a text in lower case; hyphens, apostrophes and decimal points stay inside a word.

    Where words are written without spaces (Chinese, Japanese, Thai, ...), each letter counts as one.

    >>> words_of("A 2.5-year note (the issuer's).")
    ['a', '2.5-year', 'note', 'the', "issuer's"]
    >>> words_of("EC2の料金")
    ['ec2', 'の', '料', '金']
    """
    return _WORD.findall(text.lower())


def unspaced_letters(text: str) -> int:
    """How many letters of a text belong to scripts that write words without spaces."""
    return 0 if text.isascii() else len(_UNSPACED_LETTER.findall(text))


def word_count(text: str) -> int:
    """How long a text is in words; two letters of a script without spaces make one.

    >>> word_count("A note"), word_count("EC2の料金"), word_count("料")
    (2, 3, 1)
    """
    letters = unspaced_letters(text)
    return len(words_of(text)) - letters + -(-letters // _LETTERS_OF_A_WORD)


def stretches(words: Sequence[str], length: int) -> list[tuple[str, ...]]:
    """Everything of so many words in a row; two letters of a script without spaces make one.

    >>> stretches(["a", "b", "c"], 2)
    [('a', 'b'), ('b', 'c')]
    >>> stretches(list("停泊费用"), 1)
    [('停', '泊'), ('泊', '费'), ('费', '用')]
    """
    sizes = [1 if unspaced_letters(word) else _LETTERS_OF_A_WORD for word in words]
    wanted = length * _LETTERS_OF_A_WORD
    found = []
    end = held = 0
    for start, size in enumerate(sizes):
        while held < wanted and end < len(words):
            held += sizes[end]
            end += 1
        if held < wanted:
            break
        found.append(tuple(words[start:end]))
        held -= size
    return found
