"""What goes in front of queries and passages, and who says so; never a guess."""

from dataclasses import dataclass
from typing import Final

from benchmark.encoders.dense import own_prompts
from benchmark.escape import one_line
from benchmark.hub.registry import Registered
from benchmark.hub.remote import RemoteModel
from benchmark.specs.models import Kind, Prompts

OWN: Final = "config_sentence_transformers.json"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True)
class FoundPrompts:
    """A model's prompts.

    Attributes:
        value: The prompts; None where they are not known, or where the model brings them itself.
        source: Who says so, for provenance.
        remark: What a person should know of them; empty where there is nothing.
        offered: Names of prompts in the model's own configuration none of which says that it is for search.
    """

    value: Prompts | None
    source: str
    remark: str = ""
    offered: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether they are."""
        return self.source != UNKNOWN


def configured_prompts(model: RemoteModel, kind: Kind) -> FoundPrompts:
    """The prompts that a model's own configuration carries, or that its kind needs none."""
    if kind == "cross-encoder":
        return FoundPrompts(None, "a cross-encoder takes the texts as they are")
    named = model.own.get("prompts")
    texts = {str(key): text for key, text in named.items() if isinstance(text, str)} if isinstance(named, dict) else {}
    if kind == "late-interaction":
        # Its library composes them with the markers of queries and documents, which are no plain text.
        return FoundPrompts(None, "the model's own, with its markers of queries and documents")
    found = own_prompts(texts)
    if found["query"] or found["document"]:
        return FoundPrompts(Prompts(**found), OWN)
    # Empty ones say nothing: sentence-transformers writes them for models that have none, or that declare none.
    return FoundPrompts(None, UNKNOWN, offered=tuple(one_line(key, 40) for key, text in texts.items() if text))


def with_registry(own: FoundPrompts, entry: Registered | None) -> FoundPrompts:
    """As mteb's registry has them, where a model's own configuration says nothing."""
    if own.known or entry is None or entry.prompts is None:
        return own
    remark = ""
    if entry.general:
        remark = "the query's instruction is mteb's general one; the model's card may say how to word it for your field"
    elif not entry.prompts.query and not entry.prompts.document:
        remark = "mteb runs the model without any"
    return FoundPrompts(entry.prompts, entry.source, remark)


def question(model_id: str, offered: tuple[str, ...]) -> list[str]:
    """Lines of a comment that ask for prompts that nobody declares, with the form to fill in."""
    lines = [
        "What goes in front of queries and passages is UNKNOWN: neither the model's own configuration nor mteb's",
        f"registry says it. Look in the card of {model_id} for words such as 'query:', 'passage:', 'search_query:',",
        "'Represent this sentence', 'Instruct:'. Where there are any, write them here, spaces included, since without",
        "them the model is measured below its worth; where there are none, remove these lines.",
    ]
    if offered:
        lines.append(f"(Its configuration has prompts named {', '.join(offered)}; none says that it is for search.)")
    return [*lines, "prompts:", '  query: "..."', '  document: "..."']
