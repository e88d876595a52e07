"""The folder of documents: what is in it, and each file as text, one at a time."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark.domain.converted import Converted, words_of
from benchmark.errors import BenchError, Problems
from benchmark.files import hash_file, hash_json, hash_text, shown
from benchmark.project import Domain


def _text(path: Path) -> Converted:
    from benchmark.domain.markdown import convert_text

    return convert_text(path)


def _markdown(path: Path) -> Converted:
    from benchmark.domain.markdown import convert_markdown

    return convert_markdown(path)


def _html(path: Path) -> Converted:
    from benchmark.domain.html import convert_html

    return convert_html(path)


def _docx(path: Path) -> Converted:
    from benchmark.domain.html import convert_docx

    return convert_docx(path)


def _pdf(path: Path) -> Converted:
    from benchmark.domain.pdf import convert_pdf

    return convert_pdf(path)


KINDS: dict[str, Callable[[Path], Converted]] = {
    ".txt": _text,
    ".md": _markdown,
    ".markdown": _markdown,
    ".html": _html,
    ".htm": _html,
    ".docx": _docx,
    ".pdf": _pdf,
}
"""File name ending -> converter. A new kind of document is one line here."""


@dataclass(frozen=True)
class Source:
    """A file of a supported kind.

    Attributes:
        name: Path relative to the documents folder, with `/`.
        path: Where it is.
        megabytes: Its size in millions of bytes.
    """

    name: str
    path: Path
    megabytes: float


@dataclass(frozen=True)
class Document:
    """A document as text.

    Attributes:
        name: Path relative to the documents folder, with `/`.
        title: First first-level heading, or the file's own title, or the file's name in words.
        content: Text, headings and warnings.
    """

    name: str
    title: str
    content: Converted

    @property
    def text(self) -> str:
        """The converted text that every span counts in."""
        return self.content.text

    @property
    def sha256(self) -> str:
        """Of the converted text, in hex."""
        return hash_text(self.text)


@dataclass(frozen=True)
class Listing:
    """What a documents folder holds.

    Attributes:
        sources: Files to read, sorted by name.
        refused: Names of the files that are not read, since they are too large (each was told as a problem).
        notes: What was left out, and why.
    """

    sources: tuple[Source, ...]
    refused: tuple[str, ...]
    notes: tuple[str, ...]

    def content_hash(self) -> str:
        """sha256 over the names and contents of the files to read, in hex."""
        return hash_json([[source.name, hash_file(source.path)] for source in self.sources])


def find_documents(domain: Domain, problems: Problems) -> Listing:
    """List the documents of a domain; nothing is read yet.

    Hidden files, links that lead out of the folder and files of other kinds are left out, the latter two with a note.

    Args:
        domain: Whose documents.
        problems: Where mistakes go: no folder, nothing in it, a file over `max_file_mb`.
    """
    folder = domain.documents
    if not folder.is_dir():
        problems.add(f"{shown(folder)}: no such folder; put the domain's documents there")
        return Listing((), (), ())
    notes: list[str] = []
    others: Counter[str] = Counter()
    sources: list[Source] = []
    for path in _walk(folder, notes, problems):
        if path.suffix.lower() not in KINDS:
            others[path.suffix.lower() or "without an ending"] += 1
            continue
        sources.append(Source(path.relative_to(folder).as_posix(), path, path.stat().st_size / 1e6))
    sources = _named(sources, problems)
    left_out = ", ".join(f"{count} × {kind}" for kind, count in sorted(others.items()))
    kinds = ", ".join(KINDS)
    if left_out:
        notes.append(f"{shown(folder)}: left out, not of a supported kind ({kinds}): {left_out}")
    if not sources:
        why = f"no document of a supported kind ({kinds}); left out: {left_out}" if left_out else "no documents in it"
        problems.add(f"{shown(folder)}: {why}")
    limit = domain.spec.max_file_mb
    refused = tuple(source for source in sources if source.megabytes > limit)
    for source in refused:
        problems.add(
            f"{shown(source.path)}: {source.megabytes:.1f} MB, more than max_file_mb ({limit:g}) of domain.yaml; "
            "split it or raise the limit"
        )
    readable = tuple(source for source in sources if source not in refused)
    return Listing(readable, tuple(source.name for source in refused), tuple(notes))


def _walk(folder: Path, notes: list[str], problems: Problems) -> Iterator[Path]:
    """Regular files below a folder, in order of name; a link is followed to a file within the folder only."""
    root = folder.resolve()

    def unreadable(error: OSError) -> None:
        problems.add(f"{shown(Path(error.filename))}: cannot be read: {error.strerror}")

    for here, folders, files in os.walk(folder, onerror=unreadable):
        linked = [name for name in folders if Path(here, name).is_symlink()]
        notes += [f"{shown_link(Path(here, name))}: a link to a folder, not followed" for name in sorted(linked)]
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in linked)
        for name in sorted(files):
            path = Path(here, name)
            if name.startswith((".", "~$")):  # "~$" is Word's lock file
                continue
            if path.is_symlink() and not (_exists(path) and path.resolve().is_relative_to(root)):
                notes.append(f"{shown_link(path)}: a link that leads nowhere or out of the folder, left out")
            elif path.is_file():
                yield path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a loop of links
        return False


def shown_link(path: Path) -> str:
    """As `shown`, for a link: the link's own name, not its target's."""
    return f"{shown(path.parent)}/{path.name}"


def _named(sources: list[Source], problems: Problems) -> list[Source]:
    """Only files whose names can be written down; the order is by name as text, the same on each system."""
    good = []
    for source in sources:
        try:
            source.name.encode("utf-8")
        except UnicodeEncodeError:
            problems.add(f"{shown(source.path.parent)}: the file name {source.name!a} is not UTF-8; rename the file")
            continue
        good.append(source)
    return sorted(good, key=lambda source: source.name)


def read_document(source: Source) -> Document:
    """Convert one file to text.

    Raises:
        BenchError: It cannot be read, or holds no text.
    """
    try:
        content = KINDS[source.path.suffix.lower()](source.path)
    except OSError as error:
        raise BenchError(f"{shown(source.path)}: cannot be read: {error.strerror}") from None
    if not any(map(str.isalnum, content.text[content.start :])):
        raise BenchError(f"{shown(source.path)}: holds no text; fill it or remove it")
    return Document(source.name, content.title or words_of(source.name), content)
