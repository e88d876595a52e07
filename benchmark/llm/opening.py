"""From a configuration to a language model."""

from pathlib import Path

from benchmark.console import SILENT, Reporter
from benchmark.errors import BenchError
from benchmark.llm.batch import BatchLanguageModel
from benchmark.llm.endpoint import EndpointLanguageModel
from benchmark.llm.local import LocalLanguageModel
from benchmark.llm.model import LanguageModel
from benchmark.project import Project
from benchmark.specs import LLMSpec


def open_llm(
    spec: LLMSpec, project: Project, batches: Path | None = None, reporter: Reporter = SILENT
) -> LanguageModel:
    """The language model that a configuration names; nothing is loaded or asked yet.

    Args:
        spec: Which one.
        project: Where the weights of a local model are found.
        batches: The ledger of batches that are on their way, for an endpoint with `batch`.
        reporter: Told how a batch gets on.

    Raises:
        BenchError: Batches are asked for where they cannot be remembered.
    """
    if spec.endpoint is not None and spec.endpoint.batch:
        if batches is None:
            raise BenchError("'batch' is not possible here: there is no place where batches are remembered")
        return BatchLanguageModel(spec.endpoint, batches, reporter)
    if spec.endpoint is not None:
        return EndpointLanguageModel(spec.endpoint)
    assert spec.local is not None  # noqa: S101 (LLMSpec has one of the two)
    return LocalLanguageModel(spec.local, project)
