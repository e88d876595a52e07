"""From a configuration to a language model."""

from benchmark.llm.endpoint import EndpointLanguageModel
from benchmark.llm.local import LocalLanguageModel
from benchmark.llm.model import LanguageModel
from benchmark.project import Project
from benchmark.specs import LLMSpec


def open_llm(spec: LLMSpec, project: Project) -> LanguageModel:
    """The language model that a configuration names; nothing is loaded or asked yet."""
    if spec.endpoint is not None:
        return EndpointLanguageModel(spec.endpoint)
    assert spec.local is not None  # noqa: S101 (LLMSpec has one of the two)
    return LocalLanguageModel(spec.local, project)
