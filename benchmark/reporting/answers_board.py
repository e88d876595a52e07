"""What `answers.json` holds: scores of every question, and the statistics that follow from them."""

from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from benchmark.errors import BenchError
from benchmark.files import Json
from benchmark.specs import BenchmarkSpec
from benchmark.stats import Verdict

FORMAT: Final = "domainbench-answers/1"
PLAIN: Final = ("exact_match", "token_f1", "rouge_l", "answer_in_context", "citation_valid", "declined_rightly")
"""Metrics that need no language model."""
JUDGED: Final = ("faithfulness", "correctness", "relevance", "citation_precision", "citation_recall")
"""Metrics of a judge."""
LABELS: Final = {
    "exact_match": "exact match", "token_f1": "token F1", "rouge_l": "ROUGE-L",
    "answer_in_context": "answer in context", "citation_valid": "valid citations",
    "declined_rightly": "declined rightly", "faithfulness": "faithfulness", "correctness": "correctness",
    "relevance": "relevance", "citation_precision": "citation precision", "citation_recall": "citation recall",
}  # fmt: skip

Repeats = list[float | None] | None
"""One question's scores, one for each repeat, None where it failed; None in place of the list where the metric does
not apply to the question and its answer."""
Scores = dict[str, dict[str, list[Repeats]]]
"""Metric -> pipeline -> for each question, in their order."""


@dataclass(frozen=True)
class Settings:
    """What the statistics depend on beside the scores."""

    seed: int
    bootstrap: int
    permutations: int
    alpha: float

    @classmethod
    def of(cls, benchmark: BenchmarkSpec) -> Self:
        """Those of a benchmark file."""
        return cls(benchmark.seed, benchmark.bootstrap, benchmark.permutations, benchmark.alpha)


@dataclass(frozen=True)
class Question:
    """A question as far as the statistics need it."""

    id: str
    category: str
    answerable: bool


@dataclass(frozen=True)
class Mean:
    """One metric of one pipeline.

    Attributes:
        pipeline: The pipeline.
        metric: The metric.
        n_scored: Questions with a score; the mean is over these.
        n_failed: Questions to which the metric applies, but which have no score (in every repeat).
        mean: 0..1; None where nothing was scored.
        low: Lower end of its 95 % interval; None with fewer than two scores.
        high: Upper end.
        worst: The mean if every failed question had scored 0.
        best: The mean if every failed question had scored 1.
        spread: Highest minus lowest of the repeats' own means; None with one repeat.
        group: "answerable" or "unanswerable"; empty over all questions.
    """

    pipeline: str
    metric: str
    n_scored: int
    n_failed: int
    mean: float | None
    low: float | None
    high: float | None
    worst: float | None
    best: float | None
    spread: float | None
    group: str = ""


@dataclass(frozen=True)
class Comparison:
    """One pipeline against the baseline on one metric, over the questions that are scored for both.

    Attributes:
        pipeline: The pipeline.
        metric: The metric.
        n: Questions scored for both.
        left_out: Questions to which the metric applies for both, but which failed for one of them.
        difference: Mean of pipeline minus baseline; None where no question is scored for both.
        low: Lower end of its 95 % interval.
        high: Upper end.
        worst: The difference if what failed had scored 0 for the pipeline and 1 for the baseline.
        best: The difference if it had been the other way round.
        p: Of the paired sign-flip test; None where there is nothing to compare.
        corrected_p: After Holm's correction over the pipelines.
        verdict: better, worse or not shown.
        detectable: The true difference that would be found in 80 of 100 such sets of questions.
    """

    pipeline: str
    metric: str
    n: int
    left_out: int
    difference: float | None
    low: float | None
    high: float | None
    worst: float | None
    best: float | None
    p: float | None
    corrected_p: float | None
    verdict: Verdict
    detectable: float | None


@dataclass(frozen=True)
class Preference:
    """How often a pipeline's answer was preferred to the baseline's.

    Attributes:
        pipeline: The pipeline.
        n: Answerable questions.
        wins: Its answer was preferred in both orders.
        losses: The baseline's was.
        ties: Everything else that was judged, equal answers among them.
        failed: Pairs without a verdict.
        same: Ties of equal answers, or where both decline; nobody was asked.
        disagreed: Ties because the two orders did not agree.
        p: Of the two-sided sign test over wins and losses.
        corrected_p: After Holm's correction over the pipelines.
        verdict: better, worse or not shown.
    """

    pipeline: str
    n: int
    wins: int
    losses: int
    ties: int
    failed: int
    same: int
    disagreed: int
    p: float
    corrected_p: float
    verdict: Verdict


