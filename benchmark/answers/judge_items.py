"""What a judge is asked, whoever the judge is: one item for each verdict, and what comes back for it."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from benchmark.llm.model import Answer, ChatRequest

Agreement = Literal["stated", "contradicted", "missing"]
Winner = Literal["first", "second", "tie"]
Ask = Callable[[Sequence[ChatRequest], str], Sequence[Answer | None]]
"""Puts requests to the language model under a purpose; None for each that brought no answer in its form."""


class ToSplit(NamedTuple):
    """A text to break into statements; the reference answers are broken once, whatever the number of repeats."""

    question: str
    text: str
    sample: int | None


class ToSupport(NamedTuple):
    """Statements of one answer, with the passages that it was given."""

    statements: tuple[str, ...]
    passages: tuple[str, ...]
    sample: int


class ToCompare(NamedTuple):
    """Claims of the reference answer, with an answer that should state them."""

    question: str
    claims: tuple[str, ...]
    answer: str
    sample: int


class ToRate(NamedTuple):
    """A question and an answer that should answer it."""

    question: str
    answer: str
    sample: int


class ToPrefer(NamedTuple):
    """Two answers in the order in which they are shown."""

    question: str
    reference: str
    first: str
    second: str


class Judge(Protocol):
    """Judges many items at once; None stands for an item that could not be judged, and is never left out."""

    def statements(self, items: Sequence[ToSplit]) -> list[tuple[str, ...] | None]:
        """The statements of each text, at least one."""

    def support(self, items: Sequence[ToSupport]) -> list[tuple[frozenset[int], ...] | None]:
        """For each statement the passages that support it, counted from 0; as many sets as statements."""

    def agreement(self, items: Sequence[ToCompare]) -> list[tuple[Agreement, ...] | None]:
        """What the answer says of each claim; as many words as claims."""

    def relevance(self, items: Sequence[ToRate]) -> list[float | None]:
        """How far each answer answers its question, 0..1."""

    def preference(self, items: Sequence[ToPrefer]) -> list[Winner | None]:
        """Which of the two answers is better, as they were shown."""
