"""What judging would ask, before anybody is asked."""

from collections.abc import Sequence

from benchmark.answers.judge_items import Judge, ToSplit
from benchmark.answers.judge_plain import sentences
from benchmark.llm.estimate import estimate
from benchmark.llm.journal import Journal
from benchmark.llm.model import Answer, ChatRequest, LanguageModel
from benchmark.llm.rounds import kept_answers


class Plan:
    """Takes requests as a judge would, and only counts them; kept answers are handed back.

    Attributes:
        lines: What would be asked, a line for each purpose.
        keys: The journal's keys of all requests.
    """

    def __init__(self, model: LanguageModel, journal: Journal, fresh: bool) -> None:
        self._model, self._journal, self._fresh = model, journal, fresh
        self.lines: list[str] = []
        self.keys: list[str] = []

    def ask(self, requests: Sequence[ChatRequest], purpose: str) -> list[Answer | None]:
        """See `benchmark.answers.judge_items.Ask`."""
        model, journal = self._model, self._journal
        if requests:
            told = estimate(model, model.price, requests, journal, fresh=self._fresh).line
            self.lines.append(f"{purpose} ({model.identity}): {told}")
        keys = [request.key(model.identity) for request in requests]
        self.keys += keys
        kept = kept_answers(journal, dict(zip(keys, requests, strict=True))).all
        return [kept.get(key) for key in keys]


class Guess:
    """A judge whose missing statements are the sentences, for an estimate."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.support, self.agreement = judge.support, judge.agreement
        self.relevance, self.preference = judge.relevance, judge.preference

    def statements(self, items: Sequence[ToSplit]) -> list[tuple[str, ...] | None]:
        """See `Judge`."""
        found = self._judge.statements(items)
        return [sentences(item.text) if known is None else known for item, known in zip(items, found, strict=True)]
