"""Filters that read a question together with its passage: a cross-encoder's score and a language model's grade."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmark.console import Reporter
from benchmark.encoders.pairs import cross_encoder_scores
from benchmark.files import Json
from benchmark.llm.asking import Asker
from benchmark.llm.forms import FormError, object_form
from benchmark.llm.model import Answer, ChatRequest, Message
from benchmark.llm.prompts import Prompts, fenced
from benchmark.project import Project
from benchmark.records import Chunk
from benchmark.specs import LLMSpec
from benchmark.specs.generate import CrossEncoderFilter, JudgeFilter
from benchmark.synthesis.draft import PEOPLE_LIKE, Draft
from benchmark.synthesis.filters import Verdict

LOWEST_MINIMUM: Final = 5
"""As far down as the judge's minimum is relaxed."""
_ENOUGH_SHARE: Final = 0.3
_FAULTY: Final = 4
"""The best grade of a question that its passage does not answer, or that cannot be understood without it."""
GRADE: Final = object_form(
    "question_grade",
    {
        "answerable": {"type": "boolean"},
        "natural": {"type": "boolean"},
        "reason": {"type": "string"},
        "score": {"type": "integer", "minimum": 1, "maximum": 10},
        "self_contained": {"type": "boolean"},
        "specific": {"type": "boolean"},
    },
)


def judge_verdict(
    drafts: Sequence[Draft], chunks: Sequence[Chunk], spec: JudgeFilter, llm: LLMSpec, asker: Asker, prompts: Prompts
) -> Verdict:
    """Drop the questions whose grade is under the minimum; those that could not be judged stay.

    Facts: graded, not_judged, histogram (grade -> questions), minimum, asked_minimum.

    Args:
        drafts: Queries of any origin; only questions are judged.
        chunks: The corpus that `Draft.chunk` counts in.
        spec: The judge, and the minimum.
        llm: The generator's own language model.
        asker: Asks, and keeps the answers.
        prompts: `judge_system` and `judge_task`.

    Raises:
        BenchError: The judge cannot be reached, or too many requests failed.
    """
    places = _questions(drafts)
    grades = judge_questions([drafts[place] for place in places], chunks, spec, llm, asker, prompts)
    minimum = relaxed_minimum(grades, spec.minimum)
    counts = Counter(grade for grade in grades if grade is not None)
    missing = len(grades) - counts.total()
    notes = []
    if minimum < spec.minimum:
        notes.append(f"generate: the judge gives few questions {spec.minimum} or more of 10; relaxed to {minimum}")
    if missing:
        notes.append(f"generate: {missing} of {len(grades)} questions were not judged; they are kept")
    step = {"setting": "filters.judge.minimum", "from": spec.minimum, "to": minimum}
    return Verdict(
        {
            place: float(grade)
            for place, grade in zip(places, grades, strict=True)
            if grade is not None and grade < minimum
        },
        {
            "graded": counts.total(),
            "not_judged": missing,
            "minimum": minimum,
            "asked_minimum": spec.minimum,
            "histogram": {str(grade): counts[grade] for grade in range(1, 11)},
        },
        step if minimum < spec.minimum else {},
        tuple(notes),
    )


def _questions(drafts: Sequence[Draft]) -> list[int]:
    """The numbers of the drafts that are questions: what was cut from its passage always fits it."""
    return [number for number, draft in enumerate(drafts) if draft.origin in PEOPLE_LIKE]


def judge_questions(
    drafts: Sequence[Draft], chunks: Sequence[Chunk], spec: JudgeFilter, llm: LLMSpec, asker: Asker, prompts: Prompts
) -> list[int | None]:
    """Have a language model grade questions, one request a question.

    Passage and question are fenced: both are material, and what they say about grades does not reach the judge as an
    instruction.

    Args:
        drafts: Questions; other queries are not worth a judge's money.
        chunks: The corpus that `Draft.chunk` counts in.
        spec: Names the judge, where it is not `llm`.
        llm: The generator's own language model.
        asker: Asks, and keeps the answers.
        prompts: `judge_system` and `judge_task`.

    Returns:
        For each draft a grade from 1 to 10, or None where the judge gave none.

    Raises:
        BenchError: The judge cannot be reached, or too many requests failed.
    """
    if not drafts:
        return []
    judge = spec.llm or llm
    requests = [_request(draft, chunks[draft.chunk], judge, prompts) for draft in drafts]
    return [_grade(answer) for answer in asker.ask(judge, requests, "judge").answers]


