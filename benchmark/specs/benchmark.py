"""`benchmark.yaml`: everything that `domainbench run` does, in order."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from benchmark.specs.base import Name, Positive, Share, Strict
from benchmark.specs.generate import GenerateSpec


class AdapterSettings(Strict):
    """A linear adapter: matrices over vectors that stay as they are.

    Attributes:
        sides: `query`: one matrix, the documents' vectors stay untouched; `both`: one for each side.
        epochs: At most; 30, or 60 for both sides. The best one on the development split is kept.
        learning_rate: AdamW's; 3e-4, or 1e-4 for both sides.
        batch_size: Queries in a step; the candidates are always the whole corpus.
        scale: What cosine similarities are multiplied with (InfoNCE's inverse temperature).
        shrinkage: Weight of the penalty on the distance from the identity.
    """

    sides: Literal["query", "both"] = "query"
    epochs: Annotated[int, Field(gt=0, le=1000)] = 30
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 3e-4
    batch_size: Positive = 256
    scale: Annotated[float, Field(gt=0, le=1000)] = 20.0
    shrinkage: Annotated[float, Field(ge=0)] = 1.0

    @model_validator(mode="before")
    @classmethod
    def _by_sides(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("sides") == "both":
            return {"epochs": 60, "learning_rate": 1e-4, **given}
        return given


_OF_ADAPTERS: Final = frozenset({"name", "kind", "base", "max_pairs", "adapter"})
"""Keys of a training run that mean something for an adapter."""


class FinetuneSpec(Strict):
    """One training run; its name becomes the name of the model spec that it emits."""

    name: Name
    kind: Literal["adapter", "bi-encoder", "cross-encoder"]
    base: Name
    epochs: Annotated[float, Field(gt=0, le=100)] = 1.0
    batch_size: Positive = 64
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-5
    warmup_ratio: Share = 0.1
    max_length: Positive = 160
    hard_negatives: Annotated[int, Field(ge=0, le=16)] = 0
    mini_batch_size: Positive = 64
    max_pairs: Positive | None = None
    adapter: AdapterSettings | None = None

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        given = self.model_fields_set
        if self.kind != "adapter" and self.adapter is not None:
            raise ValueError(f"'adapter' goes with kind: adapter, not with kind: {self.kind}")
        foreign = [name for name in type(self).model_fields if name in given - _OF_ADAPTERS]
        if self.kind == "adapter" and foreign:
            raise ValueError(
                f"{', '.join(repr(name) for name in foreign)} cannot be set for kind: adapter; its own settings stand "
                f"under 'adapter': {', '.join(AdapterSettings.model_fields)}"
            )
        return self

    @property
    def linear(self) -> AdapterSettings:
        """The adapter's settings, or their defaults."""
        return self.adapter or AdapterSettings()

    @property
    def effective(self) -> dict[str, Any]:
        """The settings that mean something for this kind of run, as JSON values."""
        if self.kind == "adapter":
            common = self.model_dump(mode="json", include=set(_OF_ADAPTERS) - {"adapter"})
            return {**common, "adapter": self.linear.model_dump(mode="json")}
        return self.model_dump(mode="json", exclude={"adapter"})


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
