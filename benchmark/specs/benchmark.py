"""`benchmark.yaml`: everything that `domainbench run` does, in order."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from benchmark.specs.base import Name, Positive, Share, Strict
from benchmark.specs.generate import GenerateSpec


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
