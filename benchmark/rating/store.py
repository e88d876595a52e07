"""A rater's file: rows are only ever appended, each whole and synced before the page is told that it is kept."""

import errno
import fcntl
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmark.errors import BenchError, Problems
from benchmark.files import Json, read_json, shown, write_text
from benchmark.rating.pairs import POINTS, SCALES, TIE, Key

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_FIELDS = {"question", "left", "right", "scores", "preferred", "note", "at", "answers"}


@dataclass(frozen=True)
class Rating:
    """What a rater said of two answers to a question.

    Attributes:
        question: The question's id.
        left: The pipeline on the left; the rater was not told.
        right: The pipeline on the right.
        scores: Pipeline -> scale -> 1..5.
        preferred: A pipeline or `tie`.
        note: The rater's words.
        at: When it was kept, ISO 8601, UTC.
        answers: The hash of the two answers.
        saw_reference: Whether the reference answer had been shown before this was kept.
    """

    question: str
    left: str
    right: str
    scores: dict[str, dict[str, int]]
    preferred: str
    note: str
    at: str
    answers: str
    saw_reference: bool = False

    @property
    def key(self) -> Key:
        """The question and the pair that it is about."""
        return Key(self.question, frozenset((self.left, self.right)))

    def same_as(self, other: "Rating") -> bool:
        """Whether both say the same of the same answers, whenever they said it."""
        return {**asdict(self), "at": ""} == {**asdict(other), "at": ""}


@dataclass(frozen=True)
class Kept:
    """A rater's file as read.

    Attributes:
        rows: Every rating, oldest first.
        torn: Bytes at the end that are half a row: a power cut, or a kill while it was written.
    """

    rows: tuple[Rating, ...]
    torn: int = 0

    @property
    def last(self) -> dict[Key, Rating]:
        """The rating that counts for each question and pair."""
        return {row.key: row for row in self.rows}


def checked_rater(name: str) -> str:
    """The rater's name, if it can be a file's.

    Raises:
        BenchError: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise BenchError(
            f"--rater: '{name}' cannot name a file; use a to z, 0 to 9, dot, dash and underscore, e.g. --rater rater-1"
        )
    return name


def raters_of(folder: Path) -> dict[str, Kept]:
    """Every rater's file of a folder, by name.

    Raises:
        BenchError: Every line that is broken.
    """
    problems = Problems()
    found = {}
    for path in sorted(folder.glob("*.jsonl")):
        try:
            found[path.stem] = read_ratings(path)
        except BenchError as error:
            problems.absorb(error)
    problems.raise_if_any()
    return found


def read_ratings(path: Path) -> Kept:
    """A rater's file; half a row at its end is left out and told, a broken one before that is a mistake.

    Raises:
        BenchError: Every line that is no rating.
    """
    return _parsed(path.read_bytes() if path.is_file() else b"", path)


def _parsed(raw: bytes, path: Path) -> Kept:
    whole, _, tail = raw.rpartition(b"\n")
    rows = []
    problems = Problems()
    for number, line in enumerate(whole.split(b"\n"), start=1):
        if line.strip():
            try:
                rows.append(_row(line))
            except (ValueError, TypeError) as error:
                problems.add(f"{shown(path)}:{number}: not a rating ({error}); mend the line or take it out")
    problems.raise_if_any()
    return Kept(tuple(rows), len(tail))


def _row(line: bytes) -> Rating:
    value = json.loads(line)
    if not isinstance(value, dict) or not value.keys() >= _FIELDS:
        raise ValueError(f"needs {', '.join(sorted(_FIELDS))}")
    row = Rating(**{name: value[name] for name in (*_FIELDS, "saw_reference") if name in value})
    both = {row.left, row.right}
    if row.left == row.right or set(row.scores) != both or row.preferred not in {*both, TIE}:
        raise ValueError("'scores' and 'preferred' must be about 'left' and 'right'")
    if any(set(scores) != set(SCALES) or not set(scores.values()) <= set(POINTS) for scores in row.scores.values()):
        raise ValueError(f"scores are {', '.join(SCALES)}, each {POINTS[0]} to {POINTS[-1]}")
    return row


class Store:
    """A rater's file, open for appending by this process alone.

    Args:
        path: `ratings/<rater>.jsonl`; made when the first rating is kept.
        drafts: Where half-filled ratings and the rater's place are kept.

    Raises:
        BenchError: Another process rates under this name, or a line is broken.
    """

    def __init__(self, path: Path, drafts: Path) -> None:
        self.path = path
        self._drafts_path = drafts
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            self._lock()
            kept = _parsed(path.read_bytes(), path)
            self.torn = kept.torn
            if kept.torn:
                os.ftruncate(self._fd, os.fstat(self._fd).st_size - kept.torn)
            self.last = kept.last
            self._drafts: Json = self._read_drafts()
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; one in which nothing was ever kept is taken away."""
        if os.fstat(self._fd).st_size == 0:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchError(
                f"{shown(self.path)}: '{self.path.stem}' is rating already; use that page, or another --rater"
            ) from None

    def append(self, rating: Rating) -> bool:
        """Keep a rating: on disk when this returns.

        Returns:
            False where the last one about these answers says the same, so that nothing was written.

        Raises:
            OSError: It cannot be written; the file is as it was before.
        """
        before = self.last.get(rating.key)
        if before is not None and before.same_as(rating):
            return False
        line = (json.dumps(asdict(rating), ensure_ascii=False, allow_nan=False) + "\n").encode()
        size = os.fstat(self._fd).st_size
        try:
            if os.write(self._fd, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, size)
            raise
        if size == 0:
            self._sync_folder()
        self.last[rating.key] = rating
        return True

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    # --- drafts -----------------------------------------------------------------------------------------------------

    def _read_drafts(self) -> Json:
        """Drafts are a convenience: a file that cannot be used is begun anew."""
        try:
            value = read_json(self._drafts_path) if self._drafts_path.is_file() else {}
        except BenchError:
            value = {}
        drafts = value.get("drafts")
        return {"place": value.get("place"), "drafts": drafts if isinstance(drafts, dict) else {}}

    @property
    def place(self) -> str | None:
        """What the rater had before them last."""
        place = self._drafts["place"]
        return place if isinstance(place, str) else None

    def draft(self, name: str) -> Json | None:
        """What was filled in so far under this name."""
        found: Any = self._drafts["drafts"].get(name)
        return found if isinstance(found, dict) else None

    def keep_draft(self, name: str, draft: Json | None) -> None:
        """Keep what is filled in so far, or forget it (None); the rater's place is there.

        Raises:
            OSError: It cannot be written; the old drafts stay.
        """
        drafts = {key: value for key, value in self._drafts["drafts"].items() if key != name}
        if draft is not None:
            drafts[name] = draft
        value = {"place": name, "drafts": drafts}
        if value != self._drafts:
            write_text(self._drafts_path, json.dumps(value, ensure_ascii=False) + "\n")
            self._drafts = value
