"""Data sets as rows: a repository of the Hugging Face Hub, or a file or folder of the project.

No code of a data set is ever run: `datasets` (from 4 on) reads data files alone and refuses loading scripts.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmark.downloads import endpoint
from benchmark.errors import BenchError, did_you_mean
from benchmark.files import hash_json, hash_tree, shown
from benchmark.project import Project
from benchmark.specs import DatasetSource

_READERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".parquet": ("parquet", {}),
    # "NA" in a text is a text.
    ".csv": ("csv", {"keep_default_na": False}),
    ".json": ("json", {}),
    ".jsonl": ("json", {}),
}
_SAVED = ("dataset_dict.json", "state.json")
"""Files that tell a folder written by `save_to_disk`."""


def named(source: DatasetSource) -> str:
    """The data set as a user would name it."""
    return f"{source.hub}@{str(source.revision)[:12]}" if source.hub is not None else str(source.path)


def data_hash(project: Project, source: DatasetSource) -> str:
    """sha256 over a local data set's files, or of a Hub repository's id and pinned revision.

    Raises:
        BenchError: No such file or folder.
    """
    if source.hub is not None:
        return hash_json([source.hub, source.revision])
    return hash_tree(_local_path(project, source))


@contextmanager
def open_table(project: Project, source: DatasetSource) -> Iterator[Any]:
    """A data set's rows, at most `max_rows`, as a `datasets.Dataset`.

    What a local file becomes on its way is removed again on leaving; the Hub's files stay in the user's cache.

    Raises:
        BenchError: It is not there, cannot be reached or read, or has no such configuration or split.
    """
    import datasets

    where = f"source.dataset: {named(source)}"
    path = None if source.hub is not None else _local_path(project, source)
    quiet = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    with TemporaryDirectory(prefix="domainbench-") as scratch:
        try:
            table = _load(source, path, scratch)
        except BenchError:
            raise
        except Exception as error:
            # Each reader has errors of its own; all are about this data set.
            raise BenchError(f"{where}: {_told(error, source)}") from None
        finally:
            if not quiet:
                datasets.enable_progress_bars()
        count = len(table) if source.max_rows is None else min(source.max_rows, len(table))
        yield table.select(range(count))


def check_columns(source: DatasetSource, columns: Iterable[str], wanted: Iterable[str]) -> None:
    """Refuse a data set that lacks columns.

    Args:
        source: Where it comes from.
        columns: What it has.
        wanted: What is needed.

    Raises:
        BenchError: One line for each missing column.
    """
    known = list(columns)
    missing = [name for name in wanted if name not in known]
    if missing:
        where = f"source.dataset: {named(source)}"
        raise BenchError(*(f"{where}: no column '{name}'; {did_you_mean(name, known)}" for name in missing))


def _local_path(project: Project, source: DatasetSource) -> Path:
    path = project.root / str(source.path)
    if not path.exists():
        raise BenchError(f"source.dataset: {shown(path)}: no such file or folder")
    return path


def _load(source: DatasetSource, path: Path | None, scratch: str) -> Any:
    from datasets import load_dataset

    if path is None:
        return _of_revision(
            source, load_dataset(source.hub, source.config, revision=source.revision, split=source.split)
        )
    if path.is_dir():
        if any((path / name).is_file() for name in _SAVED):
            return _saved(source, path)
        return load_dataset(str(path.resolve()), name=source.config, split=source.split, cache_dir=scratch)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise BenchError(f"source.dataset: {shown(path)}: not of a kind that is read ({', '.join(_READERS)})")
    if source.config is not None:
        raise BenchError(f"source.dataset: {shown(path)}: a single file has no configurations; remove 'config'")
    kind, options = reader
    return load_dataset(kind, data_files=str(path.resolve()), split=source.split, cache_dir=scratch, **options)


def _of_revision(source: DatasetSource, table: Any) -> Any:
    """The table, if it is the pinned revision's.

    Where the Hub cannot be reached, `datasets` takes what was cached last, whatever its revision; the folder of its
    cache is called as the commit.

    Raises:
        BenchError: It is another's.
    """
    folders = [Path(file["filename"]).parts for file in table.cache_files]
    if folders and not any(source.revision in parts for parts in folders):
        raise BenchError(
            f"source.dataset: {named(source)}: is not in the local cache (another revision is), and {endpoint()} cannot "
            "be reached"
        )
    return table


def _saved(source: DatasetSource, path: Path) -> Any:
    """A folder that `save_to_disk` wrote: one table, or one for each split."""
    from datasets import DatasetDict, load_from_disk

    if source.config is not None:
        raise BenchError(
            f"source.dataset: {shown(path)}: a folder of save_to_disk has no configurations; remove 'config'"
        )
    saved = load_from_disk(str(path))
    splits = saved if isinstance(saved, DatasetDict) else {str(saved.split or "train"): saved}
    if source.split not in splits:
        raise BenchError(
            f"source.dataset: {named(source)}: no split '{source.split}'; {did_you_mean(source.split, splits)}"
        )
    return splits[source.split]


def _told(error: Exception, source: DatasetSource) -> str:
    """Why a data set cannot be had, in one line."""
    from datasets.exceptions import DatasetNotFoundError

    said = " ".join(str(error.__cause__ or error).split())[:300]
    if isinstance(error, DatasetNotFoundError):
        return f"the Hub has no such data set or revision, or it is not open to you (set HF_TOKEN): {said}"
    if isinstance(error, ConnectionError):
        return f"is not in the local cache and the Hub cannot be reached: {said}"
    split = re.match(r"Unknown split \"(?P<name>.*?)\"\. Should be one of (?P<known>\[.*\])", said)
    if split:
        known = re.findall(r"'([^']+)'", split["known"])
        return f"no split '{split['name']}'; {did_you_mean(split['name'], known)}"
    if "instruction format" in said:
        return f"split '{source.split}' is none; write a name, or a part of it as in 'train[:1000]'"
    config = re.match(r"BuilderConfig '(?P<name>.*?)' not found\. Available: (?P<known>\[.*\])", said)
    if config:
        known = re.findall(r"'([^']+)'", config["known"])
        return f"no configuration '{config['name']}'; {did_you_mean(config['name'], known)}"
    if "Config name is missing" in said:
        return f"has several configurations; name one in 'config': {said}"
    if "scripts are no longer supported" in said:
        return "holds a loading script, which is never run; convert the data set to parquet"
    if isinstance(error, FileNotFoundError):
        return f"no data file of a supported kind (parquet, csv, json, jsonl): {said}"
    return f"cannot be read: {said or type(error).__name__}"
