"""What is several entries a text (weights of words, vectors of tokens), kept in parts by encoder, role, prompt and text.

A part is an .npz file with whatever was encoded at once: `keys` (sha256 of each text), `offsets`, the entries and their
`names`. It is written whole or not at all and never changed; its checksums are the format's own.
"""

import errno
import hashlib
import io
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmark.console import SILENT, Reporter
from benchmark.encoders.dense import Role
from benchmark.encoders.locks import locked
from benchmark.encoders.rows import Found, Keys, split_keys
from benchmark.encoders.shelf import LETTERS, Shelf, distinct, in_slices, text_keys
from benchmark.errors import BenchError
from benchmark.files import shown, write_bytes
from benchmark.project import Domain, Project

T = TypeVar("T")
PARTS: Final = ".parts"
"""How the name of a folder of parts ends."""
_ATTEMPTS: Final = 50
"""How many broken parts are made again in one go."""


class Ragged(NamedTuple):
    """Entries of several texts, one text's after another's.

    Attributes:
        offsets: Where each text begins, and the end of the last one; shape (n_texts + 1,), int64.
        entries: Arrays by name, each of shape (n_entries, ...).
    """

    offsets: NDArray[np.int64]
    entries: dict[str, NDArray[Any]]


class RaggedEncoder(Protocol[T]):
    """What makes something of texts that can be packed as entries."""

    name: str
    fingerprint: str
    prompts: dict[str, str]

    def encode(self, texts: Sequence[str], role: Role) -> T:
        """Something for each text."""

    def pack(self, encoded: T) -> Ragged:
        """Its entries."""

    def unpack(self, ragged: Ragged) -> T:
        """The inverse of `pack`."""


@dataclass(frozen=True)
class Stored(Generic[T]):
    """What an encoder makes of texts.

    Attributes:
        encoded: All of it, in the order of the texts.
        seconds: That making it took; None where the store had some of it.
    """

    encoded: T
    seconds: float | None


class _Part(NamedTuple):
    """A file: which texts are in it, and where."""

    path: Path
    keys: Keys
    offsets: NDArray[np.int64]


