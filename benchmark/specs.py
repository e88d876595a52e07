"""The configuration files as types: domain.yaml, model_specs/*.yaml, benchmark.yaml.

Unknown keys are errors with a "did you mean"; every mistake of a file is told at once, with the file's name.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from benchmark.errors import BenchError, did_you_mean
from benchmark.files import read_yaml, shown

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=96)]
Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """A part of a configuration file: unknown keys refused, nothing coerced from a wrong type, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


# --- model specs --------------------------------------------------------------------------------------------------

SOURCES = ("hub", "path", "package", "bm25", "hybrid", "retriever", "truncate_dim")


class Prompts(Strict):
    """Texts put before each query and each document; part of the model's identity."""

    query: str = ""
    document: str = ""


class BM25Settings(Strict):
    """Parameters of BM25 (Lucene's variant, as in bm25s)."""

    k1: Annotated[float, Field(ge=0)] = 1.2
    b: Share = 0.75
    stemmer: str | None = "english"
    stopwords: str | None = "en"


class ModelSpec(Strict):
    """One way to rank passages, from exactly one source.

    `hub:` with `revision:`, `path:` (relative to the project) and `package:` (`import_name/folder`: weights that an
    installed Python package carries) are models; `bm25:` is lexical; `hybrid: [a, b]` fuses two specs;
    `retriever:` with `reranker:` is a pipeline of two stages; `base:` with `truncate_dim:` cuts a Matryoshka
    model's vectors.
    """

    description: str = ""
    hub: str | None = None
    revision: str | None = None
    path: str | None = None
    package: str | None = None
    bm25: BM25Settings | None = None
    hybrid: Annotated[list[Name], Field(min_length=2, max_length=2)] | None = None
    weights: Annotated[list[Share], Field(min_length=2, max_length=2)] | None = None
    retriever: Name | None = None
    reranker: Name | None = None
    depth: Annotated[int, Field(gt=0, le=1000)] = 50
    base: Name | None = None
    truncate_dim: Positive | None = None
    kind: Literal["bi-encoder", "cross-encoder"] = "bi-encoder"
    prompts: Prompts = Prompts()
    max_length: Positive | None = None
    trust_remote_code: bool = False
    licence: str = "unknown"
    parameters: Positive | None = None
    dimensions: Positive | None = None
    provenance: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            what = "no source" if not given else "two sources: " + ", ".join(given)
            raise ValueError(f"{what}; exactly one of {', '.join(SOURCES)} is needed")
        partners = {"reranker": "retriever", "base": "truncate_dim", "revision": "hub", "weights": "hybrid"}
        for key, owner in partners.items():
            if getattr(self, key) is not None and getattr(self, owner) is None:
                raise ValueError(f"'{key}' goes with '{owner}'")
        if (self.retriever is None) != (self.reranker is None):
            raise ValueError("'retriever' goes with 'reranker'")
        if (self.truncate_dim is None) != (self.base is None):
            raise ValueError("'truncate_dim' goes with 'base'")
        if self.weights is not None and sum(self.weights) == 0:
            raise ValueError("'weights' are both 0")
        if self.hub is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", self.hub):
            raise ValueError(f"'hub' is {self.hub!r}, an id like organisation/model is expected")
        pinned = self.revision is not None and re.fullmatch(r"[0-9a-f]{40}", self.revision) is not None
        if self.trust_remote_code and not (self.hub is not None and pinned):
            raise ValueError("trust_remote_code needs 'hub' and a 'revision' of 40 hex digits (a commit)")
        return self

    @property
    def source(self) -> str:
        """The name of the one source that is given."""
        return next(name for name in SOURCES if getattr(self, name) is not None)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the specs that this one is composed of."""
        names = [*(self.hybrid or []), self.retriever, self.reranker, self.base]
        return tuple(name for name in names if name is not None)


# --- domains --------------------------------------------------------------------------------------------------------


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


class DomainSpec(Strict):
    """`tasks/<domain>/domain.yaml`.

    Ground truth is either evidence in `documents` (`questions.jsonl`), or a ready-made corpus in the BEIR layout
    (`beir: .` or a folder that holds corpus.jsonl, queries.jsonl, qrels.tsv).
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
    chunking: Chunking | None = None
    reranking: RerankingTask
    max_file_mb: Annotated[float, Field(gt=0)] = 50.0

    @model_validator(mode="after")
    def _ground_truth(self) -> Self:
        if self.beir is None and self.chunking is None:
            raise ValueError("'chunking' is missing (it is optional only with 'beir')")
        return self


# --- benchmark file -----------------------------------------------------------------------------------------------


