"""What a language model's reply says: the answer, the passages that it cites, and whether it declines."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from benchmark.answers.prompt import FORM
from benchmark.escape import one_line
from benchmark.files import Json
from benchmark.llm.forms import FormError
from benchmark.llm.model import Answer
from benchmark.specs import LLMSpec

_BRACKETS: Final = re.compile(r"\s*(?:\[([^\[\]\n]{1,300})\]|【([^【】\n]{1,300})】|\(([^()\n]{1,300})\))")
_CHUNK_ID: Final = re.compile(r"[^\s#]+#\d+")
"""The shape of the ids that chunks of a domain's own documents have."""
_SIGNS: Final = " \t\n[]()【】\"'`“”‘’"
_SENTENCES: Final = re.compile(r"[.!?][\"')\]]*(?=\s|$)")
_LONGEST: Final = 200


@dataclass(frozen=True)
class Reply:
    """An answer, read.

    Attributes:
        text: The answer without its citations; empty where nothing is left.
        cited: Ids of the chunks that it cites, in order of first mention, each once; all of them were handed over.
        invented: Citations that lead to no passage that was handed over, as they were written, each once.
        declined: Whether it says that the passages do not answer the question.
    """

    text: str
    cited: tuple[str, ...]
    invented: tuple[str, ...]
    declined: bool


class Citations:
    """Collects citations; each is known, invented, or no citation at all.

    Args:
        passages: Ids of the chunks that were handed over.
        corpus: Ids of all chunks: one of them that was not handed over is invented too.
    """

    def __init__(self, passages: Sequence[str], corpus: Collection[str]) -> None:
        self._passages, self._corpus = frozenset(passages), corpus
        self.cited: dict[str, None] = {}
        self.invented: dict[str, None] = {}

    def take(self, written: str) -> None:
        """Take one entry of a list of citations: whatever it is, it was meant as one."""
        if self._take_ids(written):
            return
        if shown := one_line(written, _LONGEST):
            self.invented[shown] = None

    def taken_out(self, text: str) -> str:
        """Take the citations in brackets out of a text; brackets that are none stay.

        >>> citations = Citations(["bees.md#1"], {"bees.md#1", "bread.md#0"})
        >>> citations.taken_out("In spring [bees.md#1; bread.md#0] (or May) [sic].")
        'In spring (or May) [sic].'
        >>> list(citations.cited), list(citations.invented)
        (['bees.md#1'], ['bread.md#0'])
        """
        return _BRACKETS.sub(self._without, text).strip()

    def _without(self, found: re.Match[str]) -> str:
        square = found[1] or found[2]
        # In round brackets a bare word or number is more likely a remark than an id.
        return "" if self._take_ids(square or found[3], only_shaped=square is None) else found[0]

    def _take_ids(self, written: str, only_shaped: bool = False) -> bool:
        """Take what consists of ids alone; False, and nothing taken, where it does not."""
        whole = written.strip(_SIGNS)
        parts = [whole] if whole in self._passages else [part.strip(_SIGNS) for part in re.split(r"[;,]", whole)]
        parts = [_without_label(part) for part in parts if part]
        shaped = [bool(_CHUNK_ID.fullmatch(part)) for part in parts]
        known = [part in self._passages or part in self._corpus for part in parts]
        if not parts or not all(a or (b and not only_shaped) for a, b in zip(shaped, known, strict=True)):
            return False
        for part in parts:
            (self.cited if part in self._passages else self.invented)[part] = None
        return True


def _without_label(part: str) -> str:
    """`id: bees.md#1` as some models copy it from the passage's first line."""
    return re.sub(r"^id:\s*", "", part, flags=re.IGNORECASE)


def read_reply(
    answer: Answer, llm: LLMSpec, passages: Sequence[str], corpus: Collection[str], declining: str
) -> Reply | str:
    """Read an answer, as the language model's kind gives it; a text says why it is none.

    Args:
        answer: What came back.
        llm: Who answered.
        passages: Ids of the chunks that were handed over.
        corpus: Ids of all chunks.
        declining: The sentence that declines.
    """
    if llm.instructed:
        reply = read_formed(answer.text, passages, corpus, declining)
    else:
        cut_off = answer.cut_off or answer.output_tokens == llm.max_tokens
        reply = read_plain(answer.text, passages, corpus, declining, cut_off)
    if reply is None:
        return "not the form"
    return reply if any(map(str.isalnum, reply.text)) else "an answer without words"


def read_formed(text: str, passages: Sequence[str], corpus: Collection[str], declining: str) -> Reply | None:
    """Read an answer in JSON; None where it has not the form (a replay file that somebody has edited).

    Args:
        text: The reply.
        passages: Ids of the chunks that were handed over.
        corpus: Ids of all chunks.
        declining: The sentence for an answer that declines without a word.
    """
    try:
        value: Json = FORM.read(text)
    except FormError:
        return None
    citations = Citations(passages, corpus)
    answer = citations.taken_out(value["answer"])
    for written in value["citations"]:
        citations.take(written)
    declined = not value["answerable"]
    return Reply(answer or (declining if declined else ""), tuple(citations.cited), tuple(citations.invented), declined)


def read_plain(text: str, passages: Sequence[str], corpus: Collection[str], declining: str, cut_off: bool) -> Reply:
    """Read an answer in plain text.

    Args:
        text: The reply.
        passages: Ids of the chunks that were handed over.
        corpus: Ids of all chunks.
        declining: The sentence that declines; it is recognised whatever stands around it.
        cut_off: Whether it ended in the middle; the last sentence is then left out, if there is one before it.
    """
    citations = Citations(passages, corpus)
    answer = citations.taken_out(_whole_sentences(text) if cut_off else text)
    declined = bool(_words(declining)) and f" {_words(declining)} " in f" {_words(answer)} "
    return Reply(answer, tuple(citations.cited), tuple(citations.invented), declined)


def _whole_sentences(text: str) -> str:
    """The text up to its last end of a sentence.

    >>> _whole_sentences("It rains. It pou"), _whole_sentences("It pou")
    ('It rains.', 'It pou')
    """
    ends = [found.end() for found in _SENTENCES.finditer(text)]
    return text[: ends[-1]] if ends else text


def _words(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))
