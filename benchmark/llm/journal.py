"""Every answer of a language model, kept the moment it arrives: nothing is asked, or paid for, twice.

The journal is an SQLite file (write-ahead log, one commit an answer), so that a killed run loses at most the
answers that were on their way. Beside it a project may carry a replay file: JSON Lines, read only, consulted after
the journal. Errors and empty answers are in neither.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmark.console import Reporter
from benchmark.errors import BenchError
from benchmark.files import Json, hash_json, read_jsonl, shown, write_jsonl
from benchmark.llm.model import Answer, Answered, ChatRequest, Failure, LanguageModel, usage_facts

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, text TEXT NOT NULL, input_tokens INTEGER, output_tokens INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS renewals (scope TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_TOLERATED = 0.05
"""Share of requests that may fail (a content filter, say) without stopping the stage."""


class Journal:
    """A domain's journal and its replay file; use `open_journal`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, replay: dict[str, Answer]) -> None:
        self._path, self._connection, self._replay = path, connection, replay

    def journalled(self, key: str) -> Answer | None:
        """The answer in the SQLite file."""
        row = self._connection.execute(
            "SELECT text, input_tokens, output_tokens FROM answers WHERE key = ?", (key,)
        ).fetchone()
        return Answer(*row) if row else None

    def replayed(self, key: str) -> Answer | None:
        """The answer in the replay file."""
        return self._replay.get(key)

    def put(self, key: str, model: str, answer: Answer) -> None:
        """Keep an answer; it is on the disk when this returns.

        Raises:
            ValueError: The answer is empty.
        """
        if not answer.text.strip():
            raise ValueError("an empty answer is never journalled")
        with self._connection:
            self._connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
                (key, model, answer.text, answer.input_tokens, answer.output_tokens),
            )

    def renewing(self, keys: Iterable[str]) -> bool:
        """Whether a renewal of exactly these answers was begun and has not ended."""
        row = self._connection.execute("SELECT 1 FROM renewals WHERE scope = ?", (_scope(keys),)).fetchone()
        return row is not None

    def renew(self, keys: Sequence[str]) -> None:
        """Forget these answers, once: a renewal that was killed goes on with what it has already got."""
        if self.renewing(keys):
            return
        with self._connection:
            self._connection.executemany("DELETE FROM answers WHERE key = ?", [(key,) for key in keys])
            self._connection.execute("INSERT INTO renewals VALUES (?)", (_scope(keys),))

    def renewed(self, keys: Iterable[str]) -> None:
        """End a renewal: the next one forgets again."""
        with self._connection:
            self._connection.execute("DELETE FROM renewals WHERE scope = ?", (_scope(keys),))


@contextmanager
def open_journal(path: Path, replay: Path | None = None) -> Iterator[Journal]:
    """Open a domain's journal (made where there is none) with its replay file, if that is there.

    Raises:
        BenchError: The journal is no SQLite database, or the replay file has mistakes.
    """
    answers = read_replay(replay) if replay is not None and replay.is_file() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(path, timeout=60)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_SCHEMA)
            yield Journal(path, connection, answers)
    except sqlite3.Error as error:
        raise BenchError(
            f"{shown(path)}: the journal of answers cannot be used: {error}; "
            "if it is broken, move it away (its answers will be asked again)"
        ) from None


def _scope(keys: Iterable[str]) -> str:
    return hash_json(sorted(set(keys)))


def read_replay(path: Path) -> dict[str, Answer]:
    """Read a replay file: key -> answer.

    Raises:
        BenchError: One line for each mistake.
    """
    answers: dict[str, Answer] = {}
    wrong = []
    for number, row in read_jsonl(path):
        text, counts = row.get("text"), (row.get("input_tokens"), row.get("output_tokens"))
        fine = isinstance(row.get("key"), str) and isinstance(text, str) and bool(text.strip())
        if not fine or not all(count is None or isinstance(count, int) for count in counts):
            wrong.append(f"{shown(path)}:{number}: not an answer (key, text, input_tokens, output_tokens)")
            continue
        answers[row["key"]] = Answer(str(text), *counts)
    if wrong:
        raise BenchError(*wrong)
    return answers


