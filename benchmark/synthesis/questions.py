"""Questions that a language model writes about passages: types, personas and difficulties in the mix that is wanted."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from benchmark.files import Json
from benchmark.llm.forms import FormError
from benchmark.llm.model import Answer, ChatRequest
from benchmark.records import Chunk
from benchmark.specs import GenerateSpec
from benchmark.synthesis.draft import Draft, Dropped, word_count, words_of
from benchmark.synthesis.mix import Slot, slots
from benchmark.synthesis.terms import own_terms
from benchmark.synthesis.writers import TYPES, Begun, Instructed
from benchmark.synthesis.writers import QuestionContext as QuestionContext

_SHORTEST: Final = 12
"""Words that a passage must have to be asked about."""
_LABEL = re.compile(r"^(?:(?:search )?(?:query|question)s?(?: \d+)?\s*:\s*|[-*•]\s+|\d+[.)]\s+)", re.IGNORECASE)
_LIST = re.compile(r"\s*[,;|]\s*")
_TYPED: Final = 8
"""Words of a list that are typed into a search box."""
_QUOTES: Final = "\"'`“”‘’«»„*_ "


@dataclass(frozen=True)
class QuestionRequest:
    """A request for questions about the chunk at a position of the corpus, one for each slot."""

    chunk: int
    slots: tuple[Slot, ...]
    request: ChatRequest


def question_requests(
    chunks: Sequence[Chunk], spec: GenerateSpec, seed: int, context: QuestionContext,
    excluded: frozenset[int] = frozenset(),
) -> list[QuestionRequest]:  # fmt: skip
    """The requests for `questions_per_chunk` questions about each chunk that is long enough.

    What is drawn for a chunk depends on the seed and the chunk alone, so that a grown corpus asks about its new chunks
    only. (One thing may change a jargon request: new documents that say what an acronym stands for.)

    Args:
        chunks: The corpus.
        spec: Who is asked, how many questions, in which mix.
        seed: The run's.
        context: Prompts, terms, examples, language.
        excluded: Positions of chunks that nothing is asked about.

    Raises:
        BenchError: A prompt for a very small model does not begin a quotation.
    """
    if spec.llm is None or spec.questions_per_chunk == 0:
        return []
    writer = (Instructed if spec.llm.instructed else Begun)(spec.llm, seed, context)
    personas = spec.mix.personas or dict.fromkeys(context.prompts.lines("personas"), 1.0)
    requests: list[QuestionRequest] = []
    for number, chunk in enumerate(chunks):
        if number in excluded or word_count(chunk.text) < _SHORTEST:
            continue
        terms = own_terms(chunk, context.expansions) if spec.mix.types.get("jargon") else []
        available = [kind for kind in TYPES if terms or kind != "jargon"]
        wanted = slots(spec.mix, personas, spec.questions_per_chunk, seed, chunk.id, available)
        requests += (QuestionRequest(number, *row) for row in writer.requests(chunk, wanted, terms))
    return requests


def question_drafts(
    requests: Sequence[QuestionRequest], answers: Sequence[Answer | None], chunks: Sequence[Chunk]
) -> tuple[list[Draft], list[Dropped]]:
    """Answers to drafts; what holds no question, or one that was cut off, is dropped with its reason.

    Args:
        requests: As `question_requests` made them.
        answers: One for each, in order; those that failed (None) are passed over.
        chunks: The corpus.
    """
    drafts, dropped = [], []
    for asked, answer in zip(requests, answers, strict=True):
        if answer is None:
            continue
        for slot, item in zip(asked.slots, _items(asked, answer), strict=True):
            text = tidy(item["question"], slot.type)
            # What cannot be read is still shown in the list of what was dropped.
            draft = Draft(
                text or item["question"].strip() or answer.text.strip(), asked.chunk, "llm",
                chunks[asked.chunk].full_text, slot.type, slot.persona, slot.difficulty, item["answer"].strip(),
            )  # fmt: skip
            if not text:
                dropped.append(Dropped(draft, "no_question"))
            elif asked.request.form is None and slot.type != "keywords" and _cut_off(asked.request, answer):
                dropped.append(Dropped(draft, "cut_off"))
            else:
                drafts.append(draft)
    return drafts, dropped


def _items(asked: QuestionRequest, answer: Answer) -> list[Mapping[str, str]]:
    """A question and its answer for each slot; empty ones where the answer cannot be read."""
    wanted = asked.request.form
    if wanted is None:
        begun = asked.request.prefill.rpartition('"')[2] + answer.text
        begun = " ".join(begun.split()).rstrip(" .,;:!-")
        if asked.slots[0].type == "keywords":
            return [{"question": first_terms(begun, _cut_off(asked.request, answer)), "answer": ""}]
        return [{"question": begun + "?" if len(words_of(begun)) > 1 else "", "answer": ""}]
    try:
        value: Json = wanted.read(answer.text)
    except FormError:  # a replay file that somebody has edited
        return [{"question": "", "answer": ""}] * len(asked.slots)
    return cast(list[Mapping[str, str]], value["questions"])


def first_terms(text: str, cut_off: bool = False) -> str:
    """The first terms of a list as one would type them, eight words together; a very small model goes on for long.

    Args:
        text: Terms with commas or bars between them, or a query without any.
        cut_off: Whether the last term is not whole; it is left out then.

    >>> first_terms("seller consolidation, primary beneficiary | capital exemption, one more term, and")
    'seller consolidation primary beneficiary capital exemption'
    """
    terms = [term for term in _LIST.split(text) if term]
    kept: list[str] = []
    for term in terms[:-1] if cut_off else terms:
        if kept and word_count(" ".join([*kept, term])) > _TYPED:
            break
        kept.append(term)
    return " ".join(kept)


def _cut_off(request: ChatRequest, answer: Answer) -> bool:
    return answer.cut_off or answer.output_tokens == request.max_tokens


def tidy(text: str, kind: str) -> str:
    """A question in one line, without quotation marks, numbers and labels around it; empty where there is none.

    >>> tidy(' 1. Question: "What is a  lien?" ', "question"), tidy("lien priority?", "keywords"), tidy("...", "edge")
    ('What is a lien?', 'lien priority', '')
    """
    text = " ".join(text.split()).strip(_QUOTES)
    while (shorter := _LABEL.sub("", text).strip(_QUOTES)) != text:
        text = shorter
    if kind == "keywords":
        text = text.rstrip(" ?.!")
    return text if words_of(text) else ""
