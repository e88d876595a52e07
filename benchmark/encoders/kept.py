"""Every vector of an API, kept the moment it arrives: nothing is asked, or paid for, twice.

An SQLite file like the journal of a language model's answers (write-ahead log, one commit a request): a killed run
(kill -9 too) loses at most what was on its way, a power cut the last seconds. What was spent stands in it as well.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import BenchError
from benchmark.files import shown, write_text
from benchmark.llm.budget import NOTHING, Paid, Spent
from benchmark.llm.spending import Spending
from benchmark.project import Project

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS dimensions (model TEXT PRIMARY KEY, dimensions INTEGER NOT NULL) WITHOUT ROWID;
"""
_AT_ONCE: Final = 500
"""Keys in one look-up."""


def kept_file(project: Project) -> Path:
    """Where a project's vectors of APIs are kept; texts of several domains, and of several specs, share them."""
    return project.results / ".embeddings" / "vectors.sqlite"


class KeptVectors:
    """The open file; use `open_kept`.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._spending = Spending(connection)

    def find(self, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
        """The vectors that are there, as the API gave them."""
        found = {}
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(part))
            rows = self._connection.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", part)  # noqa: S608
            found.update({key: np.frombuffer(vector, dtype="<f4") for key, vector in rows})
        return found

    def dimensions(self, model: str) -> int | None:
        """Of all vectors that a model has given so far; None where there are none."""
        row = self._connection.execute("SELECT dimensions FROM dimensions WHERE model = ?", (model,)).fetchone()
        return int(row[0]) if row else None

    def put(
        self, model: str, vectors: Mapping[bytes, NDArray[np.float32]], cost: Spent = NOTHING, usd: float | None = None
    ) -> None:
        """Keep the vectors of one request, which may be none, and what it did cost (`usd` where the price is known)."""
        with self._connection as connection:
            self._spending.add(model, cost, usd)
            rows = [(key, np.asarray(vector, dtype="<f4").tobytes()) for key, vector in vectors.items()]
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
            for vector in list(vectors.values())[:1]:
                connection.execute("INSERT OR IGNORE INTO dimensions VALUES (?, ?)", (model, len(vector)))

    def spent(self, model: str) -> Spent:
        """What was paid for a model over all runs."""
        return self._spending.spent(model)

    def paid(self, model: str) -> Paid:
        """The part of `spent` whose dollars were known when it was spent."""
        return self._spending.paid(model)


@contextmanager
def open_kept(path: Path) -> Iterator[KeptVectors]:
    """Open the file, made where there is none, in a folder that git leaves alone.

    Raises:
        BenchError: It is no SQLite database, or cannot be written (also later, while it is in use).
    """
    try:
        if not (path.parent / ".gitignore").is_file():
            write_text(path.parent / ".gitignore", "*\n")
    except OSError as error:
        raise BenchError(f"{shown(path)}: the vectors of APIs cannot be kept: {error}") from None
    try:
        with closing(sqlite3.connect(path, timeout=60)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(_SCHEMA)
            yield KeptVectors(path, connection)
    except sqlite3.Error as error:
        raise BenchError(
            f"{shown(path)}: the vectors of APIs cannot be kept: {error}; see that the file can be written and the disk "
            "has room; if it is broken, move it away (its vectors will be asked for again)"
        ) from None
