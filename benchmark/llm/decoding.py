"""Many answers about few passages: each passage is read once, its key-value cache copied for every answer.

Each answer draws from its own seeded stream of numbers, so that it does not depend on what else stands in the
batch (beyond the last bits of floating point). A request with a background is decoded context-aware (Shi et al.,
Trusting Your Evidence, arXiv 2305.14739): log p(passage) + alpha * (log p(passage) - log p(background)), among the
tokens that the passage makes plausible. It keeps a very small model to the passage.

A batch shrinks as its answers end and is not refilled: a passage that is read later has another length, and the
caches of sliding windows and recurrent layers cannot be padded to a common one afterwards.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmark.llm.causal import CausalLM, read
from benchmark.llm.model import Answer, Answered, ChatRequest, Failure

if TYPE_CHECKING:
    from torch import Tensor

_PLAUSIBLE: Final = 0.05
"""A token is plausible with at least this share of the likeliest token's probability (Li et al., arXiv 2210.15097)."""
_STOP_WINDOW: Final = 64
"""Tokens at the end of an answer among which its stop texts are looked for."""


class Row:
    """One answer in the making: first the rest of its prefill, then what it draws."""

    def __init__(self, index: int, request: ChatRequest, prefill: list[int], seed: str) -> None:
        self.index, self.request, self.prefill = index, request, prefill
        self.forced: list[int] = []
        self.opened = ""
        self.read = 0
        self.written: list[int] = []
        self.text = ""
        self.finished = self.cut_off = False
        number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")
        self._draws = np.random.default_rng(number).random(request.max_tokens)

    @property
    def draw(self) -> float:
        """The random number in [0, 1) for the next token."""
        return float(self._draws[len(self.written)])

    def take(self, token: int, model: CausalLM) -> None:
        """Add a token; the answer ends at an end mark, before a stop text or at its longest length."""
        if token in model.ends:
            self.text, self.finished = model.decode(self.written), True
            return
        self.written.append(token)
        full = len(self.written) >= self.request.max_tokens
        # Reading the whole answer after every token would take longer than writing it.
        recent = model.decode(self.written[-_STOP_WINDOW:]) if self.request.stop else ""
        if full or any(stop in recent for stop in self.request.stop):
            text = model.decode(self.written)
            cuts = [at for stop in self.request.stop if (at := text.find(stop)) >= 0]
            self.text = text[: min(cuts)] if cuts else text
            self.finished, self.cut_off = bool(cuts) or full, full and not cuts

    def answered(self) -> Answered:
        """The finished answer; one of white space only is a failure."""
        written = len(self.written)
        if not self.text.strip():
            return Answered(self.index, Failure("empty answer", self.read, written))
        return Answered(self.index, Answer(self.opened + self.text, self.read, written, self.cut_off))


class Conversation:
    """A conversation and the answers wanted for it; what their prefills have in common is read once as well."""

    def __init__(self, model: CausalLM, rows: Sequence[Row]) -> None:
        self.rows = list(rows)
        request = rows[0].request
        common = common_prefix([row.prefill for row in rows])
        head = model.head(request.messages)
        self.shared = head.tokens + rows[0].prefill[:common]
        self.weight = request.context_weight if request.background else 0.0
        self.background = model.head(request.background).tokens + rows[0].prefill[:common] if self.weight else []
        for row in self.rows:
            row.forced = row.prefill[common:]
            row.read = len(self.shared) + len(row.forced)
            row.opened = "" if row.prefill else head.opened

    @property
    def longest(self) -> int:
        """Tokens that the longest of its answers needs, with everything before it."""
        return max(row.read + row.request.max_tokens for row in self.rows)


def common_prefix(rows: Sequence[Sequence[int]]) -> int:
    """How many first items all rows share.

    >>> common_prefix([[1, 2, 3], [1, 2, 4]]), common_prefix([[1, 2]])
    (2, 2)
    """
    shortest = min(len(row) for row in rows)
    return next((i for i in range(shortest) if len({row[i] for row in rows}) > 1), shortest)


