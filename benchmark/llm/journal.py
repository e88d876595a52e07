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
from benchmark.llm.budget import NOTHING, BudgetMeter, Paid, Spent
from benchmark.llm.model import Answer, ChatRequest, LanguageModel, short_identity, usage_facts
from benchmark.llm.prompts import Prompts
from benchmark.llm.rounds import TOLERATED, Rounds, kept_answers
from benchmark.llm.spending import Spending
from benchmark.specs import Budget

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, text TEXT NOT NULL, input_tokens INTEGER, output_tokens INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unformed (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, input_tokens INTEGER, output_tokens INTEGER, cut_off INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS renewals (scope TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS awaiting (key TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_SECONDS_BETWEEN_CHECKPOINTS = 5.0


class Journal:
    """A domain's journal and its replay file; use `open_journal`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, replay: dict[str, Answer]) -> None:
        self._path, self._connection, self._replay = path, connection, replay
        self._spending = Spending(connection)
        self._checkpointed = time.monotonic()

    def journalled(self, key: str) -> Answer | None:
        """The answer in the SQLite file, the old one where a renewal is awaited."""
        row = self._connection.execute(
            "SELECT text, input_tokens, output_tokens FROM answers WHERE key = ?", (key,)
        ).fetchone()
        return Answer(*row) if row else None

    def replayed(self, key: str) -> Answer | None:
        """The answer in the replay file."""
        return self._replay.get(key)

    def put(self, key: str, model: str, answer: Answer, cost: Spent = NOTHING, usd: float | None = None) -> None:
        """Keep an answer, in place of an older one, and what it did cost (`usd` where the price is known).

        Raises:
            ValueError: The answer is empty.
        """
        if not answer.text.strip():
            raise ValueError("an empty answer is never journalled")
        with self._writing(model, cost, usd) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
                (key, model, answer.text, answer.input_tokens, answer.output_tokens),
            )
            connection.execute("DELETE FROM unformed WHERE key = ?", (key,))
            connection.execute("DELETE FROM awaiting WHERE key = ?", (key,))

    def put_unformed(self, key: str, model: str, answer: Answer, cost: Spent, usd: float | None = None) -> None:
        """Keep an answer that does not have its form until it is repaired."""
        with self._writing(model, cost, usd) as connection:
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

    def put_failure(self, key: str, model: str, cost: Spent, usd: float | None = None) -> None:
        """Keep what a request without an answer did cost; nothing waits for a repair any longer."""
        with self._writing(model, cost, usd) as connection:
            connection.execute("DELETE FROM unformed WHERE key = ?", (key,))

    def put_cost(self, model: str, cost: Spent, usd: float | None = None) -> None:
        """Keep what was spent for requests without any result."""
        with self._writing(model, cost, usd):
            pass

    def spent(self, model: str) -> Spent:
        """What was paid for a model over all runs: failures and repairs too, and answers that were renewed since."""
        return self._spending.spent(model)

    def paid(self, model: str) -> Paid:
        """The part of `spent` whose dollars were known when it was spent."""
        return self._spending.paid(model)

    def checkpoint(self) -> None:
        """Bring everything that was committed to the disk."""
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._checkpointed = time.monotonic()

    @contextmanager
    def _writing(self, model: str, cost: Spent, usd: float | None) -> Iterator[sqlite3.Connection]:
        """One transaction, which adds to what was spent."""
        with self._connection:
            self._spending.add(model, cost, usd)
            yield self._connection
        if time.monotonic() - self._checkpointed >= _SECONDS_BETWEEN_CHECKPOINTS:
            self.checkpoint()

    def renewing(self, keys: Iterable[str]) -> bool:
        """Whether a renewal of exactly these answers was begun and has not ended."""
        row = self._connection.execute("SELECT 1 FROM renewals WHERE scope = ?", (_scope(keys),)).fetchone()
        return row is not None

    def awaits_renewal(self, key: str) -> bool:
        """Whether a new answer is wanted in place of the one that is kept."""
        return self._connection.execute("SELECT 1 FROM awaiting WHERE key = ?", (key,)).fetchone() is not None

    def renew(self, keys: Sequence[str]) -> None:
        """Begin to renew these answers: each is kept until the new one is there.

        In later runs too they count as missing, with or without `fresh`, until `put` or `renewed`. A renewal that was
        begun before goes on with what it has already got.
        """
        if self.renewing(keys):
            return
        with self._connection:
            self._connection.executemany("INSERT OR IGNORE INTO awaiting VALUES (?)", [(key,) for key in keys])
            self._connection.execute("INSERT INTO renewals VALUES (?)", (_scope(keys),))

    def renewed(self, keys: Sequence[str]) -> None:
        """End a renewal: the next one asks anew; where no new answer came, the old one counts again."""
        with self._connection:
            self._connection.executemany("DELETE FROM awaiting WHERE key = ?", [(key,) for key in keys])
            self._connection.execute("DELETE FROM renewals WHERE scope = ?", (_scope(keys),))


@contextmanager
def open_journal(path: Path, replay: Path | None = None) -> Iterator[Journal]:
    """Open a domain's journal (made where there is none) with its replay file, if that is there.

    Raises:
        BenchError: The journal is no SQLite database, cannot be written (also later, while it is in use), or the
            replay file has mistakes.
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
            f"{shown(path)}: the journal of answers cannot be used: {error}; see that it can be written and that no "
            "other run holds it; if it is broken, move it away (its answers will be asked again)"
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
    tolerated: float = TOLERATED,
) -> Asked:
    """Answer requests from the journal, then from the replay file, and ask the model for the rest.

    What was spent is counted in the journal whether there is a budget or not: with each result, and at the end of a
    run that is stopped (an error, Ctrl-C) for the requests that were cancelled. A kill -9 loses the count of what was
    under way.

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
        tolerated: The share of all requests that may fail; one may in any case.

    Raises:
        BenchError: The model cannot be reached or loaded, the budget is reached, few of the first answers are of use,
            or more requests failed than are tolerated.
    """
    keys = [request.key(model.identity) for request in requests]
    wanted = dict(zip(keys, requests, strict=True))
    if fresh:
        journal.renew(keys)
    kept = kept_answers(journal, wanted)
    known = kept.all
    missing = {key: request for key, request in wanted.items() if key not in known}
    meter = BudgetMeter(budget, model.price, journal.spent(model.identity), journal.paid(model.identity))
    rounds = Rounds(model, journal, meter, prompts or Prompts())
    if missing:
        label = f"{purpose or 'asking'} ({short_identity(model.identity)})"
        try:
            with reporter.progress(total=len(missing), label=label) as update:
                rounds.run(missing, update)
        finally:
            rounds.keep_rest()
        journal.checkpoint()
    known |= rounds.answers
    rounds.stop_if_incomplete(len(known), len(wanted), tolerated)
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
