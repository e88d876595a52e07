"""`generate:` in benchmark.yaml: where passages come from, what is asked about them, what is kept."""

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from benchmark.specs.base import Commit, Name, Positive, Share, Strict
from benchmark.specs.llm import LLMSpec

QuestionType = Literal["question", "keywords", "jargon", "colloquial", "comparison", "edge"]
Difficulty = Literal["easy", "medium", "hard"]
PseudoKind = Literal["heading", "acronym", "sentence", "span", "lexical"]
Rule = Literal[
    "length", "language", "deictic", "repetition", "copied_span", "duplicate", "leak", "round_trip", "near_duplicate",
    "cross_encoder", "judge",
]  # fmt: skip
"""The filters, in the order in which they are asked."""
RULES: tuple[Rule, ...] = Rule.__args__  # type: ignore[attr-defined]
Weight = Annotated[float, Field(ge=0)]


def _some_weight(weights: Iterable[float], name: str) -> None:
    if not any(weights):
        raise ValueError(f"'{name}' has no weight above 0")


class DatasetSource(Strict):
    """A column of a data set: a Hub repository with a pinned revision, or a file or folder of the project.

    `columns: rag` reads the seven columns of argilla's synthetic-data-generator (context, question, response,
    positive_retrieval, negative_retrieval, positive_reranking, negative_reranking): each context is a passage, and
    its question a training query.
    """

    hub: Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")] | None = None
    revision: Commit | None = None
    path: str | None = None
    config: str | None = None
    split: str = "train"
    columns: Literal["text", "rag"] = "text"
    text: str = "text"
    title: str | None = None
    max_rows: Positive | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.hub is None) == (self.path is None):
            raise ValueError("exactly one of 'hub' and 'path' is needed")
        if (self.hub is None) != (self.revision is None):
            raise ValueError("'hub' needs a 'revision' (a commit of 40 hex digits), and 'revision' a 'hub'")
        return self


class PromptSource(Strict):
    """Passages that the language model writes from a description of the domain."""

    description: Annotated[str, Field(min_length=20)]
    passages: Annotated[int, Field(gt=0, le=100_000)] = 100
    words: Annotated[int, Field(ge=40, le=400)] = 150


class Source(Strict):
    """Other passages than the domain's own documents to make training data from."""

    dataset: DatasetSource | None = None
    prompt: PromptSource | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.dataset is None) == (self.prompt is None):
            raise ValueError("exactly one of 'dataset' and 'prompt' is needed")
        return self


class Mix(Strict):
    """What is asked: weights of question types, personas and difficulties; they are drawn independently.

    Without `personas` those of prompts/personas.txt are taken, with equal weights.
    """

    types: dict[QuestionType, Weight] = {
        "question": 3, "keywords": 2, "jargon": 2, "colloquial": 2, "comparison": 1, "edge": 2,
    }  # fmt: skip
    personas: dict[str, Weight] = {}
    difficulty: dict[Difficulty, Weight] = {"easy": 1, "medium": 2, "hard": 1}

    @model_validator(mode="after")
    def _weights(self) -> Self:
        _some_weight(self.types.values(), "types")
        _some_weight(self.difficulty.values(), "difficulty")
        if self.personas:
            _some_weight(self.personas.values(), "personas")
        return self


class Pseudo(Strict):
    """Queries cut from the text, which need no language model; a share of them begins with the document's title."""

    per_chunk: Annotated[int, Field(ge=0, le=20)] = 4
    kinds: Annotated[list[PseudoKind], Field(min_length=1)] = ["heading", "acronym", "sentence", "span"]
    title_share: Share = 0.5


class CrossEncoderFilter(Strict):
    """Keep the best-scored share of the questions (InPars-v2, arXiv 2301.01820)."""

    model: Name
    keep: Annotated[float, Field(gt=0, le=1)] = 0.8


class JudgeFilter(Strict):
    """A language model that grades each written question; the generator's own where no other is named."""

    llm: LLMSpec | None = None
    minimum: Annotated[int, Field(ge=1, le=10)] = 7

    @model_validator(mode="after")
    def _instructed(self) -> Self:
        if self.llm is not None and not self.llm.instructed:
            raise ValueError(
                "a judge must follow instructions: use an endpoint, or a local model with style: instructed"
            )
        return self


class Filters(Strict):
    """What is dropped; `off` names rules to leave out (an ablation), or `all` but the leak check."""

    off: list[Rule] | Literal["all"] = []
    round_trip_k: Annotated[int, Field(gt=0)] = 3
    near_duplicate: Share = 0.9
    leak_similarity: Share = 0.9
    cross_encoder: CrossEncoderFilter | None = None
    judge: JudgeFilter | None = None

    def on(self, rule: Rule) -> bool:
        """Whether a rule is asked."""
        return rule == "leak" if self.off == "all" else rule not in self.off


