"""A user's own sample questions, which the language model is shown (few-shot; Promptagator, arXiv 2209.11755)."""

import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final, NamedTuple, get_args

from benchmark.errors import BenchError, Problems, did_you_mean
from benchmark.files import Json, read_jsonl, shown
from benchmark.specs import QuestionType
from benchmark.synthesis.draft import seeded, words_of

MOST_SHOWN: Final = 8
"""Examples in one request, as in Promptagator."""
_KEYS: Final = ("question", "passage", "type")
_TYPES: Final[tuple[str, ...]] = get_args(QuestionType)


class Example(NamedTuple):
    """A sample question; `passage` (what it is about) and `type` may be empty."""

    question: str
    passage: str
    type: str


def read_examples(path: Path, test_questions: Sequence[str]) -> list[Example]:
    """Read sample questions: JSON Lines with `question` and, where known, `passage` and `type`.

    Args:
        path: The file.
        test_questions: The hand-made test questions, none of which may be among the examples.

    Raises:
        BenchError: One line for each mistake.
    """
    tested = {_normal(question) for question in test_questions}
    seen: dict[str, int] = {}
    examples: list[Example] = []
    with Problems() as problems:
        for number, row in read_jsonl(path, problems):
            mistakes = _mistakes(row)
            question = row.get("question")
            normal = _normal(question) if isinstance(question, str) else ""
            if normal and normal in tested:
                mistakes.append("is also a test question, word for word: it would leak into the training data")
            if normal and normal in seen:
                mistakes.append(f"the question of line {seen[normal]} once more")
            seen.setdefault(normal, number)
            for mistake in mistakes:
                problems.add(f"{shown(path)}:{number}: {mistake}")
            if not mistakes:
                examples.append(Example(*(str(row.get(key) or "").strip() for key in _KEYS)))
    if not examples:
        raise BenchError(f"{shown(path)}: holds no example; write some, or leave 'examples' out")
    return examples


def _mistakes(row: Json) -> list[str]:
    """What is wrong with one line, looked at alone."""
    found = [f"unknown key '{key}'; {did_you_mean(key, _KEYS)}" for key in row if key not in _KEYS]
    found += [f"'{key}' is not a text" for key in _KEYS if not isinstance(row.get(key, ""), str)]
    question, kind = row.get("question"), row.get("type")
    if question is None:
        found.append("the key 'question' is missing")
    elif isinstance(question, str) and not words_of(question):
        found.append("'question' is empty")
    if kind and isinstance(kind, str) and kind not in _TYPES:
        found.append(f"unknown type '{kind}'; {did_you_mean(kind, _TYPES)}")
    return found


def drawn_examples(
    examples: Sequence[Example], types: Collection[str], seed: int, chunk_id: str, most: int = MOST_SHOWN
) -> list[Example]:
    """Up to `most` examples for one chunk's request, those of the requested types before others, in the file's order."""
    order = list(range(len(examples)))
    if len(order) > most:
        seeded(seed, "examples", chunk_id).shuffle(order)
        order.sort(key=lambda place: examples[place].type not in types)
    return [examples[place] for place in sorted(order[:most])]


def _normal(text: str) -> str:
    return " ".join(words_of(unicodedata.normalize("NFKC", text)))
