"""The test set stage: questions with evidence, or a ready-made corpus's own judgements, to queries and qrels."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from benchmark.console import Reporter
from benchmark.domain import ready_made
from benchmark.domain.corpus import iter_chunks
from benchmark.domain.ingest import capped
from benchmark.domain.locate import Located, locate
from benchmark.domain.opening import open_ready_made
from benchmark.domain.questions import read_questions
from benchmark.errors import BenchError, Problems
from benchmark.files import Json, hash_file, shown, write_jsonl, write_text
from benchmark.project import Domain
from benchmark.provenance import Outcome, Stage, run_stage
from benchmark.records import Query, TestSet

STAGE = Stage("testset", 1)


class Truth(NamedTuple):
    """A test set and, where it comes from evidence, the places of that."""

    testset: TestSet
    located: tuple[Located, ...] = ()


def build_testset(domain: Domain, chunks: Outcome, reporter: Reporter) -> Outcome:
    """Turn a domain's questions into a test set; skipped when questions and chunks are as before.

    Writes `queries.jsonl` {id, text, category, answer, answerable}, `qrels.tsv` (query-id, corpus-id, score) and
    `evidence.jsonl` {query, document, start, end, chunks}.

    Args:
        domain: Whose questions.
        chunks: What `ingest` did.
        reporter: Where progress goes.

    Returns:
        Facts: queries, unanswerable, qrels, categories {name: answerable queries}.

    Raises:
        BenchError: One line for each mistake, with file, line and question, all at once.
    """
    source = open_ready_made(domain)
    if source is not None:
        inputs = {"chunks": chunks.outputs_hash, "truth": source.truth_hash}
    else:
        if not domain.questions.is_file():
            raise BenchError(f"{shown(domain.questions)}: no such file; write one question a line (JSON)")
        inputs = {"chunks": chunks.outputs_hash, "questions": hash_file(domain.questions)}

    def build(folder: Path) -> Json:
        problems = Problems()
        truth = read_truth(domain, chunks.folder, problems)
        capped(problems).raise_if_any()
        return _write(folder, truth)

    return run_stage(
        STAGE, domain.testset, inputs=inputs, settings={}, build=build, reporter=reporter,
        label=f"test set {domain.name}",
    )  # fmt: skip


def read_truth(domain: Domain, chunks: Path, problems: Problems, unreadable: Iterable[str] = ()) -> Truth:
    """The test set of a domain over the chunks in a folder.

    Args:
        domain: Whose questions.
        chunks: A folder that the ingest stage filled.
        problems: Where mistakes go.
        unreadable: Documents that could not be read; that was told, so evidence in them is passed over.
    """
    source = open_ready_made(domain)
    if source is not None:
        ids = {chunk.id for chunk in iter_chunks(chunks)}
        return Truth(ready_made.read_truth(source, ids, problems))
    found = Problems()
    asked = read_questions(domain, found)
    located = locate(asked, chunks, found, frozenset(unreadable))
    for line in sorted(found.lines, key=_line_number):
        problems.add(line)
    qrels: dict[str, dict[str, int]] = {}
    for item in located:
        qrels.setdefault(item.query, {}).update(dict.fromkeys(item.chunks, 1))
    queries = [(question.answerable, question.query) for _, question in asked]
    answerable = tuple(query for has_answer, query in queries if has_answer)
    if asked and not answerable:
        problems.add(f"{shown(domain.questions)}: no answerable question in it: nothing to measure retrieval on")
    return Truth(TestSet(answerable, tuple(query for has_answer, query in queries if not has_answer), qrels), located)


def _line_number(problem: str) -> int:
    """The line of questions.jsonl that a problem names, so that a person mends the file from top to bottom."""
    number = re.search(r":(\d+): ", problem)
    return int(number[1]) if number else 0


def _write(folder: Path, truth: Truth) -> Json:
    queries, unanswerable, qrels = truth.testset.queries, truth.testset.unanswerable, truth.testset.qrels

    def row(query: Query, answerable: bool) -> Json:
        return {**vars(query), "answerable": answerable}

    write_jsonl(
        folder / "queries.jsonl",
        [*(row(query, True) for query in queries), *(row(query, False) for query in unanswerable)],
    )
    lines = [f"{query.id}\t{chunk}\t{score}\n" for query in queries for chunk, score in qrels[query.id].items()]
    write_text(folder / "qrels.tsv", "query-id\tcorpus-id\tscore\n" + "".join(lines))
    write_jsonl(
        folder / "evidence.jsonl",
        (
            {"query": item.query, "document": item.document, "start": item.span.start, "end": item.span.end,
             "chunks": list(item.chunks)}
            for item in truth.located
        ),
    )  # fmt: skip
    return {
        "queries": len(queries),
        "unanswerable": len(unanswerable),
        "qrels": len(lines),
        "categories": dict(sorted(Counter(query.category for query in queries).items())),
    }
