"""The seven columns of argilla's synthetic-data-generator, filled from what was mined or by a language model.

The context is a passage and the question one that it answers, so that retrieval's positive is that question and its
negative a question which the passage does not answer; reranking's two texts are alike and unlike the passage. Mined
negatives are the default: those that a language model writes train worse (arXiv 2504.21015).
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import chain
from math import log
from typing import Final, NamedTuple

from benchmark.files import Json
from benchmark.llm.asking import Asker
from benchmark.llm.forms import object_form
from benchmark.llm.model import ChatRequest, Message
from benchmark.llm.prompts import Prompts, fenced
from benchmark.records import Chunk
from benchmark.specs import GenerateSpec
from benchmark.synthesis.draft import PEOPLE_LIKE, Draft, words_of
from benchmark.synthesis.negatives import Mined
from benchmark.synthesis.pseudo import sentences

_WRITTEN: Final = ("negative_retrieval", "positive_reranking", "negative_reranking")
_FORM: Final = object_form("rag_columns", {name: {"type": "string"} for name in _WRITTEN})


@dataclass(frozen=True)
class RagRow:
    """A row of rag.parquet.

    Attributes:
        context: The passage.
        question: Answered by the passage.
        response: The answer, from the passage.
        positive_retrieval: The question again.
        negative_retrieval: A question near by that the passage does not answer.
        positive_reranking: A text that is alike to the passage.
        negative_reranking: A text that is unlike it, though it may share words.
    """

    context: str
    question: str
    response: str
    positive_retrieval: str
    negative_retrieval: str
    positive_reranking: str
    negative_reranking: str


COLUMNS: Final = tuple(column.name for column in fields(RagRow))


@dataclass
class Rag:
    """Rows of rag.parquet, and how they came about.

    Attributes:
        rows: One for each question in a person's words for which every column could be filled.
        responses: "written" (came with the question) or "sentence" (of the passage) -> rows.
        left_out: What could not be filled -> rows that were left out for it.
    """

    rows: list[RagRow] = field(default_factory=list)
    responses: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)

    def facts(self) -> Json:
        """Counts for a manifest."""
        return {
            "rows": len(self.rows),
            "responses": dict(sorted(self.responses.items())),
            "left_out": dict(sorted(self.left_out.items())),
        }


def rag_rows(
    chunks: Sequence[Chunk],
    drafts: Sequence[Draft],
    mined: Mined,
    spec: GenerateSpec,
    asker: Asker,
    prompts: Prompts,
) -> Rag:
    """Fill the seven columns for each question in a person's words; cuts of the text are no questions.

    Args:
        chunks: The passages.
        drafts: The kept queries.
        mined: Their negatives.
        spec: `rag_columns`: who fills the negative and reranking columns; `llm` where they are written.
        asker: Asks the language model, where it does.
        prompts: `rag_columns`.

    Raises:
        BenchError: The language model cannot be had, or its budget is used up.
    """
    rag = Rag()
    filler = _Filler(chunks, drafts, mined)
    begun: list[_Begun] = []
    for number, draft in enumerate(drafts):
        if draft.origin in PEOPLE_LIKE:
            response = draft.answer.strip() or filler.response(number)
            if response:
                begun.append(_Begun(number, response, "written" if draft.answer.strip() else "sentence"))
            else:
                rag.left_out["response"] += 1
    if spec.rag_columns == "written":
        others = _written(begun, chunks, drafts, spec, asker, prompts)
    else:
        others = [filler.others(row.number, row.response) for row in begun]
    for row, other in zip(begun, others, strict=True):
        draft = drafts[row.number]
        lacking = "answer of the language model" if other is None else _lacking(other, draft.text)
        if other is None or lacking:
            rag.left_out[lacking] += 1
            continue
        context = chunks[draft.chunk].full_text
        rag.rows.append(RagRow(context, draft.text, row.response, draft.text, **other))
        rag.responses[row.origin] += 1
    return rag


class _Begun(NamedTuple):
    """A row whose question has a response: the draft's number, the response, and where it came from."""

    number: int
    response: str
    origin: str


def _lacking(columns: Mapping[str, str], question: str) -> str:
    """The first column that cannot be used, or nothing."""
    for name in _WRITTEN:
        if not any(map(str.isalnum, columns[name])):
            return name
    same = words_of(columns["negative_retrieval"]) == words_of(question)
    return "negative_retrieval" if same else ""


# --- mined ----------------------------------------------------------------------------------------------------------


