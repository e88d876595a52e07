"""Asking a model for what is missing: first attempts, then repairs, each result kept as it comes."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from benchmark.console import Update
from benchmark.errors import BenchError
from benchmark.llm.budget import BudgetMeter, Spent, cost_of
from benchmark.llm.forms import FormError
from benchmark.llm.model import Answer, ChatRequest, Failure, LanguageModel, Message, count_sum
from benchmark.llm.prompts import Prompts

if TYPE_CHECKING:
    from benchmark.llm.journal import Journal

TOLERATED = 0.05
"""Share of all requests that may fail (a content filter, say) without stopping the stage."""
_TRIAL = 30
"""So many results, repairs included, are looked at before the rest is asked."""
_LEAST_USEFUL = 1 / 3
"""Share of the results that must have become answers for a run to go on."""
_LEAST_ADMITTED = 0.1
"""Share of what waits that a round within a budget must bring for another one to be made."""
_USELESS = frozenset({"empty answer", "refused by the model"})
"""Failures that lie with the model or with what it is asked, not with the way to it."""


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
        if journal.awaits_renewal(key):
            continue
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

    An answer that does not have the form of its request is shown to the model once more, with what is wrong. The first
    requests, with their repairs, go ahead of the others: a model of which little comes is not paid for to the end.
    Where a budget holds requests back, more rounds follow while that is worth it: what is set aside for a request is
    mostly more than it costs in the end. A model with a true `one_round` (each round takes it hours) is asked in one.

    Attributes:
        answers: Key -> answer, as it stands in the journal.
        failures: Reasons, with how often each occurred.
        repaired: How many answers had the form at the second attempt only.
        not_started: How many requests the budget held back.
    """

    def __init__(self, model: LanguageModel, journal: "Journal", meter: BudgetMeter, prompts: Prompts) -> None:
        self.answers: dict[str, Answer] = {}
        self.failures: dict[str, int] = {}
        self.repaired = self.not_started = 0
        self._model, self._journal, self._meter, self._prompts = model, journal, meter, prompts
        self._one_round = bool(getattr(model, "one_round", False))
        self._unformed: dict[str, Answer] = {}
        self._waiting: dict[str, ChatRequest] = {}
        self._results = self._useless = self._written = 0
        self._kept: Spent = meter.spent

    def run(self, missing: Mapping[str, ChatRequest], update: Update) -> None:
        """Ask for all of these; each has an answer, a failure, or was held back in the end.

        Raises:
            BenchError: The model cannot be reached or loaded at all, or too few of its first results are answers.
        """
        self._waiting = dict(missing)
        self._unformed = {
            key: answer
            for key, request in missing.items()
            if request.form and (answer := self._journal.unformed(key)) is not None
        }
        self._update, self._begun, self._total = update, time.monotonic(), len(missing)
        if not self._one_round:
            self._try_out()
        more = True
        while self._waiting and more:
            waiting, refused, results = len(self._waiting), self._meter.refused, self._results
            self._round(list(self._waiting))
            worth_it = self._results - results >= max(1, _LEAST_ADMITTED * waiting)
            more = self._meter.refused > refused and worth_it and not self._one_round
        if self._meter.refused:
            self.not_started = len(self._waiting)
        else:
            for key in list(self._waiting):
                self._fail(key, "no result", Spent())

    def keep_rest(self) -> None:
        """Write what was spent without any result (cancelled, or ended by an error) to the journal."""
        rest = self._meter.spent.beyond(self._kept)
        if any(rest):
            self._journal.put_cost(self._model.identity, rest, self._usd(rest))
            self._kept = self._kept.plus(rest)

    def stop_if_incomplete(self, known: int, total: int, tolerated: float = TOLERATED) -> None:
        """End the stage where too much is missing.

        Args:
            known: How many requests are answered, now or before.
            total: How many there are.
            tolerated: The share of them that may have failed; one may in any case.

        Raises:
            BenchError: The budget is reached, or too many requests failed.
        """
        who, failed = self._model.identity, sum(self.failures.values())
        if self.not_started:
            also = f" ({failed:,} failed, mostly: {self._commonest})" if failed else ""
            raise BenchError(
                f"{who}: the budget is reached ({self._meter.told()}); {known:,} of {total:,} requests are answered and "
                f"kept{also}; raise 'budget' in the benchmark file and run again to go on"
            )
        if failed > max(1, tolerated * total):
            raise BenchError(
                f"{who}: {failed} of {total} requests failed (mostly: {self._commonest}); {len(self.answers)} answers "
                "are kept, run again to ask only for the rest"
            )

    @property
    def _commonest(self) -> str:
        return max(sorted(self.failures), key=lambda reason: self.failures[reason], default="")

    @property
    def _judged(self) -> int:
        """How many results have told whether the model is of use."""
        return len(self.answers) + self._useless

    def _try_out(self) -> None:
        """The first thirty results, before the rest is asked; left to the rest where the way to the model is bad."""
        keys = list(self._waiting)
        for start in range(0, len(keys), _TRIAL):
            before = self._judged
            self._round(keys[start : start + _TRIAL])
            if self._judged >= _TRIAL or self._judged - before < _TRIAL / 2:
                return

    def _round(self, keys: Sequence[str]) -> None:
        """First attempts, then repairs; where few answers had their form, some repairs go ahead of the others."""
        self._ask({key: self._waiting[key] for key in keys if key not in self._unformed})
        repairs = [key for key in keys if key in self._unformed]
        doubtful = len(self.answers) < _LEAST_USEFUL * (self._judged + len(repairs))
        ahead = _TRIAL if doubtful else len(repairs)
        for part in (repairs[:ahead], repairs[ahead:]):
            self._ask({key: self._repair(key, self._waiting[key]) for key in part})
            self._stop_if_useless()

    def _stop_if_useless(self) -> None:
        if not self._waiting or self._judged < _TRIAL or len(self.answers) >= _LEAST_USEFUL * self._judged:
            return
        raise BenchError(
            f"{self._model.identity}: stopped after {self._judged:,} results, of which only {len(self.answers):,} are "
            f"answers (mostly: {self._commonest}); {len(self._waiting):,} requests are not finished; take another model, "
            "a larger 'max_tokens' or other prompts, and run again"
        )

    def _ask(self, asked: Mapping[str, ChatRequest]) -> None:
        """Ask these; the keys are those of the first attempts."""
        keys, requests = list(asked), list(asked.values())
        for place, result in self._model.answers(requests, self._meter) if requests else ():
            self._results += 1
            self._written += result.output_tokens or 0
            self._take(keys[place], requests[place], result)
            self._show()

    def _show(self) -> None:
        seconds = time.monotonic() - self._begun
        rate = f"{self._written / seconds:,.0f} tokens/s" if self._written and seconds > 0 else ""
        self._update(self._total - len(self._waiting), rate)

    def _take(self, key: str, request: ChatRequest, result: Answer | Failure) -> None:
        first, cost = self._unformed.get(key), cost_of(request, result)
        if isinstance(result, Failure):
            self._useless += result.reason in _USELESS
            self._fail(key, f"{result.reason} (in a repair)" if first else result.reason, cost)
            return
        # Halves of surrogate pairs, which a broken reply may hold, cannot be written as UTF-8.
        result = replace(result, text=result.text.encode("utf-8", "replace").decode("utf-8"))
        try:
            text = request.form.canonical(result.text) if request.form else result.text
        except FormError as error:
            if first is None:
                self._journal.put_unformed(key, self._model.identity, result, cost, self._usd(cost))
                self._kept = self._kept.plus(cost)
                self._unformed[key] = result
            else:
                self._useless += 1
                self._fail(key, "cut off at max_tokens" if result.cut_off else f"not the form: {error.kind}", cost)
            return
        both = [result] if first is None else [first, result]
        answer = Answer(
            text, count_sum([each.input_tokens for each in both]), count_sum([each.output_tokens for each in both])
        )
        self._journal.put(key, self._model.identity, answer, cost, self._usd(cost))
        self._kept = self._kept.plus(cost)
        self.answers[key] = answer
        self.repaired += first is not None
        self._done(key)

    def _fail(self, key: str, reason: str, cost: Spent) -> None:
        self._journal.put_failure(key, self._model.identity, cost, self._usd(cost))
        self._kept = self._kept.plus(cost)
        self.failures[reason] = self.failures.get(reason, 0) + 1
        self._done(key)

    def _usd(self, cost: Spent) -> float | None:
        """US dollars at today's price, if it is known."""
        return self._model.price.cost(cost.input_tokens, cost.output_tokens)

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
