"""Every answer of a language model, kept the moment it arrives: nothing is asked, or paid for, twice.

The journal is an SQLite file (write-ahead log, one commit an answer). What was committed outlives the process: a killed
run (kill -9 too) loses at most the answers that were on their way. The log reaches the disk at every checkpoint, some
seconds apart, so that a power cut loses the last seconds at most. Beside it a project may carry a replay file: JSON
Lines, read only, consulted after the journal. Errors and empty answers are in neither; an answer that does not have
the form that was asked for waits in a table of its own for its one repair.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmark.console import Reporter
from benchmark.errors import BenchError
from benchmark.files import Json, hash_json, read_jsonl, shown, write_jsonl
from benchmark.llm.budget import NOTHING, BudgetMeter, Spent
from benchmark.llm.model import Answer, ChatRequest, LanguageModel, usage_facts
from benchmark.llm.prompts import Prompts
from benchmark.llm.rounds import Rounds, kept_answers
from benchmark.specs import Budget

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, text TEXT NOT NULL, input_tokens INTEGER, output_tokens INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unformed (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, input_tokens INTEGER, output_tokens INTEGER, cut_off INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spending (
    model TEXT PRIMARY KEY, calls INTEGER NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    unknown_calls INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS renewals (scope TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_SECONDS_BETWEEN_CHECKPOINTS = 5.0
_TOLERATED = 0.05
"""Share of requests that may fail (a content filter, say) without stopping the stage."""


class Journal:
    """A domain's journal and its replay file; use `open_journal`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, replay: dict[str, Answer]) -> None:
        self._path, self._connection, self._replay = path, connection, replay
        self._checkpointed = time.monotonic()

    def journalled(self, key: str) -> Answer | None:
        """The answer in the SQLite file."""
        row = self._connection.execute(
            "SELECT text, input_tokens, output_tokens FROM answers WHERE key = ?", (key,)
        ).fetchone()
        return Answer(*row) if row else None

    def replayed(self, key: str) -> Answer | None:
        """The answer in the replay file."""
        return self._replay.get(key)

    def put(self, key: str, model: str, answer: Answer, cost: Spent = NOTHING) -> None:
        """Keep an answer and what it did cost.

        Raises:
            ValueError: The answer is empty.
        """
        if not answer.text.strip():
            raise ValueError("an empty answer is never journalled")
        with self._writing(model, cost) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
                (key, model, answer.text, answer.input_tokens, answer.output_tokens),
            )
            connection.execute("DELETE FROM unformed WHERE key = ?", (key,))

    def put_unformed(self, key: str, model: str, answer: Answer, cost: Spent) -> None:
        """Keep an answer that does not have its form until it is repaired."""
        with self._writing(model, cost) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO unformed VALUES (?, ?, ?, ?, ?)",
                (key, answer.text, answer.input_tokens, answer.output_tokens, answer.cut_off),
            )

    def unformed(self, key: str) -> Answer | None:
        """The answer that waits for its repair."""
        row = self._connection.execute(
            "SELECT text, input_tokens, output_tokens, cut_off FROM unformed WHERE key = ?", (key,)
        ).fetchone()
        return Answer(row[0], row[1], row[2], bool(row[3])) if row else None

    def put_failure(self, key: str, model: str, cost: Spent) -> None:
        """Keep what a request without an answer did cost; nothing waits for a repair any longer."""
        with self._writing(model, cost) as connection:
            connection.execute("DELETE FROM unformed WHERE key = ?", (key,))

    def spent(self, model: str) -> Spent:
        """What was paid for a model over all runs: failures and repairs too, and answers that were renewed since."""
        row = self._connection.execute(
            "SELECT calls, input_tokens, output_tokens, unknown_calls FROM spending WHERE model = ?", (model,)
        ).fetchone()
        return Spent(*row) if row else Spent()

    def checkpoint(self) -> None:
        """Bring everything that was committed to the disk."""
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._checkpointed = time.monotonic()

    @contextmanager
    def _writing(self, model: str, cost: Spent) -> Iterator[sqlite3.Connection]:
        """One transaction, which adds to what was spent."""
        with self._connection:
            if any(cost):
                self._connection.execute(
                    "INSERT INTO spending VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (model) DO UPDATE SET calls = "
                    "calls + ?2, input_tokens = input_tokens + ?3, output_tokens = output_tokens + ?4, "
                    "unknown_calls = unknown_calls + ?5",
                    (model, *cost),
                )
            yield self._connection
        if time.monotonic() - self._checkpointed >= _SECONDS_BETWEEN_CHECKPOINTS:
            self.checkpoint()

    def renewing(self, keys: Iterable[str]) -> bool:
        """Whether a renewal of exactly these answers was begun and has not ended."""
        row = self._connection.execute("SELECT 1 FROM renewals WHERE scope = ?", (_scope(keys),)).fetchone()
        return row is not None

    def renew(self, keys: Sequence[str]) -> None:
        """Forget these answers, once: a renewal that was killed goes on with what it has already got."""
        if self.renewing(keys):
            return
        with self._connection:
            for table in ("answers", "unformed"):
                self._connection.executemany(f"DELETE FROM {table} WHERE key = ?", [(key,) for key in keys])  # noqa: S608
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
            connection.execute("PRAGMA synchronous = NORMAL")
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
        answers: One for each request, in order; None where it failed. Where a form was asked for, the text is the
            JSON object alone.
        sources: How many requests were asked now, found in the journal, replayed, or failed; `repaired`: how many of
            those asked had the form at the second attempt only.
        failures: Reasons, with how often each occurred.
        usage: Tokens and money of all the answers, whenever they were given.
    """

    answers: tuple[Answer | None, ...]
    sources: dict[str, int]
    failures: dict[str, int]
    usage: Json


def ask(
    model: LanguageModel,
    requests: Sequence[ChatRequest],
    journal: Journal,
    reporter: Reporter,
    *,
    fresh: bool = False,
    budget: Budget | None = None,
    purpose: str = "",
    prompts: Prompts | None = None,
) -> Asked:
    """Answer requests from the journal, then from the replay file, and ask the model for the rest.

    Args:
        model: Who answers; not opened when nothing is missing.
        requests: Any number; equal ones are asked once.
        journal: Where answers come from and go to.
        reporter: Shows how far it has come, and how many tokens a second are written.
        fresh: Ask anew in place of replaying. After a kill it goes on where it stopped, until
            `journal.renewed` ends it.
        budget: What may be spent on this model in this journal, over all runs.
        purpose: A word or two for the screen, e.g. "questions".
        prompts: Where the words of a repair stand; the package's own by default.

    Raises:
        BenchError: The model cannot be reached or loaded, the budget is reached, or too many requests failed (more
            than a twentieth; one of fewer than twenty may).
    """
    keys = [request.key(model.identity) for request in requests]
    wanted = dict(zip(keys, requests, strict=True))
    if fresh:
        journal.renew(keys)
    kept = kept_answers(journal, wanted)
    missing = {key: request for key, request in wanted.items() if key not in kept.all}
    meter = BudgetMeter(budget, model.price, journal.spent(model.identity)) if budget else None
    rounds = Rounds(model, journal, meter, prompts or Prompts())
    if missing:
        with reporter.progress(total=len(missing), label=f"{purpose or 'asking'} ({model.identity})") as update:
            rounds.run(missing, update)
        journal.checkpoint()
    known = kept.all | rounds.answers
    _stop_if_incomplete(model.identity, rounds, meter, len(missing), len(known), len(wanted))
    sources = {
        "asked": len(rounds.answers),
        "repaired": rounds.repaired,
        "journal": len(kept.journalled),
        "replay": len(kept.replayed),
        "failed": sum(rounds.failures.values()),
    }
    failures = dict(sorted(rounds.failures.items()))
    answers = tuple(known.get(key) for key in keys)
    return Asked(answers, sources, failures, usage_facts(list(known.values()), model.price))


def _stop_if_incomplete(
    who: str, rounds: Rounds, meter: BudgetMeter | None, asked: int, known: int, total: int
) -> None:
    failed = sum(rounds.failures.values())
    commonest = max(sorted(rounds.failures), key=lambda reason: rounds.failures[reason], default="")
    if meter is not None and rounds.not_started:
        also = f" ({failed:,} failed, mostly: {commonest})" if failed else ""
        raise BenchError(
            f"{who}: the budget is reached ({meter.told()}); {known:,} of {total:,} requests are answered and "
            f"kept{also}; raise 'budget' in the benchmark file and run again to go on"
        )
    if failed > max(1, _TOLERATED * asked):
        raise BenchError(
            f"{who}: {failed} of {asked} requests failed (mostly: {commonest}); {len(rounds.answers)} answers are "
            "kept, run again to ask only for the rest"
        )
