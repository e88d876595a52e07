"""What was paid for each language model over all runs: a table of the journal."""

import sqlite3

from benchmark.llm.budget import Paid, Spent

_SCHEMA = """
CREATE TABLE IF NOT EXISTS spending (
    model TEXT PRIMARY KEY, calls INTEGER NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    unknown_calls INTEGER NOT NULL
) WITHOUT ROWID;
"""
_DOLLARS = {"usd": "REAL", "priced_input_tokens": "INTEGER", "priced_output_tokens": "INTEGER"}
"""Columns that older journals lack: dollars at the price of the day, and the tokens that these stand for."""


class Spending:
    """The table in a connection; made, or given the columns that it lacks, where needed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.executescript(_SCHEMA)
        present = {row[1] for row in connection.execute("PRAGMA table_info(spending)")}
        for name, kind in _DOLLARS.items():
            if name not in present:
                connection.execute(f"ALTER TABLE spending ADD COLUMN {name} {kind} NOT NULL DEFAULT 0")

    def add(self, model: str, cost: Spent, usd: float | None) -> None:
        """Add to what was spent, within the caller's transaction; `usd` is None where the price is not known."""
        if not any(cost):
            return
        paid = Paid() if usd is None else Paid(usd, cost.input_tokens, cost.output_tokens)
        self._connection.execute(
            "INSERT INTO spending (model, calls, input_tokens, output_tokens, unknown_calls, usd, priced_input_tokens, "
            "priced_output_tokens) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (model) DO UPDATE SET "
            "calls = calls + ?2, input_tokens = input_tokens + ?3, output_tokens = output_tokens + ?4, "
            "unknown_calls = unknown_calls + ?5, usd = usd + ?6, priced_input_tokens = priced_input_tokens + ?7, "
            "priced_output_tokens = priced_output_tokens + ?8",
            (model, *cost, *paid),
        )

    def spent(self, model: str) -> Spent:
        """Calls and tokens."""
        row = self._connection.execute(
            "SELECT calls, input_tokens, output_tokens, unknown_calls FROM spending WHERE model = ?", (model,)
        ).fetchone()
        return Spent(*row) if row else Spent()

    def paid(self, model: str) -> Paid:
        """The part of it whose price was known."""
        row = self._connection.execute(
            "SELECT usd, priced_input_tokens, priced_output_tokens FROM spending WHERE model = ?", (model,)
        ).fetchone()
        return Paid(*row) if row else Paid()
