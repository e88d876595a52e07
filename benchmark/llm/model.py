"""What a language model is here: requests go in, answers come out one by one, in any order.

Whoever asks keeps each answer as it arrives (`benchmark.llm.journal`), so that nothing is paid for twice.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Protocol, TypeVar

from benchmark.files import Json, hash_json
from benchmark.llm.forms import Form


def short_identity(identity: str) -> str:
    """A model's identity for people to read: the hash of its weights is cut.

    >>> short_identity("local:models/small.gguf@" + 8 * "0123abcd")
    'local:models/small.gguf@0123abcd0123'
    """
    return re.sub(r"@([0-9a-f]{12})[0-9a-f]{52}$", r"@\1", identity)


class Message(NamedTuple):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class ChatRequest:
    """One question to a language model.

    Attributes:
        messages: The conversation so far; texts of documents stand in it as they are, never formatted.
        prefill: How the assistant's turn begins; only a local model can be made to continue it.
        background: The same conversation without the passage. A local model moves away from what it would say to
            that, by `context_weight`; an endpoint leaves it alone.
        context_weight: 0 leaves the background out.
        temperature: 0 takes the likeliest token each time.
        max_tokens: The longest answer, in the model's tokens.
        stop: The answer ends before the first of these.
        form: The form in which the answer is expected (JSON of a schema); None for free text.
        sample: Tells apart requests that are otherwise equal.
    """

    messages: tuple[Message, ...]
    prefill: str = ""
    background: tuple[Message, ...] = ()
    context_weight: float = 0.0
    temperature: float = 0.7
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    form: Form | None = None
    sample: int = 0

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything that an endpoint reads: the messages and, where there is one, the form."""
        contents = (message.content for message in self.messages)
        return (*contents, self.prefill, *([self.form.schema] if self.form else []))

    def key(self, identity: str) -> str:
        """sha256 over everything that can change the answer, the model included (hex)."""
        return hash_json(
            {
                "model": identity,
                "messages": [list(message) for message in self.messages],
                "prefill": self.prefill,
                "background": [[list(message) for message in self.background], self.context_weight],
                "parameters": [self.temperature, self.max_tokens, list(self.stop)],
                "schema": self.form.key if self.form else "",
                "sample": self.sample,
            }
        )


@dataclass(frozen=True)
class Answer:
    """What a model said.

    Attributes:
        text: Never empty.
        input_tokens: Tokens read, as the model counts them; None where it does not say.
        output_tokens: Tokens written; None where it does not say.
        cut_off: Whether it ended because it had reached its longest length.
        lost: Tries before it that may have been paid for and brought nothing (timeouts, lost connections).
    """

    text: str
    input_tokens: int | None
    output_tokens: int | None
    cut_off: bool = False
    lost: int = 0


@dataclass(frozen=True)
class Failure:
    """Why one request has no answer; never journalled, so that the next run asks again.

    Attributes:
        reason: A short line, the same for failures of the same kind, without text of the request.
        input_tokens: Tokens that were paid for all the same (0: none); None where it is not known.
        output_tokens: As `input_tokens`, for what the model wrote.
        lost: Tries that may have been paid for and brought nothing, the last one not counted.
    """

    reason: str
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    lost: int = 0


class Answered(NamedTuple):
    """The result for the request at a position of the sequence that was asked."""

    place: int
    result: Answer | Failure


class Price(NamedTuple):
    """US dollars for a million tokens; None: not known."""

    usd_per_million_input: float | None
    usd_per_million_output: float | None

    def cost(self, input_tokens: int | None, output_tokens: int | None) -> float | None:
        """US dollars, or None where a price or a count is not known.

        >>> Price(1.0, 2.0).cost(1_000_000, 500_000)
        2.0
        >>> Price(None, 2.0).cost(10, 10) is None
        True
        """
        if None in (*self, input_tokens, output_tokens):
            return None
        assert self.usd_per_million_input is not None and input_tokens is not None  # noqa: S101
        assert self.usd_per_million_output is not None and output_tokens is not None  # noqa: S101
        return (input_tokens * self.usd_per_million_input + output_tokens * self.usd_per_million_output) / 1e6


class Request(Protocol):
    """What is sent to an endpoint, as far as its cost goes; hashable."""

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything that the endpoint reads."""

    @property
    def max_tokens(self) -> int:
        """How many tokens it may write."""


class Result(Protocol):
    """What came back, as far as its cost goes: a dataclass, with counts as in `Answer`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def input_tokens(self) -> int | None:
        """Tokens read."""

    @property
    def output_tokens(self) -> int | None:
        """Tokens written."""

    @property
    def lost(self) -> int:
        """Tries before it that may have been paid for and brought nothing."""


Q = TypeVar("Q", bound=Request)
A = TypeVar("A", bound=Result)


class Done(NamedTuple, Generic[A]):
    """The result for the request at a position of the sequence that was asked."""

    place: int
    result: A | Failure


class Meter(Protocol):
    """Decides whether a request may start, and learns what it did cost; safe to call from several threads."""

    def reserve(self, request: Request) -> bool:
        """Whether the request may start; if so, its largest cost is set aside until `settle`."""

    def settle(self, request: Request, result: Result) -> None:
        """The request has ended: what was set aside becomes what it did cost."""


class Unlimited:
    """A meter that lets everything through."""

    def reserve(self, request: Request) -> bool:
        """Always."""
        return True

    def settle(self, request: Request, result: Result) -> None:
        """Nothing is kept."""


UNLIMITED = Unlimited()


class LanguageModel(Protocol):
    """A language model; opening one is cheap, weights and connections wait for the first request."""

    @property
    def identity(self) -> str:
        """What the answers depend on beside the request; part of every key, free of secrets and of paths."""

    @property
    def price(self) -> Price:
        """What its tokens cost."""

    def answers(self, requests: Sequence[ChatRequest], meter: Meter = UNLIMITED) -> Iterator[Answered]:
        """Ask; results come as they are ready, in any order, at most one for each request.

        A request that the meter does not let start has no result; those under way are finished and handed on.

        Raises:
            BenchError: The model cannot be reached or loaded at all.
        """


def count_sum(counts: Sequence[int | None]) -> int | None:
    """The sum, or None where one of the counts is not known.

    >>> count_sum([1, 2]), count_sum([1, None])
    (3, None)
    """
    return None if any(count is None for count in counts) else sum(count for count in counts if count is not None)


def told(value: Any) -> Any:
    """A figure for a manifest: what is not known is "unknown", never 0."""
    return "unknown" if value is None else value


def usage_facts(answers: Sequence[Answer], price: Price) -> Json:
    """Tokens and money of answers, for a manifest."""
    read = count_sum([answer.input_tokens for answer in answers])
    written = count_sum([answer.output_tokens for answer in answers])
    return {"input_tokens": told(read), "output_tokens": told(written), "usd": told(price.cost(read, written))}
