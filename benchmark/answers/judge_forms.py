"""A judge that follows instructions: it is asked for JSON of a form, and each form counts what must come back.

Verdicts are an object whose keys are the numbers of the statements. A verdict too few or too many, a number twice or one
that does not exist breaks the form, so that the answer is repaired once or the item has failed: there is nothing
to divide by but what was asked for.

Everything that comes from documents, questions and answers stands between marks that its text cannot hold
(`benchmark.llm.prompts.fenced`); the rules stand before it in a message of their own, and one line after it.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from benchmark.answers.judge_items import (
    Agreement,
    Ask,
    ToCompare,
    ToPrefer,
    ToRate,
    ToSplit,
    ToSupport,
    Winner,
)
from benchmark.files import Json
from benchmark.llm.forms import Form, FormError, object_form, object_schema
from benchmark.llm.model import ChatRequest, Message
from benchmark.llm.prompts import Prompts, fenced
from benchmark.specs import LLMSpec

MOST_STATEMENTS: Final = 60
_TEXT: Final[Json] = {"type": "string"}
STATEMENTS: Final = object_form(
    "answer_statements",
    {
        "statements": {
            "type": "array",
            "items": {"type": "string", "pattern": r"\S"},
            "minItems": 1,
            "maxItems": MOST_STATEMENTS,
        }
    },
)
RELEVANCE: Final = object_form(
    "answer_relevance", {"reason": _TEXT, "score": {"type": "integer", "minimum": 1, "maximum": 5}}
)
PREFERENCE: Final = object_form(
    "answer_preference", {"reason": _TEXT, "winner": {"type": "string", "enum": ["first", "second", "tie"]}}
)
R = TypeVar("R")


def support_form(statements: int, passages: int) -> Form:
    """One entry for each statement, under its number from 1: which of the passages support it.

    >>> sorted(support_form(2, 5).as_dict["required"])
    ['1', '2']
    """
    number = {"type": "integer", "minimum": 1, "maximum": passages}
    entry = object_schema({"reason": _TEXT, "supporting": {"type": "array", "items": number}})
    return _numbered("answer_support", statements, entry)


def agreement_form(claims: int) -> Form:
    """One entry for each claim, under its number from 1: what the answer says of it."""
    verdict = {"type": "string", "enum": ["stated", "contradicted", "missing"]}
    return _numbered("answer_correctness", claims, object_schema({"reason": _TEXT, "verdict": verdict}))


def _numbered(name: str, count: int, entry: Json) -> Form:
    return object_form(name, {str(number): entry for number in range(1, count + 1)})


class FormJudge:
    """Judges by JSON of a form.

    Args:
        spec: The language model.
        prompts: `judge_*`.
        ask: Puts the requests.
        repeats: How often each answer is judged; with one the likeliest verdict is taken (temperature 0).
    """

    def __init__(self, spec: LLMSpec, prompts: Prompts, ask: Ask, repeats: int) -> None:
        self._spec, self._prompts, self._ask, self._repeats = spec, prompts, ask, repeats

    def statements(self, items: Sequence[ToSplit]) -> list[tuple[str, ...] | None]:
        """See `Judge`."""
        requests = [
            self._request("statements", [("Question", item.question), ("Text", item.text)], STATEMENTS, item.sample)
            for item in items
        ]
        return self._answers(requests, "judge: statements", _statements)

    def support(self, items: Sequence[ToSupport]) -> list[tuple[frozenset[int], ...] | None]:
        """See `Judge`."""
        requests = [
            self._request(
                "support",
                [*_listed("Passage", item.passages), *_listed("Statement", item.statements)],
                support_form(len(item.statements), len(item.passages)),
                item.sample,
            )
            for item in items
        ]
        return self._answers(requests, "judge: support", _support)

    def agreement(self, items: Sequence[ToCompare]) -> list[tuple[Agreement, ...] | None]:
        """See `Judge`."""
        requests = [
            self._request(
                "correctness",
                [("Question", item.question), *_listed("Claim", item.claims), ("Answer", item.answer)],
                agreement_form(len(item.claims)),
                item.sample,
            )
            for item in items
        ]
        return self._answers(requests, "judge: correctness", _agreement)

    def relevance(self, items: Sequence[ToRate]) -> list[float | None]:
        """See `Judge`; the scores 1 to 5 become 0, 0.25, 0.5, 0.75 and 1."""
        requests = [
            self._request("relevance", [("Question", item.question), ("Answer", item.answer)], RELEVANCE, item.sample)
            for item in items
        ]
        return self._answers(requests, "judge: relevance", lambda found: (int(found["score"]) - 1) / 4)

    def preference(self, items: Sequence[ToPrefer]) -> list[Winner | None]:
        """See `Judge`; preferences are asked for once, at temperature 0."""
        requests = []
        for item in items:
            reference = [("Reference answer", item.reference)] if item.reference.strip() else []
            texts = [("Question", item.question), *reference, ("First answer", item.first),
                     ("Second answer", item.second)]  # fmt: skip
            requests.append(self._request("preference", texts, PREFERENCE, None))
        return self._answers(requests, "judge: preference", _winner)

    def _request(self, rules: str, texts: Sequence[tuple[str, str]], form: Form, sample: int | None) -> ChatRequest:
        """Rules, then labelled and fenced texts, then the last word.

        Args:
            rules: The prompt `judge_<rules>`.
            texts: Label (ours) and text (anybody's).
            form: Of the answer.
            sample: The repeat; None for what is asked once, whatever the number of repeats.
        """
        material = "\n\n".join(label + ":\n" + fenced(text) for label, text in texts)
        return ChatRequest(
            messages=(
                Message("system", self._prompts.text("judge_system") + "\n\n" + self._prompts.text(f"judge_{rules}")),
                Message("user", material + "\n\n" + self._prompts.text("judge_task")),
            ),
            temperature=self._spec.temperature if sample is not None and self._repeats > 1 else 0.0,
            max_tokens=self._spec.max_tokens,
            form=form,
            sample=sample or 0,
        )

    def _answers(self, requests: Sequence[ChatRequest], purpose: str, read: Callable[[Json], R]) -> list[R | None]:
        found: list[R | None] = []
        for request, answer in zip(requests, self._ask(requests, purpose), strict=True):
            try:
                assert request.form is not None  # noqa: S101 (see `_request`)
                found.append(None if answer is None else read(request.form.read(answer.text)))
            except FormError:
                found.append(None)
        return found


def _listed(label: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    return [(f"{label} {number}", text) for number, text in enumerate(texts, start=1)]


def _in_order(found: Json) -> list[Any]:
    return [found[str(number)] for number in range(1, len(found) + 1)]


def _statements(found: Json) -> tuple[str, ...]:
    return tuple(text.strip() for text in found["statements"])


def _support(found: Json) -> tuple[frozenset[int], ...]:
    return tuple(frozenset(number - 1 for number in entry["supporting"]) for entry in _in_order(found))


def _agreement(found: Json) -> tuple[Agreement, ...]:
    return tuple(entry["verdict"] for entry in _in_order(found))


def _winner(found: Json) -> Winner:
    winner: Winner = found["winner"]
    return winner
