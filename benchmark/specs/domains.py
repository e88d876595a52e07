"""`tasks/<domain>/domain.yaml`: documents, questions, chunking."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from benchmark.specs.base import Commit, Name, Strict


class Chunking(Strict):
    """How documents become chunks; tokens are counted with the tokenizer of the named model spec."""

    tokenizer: Name
    max_tokens: Annotated[int, Field(ge=16, le=8192)] = 160
    min_tokens: Annotated[int, Field(ge=0)] = 32
    overlap: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        if self.overlap >= self.max_tokens // 2:
            raise ValueError("'overlap' must be under half of 'max_tokens'")
        if self.min_tokens >= self.max_tokens:
            raise ValueError("'min_tokens' must be under 'max_tokens'")
        return self


class RerankingTask(Strict):
    """Candidates of the reranking task: the top `depth` of BM25 and of the base model, pooled."""

    base: Name
    depth: Annotated[int, Field(gt=0, le=1000)] = 20


class HubCorpus(Strict):
    """A retrieval data set on the Hub, in the configurations corpus, queries and qrels (as NanoBEIR's are)."""

    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Commit
    split: str = "train"


class DomainSpec(Strict):
    """`tasks/<domain>/domain.yaml`.

    Ground truth is either evidence in `documents` (`questions.jsonl`), or a ready-made corpus in the BEIR layout
    (`beir: .` or a folder that holds corpus.jsonl, queries.jsonl, qrels.tsv; `hub:` names a data set on the Hub).
    """

    title: str
    task_name: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]*$")] | None = None
    description: str = ""
    language: Annotated[str, Field(pattern=r"^[a-z]{3}-[A-Z][a-z]{3}$")] = "eng-Latn"
    licence: str = "unknown"
    mteb_domains: list[str] = []
    documents: str = "documents"
    questions: str = "questions.jsonl"
    beir: str | None = None
    hub: HubCorpus | None = None
    chunking: Chunking | None = None
    reranking: RerankingTask
    max_file_mb: Annotated[float, Field(gt=0)] = 50.0

    @model_validator(mode="after")
    def _ground_truth(self) -> Self:
        if self.beir is not None and self.hub is not None:
            raise ValueError("'beir' and 'hub' are two corpora; one is needed")
        if self.beir is None and self.hub is None and self.chunking is None:
            raise ValueError("'chunking' is missing (it is optional only with 'beir' or 'hub')")
        return self
