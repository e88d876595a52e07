"""What all configuration files share: strict parts, and mistakes told in one line each."""

import functools
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from benchmark.errors import BenchError, did_you_mean
from benchmark.files import parse_yaml, read_text, shown

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=96)]
Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class Strict(BaseModel):
    """A part of a configuration file: unknown keys refused, nothing coerced from a wrong type, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


S = TypeVar("S", bound=Strict)


def parse_spec(kind: type[S], value: dict[str, Any], where: str) -> S:
    """Validate a mapping; every mistake becomes one line that begins with `where`.

    Raises:
        BenchError: One line for each mistake.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise BenchError(*(f"{where}: {_told(kind, details)}" for details in error.errors())) from None


def read_spec(kind: type[S], path: Path) -> S:
    """Read and validate a configuration file.

    Raises:
        BenchError: One line for each mistake, with the file's name.
    """
    # Parsed again only where its text has changed: a composition's parts are asked for many times.
    return cast("S", _read(kind, path, read_text(path)))


@functools.lru_cache(maxsize=1024)
def _read(kind: type[Strict], path: Path, text: str) -> Strict:
    return parse_spec(kind, parse_yaml(text, path), shown(path))


def _told(kind: type[BaseModel], details: ErrorDetails) -> str:
    place, keys = _place(kind, details["loc"]), details.get("ctx", {})
    if details["type"] == "extra_forbidden":
        return _unknown(kind, details["loc"])
    if details["type"] == "missing":
        return f"the key '{place.words}' is missing"
    if details["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        key = str(keys["discriminator"]).strip("'")
        tags = [tag for tag, _ in place.siblings]
        if details["type"] == "union_tag_not_found":
            return f"the key '{place.words}.{key}' is missing; it is one of: {', '.join(tags)}"
        given = str(keys["tag"])
        close = get_close_matches(given, tags, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        return f"'{place.words}.{key}': '{given}' is none of: {', '.join(tags)}{hint}"
    message = details["msg"].removeprefix("Value error, ")
    return f"'{place.words}': {message}" if place.words else message


def _unknown(kind: type[BaseModel], path: Sequence[int | str]) -> str:
    """An unknown key: the one that may be meant, or whose it is where parts of several kinds may stand."""
    word, owner = str(path[-1]), _place(kind, path[:-1])
    line = f"unknown key '{'.'.join(part for part in (owner.words, word) if part)}'"
    known = owner.model.model_fields if owner.model else {}
    others = [tag for tag, model in owner.siblings if word in model.model_fields]
    if others:
        own = next(tag for tag, model in owner.siblings if model is owner.model)
        return f"{line}; it goes with {' or '.join(others)}, not with {own}, which has: {', '.join(sorted(known))}"
    return f"{line}; {did_you_mean(word, known)}"


class _Place(NamedTuple):
    """Where a location of a validation error leads.

    Attributes:
        words: The keys that lead there, as the user wrote them.
        model: The part of the configuration that stands there, if it is one.
        siblings: Where parts of several kinds may stand: the word for each kind, and the part.
    """

    words: str
    model: type[BaseModel] | None
    siblings: tuple[tuple[str, type[BaseModel]], ...]


def _place(kind: type[BaseModel], path: Sequence[int | str]) -> _Place:
    """Follow a location down; in it pydantic also names the members of unions that it tried, which nobody wrote."""
    here: object = kind
    words: list[str] = []
    siblings: tuple[tuple[str, type[BaseModel]], ...] = ()
    for step in path:
        members = _members(here)
        if len(members) > 1:
            siblings = _kinds(members)
            here = dict(siblings).get(str(step))
            continue
        words.append(str(step))
        siblings = ()
        here = _below(members[0] if members else None, step)
    members = _members(here)
    if len(members) > 1:
        siblings = _kinds(members)
    last = members[0] if len(members) == 1 else None
    return _Place(".".join(words), last if isinstance(last, type) and issubclass(last, BaseModel) else None, siblings)


def _members(annotation: object) -> tuple[object, ...]:
    """What a type may be, None left out: several of a union, otherwise itself alone."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return tuple(member for member in get_args(annotation) if member is not type(None))
    return () if annotation is None else (annotation,)


def _kinds(members: Sequence[object]) -> tuple[tuple[str, type[BaseModel]], ...]:
    """Each part of a union with the word that its `kind` must be."""
    found = []
    for member in members:
        if isinstance(member, type) and issubclass(member, BaseModel) and "kind" in member.model_fields:
            annotation = member.model_fields["kind"].annotation
            found += [(str(word), member) for word in get_args(annotation) if get_origin(annotation) is Literal]
    return tuple(found)


def _below(annotation: object, step: int | str) -> object:
    """The type under a key, or of an element."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(step))
        return field.annotation if field else None
    inner = get_args(annotation)
    return inner[-1] if inner else None
