"""`results/<domain>/answers.{json,md}`: what the answers of each pipeline are worth, and what that can be known from."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Final

from benchmark.answer_records import Answered, Asked, read_answers, read_asked
from benchmark.console import Reporter
from benchmark.errors import BenchError, Problems
from benchmark.files import Json, hash_file, hash_json, iter_jsonl, read_json, read_text, shown, write_text
from benchmark.llm.opening import open_llm
from benchmark.project import Domain, Project
from benchmark.provenance import MANIFEST
from benchmark.reporting.answers_board import (
    JUDGED,
    PLAIN,
    Answers,
    Comparison,
    Mean,
    PairRow,
    Preference,
    Question,
    Repeats,
    Scores,
    Settings,
)
from benchmark.reporting.answers_pages import answers_markdown
from benchmark.reporting.answers_statistics import with_answer_statistics
from benchmark.reporting.compact import close, dump_compact
from benchmark.specs import BenchmarkSpec

NAME: Final = "answers"
STALE: Final = (
    "the judge's verdicts are about other answers than those that are kept, and are left out; run: domainbench judge"
)
UNASKED: Final = (
    "the model that gave the answers follows no instructions: it was asked neither to cite nor to decline, so that is "
    "not rated, and what it says shows that everything works, hardly which pipeline is better"
)
_NOT_ASKED: Final = frozenset({"citation_valid", "declined_rightly", "citation_precision", "citation_recall"})
_ANEW: Final = "make it anew: domainbench judge"
_AT_MOST: Final = 20


def make_answers(project: Project, domain: Domain, benchmark: BenchmarkSpec, reporter: Reporter) -> Answers:
    """Read answers and, where there are any, verdicts; write `answers.json` and `answers.md`.

    Loads no model and asks nobody; the same files give the same bytes.

    Args:
        project: Where the language model's name is looked up, if the answers do not tell it.
        domain: Whose answers.
        benchmark: The pipelines, and what the statistics depend on.
        reporter: Where notes go.

    Raises:
        BenchError: There are no answers, or they are not those that the benchmark file asks for.
    """
    board = with_answer_statistics(_read(project, domain, benchmark, reporter))
    write_text(_path(domain, "md"), answers_markdown(board))
    write_text(_path(domain, "json"), dump_compact(board.to_json()) + "\n")
    reporter.note(
        f"answers: {len(board.pipelines)} pipelines, {len(board.questions)} questions, {shown(_path(domain, 'md'))}"
    )
    return board


def read_board(domain: Domain) -> Answers:
    """Read `answers.json`.

    Raises:
        BenchError: It is missing or broken.
    """
    path = _path(domain, "json")
    return Answers.from_json(read_json(path), shown(path))


def _path(domain: Domain, suffix: str) -> Path:
    return domain.results / f"{NAME}.{suffix}"


# --- reading --------------------------------------------------------------------------------------------------------


def _read(project: Project, domain: Domain, benchmark: BenchmarkSpec, reporter: Reporter) -> Answers:
    if benchmark.answers is None:
        raise BenchError("the benchmark file has no 'answers' section: there are no answers to rate")
    questions, rows = read_asked(domain.answers), read_answers(domain.answers)
    by_place = _by_place(domain, benchmark, questions, rows)
    pipelines = benchmark.answering
    scores = _plain(questions, pipelines, by_place)
    facts = _judged_facts(domain, benchmark)
    notes: list[str] = []
    pairs: tuple[PairRow, ...] = ()
    if facts == STALE:
        reporter.note(f"answers: {STALE}")
        notes.append(STALE)
    repeats = benchmark.answers.judge.repeats if benchmark.answers.judge else 1
    if isinstance(facts, dict):
        notes += facts["warnings"]
        scores |= _judged(domain, questions, pipelines, repeats)
        pairs = _pairs(domain)
    if not _instructed(domain):
        notes.insert(0, UNASKED)
        scores = {metric: columns for metric, columns in scores.items() if metric not in _NOT_ASKED}
    if not scores:
        raise BenchError(
            f"{shown(domain.answers)}: not one answer can be scored; see why they failed, and answer again"
        )
    return Answers(
        domain=domain.name,
        title=domain.spec.title,
        settings=Settings.of(benchmark),
        generator=_generator(project, domain, benchmark),
        judge=facts["judge"] if isinstance(facts, dict) else None,
        repeats=repeats if isinstance(facts, dict) else 1,
        notes=tuple(notes),
        pipelines=pipelines,
        questions=tuple(Question(asked.id, asked.category, asked.answerable) for asked in questions),
        scores=scores,
        pairs=pairs,
    )


def _instructed(domain: Domain) -> bool:
    """Whether the answers came from a model that follows instructions, as far as their stage noted it."""
    path = domain.answers / MANIFEST
    return not path.is_file() or read_json(path)["facts"].get("style") != "begun"


def _by_place(
    domain: Domain, benchmark: BenchmarkSpec, questions: Sequence[Asked], rows: Sequence[Answered]
) -> dict[tuple[str, str], Answered]:
    """(pipeline, question) -> answer; each once, and none missing."""
    found = {(row.pipeline, row.question): row for row in rows}
    wanted = {(pipeline, asked.id) for pipeline in benchmark.answering for asked in questions}
    if not wanted or found.keys() != wanted or len(rows) != len(wanted):
        raise BenchError(
            f"{shown(domain.answers)}: does not hold one answer of each pipeline of the benchmark file to each question; "
            "run again: domainbench answer"
        )
    return found


def _plain(questions: Sequence[Asked], pipelines: Sequence[str], answers: dict[tuple[str, str], Answered]) -> Scores:
    """Metrics without a language model; what they are not known for, because there is no answer, has failed."""
    found: Scores = {}
    for metric in PLAIN:
        columns = {
            pipeline: [
                _plain_score(metric, asked, answers[pipeline, asked.id], pipelines, answers) for asked in questions
            ]
            for pipeline in pipelines
        }
        if any(repeats is not None for column in columns.values() for repeats in column):
            found[metric] = columns
    return found


def _plain_score(
    metric: str,
    asked: Asked,
    answer: Answered,
    pipelines: Sequence[str],
    answers: dict[tuple[str, str], Answered],
) -> Repeats:
    if not answer.failure:
        metrics = answer.metrics or {}
        return [metrics[metric]] if metric in metrics else None
    if metric in {"declined_rightly", "citation_valid"}:
        return [None]
    # Whether an answer can be compared with the reference depends on the question: another pipeline's answer tells.
    others = (answers[pipeline, asked.id] for pipeline in pipelines)
    known = [other for other in others if not other.failure]
    applies = any(metric in (other.metrics or {}) for other in known)
    if not known:
        applies = asked.answerable and bool(asked.reference.strip())
    return [None] if applies else None


def _judged_facts(domain: Domain, benchmark: BenchmarkSpec) -> Json | str | None:
    """What the judge stage noted; a text says why its verdicts are of no use; None where there are none."""
    assert benchmark.answers is not None  # noqa: S101 (see `_read`)
    path = domain.judged / MANIFEST
    if benchmark.answers.judge is None or not path.is_file():
        return None
    manifest = read_json(path)
    answers = {file.name: hash_file(file) for file in sorted(domain.answers.glob("*.jsonl"))}
    fits = manifest.get("inputs", {}).get("answers") == hash_json(answers)
    settings = manifest.get("settings", {})
    fits = fits and settings.get("repeats") == benchmark.answers.judge.repeats
    facts: Json = manifest["facts"]
    return facts if fits and settings.get("pipelines") == list(benchmark.answering) else STALE


def _judged(domain: Domain, questions: Sequence[Asked], pipelines: Sequence[str], repeats: int) -> Scores:
    """The judge's scores; a row that lacks a metric says that it does not apply."""
    rows = {
        (row["pipeline"], row["question"], row["repeat"]): row for row in iter_jsonl(domain.judged / "judgements.jsonl")
    }
    found: Scores = {}
    for metric in JUDGED:
        columns: dict[str, list[Repeats]] = {}
        for pipeline in pipelines:
            said = [[rows[pipeline, asked.id, repeat] for repeat in range(repeats)] for asked in questions]
            columns[pipeline] = [[row[metric]["score"] for row in part] if metric in part[0] else None for part in said]
        if any(cell is not None for column in columns.values() for cell in column):
            found[metric] = columns
    return found


