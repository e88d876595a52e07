"""What may be spent on a language model: decided before each request, so that about the worst case still fits.

About, for two reasons: how many tokens an endpoint reads is estimated beforehand (four bytes a token), and tries that
are lost on the way (timeouts, broken connections) may be paid for beside the one that counts.
"""

import threading
from collections import Counter
from typing import NamedTuple

from benchmark.llm.model import Answer, Failure, Price, Request, Result
from benchmark.specs import Budget

_BYTES_A_TOKEN = 4


def tokens_of(text: str) -> int:
    """About how many tokens a text has: four characters a token, counted as UTF-8 so that other scripts count more.

    >>> tokens_of(""), tokens_of("water"), tokens_of("水水水水")
    (0, 2, 3)
    """
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_A_TOKEN)


def input_tokens_of(request: Request) -> int:
    """About how many tokens an endpoint reads for a request."""
    return sum(tokens_of(text) for text in request.texts)


class Spent(NamedTuple):
    """What was paid for.

    Attributes:
        calls: Requests that cost something.
        input_tokens: Tokens read; where the endpoint did not tell, an estimate.
        output_tokens: Tokens written; where the endpoint did not tell, an estimate.
        unknown_calls: Calls of which a count is such an estimate.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    unknown_calls: int = 0

    def plus(self, other: "Spent") -> "Spent":
        """The sum.

        >>> Spent(1, 10, 5).plus(Spent(1, 1, 1, 1))
        Spent(calls=2, input_tokens=11, output_tokens=6, unknown_calls=1)
        """
        return Spent(*(mine + its for mine, its in zip(self, other, strict=True)))

    def beyond(self, other: "Spent") -> "Spent":
        """What is more here than there.

        >>> Spent(3, 30, 5).beyond(Spent(1, 40, 5))
        Spent(calls=2, input_tokens=0, output_tokens=0, unknown_calls=0)
        """
        return Spent(*(max(0, mine - its) for mine, its in zip(self, other, strict=True)))

    def times(self, factor: int) -> "Spent":
        """The same spent `factor` times."""
        return Spent(*(count * factor for count in self))


NOTHING = Spent()


class Paid(NamedTuple):
    """The part of what was spent whose price was known when it was spent.

    Attributes:
        usd: US dollars.
        input_tokens: Tokens read for them.
        output_tokens: Tokens written for them.
    """

    usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0


def cost_of(request: Request, result: Result) -> Spent:
    """What one request has cost, with the tries that were lost before its result.

    Counts that the endpoint does not tell are estimated from the texts. Nobody knows how much a lost answer had: as
    much as it may.
    """
    lost = _most(request)._replace(unknown_calls=1).times(result.lost)
    if isinstance(result, Failure) and (result.input_tokens, result.output_tokens) == (0, 0):
        return lost
    written = tokens_of(result.text) if isinstance(result, Answer) else request.max_tokens
    last = Spent(
        1,
        input_tokens_of(request) if result.input_tokens is None else result.input_tokens,
        written if result.output_tokens is None else result.output_tokens,
        int(None in (result.input_tokens, result.output_tokens)),
    )
    return last.plus(lost)


def dollars(usd: float) -> str:
    """Money for people; less than a cent keeps its digits.

    >>> dollars(12), dollars(0), dollars(0.00042)
    ('$12.00', '$0.00', '$0.00042')
    """
    return f"${usd:,.2f}" if usd >= 0.01 or usd == 0 else f"${usd:.6f}".rstrip("0")


class BudgetMeter:
    """Lets a request start only while the budget holds even if everything under way becomes as large as it may.

    Args:
        budget: What may be spent, over all runs; None only counts, and lets everything through.
        price: What tokens cost; known where the budget is in US dollars (the specification sees to it).
        spent: What earlier runs have spent.
        paid: The part of it whose dollars are known; the rest counts at `price`.
    """

    def __init__(self, budget: Budget | None, price: Price, spent: Spent, paid: Paid = Paid()) -> None:  # noqa: B008
        self._budget, self._price, self._paid = budget, price, paid
        self._spent, self._under_way_most = spent, NOTHING
        self._under_way: Counter[Request] = Counter()
        self._refused = 0
        self._lock = threading.Lock()

    @property
    def spent(self) -> Spent:
        """What was spent so far, earlier runs included."""
        with self._lock:
            return self._spent

    @property
    def refused(self) -> int:
        """How often a request was not let through."""
        with self._lock:
            return self._refused

    def reserve(self, request: Request) -> bool:
        """Whether the request may start; if so, its largest cost is set aside until `settle`."""
        with self._lock:
            under_way = self._under_way_most.plus(_most(request))
            if self._exceeded(self._spent.plus(under_way)):
                self._refused += 1
                return False
            self._under_way_most = under_way
            self._under_way[request] += 1
            return True

    def settle(self, request: Request, result: Result) -> None:
        """The request has ended; one that was never let through (sent by an earlier run) counts all the same."""
        with self._lock:
            if self._under_way[request]:
                self._under_way[request] -= 1
                self._under_way_most = self._under_way_most.plus(_most(request).times(-1))
            self._spent = self._spent.plus(cost_of(request, result))

    def told(self) -> str:
        """The budget and what is spent of it, in a few words."""
        spent, budget = self.spent, self._budget
        if budget is None:
            return f"{spent.calls:,} calls, no budget"
        words = []
        if budget.usd is not None:
            words.append(f"{dollars(self._dollars(spent))} of {dollars(budget.usd)}")
        if budget.tokens is not None:
            words.append(f"{spent.input_tokens + spent.output_tokens:,} of {budget.tokens:,} tokens")
        if budget.calls is not None:
            words.append(f"{spent.calls:,} of {budget.calls:,} calls")
        return ", ".join(words) + " spent"

    def _exceeded(self, total: Spent) -> bool:
        budget = self._budget
        return budget is not None and (
            (budget.calls is not None and total.calls > budget.calls)
            or (budget.tokens is not None and total.input_tokens + total.output_tokens > budget.tokens)
            or (budget.usd is not None and self._dollars(total) > budget.usd)
        )

    def _dollars(self, spent: Spent) -> float:
        paid = self._paid
        rest = self._price.cost(spent.input_tokens - paid.input_tokens, spent.output_tokens - paid.output_tokens)
        if rest is None:
            raise ValueError("a budget in US dollars needs known prices")
        return paid.usd + rest


def _most(request: Request) -> Spent:
    """What a request costs at most, as far as its length tells."""
    return Spent(1, input_tokens_of(request), request.max_tokens)
