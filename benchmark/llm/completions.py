"""Chat completions in OpenAI's form: what is sent, what a reply holds, and what to leave out when it is refused."""

import re
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

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

    def adapted(self, sent: Json, said: str, parameter: str) -> "Manner | None":
        """The manner after a refusal, or None where it names nothing that was sent and can be left out.

        Args:
            sent: The refused request's body.
            said: The endpoint's words, in lower case.
            parameter: The name of a parameter that the endpoint gives beside its words, or "".
        """
        present = {"max_tokens" if name == self.limit else name for name in sent}
        for text in (parameter, said):
            for name, pattern in _NAMES:
                if name in present and re.search(pattern, text) and (changed := self.without(name, said)):
                    return changed
        return None


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
        tokens = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
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


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
