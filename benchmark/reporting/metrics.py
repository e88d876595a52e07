"""Metrics in the field's notation, and their per-query scores.

To add a metric, add one line to `MEASURES`; what it computes from judged rankings stands in
`benchmark.reporting.measures`. Tests compare every one with pytrec_eval's and ranx's. ranx itself takes seconds to be
imported and a quarter of a minute to be compiled; it is asked by `leaderboard --check` (`benchmark.reporting.by_ranx`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmark.errors import BenchError, did_you_mean
from benchmark.records import Hit
from benchmark.reporting import measures
from benchmark.reporting.measures import Judged, Qrels, judge
from benchmark.stats import Floats


class Measure(NamedTuple):
    """What a metric's name stands for: how it is labelled, explained and computed, and whether it needs a cut-off."""

    label: str
    meaning: str
    compute: Callable[[Judged, int | None], Floats]
    needs_cutoff: bool = True


MEASURES: dict[str, Measure] = {
    "hit_rate": Measure("Hit rate", "share of questions with a relevant passage among the first k", measures.hit_rate),
    "mrr": Measure("MRR", "1 / rank of the first relevant passage, 0 when it is not among the first k", measures.mrr),
    "ndcg": Measure(
        "nDCG", "how near the first k come to the best possible order; a passage lower down counts less", measures.ndcg
    ),
    "recall": Measure("Recall", "share of a question's relevant passages that are among the first k", measures.recall),
    "map": Measure(
        "MAP", "mean of the precision at the rank of each relevant passage", measures.average_precision, False
    ),
}
STANDARD = ("ndcg@10", "mrr@10", "hit_rate@1", "hit_rate@3", "hit_rate@5", "hit_rate@10", "recall@10", "map")


@dataclass(frozen=True, order=True, repr=False)
class Metric:
    """An immutable description of a metric that prints as its own input.

    >>> Metric.parse("hit_rate@3")
    hit_rate@3
    >>> Metric.parse(str(Metric("map"))) == Metric("map")
    True

    Attributes:
        name: A key of `MEASURES`.
        cutoff: How many ranks count; None for the whole ranking.
    """

    name: str
    cutoff: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Metric":
        """Read the notation `name@cutoff` (`map` also without a cut-off).

        Raises:
            BenchError: No such metric, no cut-off where one is needed, or not a whole number above 0.
        """
        name, at, cutoff = text.partition("@")
        if name not in MEASURES:
            raise BenchError(f"metric '{text}': no such metric; {did_you_mean(text.lower(), _examples())}")
        if not at and MEASURES[name].needs_cutoff:
            raise BenchError(f"metric '{text}': needs a cut-off, for example {name}@10")
        if at and not re.fullmatch(r"[1-9][0-9]{0,5}", cutoff):
            raise BenchError(f"metric '{text}': the cut-off must be a whole number above 0, for example {name}@10")
        return cls(name, int(cutoff) if at else None)

    def __str__(self) -> str:
        return self.name if self.cutoff is None else f"{self.name}@{self.cutoff}"

    __repr__ = __str__

    @property
    def label(self) -> str:
        """As people write it: `nDCG@10`."""
        label = MEASURES[self.name].label
        return label if self.cutoff is None else f"{label}@{self.cutoff}"

    def mteb_key(self, depth: int) -> str:
        """Its name among the scores of mteb, which cuts everything off (`map` at the depth of the run)."""
        return f"{self.name}_at_{self.cutoff or depth}"


def _examples() -> list[str]:
    return [f"{name}@10" if measure.needs_cutoff else name for name, measure in MEASURES.items()]


def metrics_for(main: str, top_k: int) -> tuple[Metric, ...]:
    """The metrics of a leaderboard, the main one first; recall at the run's depth is what a reranker can reach.

    Raises:
        BenchError: The main metric is unknown or looks deeper than the runs are.
    """
    first = Metric.parse(main)
    if first.cutoff is not None and first.cutoff > top_k:
        raise BenchError(f"main_metric '{main}': the runs hold {top_k} passages (top_k), so nothing can be cut at more")
    rest = [Metric.parse(name) for name in STANDARD] + [Metric("recall", top_k)]
    return tuple(dict.fromkeys([first, *rest]))


# --- scores ---------------------------------------------------------------------------------------------------------


def score_run(
    run: Mapping[str, Sequence[Hit]], qrels: Qrels, metrics: Sequence[Metric], *, top_k: int
) -> dict[Metric, Floats]:
    """Per-query scores, 0..1, in the order of `qrels`; a query for which nothing was retrieved scores 0 and stays.

    Equal to pytrec_eval's: the hits come in trec_eval's order (`benchmark.runs.rank`).

    Args:
        run: Hits by query, best first.
        qrels: Relevance by query and chunk; every query has a relevant chunk.
        metrics: What to compute.
        top_k: Hits beyond this rank are ignored.

    Returns:
        For each metric an array of shape (n_queries,).
    """
    judged = judge(run, qrels, top_k)
    return {metric: MEASURES[metric.name].compute(judged, metric.cutoff) for metric in metrics}


def first_relevant(hits: Sequence[Hit], relevant: Mapping[str, int]) -> int | None:
    """Rank (from 1) of the first relevant hit, or None."""
    return next((rank for rank, hit in enumerate(hits, start=1) if relevant.get(hit.chunk, 0) > 0), None)
