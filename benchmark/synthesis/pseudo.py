"""Pseudo-queries cut from the text, which need no language model.

A sentence or a span of it as the query and the chunk, mostly without that sentence, as the positive (the inverse
cloze task, Lee et al. 2019; Contriever's crops, Izacard et al. 2022); a heading and the text under it; a sentence
with an acronym spelt out or an expansion abbreviated. A share of them begins with the document's title: a model that
is never shown titles in queries unlearns them.
"""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from benchmark.records import Chunk
from benchmark.specs import GenerateSpec
from benchmark.synthesis.acronyms import find_acronyms, swapped
from benchmark.synthesis.draft import Draft, seeded, words_of

REMOVED_SHARE = 0.7
"""Share of the pseudo-queries whose sentence is removed from the positive."""
_SPAN = (4, 12)
_SENTENCE = (6, 45)
_LEFT = 8
"""Words that must be left in a positive whose sentence was removed."""
_BLOCK = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*+•|#>]|\d+[.)]\s))")
_END = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[A-Z0-9])")
_ABBREVIATED = re.compile(
    r"\b(?:[A-Z]|e\.g|i\.e|cf|vs|etc|al|Dr|Mr|Mrs|Ms|Prof|No|Nos|Fig|Figs|Eq|Sec|Art|Inc|Ltd|St)\.$"
)
_DEFINED = re.compile(r"\([A-Z][A-Za-z&-]{1,8}\)")
_MARKUP = re.compile(r"^\s*(?:[-*+•>]\s+|#+\s+|\d+[.)]\s+)+|[*`]+")


class Sentence(NamedTuple):
    """A sentence of a text: where it stands, and its words without line breaks and list marks."""

    start: int
    end: int
    text: str


def sentences(text: str) -> list[Sentence]:
    """The sentences of a text that read as language: 6 to 45 words, mostly letters, no table row."""
    found = []
    for block_start, block_end in _between(_BLOCK, text, 0, len(text)):
        start = block_start
        for _, end in _between(_END, text, block_start, block_end):
            raw = text[start:end]
            if _ABBREVIATED.search(raw) and end < block_end:
                continue
            clean = " ".join(_MARKUP.sub("", raw).split())
            if _reads_as_language(clean):
                found.append(Sentence(start, end, clean))
            start = end
    return found


def _between(pattern: re.Pattern[str], text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The stretches of `text[start:end]` between the matches of a pattern."""
    here = start
    for match in pattern.finditer(text, start, end):
        yield here, match.start()
        here = match.end()
    yield here, end


def _reads_as_language(text: str) -> bool:
    letters = sum(character.isalpha() or character == " " for character in text)
    return _SENTENCE[0] <= len(text.split()) <= _SENTENCE[1] and letters >= 0.75 * len(text) and text.count("|") < 2


def pseudo_drafts(chunks: Sequence[Chunk], spec: GenerateSpec, seed: int) -> list[Draft]:
    """Up to `pseudo_queries_per_chunk` queries for each chunk, in the order of the chunks."""
    wanted = spec.pseudo_queries_per_chunk
    if wanted == 0:
        return []
    acronyms = find_acronyms(chunk.text for chunk in chunks)
    headings = _heading_owners(chunks)
    drafts = []
    for number, chunk in enumerate(chunks):
        rng = seeded(seed, "pseudo", chunk.id)
        own = _Cutter(number, chunk, rng, spec.title_share).drafts(headings.get(number), acronyms)
        drafts += own[:wanted]
    return drafts


def _heading_owners(chunks: Sequence[Chunk]) -> dict[int, str]:
    """Chunk -> its heading, for the first chunk under each heading; the title where a document has no headings."""
    owners: dict[int, str] = {}
    seen = set()
    for number, chunk in enumerate(chunks):
        words = chunk.headings[-1] if chunk.headings else chunk.title
        place = (chunk.document, chunk.headings)
        if words and place not in seen:
            owners[number] = words
        seen.add(place)
    return owners


class _Cutter:
    """Cuts the pseudo-queries of one chunk."""

    def __init__(self, number: int, chunk: Chunk, rng: random.Random, title_share: float) -> None:
        self._number, self._chunk, self._rng, self._title_share = number, chunk, rng, title_share

    def drafts(self, heading: str | None, acronyms: Mapping[str, str]) -> list[Draft]:
        """The heading, one sentence with an acronym swapped, then sentences and spans in turn."""
        found = []
        if heading is not None:
            # The text alone is the positive: with its heading the pair would teach nothing.
            found.append(Draft(self._titled(heading), self._number, "heading", self._chunk.text))
        rest = sentences(self._chunk.text)
        self._rng.shuffle(rest)
        for sentence in rest:
            other = swapped(self._span(sentence), acronyms)
            # Where a term is being defined, both forms stand side by side.
            if other is not None and not _DEFINED.search(sentence.text):
                found.append(Draft(self._titled(other), self._number, "acronym", self._positive(sentence)))
                rest.remove(sentence)
                break
        first = self._rng.random() < 0.5
        for turn, sentence in enumerate(rest):
            whole = (turn % 2 == 0) == first
            text = self._titled(sentence.text if whole else self._span(sentence))
            found.append(Draft(text, self._number, "sentence" if whole else "span", self._positive(sentence)))
        return found

    def _span(self, sentence: Sentence) -> str:
        words = sentence.text.split()
        length = min(self._rng.randint(*_SPAN), len(words))
        start = self._rng.randint(0, len(words) - length)
        return " ".join(words[start : start + length]).strip(" ,.;:()[]\"'“”")

    def _titled(self, text: str) -> str:
        title = self._chunk.title
        wanted = self._rng.random() < self._title_share
        return f"{title}: {text}" if wanted and title and title.lower() not in text.lower() else text

    def _positive(self, sentence: Sentence) -> str:
        chunk = self._chunk
        wanted = self._rng.random() < REMOVED_SHARE
        left = (chunk.text[: sentence.start].rstrip() + " " + chunk.text[sentence.end :].lstrip()).strip()
        if not wanted or len(words_of(left)) < _LEFT:
            return chunk.full_text
        return f"{chunk.heading} {left}".strip()
