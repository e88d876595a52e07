"""`answers:` in benchmark.yaml: what is asked of a language model with the passages of each pipeline, and who judges it."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from benchmark.specs.base import Name, Positive, Strict
from benchmark.specs.llm import LLMSpec


class JudgeSpec(Strict):
    """Who judges answers, and how.

    Attributes:
        llm: The judge; without it the model that answers judges itself, and a warning says so.
        repeats: How often each answer is judged; the spread over them is told.
        pairwise: Whether each pipeline's answer is compared with the baseline's, in both orders.
    """

    llm: LLMSpec | None = None
    repeats: Annotated[int, Field(gt=0, le=20)] = 1
    pairwise: bool = True


class AnswersSpec(Strict):
    """The same questions, put to the same language model with the passages of each pipeline.

    Attributes:
        llm: The language model.
        pipelines: Model specs whose passages are handed over, the baseline always among them; all compared ones by
            default.
        top_k: Passages of each pipeline, best first.
        max_characters: Of each passage; longer ones are cut.
        questions: At most so many answerable questions, drawn by the seed (the unanswerable ones in proportion); all
            by default.
        prompts: A folder of edited prompts (relative to the project); what it does not hold is taken from the package.
        judge: Who judges; without it only the metrics that need no language model are computed.
    """

    llm: LLMSpec
    pipelines: list[Name] = []
    top_k: Annotated[int, Field(gt=0, le=100)] = 5
    max_characters: Annotated[int, Field(ge=100)] = 4000
    questions: Positive | None = None
    prompts: str | None = None
    judge: JudgeSpec | None = None

    @model_validator(mode="after")
    def _names(self) -> Self:
        twice = sorted({name for name in self.pipelines if self.pipelines.count(name) > 1})
        if twice:
            raise ValueError(f"'pipelines' lists {', '.join(twice)} twice")
        return self
