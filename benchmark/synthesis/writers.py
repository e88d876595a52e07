"""How questions are asked for, of a language model that follows instructions and of a very small one.

The first is sent each passage once, for all its questions. The second is made to go on with a question that it seems
to have begun, one request a question.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, get_args

from benchmark.errors import Problems
from benchmark.llm.forms import Form, object_form, object_schema
from benchmark.llm.model import ChatRequest, Message
from benchmark.llm.prompts import Prompts, fenced
from benchmark.records import Chunk
from benchmark.specs import LLMSpec, QuestionType
from benchmark.synthesis.draft import seeded
from benchmark.synthesis.examples import Example, drawn_examples
from benchmark.synthesis.mix import Slot
from benchmark.synthesis.terms import OwnTerm, Term

TYPES: Final[tuple[QuestionType, ...]] = get_args(QuestionType)


@dataclass(frozen=True)
class QuestionContext:
    """What the requests are made of, beside the passages.

    Attributes:
        prompts: The package's or the user's.
        terms: The corpus's: what an acronym stands for where a passage does not say.
        examples: The user's sample questions.
        language: Its name, e.g. "English".
    """

    prompts: Prompts
    terms: Sequence[Term]
    examples: Sequence[Example]
    language: str

    @cached_property
    def expansions(self) -> dict[str, str]:
        """Acronym -> what it stands for in this corpus."""
        return {term.text: term.expansion for term in self.terms if term.expansion}


class Instructed:
    """Instructions, then everything that is data between marks, then the list of what is wanted: one request."""

    def __init__(self, llm: LLMSpec, seed: int, context: QuestionContext) -> None:
        self._llm, self._seed, self._context, self._prompts = llm, seed, context, context.prompts

    def requests(
        self, chunk: Chunk, wanted: Sequence[Slot], terms: Sequence[OwnTerm]
    ) -> Iterator[tuple[tuple[Slot, ...], ChatRequest]]:
        """One request for all slots; none where nothing is wanted."""
        if not wanted:
            return
        kinds = [slot.type for slot in wanted]
        parts = [
            self._examples(kinds, chunk.id),
            fenced(chunk.full_text),
            self._terms(terms) if "jargon" in kinds else "",
            self._task(wanted),
            self._prompts.text("question_language") + " " + self._context.language + ".",
            self._prompts.text("question_form"),
        ]
        system = Message("system", self._prompts.text("question_system"))
        request = ChatRequest(
            messages=(system, Message("user", "\n\n".join(part for part in parts if part))),
            temperature=self._llm.temperature,
            max_tokens=self._llm.max_tokens,
            form=questions_form(len(wanted)),
            sample=_sample(self._seed, 0),
        )
        yield tuple(wanted), request

    def _examples(self, kinds: Collection[str], chunk_id: str) -> str:
        shown = drawn_examples(self._context.examples, kinds, self._seed, chunk_id)
        if not shown:
            return ""
        return "\n\n".join([self._prompts.text("question_examples"), *map(_example_text, shown)])

    def _terms(self, terms: Sequence[OwnTerm]) -> str:
        lines = (term.text + (": " + term.expansion if term.expansion else "") for term in terms)
        return self._prompts.text("question_terms") + "\n" + fenced("\n".join(lines))

    def _task(self, wanted: Sequence[Slot]) -> str:
        lines = [
            str(number) + ". " + "; ".join(part for part in self._slot_parts(slot) if part)
            for number, slot in enumerate(wanted, start=1)
        ]
        return "\n".join([self._prompts.text("question_task"), *lines])

    def _slot_parts(self, slot: Slot) -> tuple[str, ...]:
        """Kind, person and difficulty, each in one line."""
        difficulty = self._prompts.text("difficulty_" + slot.difficulty) if slot.difficulty else ""
        persona = "asked by " + slot.persona if slot.persona else ""
        return tuple(
            " ".join(part.split()) for part in (self._prompts.text("question_" + slot.type), persona, difficulty)
        )


def _example_text(example: Example) -> str:
    passage = fenced(example.passage) + "\n" if example.passage else ""
    kind = " (" + example.type + ")" if example.type else ""
    return passage + "Sample query" + kind + ": " + " ".join(example.question.split())


@lru_cache(maxsize=32)
def questions_form(count: int) -> Form:
    """The form of an answer with `count` questions, each with its own answer."""
    text = {"type": "string"}
    item = object_schema({"question": text, "answer": text})
    items = {"type": "array", "items": item, "minItems": count, "maxItems": count}
    return object_form("questions", {"questions": items})


class Begun:
    """The passage alone, and an assistant's turn that has begun to quote a question.

    A very small model does not follow instructions, but it goes on with what it seems to have begun. Of type, persona
    and difficulty it can show the type alone.
    """

    def __init__(self, llm: LLMSpec, seed: int, context: QuestionContext) -> None:
        assert llm.local is not None  # noqa: S101 (an endpoint follows instructions)
        self._llm, self._seed, self._weight = llm, seed, llm.local.context_weight
        self._openings: dict[str, str] = {}
        self._starts: dict[str, list[str]] = {}
        with Problems() as problems:
            for kind in TYPES:
                self._openings[kind], *starts = context.prompts.lines("local_" + kind)
                self._starts[kind] = starts or [""]
                if not self._openings[kind].endswith('"'):
                    problems.add(f'prompts: local_{kind}.txt: the first line must end with a quotation mark (")')

    def requests(
        self, chunk: Chunk, wanted: Sequence[Slot], terms: Sequence[OwnTerm]
    ) -> Iterator[tuple[tuple[Slot, ...], ChatRequest]]:
        """A request for each slot; within one type no start is used twice before all have been."""
        turns: Counter[str] = Counter()
        for slot in wanted:
            beginnings = self._beginnings(slot.type, chunk.id, terms)
            turn, place = divmod(turns[slot.type], len(beginnings))
            turns[slot.type] += 1
            request = ChatRequest(
                messages=(Message("user", chunk.text),),
                prefill=self._openings[slot.type] + beginnings[place],
                background=(Message("user", ""),),
                context_weight=self._weight,
                temperature=self._llm.temperature,
                max_tokens=self._llm.max_tokens,
                stop=('"', "?", "\n"),
                sample=_sample(self._seed, turn),
            )
            yield (Slot(slot.type, "", ""),), request

    def _beginnings(self, kind: str, chunk_id: str, terms: Sequence[OwnTerm]) -> list[str]:
        """The starts in a drawn order; for jargon each with a term, all of the terms in turn."""
        starts = self._starts[kind]
        drawn = seeded(self._seed, "start", kind, chunk_id).sample(starts, len(starts))
        if kind != "jargon":
            return drawn
        order = seeded(self._seed, "term", chunk_id).sample(terms, len(terms))
        count = max(len(drawn), len(order))
        return [(drawn[i % len(drawn)] + " " + order[i % len(order)].text).lstrip() for i in range(count)]


def _sample(seed: int, turn: int) -> int:
    """A sample index that another seed does not share."""
    return seed * 1000 + turn
