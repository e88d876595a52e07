"""`model_specs/<name>.yaml`: one way to rank passages."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from benchmark.specs.base import Name, Positive, Share, Strict
from benchmark.specs.llm import Budget

SOURCES = ("hub", "path", "package", "api", "bm25", "hybrid", "retriever", "truncate_dim", "adapter")


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


class ApiSettings(Strict):
    """OpenAI-compatible embeddings; `api_key_env` holds the NAME of an environment variable, never a key.

    Attributes:
        dimensions: Asked of models that can shorten their vectors.
        batch_size: Texts in one request.
        concurrency: Requests under way at once, at most.
        timeout: Seconds for one try.
        deadline: Seconds for one request with all its tries.
    """

    base_url: Annotated[str, Field(pattern=r"^https?://[^/?#]")]
    model: str
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    dimensions: Positive | None = None
    batch_size: Annotated[int, Field(gt=0, le=2048)] = 64
    concurrency: Annotated[int, Field(gt=0, le=512)] = 8
    timeout: Annotated[float, Field(gt=0)] = 60.0
    deadline: Annotated[float, Field(gt=0)] = 600.0
    retries: Annotated[int, Field(ge=0, le=20)] = 5
    usd_per_million_input: Annotated[float, Field(ge=0)] | None = None
    budget: Budget | None = None


class ModelSpec(Strict):
    """One way to rank passages, from exactly one source.

    `hub:` with `revision:`, `path:` (relative to the project) and `package:` (`import_name/folder`: weights that an
    installed Python package carries) are models; `api:` asks an endpoint for vectors; `bm25:` is lexical;
    `hybrid: [a, b]` fuses two specs; `retriever:` with `reranker:` is a pipeline of two stages, whose second's scores
    replace the first's or, with `weights:` (first stage, reranker), are added to them; `base:` with `truncate_dim:` cuts a Matryoshka
    model's vectors, `base:` with `adapter:` (a folder relative to the project) multiplies a model's vectors with
    trained matrices; prompts and length are then the base's.
    """

    description: str = ""
    hub: str | None = None
    revision: str | None = None
    path: str | None = None
    package: str | None = None
    api: ApiSettings | None = None
    bm25: BM25Settings | None = None
    hybrid: Annotated[list[Name], Field(min_length=2, max_length=2)] | None = None
    weights: Annotated[list[Share], Field(min_length=2, max_length=2)] | None = None
    retriever: Name | None = None
    reranker: Name | None = None
    depth: Annotated[int, Field(gt=0, le=1000)] = 50
    base: Name | None = None
    truncate_dim: Positive | None = None
    adapter: str | None = None
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
        partners = {"reranker": "retriever", "revision": "hub"}
        for key, owner in partners.items():
            if getattr(self, key) is not None and getattr(self, owner) is None:
                raise ValueError(f"'{key}' goes with '{owner}'")
        if (self.retriever is None) != (self.reranker is None):
            raise ValueError("'retriever' goes with 'reranker'")
        if self.weights is not None and self.source not in {"hybrid", "retriever"}:
            raise ValueError("'weights' goes with 'hybrid' or with 'retriever' and 'reranker'")
        self._check_base()
        if self.weights is not None and sum(self.weights) == 0:
            raise ValueError("'weights' are both 0")
        if self.hub is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", self.hub):
            raise ValueError(f"'hub' is {self.hub!r}, an id like organisation/model is expected")
        pinned = self.revision is not None and re.fullmatch(r"[0-9a-f]{40}", self.revision) is not None
        if self.trust_remote_code and not (self.hub is not None and pinned):
            raise ValueError("trust_remote_code needs 'hub' and a 'revision' of 40 hex digits (a commit)")
        return self

    def _check_base(self) -> None:
        owners = [name for name in ("truncate_dim", "adapter") if getattr(self, name) is not None]
        if self.base is not None and not owners:
            raise ValueError("'base' goes with 'truncate_dim' or 'adapter'")
        if self.base is None and owners:
            raise ValueError(f"'{owners[0]}' goes with 'base'")
        if self.adapter is None:
            return
        if self.kind != "bi-encoder":
            raise ValueError(f"'adapter' goes with a bi-encoder, not with kind: {self.kind}")
        given = [name for name in ("prompts", "max_length") if name in self.model_fields_set]
        if given:
            raise ValueError(f"'{given[0]}' is the base's where there is an 'adapter'; write it in the base's spec")

    @property
    def source(self) -> str:
        """The name of the one source that is given."""
        return next(name for name in SOURCES if getattr(self, name) is not None)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the specs that this one is composed of."""
        names = [*(self.hybrid or []), self.retriever, self.reranker, self.base]
        return tuple(name for name in names if name is not None)
