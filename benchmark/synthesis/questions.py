"""Questions that a language model writes, one request a question."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.llm.model import Answer, ChatRequest, Message
from benchmark.llm.prompts import fenced, prompt
from benchmark.records import Chunk
from benchmark.specs import GenerateSpec
from benchmark.synthesis.draft import Draft, Dropped, seeded, words_of

KINDS = ("core", "jargon", "edge", "keywords", "newcomer")
"""Kinds of question asked of an endpoint, in this order, beginning again after the last."""
_SHORTEST = 12
"""Words that a passage must have to be asked about."""
_SCHEMA = "question/1"
_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)
_LABEL = re.compile(r"^(?:(?:search )?(?:query|question)s?\s*:|[-*•]|\d+[.)])\s*", re.IGNORECASE)
_QUOTES = "\"'`“”‘’*_ "


@dataclass(frozen=True)
class QuestionRequest:
    """A request for one question about the chunk at a position of the corpus."""

    chunk: int
    request: ChatRequest


def question_requests(chunks: Sequence[Chunk], spec: GenerateSpec, seed: int) -> list[QuestionRequest]:
    """The requests for `questions_per_chunk` questions about each chunk that is long enough."""
    if spec.llm is None or spec.questions_per_chunk == 0:
        return []
    make = _endpoint_requests if spec.llm.endpoint is not None else _local_requests
    return [
        QuestionRequest(number, request)
        for number, chunk in enumerate(chunks)
        if len(words_of(chunk.text)) >= _SHORTEST
        for request in make(chunk, spec, seed)
    ]


def _endpoint_requests(chunk: Chunk, spec: GenerateSpec, seed: int) -> list[ChatRequest]:
    """Instructions and the fenced passage; the kinds of question go round."""
    assert spec.llm is not None  # noqa: S101 (the caller has looked)
    system = Message("system", prompt("question_system"))
    passage = fenced(chunk.full_text)
    return [
        ChatRequest(
            messages=(system, Message("user", passage + "\n\n" + prompt("question_" + KINDS[i % len(KINDS)]))),
            temperature=spec.llm.temperature,
            max_tokens=spec.llm.max_tokens,
            schema=_SCHEMA,
            sample=_sample(seed, i // len(KINDS)),
        )
        for i in range(spec.questions_per_chunk)
    ]


def _local_requests(chunk: Chunk, spec: GenerateSpec, seed: int) -> list[ChatRequest]:
    """The passage alone, and an assistant's turn that has begun to quote a question with a drawn first word.

    A very small model does not follow instructions, but it goes on with what it seems to have begun.
    """
    assert spec.llm is not None and spec.llm.local is not None  # noqa: S101 (the caller has looked)
    starts = prompt("local_starts").splitlines()
    drawn = seeded(seed, "start", chunk.id).sample(starts, len(starts))
    return [
        ChatRequest(
            messages=(Message("user", chunk.text),),
            prefill=prompt("local_prefill") + drawn[i % len(drawn)],
            background=(Message("user", ""),),
            context_weight=spec.llm.local.context_weight,
            temperature=spec.llm.temperature,
            max_tokens=spec.llm.max_tokens,
            stop=('"', "?", "\n"),
            schema=_SCHEMA,
            sample=_sample(seed, i // len(drawn)),
        )
        for i in range(spec.questions_per_chunk)
    ]


def _sample(seed: int, turn: int) -> int:
    """A sample index that another seed does not share."""
    return seed * 1000 + turn


def question_drafts(
    requests: Sequence[QuestionRequest], answers: Sequence[Answer | None], chunks: Sequence[Chunk]
) -> tuple[list[Draft], list[Dropped]]:
    """Answers to drafts; what holds no question, or one that was cut off, is dropped with its reason."""
    drafts, dropped = [], []
    for asked, answer in zip(requests, answers, strict=True):
        if answer is None:
            continue
        text = read_question(asked.request, answer)
        draft = Draft(text or answer.text.strip(), asked.chunk, "llm", chunks[asked.chunk].full_text)
        if text is None:
            dropped.append(Dropped(draft, "no_question"))
        elif asked.request.prefill and answer.output_tokens == asked.request.max_tokens:
            dropped.append(Dropped(draft, "cut_off"))
        else:
            drafts.append(draft)
    return drafts, dropped


def read_question(request: ChatRequest, answer: Answer) -> str | None:
    """The question in an answer, in one line, or None."""
    if request.prefill:
        text = request.prefill.rpartition('"')[2] + answer.text
        text = " ".join(text.split()).rstrip(" .,;:!-") + "?"
        return text if len(words_of(text)) > 1 else None
    spoken = _THOUGHT.sub("", answer.text)
    lines = [" ".join(line.split()).strip(_QUOTES) for line in spoken.splitlines()]
    lines = [_LABEL.sub("", line).strip(_QUOTES) for line in lines if line and not line.startswith("```")]
    lines = [line for line in lines if words_of(line)]
    # Some models announce the question on a line of its own.
    if len(lines) > 1 and lines[0].endswith(":"):
        lines = lines[1:]
    return lines[0] if lines else None
