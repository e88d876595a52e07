"""Rows of numbers by key: append-only files that several processes share and that no kill leaves half written.

A table is two files. `<name>.rows` holds the rows one after another, raw little-endian float32. `<name>.keys` holds a
record for each: a sha256, a crc32 over key and row, and how many records of the same append follow. Rows are written and
synced before their records, and an append counts only with its last record: what a kill, a power cut or a full disk left
of one is served to nobody, and cut off by the next that appends. Readers map the rows and need no lock.
"""

import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.encoders.locks import locked
from benchmark.errors import BenchError
from benchmark.files import shown

Keys = NDArray[np.uint8]
"""sha256 digests, shape (n_keys, 32)."""
_SIZE: Final = 32
_RECORD: Final = np.dtype([("key", "u1", (_SIZE,)), ("crc", "<u4"), ("left", "<u4")])
_ENTRY: Final = np.dtype([("place", "<i8"), ("crc", "<u4"), ("left", "<u4")])
_MAGIC: Final = b"domainbench table of rows, v1   "
"""In the place of the first record's key; its `left` is the number of dimensions."""


class Found(NamedTuple):
    """Where rows stand.

    Attributes:
        places: Row of each key, shape (n_keys,), int64; -1 where there is none.
        broken: How many rows are there but do not fit their checksum.
    """

    places: NDArray[np.int64]
    broken: int


