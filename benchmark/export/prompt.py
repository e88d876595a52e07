"""The prompt that answered here, as a template of Haystack's that gives the same messages."""

from typing import Final

from benchmark.answers.prompt import FORM, read_prompts
from benchmark.files import Json
from benchmark.llm.prompts import fenced
from benchmark.project import Project
from benchmark.records import Chunk
from benchmark.specs import AnswersSpec, Endpoint, LLMSpec

NO_KEY: Final = "NO_API_KEY"
"""The variable that is asked for a key where the endpoint needs none."""
_PASSAGES: Final = """\
{% for document in documents %}<{{ document.meta.mark }}>
id: {{ document.id }}
{{ document.meta.shown }}
</{{ document.meta.mark }}>

{% endfor %}"""
_QUESTION: Final = """\


Question: {{ question.split() | join(" ") }}"""


def shown_text(chunk: Chunk, most: int) -> str:
    """A passage as the language model reads it: heading and text, cut at so many characters."""
    text = chunk.text if len(chunk.text) <= most else chunk.text[:most].rstrip() + " [...]"
    return "\n".join(part for part in (chunk.heading, text) if part)


def mark_of(chunk: Chunk, most: int) -> str:
    """The mark around a passage, which nobody can know who writes the passage."""
    return fenced(f"id: {chunk.id}\n{shown_text(chunk, most)}").split("\n", 1)[0].strip("<>")


def messages(project: Project, spec: AnswersSpec) -> list[Json]:
    """The template of the conversation; the user's prompts are text in it, whatever they hold.

    Raises:
        BenchError: The folder of edited prompts is not as it should be.
    """
    prompts = read_prompts(project, spec.prompts)
    user = _PASSAGES + _literal(prompts.text("answer_task")) + _QUESTION
    return [_message("system", _literal(prompts.text("answer_system"))), _message("user", user)]


def _message(role: str, text: str) -> Json:
    return {"role": role, "content": [{"text": text}], "meta": {}, "name": None}


def _literal(text: str) -> str:
    """A text that a template prints as it is.

    >>> _literal("a {{ b }}")
    "a {{ '{' }}{{ '{' }} b }}"
    """
    return text.replace("{", "{{ '{' }}")


def generator(llm: LLMSpec, endpoint: Endpoint) -> Json:
    """Parameters of an OpenAI-compatible generator; of the key only the NAME of its variable is written."""
    formed: Json = {}
    if endpoint.structured in {"auto", "json_schema"}:
        schema = {"name": FORM.name, "strict": True, "schema": FORM.as_dict}
        formed = {"response_format": {"type": "json_schema", "json_schema": schema}}
    elif endpoint.structured == "json_object":
        formed = {"response_format": {"type": "json_object"}}
    return {
        "model": endpoint.model,
        "api_base_url": endpoint.base_url.rstrip("/"),
        "api_key": {"type": "env_var", "env_vars": [endpoint.api_key_env or NO_KEY], "strict": True},
        "timeout": endpoint.timeout,
        "max_retries": endpoint.retries,
        "generation_kwargs": {
            "temperature": llm.temperature, "max_tokens": llm.max_tokens, **formed, **endpoint.parameters,
        },
    }  # fmt: skip
