"""A causal language model of transformers: its chat form, and what rows of tokens it has read so far.

Rows are padded to one batch and their caches copied wherever that gives the same figures as reading a row alone.
Whether it does is found out by trial (`probe`), since it differs between architectures and releases.
"""

from collections.abc import Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from benchmark.errors import BenchError
from benchmark.llm.model import Message

if TYPE_CHECKING:
    from torch import Tensor

WHO: Final = "the local language model"
_THINKING: Final = "<think>"
_TRIAL: Final = "One row is shorter than the other, and both go on with a word of their own."
_UNFIT: Final = (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
"""What architectures raise that cannot pad rows, copy caches or keep any."""


class Head(NamedTuple):
    """A conversation in the model's own form, up to where the assistant speaks.

    Attributes:
        tokens: What the model reads.
        opened: The mark of a train of thought that the form itself has opened; it belongs to the answer.
    """

    tokens: list[int]
    opened: str = ""


class CausalLM:
    """Weights and tokenizer of a causal language model.

    Attributes:
        shares: Whether rows can be padded to one batch and their caches copied; set by `probe`.
        caches: Whether a row by itself can go on from its cache, where there is one; set by `probe`.
        bits: Of a weight.
        context: The longest text in tokens.
        ends: Tokens that end an answer.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._accepted = set(signature(model.forward).parameters)
        self._recurrent = "past_key_values" not in self._accepted
        self._cache_name = "cache_params" if self._recurrent else "past_key_values"
        self.device = model.device
        self.bits = 8 * model.dtype.itemsize
        self.shares = self.caches = True
        self.context = int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2048)
        ends = model.generation_config.eos_token_id
        marks = [*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id, self._turn_end()]
        self.ends: set[int] = {mark for mark in marks if mark is not None}
        self._closing: dict[tuple[str, ...], list[int]] = {}

    def head(self, messages: Sequence[Message]) -> Head:
        """A conversation in the model's own form; where it has none, the texts one after the other.

        Raises:
            BenchError: The model's chat template cannot be applied.
        """
        if self._tokenizer.chat_template is None:
            first = self._tokenizer("")["input_ids"][:1]
            start = first if first == [self._tokenizer.bos_token_id] else []
            return Head(start + self.encode("\n\n".join(message.content for message in messages) + "\n\n"))
        text = self._rendered(messages)
        return Head(self.encode(text), _THINKING + "\n" if text.rstrip().endswith(_THINKING) else "")

    def _rendered(self, messages: Sequence[Message]) -> str:
        from jinja2 import TemplateError

        try:
            text = self._template(messages)
            # Some templates know no system's part and leave it out without a word.
            if all(message.content.strip() in text for message in messages if message.role == "system"):
                return text
        except (TemplateError, TypeError, ValueError):
            pass
        try:
            return self._template(without_system(messages))
        except (TemplateError, TypeError, ValueError) as error:
            said = " ".join(str(error).split())[:200]
            raise BenchError(f"{WHO}: its chat template cannot be applied: {said}") from None

    def _template(self, messages: Sequence[Message], prompt: bool = True) -> str:
        turns = [message._asdict() for message in messages]
        text: str = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=prompt)
        return text

    def _turn_end(self) -> int | None:
        """The mark that the chat template sets behind an assistant's turn; a GGUF file may name another end."""
        from jinja2 import TemplateError

        if self._tokenizer.chat_template is None:
            return None
        try:
            said = self._template([Message("user", "?"), Message("assistant", "quince")], prompt=False)
        except (TemplateError, TypeError, ValueError):
            return None
        after = self.encode(said.rpartition("quince")[2])[:1]
        return after[0] if after and after[0] in self._tokenizer.all_special_ids else None

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, nothing added."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def decode(self, tokens: list[int]) -> str:
        """Text of tokens, marks left out."""
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return text

    def closing(self, stop: tuple[str, ...], n_vocabulary: int) -> list[int]:
        """Tokens that would end an answer before it has said anything: end marks, stop texts, white space."""
        if stop not in self._closing:
            texts = self._tokenizer.batch_decode([[token] for token in range(len(self._tokenizer))])
            silent = {token for token, text in enumerate(texts) if not text.strip() or text.strip().startswith(stop)}
            self._closing[stop] = sorted(token for token in silent | self.ends if token < n_vocabulary)
        return self._closing[stop]

    def forward(self, ids: "Tensor", mask: "Tensor", cache: Any) -> tuple["Tensor", Any]:
        """One pass over new tokens, shape (n_rows, n_new), with the mask of all tokens so far.

        Returns:
            Logits of the last position, shape (n_rows, n_vocabulary), as float32, and the cache with the new tokens
            (None where the model keeps none).
        """
        wanted = {
            # A recurrent model has left the padding behind once it goes on from its state.
            "attention_mask": None if self._recurrent and cache is not None else mask,
            "position_ids": (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :],
            self._cache_name: cache,
            "use_cache": self.caches,
            "logits_to_keep": 1,
        }
        out = self._model(input_ids=ids, **{name: value for name, value in wanted.items() if name in self._accepted})
        return out.logits[:, -1].float(), getattr(out, self._cache_name, None) if self.caches else None

    def plain(self, ids: Sequence[int]) -> "Tensor":
        """Logits of every position of one text that is read as a whole, shape (n_tokens, n_vocabulary), float32."""
        import torch

        logits: Tensor = self._model(input_ids=torch.tensor([list(ids)], device=self.device)).logits[0].float()
        return logits


def without_system(messages: Sequence[Message]) -> list[Message]:
    r"""The same conversation for a model that knows no system's part: its text begins the first user's turn.

    >>> without_system([Message("system", "Be brief."), Message("user", "Why?")])[0].content.split("\n\n")
    ['Be brief.', 'Why?']
    """
    rules = [message.content for message in messages if message.role == "system"]
    turns = [message for message in messages if message.role != "system"]
    if not turns or turns[0].role != "user":
        return [Message("user", "\n\n".join(rules)), *turns] if rules else turns
    return [Message("user", "\n\n".join([*rules, turns[0].content])), *turns[1:]]


class Rows(Protocol):
    """What a model has read, one row for each answer.

    Attributes:
        logits: Of the next token, shape (n_rows, n_vocabulary).
    """

    logits: "Tensor"

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order."""

    def advance(self, tokens: Sequence[int]) -> None:
        """Read one more token in each row."""


class SharedRows:
    """Rows in one batch, padded on the left; rows with the same text share one reading of it."""

    def __init__(self, model: CausalLM, texts: Sequence[list[int]], copies: Sequence[int]) -> None:
        import torch

        self._model = model
        width = max(len(text) for text in texts)
        ids = torch.tensor([[0] * (width - len(text)) + text for text in texts], device=model.device)
        mask = [[0] * (width - len(text)) + [1] * len(text) for text in texts]
        self._mask = torch.tensor(mask, device=model.device)
        self.logits, self._cache = model.forward(ids, self._mask, None)
        self.keep(copies)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order."""
        import torch

        places = torch.tensor(rows, device=self._model.device)
        # Beam search's selection: unlike `batch_select_indices`, every kind of layer has it.
        self._cache.reorder_cache(places)
        self._mask, self.logits = self._mask[places], self.logits[places]

    def advance(self, tokens: Sequence[int]) -> None:
        """Read one more token in each row."""
        import torch

        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=1)
        ids = torch.tensor(tokens, device=self._model.device)[:, None]
        self.logits, self._cache = self._model.forward(ids, self._mask, self._cache)


