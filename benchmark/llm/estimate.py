"""What asking would cost, before anything is asked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.llm.budget import dollars, input_tokens_of
from benchmark.llm.journal import Journal
from benchmark.llm.model import ChatRequest, LanguageModel, Price
from benchmark.llm.rounds import kept_answers


@dataclass(frozen=True)
class Estimate:
    """What is still to be asked.

    Attributes:
        calls: Requests without a kept answer; equal ones count once.
        kept: Requests whose answer is kept already.
        input_tokens: About how many tokens will be read.
        output_tokens_most: Tokens written if every answer is as long as it may be; an answer that does not have its
            form is asked for a second time, which is not foreseen here.
        usd_most: US dollars for these; None where a price is not known.
        formed: Whether answers of a given form are among them, so that repairs may come on top.
    """

    calls: int
    kept: int
    input_tokens: int
    output_tokens_most: int
    usd_most: float | None
    formed: bool = False

    @property
    def line(self) -> str:
        """The estimate in one line.

        >>> Estimate(1204, 437, 312_345, 1_232_896, 0.7812).line
        '1,204 calls, about 310,000 tokens in, at most 1,232,896 out, at most $0.79 (437 answers are kept already)'
        >>> Estimate(1, 0, 95, 1024, None).line
        '1 call, about 95 tokens in, at most 1,024 out, money unknown'
        >>> Estimate(2, 0, 95, 1024, 0.5, formed=True).line
        '2 calls, about 95 tokens in, at most 1,024 out, at most $0.50, without repairs'
        """
        kept = f" ({self.kept:,} answer{'s are' if self.kept != 1 else ' is'} kept already)" if self.kept else ""
        if not self.calls:
            return "no calls" + kept
        calls = f"{self.calls:,} call{'s' if self.calls != 1 else ''}"
        money = "money unknown" if self.usd_most is None else f"at most {_upwards(self.usd_most)}"
        read = f"about {_rounded(self.input_tokens):,} tokens in"
        repairs = ", without repairs" if self.formed else ""
        return f"{calls}, {read}, at most {self.output_tokens_most:,} out, {money}{repairs}{kept}"


def estimate(
    model: LanguageModel | str,
    price: Price,
    requests: Sequence[ChatRequest],
    journal: Journal | None,
    *,
    fresh: bool = False,
) -> Estimate:
    """What `ask` would still have to ask.

    Args:
        model: Who would be asked, or its identity.
        price: What tokens cost.
        requests: As for `ask`.
        journal: Where answers are kept; None where there is none yet.
        fresh: As for `ask`.
    """
    identity = model if isinstance(model, str) else model.identity
    wanted = {request.key(identity): request for request in requests}
    renewed = journal is not None and fresh and not journal.renewing(wanted)
    kept = kept_answers(journal, wanted).all if journal is not None and not renewed else {}
    missing = [request for key, request in wanted.items() if key not in kept]
    read = sum(input_tokens_of(request) for request in missing)
    written = sum(request.max_tokens for request in missing)
    formed = any(request.form is not None for request in missing)
    return Estimate(len(missing), len(kept), read, written, price.cost(read, written), formed)


def _rounded(count: int) -> int:
    """Two leading digits: more would promise what an estimate cannot hold.

    >>> _rounded(312_345), _rounded(7), _rounded(0)
    (310000, 7, 0)
    """
    return round(count, 2 - len(str(count))) if count >= 100 else count


def _upwards(usd: float) -> str:
    # "At most" must not be rounded down.
    return dollars(math.ceil(usd * 100 - 1e-9) / 100)
