"""Secrets in files, found before anything is sent; what is found is never printed.

A short list of forms, each with a prefix or a name that tells it for sure. General scanners were left aside: their
entropy rules report each of the many hashes in a leaderboard, and they read no parquet files.
"""

import mmap
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from benchmark.hub.decoded import decoded_lines, layers, rows
from benchmark.hub.parcel import Item

Content = bytes | mmap.mmap
_SHORTEST: Final = 12
"""Characters of a variable's value below which it is no secret: servers without keys take words like `ollama`."""
_FORMS: Final = tuple(
    (what, re.compile(form))
    for what, form in (
        ("a Hugging Face token", rb"\b(?:hf|api_org)_[A-Za-z0-9]{30,}\b"),
        ("a key of a language model's API (sk-...)", rb"(?<![\w-])sk-(?=[\w-]{0,40}\d)[\w-]{20,}"),
        ("an AWS access key", rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
        ("an AWS secret key", rb"(?i)aws_secret_access_key[\"']?\s{0,3}[:=]\s{0,3}[\"']?[A-Za-z0-9/+=]{40}"),
        ("a GitHub token", rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{60,})\b"),
        ("a GitLab token", rb"\bglpat-[\w-]{20,}"),
        ("a Slack token", rb"\bxox[abeprs]-[A-Za-z0-9-]{20,}"),
        ("a Google API key", rb"\bAIza[\w-]{35}"),
        ("a JSON web token", rb"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
        ("a private key", rb"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
    )
)
_NAMED: Final = re.compile(
    rb"(?i)(?<![a-z0-9])(?:(?:api|access|secret|auth|private|client)[_-]?(?:key|token|secret)|apikey)"
    rb"[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?:bearer )?([A-Za-z0-9_\-./+=]{16,})"
)
_STAND_INS: Final = re.compile(rb"(?i)your|example|placeholder|xxxx|changeme|dummy|redacted|1234567|^[A-Z_]+$|\.\.\.")
_VARIABLE: Final = re.compile(r"\bapi_key_env:\s*[\"']?([A-Za-z_]\w*)")


class Finding(NamedTuple):
    """Where a file holds something that looks like a secret.

    Attributes:
        where: File and line.
        what: What it looks like.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: holds {self.what}"


def known_secrets(root: Path) -> dict[str, str]:
    """What must appear in no file: variable -> value, of HF_TOKEN, the stored login, and each `api_key_env` in a spec.

    Args:
        root: The project, whose YAML files name the variables.
    """
    from huggingface_hub import get_token

    names = {"HF_TOKEN"}
    for path in (*root.glob("*.yaml"), *root.glob("model_specs/*.yaml"), *root.glob("tasks/*/*.yaml")):
        names.update(_VARIABLE.findall(path.read_text(encoding="utf-8", errors="replace")))
    found = {name: os.environ.get(name, "").strip() for name in sorted(names)}
    found["the login of huggingface_hub"] = get_token() or ""
    return {name: value for name, value in found.items() if len(value) >= _SHORTEST}


def find_secrets(
    items: Iterable[Item],
    known: Mapping[str, str],
    paths: Iterable[Path] = (),
    places: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Finding]:
    """Everything in the files that looks like a secret.

    Of tables the cells' own texts are looked through, of weights only the head, of everything else each byte; texts
    once more without their escapes, as who reads JSON or HTML sees them.

    Args:
        items: The files.
        known: As `known_secrets` gives them.
        paths: Folders whose names must not appear either: they tell of this machine.
        places: Value -> what it is, of other words that must not, as `private_places` gives them.
    """
    values = [(f"the value of {name}", value.encode()) for name, value in known.items()]
    values += [("a path of this machine", f"{path}/".encode()) for path in paths if len(str(path)) > 1]
    values += [(what, place.encode()) for place, what in places.items()]
    for item in items:
        yield from dict.fromkeys(_in_item(item, values))


def _in_item(item: Item, values: list[tuple[str, bytes]]) -> Iterator[Finding]:
    if item.path.endswith(".parquet"):
        for number, row in enumerate(rows(item), start=1):
            inside = layers(row.decode("utf-8", "replace")) if b"\\" in row or b"&" in row else ()
            for text in (row, *(layer.encode("utf-8", "replace") for layer in inside)):
                for what, _ in _found(text, values):
                    yield Finding(f"{item.origin}: row {number}", what)
        return
    with ExitStack() as stack:
        content = _content(item, stack.enter_context)
        for what, place in _found(content, values):
            number = content[:place].count(b"\n") + 1
            yield Finding(f"{item.origin}:{_line(item, number)}", what)
    for number, line in decoded_lines(item):
        for what, _ in _found(line, values):
            yield Finding(f"{item.origin}:{_line(item, number)}", what)


def _line(item: Item, number: int) -> int:
    """The number of the line in the file that a person would look into, which may hold more than what is sent of it."""
    if isinstance(item.source, bytes) and Path(item.origin).is_file():
        line = item.source.split(b"\n")[number - 1]
        lines = Path(item.origin).read_bytes().split(b"\n")
        return lines.index(line) + 1 if line in lines else number
    return number


def _found(content: Content, values: list[tuple[str, bytes]]) -> Iterator[tuple[str, int]]:
    """What was found, and at which byte."""
    for what, value in values:
        place = content.find(value)
        while place >= 0:
            yield what, place
            place = content.find(value, place + 1)
    for what, form in _FORMS:
        for found in form.finditer(content):
            yield what, found.start()
    for found in _NAMED.finditer(content):
        value = found[1]
        if re.search(rb"\d", value) and re.search(rb"[A-Za-z]", value) and not _STAND_INS.search(value):
            yield "what is named as a key", found.start()


def _content(item: Item, enter: Callable[..., mmap.mmap]) -> Content:
    """What of a file there is to look through."""
    if isinstance(item.source, bytes):
        return item.source
    if item.path.endswith(".safetensors"):
        return _head(item.source)
    if not item.source.stat().st_size:
        return b""
    with item.source.open("rb") as stream:
        return enter(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


def _head(path: Path) -> bytes:
    """The names and the metadata of a file of weights; what follows are numbers."""
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        return stream.read(min(size, 100_000_000))