@dataclass(frozen=True)
class PairRow:
    """What was said of one pair: "first" is the baseline, "second" the pipeline, None a failure; see `judged/pairs.jsonl`."""

    question: str
    pipeline: str
    preferred: str | None
    orders: tuple[str | None, ...]


@dataclass(frozen=True)
class Answers:
    """Everything in `answers.json`.

    Attributes:
        domain: The domain's name.
        title: Its title.
        settings: What the statistics depend on.
        generator: The language model that answered.
        judge: The one that judged; None where nobody did.
        repeats: How often each answer was judged.
        notes: Warnings that do not follow from the scores.
        pipelines: The baseline first.
        questions: In the order of the scores.
        scores: The scores.
        pairs: What was preferred.
        means: Over all questions.
        groups: Over answerable and over unanswerable questions.
        comparisons: Each pipeline against the baseline.
        preferences: Likewise.
        warnings: What a reader must know before the figures: the notes, and what the figures say by themselves.
    """

    domain: str
    title: str
    settings: Settings
    generator: str
    judge: str | None
    repeats: int
    notes: tuple[str, ...]
    pipelines: tuple[str, ...]
    questions: tuple[Question, ...]
    scores: Scores
    pairs: tuple[PairRow, ...]
    means: tuple[Mean, ...] = ()
    groups: tuple[Mean, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    preferences: tuple[Preference, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def baseline(self) -> str:
        """The pipeline that the others are compared with."""
        return self.pipelines[0]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those with scores, in the fixed order."""
        return tuple(metric for metric in (*PLAIN, *JUDGED) if metric in self.scores)

    @property
    def main(self) -> str:
        """The metric of the headline: correctness where a judge scored it, else token F1, else the first there is."""
        return next(metric for metric in ("correctness", "token_f1", *self.metrics) if metric in self.scores)

    def mean(self, pipeline: str, metric: str) -> Mean:
        """One mean over all questions."""
        return next(row for row in self.means if (row.pipeline, row.metric) == (pipeline, metric))

    def comparison(self, pipeline: str, metric: str) -> Comparison:
        """One comparison with the baseline."""
        return next(row for row in self.comparisons if (row.pipeline, row.metric) == (pipeline, metric))

    def to_json(self) -> Json:
        """As it is stored."""
        return {
            "format": FORMAT,
            "domain": self.domain,
            "title": self.title,
            "n": len(self.questions),
            "baseline": self.baseline,
            "pipelines": list(self.pipelines),
            "generator": self.generator,
            "judge": self.judge,
            "repeats": self.repeats,
            "settings": asdict(self.settings),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "means": [_without_group(row) for row in self.means],
            "comparisons": [asdict(row) for row in self.comparisons],
            "preferences": [asdict(row) for row in self.preferences],
            "groups": [asdict(row) for row in self.groups],
            "questions": [asdict(row) for row in self.questions],
            "scores": self.scores,
            "pairs": [{**asdict(row), "orders": list(row.orders)} for row in self.pairs],
        }

    @classmethod
    def from_json(cls, row: Json, where: str) -> Self:
        """The inverse of `to_json`.

        Args:
            row: What was stored.
            where: The file, for the message.

        Raises:
            BenchError: It is of another format, or broken.
        """
        if row.get("format") != FORMAT:
            raise BenchError(f"{where}: its format is {row.get('format')!r}, not {FORMAT}; make it anew")
        try:
            return cls(
                domain=row["domain"],
                title=row["title"],
                settings=Settings(**row["settings"]),
                generator=row["generator"],
                judge=row["judge"],
                repeats=row["repeats"],
                notes=tuple(row["notes"]),
                pipelines=tuple(row["pipelines"]),
                questions=tuple(Question(**part) for part in row["questions"]),
                scores=row["scores"],
                pairs=tuple(PairRow(**{**part, "orders": tuple(part["orders"])}) for part in row["pairs"]),
                means=tuple(Mean(**part) for part in row["means"]),
                groups=tuple(Mean(**part) for part in row["groups"]),
                comparisons=tuple(Comparison(**part) for part in row["comparisons"]),
                preferences=tuple(Preference(**part) for part in row["preferences"]),
                warnings=tuple(row["warnings"]),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise BenchError(f"{where}: broken ({error}); make it anew") from None


def _without_group(row: Mean) -> dict[str, Any]:
    return {key: value for key, value in asdict(row).items() if key != "group"}