class Relabel(Strict):
    """Have a language model read the most similar negatives, those from `grey` times the positive's score upwards."""

    llm: LLMSpec | None = None
    grey: Share = 0.85


class Negatives(Strict):
    """Hard negatives: how many, out of how many, found by whom, and how close to the positive they may come.

    Attributes:
        margin: At most so much of the positive's similarity to the query (NV-Retriever, arXiv 2407.15831).
        near_duplicate: A passage whose cosine to the positive is at least this is no negative.
        lexical_share: Share of the negatives that BM25 finds, with `miner: both`.
        cross_encoder: A model spec whose scores set the margin in place of the cosine.
        relabel: A language model reads the closest ones and takes those away that answer the query.
    """

    count: Annotated[int, Field(ge=1, le=32)] = 4
    pool: Annotated[int, Field(ge=1, le=1000)] = 30
    margin: Share = 0.95
    near_duplicate: Share = 0.9
    miner: Literal["both", "dense", "bm25"] = "both"
    lexical_share: Share = 0.25
    cross_encoder: Name | None = None
    relabel: Relabel | None = None


class PairScores(Strict):
    """Who scores the pairs for the cross-encoder."""

    teacher: Literal["bi-encoder", "bm25", "cross-encoder", "llm"] = "bi-encoder"
    model: Name | None = None
    llm: LLMSpec | None = None

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if (self.teacher == "cross-encoder") != (self.model is not None):
            raise ValueError("'model' (a model spec) goes with teacher: cross-encoder")
        if self.llm is not None and self.teacher != "llm":
            raise ValueError("'llm' goes with teacher: llm")
        return self


class GenerateSpec(Strict):
    """Synthetic data: from which passages, how many queries of which kind, which filters, which negatives.

    Attributes:
        llm: Who writes questions; not needed where `questions_per_chunk` is 0.
        source: Other passages than the domain's own chunks.
        questions_per_chunk: Questions that the language model writes about each passage.
        question_chunks: Write them about so many passages at most, drawn at random; a large corpus needs no more.
        examples: A JSON Lines file of sample questions (relative to the domain's folder) that the language model is
            shown; never test questions.
        prompts: A folder of edited prompts (relative to the project); what it does not hold is taken from the package.
        exclude_test_evidence: Ask nothing about the passages that answer the test questions.
        rag_columns: Who fills the negative and reranking columns of rag.parquet: mined ones, or the language model.
        retriever: A bi-encoder's spec, for the round trip and the negatives.
    """

    llm: LLMSpec | None = None
    source: Source | None = None
    questions_per_chunk: Annotated[int, Field(ge=0, le=20)] = 3
    question_chunks: Positive | None = None
    mix: Mix = Mix()
    examples: str | None = None
    prompts: str | None = None
    pseudo: Pseudo = Pseudo()
    exclude_test_evidence: bool = False
    rag_columns: Literal["mined", "written"] = "mined"
    retriever: Name
    filters: Filters = Filters()
    negatives: Negatives = Negatives()
    pair_scores: PairScores = PairScores()
    development_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.12

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        imported = self.source is not None and self.source.dataset is not None and self.source.dataset.columns == "rag"
        if not self.questions_per_chunk and not self.pseudo.per_chunk and not imported:
            raise ValueError("'questions_per_chunk' and 'pseudo.per_chunk' are both 0: nothing to generate")
        if self.exclude_test_evidence and self.source is not None:
            raise ValueError(
                "'exclude_test_evidence' goes by the domain's own passages and can do nothing with a 'source'"
            )
        if self.questions_per_chunk and self.llm is None:
            raise ValueError("'questions_per_chunk' needs an 'llm' (or set it to 0)")
        of_source = self.source is not None and self.source.prompt is not None
        judge, relabel, pairs = self.filters.judge, self.negatives.relabel, self.pair_scores
        wanting = (
            ("source.prompt", of_source, self.llm),
            ("rag_columns: written", self.rag_columns == "written", self.llm),
            ("filters.judge", judge is not None, judge.llm if judge and judge.llm else self.llm),
            ("negatives.relabel", relabel is not None, relabel.llm if relabel and relabel.llm else self.llm),
            ("pair_scores.teacher: llm", pairs.teacher == "llm", pairs.llm or self.llm),
        )
        for what, wanted, llm in wanting:
            if wanted and (llm is None or not llm.instructed):
                raise ValueError(
                    f"'{what}' needs an 'llm' that follows instructions: an endpoint, or a local model with "
                    "style: instructed"
                )
        return self
