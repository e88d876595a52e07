"""`finetune:` in benchmark.yaml: training runs, each of its kind, and sweeps over their settings."""

import itertools
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from benchmark.specs.base import Name, Positive, Share, Strict

Rate = Annotated[float, Field(gt=0, lt=1)]
Epochs = Annotated[float, Field(gt=0, le=100)]
BiEncoderLoss = Literal["mnrl", "gist", "triplet", "margin-mse", "kl"]
CrossEncoderLoss = Literal["bce", "mse", "lambda"]


class Sweep(Strict):
    """Several settings of one run compared on the development split; the best one becomes the model.

    Attributes:
        minutes: What the sweep may take; combinations that do not fit in are left out, and told.
        grid: Setting -> values; every combination is a trial, the run as it stands the first of them.
    """

    minutes: Annotated[float, Field(gt=0)]
    grid: Annotated[dict[str, Annotated[list[Any], Field(min_length=1)]], Field(min_length=1)]


class Run(Strict):
    """What every training run has; its name becomes the name of the model spec that it emits.

    Attributes:
        base: The model spec that training starts from.
        max_pairs: At most so many training rows, drawn at random; all by default.
        sweep: Settings to compare before the model is made.
    """

    name: Name
    base: Name
    max_pairs: Positive | None = None
    sweep: Sweep | None = None

    @property
    def effective(self) -> dict[str, Any]:
        """Every setting but the sweep, as JSON values."""
        return self.model_dump(mode="json", exclude={"sweep"})

    @property
    def emits(self) -> tuple[str, ...]:
        """Names of the model specs that the run writes."""
        return (self.name,)

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the model specs that must be there before it."""
        return (self.base,)

    def trials(self) -> list[Self]:
        """The run as it stands and with every other combination of the sweep's settings.

        Raises:
            ValueError: A setting that the run does not have, or a value that it cannot take.
        """
        if self.sweep is None:
            return [self]
        grid = self.sweep.grid
        known = set(self.effective) - {"name", "kind", "base"}
        unknown = sorted(set(grid) - known)
        if unknown:
            raise ValueError(f"'sweep' names {', '.join(unknown)}; this kind of run has {', '.join(sorted(known))}")
        plain = {**self.model_dump(exclude_unset=True, exclude={"sweep"}), "sweep": None}
        found = [self.model_copy(update={"sweep": None})]
        for values in itertools.product(*grid.values()):
            settings = dict(zip(grid, values, strict=True))
            try:
                trial = type(self).model_validate({**plain, **settings})
            except ValidationError as error:
                said = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise ValueError(f"'sweep' with {settings}: {said}") from None
            if trial.effective not in [known.effective for known in found]:
                found.append(trial)
        return found

    @model_validator(mode="after")
    def _sweepable(self) -> Self:
        self.trials()
        return self


class AdapterSettings(Strict):
    """A linear adapter: matrices over vectors that stay as they are.

    Attributes:
        sides: `query`: one matrix, the documents' vectors stay untouched; `both`: one for each side.
        epochs: At most; 30, or 40 for both sides. The best one on the development split is kept.
        learning_rate: AdamW's; 3e-4, or 2e-4 for both sides.
        batch_size: Queries in a step; the candidates are always the whole corpus.
        scale: What cosine similarities are multiplied with (InfoNCE's inverse temperature).
        shrinkage: Weight of the penalty on the distance from the identity.
        lexical: Share of the target that is a ranking by BM25 and the base together (SPAR, Chen et al.,
            arXiv 2110.06918), for queries that were cut from the text; a third of it for written ones. The rest is
            the query's own passage; 0 is InfoNCE.
    """

    sides: Literal["query", "both"] = "query"
    epochs: Annotated[int, Field(gt=0, le=1000)] = 30
    learning_rate: Rate = 3e-4
    batch_size: Positive = 256
    scale: Annotated[float, Field(gt=0, le=1000)] = 20.0
    shrinkage: Annotated[float, Field(ge=0)] = 1.0
    lexical: Share = 0.75

    @model_validator(mode="before")
    @classmethod
    def _by_sides(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("sides") == "both":
            return {"epochs": 40, "learning_rate": 2e-4, **given}
        return given


class AdapterRun(AdapterSettings, Run):
    """A linear adapter: seconds, without a GPU, and the corpus is not encoded again."""

    kind: Literal["adapter"] = "adapter"


class Lora(Strict):
    """Low-rank adaptation (Hu et al., arXiv 2106.09685) by peft; merged into the weights when they are saved.

    Attributes:
        r: Rank.
        alpha: Numerator of the scaling alpha / r.
        dropout: On the low-rank path.
        targets: Names of the layers, or `all-linear`.
    """

    r: Positive = 16
    alpha: Positive = 32
    dropout: Share = 0.0
    targets: Literal["all-linear"] | Annotated[list[str], Field(min_length=1)] = "all-linear"


class WeightsRun(Run):
    """What runs that change a transformer's weights have in common.

    Attributes:
        batch_size: Rows in a step, over all GPUs together.
        mini_batch_size: Rows in memory at once; a larger batch is gone through in parts.
        warmup_ratio: Share of the steps in which the rate rises.
        max_length: Tokens that training reads; longer texts are cut, and less is used where the data are shorter.
        hard_negatives: Mined negatives a query.
        gradient_checkpointing: Compute activations twice in place of keeping them.
        lora: Train low-rank updates in place of all weights.
    """

    epochs: Epochs = 1.0
    batch_size: Positive = 64
    learning_rate: Rate = 2e-5
    warmup_ratio: Share = 0.1
    max_length: Positive = 160
    hard_negatives: Annotated[int, Field(ge=0, le=32)] = 0
    mini_batch_size: Positive = 64
    gradient_checkpointing: bool = False
    lora: Lora | None = None


class BiEncoderRun(WeightsRun):
    """All weights of an encoder, or low-rank updates of them.

    Attributes:
        loss: `mnrl` (multiple negatives ranking, InfoNCE), `gist` (the same without what a guide takes for false
            negatives), `triplet`, `margin-mse` or `kl` (distillation of a teacher's scores).
        scale: What cosine similarities are multiplied with, which is the inverse temperature; not in `triplet`.
        guide: A bi-encoder's spec for `gist`; the base by default.
        teacher: For `margin-mse` and `kl`: a cross-encoder's spec, or any other, whose scores are learnt; without it
            the scores that the generate stage kept with its pairs.
        matryoshka: Dimensions at which the loss is computed as well (Kusupati et al., arXiv 2205.13147).
        mix: Shares of the tuned weights in the mixtures with the base that are compared; none if empty.
    """

    kind: Literal["bi-encoder"] = "bi-encoder"
    loss: BiEncoderLoss = "mnrl"
    scale: Annotated[float, Field(gt=0, le=1000)] = 20.0
    guide: Name | None = None
    teacher: Name | None = None
    matryoshka: list[Positive] = []
    mix: list[Annotated[float, Field(gt=0, lt=1)]] = [0.75, 0.5, 0.25]

    @model_validator(mode="after")
    def _of_its_loss(self) -> Self:
        if self.guide is not None and self.loss != "gist":
            raise ValueError(f"'guide' goes with loss: gist, not with loss: {self.loss}")
        if self.teacher is not None and self.loss not in {"margin-mse", "kl"}:
            raise ValueError(f"'teacher' goes with loss: margin-mse or kl, not with loss: {self.loss}")
        if self.loss in {"triplet", "margin-mse", "kl"} and self.hard_negatives == 0:
            raise ValueError(f"loss: {self.loss} needs 'hard_negatives' of 1 or more")
        if len(set(self.mix)) < len(self.mix) or len(set(self.matryoshka)) < len(self.matryoshka):
            raise ValueError("'mix' or 'matryoshka' lists a value twice")
        return self

    @property
    def effective(self) -> dict[str, Any]:
        """Every setting of the training itself: other mixtures train nothing anew."""
        return self.model_dump(mode="json", exclude={"sweep", "mix"})

    @property
    def emits(self) -> tuple[str, ...]:
        """The tuned model, and its mixture with the base."""
        return (self.name, *([f"{self.name}-mixed"] if self.mix else []))

    @property
    def needs(self) -> tuple[str, ...]:
        """The base, and whose judgement the loss needs."""
        return tuple(name for name in (self.base, self.guide, self.teacher) if name is not None)


class CrossEncoderRun(WeightsRun):
    """A reranker.

    Attributes:
        loss: `bce` on labels, `mse` on the scores that the generate stage kept, `lambda` (LambdaLoss on labels).
        pos_weight: Of relevant pairs in `bce`; by default the number of irrelevant pairs for each relevant one.
        first_stage: The model spec that the reranker will follow: its best hits are the negatives and what the
            development split reranks; without it those that the generate stage mined.
        depth: How many hits of the first stage are reranked.
        patience: Looks at the development split without a better one after which training stops.
    """

    kind: Literal["cross-encoder"] = "cross-encoder"
    loss: CrossEncoderLoss = "bce"
    pos_weight: Annotated[float, Field(gt=0)] | None = None
    first_stage: Name | None = None
    depth: Annotated[int, Field(gt=1, le=1000)] = 50
    patience: Positive = 3

    @model_validator(mode="after")
    def _of_its_loss(self) -> Self:
        if self.pos_weight is not None and self.loss != "bce":
            raise ValueError(f"'pos_weight' goes with loss: bce, not with loss: {self.loss}")
        if self.loss == "mse" and self.first_stage is not None:
            raise ValueError(
                "loss: mse learns the scores that the generate stage kept; it has none for a 'first_stage'"
            )
        return self

    @property
    def emits(self) -> tuple[str, ...]:
        """The reranker, and the pipeline that fuses it with its first stage."""
        return (self.name, *([f"{self.name}-fused"] if self.first_stage else []))

    @property
    def needs(self) -> tuple[str, ...]:
        """The base and the first stage."""
        return tuple(name for name in (self.base, self.first_stage) if name is not None)


class HybridRun(Strict):
    """Two one-stage specs fused, the weight learnt on the development split; nothing else is trained."""

    kind: Literal["hybrid"] = "hybrid"
    name: Name
    sides: Annotated[list[Name], Field(min_length=2, max_length=2)]

    @property
    def effective(self) -> dict[str, Any]:
        """Every setting, as JSON values."""
        return self.model_dump(mode="json")

    @property
    def emits(self) -> tuple[str, ...]:
        """The hybrid."""
        return (self.name,)

    @property
    def needs(self) -> tuple[str, ...]:
        """Its sides."""
        return tuple(self.sides)


FinetuneSpec = Annotated[AdapterRun | BiEncoderRun | CrossEncoderRun | HybridRun, Field(discriminator="kind")]
"""An entry of `finetune:`."""