class Endpoint(Strict):
    """An OpenAI-compatible chat endpoint; `api_key_env` holds the NAME of an environment variable, never a key."""

    base_url: Annotated[str, Field(pattern=r"^https?://[^/?#]")]
    model: str
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    concurrency: Annotated[int, Field(gt=0, le=256)] = 8
    timeout: Annotated[float, Field(gt=0)] = 60.0
    retries: Annotated[int, Field(ge=0, le=20)] = 5
    usd_per_million_input: Annotated[float, Field(ge=0)] | None = None
    usd_per_million_output: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _no_secret(self) -> Self:
        # The address is told in manifests and messages.
        if re.search(r"^https?://[^/]*@|[?#]", self.base_url):
            raise ValueError(
                "'base_url' must hold no user, password or query; name the key's variable in 'api_key_env'"
            )
        return self


class LocalModel(Strict):
    """A causal language model that runs in this process through transformers.

    `context_weight` is the alpha of context-aware decoding (Shi et al., arXiv 2305.14739): how far each token is
    moved away from what the model would say without the passage. 0 switches it off; a larger model needs less.
    """

    package: str | None = None
    path: str | None = None
    gguf: str | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    batch_size: Positive = 16
    context_weight: Annotated[float, Field(ge=0, le=2)] = 0.5

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.package is None) == (self.path is None):
            raise ValueError("exactly one of 'package' and 'path' is needed")
        return self


class LLMSpec(Strict):
    """The language model that writes synthetic questions: an endpoint or a local model."""

    endpoint: Endpoint | None = None
    local: LocalModel | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    max_tokens: Positive = 256

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.endpoint is None) == (self.local is None):
            raise ValueError("exactly one of 'endpoint' and 'local' is needed")
        return self


class GenerateSpec(Strict):
    """Synthetic data: how many queries of which kind, which filters, which negatives."""

    llm: LLMSpec | None = None
    questions_per_chunk: Annotated[int, Field(ge=0, le=20)] = 3
    pseudo_queries_per_chunk: Annotated[int, Field(ge=0, le=20)] = 4
    title_share: Share = 0.5
    retriever: Name
    round_trip_k: Annotated[int, Field(ge=0)] = 3
    negatives: Annotated[int, Field(ge=1, le=32)] = 4
    negative_pool: Annotated[int, Field(ge=1, le=1000)] = 30
    negative_margin: Share = 0.95
    near_duplicate: Share = 0.9
    development_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.12

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.questions_per_chunk and self.llm is None:
            raise ValueError("'questions_per_chunk' needs an 'llm' (or set it to 0)")
        if not self.questions_per_chunk and not self.pseudo_queries_per_chunk:
            raise ValueError("'questions_per_chunk' and 'pseudo_queries_per_chunk' are both 0: nothing to generate")
        return self


class FinetuneSpec(Strict):
    """One training run; its name becomes the name of the model spec that it emits."""

    name: Name
    kind: Literal["bi-encoder", "cross-encoder"]
    base: Name
    epochs: Annotated[float, Field(gt=0, le=100)] = 1.0
    batch_size: Positive = 64
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-5
    warmup_ratio: Share = 0.1
    max_length: Positive = 160
    hard_negatives: Annotated[int, Field(ge=0, le=16)] = 0
    mini_batch_size: Positive = 64
    max_pairs: Positive | None = None


class BenchmarkSpec(Strict):
    """`benchmark.yaml`: everything that `domainbench run` does, in order."""

    domains: Annotated[list[Name], Field(min_length=1)]
    seed: Annotated[int, Field(ge=0)] = 0
    generate: GenerateSpec | None = None
    finetune: list[FinetuneSpec] = []
    baseline: Name
    models: Annotated[list[Name], Field(min_length=1)]
    main_metric: str = "ndcg@10"
    top_k: Annotated[int, Field(ge=10, le=1000)] = 100
    permutations: Annotated[int, Field(ge=1000)] = 20_000
    bootstrap: Annotated[int, Field(ge=1000)] = 10_000
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for what, names in (
            ("domains", self.domains),
            ("models", self.models),
            ("finetune", [run.name for run in self.finetune]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"'{what}' lists {', '.join(twice)} twice")
        if self.finetune and self.generate is None:
            raise ValueError("'finetune' needs 'generate' (the data to train on)")
        return self

    @property
    def compared(self) -> tuple[str, ...]:
        """The baseline first, then every other model, in the file's order."""
        return (self.baseline, *(name for name in self.models if name != self.baseline))


# --- reading --------------------------------------------------------------------------------------------------------

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
