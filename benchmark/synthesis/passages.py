"""Passages that a language model writes from a description of the domain: topics first, then one passage for each.

Asking for passages outright gives the same few again and again; a list of topics is short enough to be made distinct
beforehand.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from benchmark.console import Reporter
from benchmark.errors import BenchError
from benchmark.files import Json, hash_text
from benchmark.llm.asking import Asker
from benchmark.llm.forms import Form, object_form
from benchmark.llm.model import ChatRequest, Message
from benchmark.llm.prompts import Prompts
from benchmark.records import Chunk
from benchmark.specs import LLMSpec
from benchmark.specs.generate import PromptSource
from benchmark.synthesis.draft import seeded, words_of

PROMPTS: Final = ("topics", "passages_system")
"""The prompts that are used here."""
_LIST = 20
_ROUNDS = 3
_SHOWN = 60
"""Topics of earlier rounds that are named, so that they are not proposed again."""
_FILLERS = frozenset(
    {"a", "an", "and", "as", "at", "by", "for", "from", "how", "in", "is", "of", "on", "or", "the", "to", "what", "when",
     "why", "with"}
)  # fmt: skip
_TOPICS: Final = object_form("topics", {"topics": {"type": "array", "items": {"type": "string"}, "minItems": 1}})
_PASSAGE: Final = object_form("passage", {"title": {"type": "string"}, "text": {"type": "string"}})


class Written(NamedTuple):
    """Passages, and counts for a manifest."""

    chunks: list[Chunk]
    facts: Json


def write_passages(
    source: PromptSource, llm: LLMSpec, asker: Asker, prompts: Prompts, seed: int, reporter: Reporter
) -> Written:
    """Have passages written.

    Args:
        source: The description, how many passages, and their length.
        llm: Who writes.
        asker: Keeps every answer.
        prompts: `topics` and `passages_system`.
        seed: For the topics of earlier rounds that are shown.
        reporter: Where notes go.

    Returns:
        Facts: wanted, topics, rounds, passages, failed (no answer, or one without text), duplicates.

    Raises:
        BenchError: The language model cannot be had, or wrote no topic or no passage at all.
    """
    topics, rounds = _topics(source, llm, asker, prompts, seed)
    if not topics:
        raise BenchError("source.prompt: the language model named no topics; describe the domain in more words")
    if len(topics) < source.passages:
        reporter.note(
            f"source: only {len(topics)} different topics in {rounds} rounds for {source.passages} passages; "
            "a longer description gives more"
        )
    requests = [_request(llm, _PASSAGE, prompts.text("passages_system"), _order(source, topic)) for topic in topics]
    asked = asker.ask(llm, requests, "passages")
    chunks: dict[str, Chunk] = {}
    failed = 0
    for topic, answer in zip(topics, asked.answers, strict=True):
        chunk = _chunk(topic, _PASSAGE.read(answer.text)) if answer is not None else None
        if chunk is None:
            failed += 1
        else:
            chunks.setdefault(chunk.text, chunk)
    if not chunks:
        raise BenchError("source.prompt: the language model wrote no passage")
    facts = {
        "wanted": source.passages,
        "topics": len(topics),
        "rounds": rounds,
        "passages": len(chunks),
        "failed": failed,
        "duplicates": len(topics) - failed - len(chunks),
    }
    return Written(list(chunks.values()), facts)


def _topics(
    source: PromptSource, llm: LLMSpec, asker: Asker, prompts: Prompts, seed: int
) -> tuple[tuple[str, ...], int]:
    """Distinct topics, at most as many as passages are wanted, and in how many rounds they came."""
    found: dict[frozenset[str], str] = {}
    rounds = lists = 0
    while len(found) < source.passages and rounds < _ROUNDS:
        wanted = -(-(source.passages - len(found)) // _LIST)
        rounds += 1
        requests = [
            _request(
                llm, _TOPICS, prompts.text("topics"), _listing(source, lists + number, found, seed), lists + number
            )
            for number in range(wanted)
        ]
        lists += wanted
        asked = asker.ask(llm, requests, "topics" if rounds == 1 else f"topics, round {rounds}")
        for answer in asked.answers:
            for topic in _TOPICS.read(answer.text)["topics"] if answer is not None else ():
                folded = " ".join(topic.split())
                words = _folded(folded)
                if words:
                    found.setdefault(words, folded)
    return tuple(found.values())[: source.passages], rounds


def _folded(topic: str) -> frozenset[str]:
    """What near-equal topics share: their words without fillers and plurals, in any order.

    >>> _folded("Rules for the moorings") == _folded("Mooring: rules")
    True
    """
    words = (re.sub(r"(?<=\w{3})(?:['’]s|s)$", "", word) for word in words_of(topic))
    return frozenset(word for word in words if word not in _FILLERS)


def _listing(source: PromptSource, number: int, found: dict[frozenset[str], str], seed: int) -> str:
    """The user's turn for one list of topics; its number makes lists differ even at temperature 0."""
    text = "Domain: " + source.description.strip() + f"\n\nThis is list number {number + 1}."
    if found:
        topics = list(found.values())
        shown = seeded(seed, "topics", str(number)).sample(topics, min(_SHOWN, len(topics)))
        text += "\n\nTopics that are taken already:\n" + "\n".join("- " + topic for topic in shown)
    return text


def _order(source: PromptSource, topic: str) -> str:
    return "Domain: " + source.description.strip() + "\n\nTopic: " + topic + f"\n\nLength: about {source.words} words."


def _request(llm: LLMSpec, wanted: Form, system: str, user: str, sample: int = 0) -> ChatRequest:
    messages = (Message("system", system), Message("user", user))
    return ChatRequest(messages, temperature=llm.temperature, max_tokens=llm.max_tokens, form=wanted, sample=sample)


def _chunk(topic: str, written: Json) -> Chunk | None:
    """A passage; None where there is no text in it. Without a title it bears its topic."""
    text = written["text"].strip()
    if not any(map(str.isalnum, text)):
        return None
    title = " ".join(written["title"].split()) or topic
    name = f"{_slug(words_of(title))}-{hash_text(title + chr(0) + text)[:12]}"
    return Chunk(name, name, title, (), -1, -1, text)


def _slug(words: Sequence[str]) -> str:
    """Words as a part of a name: lower case, no white space, at most 48 characters."""
    return re.sub(r"[^\w]+", "-", "-".join(words))[:48].strip("-") or "passage"
