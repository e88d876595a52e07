"""What `answers.json` says of the language model's answers, as tables for the report.

The file is another stage's and may be of another version: what is missing or of another type is left blank, never 0.
"""

import math
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from benchmark.answer_records import ANSWERS, Answered, read_answers
from benchmark.errors import BenchError
from benchmark.escape import code, md
from benchmark.files import Json, read_json
from benchmark.llm.model import short_identity
from benchmark.project import Domain
from benchmark.reporting import render
from benchmark.specs import BenchmarkSpec

FILE: Final = "answers.json"
_FORMAT: Final = "domainbench-answers/"
METRICS: Final = {
    "exact_match": ("Exact match", "the answer is the reference, word for word"),
    "token_f1": ("Token F1", "words shared with the reference"),
    "rouge_l": ("ROUGE-L", "longest sequence of words shared with the reference"),
    "answer_in_context": ("Answer in passages", "the reference stands in the passages that were handed over"),
    "citation_valid": ("Valid citations", "citations that lead to a passage that was handed over"),
    "declined_rightly": ("Declined rightly", "declined where the documents have no answer, answered where they have"),
    "faithfulness": ("Faithfulness", "statements of the answer that its passages support"),
    "correctness": ("Correctness", "agreement with the reference answer"),
    "relevance": ("Relevance", "how far the answer is to the question"),
    "citation_precision": ("Citation precision", "citations whose passage supports the statement"),
    "citation_recall": ("Citation recall", "statements that a cited passage supports"),
}
"""Metric -> its label and its meaning, in the order of the tables; the last five are a judge's."""
JUDGED: Final = ("faithfulness", "correctness", "relevance", "citation_precision", "citation_recall")


@dataclass(frozen=True)
class AnswerFigures:
    """`answers.json`, as far as it could be read.

    Attributes:
        pipelines: In the order of their letters; A is the baseline.
        n: Questions that were asked.
        generator: What answered, in words.
        judge: What judged; empty where nothing did.
        means: Rows by pipeline and metric.
        comparisons: Rows against the baseline.
        preferences: Rows of a judge's preferences against the baseline.
        warnings: To be read with the figures.
    """

    pipelines: tuple[str, ...]
    n: float | None
    generator: str
    judge: str
    means: tuple[Json, ...]
    comparisons: tuple[Json, ...]
    preferences: tuple[Json, ...]
    warnings: tuple[str, ...]

    @property
    def metrics(self) -> list[str]:
        """Those that there are means of, known ones first."""
        found = dict.fromkeys(str(row["metric"]) for row in self.means)
        return [name for name in METRICS if name in found] + [name for name in found if name not in METRICS]

    def mean(self, pipeline: str, metric: str) -> Json | None:
        """The row of a pipeline's mean."""
        return _found(self.means, pipeline, metric)

    def comparison(self, pipeline: str, metric: str) -> Json | None:
        """The row of a pipeline's comparison with the baseline."""
        return _found(self.comparisons, pipeline, metric)

    def letter(self, pipeline: str) -> str:
        """A, B, C..."""
        place = self.pipelines.index(pipeline) if pipeline in self.pipelines else -1
        return string.ascii_uppercase[place] if 0 <= place < len(string.ascii_uppercase) else str(place + 1)

    def named(self, pipeline: str) -> Markup:
        """Letter and name."""
        return Markup("{}: ").format(self.letter(pipeline)) + code(pipeline)


def _found(rows: Sequence[Json], pipeline: str, metric: str) -> Json | None:
    return next((row for row in rows if (row["pipeline"], row["metric"]) == (pipeline, metric)), None)


def label(metric: str) -> str:
    """How a metric is called."""
    return METRICS[metric][0] if metric in METRICS else metric.replace("_", " ")


def number_of(row: Mapping[str, Any] | None, key: str) -> float | None:
    """A figure of a row; None where it is missing or no number."""
    value = row.get(key) if row else None
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None  # type: ignore[arg-type]


def read_answer_figures(domain: Domain) -> AnswerFigures | None:
    """`results/<domain>/answers.json`; None where it is not there or of a form that is not known.

    Raises:
        BenchError: It is no JSON object.
    """
    path = domain.results / FILE
    if not path.is_file():
        return None
    value = read_json(path)
    if not str(value.get("format", "")).startswith(_FORMAT):
        return None
    means = _rows(value, "means", ("pipeline", "metric"))
    named = value.get("pipelines")
    pipelines = [str(name) for name in named] if isinstance(named, list) else []
    pipelines += [str(row["pipeline"]) for row in means]
    return AnswerFigures(
        pipelines=tuple(dict.fromkeys(pipelines)),
        n=number_of(value, "n"),
        generator=_in_words(value.get("generator")),
        judge=_in_words(value.get("judge")),
        means=means,
        comparisons=_rows(value, "comparisons", ("pipeline", "metric")),
        preferences=_rows(value, "preferences", ("pipeline",)),
        warnings=tuple(str(line) for line in value.get("warnings") or () if isinstance(line, str)),
    )


def _rows(value: Json, key: str, needed: Sequence[str]) -> tuple[Json, ...]:
    rows = value.get(key)
    found = rows if isinstance(rows, list) else []
    return tuple(row for row in found if isinstance(row, dict) and all(isinstance(row.get(k), str) for k in needed))


