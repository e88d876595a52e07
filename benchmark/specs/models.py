"""`model_specs/<name>.yaml`: one way to rank passages."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from benchmark.specs.base import Name, Positive, Share, Strict
from benchmark.specs.llm import Budget, Remote

Kind = Literal["bi-encoder", "cross-encoder", "sparse", "late-interaction"]
"""What a model makes of texts: a vector each, a score of a pair, weights of the vocabulary's words, a vector a token."""
SOURCES = ("hub", "path", "package", "api", "bm25", "hybrid", "retriever", "truncate_dim", "adapter", "quantize")
Backend = Literal["torch", "onnx", "openvino"]
"""What runs a model's weights."""
Precision = Literal["float32", "int8"]
"""In what a model's weights and its layers' inputs are multiplied."""
Quantization = Literal["int8", "binary"]
"""In what vectors are searched: an integer of 8 bits, or a bit, for each dimension."""
_WITH_WEIGHTS = ("hub", "path", "package")
_ON_BASE = ("truncate_dim", "adapter", "quantize")


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


class ApiSettings(Remote):
    """Embeddings of an OpenAI-compatible API.

    Attributes:
        dimensions: Asked of models that can shorten their vectors.
        batch_size: Texts in one request, at most; the client lowers it by itself where the endpoint takes fewer.
        budget: What may be spent on them in this project, over all runs.
    """

    dimensions: Positive | None = None
    batch_size: Annotated[int, Field(gt=0, le=2048)] = 64
    budget: Budget | None = None

    @model_validator(mode="after")
    def _known_price(self) -> Self:
        if self.budget is not None and self.budget.usd is not None and self.usd_per_million_input is None:
            raise ValueError("'budget.usd' needs 'usd_per_million_input'")
        return self

    @property
    def identity(self) -> dict[str, str | int | None]:
        """What decides the vectors, beside the texts; free of secrets."""
        return {"base_url": self.base_url.rstrip("/"), "model": self.model, "dimensions": self.dimensions}


class ModelSpec(Strict):
    """One way to rank passages, from exactly one source.

    `hub:` with `revision:`, `path:` (relative to the project) and `package:` (`import_name/folder`: weights that an
    installed Python package carries) are models; `api:` asks an endpoint for vectors; `bm25:` is lexical;
    `hybrid: [a, b]` fuses two specs; `retriever:` with `reranker:` is a pipeline of two stages, whose second's scores
    replace the first's or, with `weights:` (first stage, reranker), are added to them; `base:` with `truncate_dim:` cuts a Matryoshka
    model's vectors, `base:` with `adapter:` (a folder relative to the project) multiplies a model's vectors with
    trained matrices, `base:` with `quantize:` searches them as integers or bits and gives the best `rescore:` times ten
    their full vectors' scores; prompts and length are then the base's. `backend` runs weights by another library than
    torch, with `precision: int8` in integers. `trust_remote_code` lets a model run code of its own,
    pinned by a commit (`hub:`) or by `code_hash:`, sha256 over the Python files of its folder (`path:`). `pickled`
    takes weights from pickled files where there are no others (`hub:`, pinned by a commit as well; read by torch's
    restricted unpickler). `compare` makes it take part in every benchmark file of the project that does not say
    `added: false`, without being named there; `domainbench add` writes it.
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
    quantize: Quantization | None = None
    rescore: Annotated[int, Field(ge=0, le=1000)] = 4
    kind: Kind = "bi-encoder"
    backend: Backend = "torch"
    precision: Precision = "float32"
    prompts: Prompts = Prompts()
    max_length: Positive | None = None
    trust_remote_code: bool = False
    code_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    pickled: bool = False
    compare: bool = False
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
        self._check_backend()
        self._check_api()
        if self.weights is not None and sum(self.weights) == 0:
            raise ValueError("'weights' are both 0")
        if self.hub is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", self.hub):
            raise ValueError(f"'hub' is {self.hub!r}, an id like organisation/model is expected")
        self._check_code()
        return self

    def _check_code(self) -> None:
        if self.code_hash is not None and (self.path is None or not self.trust_remote_code):
            raise ValueError("'code_hash' goes with 'path' and 'trust_remote_code: true'")
        pinned = self.hub is not None and re.fullmatch(r"[0-9a-f]{40}", self.revision or "") is not None
        if self.pickled and not pinned:
            raise ValueError("'pickled' needs 'hub' and a 'revision' of 40 hex digits (a commit)")
        if self.trust_remote_code and not pinned and self.code_hash is None:
            raise ValueError(
                "trust_remote_code needs 'hub' and a 'revision' of 40 hex digits (a commit), or 'path' and a "
                "'code_hash' (sha256 of the folder's *.py files)"
            )

    def _check_base(self) -> None:
        owners = [name for name in _ON_BASE if getattr(self, name) is not None]
        if self.base is not None and not owners:
            raise ValueError("'base' goes with 'truncate_dim', 'adapter' or 'quantize'")
        if self.base is None and owners:
            raise ValueError(f"'{owners[0]}' goes with 'base'")
        if "rescore" in self.model_fields_set and self.quantize is None:
            raise ValueError("'rescore' goes with 'quantize'")
        if self.adapter is None and self.quantize is None:
            return
        if self.kind != "bi-encoder":
            raise ValueError(f"'{owners[0]}' goes with a bi-encoder, not with kind: {self.kind}")
        given = [name for name in ("prompts", "max_length") if name in self.model_fields_set]
        if given:
            article = "an" if owners[0] == "adapter" else "a"
            raise ValueError(
                f"'{given[0]}' is the base's where there is {article} '{owners[0]}'; write it in the base's spec"
            )

    def _check_backend(self) -> None:
        if self.precision != "float32" and self.backend == "torch":
            raise ValueError(f"'precision: {self.precision}' needs 'backend: onnx' or 'backend: openvino'")
        if self.backend == "torch":
            return
        if self.source not in _WITH_WEIGHTS:
            raise ValueError(f"'backend' goes with {', '.join(_WITH_WEIGHTS)}, not with '{self.source}'")
        if self.kind not in ("bi-encoder", "cross-encoder"):
            raise ValueError(
                f"'backend: {self.backend}' goes with a bi-encoder or a cross-encoder, not with kind: {self.kind}"
            )

    def _check_api(self) -> None:
        if self.api is None:
            return
        if self.kind != "bi-encoder":
            raise ValueError(f"'api' gives vectors, so it goes with a bi-encoder, not with kind: {self.kind}")
        if self.max_length is not None:
            raise ValueError(
                "'max_length' cannot be asked of an 'api'; 'max_tokens' of the domain's chunking keeps texts short"
            )
        asked = self.api.dimensions
        if asked is not None and self.dimensions is not None and asked != self.dimensions:
            raise ValueError(f"'dimensions' is {self.dimensions}, 'api.dimensions' {asked}")

    @property
    def source(self) -> str:
        """The name of the one source that is given."""
        return next(name for name in SOURCES if getattr(self, name) is not None)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the specs that this one is composed of."""
        names = [*(self.hybrid or []), self.retriever, self.reranker, self.base]
        return tuple(name for name in names if name is not None)
