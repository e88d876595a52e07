"""What is several entries a text (weights of words, vectors of tokens), kept in parts by encoder, role, prompt and text.

A part is an .npz file with whatever was encoded at once: `keys` (sha256 of each text), `offsets` and the entries. It is
written whole or not at all and never changed; its checksums are the format's own.
"""

import hashlib
import io
import time
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmark.console import SILENT, Reporter
from benchmark.encoders.dense import Role
from benchmark.encoders.rows import Found, Keys, split_keys
from benchmark.encoders.shelf import LETTERS, Shelf, distinct, in_slices, text_keys
from benchmark.errors import BenchError
from benchmark.files import shown, write_bytes
from benchmark.project import Domain, Project

T = TypeVar("T")
PARTS: Final = ".parts"
"""How the name of a folder of parts ends."""


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
    """A file that is whole: which texts are in it, and where."""

    path: Path
    keys: Keys
    offsets: NDArray[np.int64]


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
    shelf, keys = Shelf.of(domain, encoder.fingerprint), text_keys(texts)
    folder = _folder(shelf, role, encoder.prompts[role])
    with shelf.in_use():
        parts, broken = _parts(folder)
        for path in broken:
            reporter.note(f"{shown(path)}: broken, encoded again")
            with suppress(OSError):
                path.unlink()
        missing = _missing(parts, keys)
        seconds = 0.0
        if len(missing):
            some = f"{len(missing)} of " if len(missing) < len(texts) else ""
            label = f"{encoder.name}: encoding {some}{len(texts)} {what}"
            slices = in_slices(missing, [len(text) for text in texts])
            for numbers in reporter.track(slices, total=len(slices), label=label):
                seconds += _keep(encoder, role, [texts[number] for number in numbers], keys[numbers], folder, shelf)
            if seconds:
                shelf.tell(encoder.name, encoder.prompts, {role: len(missing) / seconds})
            parts, _ = _parts(folder)
        found = _gathered(parts, _places(parts, keys), folder)
    all_made = len(missing) == len(np.unique(keys, axis=0))
    return Stored(encoder.unpack(found), seconds if all_made and seconds else None)


def missing_ragged(project: Project, fingerprint: str, role: Role, prompt: str, texts: Sequence[str]) -> int:
    """How many different texts an encoder would have to encode; as `benchmark.encoders.store.missing`."""
    folder = _folder(Shelf.of(project, fingerprint), role, prompt)
    return len(_missing(_parts(folder)[0], text_keys(texts)))


def _folder(shelf: Shelf, role: Role, prompt: str) -> Path:
    path = shelf.path(role, prompt)
    return path.with_name(path.name + PARTS)


def _keep(encoder: RaggedEncoder[T], role: Role, texts: Sequence[str], keys: Keys, folder: Path, shelf: Shelf) -> float:
    """Encode a group of texts and keep them; returns the seconds, 0 where another process did it meanwhile."""
    path = folder / f"{hashlib.sha256(keys.tobytes()).hexdigest()[:LETTERS]}.npz"
    if path.is_file():
        return 0.0
    started = time.perf_counter()
    ragged = encoder.pack(encoder.encode(texts, role))
    seconds = time.perf_counter() - started
    shelf.tell(encoder.name, encoder.prompts, {})
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, keys=keys, offsets=ragged.offsets, **ragged.entries)
    write_bytes(path, buffer.getvalue())
    return seconds


# --- reading --------------------------------------------------------------------------------------------------------


def _parts(folder: Path) -> tuple[list[_Part], list[Path]]:
    """All parts that are whole, and the files of those that are broken."""
    parts, broken = [], []
    for path in sorted(folder.glob("*.npz")):
        found = _read(path)
        if found is None:
            broken.append(path)
        else:
            parts.append(found[0])
    return parts, broken


def _read(path: Path) -> tuple[_Part, dict[str, NDArray[Any]]] | None:
    """A part and its entries; None where the file is broken."""
    try:
        with np.load(path, allow_pickle=False) as file:
            entries = {name: file[name] for name in file.files}
        keys, offsets = entries.pop("keys"), entries.pop("offsets")
    except (ValueError, EOFError, OSError, KeyError, TypeError, AttributeError, zipfile.BadZipFile):
        return None
    fits = len(keys) == len(offsets) - 1 and all(len(array) == offsets[-1] for array in entries.values())
    return (_Part(path, keys, offsets), entries) if fits else None


def _places(parts: Sequence[_Part], keys: Keys) -> NDArray[np.int64]:
    """In which part each key is, and in which place there; shape (n_keys, 2), -1 where it is nowhere."""
    known = {key: (number, row) for number, part in enumerate(parts) for row, key in enumerate(split_keys(part.keys))}
    nowhere = (-1, -1)
    return np.array([known.get(key, nowhere) for key in split_keys(keys)], dtype=np.int64).reshape(-1, 2)


def _missing(parts: Sequence[_Part], keys: Keys) -> NDArray[np.int64]:
    """Numbers of the keys that are in no part, the first of equal ones."""
    return distinct(keys, Found(_places(parts, keys)[:, 0], 0))


def _gathered(parts: Sequence[_Part], places: NDArray[np.int64], folder: Path) -> Ragged:
    """The entries of all keys in their order; one part is in memory beside them.

    Raises:
        BenchError: A part has gone, because somebody else has cut or deleted files.
    """
    changed = BenchError(f"{shown(folder)}: was changed while it was in use; run the command again")
    if (places < 0).any():
        raise changed
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
        if found is None:
            raise changed
        target = _spans(offsets[numbers], lengths[numbers])
        source = _spans(part.offsets[places[numbers, 1]], lengths[numbers])
        for name, array in found[1].items():
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
