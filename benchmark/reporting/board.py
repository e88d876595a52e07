"""The leaderboard as data: per-query scores, means and comparisons, to and from JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property

from benchmark.errors import BenchError
from benchmark.files import Json
from benchmark.reporting.general import General
from benchmark.reporting.metrics import Metric, metrics_for
from benchmark.reporting.pairwise import Pair
from benchmark.reporting.systems import System
from benchmark.specs import BenchmarkSpec
from benchmark.stats import Verdict

FORMAT = "domainbench-leaderboard/2"
TASKS = ("retrieval", "reranking")
FEW = 30  # groups under this many questions carry a warning mark

Scores = dict[str, dict[str, dict[Metric, list[float]]]]
"""Task -> system -> metric -> one score (0..1) for each query, in the order of `Leaderboard.queries`."""


@dataclass(frozen=True)
class Settings:
    """What decides the statistics: the part of benchmark.yaml that a leaderboard depends on."""

    baseline: str
    main_metric: str
    top_k: int
    permutations: int
    bootstrap: int
    alpha: float
    seed: int

    @classmethod
    def of(cls, benchmark: BenchmarkSpec) -> "Settings":
        """The settings of a benchmark file."""
        return cls(**{field.name: getattr(benchmark, field.name) for field in fields(cls)})


@dataclass(frozen=True)
class Question:
    """A query's id and category; its text stays in the domain's own files."""

    id: str
    category: str


@dataclass(frozen=True)
class Mean:
    """A system's mean over a group of queries with its 95 % interval (None with one query).

    `category` None stands for all queries.
    """

    task: str
    metric: Metric
    category: str | None
    system: str
    n: int
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Comparison:
    """A system against the baseline on a group of queries.

    Attributes:
        n: Queries.
        difference: Mean of system minus baseline.
        low: Lower end of the difference's 95 % interval; None with one query.
        high: Upper end.
        p: Paired sign-flip test, two-sided.
        corrected_p: After Holm's correction within the family (`benchmark.reporting.compare`).
        verdict: better, worse, or not shown.
        wins: Queries on which the system scores higher.
        losses: Queries on which the baseline does.
        ties: The rest.
        detectable: The difference that a comparison of this size would usually find; None where it has no estimate.
    """

    task: str
    metric: Metric
    category: str | None
    system: str
    n: int
    difference: float
    low: float | None
    high: float | None
    p: float
    corrected_p: float
    verdict: Verdict
    wins: int
    losses: int
    ties: int
    detectable: float | None


@dataclass(frozen=True)
class Leaderboard:
    """Everything that the tables, plots and verdicts are made from.

    Attributes:
        domain: The domain's name.
        title: Its title.
        task_names: mteb's name for `retrieval` and `reranking`.
        testset: Hash of the test set that the runs were made on.
        settings: What decides the statistics.
        metrics: The main metric first.
        systems: The baseline first, then in the benchmark file's order.
        queries: In the test set's order.
        scores: Full-precision scores for each query.
        means: For each task, metric, group and system.
        comparisons: The same for every system but the baseline.
        general: Everyday knowledge beside the domain; None where none was measured.
        tuning: Systems against the models that they were tuned from, where that is not the baseline; a family for
            Holm's correction.
        pairwise: Every two systems on the main metric of retrieval; a family as well.
    """

    domain: str
    title: str
    task_names: dict[str, str]
    testset: str
    settings: Settings
    metrics: tuple[Metric, ...]
    systems: tuple[System, ...]
    queries: tuple[Question, ...]
    scores: Scores
    means: tuple[Mean, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    general: General | None = None
    tuning: tuple[Comparison, ...] = ()
    pairwise: tuple[Pair, ...] = ()

    @property
    def main(self) -> Metric:
        """The metric that the headline is about."""
        return self.metrics[0]

    @property
    def baseline(self) -> System:
        """The system that all others are compared with."""
        return self.systems[0]

    @cached_property
    def categories(self) -> dict[str, int]:
        """Category -> number of its queries, in the order of first appearance."""
        found: dict[str, int] = {}
        for query in self.queries:
            found[query.category] = found.get(query.category, 0) + 1
        return found

    @cached_property
    def _means(self) -> dict[tuple[str, Metric, str | None, str], Mean]:
        return {(row.task, row.metric, row.category, row.system): row for row in self.means}

    @cached_property
    def _comparisons(self) -> dict[tuple[str, Metric, str | None, str], Comparison]:
        return {(row.task, row.metric, row.category, row.system): row for row in self.comparisons}

    def mean(self, task: str, system: str, metric: Metric | None = None, category: str | None = None) -> Mean:
        """A system's mean; on the main metric and over all queries unless told otherwise."""
        return self._means[(task, metric or self.main, category, system)]

    def comparison(
        self, task: str, system: str, metric: Metric | None = None, category: str | None = None
    ) -> Comparison | None:
        """A system's comparison with the baseline; None for the baseline itself."""
        return self._comparisons.get((task, metric or self.main, category, system))

    def ranked(self, task: str) -> list[System]:
        """The systems by their mean on the main metric, highest first; equal ones in the benchmark file's order."""
        return sorted(self.systems, key=lambda system: -self.mean(task, system.name).mean)

    @property
    def subjects(self) -> list[System]:
        """The systems worth a closer look: the best tuned model and the best of all, the baseline left out."""
        rivals = [system for system in self.ranked(TASKS[0]) if system.name != self.baseline.name]
        tuned = [system for system in rivals if system.tuned_from is not None]
        return list({system.name: system for system in (*tuned[:1], *rivals[:1])}.values())

    # --- JSON ---------------------------------------------------------------------------------------------------

    def to_json(self) -> Json:
        """A JSON object; keys in a fixed order, scores in full precision, no time and no path."""
        return {
            "format": FORMAT,
            "domain": self.domain,
            "title": self.title,
            "task_names": self.task_names,
            "testset": self.testset,
            "settings": asdict(self.settings),
            "metrics": [str(metric) for metric in self.metrics],
            "systems": [system.to_json() for system in self.systems],
            "queries": [dict(vars(query)) for query in self.queries],
            "means": [_row(mean) for mean in self.means],
            "comparisons": [_row(comparison) for comparison in self.comparisons],
            **({"tuning": [_row(comparison) for comparison in self.tuning]} if self.tuning else {}),
            "pairwise": [dict(vars(pair)) for pair in self.pairwise],
            **({"general": self.general.to_json()} if self.general else {}),
            "scores": {
                task: {name: {str(metric): row for metric, row in rows.items()} for name, rows in systems.items()}
                for task, systems in self.scores.items()
            },
        }

    @classmethod
    def from_json(cls, value: Json, where: str) -> "Leaderboard":
        """The inverse of `to_json`.

        Raises:
            BenchError: A key is missing or unknown, or a score is missing or lies outside 0..1.
        """
        if value.get("format") != FORMAT:
            raise BenchError(f"{where}: its format is {value.get('format')!r}, {FORMAT!r} is expected")
        try:
            board = cls._parsed({key: part for key, part in value.items() if key != "format"})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BenchError(f"{where}: not a leaderboard ({type(error).__name__}: {error})") from None
        board._check_scores(where)
        return board

    @classmethod
    def _parsed(cls, value: Json) -> "Leaderboard":
        board = cls(
            **{
                **value,
                "settings": Settings(**value["settings"]),
                "metrics": tuple(Metric.parse(text) for text in value["metrics"]),
                "systems": tuple(System.from_json(row) for row in value["systems"]),
                "queries": tuple(Question(**row) for row in value["queries"]),
                "scores": {
                    task: {name: {Metric.parse(m): row for m, row in rows.items()} for name, rows in systems.items()}
                    for task, systems in value["scores"].items()
                },
                "tuning": tuple(Comparison(**_unrow(row)) for row in value.get("tuning", [])),
                "pairwise": tuple(Pair(**row) for row in value["pairwise"]),
                "general": General.from_json(value["general"]) if "general" in value else None,
            }
        )
        return replace(
            board,
            means=tuple(Mean(**_unrow(row)) for row in value["means"]),
            comparisons=tuple(Comparison(**_unrow(row)) for row in value["comparisons"]),
        )

    def _check_scores(self, where: str) -> None:
        n = len(self.queries)
        if not n or not self.systems or set(self.task_names) != set(TASKS):
            raise BenchError(f"{where}: no queries, no systems, or not the tasks {' and '.join(TASKS)}")
        if self.metrics != metrics_for(self.settings.main_metric, self.settings.top_k):
            raise BenchError(f"{where}: its metrics are not those of its settings")
        for task in TASKS:
            for system in self.systems:
                rows: Mapping[Metric, list[float]] = self.scores.get(task, {}).get(system.name, {})
                for metric in self.metrics:
                    row = rows.get(metric)
                    if row is None or len(row) != n:
                        raise BenchError(f"{where}: {task}, {system.name}, {metric}: {n} scores are expected")
                    if not all(isinstance(score, (int, float)) and 0 <= score <= 1 for score in row):
                        raise BenchError(f"{where}: {task}, {system.name}, {metric}: a score lies outside 0..1")
        if self.general is not None:
            self.general.check_scores([system.name for system in self.systems], where)


def _row(record: Mean | Comparison) -> Json:
    return {**vars(record), "metric": str(record.metric)}


def _unrow(row: Json) -> Json:
    return {**row, "metric": Metric.parse(row["metric"])}
