"""Where a project keeps what its models computed: `results/.vectors/`, a folder for each encoder, found by fingerprint.

Texts of several domains, and of several specs of the same weights, share it.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.console import Reporter
from benchmark.encoders.locks import locked
from benchmark.encoders.rows import Found, Keys, Table, as_keys
from benchmark.errors import BenchError
from benchmark.files import Json, dump_json, files_below, hash_json, read_json, shown, write_text
from benchmark.project import Domain, Project

Kept = Literal["query", "document", "pair"]
"""What is kept of an encoder or a cross-encoder."""
VERSION: Final = 3
"""Of what is kept; to be raised where the same weights and prompts give other vectors than before."""
SLICE: Final = 256
"""Texts that are encoded, and pairs that are scored, before they are kept."""
FOLDER: Final = ".vectors"
HEADER: Final = "header.json"
LETTERS: Final = 20
"""Of a fingerprint, in a folder's name."""


class Filled(NamedTuple):
    """Rows that are all there.

    Attributes:
        rows: All of the table, mapped.
        places: Row of each key, shape (n_keys,).
        made: How many had to be made.
        seconds: That making them took.
    """

    rows: NDArray[np.float32]
    places: NDArray[np.int64]
    made: int
    seconds: float


class Shelf:
    """What is kept of one encoder.

    Args:
        root: The project's `.vectors`.
        fingerprint: Of the encoder.

    Attributes:
        folder: Where it is.
    """

    def __init__(self, root: Path, fingerprint: str) -> None:
        self.folder = root / fingerprint[:LETTERS]
        self._fingerprint = fingerprint

    @classmethod
    def of(cls, owner: Project | Domain, fingerprint: str) -> "Shelf":
        """In the results of a project, or of the project that a domain belongs to."""
        return cls(vectors_folder(owner), fingerprint)

    @property
    def header(self) -> Json:
        """`fingerprint`, `specs` (names under which it was used), `prompts` by role and `rates` (a second) by what is kept.

        Empty where nothing was kept yet, or the file is broken: nothing but estimates depends on it.
        """
        try:
            return read_json(self.folder / HEADER)
        except BenchError:
            return {}

    def tell(self, spec: str, prompts: Mapping[str, str], rates: Mapping[Kept, float]) -> None:
        """Add to the header what is not there yet."""
        with locked(self.folder / "append.lock"):
            old = self.header
            new = {
                "fingerprint": self._fingerprint,
                "specs": sorted({*old.get("specs", []), spec}),
                "prompts": dict(prompts),
                "rates": {**old.get("rates", {}), **rates},
            }
            if new != old:
                write_text(self.folder / HEADER, dump_json(new))

    def delete(self) -> int | None:
        """Delete all of it; returns the bytes that it took, or None where another process uses it."""
        if not self.folder.is_dir():
            return 0
        with locked(self.folder / "use.lock", wait=False) as held:
            if not held:
                return None
            size = sum(path.stat().st_size for path in files_below(self.folder))
            shutil.rmtree(self.folder)
        return size

    def path(self, kept: Kept, prompt: str) -> Path:
        """The files of one kind, without their ending; another prompt or version has others."""
        return self.folder / f"{kept}-{hash_json([VERSION, kept, prompt])[:LETTERS]}"

    def table(self, kept: Kept, prompt: str) -> Table:
        """The rows of one kind as they stand now."""
        return Table(self.path(kept, prompt))

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Nobody deletes the folder meanwhile; several may use it at once."""
        if self.folder.exists() and not os.access(self.folder, os.W_OK):  # nobody can
            yield
            return
        ignore = self.folder.parent / ".gitignore"
        if not ignore.is_file():
            write_text(ignore, "*\n")
        with locked(self.folder / "use.lock", shared=True):
            yield

    def filled(
        self,
        kept: Kept,
        prompt: str,
        keys: Keys,
        make: Callable[[Table, NDArray[np.int64]], tuple[int, float]],
        reporter: Reporter,
    ) -> Filled:
        """The rows of keys, made where they are missing.

        Args:
            kept: Of which kind.
            prompt: That went in front.
            keys: Of the rows; a key may stand there several times.
            make: Given the table and the numbers of the keys that are missing, each key once, appends their rows;
                returns how many it made, and in how many seconds.
            reporter: Told when rows are broken.

        Raises:
            BenchError: Rows are not there even so, because somebody else has cut or deleted files.
        """
        with self.in_use():
            table = self.table(kept, prompt)
            found = table.find(keys)
            made, seconds = 0, 0.0
            missing = distinct(keys, found)
            if len(missing):
                if found.broken:
                    reporter.note(f"{shown(self.folder)}: {found.broken} broken row(s), made again")
                made, seconds = make(table, missing)
                table = self.table(kept, prompt)
                found = table.find(keys)
                if (found.places < 0).any():
                    raise BenchError(f"{shown(self.folder)}: was changed while it was in use; run the command again")
            return Filled(table.rows(), found.places, made, seconds)


def vectors_folder(owner: Project | Domain) -> Path:
    """The project's folder of what its models computed."""
    results = owner.results if isinstance(owner, Project) else owner.results.parent
    return results / FOLDER


def distinct(keys: Keys, found: Found) -> NDArray[np.int64]:
    """Numbers of the keys that were not found, the first of equal ones."""
    numbers = np.flatnonzero(found.places < 0)
    first = {keys[number].tobytes(): number for number in numbers[::-1].tolist()}
    return np.array(sorted(first.values()), dtype=np.int64)


def text_keys(texts: Iterable[str]) -> Keys:
    """sha256 of each text."""
    return as_keys([hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts])


def in_slices(numbers: NDArray[np.int64], sizes: Sequence[int]) -> list[NDArray[np.int64]]:
    """Numbers in groups of `SLICE`, the longest first.

    A batch then pads little, and memory that will not suffice fails at once. What is left after some of the groups is
    grouped as before: a run that was killed goes on with the same batches, which decide a vector's last bits.

    Args:
        numbers: Ascending.
        sizes: Of everything that is numbered.
    """
    order = np.array(sorted(numbers.tolist(), key=lambda number: (-sizes[number], number)), dtype=np.int64)
    return in_groups(order)


def in_groups(numbers: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Numbers in groups of `SLICE`, in their order: what is appended at once."""
    return [numbers[start : start + SLICE] for start in range(0, len(numbers), SLICE)]