class SeparateRows:
    """Rows read one by one, for models whose rows cannot share; slow, and the same answers."""

    def __init__(self, model: CausalLM, texts: Sequence[list[int]], copies: Sequence[int]) -> None:
        self._model = model
        self._texts = [list(texts[copy]) for copy in copies]
        self._caches: list[Any] = [None] * len(copies)
        self.logits = self._read()

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order."""
        self._texts = [self._texts[row] for row in rows]
        self._caches = [self._caches[row] for row in rows]
        self.logits = self.logits[list(rows)]

    def advance(self, tokens: Sequence[int]) -> None:
        """Read one more token in each row."""
        for text, token in zip(self._texts, tokens, strict=True):
            text.append(token)
        self.logits = self._read()

    def _read(self) -> "Tensor":
        import torch

        logits = []
        for place, text in enumerate(self._texts):
            new = text if self._caches[place] is None else text[-1:]
            ids = torch.tensor([new], device=self._model.device)
            mask = torch.ones((1, len(text)), dtype=torch.long, device=self._model.device)
            row, self._caches[place] = self._model.forward(ids, mask, self._caches[place])
            logits.append(row[0])
        return torch.stack(logits)


def read(model: CausalLM, texts: Sequence[list[int]], copies: Sequence[int]) -> Rows:
    """Read texts; row i goes on from text `copies[i]`."""
    return SharedRows(model, texts, copies) if model.shares else SeparateRows(model, texts, copies)


def probe(model: CausalLM) -> None:
    """Find out on a few tokens whether rows can share a batch, and set `shares` and `caches`.

    Raises:
        ValueError: What stands before a token depends on what follows: the model is not causal.
    """
    import torch

    long = model.encode(_TRIAL)
    short = long[: len(long) // 2]
    with torch.inference_mode():
        whole = model.plain(long)
        if not bool(whole.isfinite().all()):
            raise ValueError("its weights give no finite figures")
        if not _close(whole[len(short) - 1], model.plain(short)[-1], model.bits):
            raise ValueError("it is no causal language model: it reads what follows a token, too")
        texts = [[*long, 3, 4], [*short, 1, 5], [*short, 2, 6]]
        goals = torch.stack([model.plain(text)[-1] for text in texts])
        model.shares = _agrees(model, SharedRows, [short, long], goals)
        model.caches = model.shares or _agrees(model, SeparateRows, [short, long], goals)


def _agrees(
    model: CausalLM, kind: type[SharedRows | SeparateRows], texts: Sequence[list[int]], goals: "Tensor"
) -> bool:
    """Whether rows of this kind get the logits of texts that are read as a whole."""
    try:
        rows = kind(model, texts, [0, 1, 0])
        rows.keep([1, 0, 2])
        rows.advance([3, 1, 2])
        rows.advance([4, 5, 6])
    except _UNFIT:
        return False
    return _close(rows.logits, goals, model.bits)


def _close(found: "Tensor", wanted: "Tensor", bits: int) -> bool:
    """Whether logits agree but for the rounding of weights of so many bits."""
    share = 1e-3 if bits >= 32 else 0.05
    return bool((found - wanted).abs().max() <= share * wanted.abs().max())