def _pairs(domain: Domain) -> tuple[PairRow, ...]:
    rows = iter_jsonl(domain.judged / "pairs.jsonl")
    return tuple(PairRow(row["question"], row["second"], row["preferred"], tuple(row["orders"])) for row in rows)


def _generator(project: Project, domain: Domain, benchmark: BenchmarkSpec) -> str:
    """Who answered, as the answer stage noted it, else as the benchmark file says."""
    assert benchmark.answers is not None  # noqa: S101 (see `_read`)
    path = domain.answers / MANIFEST
    facts: Json = read_json(path).get("facts", {}) if path.is_file() else {}
    noted = [use.get("model") for use in facts.get("llm", {}).values() if isinstance(use, dict)]
    return str(noted[0]) if noted and noted[0] else open_llm(benchmark.answers.llm, project).identity


# --- checking what was committed ------------------------------------------------------------------------------------


def check_answers(domain: Domain, benchmark: BenchmarkSpec) -> Answers:
    """Derive every statistic, and `answers.md`, anew from the scores in `answers.json`; needs neither answers nor models.

    Returns:
        The answers' statistics, as they were derived.

    Raises:
        BenchError: One line for each difference: a figure, a setting, a line of `answers.md`.
    """
    stored = read_board(domain)
    where = shown(_path(domain, "json"))
    derived = with_answer_statistics(stored)
    lines = [f"{where}: {line}" for line in _other_rows(stored, derived)]
    if stored.settings != Settings.of(benchmark) or stored.pipelines != benchmark.answering:
        lines.append(f"{where}: made with other settings or pipelines than those of the benchmark file; {_ANEW}")
    if stored.warnings != derived.warnings:
        lines.append(f"{where}: its warnings are not those that its scores give; {_ANEW}")
    if not lines and read_text(_path(domain, "md")) != answers_markdown(stored):
        lines.append(f"{shown(_path(domain, 'md'))}: differs from what the scores give; {_ANEW}")
    with Problems() as problems:
        for line in lines[:_AT_MOST]:
            problems.add(line)
    return derived


_Row = Mean | Comparison | Preference


def _other_rows(stored: Answers, derived: Answers) -> Iterator[str]:
    tables: Iterable[tuple[str, Sequence[_Row], Sequence[_Row]]] = (
        ("means", stored.means, derived.means),
        ("groups", stored.groups, derived.groups),
        ("comparisons", stored.comparisons, derived.comparisons),
        ("preferences", stored.preferences, derived.preferences),
    )
    for what, old, new in tables:
        if len(old) != len(new):
            yield f"{what}: has {len(old)} rows where its scores give {len(new)}"
            continue
        for have, want in zip(old, new, strict=True):
            for key in (field.name for field in fields(want)):
                if not close(getattr(have, key), getattr(want, key)):
                    yield (
                        f"{what}, {want.pipeline}, {getattr(want, 'metric', 'preference')}: {key} is "
                        f"{getattr(have, key)}, its scores give {getattr(want, key)}"
                    )