def _in_words(value: object) -> str:
    """What answered or judged: a name, or an object with one."""
    if isinstance(value, dict):
        return str(next((value[key] for key in ("model", "name", "path", "package") if value.get(key)), ""))
    return "" if value is None else str(value)


# --- tables ---------------------------------------------------------------------------------------------------------


def answers_section(figures: AnswerFigures, benchmark: BenchmarkSpec) -> dict[str, Any]:
    """What the template shows of the answers."""
    spec = benchmark.answers
    return {
        "names": [figures.named(name) for name in figures.pipelines],
        "n": None if figures.n is None else f"{figures.n:g}",
        "generator": short_identity(figures.generator or ""),
        "judge": short_identity(figures.judge or ""),
        "top_k": spec.top_k if spec is not None else None,
        "warnings": figures.warnings,
        "overview": _overview(figures),
        "details": _details(figures),
        "comparisons": _comparisons(figures),
        "preferences": _preferences(figures),
        "legend": [f"{label(name)}: {METRICS[name][1]}" for name in figures.metrics if name in METRICS],
    }


def _overview(figures: AnswerFigures) -> Markup:
    """Every mean, a sign where it is better or worse than the baseline's."""
    rows = [
        [figures.named(name), *(_cell(figures, name, metric) for metric in figures.metrics)]
        for name in figures.pipelines
    ]
    return render.table(["Pipeline", *map(label, figures.metrics)], rows)


def _cell(figures: AnswerFigures, pipeline: str, metric: str) -> str:
    row, compared = figures.mean(pipeline, metric), figures.comparison(pipeline, metric)
    sign = render.SIGNS.get(str(compared.get("verdict")) if compared else "", "")
    return render.number(number_of(row, "mean")) + sign


def _details(figures: AnswerFigures) -> Markup:
    """How many answers each mean is over, how many failed, and between which bounds it lies if these had not."""
    rows = [
        [
            label(metric), figures.named(name), render.number(number_of(row, "mean")),
            _span(number_of(row, "low"), number_of(row, "high")), _whole(number_of(row, "n_scored")),
            _whole(number_of(row, "n_failed")), _span(number_of(row, "worst"), number_of(row, "best")),
            render.number(number_of(row, "spread")),
        ]
        for metric in figures.metrics
        for name in figures.pipelines
        if (row := figures.mean(name, metric)) is not None
    ]  # fmt: skip
    head = ["Metric", "Pipeline", "Mean", "95 % interval", "Scored", "Failed", "If those were 0 or 1", "Spread"]
    return render.table(head, rows, left=2)


def _span(low: float | None, high: float | None) -> str:
    return render.BLANK if low is None or high is None else f"{render.number(low)} to {render.number(high)}"


def _whole(value: float | None) -> str:
    return render.BLANK if value is None else f"{value:g}"


def _comparisons(figures: AnswerFigures) -> Markup | None:
    rows = [
        [
            label(metric), figures.named(name), render.signed(number_of(row, "difference")),
            render.interval(number_of(row, "low"), number_of(row, "high")), _p(number_of(row, "corrected_p")),
            _verdict(row), _whole(number_of(row, "n")),
        ]
        for metric in figures.metrics
        for name in figures.pipelines
        if (row := figures.comparison(name, metric)) is not None
    ]  # fmt: skip
    head = ["Metric", "Pipeline", "Difference", "95 % interval", "p (Holm)", "Verdict", "n"]
    return render.table(head, rows, left=2) if rows else None


def _preferences(figures: AnswerFigures) -> Markup | None:
    rows = [
        [
            figures.named(str(row["pipeline"])), *(_whole(number_of(row, key)) for key in ("wins", "losses", "ties")),
            _whole(number_of(row, "failed")), _p(number_of(row, "corrected_p")), _verdict(row), _whole(number_of(row, "n")),
        ]
        for row in figures.preferences
    ]  # fmt: skip
    head = ["Pipeline against A", "Preferred", "A preferred", "Ties", "Failed", "p (Holm)", "Verdict", "n"]
    return render.table(head, rows) if rows else None


def _p(value: float | None) -> str:
    return render.BLANK if value is None else render.p_value(value)


def _verdict(row: Json) -> Markup:
    found = row.get("verdict")
    if found in {"better", "worse"}:
        return Markup("**{}**").format(found)
    return md(found) if isinstance(found, str) else Markup("")


# --- the answers themselves -----------------------------------------------------------------------------------------


class Texts:
    """The answers to show beside examples.

    Args:
        rows: As the answer stage wrote them.
    """

    def __init__(self, rows: Sequence[Answered]) -> None:
        self._rows = {(row.question, row.pipeline): row for row in rows}

    def lines(self, question: str, pipelines: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Name of the pipeline and what was answered with its passages, where there are answers of all of them."""
        found = [self._rows.get((question, name)) for name in pipelines]
        for row in found if all(found) else ():
            assert row is not None  # noqa: S101 (all are there)
            words = row.text or (f"no answer: {row.failure}" if row.failure else "an empty answer")
            yield row.pipeline, words + (" (declined)" if row.declined else "")


def read_texts(domain: Domain) -> tuple[Texts, str]:
    """The answers of a domain, none where there are none; and why they could not be read."""
    if not (domain.answers / ANSWERS).is_file():
        return Texts([]), ""
    try:
        return Texts(read_answers(domain.answers)), ""
    except (BenchError, ValueError) as error:
        return Texts([]), f"the report shows no answers: {error}"
