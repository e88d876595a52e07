"""From a question and a pipeline's passages to a request, the same for every pipeline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmark.files import Json
from benchmark.llm.forms import Form, object_form
from benchmark.llm.model import ChatRequest, Message
from benchmark.llm.prompts import Prompts, fenced
from benchmark.project import Project
from benchmark.records import Chunk
from benchmark.specs import LLMSpec

PROMPTS: Final = Path(__file__).parent / "prompts"
"""The package's prompts for answers and for judges."""
FORM: Final[Form] = object_form(
    "grounded_answer",
    {
        "answer": {"type": "string"},
        "citations": {"type": "array", "items": {"type": "string"}},
        "answerable": {"type": "boolean"},
    },
)
_OWN: Final = "answer_"


def read_prompts(project: Project, folder: str | None) -> Prompts:
    """The package's prompts, with those that the user edited in their place.

    Args:
        project: Its folder is what `folder` is relative to.
        folder: `answers: prompts:` of the benchmark file.

    Raises:
        BenchError: No such folder, or a file in it that is no prompt's.
    """
    return Prompts(project.root / folder if folder else None, builtin=PROMPTS)


def prompt_hashes(prompts: Prompts) -> Json:
    """Prompt -> hash of its text, for the prompts that make answers; a judge's prompts change no answer."""
    return {name: sha for name, sha in prompts.hashes.items() if name.startswith(_OWN)}


class Prompter:
    """Makes the requests.

    Args:
        prompts: `answer_system` and `answer_task`; for very small models `answer_prefill` alone.
        llm: Who answers; the settings that change an answer.
        max_characters: Of each passage's text.
    """

    def __init__(self, prompts: Prompts, llm: LLMSpec, max_characters: int) -> None:
        self._prompts, self._llm, self._max_characters = prompts, llm, max_characters

    def request(self, question: str, passages: Sequence[Chunk]) -> ChatRequest:
        """The request for one question with its passages, best first."""
        asked = "Question: " + " ".join(question.split())
        return self._instructed(asked, passages) if self._llm.instructed else self._begun(asked, passages)

    def _instructed(self, asked: str, passages: Sequence[Chunk]) -> ChatRequest:
        parts = [*(fenced(self._labelled(chunk)) for chunk in passages), self._prompts.text("answer_task"), asked]
        return ChatRequest(
            messages=(Message("system", self._prompts.text("answer_system")), Message("user", "\n\n".join(parts))),
            temperature=self._llm.temperature,
            max_tokens=self._llm.max_tokens,
            form=FORM,
        )

    def _begun(self, asked: str, passages: Sequence[Chunk]) -> ChatRequest:
        """Plain text, begun for the model: it follows no instruction, so it gets none, and none of a passage is one.

        Asked to cite or to decline it only repeats what it was told. The background is the same without the passages: what the model would say by heart is held against it.
        """
        assert self._llm.local is not None  # noqa: S101 (an endpoint follows instructions)
        read = [f"[{chunk.id}]\n{self._text(chunk)}" for chunk in passages]
        return ChatRequest(
            messages=(Message("user", "\n\n".join([*read, asked])),),
            prefill=self._prompts.text("answer_prefill"),
            background=(Message("user", asked),),
            context_weight=self._llm.local.context_weight,
            temperature=self._llm.temperature,
            max_tokens=self._llm.max_tokens,
            stop=("\n",),
        )

    def _labelled(self, chunk: Chunk) -> str:
        return f"id: {chunk.id}\n{self._text(chunk)}"

    def _text(self, chunk: Chunk) -> str:
        """Heading and text; what is cut off is marked."""
        most = self._max_characters
        text = chunk.text if len(chunk.text) <= most else chunk.text[:most].rstrip() + " [...]"
        return "\n".join(part for part in (chunk.heading, text) if part)
