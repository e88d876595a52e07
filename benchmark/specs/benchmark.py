"""`benchmark.yaml`: everything that `domainbench run` does, in order."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from benchmark.specs.answers import AnswersSpec
from benchmark.specs.base import Name, Strict
from benchmark.specs.finetune import FinetuneSpec
from benchmark.specs.generate import GenerateSpec


class BenchmarkSpec(Strict):
    """`benchmark.yaml`: everything that `domainbench run` does, in order.

    Attributes:
        general: Domains of everyday knowledge on which no model should lose; the baseline's score there is the yardstick.
        added: Whether model specs that say `compare: true` take part without being named under `models`.
        answers: What a language model answers with each pipeline's passages; nothing by default.
        margin: What of nDCG@10 a model may lose on them before it counts as forgetting.
    """

    domains: Annotated[list[Name], Field(min_length=1)]
    seed: Annotated[int, Field(ge=0)] = 0
    generate: GenerateSpec | None = None
    finetune: list[FinetuneSpec] = []
    general: list[Name] = []
    baseline: Name
    models: Annotated[list[Name], Field(min_length=1)]
    added: bool = True
    main_metric: str = "ndcg@10"
    top_k: Annotated[int, Field(ge=10, le=1000)] = 100
    permutations: Annotated[int, Field(ge=1000)] = 20_000
    bootstrap: Annotated[int, Field(ge=1000)] = 10_000
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.02
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    answers: AnswersSpec | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for what, names in (
            ("domains", self.domains),
            ("models", self.models),
            ("finetune", [name for run in self.finetune for name in run.emits]),
            ("general", self.general),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"'{what}' lists {', '.join(twice)} twice")
        if self.finetune and self.generate is None:
            raise ValueError("'finetune' needs 'generate' (the data to train on)")
        both = sorted(set(self.domains) & set(self.general))
        if both:
            raise ValueError(f"'general' lists {', '.join(both)}, which stands under 'domains' as well")
        return self

    @property
    def trains_by_default(self) -> bool:
        """Whether the file says nothing about training, which is something else than an empty list."""
        return "finetune" not in self.model_fields_set

    @property
    def compared(self) -> tuple[str, ...]:
        """The baseline first, then every other model, in the file's order."""
        return (self.baseline, *(name for name in self.models if name != self.baseline))

    @property
    def answering(self) -> tuple[str, ...]:
        """The pipelines whose passages are answered from, the baseline first; pipeline A, B, C... in this order."""
        chosen = self.answers.pipelines if self.answers is not None else []
        return (self.baseline, *(name for name in self.compared[1:] if not chosen or name in chosen))