class _Filler:
    """Finds texts for the columns in the passages and among the kept questions."""

    def __init__(self, chunks: Sequence[Chunk], drafts: Sequence[Draft], mined: Mined) -> None:
        self._chunks, self._drafts, self._mined = chunks, drafts, mined
        self._sentences: dict[int, list[str]] = {}
        self._questions: dict[int, list[str]] = {}
        self._question_words: dict[int, list[tuple[str, ...]]] = {}
        for draft in drafts:
            if draft.origin in PEOPLE_LIKE:
                self._questions.setdefault(draft.chunk, []).append(draft.text)

    def response(self, number: int) -> str:
        """The sentence of the query's passage that shares most with it; empty where it has no sentence."""
        return next(iter(self._closest(number, self._drafts[number].chunk)), "")

    def others(self, number: int, response: str) -> dict[str, str]:
        """The mined columns of a query; empty texts where there is nothing to fill them with."""
        own = self._closest(number, self._drafts[number].chunk)
        return {
            "negative_retrieval": self._question_elsewhere(number),
            "positive_reranking": next((text for text in own if text != response), ""),
            "negative_reranking": self._sentence_elsewhere(number, set(own)),
        }

    def _question_elsewhere(self, number: int) -> str:
        """Of the first mined negative that has questions, or else of the nearest passage of the same document."""
        draft = self._drafts[number]
        asked_here = set(self._words(draft.chunk))
        for place in chain(self._mined.negatives[number], self._neighbours(draft.chunk)):
            if place == draft.chunk:
                continue
            texts = self._questions.get(place, ())
            found = [text for text, words in zip(texts, self._words(place), strict=True) if words not in asked_here]
            if found:
                return self._ranked(draft.text, found)[0]
        return ""

    def _words(self, place: int) -> list[tuple[str, ...]]:
        """The words of each question that was asked about a passage."""
        if place not in self._question_words:
            self._question_words[place] = [tuple(words_of(text)) for text in self._questions.get(place, ())]
        return self._question_words[place]

    def _neighbours(self, place: int) -> Iterator[int]:
        """The passages of the same document that were asked about, the nearest first; sought only when wanted."""
        yield from nearest_first(self._by_document[self._chunks[place].document], place)

    def _sentence_elsewhere(self, number: int, own: set[str]) -> str:
        """The closest sentence of the first mined negative that has one which the passage does not have."""
        for place in self._mined.negatives[number]:
            found = next((text for text in self._closest(number, place) if text not in own), "")
            if found:
                return found
        return ""

    def _closest(self, number: int, place: int) -> list[str]:
        """The sentences of a passage, those first that share most with a query."""
        if place not in self._sentences:
            self._sentences[place] = [sentence.text for sentence in sentences(self._chunks[place].text)]
        return self._ranked(self._drafts[number].text, self._sentences[place])

    def _ranked(self, query: str, texts: Sequence[str]) -> list[str]:
        """Texts by the rarity of the words that they share with the query; equal ones in their order."""
        wanted = set(words_of(query))
        shared = [sum(self._rarity(word) for word in sorted(wanted & set(words_of(text)))) for text in texts]
        return [texts[place] for place in sorted(range(len(texts)), key=lambda place: -shared[place])]

    def _rarity(self, word: str) -> float:
        """Inverse document frequency among the passages; above 0 even for a word that all of them have."""
        return log((len(self._chunks) + 1) / (self._passages_with[word] + 0.5))

    @cached_property
    def _passages_with(self) -> Counter[str]:
        return Counter(word for chunk in self._chunks for word in set(words_of(chunk.full_text)))

    @cached_property
    def _by_document(self) -> dict[str, list[int]]:
        """Document -> its passages that were asked about, in the order of the corpus."""
        places: dict[str, list[int]] = {}
        for place in sorted(self._questions):
            places.setdefault(self._chunks[place].document, []).append(place)
        return places


def nearest_first(places: Sequence[int], place: int) -> Iterator[int]:
    """Places by their distance to one, the earlier of two equals first, one at a time.

    Args:
        places: In rising order.
        place: Where to begin.

    >>> list(nearest_first([1, 4, 5, 7], 4))
    [4, 5, 1, 7]
    """
    after = bisect_left(places, place)
    before = after - 1
    while before >= 0 or after < len(places):
        if after == len(places) or (before >= 0 and place - places[before] <= places[after] - place):
            yield places[before]
            before -= 1
        else:
            yield places[after]
            after += 1


# --- written --------------------------------------------------------------------------------------------------------


def _written(
    rows: Sequence[_Begun],
    chunks: Sequence[Chunk],
    drafts: Sequence[Draft],
    spec: GenerateSpec,
    asker: Asker,
    prompts: Prompts,
) -> list[dict[str, str] | None]:
    """The three columns as a language model writes them, for each row; None where it gave no answer."""
    assert spec.llm is not None  # noqa: S101 (GenerateSpec has looked)
    blank = ChatRequest((), temperature=spec.llm.temperature, max_tokens=spec.llm.max_tokens, form=_FORM)
    requests = [
        replace(blank, messages=_messages(prompts, chunks[drafts[row.number].chunk], drafts[row.number]))
        for row in rows
    ]
    answers = asker.ask(spec.llm, requests, "rag columns").answers
    read = [_FORM.read(answer.text) if answer is not None else None for answer in answers]
    return [{name: " ".join(row[name].split()) for name in _WRITTEN} if row is not None else None for row in read]


def _messages(prompts: Prompts, chunk: Chunk, draft: Draft) -> tuple[Message, ...]:
    question = " ".join(draft.text.split())
    return (
        Message("system", prompts.text("rag_columns")),
        Message("user", fenced(chunk.full_text) + "\n\nQuestion: " + question),
    )
