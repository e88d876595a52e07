"""From answers to judgements: which verdicts are needed, and what score follows from them.

What is judged, by kind of question and answer (a metric that does not apply is left out of the row; one that applies
but brought no verdict is there with a score of None and counts as failed):

| | answerable, answered | answerable, declined | unanswerable, declined | unanswerable, answered |
|---|---|---|---|---|
| faithfulness, citations | judged | - | - | judged |
| correctness (where there is a reference) | judged | 0 | 1 | 0 |
| relevance | judged | 0 | - | - |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from benchmark.answer_records import Answered, Asked
from benchmark.answers.judge_items import Agreement, Judge, ToCompare, ToRate, ToSplit, ToSupport
from benchmark.files import Json

NO_ANSWER: Final = "there is no answer to judge"
NO_STATEMENTS: Final = "the judge did not break the answer into statements"
NO_CLAIMS: Final = "the judge did not break the reference answer into claims"
NO_VERDICT: Final = "the judge gave no verdict of the form"


class Place(NamedTuple):
    """One judgement: an answer, and the repeat."""

    question: str
    pipeline: str
    repeat: int


@dataclass
class Found:
    """What the judge said, by what it was asked about; None where it failed.

    Attributes:
        claims: Question -> claims of its reference answer.
        statements: Judgement -> the answer's statements.
        support: Judgement -> for each statement the passages that support it.
        agreement: Judgement -> for each claim what the answer says of it.
        relevance: Judgement -> 0..1.
    """

    claims: dict[str, tuple[str, ...] | None] = field(default_factory=dict)
    statements: dict[Place, tuple[str, ...] | None] = field(default_factory=dict)
    support: dict[Place, tuple[frozenset[int], ...] | None] = field(default_factory=dict)
    agreement: dict[Place, tuple[Agreement, ...] | None] = field(default_factory=dict)
    relevance: dict[Place, float | None] = field(default_factory=dict)


def judgements(
    questions: Sequence[Asked],
    answers: Sequence[Answered],
    passages: Mapping[str, str],
    judge: Judge,
    repeats: int,
) -> list[Json]:
    """Judge every answer, so often.

    Args:
        questions: The questions.
        answers: The answers, each to one of them.
        passages: Chunk id -> text.
        judge: Who judges.
        repeats: How often.

    Returns:
        One row for each answer and repeat, in the answers' order.
    """
    asked = {question.id: question for question in questions}
    found = _found(asked, answers, passages, judge, repeats)
    return [
        _row(Place(row.question, row.pipeline, repeat), asked[row.question], row, found)
        for row in answers
        for repeat in range(repeats)
    ]


def _found(
    asked: Mapping[str, Asked], answers: Sequence[Answered], passages: Mapping[str, str], judge: Judge, repeats: int
) -> Found:
    """All verdicts, kind by kind, so that each kind goes to the judge in one go."""
    said = {
        Place(row.question, row.pipeline, repeat): row
        for row in answers
        if not (row.failure or row.declined)
        for repeat in range(repeats)
    }
    found = Found()
    references = [name for name in dict.fromkeys(row.question for row in said.values()) if _has_reference(asked[name])]
    splits = [ToSplit(asked[name].text, asked[name].reference, None) for name in references]
    splits += [ToSplit(asked[place.question].text, row.text, place.repeat) for place, row in said.items()]
    parts = judge.statements(splits)
    found.claims = dict(zip(references, parts, strict=False))
    found.statements = dict(zip(said, parts[len(references) :], strict=True))

    supported = {
        place: ToSupport(statements, tuple(passages[chunk] for chunk in said[place].passages), place.repeat)
        for place, statements in found.statements.items()
        if statements is not None and said[place].passages
    }
    found.support = _by_place(supported, judge.support(list(supported.values())))
    compared = {
        place: ToCompare(asked[place.question].text, claims, row.text, place.repeat)
        for place, row in said.items()
        if (claims := found.claims.get(place.question)) is not None
    }
    found.agreement = _by_place(compared, judge.agreement(list(compared.values())))
    rated = {
        place: ToRate(asked[place.question].text, row.text, place.repeat)
        for place, row in said.items()
        if asked[place.question].answerable
    }
    found.relevance = _by_place(rated, judge.relevance(list(rated.values())))
    return found


T = TypeVar("T")


def _by_place(items: Mapping[Place, object], verdicts: Sequence[T]) -> dict[Place, T]:
    return dict(zip(items, verdicts, strict=True))


def _has_reference(asked: Asked) -> bool:
    return asked.answerable and bool(asked.reference.strip())


def _row(place: Place, asked: Asked, answer: Answered, found: Found) -> Json:
    row: Json = place._asdict()
    if not answer.declined:
        row |= _grounding(place, answer, found)
    if _has_reference(asked) or not asked.answerable:
        row["correctness"] = _correctness(place, asked, answer, found)
    if asked.answerable:
        row["relevance"] = _relevance(place, answer, found)
    return row


def _scored(score: float) -> Json:
    return {"score": score, "failure": ""}


def _failed(reason: str) -> Json:
    return {"score": None, "failure": reason}


def _grounding(place: Place, answer: Answered, found: Found) -> Json:
    """Faithfulness, and both sides of the citations."""
    statements = found.statements.get(place)
    # Without any passage nothing is supported, and nobody need be asked.
    support = found.support.get(place) if answer.passages else tuple(frozenset[int]() for _ in statements or ())
    counts = {"statements": len(statements or ()), "supported": 0}
    if statements is None or support is None:
        why = _failed(NO_ANSWER if answer.failure else NO_STATEMENTS if statements is None else NO_VERDICT)
        return {"faithfulness": {**why, **counts}, "citation_precision": why, "citation_recall": why}
    counts["supported"] = sum(bool(passages) for passages in support)
    cited = {answer.passages.index(chunk) for chunk in answer.cited}
    of_use = cited & frozenset().union(*support)
    citations = len(cited) + len(answer.invented)
    return {
        "faithfulness": {**_scored(counts["supported"] / len(statements)), **counts},
        # An answer that cites nothing shows nothing: 0, as in ALCE.
        "citation_precision": _scored(len(of_use) / citations if citations else 0.0),
        "citation_recall": _scored(sum(bool(cited & passages) for passages in support) / len(statements)),
    }


def _correctness(place: Place, asked: Asked, answer: Answered, found: Found) -> Json:
    if answer.failure:
        return _failed(NO_ANSWER)
    if answer.declined or not asked.answerable:
        return _scored(float(answer.declined and not asked.answerable))
    if found.claims.get(place.question) is None:
        return _failed(NO_CLAIMS)
    words = found.agreement.get(place)
    return _failed(NO_VERDICT) if words is None else _scored(agreement_score(words))


def agreement_score(words: Sequence[Agreement]) -> float:
    """F1 of the claims: stated ones are true positives, all others false negatives, contradicted ones both kinds of false.

    What an answer says beyond the reference neither helps nor harms here; whether it is true to the passages is
    faithfulness.

    >>> agreement_score(["stated", "stated"]), agreement_score(["missing", "contradicted"])
    (1.0, 0.0)
    >>> round(agreement_score(["stated", "missing"]), 3), agreement_score(["stated", "contradicted"])
    (0.667, 0.5)
    """
    stated, contradicted = words.count("stated"), words.count("contradicted")
    false_negatives = len(words) - stated
    return stated / (stated + 0.5 * (contradicted + false_negatives))


def _relevance(place: Place, answer: Answered, found: Found) -> Json:
    if answer.failure:
        return _failed(NO_ANSWER)
    if answer.declined:
        return _scored(0.0)
    score = found.relevance.get(place)
    return _failed(NO_VERDICT) if score is None else _scored(score)
