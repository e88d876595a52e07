"""Which of two answers is better: the baseline's against each other pipeline's, shown in both orders.

Judges prefer what stands first (or second) whatever it says (Zheng et al., arXiv 2306.05685, section 3.3); as there, a
preference counts only where both orders agree, and is a tie otherwise.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from benchmark.answer_records import Answered, Asked
from benchmark.answers.judge_items import Judge, ToPrefer, Winner
from benchmark.answers.judgements import NO_ANSWER, NO_VERDICT
from benchmark.files import Json

_TURNED: Final[dict[Winner, Winner]] = {"first": "second", "second": "first", "tie": "tie"}


class Pair(NamedTuple):
    """Two answers to one question, the baseline's first."""

    question: Asked
    first: Answered
    second: Answered

    @property
    def failed(self) -> bool:
        """Whether one of the answers is missing."""
        return bool(self.first.failure or self.second.failure)

    @property
    def same(self) -> bool:
        """Whether they are a tie by themselves: the same words, or both decline."""
        declined = self.first.declined and self.second.declined
        return declined or (self.first.declined == self.second.declined and self.first.text == self.second.text)


def pairs_of(questions: Sequence[Asked], answers: Sequence[Answered]) -> list[Pair]:
    """The baseline's answer to each answerable question with each other pipeline's.

    What is right for an unanswerable question needs no judge: to decline.

    Args:
        questions: The questions.
        answers: Of all pipelines, the baseline's first.
    """
    by_place = {(row.question, row.pipeline): row for row in answers}
    baseline, *others = dict.fromkeys(row.pipeline for row in answers)
    return [
        Pair(asked, by_place[asked.id, baseline], by_place[asked.id, other])
        for other in others
        for asked in questions
        if asked.answerable
    ]


def preferences(pairs: Sequence[Pair], judge: Judge) -> list[Json]:
    """Have the judge compare pairs in both orders.

    Returns:
        One row for each pair, in order; `orders` is empty where nobody was asked.
    """
    asked = [pair for pair in pairs if not (pair.failed or pair.same)]
    items = [item for pair in asked for item in _both_orders(pair)]
    said = judge.preference(items)
    orders = {id(pair): (said[2 * n], _back(said[2 * n + 1])) for n, pair in enumerate(asked)}
    return [_row(pair, orders.get(id(pair))) for pair in pairs]


def _both_orders(pair: Pair) -> tuple[ToPrefer, ToPrefer]:
    question, reference = pair.question.text, pair.question.reference
    first, second = pair.first.text, pair.second.text
    return ToPrefer(question, reference, first, second), ToPrefer(question, reference, second, first)


def _back(winner: Winner | None) -> Winner | None:
    return None if winner is None else _TURNED[winner]


def _row(pair: Pair, orders: tuple[Winner | None, Winner | None] | None) -> Json:
    row = {"question": pair.question.id, "first": pair.first.pipeline, "second": pair.second.pipeline}
    if pair.failed:
        return {**row, "preferred": None, "orders": [], "failure": NO_ANSWER}
    if orders is None:
        return {**row, "preferred": "tie", "orders": [], "failure": ""}
    if None in orders:
        return {**row, "preferred": None, "orders": list(orders), "failure": NO_VERDICT}
    preferred = orders[0] if orders[0] == orders[1] else "tie"
    return {**row, "preferred": preferred, "orders": list(orders), "failure": ""}
