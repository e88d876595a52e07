"""Pseudo-queries cut from the text, which need no language model.

A sentence or a span of it as the query and the chunk, mostly without that sentence, as the positive (the inverse
cloze task, Lee et al. 2019; Contriever's crops, Izacard et al. 2022); a heading and the text under it; a sentence
with an acronym spelt out or an expansion abbreviated; telling words and the passage that BM25 ranks first for them
(`lexical`). A share of them begins with the document's title: a model that is never shown titles in queries unlearns
them.
"""

import random
import re
import unicodedata
from collections.abc import Iterator, Sequence, Set
from itertools import chain, zip_longest
from typing import Final, NamedTuple

from benchmark.encoders.bm25 import BM25Index
from benchmark.records import Chunk
from benchmark.specs import Pseudo
from benchmark.specs.generate import PseudoKind
from benchmark.synthesis.acronyms import Swapper, find_acronyms
from benchmark.synthesis.draft import UNSPACED, Draft, seeded, unspaced_letters, word_count
from benchmark.synthesis.lexical import LexicalTeacher

REMOVED_SHARE = 0.7
"""Share of the pseudo-queries whose sentence is removed from the positive."""
_IN_ORDER: Final[Set[PseudoKind]] = {"heading", "acronym", "sentence", "span"}
"""Exactly these kinds come in this order, sentences and spans mixed; any other choice of kinds takes turns."""
_SPAN = (4, 12)
_SENTENCE = (6, 45)
_LEFT = 8
"""Words that must be left in a positive whose sentence was removed."""
_BLOCK = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*+•|#>]|\d+[.)]\s))")
_BEGINS_NOTHING: Final = "".join(
    chr(code)
    for code in (*range(0x80, 0x3000), *range(0xA640, 0xAB70))
    if (chr(code).islower() and not 0x10D0 <= code <= 0x10FF)  # Georgian has no capitals in sentences
    or (chr(code).isalnum() and not chr(code).isalpha() and not chr(code).isdecimal())  # footnote marks
)
"""Letters and numbers outside ASCII that no sentence begins with; in scripts without capitals any letter may."""
_STOPS: Final = "。！？｡।॥။።។"
"""Full stops that no space need follow."""
_CLOSING: Final = "」』”’）】》"
_END = re.compile(
    rf"(?<=[.!?؟۔։])[\"'”’)\]»]*\s+(?=[\"'“‘(\[«„‚¿¡]*(?:[A-Z0-9]|[^\W\d_\x00-\x7f{_BEGINS_NOTHING}]))"
    rf"|(?<=[{_STOPS}])(?![{_STOPS}{_CLOSING}])|(?<=[{_STOPS}][{_CLOSING}])(?![{_STOPS}{_CLOSING}])"
)
_ABBREVIATED = re.compile(
    r"\b(?:[A-ZА-ЯЁ]|e\.g|i\.e|cf|vs|etc|al|Dr|Mr|Mrs|Ms|Prof|No|Nos|Fig|Figs|Eq|Sec|Art|Inc|Ltd|St)\.$"
)
_WRAPPED = re.compile(rf"(?<=[{UNSPACED}])[^\S\n]*\n[^\S\n]*(?=[{UNSPACED}])")
_PIECE = re.compile(rf"[{UNSPACED}](?:(?!\w)[{UNSPACED}])*|[^{UNSPACED}]+")
"""A letter of a script without spaces, with its vowel signs; or everything up to the next one."""
_PIECES_OF_A_WORD: Final = 2
_AROUND: Final = " ,.;:()[]\"'“”、。，；：！？（）「」『』《》"
_DEFINED = re.compile(r"\([A-Z][A-Za-z&-]{1,8}\)")
_MARKUP = re.compile(r"^\s*(?:[-*+•>]\s+|#+\s+|\d+[.)]\s+)+|[*`]+")


class Sentence(NamedTuple):
    """A sentence of a text: where it stands, and its words without line breaks and list marks."""

    start: int
    end: int
    text: str


def sentences(text: str) -> list[Sentence]:
    """The sentences of a text that read as language: 6 to 45 words, mostly letters, no table row.

    Of a script without spaces, two letters count as a word.
    """
    found = []
    for block_start, block_end in _between(_BLOCK, text, 0, len(text)):
        start = block_start
        for _, end in _between(_END, text, block_start, block_end):
            raw = text[start:end]
            if _ABBREVIATED.search(raw) and end < block_end:
                continue
            clean = " ".join(_WRAPPED.sub("", _MARKUP.sub("", raw)).split())
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
    letters = sum(
        character.isalpha() or character == " " or unicodedata.category(character).startswith("M") for character in text
    )
    length = len(text.split()) + unspaced_letters(text) // _PIECES_OF_A_WORD
    return _SENTENCE[0] <= length <= _SENTENCE[1] and letters >= 0.75 * len(text) and text.count("|") < 2


def _mostly_unspaced(text: str) -> bool:
    return 2 * unspaced_letters(text) > sum(map(str.isalnum, text))


