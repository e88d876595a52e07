"""A field's terms and acronyms, found in its corpus, and which of them were asked about.

Terms of several words are ranked by their C-value (Frantzi, Ananiadou and Mima, Int. J. Digit. Libr. 3, 2000): how
often a phrase occurs on its own, longer ones counting more.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from math import log2
from typing import Final, Literal, NamedTuple

from benchmark.files import Json
from benchmark.records import Chunk
from benchmark.synthesis.acronyms import capitals, find_acronyms
from benchmark.synthesis.draft import PEOPLE_LIKE, Draft
from benchmark.synthesis.language import likeliest_small_words
from benchmark.synthesis.phrases import (
    LONGEST,
    PART,
    TOKEN,
    Phrase,
    c_values,
    folded,
    frequent_phrases,
    is_word,
    singular,
)

_MOST_OWN: Final = 8


class Term(NamedTuple):
    """An acronym or a term of the field.

    Attributes:
        text: As it is mostly written.
        kind: Which of the two.
        expansion: What an acronym stands for; empty where the corpus does not say, and for terms.
        chunks: How many chunks hold it or its expansion.
        score: Higher is more important to the field: the C-value of a term; for an acronym the same formula over the
            words of its expansion and the chunks that hold it.
    """

    text: str
    kind: Literal["acronym", "term"]
    expansion: str
    chunks: int
    score: float


class OwnTerm(NamedTuple):
    """A term of one chunk, and what it stands for where that is known."""

    text: str
    expansion: str


def find_terms(chunks: Sequence[Chunk], most: int = 300) -> tuple[Term, ...]:
    """The acronyms (half of `most` where there are so many, those with an expansion first) and terms of a corpus.

    The highest score comes first.
    """
    texts = [chunk.text for chunk in chunks]
    defined = find_acronyms(texts)
    holding = Counter(word for text in texts for word in capitals(text))
    ordinary = _ordinary({**dict.fromkeys(defined, 0), **holding}, texts)
    bare = [word for word, count in holding.items() if count > 1 and word not in defined and word not in ordinary]
    acronyms = {**defined, **dict.fromkeys(sorted(bare), "")}
    phrases = _unlike(frequent_phrases(texts), acronyms, most)
    matcher = Matcher(
        [(word, acronyms[word]) for word in acronyms] + [(phrase,) for phrase in phrases], ordinary & acronyms.keys()
    )
    owned, written = _places(matcher, texts)
    counts = Counter(place for places in owned for place in places)
    found = [
        Term(word, "acronym", acronyms[word], counts[place], _acronym_score(acronyms[word], counts[place]))
        for place, word in enumerate(acronyms)
    ]
    found += [
        Term(written[place], "term", "", counts[place], score)
        for place, score in enumerate(phrases.values(), start=len(acronyms))
    ]
    return _best(found, len(acronyms), most)


def _best(found: Sequence[Term], n_acronyms: int, most: int) -> tuple[Term, ...]:
    """The best of the terms found, of which the acronyms come first."""
    acronyms = sorted(found[:n_acronyms], key=lambda term: (not term.expansion, -term.score, term.text))
    phrases = sorted(found[n_acronyms:], key=lambda term: (-term.score, term.text))
    kept = (acronyms[: max(most // 2, most - len(phrases))] + phrases)[:most]
    return tuple(sorted(kept, key=lambda term: (-term.score, term.text)))


def _acronym_score(expansion: str, count: int) -> float:
    return round(count * log2(max(2, len(PART.findall(expansion)))), 4)


def _unlike(phrases: Mapping[str, float], acronyms: Mapping[str, str], most: int) -> dict[str, float]:
    """The best phrases that are neither an acronym's expansion nor another phrase with its hyphens elsewhere."""
    seen = {folded(text) for row in acronyms.items() for text in row}
    kept: dict[str, float] = {}
    for phrase, score in phrases.items():
        if len(kept) < most and folded(phrase) not in seen:
            kept[phrase] = score
            seen.add(folded(phrase))
    return kept


def _ordinary(holding: Mapping[str, int], texts: Iterable[str]) -> set[str]:
    """Words in capitals that more texts hold in small letters: NOT, or an IT that must be told from "it"."""
    lowered = {word.lower(): word for word in holding}
    small = Counter(word for text in texts for word in lowered.keys() & set(text.split()))
    return {word for low, word in lowered.items() if small[low] > holding[word]}


def _places(matcher: "Matcher", texts: Iterable[str]) -> tuple[list[list[int]], dict[int, str]]:
    """For each text the terms in it, and each term as it is mostly written (by the texts where it first stands)."""
    owned = []
    forms: dict[int, Counter[str]] = {}
    for text in texts:
        first: dict[int, str] = {}
        for hit in matcher.find(text):
            first.setdefault(hit.term, hit.text)
        for term, form in first.items():
            forms.setdefault(term, Counter())[" ".join(form.split())] += 1
        owned.append(list(first))
    return owned, {term: min(seen, key=lambda form: (-seen[form], form.swapcase())) for term, seen in forms.items()}


