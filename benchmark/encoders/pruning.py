"""What a project keeps of models that none of its specs names any more."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmark.downloads import Repository, cached
from benchmark.encoders.backends import FOLDER as BACKENDS
from benchmark.encoders.locks import locked
from benchmark.encoders.ragged import PARTS
from benchmark.encoders.shelf import LETTERS, Shelf, vectors_folder
from benchmark.errors import BenchError
from benchmark.files import read_json, shown
from benchmark.project import Project
from benchmark.provenance import MANIFEST
from benchmark.weights import folder_fingerprint, model_fingerprint

_USED: Final = "in use by another process, stays"
_OLD: Final = "vectors"
"""In each domain's results: where earlier versions of this package kept vectors."""


@dataclass(frozen=True)
class Pruned:
    """Something that no spec needs.

    Attributes:
        path: Where it is, or was.
        what: In words.
        size: In bytes.
        stays: Why it is not deleted even so; empty where it is.
    """

    path: Path
    what: str
    size: int
    stays: str = ""


@dataclass(frozen=True)
class _Needed:
    """What must stay.

    Attributes:
        folders: Beginnings of fingerprints that specs have.
        names: Of specs whose fingerprints are not known: their weights are not there now.
        runs: Folders of kept runs by the beginning of the fingerprint of the model that ranked.
        left: The same by the name of the spec, where there is none of that name any more and no folder is the model's own.
    """

    folders: frozenset[str]
    names: frozenset[str]
    runs: Mapping[str, list[Path]]
    left: Mapping[str, list[Path]]


def prune(project: Project, *, dry_run: bool = False) -> list[Pruned]:
    """Delete what is kept of encoders and cross-encoders that no spec and no kept run of the project has.

    Another process may be at work: what it uses stays. Whatever is deleted can be computed again; vectors of APIs, which
    were paid for, are kept elsewhere and are never touched.

    Args:
        project: Whose results are pruned.
        dry_run: Only say what would be deleted.
    """
    needed = _needed(project)
    found = [*_shelves(project, needed, dry_run)]
    for folder in _folders(project.results / BACKENDS):
        if folder.name in needed.runs and folder.name not in needed.folders:
            found.append(Pruned(folder, "an exported model", _size(folder), "stays for the same runs"))
        elif folder.name not in needed.folders:
            found.append(_remove(folder, "an exported model", folder.with_name(f".{folder.name}.lock"), dry_run))
    # What a kill left of an export: the next export of the same model would take it away, and there may be none.
    for folder in sorted((project.results / BACKENDS).glob(".*.*")):
        if folder.is_dir() and folder.name[1 : LETTERS + 1] not in needed.folders:
            lock = folder.with_name(f"{folder.name[: LETTERS + 1]}.lock")
            found.append(_remove(folder, "a broken export", lock, dry_run))
    for folder in sorted(project.results.glob(f"*/{_OLD}")):
        if folder.is_dir():
            found.append(_remove(folder, "vectors of an earlier version", None, dry_run))
    return found


def _shelves(project: Project, needed: _Needed, dry_run: bool) -> Iterator[Pruned]:
    """What is kept of encoders and cross-encoders."""
    for folder in _folders(vectors_folder(project)):
        if folder.name in needed.folders:
            yield from _stale(folder, dry_run)
            continue
        specs = Shelf(folder.parent, folder.name).header.get("specs", [])
        if not needed.names.isdisjoint(specs):
            continue
        what = f"vectors and scores of {', '.join(specs) or 'a model'}"
        runs = needed.runs.get(folder.name) or [run for name in specs for run in needed.left.get(name, [])]
        if runs:
            stays = f"stays for the runs that it made; to free it as well, delete {', '.join(map(shown, runs))}"
            yield Pruned(folder, what, _size(folder), stays)
        else:
            yield _remove(folder, what, folder / "use.lock", dry_run)


def _folders(root: Path) -> list[Path]:
    """Folders that are named by a fingerprint."""
    return sorted(
        path for path in (root.iterdir() if root.is_dir() else ()) if path.is_dir() and len(path.name) == LETTERS
    )


def _remove(folder: Path, what: str, lock: Path | None, dry_run: bool) -> Pruned:
    size = _size(folder)
    if dry_run:
        return Pruned(folder, what, size)
    if lock is None:
        shutil.rmtree(folder)
        return Pruned(folder, what, size)
    with locked(lock, wait=False) as held:
        if held:
            shutil.rmtree(folder)
            lock.unlink(missing_ok=True)
        return Pruned(folder, what, size, "" if held else _USED)


def _stale(folder: Path, dry_run: bool) -> Iterator[Pruned]:
    """What is kept of a model that is needed, under prompts or in a version that are not today's."""
    shelf = Shelf(folder.parent, folder.name)
    prompts = shelf.header.get("prompts", {})
    wanted = {shelf.path(kept, prompts.get(kept, "")).name for kept in ("query", "document")}
    wanted.add(shelf.path("pair", "").name)
    stale: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if prompts else ():
        if path.suffix in {".rows", ".keys", ".npz", PARTS} and path.stem not in wanted:
            stale.setdefault(path.stem, []).append(path)
    found = [(paths, "vectors with other prompts, or of an earlier version") for paths in stale.values()]
    gone = {path for paths in stale.values() for path in paths}
    litter = [path for path in sorted(folder.rglob(".*.tmp")) if gone.isdisjoint(path.parents)]
    found += [([path], "half a file of a process that was killed") for path in litter]
    if not found:
        return
    with locked(folder / "use.lock", wait=False) as held:
        for paths, what in found:
            size = sum(map(_size, paths))
            for path in paths if held and not dry_run else ():
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            yield Pruned(paths[-1], what, size, "" if held else _USED)


def _size(path: Path) -> int:
    """Of a file, or of all files in a folder; others may be writing there."""
    size = 0
    for one in (path, *path.rglob("*")):
        with suppress(FileNotFoundError):
            size += one.stat().st_size if one.is_file() else 0
    return size


def _needed(project: Project) -> _Needed:
    prints, names = set(), set()
    runs: dict[str, list[Path]] = {}
    left: dict[str, list[Path]] = {}
    for name in project.spec_names:
        try:
            found = _fingerprint(project, name)
        except BenchError:
            found = None
        if found is None:
            names.add(name)
        else:
            prints.add(found)
    for manifest in sorted(project.results.glob(f"*/runs/*/*/{MANIFEST}")):
        try:
            facts = read_json(manifest)["facts"]
            runs.setdefault(str(facts["model"])[:LETTERS], []).append(manifest.parent)
            ranked = vectors_folder(project) / str(facts["model"])[:LETTERS]
            if facts["spec"] not in project.spec_names and not ranked.is_dir():
                left.setdefault(str(facts["spec"]), []).append(manifest.parent)
        except (BenchError, KeyError, TypeError):  # of a run that is made anew when it is needed
            continue
    return _Needed(frozenset(found[:LETTERS] for found in prints), frozenset(names), runs, left)


def _fingerprint(project: Project, name: str) -> str | None:
    """As `model_fingerprint`, but nothing is fetched; None where something would have to be.

    Raises:
        BenchError: The spec has mistakes, or its weights cannot be had.
    """
    spec = project.model_spec(name)
    if spec.hub is not None:
        folder = cached(Repository(spec.hub, spec.revision))
        return None if folder is None else folder_fingerprint(spec, folder)
    for part in spec.parts:
        if _fingerprint(project, part) is None:
            return None
    return model_fingerprint(project, name)
