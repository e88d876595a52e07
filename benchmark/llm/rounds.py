"""Asking a model for what is missing: a round of first attempts, a round of repairs, each result kept as it comes."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from benchmark.console import Update
from benchmark.llm.budget import BudgetMeter, cost_of
from benchmark.llm.forms import FormError
from benchmark.llm.model import UNLIMITED, Answer, ChatRequest, Failure, LanguageModel, Message, count_sum
from benchmark.llm.prompts import Prompts

if TYPE_CHECKING:
    from benchmark.llm.journal import Journal


class Kept(NamedTuple):
    """Answers that need not be asked for, by key."""

    journalled: dict[str, Answer]
    replayed: dict[str, Answer]

    @property
    def all(self) -> dict[str, Answer]:
        """Both."""
        return self.journalled | self.replayed


def kept_answers(journal: "Journal", wanted: Mapping[str, ChatRequest]) -> Kept:
    """What the journal, then the replay file, hold for these keys; what does not have its form counts as missing."""
    replaying = not journal.renewing(wanted)
    kept = Kept({}, {})
    for key, request in wanted.items():
        if (answer := journal.journalled(key)) and _has_form(request, answer):
            kept.journalled[key] = answer
        elif replaying and (answer := journal.replayed(key)) and _has_form(request, answer):
            kept.replayed[key] = answer
    return kept


def _has_form(request: ChatRequest, answer: Answer) -> bool:
    if request.form is None:
        return True
    try:
        request.form.read(answer.text)
    except FormError:
        return False
    return True


class Rounds:
    """The asking of one sequence of requests.

    An answer that does not have the form of its request is shown to the model once more, with what is wrong. Where a
    budget holds requests back, more rounds follow while room is left: what is set aside for a request is mostly more
    than it costs in the end.

    Attributes:
        answers: Key -> answer, as it stands in the journal.
        failures: Reasons, with how often each occurred.
        repaired: How many answers had the form at the second attempt only.
        not_started: How many requests the budget held back.
    """

    def __init__(self, model: LanguageModel, journal: "Journal", meter: BudgetMeter | None, prompts: Prompts) -> None:
        self.answers: dict[str, Answer] = {}
        self.failures: dict[str, int] = {}
        self.repaired = self.not_started = 0
        self._model, self._journal, self._meter, self._prompts = model, journal, meter, prompts
        self._unformed: dict[str, Answer] = {}
        self._waiting: dict[str, ChatRequest] = {}
        self._results = 0
        self._written: int | None = 0

    def run(self, missing: Mapping[str, ChatRequest], update: Update) -> None:
        """Ask for all of these; each has an answer, a failure, or was held back in the end.

        Raises:
            BenchError: The model cannot be reached or loaded at all.
        """
        self._waiting = dict(missing)
        self._unformed = {
            key: answer
            for key, request in missing.items()
            if request.form and (answer := self._journal.unformed(key)) is not None
        }
        begun, total = time.monotonic(), len(missing)

        def show() -> None:
            seconds = time.monotonic() - begun
            known = self._written is not None and seconds > 0
            update(total - len(self._waiting), f"{(self._written or 0) / seconds:,.0f} tokens/s" if known else "")

        more = True
        while self._waiting and more:
            held_back, results = self._held_back, self._results
            self._round({key: request for key, request in self._waiting.items() if key not in self._unformed}, show)
            self._round({key: self._repair(key, self._waiting[key]) for key in self._unformed}, show)
            more = self._held_back > held_back and self._results > results
        if self._held_back:
            self.not_started = len(self._waiting)
        else:
            for key, request in list(self._waiting.items()):
                self._fail(key, request, Failure("no result"), "no result")

    @property
    def _held_back(self) -> int:
        return self._meter.refused if self._meter else 0

    def _round(self, asked: Mapping[str, ChatRequest], show: Callable[[], None]) -> None:
        """Ask these; the keys are those of the first attempts."""
        keys, requests = list(asked), list(asked.values())
        for place, result in self._model.answers(requests, self._meter or UNLIMITED) if requests else ():
            self._results += 1
            if isinstance(result, Answer):
                self._written = count_sum([self._written, result.output_tokens])
            self._take(keys[place], requests[place], result)
            show()

    def _take(self, key: str, request: ChatRequest, result: Answer | Failure) -> None:
        first = self._unformed.get(key)
        if isinstance(result, Failure):
            self._fail(key, request, result, f"{result.reason} (in a repair)" if first else result.reason)
            return
        # Halves of surrogate pairs, which a broken reply may hold, cannot be written as UTF-8.
        result = replace(result, text=result.text.encode("utf-8", "replace").decode("utf-8"))
        try:
            text = request.form.canonical(result.text) if request.form else result.text
        except FormError as error:
            if first is None:
                self._journal.put_unformed(key, self._model.identity, result, cost_of(request, result))
                self._unformed[key] = result
            else:
                reason = "cut off at max_tokens" if result.cut_off else f"not the form: {error.kind}"
                self._fail(key, request, result, reason)
            return
        both = [result] if first is None else [first, result]
        answer = Answer(
            text, count_sum([each.input_tokens for each in both]), count_sum([each.output_tokens for each in both])
        )
        self._journal.put(key, self._model.identity, answer, cost_of(request, result))
        self.answers[key] = answer
        self.repaired += first is not None
        self._done(key)

    def _fail(self, key: str, request: ChatRequest, result: Answer | Failure, reason: str) -> None:
        self._journal.put_failure(key, self._model.identity, cost_of(request, result))
        self.failures[reason] = self.failures.get(reason, 0) + 1
        self._done(key)

    def _done(self, key: str) -> None:
        del self._waiting[key]
        self._unformed.pop(key, None)

    def _repair(self, key: str, request: ChatRequest) -> ChatRequest:
        """The second attempt: the conversation goes on with the answer and with what is wrong about it."""
        answer = self._unformed[key]
        wrong = "it was cut off before its end; write less" if answer.cut_off else self._wrong(request, answer)
        asked_again = Message("user", self._prompts.text("repair") + "\n" + wrong)
        return replace(request, messages=(*request.messages, Message("assistant", answer.text), asked_again))

    @staticmethod
    def _wrong(request: ChatRequest, answer: Answer) -> str:
        try:
            if request.form:
                request.form.read(answer.text)
        except FormError as error:
            return error.text
        return "it is not the JSON object that was asked for"