class _BrokenError(Exception):
    """A file is not what was written."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path


def stored_ragged(
    domain: Domain,
    encoder: RaggedEncoder[T],
    texts: Sequence[str],
    role: Role,
    reporter: Reporter = SILENT,
    what: str = "texts",
) -> Stored[T]:
    """What an encoder makes of texts in a role; only those that it has not seen yet in this project are encoded.

    Args:
        domain: Of the project whose store it is.
        encoder: What encodes.
        texts: Whatever stands there several times is encoded once.
        role: Which prompt goes in front.
        reporter: Shows progress; told when a file is broken.
        what: What to call the texts.

    Raises:
        BenchError: The encoder fails or gives something else than numbers; what it did before is kept.
    """
    if not texts:
        return Stored(encoder.encode([], role), None)
    work = _Work(Shelf.of(domain, encoder.fingerprint), encoder, role, texts)
    with work.shelf.in_use():
        for _ in range(_ATTEMPTS):
            try:
                parts = _parts(work.folder)
                missing = _missing(parts, work.keys)
                if len(missing):
                    work.fill(missing, reporter, what)
                    parts = _parts(work.folder)
                found = _gathered(parts, _places(parts, work.keys))
            except _BrokenError as error:
                reporter.note(f"{shown(error.path)}: broken, encoded again")
                work.drop(error.path)
                continue
            if found is not None:
                all_made = work.made == len(np.unique(work.keys, axis=0))
                return Stored(encoder.unpack(found), work.seconds if all_made else None)
    raise BenchError(f"{shown(work.folder)}: was changed while it was in use; run the command again")


class _Work(Generic[T]):
    """Texts that are wanted of an encoder.

    Attributes:
        shelf: The encoder's.
        folder: Where its parts are.
        keys: Of the texts.
        made: How many were encoded by this process.
        seconds: That this took.
    """

    def __init__(self, shelf: Shelf, encoder: RaggedEncoder[T], role: Role, texts: Sequence[str]) -> None:
        self.shelf = shelf
        self.folder = _folder(shelf, role, encoder.prompts[role])
        self.keys = text_keys(texts)
        self.made, self.seconds = 0, 0.0
        self._encoder, self._role, self._texts = encoder, role, texts

    def fill(self, missing: NDArray[np.int64], reporter: Reporter, what: str) -> None:
        """Encode what is missing, and keep it group by group."""
        some = f"{len(missing)} of " if len(missing) < len(self._texts) else ""
        label = f"{self._encoder.name}: encoding {some}{len(self._texts)} {what}"
        slices = in_slices(missing, [len(text) for text in self._texts])
        for numbers in reporter.track(slices, total=len(slices), label=label):
            self._keep(numbers)
        if self.made:
            self.shelf.tell(self._encoder.name, self._encoder.prompts, {self._role: self.made / self.seconds})

    def _keep(self, numbers: NDArray[np.int64]) -> None:
        """Encode some texts and keep them, unless another process did it meanwhile."""
        keys = self.keys[numbers]
        path = self.folder / f"{hashlib.sha256(keys.tobytes()).hexdigest()[:LETTERS]}.npz"
        if path.is_file():
            return
        started = time.perf_counter()
        encoded = self._encoder.encode([self._texts[number] for number in numbers], self._role)
        self.seconds += time.perf_counter() - started
        self.made += len(numbers)
        self.shelf.tell(self._encoder.name, self._encoder.prompts, {})
        offsets, entries = self._encoder.pack(encoded)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, keys=keys, offsets=offsets, names=np.array(sorted(entries)), **entries)
        with self._alone():
            write_bytes(path, buffer.getvalue())

    def drop(self, path: Path) -> None:
        """Delete a part that is broken, unless another process has replaced it meanwhile."""
        with self._alone():
            try:
                _read(path)
            except _BrokenError:
                path.unlink(missing_ok=True)

    def _alone(self) -> AbstractContextManager[bool]:
        return locked(self.shelf.folder / "append.lock")


def missing_ragged(project: Project, fingerprint: str, role: Role, prompt: str, texts: Sequence[str]) -> int:
    """How many different texts an encoder would have to encode; as `benchmark.encoders.store.missing`."""
    parts = []
    for path in _files(_folder(Shelf.of(project, fingerprint), role, prompt)):
        with suppress(_BrokenError):  # the run will tell
            parts += _part(path)
    return len(_missing(parts, text_keys(texts)))


def _folder(shelf: Shelf, role: Role, prompt: str) -> Path:
    path = shelf.path(role, prompt)
    return path.with_name(path.name + PARTS)


# --- reading --------------------------------------------------------------------------------------------------------


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npz"))


def _parts(folder: Path) -> list[_Part]:
    """All parts, without a look at their entries.

    Raises:
        _BrokenError: One cannot be read.
    """
    return [part for path in _files(folder) for part in _part(path)]


def _part(path: Path) -> list[_Part]:
    """A part; none where it has gone."""
    with suppress(FileNotFoundError), _broken(path), np.load(path, allow_pickle=False) as file:
        part = _Part(path, file["keys"], file["offsets"])
        if len(part.keys) != len(part.offsets) - 1:
            raise ValueError("not of one length")
        return [part]
    return []


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """The entries of a part; none where it has gone.

    Raises:
        _BrokenError: They are not what was written.
    """
    entries: dict[str, NDArray[Any]] = {}
    with suppress(FileNotFoundError), _broken(path), np.load(path, allow_pickle=False) as file:
        entries = {str(name): file[str(name)] for name in file["names"]}
        sizes = {len(array) for array in entries.values()}
        if sizes != {int(file["offsets"][-1])} or len(file["keys"]) != len(file["offsets"]) - 1:
            raise ValueError("not of one length")
    return entries


@contextmanager
def _broken(path: Path) -> Iterator[None]:
    """What a file that is cut or altered raises when it is read; what the system raises passes through."""
    try:
        yield
    except (ValueError, EOFError, KeyError, TypeError, AttributeError, RuntimeError, zipfile.BadZipFile, zlib.error):
        raise _BrokenError(path) from None
    except OSError as error:
        if error.errno == errno.EINVAL:  # a place in the file that cannot be
            raise _BrokenError(path) from None
        raise


def _places(parts: Sequence[_Part], keys: Keys) -> NDArray[np.int64]:
    """In which part each key is, and in which place there; shape (n_keys, 2), -1 where it is nowhere."""
    known = {key: (number, row) for number, part in enumerate(parts) for row, key in enumerate(split_keys(part.keys))}
    nowhere = (-1, -1)
    return np.array([known.get(key, nowhere) for key in split_keys(keys)], dtype=np.int64).reshape(-1, 2)


def _missing(parts: Sequence[_Part], keys: Keys) -> NDArray[np.int64]:
    """Numbers of the keys that are in no part, the first of equal ones."""
    return distinct(keys, Found(_places(parts, keys)[:, 0], 0))


def _gathered(parts: Sequence[_Part], places: NDArray[np.int64]) -> Ragged | None:
    """The entries of all keys in their order; one part is in memory beside them. None where not all are there any more.

    Raises:
        _BrokenError: A part is not what was written.
    """
    if (places < 0).any():
        return None
    mine = [np.flatnonzero(places[:, 0] == number) for number in range(len(parts))]
    lengths = np.zeros(len(places), dtype=np.int64)
    for part, numbers in zip(parts, mine, strict=True):
        lengths[numbers] = np.diff(part.offsets)[places[numbers, 1]]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    entries: dict[str, NDArray[Any]] = {}
    for part, numbers in zip(parts, mine, strict=True):
        if not len(numbers):
            continue
        found = _read(part.path)
        if not found:
            return None
        target = _spans(offsets[numbers], lengths[numbers])
        source = _spans(part.offsets[places[numbers, 1]], lengths[numbers])
        for name, array in found.items():
            if name not in entries:
                entries[name] = np.empty((offsets[-1], *array.shape[1:]), dtype=array.dtype)
            entries[name][target] = array[source]
    return Ragged(offsets, entries)


def _spans(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers of ranges, one range after another.

    >>> _spans(np.array([7, 2]), np.array([2, 3])).tolist()
    [7, 8, 2, 3, 4]
    """
    ends = np.cumsum(lengths)
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(lengths.sum())
