"""questions.jsonl: what a person asks of the documents, and where the answer stands."""

import re
from typing import Annotated, NamedTuple, Self

from pydantic import Field, model_validator

from benchmark.errors import BenchError, Problems
from benchmark.files import read_jsonl, shown
from benchmark.project import Domain
from benchmark.records import Query
from benchmark.specs import Strict, parse_spec

_CATEGORY = re.compile(r"[A-Za-z0-9_-]+")


class Evidence(Strict):
    """Where an answer stands: a quote from a document, or a span of characters in its converted text."""

    document: str
    quote: str | None = None
    start: Annotated[int, Field(ge=0)] | None = None
    end: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.start is None) != (self.end is None):
            raise ValueError("'start' goes with 'end'")
        if (self.quote is None) == (self.start is None):
            raise ValueError("either 'quote' or 'start' and 'end' is needed")
        if self.quote is not None and not any(map(str.isalnum, self.quote)):
            raise ValueError("'quote' is empty (no letter or digit in it)")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"the span {self.start}-{self.end} is empty ('end' is one past the last character)")
        return self

    @property
    def span(self) -> tuple[int, int] | None:
        """Start and end, where they are given."""
        return None if self.start is None or self.end is None else (self.start, self.end)


class Question(Strict):
    """A row of questions.jsonl."""

    id: str
    question: str
    category: str = "core"
    answer: str = ""
    evidence: list[Evidence] = Field(default_factory=list)
    answerable: bool = True

    @model_validator(mode="after")
    def _usable(self) -> Self:
        wrong = [
            (not self.id, "'id' is empty"),
            (" " in self.id or not self.id.isprintable(), f"the id {self.id!r} holds white space (TREC splits there)"),
            (not self.question.strip(), "'question' is empty"),
            (not _CATEGORY.fullmatch(self.category), f"the category {self.category!r} is not letters, digits, _ and -"),
            (self.answerable and not self.evidence, "no evidence; quote it, or say \"answerable\": false"),
            (not self.answerable and bool(self.evidence), "\"answerable\" is false, but there is evidence"),
        ]  # fmt: skip
        said = [text for is_wrong, text in wrong if is_wrong]
        if said:
            raise ValueError("; ".join(said))
        return self

    @property
    def query(self) -> Query:
        """The question as a record; white space folded."""
        return Query(self.id, " ".join(self.question.split()), self.category, self.answer.strip())


class Asked(NamedTuple):
    """A question and the line where it stands, as it begins a message."""

    where: str
    question: Question


def read_questions(domain: Domain, problems: Problems) -> list[Asked]:
    """Read a domain's questions; those with mistakes are left out.

    Args:
        domain: Whose questions.
        problems: Where mistakes go, each with file, line and the question's id.
    """
    path = domain.questions
    if not path.is_file():
        problems.add(f"{shown(path)}: no such file; write one question a line (JSON)")
        return []
    lines = read_jsonl(path, problems)
    if not lines and not len(problems):
        problems.add(f"{shown(path)}: no questions in it")
    asked: list[Asked] = []
    by_id: dict[str, int] = {}
    by_text: dict[str, str] = {}
    for number, row in lines:
        name = row.get("id")
        where = f"{shown(path)}:{number}: question {name}" if isinstance(name, str) else f"{shown(path)}:{number}"
        # Twins are told of a question with other mistakes as well, so that all are known in one go.
        told = len(problems)
        if isinstance(name, str) and by_id.setdefault(name, number) != number:
            problems.add(f"{where}: the id stands in line {by_id[name]} already")
        text = row.get("question")
        if isinstance(text, str) and text.strip():
            twin = by_text.setdefault(" ".join(text.casefold().split()), str(name))
            if twin != str(name):
                problems.add(f"{where}: asks the same as question {twin}")
        try:
            question = parse_spec(Question, row, where)
        except BenchError as error:
            problems.absorb(error)
        if len(problems) > told:
            continue
        asked.append(Asked(where, question))
    return asked