def export_replay(journal: Journal, path: Path, keys: Iterable[str]) -> int:
    """Write the answers for these keys to a replay file, sorted by key; returns how many there were.

    A key without an answer is left out: it failed, and will be asked again by whoever replays.
    """
    rows: list[Json] = []
    for key in sorted(set(keys)):
        answer = journal.journalled(key) or journal.replayed(key)
        if answer is not None:
            counts = {"input_tokens": answer.input_tokens, "output_tokens": answer.output_tokens}
            rows.append({"key": key, "text": answer.text, **counts})
    return write_jsonl(path, rows)


@dataclass(frozen=True)
class Asked:
    """What came back for a sequence of requests.

    Attributes:
        answers: One for each request, in order; None where it failed.
        sources: How many requests were asked now, found in the journal, replayed, or failed.
        failures: Reasons, with how often each occurred.
        usage: Tokens and money of all the answers, whenever they were given.
    """

    answers: tuple[Answer | None, ...]
    sources: dict[str, int]
    failures: dict[str, int]
    usage: Json


def ask(
    model: LanguageModel, requests: Sequence[ChatRequest], journal: Journal, reporter: Reporter, *, fresh: bool = False
) -> Asked:
    """Answer requests from the journal, then from the replay file, and ask the model for the rest.

    Args:
        model: Who answers; not opened when nothing is missing.
        requests: Any number; equal ones are asked once.
        journal: Where answers come from and go to.
        reporter: Shows how far it has come.
        fresh: Ask anew in place of replaying. After a kill it goes on where it stopped, until
            `journal.renewed` ends it.

    Raises:
        BenchError: The model cannot be reached or loaded, or more than a twentieth of the requests failed.
    """
    keys = [request.key(model.identity) for request in requests]
    if fresh:
        journal.renew(keys)
    replaying = not journal.renewing(keys)
    found = {key: answer for key in dict.fromkeys(keys) if (answer := journal.journalled(key))}
    replay = {
        key: answer
        for key in dict.fromkeys(keys)
        if replaying and key not in found and (answer := journal.replayed(key))
    }
    known = found | replay
    missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in known}
    fresh_answers, failures = _ask_missing(model, missing, journal, reporter)
    known |= fresh_answers
    answers = tuple(known.get(key) for key in keys)
    return Asked(
        answers,
        {
            "asked": len(fresh_answers),
            "journal": len(found),
            "replay": len(replay),
            "failed": sum(failures.values()),
        },
        failures,
        usage_facts(list(known.values()), model.price),
    )


def _ask_missing(
    model: LanguageModel, missing: dict[str, ChatRequest], journal: Journal, reporter: Reporter
) -> tuple[dict[str, Answer], dict[str, int]]:
    keys, requests = list(missing), list(missing.values())
    answers: dict[str, Answer] = {}
    failures: dict[str, int] = {}
    stream: Iterator[Answered] = model.answers(requests) if requests else iter(())
    for place, result in reporter.track(stream, total=len(requests), label=f"asking {model.identity}"):
        if isinstance(result, Failure):
            failures[result.reason] = failures.get(result.reason, 0) + 1
            continue
        journal.put(keys[place], model.identity, result)
        answers[keys[place]] = result
    failed = len(requests) - len(answers)
    if failed > _TOLERATED * len(requests):
        commonest = max(sorted(failures), key=lambda reason: failures[reason], default="no result")
        raise BenchError(
            f"{model.identity}: {failed} of {len(requests)} requests failed (mostly: {commonest}); "
            f"{len(answers)} answers are kept, run again to ask only for the rest"
        )
    return answers, dict(sorted(failures.items()))
