"""Chat completions in OpenAI's form: what is sent, what a reply holds, and what to leave out when it is refused."""

import re
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple

from benchmark.files import Json
from benchmark.llm.model import Answer, ChatRequest, Failure
from benchmark.specs import Endpoint

_LOWER: Final[dict[str, Literal["json_object", "text"]]] = {"json_schema": "json_object", "json_object": "text"}
_NAMES: Final = (
    ("response_format", r"response_format|json_schema|json_object"),
    ("temperature", r"\btemperature\b"),
    ("stop", r"\bstop\b"),
    ("max_tokens", r"\bmax_(completion_)?tokens\b"),
    ("response_format", r"\bschemas?\b|\bstrict\b|\bstructured\b|not supported"),
)


@dataclass(frozen=True)
class Manner:
    """How an endpoint wants to be asked.

    Attributes:
        structured: How answers of a given form are asked for.
        yielding: Whether that is lowered when the endpoint refuses it.
        limit: The name of the parameter for the longest answer.
        temperature: Whether it takes one.
        stop: Whether it takes stop texts.
    """

    structured: Literal["json_schema", "json_object", "text"] = "json_schema"
    yielding: bool = True
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True
    stop: bool = True

    def without(self, name: str, said: str) -> "Manner | None":
        """The manner without a parameter that was refused in these words; None where nothing is to be left out."""
        if name == "response_format" and self.yielding and self.structured in _LOWER:
            return replace(self, structured=_LOWER[self.structured])
        if name == "temperature" and self.temperature:
            return replace(self, temperature=False)
        if name == "stop" and self.stop:
            return replace(self, stop=False)
        too_long = re.search(r"context|too (large|long)", said)  # the value is refused, not the name
        if name == "max_tokens" and self.limit == "max_tokens" and not too_long:
            return replace(self, limit="max_completion_tokens")
        return None

    def adapted(self, sent: Json, refusal: "Refusal") -> "Manner | None":
        """The manner after a refusal, or None where it names nothing that was sent and can be left out.

        Args:
            sent: The refused request's body.
            refusal: What the endpoint said.
        """
        parameter, said = refusal.parameter.lower(), refusal.words.lower()
        if re.match(r"(body\.)?messages\b", parameter):
            return None  # words about a text may quote the text
        present = {"max_tokens" if name == self.limit else name for name in sent}
        for text in (parameter, said):
            for name, pattern in _NAMES:
                if name in present and re.search(pattern, text) and (changed := self.without(name, said)):
                    return changed
        return None

    def left_out(self, later: "Manner") -> list[str]:
        """The names of what a later manner leaves out."""
        left_out: list[str] = [] if later.structured == self.structured else [self.structured]
        left_out += ["temperature"] * (self.temperature and not later.temperature)
        return left_out + ["stop"] * (self.stop and not later.stop)


class Refusal(NamedTuple):
    """What an endpoint said about a request that it refused.

    Attributes:
        parameter: The name of a parameter that it gives beside its words, or "".
        words: Its message, or "".
    """

    parameter: str
    words: str


def read_refusals(body: Any) -> list[Refusal]:
    """The messages in the body of a refusal, and nothing else of it: the rest may echo what was sent.

    Understood are OpenAI's form, its variants (no `error` around it, a text in place of the object, a list around it)
    and FastAPI's `detail`.

    >>> read_refusals({"error": {"message": "no such thing", "param": "stop"}})
    [Refusal(parameter='stop', words='no such thing')]
    >>> read_refusals({"detail": [{"loc": ["body", "stop"], "msg": "not permitted", "input": "a text"}]})
    [Refusal(parameter='body.stop', words='not permitted')]
    >>> read_refusals("<html>")
    []
    """
    if isinstance(body, list):
        return [refusal for part in body if isinstance(part, dict) for refusal in read_refusals(part)]
    if not isinstance(body, dict):
        return []
    told = body.get("error") or body.get("detail") or body
    if isinstance(told, list):
        return [_refusal(part, "msg", part.get("loc")) for part in told if isinstance(part, dict)]
    if isinstance(told, str):
        return [Refusal("", told)]
    return [_refusal(told, "message", told.get("param"))] if isinstance(told, dict) else []


def _refusal(told: Json, name: str, place: Any) -> Refusal:
    words = told.get(name)
    parameter = ".".join(map(str, place)) if isinstance(place, list) else place
    return Refusal(parameter if isinstance(parameter, str) else "", words if isinstance(words, str) else "")


def chat_body(spec: Endpoint, request: ChatRequest, manner: Manner) -> Json:
    """What is sent; a prefilled assistant's turn is not, since endpoints do not continue it."""
    body: Json = {
        "model": spec.model,
        "messages": [{"role": role, "content": _sendable(content)} for role, content in request.messages],
        manner.limit: request.max_tokens,
    }
    if manner.temperature:
        body["temperature"] = request.temperature
    if request.stop and manner.stop:
        body["stop"] = [_sendable(text) for text in request.stop]
    if request.form is not None and manner.structured == "json_schema":
        schema = {"name": request.form.name, "strict": True, "schema": request.form.as_dict}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif request.form is not None and manner.structured == "json_object":
        body["response_format"] = {"type": "json_object"}
    return body | spec.parameters


def _sendable(text: str) -> str:
    """Lone surrogates (from a broken document) cannot be sent as UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def read_completion(body: Any) -> Answer | Failure:
    """The answer in a chat completion.

    Raises:
        ValueError: It is no chat completion.
    """
    try:
        choice = body["choices"][0]
        message, ended = choice["message"], choice.get("finish_reason")
        text, refusal, usage = message.get("content"), message.get("refusal"), body.get("usage") or {}
        tokens = _tokens(usage)
    except (AttributeError, IndexError, KeyError, TypeError):
        raise ValueError("its reply holds no choices") from None
    if text is not None and not isinstance(text, str):
        raise ValueError("its reply holds no text")
    empty = text is None or not text.strip()
    if refusal or (empty and ended == "content_filter"):
        return Failure("refused by the model", *tokens)
    if text is None or empty:
        return Failure("empty answer", *tokens)
    return Answer(text, *tokens, cut_off=ended == "length")


def _tokens(usage: Json) -> tuple[int | None, int | None]:
    """Tokens read and written; some endpoints count a model's thoughts in the total alone.

    >>> _tokens({"prompt_tokens": 20, "completion_tokens": 424, "total_tokens": 1016})
    (20, 996)
    """
    read, written, total = (_count(usage.get(f"{name}_tokens")) for name in ("prompt", "completion", "total"))
    if None not in (read, written, total):
        assert read is not None and written is not None and total is not None  # noqa: S101
        written = max(written, total - read)
    return read, written


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
