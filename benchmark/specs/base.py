"""What all configuration files share: strict parts, and mistakes told in one line each."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from benchmark.errors import BenchError, did_you_mean
from benchmark.files import read_yaml, shown

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
    return parse_spec(kind, read_yaml(path), shown(path))


def _told(kind: type[BaseModel], details: ErrorDetails) -> str:
    place = ".".join(str(part) for part in details["loc"])
    if details["type"] == "extra_forbidden":
        owner = _model_at(kind, details["loc"][:-1])
        known = owner.model_fields if owner else {}
        return f"unknown key '{place}'; {did_you_mean(str(details['loc'][-1]), known)}"
    if details["type"] == "missing":
        return f"the key '{place}' is missing"
    message = details["msg"].removeprefix("Value error, ")
    return f"'{place}': {message}" if place else message


def _model_at(kind: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model class that a location of a validation error lies in."""
    here: type[BaseModel] | None = kind
    for step in path:
        if isinstance(step, int) or here is None:
            continue
        field = here.model_fields.get(step)
        here = _model_in(field.annotation) if field else None
    return here


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found:
            return found
    return None
