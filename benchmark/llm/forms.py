"""Answers of a given form: JSON of a schema, found in whatever a model wraps around it."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from benchmark.files import Json, hash_text

_LONGEST_REASON = 200
_LONGEST_VALUE = 40
_THOUGHTS, _END_OF_THOUGHTS = "<think>", "</think>"
_FENCED = re.compile(r"```[\w-]*[ \t]*\n(.*?)\n[ \t]*```", re.DOTALL)


class FormError(Exception):
    """An answer does not have the form.

    Attributes:
        kind: A few words, the same for answers that are wrong in the same way, without the answer's own text.
        text: One short line that a model can act on: where it is wrong, and how.
    """

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        self.text = " ".join(text.split())[:_LONGEST_REASON]
        super().__init__(self.text)


@dataclass(frozen=True)
class Form:
    """A JSON Schema (draft 2020-12) that an answer must fulfil; the answer is an object.

    Attributes:
        name: Letters, digits and underscores.
        schema: The schema as canonical JSON; use `form` to make one from a dict.
    """

    name: str
    schema: str

    @property
    def key(self) -> str:
        """Tells forms apart in the journal's keys."""
        return f"{self.name}/{hash_text(self.schema)[:16]}"

    @cached_property
    def as_dict(self) -> Json:
        """The schema."""
        value: Json = json.loads(self.schema)
        return value

    def read(self, text: str) -> Json:
        """The object in an answer: the whole text, else a fenced block, else what the outermost braces hold.

        What a model thinks aloud (`<think>...</think>`) is passed over.

        Raises:
            FormError: There is no JSON object in it, or it does not fulfil the schema.
        """
        problems: list[FormError] = []
        for candidate in _candidates(text):
            try:
                value = _parse(candidate)
                self._check(value)
            except FormError as error:
                problems.append(error)
            else:
                return value
        if not problems:
            raise FormError("no JSON object", "there is no JSON object in the answer")
        # An object that breaks the schema says more than words in braces that are no object at all.
        raise next((problem for problem in problems if problem.kind != _BROKEN), problems[-1])

    def canonical(self, text: str) -> str:
        """The object in an answer as JSON in one way: sorted keys, nothing around it.

        Raises:
            FormError: As `read`.
        """
        return json.dumps(self.read(text), ensure_ascii=False, sort_keys=True)

    def _check(self, value: Json) -> None:
        from jsonschema.exceptions import best_match

        error = best_match(_validator(self.schema).iter_errors(value))
        if error is None:
            return
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
        anywhere = re.sub(r"\[\d+\]", "[]", place).lstrip(".")
        found = repr(error.instance)
        message = error.message
        if len(found) > _LONGEST_VALUE:
            message = message.replace(found, found[:_LONGEST_VALUE] + "...")
        if str(error.validator).startswith(("min", "max")):  # "is too short" alone does not say how long it must be
            message += f" ({error.validator}: {error.validator_value})"
        raise FormError(
            f"{error.validator}" + (f" of {anywhere}" if anywhere else ""),
            f"{place.lstrip('.')}: {message}" if place else message,
        )


def form(name: str, schema: dict[str, Any]) -> Form:
    """A form from a schema.

    >>> form("grade", {"type": "object"}).read('Sure: {"grade": 2}')
    {'grade': 2}
    """
    return Form(name, json.dumps(schema, sort_keys=True, ensure_ascii=False))


_BROKEN = "broken JSON"


@lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema))


def _candidates(text: str) -> Iterator[str]:
    """Pieces of an answer that may be the object, the likeliest first."""
    text = text.strip().removeprefix("\ufeff")
    while text.startswith(_THOUGHTS):
        text = text.partition(_END_OF_THOUGHTS)[2].strip()
    # A template may have opened the thoughts before the answer begins; but the mark may stand inside of the object too.
    yield from _pieces(text.rpartition(_END_OF_THOUGHTS)[2].strip())
    if _END_OF_THOUGHTS in text:
        yield from (piece for piece in _pieces(text) if _END_OF_THOUGHTS in piece)


def _pieces(text: str) -> Iterator[str]:
    if text.startswith(("{", "[")):
        yield text
    for block in _FENCED.findall(text):
        if block.lstrip().startswith("{"):
            yield block
    start, end = text.find("{"), text.rfind("}") + 1
    # A list is not the object that happens to stand in it.
    if 0 <= start < end and (start, end) != (0, len(text)) and not text.startswith("["):
        yield text[start:end]


def _parse(text: str) -> Json:
    try:
        # Line breaks inside a text are common and do no harm.
        value = json.loads(
            text, strict=False, object_pairs_hook=_object, parse_constant=_no_number, parse_float=_finite
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        raise FormError(_BROKEN, f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise FormError(_BROKEN, "not JSON that can be read: it is nested too deeply") from None
    except UnicodeEncodeError:
        raise FormError("broken text", "a text holds half of a surrogate pair (\\ud800 to \\udfff)") from None
    except ValueError:  # a whole number of thousands of digits
        raise FormError("no finite number", "a number is too long") from None
    if not isinstance(value, dict):
        raise FormError("no JSON object", "the answer is JSON, but not an object in braces")
    return value


def _object(pairs: list[tuple[str, Any]]) -> Json:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise FormError("a key twice", f"the key '{twice[:_LONGEST_VALUE]}' stands twice in one object")
    return value


def _no_number(word: str) -> float:
    raise FormError("no finite number", f"{word} is not a number in JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _no_number(digits[:_LONGEST_VALUE])


def object_schema(properties: dict[str, Any]) -> Json:
    """The schema of an object with exactly these properties, all of them required.

    >>> object_schema({"score": {"type": "integer"}})["required"]
    ['score']
    """
    return {
        "type": "object", "properties": properties, "required": list(properties), "additionalProperties": False,
    }  # fmt: skip


def object_form(name: str, properties: dict[str, Any]) -> Form:
    """A form of an object with exactly these properties, all of them required."""
    return form(name, object_schema(properties))
