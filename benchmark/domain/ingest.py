"""The ingest stage: a folder of documents, or a ready-made corpus, to chunks, one document at a time."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmark.console import Reporter
from benchmark.domain.chunking import chunk_document
from benchmark.domain.corpus import CorpusWriter
from benchmark.domain.documents import Document, Listing, find_documents, read_document
from benchmark.domain.opening import open_ready_made
from benchmark.domain.ready_made import ReadyMade, iter_corpus
from benchmark.domain.tokens import TokenCounter, load_counter, tokenizer_path
from benchmark.errors import BenchError, Problems
from benchmark.files import Json, hash_file, hash_json, shown
from benchmark.project import Domain, Project
from benchmark.provenance import Outcome, Stage, run_stage
from benchmark.specs import Chunking

STAGE = Stage("ingest", 1)
_TOLD = 50
"""Mistakes of documents that are told; thousands of lines help nobody."""


class _Plan(NamedTuple):
    """What a run of the stage depends on, and how it fills its folder."""

    inputs: dict[str, str]
    settings: Json
    build: Callable[[Path], Json]


def ingest(project: Project, domain: Domain, reporter: Reporter) -> Outcome:
    """Turn a domain's documents into chunks; skipped when documents, tokenizer and settings are as before.

    Writes `chunks.jsonl` (records.Chunk), `documents.jsonl` {document, title, sha256, characters, text} (empty for a
    ready-made corpus) and `duplicates.jsonl` (see `CorpusWriter`).

    Args:
        project: Where the model spec of the tokenizer stands.
        domain: Whose documents.
        reporter: Where progress and notes go.

    Returns:
        Facts: documents, chunks, exact_duplicates, near_duplicates, duplicate_documents, tokens {median, p95, max}
        (null for a ready-made corpus).

    Raises:
        BenchError: One line for each document that cannot be read, all at once.
    """
    source = open_ready_made(domain)
    plan = _converted(project, domain, reporter) if source is None else _ready_made(source, reporter)
    return run_stage(
        STAGE, domain.chunks, inputs=plan.inputs, settings=plan.settings, build=plan.build, reporter=reporter,
        label=f"ingest {domain.name}",
    )  # fmt: skip


def _ready_made(source: ReadyMade, reporter: Reporter) -> _Plan:
    def build(folder: Path) -> Json:
        problems = Problems()
        facts = write_ready_made(folder, source, reporter, problems)
        capped(problems).raise_if_any()
        return facts

    return _Plan({"corpus": source.identity}, source.settings, build)


def _converted(project: Project, domain: Domain, reporter: Reporter) -> _Plan:
    problems = Problems()
    listing = find_documents(domain, problems)
    chunking = chunking_of(domain)
    try:
        counter = load_counter(project, chunking)
    except BenchError as error:
        problems.absorb(error)
        raise BenchError(*capped(problems).lines) from None
    if not listing.sources:
        problems.raise_if_any()

    def build(folder: Path) -> Json:
        facts = write_documents(folder, domain, listing, counter, reporter, problems)
        capped(problems).raise_if_any()
        return facts

    inputs = {
        # With mistakes the hash is like no finished run's, so that the stage is never skipped over them.
        "documents": hash_json([listing.content_hash(), problems.lines]),
        "tokenizer": hash_file(tokenizer_path(project, chunking)),
    }
    return _Plan(inputs, {"chunking": chunking.model_dump()}, build)


def chunking_of(domain: Domain) -> Chunking:
    """The chunking settings of a domain with documents.

    Raises:
        BenchError: domain.yaml has none.
    """
    if domain.spec.chunking is None:
        raise BenchError(f"{shown(domain.folder / 'domain.yaml')}: 'chunking' is missing")
    return domain.spec.chunking


def write_documents(
    folder: Path, domain: Domain, listing: Listing, counter: TokenCounter, reporter: Reporter, problems: Problems,
    unreadable: list[str] | None = None,
) -> Json:  # fmt: skip
    """Convert, cut and write a domain's documents; one is in memory at a time.

    Args:
        folder: Where the three files go.
        domain: Whose documents.
        listing: The documents.
        counter: Counts tokens.
        reporter: Where progress and notes go.
        problems: Where documents that cannot be read go; the others are written all the same.
        unreadable: Collects the names of those documents, where the caller wants them.

    Returns:
        The facts of the stage.
    """
    chunking = chunking_of(domain)
    for note in listing.notes:
        reporter.note(note)
    originals: dict[str, Original] = {}
    with CorpusWriter(folder) as writer:
        for source in reporter.track(listing.sources, total=len(listing.sources), label="documents"):
            try:
                document = read_document(source)
            except BenchError as error:
                problems.absorb(error)
                if unreadable is not None:
                    unreadable.append(source.name)
                continue
            for warning in document.content.warnings:
                reporter.note(warning)
            original = originals.setdefault(document.sha256, Original(document.name, document.title))
            if original.name != document.name:
                # A copy under another name: with the original's title its chunks come out the same, and are dropped.
                document = Document(document.name, original.title, document.content)
                writer.duplicate_document(document.name, original.name)
            if not writer.document(document, chunk_document(document, counter, chunking)):
                problems.add(f"{source.name}: holds headings alone, no text below them; fill it or remove it")
        return writer.facts()


class Original(NamedTuple):
    """The first document with a certain text."""

    name: str
    title: str


def write_ready_made(folder: Path, source: ReadyMade, reporter: Reporter, problems: Problems) -> Json:
    """Copy a ready-made corpus into chunks, as given; duplicates are told, never dropped.

    Args:
        folder: Where the three files go.
        source: The corpus.
        reporter: Where progress goes.
        problems: Where mistakes of the corpus go.

    Returns:
        The facts of the stage.
    """
    corpus = iter_corpus(source, problems)
    with CorpusWriter(folder, drop=False) as writer:
        for chunk in reporter.track(corpus, total=None, label="passages"):
            writer.chunk(chunk, None)
        for note in source.notes:
            reporter.note(note)
        if not writer.chunks and not len(problems):
            problems.add(f"{source.corpus_name}: no passages in it")
        return writer.facts()


def capped(problems: Problems, told: int = _TOLD) -> Problems:
    """The first mistakes, and how many more there are."""
    short = Problems()
    for line in problems.lines[:told]:
        short.add(line)
    if len(problems) > told:
        short.add(f"and {len(problems) - told} more")
    return short
