"""What is to be published: files with their places in a repository, and what stays behind and why."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, NamedTuple

from benchmark.errors import BenchError
from benchmark.files import hash_file, shown

RepositoryKind = Literal["model", "dataset", "space"]


class Item(NamedTuple):
    """A file to send.

    Attributes:
        path: Its place in the repository.
        source: The file here, or its content where it is made for the repository.
        origin: What a person here would look into: the file's name.
    """

    path: str
    source: Path | bytes
    origin: str

    @classmethod
    def of_file(cls, path: str, source: Path) -> "Item":
        """A file that goes as it is."""
        return cls(path, source, shown(source))

    @classmethod
    def of_text(cls, path: str, text: str, origin: str = "") -> "Item":
        """A text that is made for the repository.

        Args:
            path: Its place there.
            text: Its content.
            origin: The file that it was made from, if any.
        """
        return cls(path, text.encode("utf-8"), origin or path)

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    def sha256(self) -> str:
        """Of the content, in hex: the name of a large file on the Hub."""
        return hashlib.sha256(self.source).hexdigest() if isinstance(self.source, bytes) else hash_file(self.source)

    def git_sha(self) -> str:
        """What git calls the content: the name of a small file on the Hub."""
        content = self.source if isinstance(self.source, bytes) else self.source.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class LeftOut(NamedTuple):
    """A file, or a kind of content, that is not sent."""

    what: str
    why: str


@dataclass(frozen=True)
class Parcel:
    """Everything that one commit brings.

    Attributes:
        kind: Of the repository.
        subject: What is in it, e.g. "results of structured_finance"; the commit's message says so.
        items: The files.
        left_out: What stays here.
        notes: What a person should know before sending it.
        owned: Patterns of paths that publishing takes care of: files of these places that are not among the items are
            deleted in the repository, so that nothing of an older state stays. A star stands for a part of one name.
    """

    kind: RepositoryKind
    subject: str
    items: tuple[Item, ...]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    owned: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(item.size for item in self.items)

    def owns(self, path: str) -> bool:
        """Whether a path of the repository is publishing's to delete."""
        names = path.split("/")
        return any(
            len(parts := pattern.split("/")) == len(names) and all(map(fnmatchcase, names, parts))
            for pattern in self.owned
        )


def files_of(folder: Path, root: Path) -> Iterator[Path]:
    """The files below a folder, hidden ones left out.

    Args:
        folder: Where to look.
        root: The project; nothing outside it is ever sent.

    Raises:
        BenchError: The folder or a link in it leads out of the project.
    """
    inside = root.resolve()
    for path in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts) or not path.is_file():
            continue
        if not path.resolve().is_relative_to(inside):
            raise BenchError(
                f"{shown(path)}: leads out of the project, to {path.resolve()}; only its own files are sent"
            )
        yield path


def listed(parcel: Parcel) -> Iterator[str]:
    """The files with their sizes, the largest folder's first file first, then what stays here and why."""
    width = max((len(size_in_words(item.size)) for item in parcel.items), default=0)
    for item in parcel.items:
        made_from = "" if item.origin.endswith(item.path) else f"  (from {item.origin})"
        yield f"{size_in_words(item.size):>{width}}  {item.path}{made_from}"
    yield f"{len(parcel.items)} files, {size_in_words(parcel.size)} in all"
    for row in parcel.left_out:
        yield f"left out: {row.what}: {row.why}"


def size_in_words(size: int) -> str:
    """Bytes as people write them.

    >>> size_in_words(999), size_in_words(1536), size_in_words(90_864_192)
    ('999 B', '1.5 kB', '90.9 MB')
    """
    if size < 1000:
        return f"{size} B"
    value = float(size)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def without_home(text: str, root: Path) -> str:
    """A text without the paths of this machine: those of the project become relative, the user's home becomes `~`."""
    for place, short in ((f"{root.resolve()}/", ""), (f"{root}/", ""), (f"{Path.home()}/", "~/")):
        if len(place) > len("//"):
            text = text.replace(place, short)
    return text


def unique(items: Iterable[Item]) -> tuple[Item, ...]:
    """The items by path, sorted; the last one of a path stands."""
    return tuple(sorted({item.path: item for item in items}.values(), key=lambda item: item.path))