def pseudo_drafts(
    chunks: Sequence[Chunk],
    spec: Pseudo,
    seed: int,
    excluded: frozenset[int] = frozenset(),
    bm25: BM25Index | None = None,
    language: str = "eng-Latn",
) -> list[Draft]:
    """Up to `per_chunk` queries out of each chunk, in the order of the chunks.

    Args:
        chunks: The corpus.
        spec: How many, which kinds, which share begins with the title.
        seed: For everything that is drawn; what is drawn for a chunk depends on its id alone.
        excluded: Positions of chunks that give no query and are no query's positive.
        bm25: The corpus' index, for `lexical`; made where it is needed and there is none.
        language: The corpus', for `lexical`: ISO 639-3 code and script.
    """
    if spec.per_chunk == 0:
        return []
    kinds = frozenset(spec.kinds)
    acronyms = find_acronyms(chunk.text for number, chunk in enumerate(chunks) if number not in excluded)
    swapper = Swapper(acronyms)
    headings = _heading_owners(chunks)
    teacher = LexicalTeacher(chunks, bm25, language) if "lexical" in kinds else None
    drafts = []
    for number, chunk in enumerate(chunks):
        if number in excluded:
            continue
        cutter = _Cutter(number, chunk, seeded(seed, "pseudo", chunk.id), spec.title_share, kinds)
        own = cutter.drafts(headings.get(number), swapper)
        if teacher is not None:
            own += _lexical(teacher, cutter, chunks, number, spec.per_chunk, seeded(seed, "lexical", chunk.id))
        if kinds != _IN_ORDER:
            own = _in_turns(own, seeded(seed, "kinds", chunk.id))
        drafts += [draft for draft in own if draft.chunk not in excluded][: spec.per_chunk]
    return drafts


def _lexical(
    teacher: LexicalTeacher, cutter: "_Cutter", chunks: Sequence[Chunk], number: int, count: int, rng: random.Random
) -> list[Draft]:
    """Queries of the chunk's telling words; the positive is the chunk that BM25 finds, be it another one."""
    queries = [cutter.titled(query) for query in teacher.queries(number, count, rng)]
    found = [(query, teacher.first(query, number)) for query in queries]
    return [Draft(query, first, "lexical", chunks[first].full_text) for query, first in found if first is not None]


def _in_turns(drafts: Sequence[Draft], rng: random.Random) -> list[Draft]:
    """One draft of each kind, then a second one of each, the kinds in a drawn order."""
    kinds = sorted({draft.origin for draft in drafts})
    rng.shuffle(kinds)
    columns = [[draft for draft in drafts if draft.origin == kind] for kind in kinds]
    return [draft for draft in chain.from_iterable(zip_longest(*columns)) if draft is not None]


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

    def __init__(
        self, number: int, chunk: Chunk, rng: random.Random, title_share: float, kinds: Set[PseudoKind]
    ) -> None:
        self._number, self._chunk, self._rng, self._title_share, self._kinds = number, chunk, rng, title_share, kinds

    def drafts(self, heading: str | None, swapper: Swapper) -> list[Draft]:
        """The heading, one sentence with an acronym swapped, then sentences and spans in turn."""
        found = []
        if heading is not None and "heading" in self._kinds:
            # The text alone is the positive: with its heading the pair would teach nothing.
            found.append(Draft(self.titled(heading), self._number, "heading", self._chunk.text))
        rest = sentences(self._chunk.text)
        self._rng.shuffle(rest)
        if "acronym" in self._kinds:
            found += self._acronym(rest, swapper)
        return found + self._cuts(rest)

    def _acronym(self, rest: list[Sentence], swapper: Swapper) -> list[Draft]:
        """The first sentence in which an acronym can be swapped; it is taken from the rest."""
        for sentence in rest:
            other = swapper.swapped(self._span(sentence))
            # Where a term is being defined, both forms stand side by side.
            if other is not None and not _DEFINED.search(sentence.text):
                rest.remove(sentence)
                return [Draft(self.titled(other), self._number, "acronym", self._positive(sentence))]
        return []

    def _cuts(self, rest: Sequence[Sentence]) -> list[Draft]:
        """Whole sentences and spans of sentences in turn, or the one kind that is wanted."""
        kinds = [kind for kind in ("sentence", "span") if kind in self._kinds]
        if not kinds:
            return []
        first = self._rng.random() < 0.5
        found = []
        for turn, sentence in enumerate(rest):
            whole = (turn % 2 == 0) == first if len(kinds) == 2 else kinds == ["sentence"]
            text = self.titled(sentence.text if whole else self._span(sentence))
            found.append(Draft(text, self._number, "sentence" if whole else "span", self._positive(sentence)))
        return found

    def _span(self, sentence: Sentence) -> str:
        """4 to 12 words in a row; twice as many letters where words are written without spaces."""
        unspaced = _mostly_unspaced(sentence.text)
        words = _PIECE.findall(sentence.text) if unspaced else sentence.text.split()
        length = min(self._rng.randint(*_SPAN) * (_PIECES_OF_A_WORD if unspaced else 1), len(words))
        start = self._rng.randint(0, len(words) - length)
        return ("" if unspaced else " ").join(words[start : start + length]).strip(_AROUND)

    def titled(self, text: str) -> str:
        """The text, or in the wanted share of cases the document's title and the text."""
        title = self._chunk.title
        wanted = self._rng.random() < self._title_share
        return f"{title}: {text}" if wanted and title and title.lower() not in text.lower() else text

    def _positive(self, sentence: Sentence) -> str:
        chunk = self._chunk
        wanted = self._rng.random() < REMOVED_SHARE
        left = (chunk.text[: sentence.start].rstrip() + " " + chunk.text[sentence.end :].lstrip()).strip()
        if not wanted or word_count(left) < _LEFT:
            return chunk.full_text
        return f"{chunk.heading} {left}".strip()
