"""Reading strictly and writing so that a kill at any point leaves either the old file or the new one."""

import functools
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from benchmark.errors import BenchError, Problems

Json = dict[str, Any]


class Line(NamedTuple):
    """A JSON object and the line of the file where it stands (from 1)."""

    number: int
    value: Json


def shown(path: Path) -> str:
    """The path as a user would write it: relative to the working directory where it lies below it."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix() or "."
    except ValueError:
        return path.as_posix()


# --- hashes -----------------------------------------------------------------------------------------------------


def hash_text(text: str) -> str:
    """sha256 of a text, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def hash_json(value: object) -> str:
    """sha256 of a JSON value, in hex; the order of keys does not matter."""
    return hash_text(json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")))


_LARGE = 2**20
"""Bytes from which on a file's hash is remembered: weights are asked for by every spec that is made of them."""
_SETTLED = 2.0
"""Seconds that a file must have been left alone: a change within the clock's step would not show in its times."""


def hash_file(path: Path) -> str:
    """sha256 of a file's content, in hex; large files are read once in a process, as long as they do not change."""
    found = path.stat()
    if found.st_size < _LARGE or time.time() - max(found.st_mtime, found.st_ctime) < _SETTLED:
        return _hashed(path)
    return _remembered(path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _hashed(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@functools.lru_cache(maxsize=4096)
def _remembered(path: Path, *identity: int) -> str:
    """The hash of a file with this device, number, size, time of writing and time of any change."""
    return _hashed(path)


def files_below(folder: Path) -> list[Path]:
    """All regular files below a folder, hidden ones left out, in a fixed order."""
    found = [
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def hash_tree(folder: Path) -> str:
    """sha256 over the relative names and the contents of all files below a folder (or of one file)."""
    if folder.is_file():
        return hash_file(folder)
    return hash_json([[path.relative_to(folder).as_posix(), hash_file(path)] for path in files_below(folder)])


# --- writing ----------------------------------------------------------------------------------------------------


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _in_one_step(path: Path) -> Iterator[Path]:
    """A temporary name to write to, which then becomes the file's: it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with naming(path):
            yield temporary
            _fsync(temporary)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have errors of the operating system name a file or folder: those of a stream that is full do not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step: temporary name, fsync, rename."""
    with _in_one_step(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8 with Unix line ends, in one step."""
    write_bytes(path, text.encode("utf-8"))


def dump_json(value: object) -> str:
    """JSON for people: indented, keys in the given order, no NaN."""
    return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Stream rows to a JSON Lines file, in one step; returns how many."""
    count = 0
    with _in_one_step(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
            count += 1
    return count


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Fill a folder in one step: yields an empty temporary one, which takes the place of `folder` on success.

    On an exception the temporary folder is removed and the old one stays as it was.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.new")
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        with naming(folder):
            yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                _fsync(path)
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
        _fsync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


# --- reading ----------------------------------------------------------------------------------------------------


def read_text(path: Path) -> str:
    """Read a UTF-8 text file (a byte order mark is dropped, line ends become Unix ones).

    Raises:
        BenchError: The file is missing, is not UTF-8, or holds NUL bytes.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise BenchError(f"{shown(path)}: no such file") from None
    except OSError as error:
        raise BenchError(f"{shown(path)}: cannot be read: {error.strerror}") from None
    if b"\0" in raw:
        raise BenchError(f"{shown(path)}: holds NUL bytes, so it is not a text file")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise BenchError(
            f"{shown(path)}:{line}: not UTF-8 (byte 0x{raw[error.start]:02x}); "
            f"convert it, e.g. iconv -f latin1 -t utf-8"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_jsonl(path: Path, problems: Problems | None = None) -> list[Line]:
    """Read a JSON Lines file; empty lines are skipped.

    Args:
        path: The file.
        problems: Where mistakes go; without it they are raised together at the end.

    Raises:
        BenchError: A line is not a JSON object (only when `problems` is not given), or the file is unreadable.
    """
    found = problems if problems is not None else Problems()
    lines: list[Line] = []
    for number, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            found.add(f"{shown(path)}:{number}: not JSON: {error.msg} (column {error.colno})")
            continue
        if not isinstance(value, dict):
            found.add(f"{shown(path)}:{number}: not a JSON object but {type(value).__name__}")
            continue
        lines.append(Line(number, value))
    if problems is None:
        found.raise_if_any()
    return lines


def iter_jsonl(path: Path) -> Iterator[Json]:
    """Stream the objects of a JSON Lines file that a stage wrote (no checks beyond JSON itself)."""
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)


def read_json(path: Path) -> Json:
    """Read a JSON object that a stage wrote.

    Raises:
        BenchError: The file is missing or is not a JSON object.
    """
    try:
        value = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise BenchError(f"{shown(path)}:{error.lineno}: not JSON: {error.msg}") from None
    if not isinstance(value, dict):
        raise BenchError(f"{shown(path)}: not a JSON object")
    return value


class _StrictLoader(yaml.SafeLoader):
    """YAML without its surprises: duplicate keys are errors, `no` is a word, and 0123 is not octal."""


def _mapping(loader: _StrictLoader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    result: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} is not a text (quote it)", key_node.start_mark
            )
        if key in result:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} stands here a second time", key_node.start_mark
            )
        result[key] = loader.construct_object(value_node, deep=True)
    return result


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
# YAML 1.2 core schema in place of 1.1: only true/false are booleans, only plain decimals are integers.
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag.rsplit(":", 1)[-1] not in {"bool", "int", "timestamp"}]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789")
)
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_yaml(path: Path) -> Json:
    """Read a YAML mapping strictly (no duplicate keys, no `no` = False, no octal numbers, no tags).

    Raises:
        BenchError: With file, line and cause.
    """
    return parse_yaml(read_text(path), path)


def parse_yaml(text: str, path: Path) -> Json:
    """As `read_yaml`, of the text that stands in a file.

    Raises:
        BenchError: With file, line and cause.
    """
    try:
        value = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 (a subclass of SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise BenchError(f"{shown(path)}{line}: broken YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise BenchError(f"{shown(path)}: broken YAML: {error}") from None
    if value is None:
        raise BenchError(f"{shown(path)}: is empty")
    if not isinstance(value, dict):
        raise BenchError(f"{shown(path)}: a mapping (key: value) is expected, not {type(value).__name__}")
    return value


def dump_yaml(value: Mapping[str, Any]) -> str:
    """YAML for people: block style, keys in the given order."""
    return yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=110)
