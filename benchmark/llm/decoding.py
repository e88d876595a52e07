"""Many answers about few passages: each passage is read once, its key-value cache copied for every answer.

Each answer draws from its own seeded stream of numbers, so that it does not depend on what else stands in the
batch (beyond the last bits of floating point). A request with a background is decoded context-aware (Shi et al.,
Trusting Your Evidence, arXiv 2305.14739): log p(passage) + alpha * (log p(passage) - log p(background)), among the
tokens that the passage makes plausible. It keeps a very small model to the passage.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmark.llm.model import Answer, Answered, ChatRequest, Failure, Message

if TYPE_CHECKING:
    from torch import Tensor

_PLAUSIBLE: Final = 0.05
"""A token is plausible with at least this share of the likeliest token's probability (Li et al., arXiv 2210.15097)."""


class CausalLM:
    """Weights and tokenizer of a causal language model of transformers."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer
        ends = model.generation_config.eos_token_id
        self.ends: set[int] = {*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id} - {None}
        self.context = int(getattr(model.config, "max_position_embeddings", None) or 2048)
        self._closing: dict[tuple[str, ...], list[int]] = {}

    def head(self, messages: Sequence[Message]) -> list[int]:
        """A conversation in the model's own form, up to where the assistant speaks."""
        if self._tokenizer.chat_template is None:
            return self.encode("\n\n".join(message.content for message in messages) + "\n\n")
        turns = [message._asdict() for message in messages]
        return self.encode(self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, nothing added."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def decode(self, tokens: list[int]) -> str:
        """Text of tokens, marks left out."""
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return text

    def closing(self, stop: tuple[str, ...]) -> list[int]:
        """Tokens that would end an answer before it has said anything: end marks, stop texts, white space."""
        if stop not in self._closing:
            texts = self._tokenizer.batch_decode([[token] for token in range(len(self._tokenizer))])
            silent = [token for token, text in enumerate(texts) if not text.strip() or text.strip().startswith(stop)]
            self._closing[stop] = sorted({*silent, *self.ends})
        return self._closing[stop]

    def forward(self, ids: "Tensor", mask: "Tensor", cache: Any) -> tuple["Tensor", Any]:
        """One pass over new tokens, shape (n_rows, n_new), with the mask of all tokens so far.

        Returns:
            Logits of the last position, shape (n_rows, n_vocabulary), and the cache with the new keys and values.
        """
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        out = self._model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True,
            logits_to_keep=1,
        )  # fmt: skip
        return out.logits[:, -1], out.past_key_values


class Row:
    """One answer in the making: first the rest of its prefill, then what it draws."""

    def __init__(self, index: int, request: ChatRequest, prefill: list[int], seed: str) -> None:
        self.index, self.request, self.prefill = index, request, prefill
        self.forced: list[int] = []
        self.read = 0
        self.written: list[int] = []
        self.text = ""
        self.finished = False
        number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")
        self._draws = np.random.default_rng(number).random(request.max_tokens)

    @property
    def draw(self) -> float:
        """The random number in [0, 1) for the next token."""
        return float(self._draws[len(self.written)])

    def take(self, token: int, model: CausalLM) -> None:
        """Add a token; the answer ends at an end mark, before a stop text or at its longest length."""
        if token in model.ends:
            self.finished = True
            return
        self.written.append(token)
        self.text = model.decode(self.written)
        cuts = [at for stop in self.request.stop if (at := self.text.find(stop)) >= 0]
        if cuts:
            self.text = self.text[: min(cuts)]
        self.finished = bool(cuts) or len(self.written) >= self.request.max_tokens

    def answered(self) -> Answered:
        """The finished answer; one of white space only is a failure."""
        if not self.text.strip():
            return Answered(self.index, Failure("empty answer"))
        return Answered(self.index, Answer(self.text, self.read, len(self.written)))


class Conversation:
    """A conversation and the answers wanted for it; what their prefills have in common is read once as well."""

    def __init__(self, model: CausalLM, rows: Sequence[Row]) -> None:
        self.rows = list(rows)
        request = rows[0].request
        common = common_prefix([row.prefill for row in rows])
        self.shared = model.head(request.messages) + rows[0].prefill[:common]
        self.weight = request.context_weight if request.background else 0.0
        self.background = model.head(request.background) + rows[0].prefill[:common] if self.weight else []
        for row in self.rows:
            row.forced = row.prefill[common:]
            row.read = len(self.shared) + len(row.forced)

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


class _State:
    """What the model has read, one row for each answer: logits of the next token, cache, mask."""

    def __init__(self, model: CausalLM, texts: Sequence[list[int]], copies: Sequence[int]) -> None:
        """Read texts, padded on the left, and copy the state of text `copies[i]` to row i."""
        import torch

        self._model = model
        width = max(len(text) for text in texts)
        ids = torch.tensor([[0] * (width - len(text)) + text for text in texts])
        self._mask = torch.tensor([[0] * (width - len(text)) + [1] * len(text) for text in texts])
        self.logits, self._cache = model.forward(ids, self._mask, None)
        self.keep(copies)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order."""
        import torch

        places = torch.tensor(rows)
        self._cache.batch_select_indices(places)
        self._mask, self.logits = self._mask[places], self.logits[places]

    def advance(self, tokens: Sequence[int]) -> None:
        """Read one more token in each row."""
        import torch

        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=1)
        self.logits, self._cache = self._model.forward(torch.tensor(tokens)[:, None], self._mask, self._cache)


def decode_batch(model: CausalLM, batch: Sequence[Conversation]) -> Iterator[Answered]:
    """Answer every row of some conversations with the same weight; each is handed on when it is finished."""
    import torch

    with torch.inference_mode():
        weight = batch[0].weight
        copies = [number for number, conversation in enumerate(batch) for _ in conversation.rows]
        states = [_State(model, [conversation.shared for conversation in batch], copies)]
        if weight:
            states.append(_State(model, [conversation.background for conversation in batch], copies))
        active = [row for conversation in batch for row in conversation.rows]
        while active:
            logits = _begun(model, active, states[0].logits)
            if weight:
                logits = _context_aware(logits, states[1].logits, weight)
            tokens = _next_tokens(model, active, logits)
            yield from (row.answered() for row in active if row.finished)
            places = [place for place, row in enumerate(active) if not row.finished]
            if places and len(places) < len(active):
                for state in states:
                    state.keep(places)
            active = [active[place] for place in places]
            if active:
                for state in states:
                    state.advance([tokens[place] for place in places])


def _begun(model: CausalLM, rows: Sequence[Row], logits: "Tensor") -> "Tensor":
    """Logits that do not let an answer end before it has begun: an empty one would be asked for in every run."""
    first = [place for place, row in enumerate(rows) if not row.forced and not row.written]
    if first:
        logits = logits.clone()
    for place in first:
        logits[place, model.closing(rows[place].request.stop)] = float("-inf")
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

    heat = torch.tensor([[max(row.request.temperature, 1e-6)] for row in rows], dtype=torch.float64)
    cumulative = (logits.double() / heat).softmax(-1).cumsum(-1)
    draws = torch.tensor([[0.0 if row.forced else row.draw] for row in rows], dtype=torch.float64)
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
