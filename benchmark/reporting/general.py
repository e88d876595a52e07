"""Everyday knowledge beside the domain: scores on general sets, and what follows from them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Final, Literal

from benchmark.errors import BenchError
from benchmark.files import Json
from benchmark.reporting.metrics import Metric
from benchmark.stats import Forgetting

METRIC: Final = Metric("ndcg", 10)
"""What forgetting is measured with, whatever the leaderboard's main metric is."""
Overall = Literal["WIN", "MARGINAL", "REGRESSION"]


@dataclass(frozen=True)
class GeneralSet:
    """A general set: its queries, and for each system one score (0..1) of each, in the same order."""

    name: str
    title: str
    testset: str
    queries: tuple[str, ...]
    scores: dict[str, list[float]]


@dataclass(frozen=True)
class GeneralRow:
    """A system against the baseline on one general set, or on all of them together.

    Attributes:
        system: Its name.
        group: The set's name; None for all queries of all sets, each counting the same.
        n: Queries.
        before: The baseline's mean.
        after: The system's.
        difference: Mean of system minus baseline.
        low: Lower end of the difference's 95 % interval; None with one query.
        high: Upper end.
        p: Paired sign-flip test, two-sided.
        corrected_p: After Holm's correction over the systems (for single sets: over systems and sets).
        detectable: The difference that a comparison of this size would usually find; None where it has no estimate.
        forgetting: See `benchmark.stats.forgetting`.
    """

    system: str
    group: str | None
    n: int
    before: float
    after: float
    difference: float
    low: float | None
    high: float | None
    p: float
    corrected_p: float
    detectable: float | None
    forgetting: Forgetting


@dataclass(frozen=True)
class General:
    """What a leaderboard knows of the general sets.

    Attributes:
        margin: What of nDCG@10 a system may lose before it counts as forgetting.
        sets: In the benchmark file's order.
        rows: All sets together, then each by itself where there are several; every system but the baseline.
        verdicts: System -> verdict over domain and general sets.
    """

    margin: float
    sets: tuple[GeneralSet, ...]
    rows: tuple[GeneralRow, ...] = ()
    verdicts: dict[str, Overall] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Queries of all sets."""
        return sum(len(one.queries) for one in self.sets)

    def pooled(self, system: str) -> list[float]:
        """A system's scores on all queries, set by set."""
        return [score for one in self.sets for score in one.scores[system]]

    def row(self, system: str, group: str | None = None) -> GeneralRow | None:
        """A system's row; None for the baseline."""
        return next((row for row in self.rows if row.system == system and row.group == group), None)

    def to_json(self) -> Json:
        """A JSON object, scores in full precision."""
        return {"metric": str(METRIC), **asdict(self)}

    @classmethod
    def from_json(cls, value: Json) -> "General":
        """The inverse of `to_json`.

        Raises:
            KeyError: A key is missing.
            TypeError: A key is unknown.
        """
        parts = {key: part for key, part in value.items() if key != "metric"}
        sets = tuple(GeneralSet(**{**row, "queries": tuple(row["queries"])}) for row in value["sets"])
        return cls(**{**parts, "sets": sets, "rows": tuple(GeneralRow(**row) for row in value["rows"])})

    def check_scores(self, systems: Sequence[str], where: str) -> None:
        """See to it that every system has a score of every query.

        Raises:
            BenchError: One is missing or lies outside 0..1.
        """
        for one in self.sets:
            if not one.queries:
                raise BenchError(f"{where}: general set {one.name}: no queries")
            for name in systems:
                scores = one.scores.get(name, [])
                if len(scores) != len(one.queries):
                    raise BenchError(f"{where}: general set {one.name}, {name}: {len(one.queries)} scores are expected")
                if not all(isinstance(score, (int, float)) and 0 <= score <= 1 for score in scores):
                    raise BenchError(f"{where}: general set {one.name}, {name}: a score lies outside 0..1")
