"""A judge for models that follow no instructions: plain questions that are answered with yes or no.

It is weak: such a model often says the same word to everything. An answer that is neither a clear yes nor a clear no
counts as failed. Texts are fenced as for any judge, the question stands after them, and the answer is begun for it.
"""

import re
from collections.abc import Sequence
from typing import Final

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
from benchmark.llm.model import ChatRequest, Message
from benchmark.llm.prompts import Prompts, fenced
from benchmark.specs import LLMSpec

_MAX_TOKENS: Final = 4
_PREFILL: Final = "Answer:"
_WORD = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[^\sa-z])|\n+")


def sentences(text: str) -> tuple[str, ...]:
    """The sentences of a text; a text without any word is one.

    >>> sentences("A loaf bakes for fifty minutes. It costs 2.50! So what?")
    ('A loaf bakes for fifty minutes.', 'It costs 2.50!', 'So what?')
    >>> sentences("...")
    ('...',)
    """
    parts = tuple(part.strip() for part in _END.split(text) if re.search(r"\w", part))
    return parts or (text.strip(),)


def yes_or_no(said: str) -> bool | None:
    """What was said, where its first word is yes or no and the other word does not follow.

    >>> yes_or_no(" Yes."), yes_or_no("no, never"), yes_or_no("not at all"), yes_or_no("yes or no")
    (True, False, None, None)
    """
    found = _WORD.match(said)
    if found is None:
        return None
    words = {word.lower() for word in re.findall(r"\b(?:yes|no)\b", said, re.IGNORECASE)}
    return None if len(words) == 2 else found[1].lower() == "yes"


class PlainJudge:
    """Judges by yes and no.

    Args:
        spec: The language model.
        prompts: `judge_plain_*`.
        ask: Puts the requests.
        repeats: How often each answer is judged; with one the likeliest word is taken (temperature 0).
    """

    def __init__(self, spec: LLMSpec, prompts: Prompts, ask: Ask, repeats: int) -> None:
        self._spec, self._prompts, self._ask, self._repeats = spec, prompts, ask, repeats

    def statements(self, items: Sequence[ToSplit]) -> list[tuple[str, ...] | None]:
        """The sentences, without asking anybody."""
        return [sentences(item.text) for item in items]

    def support(self, items: Sequence[ToSupport]) -> list[tuple[frozenset[int], ...] | None]:
        """Each statement with each passage; all must have been answered."""
        asked = [
            self._request("support", (passage, statement), item.sample)
            for item in items
            for statement in item.statements
            for passage in item.passages
        ]
        said = iter(self._said(asked, "judge: support"))
        found: list[tuple[frozenset[int], ...] | None] = []
        for item in items:
            rows = [[next(said) for _ in item.passages] for _ in item.statements]
            failed = any(word is None for row in rows for word in row)
            found.append(
                None if failed else tuple(frozenset(place for place, yes in enumerate(row) if yes) for row in rows)
            )
        return found

    def agreement(self, items: Sequence[ToCompare]) -> list[tuple[Agreement, ...] | None]:
        """Each claim: stated or missing; a contradiction is not asked for."""
        asked = [
            self._request("correctness", (claim, item.answer), item.sample) for item in items for claim in item.claims
        ]
        said = iter(self._said(asked, "judge: correctness"))
        found: list[tuple[Agreement, ...] | None] = []
        for item in items:
            row = [next(said) for _ in item.claims]
            words: tuple[Agreement, ...] = tuple("stated" if yes else "missing" for yes in row)
            found.append(None if any(yes is None for yes in row) else words)
        return found

    def relevance(self, items: Sequence[ToRate]) -> list[float | None]:
        """1 for yes, 0 for no."""
        asked = [self._request("relevance", (item.question, item.answer), item.sample) for item in items]
        return [None if yes is None else float(yes) for yes in self._said(asked, "judge: relevance")]

    def preference(self, items: Sequence[ToPrefer]) -> list[Winner | None]:
        """Whether the first answer is better; `no` speaks for the second, so that both orders have to agree."""
        asked = [self._request("preference", (item.question, item.first, item.second), None) for item in items]
        words: dict[bool | None, Winner | None] = {True: "first", False: "second", None: None}
        return [words[yes] for yes in self._said(asked, "judge: preference")]

    def _request(self, question: str, texts: Sequence[str], sample: int | None) -> ChatRequest:
        material = "\n\n".join(fenced(text) for text in texts)
        return ChatRequest(
            messages=(Message("user", material + "\n\n" + self._prompts.text(f"judge_plain_{question}")),),
            prefill=_PREFILL,
            temperature=self._spec.temperature if sample is not None and self._repeats > 1 else 0.0,
            max_tokens=_MAX_TOKENS,
            stop=("\n",),
            sample=sample or 0,
        )

    def _said(self, requests: Sequence[ChatRequest], purpose: str) -> list[bool | None]:
        answers = self._ask(requests, purpose)
        return [None if answer is None else yes_or_no(answer.text) for answer in answers]
