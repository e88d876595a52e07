"""All mistakes of a domain at once, and what is worth a second look; nothing is written into the project."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmark.console import Reporter
from benchmark.domain.corpus import DUPLICATES, iter_chunks
from benchmark.domain.documents import find_documents
from benchmark.domain.duplicates import NearDuplicates
from benchmark.domain.ingest import capped, chunking_of, write_documents, write_ready_made
from benchmark.domain.locate import Located
from benchmark.domain.opening import open_ready_made
from benchmark.domain.questions import read_questions
from benchmark.domain.testset import Truth, read_truth
from benchmark.domain.tokens import load_counter
from benchmark.errors import BenchError, Problems
from benchmark.files import Json, iter_jsonl, shown
from benchmark.project import Domain, Project
from benchmark.records import Chunk, TestSet

_FEW = 30
"""Below so many questions the interval around a category's mean is wider than most differences (about .15)."""
_HIGH_OVERLAP = 0.8
_MANY = 1 / 3
_KEY_WORDS = 6
_NAMED = 5
_WORD = re.compile(r"\w+")
_STOPWORDS = frozenset(
    _WORD.findall(
        "a an and are as at be been but by can could did do does for from had has have how i if in into is it its may "
        "more most must no not of on or shall should so such than that the their them then there these they this those "
        "to was were what when where which who whom whose why will with would you your"
    )
)


