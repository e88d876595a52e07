"""Counting tokens as the encoder will."""

from bisect import bisect_left
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmark.errors import BenchError
from benchmark.files import read_json, shown
from benchmark.project import Project
from benchmark.specs import Chunking
from benchmark.weights import model_folder


class TokenCounter:
    """Counts tokens as the encoder will, without its special tokens."""

    def __init__(self, tokenizer: Any) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self.special_tokens: int = tokenizer.num_special_tokens_to_add(False)
        self.count = lru_cache(maxsize=256)(self._count)

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def starts(self, text: str) -> list[int]:
        """Where each token of a text begins, in characters."""
        return [start for start, _ in self._tokenizer.encode(text, add_special_tokens=False).offsets]


def tokenizer_path(project: Project, chunking: Chunking) -> Path:
    """The tokenizer.json of the model spec that a domain names for counting.

    Raises:
        BenchError: The spec is missing, has no weights of its own, or its folder has no tokenizer.json.
    """
    folder = model_folder(project, chunking.tokenizer)
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise BenchError(f"model_specs/{chunking.tokenizer}.yaml: {shown(folder)} has no tokenizer.json")
    return path


def load_counter(project: Project, chunking: Chunking) -> TokenCounter:
    """The counter of the model spec that a domain names.

    Raises:
        BenchError: As `tokenizer_path`; also when chunks of `max_tokens` would not fit into the model.
    """
    from tokenizers import Tokenizer

    path = tokenizer_path(project, chunking)
    try:
        counter = TokenCounter(Tokenizer.from_file(str(path)))
    except Exception as error:  # the Rust library raises bare Exception
        raise BenchError(f"{shown(path)}: not a tokenizer of the tokenizers library: {error}") from None
    spec = project.model_spec(chunking.tokenizer)
    own = path.parent / "sentence_bert_config.json"
    limit = spec.max_length or (read_json(own).get("max_seq_length") if own.is_file() else None)
    around = counter.special_tokens + counter.count(spec.prompts.document)
    if limit is not None and chunking.max_tokens + around > limit:
        raise BenchError(
            f"domain.yaml: chunking.max_tokens is {chunking.max_tokens}, but '{chunking.tokenizer}' reads {limit} "
            f"tokens, {around} of them its own: at most {limit - around}, or passages are cut off"
        )
    return counter


class Ruler:
    """Counts the tokens of a text's parts from one tokenisation of the whole, which is five times as fast."""

    def __init__(self, text: str, counter: TokenCounter) -> None:
        self.text = text
        self._starts = counter.starts(text)
        self._cursor = 0

    @property
    def total(self) -> int:
        """Tokens of the whole text."""
        return len(self._starts)

    def __call__(self, part: str) -> int:
        """Tokens of a part of the text."""
        at = self.text.find(part, self._cursor)
        if at < 0:  # with an overlap the splitter looks back
            at = self.text.find(part)
        self._cursor = at
        return bisect_left(self._starts, at + len(part)) - bisect_left(self._starts, at)
