"""Answers of a language model with passages of a pipeline, as they stand in files between the stages that use them."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from benchmark.errors import BenchError
from benchmark.files import Json, iter_jsonl, shown, write_jsonl

ANSWERS: Final = "answers.jsonl"
QUESTIONS: Final = "questions.jsonl"


@dataclass(frozen=True)
class Asked:
    """A test question that was put to the language model.

    Attributes:
        id: Its id in the test set.
        text: The question.
        category: core, jargon, edge, ...
        reference: The answer that a person wrote; empty where there is none.
        answerable: Whether the documents answer it; otherwise declining is right.
        relevant: Ids of the chunks that answer it.
    """

    id: str
    text: str
    category: str
    reference: str
    answerable: bool
    relevant: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answered:
    """What the language model said to a question with one pipeline's passages.

    Attributes:
        question: The question's id.
        pipeline: The model spec whose passages were handed over.
        passages: Ids of these chunks, best first.
        text: The answer with its citations taken out; empty where it failed.
        cited: Ids of the chunks that it cites, in order of first mention, each once; all of them among `passages`.
        invented: Citations that lead to no passage, as they were written.
        declined: Whether it says that the passages do not answer the question.
        failure: Why there is no answer; empty where there is one.
        metrics: Figures that need no language model, by name, 0..1.
    """

    question: str
    pipeline: str
    passages: tuple[str, ...]
    text: str
    cited: tuple[str, ...] = ()
    invented: tuple[str, ...] = ()
    declined: bool = False
    failure: str = ""
    metrics: dict[str, float] | None = None


def write_answers(folder: Path, questions: list[Asked], answers: list[Answered]) -> None:
    """Write `questions.jsonl` and `answers.jsonl`."""
    write_jsonl(folder / QUESTIONS, (asdict(row) for row in questions))
    write_jsonl(folder / ANSWERS, (asdict(row) for row in answers))


def read_asked(folder: Path) -> list[Asked]:
    """Read `questions.jsonl`.

    Raises:
        BenchError: It is missing or broken.
    """
    return [_parsed(Asked, row, folder / QUESTIONS) for row in _rows(folder / QUESTIONS)]


def read_answers(folder: Path) -> list[Answered]:
    """Read `answers.jsonl`.

    Raises:
        BenchError: It is missing or broken.
    """
    return [_parsed(Answered, row, folder / ANSWERS) for row in _rows(folder / ANSWERS)]


def _rows(path: Path) -> list[Json]:
    if not path.is_file():
        raise BenchError(f"{shown(path)}: no such file; make it with: domainbench answer")
    return list(iter_jsonl(path))


R = TypeVar("R", Asked, Answered)


def _parsed(kind: type[R], row: Json, path: Path) -> R:
    parts: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    try:
        return kind(**parts)
    except TypeError as error:
        raise BenchError(f"{shown(path)}: not as the answer stage writes it ({error}); make it anew") from None