class _Batch:
    """The unfinished answers of some conversations with the same weight, one token further at each step.

    With a weight each answer has two rows, which read the same tokens after different texts: the conversation's, then
    (all of them behind the last of these) the background's.
    """

    def __init__(self, model: CausalLM, conversations: Sequence[Conversation]) -> None:
        self._model = model
        self._weight = conversations[0].weight
        self.rows = [row for conversation in conversations for row in conversation.rows]
        texts = [conversation.shared for conversation in conversations]
        copies = [number for number, conversation in enumerate(conversations) for _ in conversation.rows]
        if self._weight:
            backgrounds = {tuple(conversation.background): None for conversation in conversations}
            place = {background: len(texts) + number for number, background in enumerate(backgrounds)}
            copies += [place[tuple(conversations[copy].background)] for copy in copies]
            texts += [list(background) for background in backgrounds]
        self._state = read(model, texts, copies)
        self._tokens: list[int] = []

    @property
    def unfinished(self) -> bool:
        """Whether an answer is still in the making."""
        return not all(row.finished for row in self.rows)

    def step(self) -> list[Row]:
        """Add a token to each answer; returns those that are finished with it."""
        if self._tokens:
            self._read_on()
        passage, background = self._state.logits[: len(self.rows)], self._state.logits[len(self.rows) :]
        logits = _begun(self._model, self.rows, passage)
        if self._weight:
            logits = _context_aware(logits, background, self._weight)
        self._tokens = _next_tokens(self._model, self.rows, logits)
        return [row for row in self.rows if row.finished]

    def _read_on(self) -> None:
        """Leave out the answers that are finished, and read the last token of each of the others."""
        places = [place for place, row in enumerate(self.rows) if not row.finished]
        tokens = [self._tokens[place] for place in places]
        kept = places + ([len(self.rows) + place for place in places] if self._weight else [])
        if len(places) < len(self.rows):
            self._state.keep(kept)
            self.rows = [self.rows[place] for place in places]
        self._state.advance(tokens * 2 if self._weight else tokens)


def decode_batch(model: CausalLM, conversations: Sequence[Conversation]) -> Iterator[Answered]:
    """Answer every row of some conversations with the same weight; each is handed on when it is finished."""
    import torch

    # Left before an answer is handed on: torch's modes hold for the thread, whoever runs in it.
    with torch.inference_mode():
        batch = _Batch(model, conversations)
    while batch.unfinished:
        with torch.inference_mode():
            finished = batch.step()
        yield from (row.answered() for row in finished)


def _begun(model: CausalLM, rows: Sequence[Row], logits: "Tensor") -> "Tensor":
    """Logits that do not let an answer end before it has begun: an empty one would be asked for in every run."""
    first = [place for place, row in enumerate(rows) if not row.forced and not row.written]
    if first:
        logits = logits.clone()
    for place in first:
        logits[place, model.closing(rows[place].request.stop, logits.shape[1])] = float("-inf")
    return logits


def _context_aware(passage: "Tensor", background: "Tensor", weight: float) -> "Tensor":
    """Logits moved away from the background; tokens that the passage makes implausible stay out."""
    with_passage, without = passage.log_softmax(-1), background.log_softmax(-1)
    floor = with_passage.max(-1, keepdim=True).values + float(np.log(_PLAUSIBLE))
    moved = with_passage + weight * (with_passage - without)
    return moved.masked_fill(with_passage < floor, float("-inf"))


def _next_tokens(model: CausalLM, rows: Sequence[Row], logits: "Tensor") -> list[int]:
    """The next token of each row: forced, the likeliest, or drawn by inverting the cumulative distribution."""
    import torch

    if logits.device.type == "mps":
        logits = logits.cpu()  # Apple's GPUs know no float64
    where: dict[str, Any] = {"dtype": torch.float64, "device": logits.device}
    heat = torch.tensor([[max(row.request.temperature, 1e-6)] for row in rows], **where)
    cumulative = (logits.double() / heat).softmax(-1).cumsum(-1)
    draws = torch.tensor([[0.0 if row.forced else row.draw] for row in rows], **where)
    drawn = (cumulative <= draws * cumulative[:, -1:]).sum(-1).clamp(max=logits.shape[-1] - 1).tolist()
    likeliest = logits.argmax(-1).tolist()
    tokens = []
    for place, row in enumerate(rows):
        if row.forced:
            tokens.append(row.forced.pop(0))
            continue
        token = likeliest[place] if row.request.temperature == 0 else drawn[place]
        row.take(token, model)
        tokens.append(token)
    return tokens