@dataclass(frozen=True)
class CheckReport:
    """What a check of a domain found.

    Attributes:
        problems: Mistakes; the stages would refuse the domain.
        notes: What is worth a second look, and what was left out.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]


class _Notes:
    """Keeps the notes of the stages and passes progress on."""

    def __init__(self, reporter: Reporter) -> None:
        self.lines: list[str] = []
        self.track = reporter.track
        self.progress = reporter.progress

    def note(self, text: str) -> None:
        self.lines.append(text)


def check_domain(project: Project, domain: Domain, reporter: Reporter) -> CheckReport:
    """Read a domain as the stages would, in a temporary folder, and collect everything that is wrong.

    Args:
        project: Where the model spec of the tokenizer stands.
        domain: What to check.
        reporter: Where progress goes (the notes are in the report).

    Returns:
        All mistakes of documents and questions, and the notes.
    """
    notes = _Notes(reporter)
    if domain.spec.licence == "unknown":
        notes.note(f"{shown(domain.folder / 'domain.yaml')}: licence is unknown; without one nothing can be published")
    documents, questions = Problems(), Problems()
    with TemporaryDirectory(prefix="domainbench-") as name:
        folder = Path(name)
        try:
            facts, unreadable = _ingest(folder, project, domain, notes, documents)
        except BenchError as error:
            documents.absorb(error)
            facts = None
        try:
            if facts is None:
                _questions_alone(domain, questions)
            else:
                truth = read_truth(domain, folder, questions, unreadable)
                for line in [*_about_corpus(facts), *([] if len(questions) else _about_truth(truth, folder))]:
                    notes.note(line)
        except BenchError as error:
            questions.absorb(error)
    return CheckReport((*capped(documents).lines, *capped(questions).lines), tuple(notes.lines))


def _ingest(
    folder: Path, project: Project, domain: Domain, reporter: Reporter, problems: Problems
) -> tuple[Json, tuple[str, ...]]:
    """Facts of the corpus, and the names of the documents that are not in it."""
    source = open_ready_made(domain)
    if source is not None:
        return write_ready_made(folder, source, reporter, problems), ()
    listing = find_documents(domain, problems)
    counter = load_counter(project, chunking_of(domain))
    unreadable = list(listing.refused)
    facts = write_documents(folder, domain, listing, counter, reporter, problems, unreadable)
    return facts, tuple(unreadable)


def _questions_alone(domain: Domain, problems: Problems) -> None:
    """What can be said of the questions where there is no corpus to look into."""
    if open_ready_made(domain) is None:
        read_questions(domain, problems)


def _about_corpus(facts: Json) -> Iterator[str]:
    said = {
        "duplicate_documents": "documents are copies of another",
        "exact_duplicates": "passages stand in the corpus word for word already",
        "near_duplicates": "passages are nearly the same as another",
    }
    for key, text in said.items():
        if facts[key]:
            yield f"{facts[key]} {text} (listed in duplicates.jsonl after ingest)"


def _about_truth(truth: Truth, folder: Path) -> Iterator[str]:
    yield from _few(truth.testset)
    yield from _first(_asked_twice(truth.testset), "pairs of questions that ask nearly the same")
    yield from _in_near_duplicates(truth.testset, folder)
    yield from _first(_unlabelled(truth.located, folder), "questions whose evidence stands elsewhere too")
    yield from _easy(truth.testset, folder)


def _first(lines: Iterable[str], what: str) -> Iterator[str]:
    """The first few lines of a kind, and how many more there are."""
    told = list(lines)
    yield from told[:_NAMED]
    if len(told) > _NAMED:
        yield f"and {len(told) - _NAMED} more {what}"


def _few(testset: TestSet) -> Iterator[str]:
    """Categories too small for a figure of their own."""
    counts = Counter(query.category for query in testset.queries)
    for category, count in sorted(counts.items()):
        if count < _FEW:
            yield f"category '{category}' has {count} questions; under {_FEW} its mean says little"


def _asked_twice(testset: TestSet) -> Iterator[str]:
    """Questions that share nearly all their words."""
    near = NearDuplicates(threshold=0.9, length=1)
    for query in testset.queries:
        twin = near.add(query.id, query.text)
        if twin:
            yield f"questions {twin.key} and {query.id} ask nearly the same"


def _in_near_duplicates(testset: TestSet, folder: Path) -> Iterator[str]:
    """Questions whose relevant chunk has a twin that is not relevant."""
    twins: dict[str, set[str]] = {}
    for row in iter_jsonl(folder / DUPLICATES):
        if row["kind"] != "document" and row["chunk"] != row["of"]:
            twins.setdefault(row["chunk"], set()).add(row["of"])
            twins.setdefault(row["of"], set()).add(row["chunk"])
    doubtful = [
        query.id
        for query in testset.queries
        if any(twins.get(chunk, set()) - testset.qrels[query.id].keys() for chunk in testset.qrels.get(query.id, {}))
    ]
    if doubtful:
        yield f"{_some(doubtful)}: the relevant passage has a near-duplicate that does not count as relevant"


def _unlabelled(located: Sequence[Located], folder: Path) -> Iterator[str]:
    """Questions whose evidence stands word for word in a chunk that is not relevant."""
    labelled: dict[str, set[str]] = {}
    wanted: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for item in located:
        labelled.setdefault(item.query, set()).update(item.chunks)
        words = item.text.split()
        if len(words) >= _KEY_WORDS:
            wanted.setdefault(tuple(words[:_KEY_WORDS]), []).append((item.query, " ".join(words)))
    elsewhere: dict[str, str] = {}
    for chunk in iter_chunks(folder):
        words = chunk.text.split()
        keys = {tuple(words[at : at + _KEY_WORDS]) for at in range(len(words) - _KEY_WORDS + 1)}
        text = " ".join(words)
        for key in sorted(keys & wanted.keys()):
            for query, passage in wanted[key]:
                if passage in text and chunk.id not in labelled[query]:
                    elsewhere.setdefault(query, chunk.id)
    for query, chunk_id in sorted(elsewhere.items()):
        yield f"question {query}: its evidence stands word for word in {chunk_id} too; add that as evidence"


def _easy(testset: TestSet, folder: Path) -> Iterator[str]:
    """Whether many questions repeat the words of their passage, which favours lexical search."""
    relevant = {chunk for judged in testset.qrels.values() for chunk in judged}
    words = {chunk.id: _words(chunk) for chunk in iter_chunks(folder) if chunk.id in relevant}
    shares = [
        max((_share(query.text, words[chunk]) for chunk in testset.qrels.get(query.id, {})), default=0.0)
        for query in testset.queries
    ]
    high = sum(share >= _HIGH_OVERLAP for share in shares)
    if shares and high >= _MANY * len(shares):
        yield (
            f"{high} of {len(shares)} questions repeat {_HIGH_OVERLAP:.0%} or more of their words from the passage; "
            "that favours lexical search, and people who search seldom know the passage's words"
        )


def _words(chunk: Chunk) -> frozenset[str]:
    return frozenset(_WORD.findall(chunk.full_text.lower()))


def _share(question: str, passage: frozenset[str]) -> float:
    """The share of a question's content words that its passage holds (0 to 1)."""
    words = set(_WORD.findall(question.lower())) - _STOPWORDS
    return len(words & passage) / len(words) if words else 0.0


def _some(ids: Iterable[str]) -> str:
    """`questions a, b and 3 more`."""
    names = list(ids)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{'question' if len(names) == 1 else 'questions'} {', '.join(names[:_NAMED])}{more}"