def own_terms(chunk: Chunk, expansions: Mapping[str, str]) -> list[OwnTerm]:
    """Up to 8 terms that can be told from a chunk alone, so that a grown corpus does not change them.

    First its acronyms, then the phrases that it uses more than once, its heading included.

    Args:
        chunk: The chunk.
        expansions: What acronyms stand for elsewhere in the corpus; the chunk's own word goes first.
    """
    text = chunk.heading + "\n\n" + chunk.text
    defined = find_acronyms([text])
    small = set(text.split())
    short = [word for word in capitals(text) if word.lower() not in small and word not in defined]
    found = [OwnTerm(word, defined.get(word) or expansions.get(word, "")) for word in [*defined, *short]]
    spelt_out = {folded(term.expansion) for term in found}
    found += [OwnTerm(phrase, "") for phrase in _repeated(text) if folded(phrase) not in spelt_out]
    return found[:_MOST_OWN]


def _repeated(text: str) -> list[str]:
    """Phrases of a short text that occur twice or more, as first written, the highest C-value first."""
    tokens = TOKEN.findall(text)
    words = ["-".join(folded(token)) for token in tokens]
    often = Counter(words)
    small = likeliest_small_words(Counter(token.lower() for token in tokens))
    fit = [is_word(token) and often[word] > 1 and token.lower() not in small for token, word in zip(tokens, words, strict=True)]  # fmt: skip
    counts: Counter[Phrase] = Counter()
    written: dict[Phrase, str] = {}
    for start in range(len(tokens)):
        for end in range(start + 1, min(start + LONGEST, len(tokens)) + 1):
            if not fit[end - 1]:
                break
            phrase = tuple(words[start:end])
            if "-" in phrase[0] or len(phrase) > 1:
                counts[phrase] += 1
                written.setdefault(phrase, " ".join(tokens[start:end]))
    values = c_values({phrase: count for phrase, count in counts.items() if count > 1})
    return [written[phrase] for phrase in sorted(values, key=lambda phrase: (-values[phrase], phrase))]


def coverage(terms: Sequence[Term], drafts: Sequence[Draft], chunks: Sequence[Chunk]) -> list[Json]:
    """How often each term, or its expansion, is asked about: those never asked first, then by score.

    Args:
        terms: Those of the corpus.
        drafts: The queries that were kept.
        chunks: The corpus.

    Returns:
        Rows of term, kind, expansion, chunks (that hold it), questions (that people might ask: written by a language
        model or imported) and queries (all of them).
    """
    acronyms = [term.text for term in terms if term.kind == "acronym"]
    texts = [chunk.text for chunk in chunks]
    holding = Counter(word for text in texts for word in capitals(text)) if acronyms else Counter()
    matcher = Matcher(
        [(term.text, term.expansion) for term in terms],
        _ordinary({word: holding[word] for word in acronyms}, texts),
    )
    queries: Counter[int] = Counter()
    questions: Counter[int] = Counter()
    for draft in drafts:
        asked = {hit.term for hit in matcher.find(draft.text)}
        queries.update(asked)
        questions.update(asked if draft.origin in PEOPLE_LIKE else ())
    order = sorted(range(len(terms)), key=lambda i: (queries[i] > 0, questions[i] > 0, i))
    return [
        {
            "term": terms[i].text, "kind": terms[i].kind, "expansion": terms[i].expansion,
            "chunks": terms[i].chunks, "questions": questions[i], "queries": queries[i],
        }
        for i in order
    ]  # fmt: skip


class Hit(NamedTuple):
    """A term in a text: which, and how it is written there (but for spaces and hyphens, which are the term's)."""

    term: int
    text: str


class Matcher:
    """Finds many terms in a text in one pass; case, hyphens and a plural's s make no difference.

    Args:
        terms: For each term the ways to say it; empty ones are passed over.
        as_written: Acronyms that are words as well ("IT"): these must stand in capitals.
    """

    def __init__(self, terms: Sequence[tuple[str, ...]], as_written: Collection[str] = ()) -> None:
        self._singular = _Singular()
        self._starting: dict[str, list[_Way]] = {}
        for number, ways in enumerate(terms):
            for words, way in ((folded(way), way) for way in ways):
                if words:
                    # Of an acronym only a plural's s may be missing: DOS is not "do".
                    forms = frozenset({way, way + "s"} if len(words) == 1 else ())
                    row = _Way(words, (*PART.split(way)[1:-1], ""), number, forms, way in as_written)
                    self._starting.setdefault(words[0], []).append(row)

    def find(self, text: str) -> Iterator[Hit]:
        """The terms in a text, in its order."""
        spelt = PART.findall(text)
        words = [self._singular[word] for word in spelt]
        for start, first in enumerate(words):
            for way in self._starting.get(first, ()):
                end = start + len(way.words)
                if tuple(words[start:end]) == way.words:
                    found = "".join(word + gap for word, gap in zip(spelt[start:end], way.gaps, strict=True))
                    if way.fits(found):
                        yield Hit(way.term, found)


class _Singular(dict[str, str]):
    """Word -> its singular in small letters."""

    def __missing__(self, word: str) -> str:
        self[word] = singular(word.lower())
        return self[word]


class _Way(NamedTuple):
    """One way to say a term.

    Attributes:
        words: Singular, in small letters.
        gaps: What stands after each word: a space, a hyphen, nothing.
        term: Whose.
        forms: The only ways to write it, where there are any.
        exact: Whether capitals matter.
    """

    words: Phrase
    gaps: tuple[str, ...]
    term: int
    forms: frozenset[str]
    exact: bool

    def fits(self, found: str) -> bool:
        """Whether words that fold alike are written alike."""
        if self.exact or not self.forms:
            return not self.forms or found in self.forms
        return found.lower() in {form.lower() for form in self.forms}