class Table:
    """A table of rows as it stood when it was opened, with what was appended since, through it or seen by it.

    Args:
        path: The two files without their endings; they need not be there.

    Attributes:
        dimensions: Of a row; 0 where there is none.
    """

    def __init__(self, path: Path) -> None:
        self.dimensions = 0
        self._rows_file = path.with_name(f"{path.name}.rows")
        self._keys_file = path.with_name(f"{path.name}.keys")
        self._records = self._read(0)
        self._count = len(self._records)
        prefixes = _prefixes(self._records["key"])
        self._order = np.argsort(prefixes, kind="stable")
        self._prefixes = prefixes[self._order]
        self._later: dict[bytes, tuple[int, int, int]] = {}

    def __len__(self) -> int:
        """How many rows there are; one that stands in for a broken one counts beside it."""
        return self._count

    def rows(self) -> NDArray[np.float32]:
        """All rows, mapped into memory and read-only, shape (n_rows, n_dimensions).

        Raises:
            BenchError: Somebody has cut or deleted the file.
        """
        if not self._count:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        try:
            return np.memmap(self._rows_file, dtype="<f4", mode="r", shape=(self._count, self.dimensions))
        except (ValueError, FileNotFoundError):
            raise BenchError(f"{shown(self._rows_file)}: was cut while it was read; run the command again") from None

    def find(self, keys: Keys) -> Found:
        """The rows of keys; of several the last one, which was appended because those before it are broken."""
        entries = self._known(keys)
        there = np.flatnonzero(entries["place"] >= 0)
        found = entries[there]
        sums = self._checksums(keys[there], found)
        broken = there[found["crc"] != sums]
        places = entries["place"].copy()
        places[broken] = -1
        return Found(places, len(broken))

    def has(self, keys: Keys) -> NDArray[np.bool_]:
        """Which keys have a row, without a look at the rows; shape (n_keys,)."""
        return np.asarray(self._known(keys)["place"] >= 0)

    def append(self, keys: Keys, rows: NDArray[np.float32]) -> None:
        """Add rows, all of them or none; those that came meanwhile are not added again.

        Args:
            keys: Different ones, none of which `find` has found.
            rows: Shape (n_keys, n_dimensions).

        Raises:
            BenchError: The table's rows have other dimensions.
            OSError: They cannot be written; the table is as it was.
        """
        with locked(self._rows_file.with_name("append.lock")):
            self._begin(rows.shape[1])
            self._note(self._read(self._count))
            new = np.flatnonzero(self.find(keys).places < 0)
            if len(new):
                self._write(keys[new], np.ascontiguousarray(rows[new], dtype="<f4"))

    def came_meanwhile(self, keys: Keys) -> bool:
        """Whether all of these rows are there by now, whichever process brought them."""
        self._note(self._read(self._count))
        return bool(self._later) and bool((self.find(keys).places >= 0).all())

    # --- reading ---

    def _known(self, keys: Keys) -> NDArray[np.void]:
        """The last entry of each key; its place is -1 where there is none."""
        entries = np.zeros(len(keys), dtype=_ENTRY)
        places = self._indexed(keys)
        entries["place"] = places
        old = np.flatnonzero(places >= 0)
        for name in ("crc", "left"):
            entries[name][old] = self._records[name][places[old]]
        if self._later:
            for number, key in enumerate(split_keys(keys)):
                if key in self._later:
                    entries[number] = self._later[key]
        return entries

    def _indexed(self, keys: Keys) -> NDArray[np.int64]:
        """Places among the records that were there when the table was opened."""
        places = np.full(len(keys), -1, dtype=np.int64)
        if not len(self._prefixes):
            return places
        wanted = _prefixes(keys)
        starts = np.searchsorted(self._prefixes, wanted, side="left")
        ends = np.searchsorted(self._prefixes, wanted, side="right")
        near = self._order[np.maximum(ends, 1) - 1]
        same = (ends > starts) & (self._records["key"][near] == keys).all(axis=1)
        places[same] = near[same]
        # Different keys with the same first eight bytes.
        for number in np.flatnonzero(~same & (ends - starts > 1)):
            for place in self._order[starts[number] : ends[number]]:
                if (self._records["key"][place] == keys[number]).all():
                    places[number] = place
        return places

    def _checksums(self, keys: Keys, entries: NDArray[np.void]) -> NDArray[np.uint32]:
        """What the checksums of entries would have to be, by the rows that are there."""
        if not len(entries):
            return np.zeros(0, dtype=np.uint32)
        content, size = self.rows().data.cast("B"), 4 * self.dimensions
        rows = (content[place * size : (place + 1) * size] for place in entries["place"].tolist())
        sums = map(_crc, split_keys(keys), rows, entries["left"].tolist())
        return np.fromiter(sums, dtype=np.uint32, count=len(entries))

    def _read(self, start: int) -> NDArray[np.void]:
        """The records from one on, up to the end of the last append that is whole."""
        nothing = np.zeros(0, dtype=_RECORD)
        try:
            with self._keys_file.open("rb") as stream:
                dimensions = _dimensions(stream.read(_RECORD.itemsize))
                if not dimensions:
                    return nothing
                there = self._rows_file.stat().st_size // (4 * dimensions)
                stream.seek((1 + start) * _RECORD.itemsize)
                content = stream.read(max(0, there - start) * _RECORD.itemsize)
        except FileNotFoundError:
            return nothing
        self.dimensions = dimensions
        records = np.frombuffer(content, dtype=_RECORD, count=len(content) // _RECORD.itemsize)
        ends = np.flatnonzero(records["left"] == 0)
        return records[: ends[-1] + 1] if len(ends) else nothing

    def _note(self, records: NDArray[np.void]) -> None:
        """Take up records that were appended."""
        entries = zip(records["crc"].tolist(), records["left"].tolist(), strict=True)
        for key, entry in zip(split_keys(records["key"]), entries, strict=True):
            self._later[key] = (self._count, *entry)
            self._count += 1

    # --- writing, under the lock ---

    def _begin(self, dimensions: int) -> None:
        """See to it that both files have a beginning.

        Raises:
            BenchError: The table has other dimensions.
        """
        head = b""
        if self._keys_file.is_file() and self._rows_file.is_file():
            with self._keys_file.open("rb") as stream:
                head = stream.read(_RECORD.itemsize)
        there = _dimensions(head)
        if there not in (0, dimensions):
            raise BenchError(
                f"{shown(self._rows_file)}: holds rows of {there} numbers, and now there are {dimensions}; if something "
                f"has changed that the spec does not tell, delete {shown(self._rows_file.parent)}"
            )
        if not there:
            # Not by cutting them: somebody may have mapped them.
            for path in (self._rows_file, self._keys_file):
                path.unlink(missing_ok=True)
            self._count, self._later, self._prefixes = 0, {}, self._prefixes[:0]
            with self._rows_file.open("wb"), self._keys_file.open("wb") as stream:
                _write_at(stream.fileno(), _head(dimensions), 0)
        self.dimensions = dimensions

    def _write(self, keys: Keys, rows: NDArray[np.float32]) -> None:
        """Write behind the last whole append, over whatever stands there."""
        records = np.zeros(len(keys), dtype=_RECORD)
        records["key"] = keys
        records["left"] = np.arange(len(keys) - 1, -1, -1)
        records["crc"] = list(map(_crc, split_keys(keys), map(np.ndarray.tobytes, rows), records["left"].tolist()))
        ends = (self._count * 4 * self.dimensions, (1 + self._count) * _RECORD.itemsize)
        with self._rows_file.open("r+b") as rows_stream, self._keys_file.open("r+b") as keys_stream:
            handles = (rows_stream.fileno(), keys_stream.fileno())
            try:
                for handle, content, end in zip(handles, (rows.tobytes(), records.tobytes()), ends, strict=True):
                    _write_at(handle, content, end)
            except BaseException as error:
                for handle, end in zip(handles, ends, strict=True):
                    with suppress(OSError):
                        os.ftruncate(handle, end)
                if isinstance(error, OSError):
                    error.filename = str(self._rows_file)
                raise
        self._note(records)


def _head(dimensions: int) -> bytes:
    record = np.zeros(1, dtype=_RECORD)
    record["key"] = np.frombuffer(_MAGIC, dtype="u1")
    record["left"], record["crc"] = dimensions, _crc(_MAGIC, b"", dimensions)
    return record.tobytes()


def _dimensions(head: bytes) -> int:
    """What the beginning of a file of keys says; 0 where it is none."""
    if len(head) < _RECORD.itemsize:
        return 0
    dimensions = int(np.frombuffer(head, dtype=_RECORD)["left"][0])
    return dimensions if head == _head(dimensions) else 0


def _write_at(handle: int, content: bytes, place: int) -> None:
    """Write at a place of a file, which ends there afterwards, and have it on the disk."""
    os.ftruncate(handle, place)
    view = memoryview(content)
    while view:
        written = os.pwrite(handle, view, place)
        place, view = place + written, view[written:]
    os.fsync(handle)


def _prefixes(keys: Keys) -> NDArray[np.uint64]:
    """The first eight bytes of each key, by which they are sorted."""
    return np.ascontiguousarray(keys[:, :8]).view("<u8").ravel()


def split_keys(keys: Keys) -> Iterator[bytes]:
    """Each key on its own."""
    content = keys.tobytes()
    return (content[start : start + _SIZE] for start in range(0, len(content), _SIZE))


def _crc(key: bytes, row: bytes | memoryview, left: int) -> int:
    return zlib.crc32(left.to_bytes(4, "little"), zlib.crc32(row, zlib.crc32(key)))


def as_keys(digests: Sequence[bytes]) -> Keys:
    """sha256 digests as an array."""
    return np.frombuffer(b"".join(digests), dtype="u1").reshape(-1, _SIZE)