def _request(draft: Draft, chunk: Chunk, judge: LLMSpec, prompts: Prompts) -> ChatRequest:
    material = fenced(chunk.full_text) + "\n\n" + fenced(draft.text)
    return ChatRequest(
        messages=(
            Message("system", prompts.text("judge_system")),
            Message("user", material + "\n\n" + prompts.text("judge_task")),
        ),
        temperature=0.0,
        max_tokens=judge.max_tokens,
        form=GRADE,
    )


def _grade(answer: Answer | None) -> int | None:
    """The grade in an answer; a generous score does not outweigh the judge's own finding of a fault."""
    if answer is None:
        return None
    try:
        found: Json = GRADE.read(answer.text)
    except FormError:
        return None
    faulty = not (found["answerable"] and found["self_contained"])
    score = int(found["score"])
    return min(score, _FAULTY) if faulty else score


def relaxed_minimum(grades: Sequence[int | None], minimum: int) -> int:
    """The minimum, lowered one by one to 5 at most while fewer than 30 % of the judged questions reach it.

    >>> relaxed_minimum([6, 6, 2, None], 7), relaxed_minimum([2, 2], 7), relaxed_minimum([2], 3)
    (6, 5, 3)
    """
    judged = [grade for grade in grades if grade is not None]
    while minimum > LOWEST_MINIMUM and sum(grade >= minimum for grade in judged) < _ENOUGH_SHARE * len(judged):
        minimum -= 1
    return minimum


def cross_encoder_verdict(
    drafts: Sequence[Draft], chunks: Sequence[Chunk], spec: CrossEncoderFilter, project: Project, reporter: Reporter
) -> Verdict:
    """Keep the best-scored share of the questions; whoever equals the last of them stays as well.

    Facts: model, keep, scored, lowest_kept (None where there was no question).

    Args:
        drafts: Queries of any origin; only questions are scored.
        chunks: The corpus that `Draft.chunk` counts in.
        spec: The cross-encoder, and the share.
        project: Where its spec stands.
        reporter: Shows progress.

    Raises:
        BenchError: The spec is no cross-encoder, or its weights cannot be had.
    """
    places = _questions(drafts)
    scores = score_by_cross_encoder([drafts[place] for place in places], chunks, spec.model, project, reporter)
    objected = worst(scores, spec.keep)
    kept = np.delete(scores, objected)
    return Verdict(
        {places[number]: float(scores[number]) for number in objected},
        {
            "model": spec.model,
            "keep": spec.keep,
            "scored": len(scores),
            "lowest_kept": round(float(kept.min()), 4) if len(kept) else None,
        },
    )


def score_by_cross_encoder(
    drafts: Sequence[Draft], chunks: Sequence[Chunk], model: str, project: Project, reporter: Reporter
) -> NDArray[np.float32]:
    """How well each question fits its own passage, by a cross-encoder (InPars-v2, arXiv 2301.01820).

    Args:
        drafts: Questions.
        chunks: The corpus that `Draft.chunk` counts in.
        model: A cross-encoder's spec.
        project: Where the spec stands.
        reporter: Shows progress.

    Returns:
        Shape (n_drafts,), from 0 to 1.

    Raises:
        BenchError: The spec is no cross-encoder, or its weights cannot be had.
    """
    pairs = [(draft.text, chunks[draft.chunk].full_text) for draft in drafts]
    label = f"{model}: scoring {len(pairs)} questions"
    return cross_encoder_scores(project, model, pairs, reporter, label)


def worst(scores: NDArray[np.float32], keep: float) -> NDArray[np.intp]:
    """Positions of the scores that do not belong to the best share; whoever equals the last of the best stays.

    >>> worst(np.array([0.1, 0.9, 0.5, 0.1], dtype=np.float32), 0.5).tolist()
    [0, 3]
    >>> worst(np.array([0.1, 0.9, 0.5, 0.1], dtype=np.float32), 0.75).tolist()
    []
    """
    # 0.8 x 5 is 4 also where the machine's product lies a little above it.
    count = math.ceil(round(keep * len(scores), 6))
    if count >= len(scores):
        return np.array([], dtype=np.intp)
    lowest_kept = np.sort(scores)[len(scores) - count]
    return np.flatnonzero(scores < lowest_kept)
