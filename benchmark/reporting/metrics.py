"""Metrics in the field's notation, and their per-query scores by ranx.

To add a metric that ranx knows, add one line to `MEASURES`.
"""

import os
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmark.errors import BenchError, did_you_mean
from benchmark.records import Hit
from benchmark.stats import Floats

Qrels = Mapping[str, Mapping[str, int]]


class Measure(NamedTuple):
    """What a metric's name stands for: how it is labelled and explained, and whether it needs a cut-off."""

    label: str
    meaning: str
    needs_cutoff: bool = True


MEASURES: dict[str, Measure] = {
    "hit_rate": Measure("Hit rate", "share of questions with a relevant passage among the first k"),
    "mrr": Measure("MRR", "1 / rank of the first relevant passage, 0 when it is not among the first k"),
    "ndcg": Measure("nDCG", "how near the first k come to the best possible order; a passage lower down counts less"),
    "recall": Measure("Recall", "share of a question's relevant passages that are among the first k"),
    "map": Measure("MAP", "mean of the precision at the rank of each relevant passage", needs_cutoff=False),
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

    Equal to pytrec_eval's: the hits come in trec_eval's order (`benchmark.runs.rank`), and ranx is given scores
    derived from the rank, because its own order of ties is that of insertion.

    Args:
        run: Hits by query, best first.
        qrels: Relevance by query and chunk; every query has a relevant chunk.
        metrics: What to compute.
        top_k: Hits beyond this rank are ignored.

    Returns:
        For each metric an array of shape (n_queries,).
    """
    scores = {metric: np.zeros(len(qrels)) for metric in metrics}
    names = _fixed_width([*qrels, *(chunk for row in qrels.values() for chunk in row), *_chunks(run)])
    answered = sorted((query for query in qrels if run.get(query)), key=lambda query: names[query])
    if not answered:
        return scores
    judged = {names[query]: {names[c]: score for c, score in qrels[query].items()} for query in answered}
    ranked = {
        names[query]: {names[hit.chunk]: float(top_k - rank) for rank, hit in enumerate(run[query][:top_k])}
        for query in answered
    }
    place = {query: position for position, query in enumerate(qrels)}
    rows = [place[query] for query in answered]
    for metric, column in _by_ranx(judged, ranked, metrics).items():
        scores[metric][rows] = column
    return scores


def _chunks(run: Mapping[str, Sequence[Hit]]) -> Iterable[str]:
    return (hit.chunk for hits in run.values() for hit in hits)


def _fixed_width(ids: Iterable[str]) -> dict[str, str]:
    """Ids of 16 hex digits: ranx compiles anew for each new longest id."""
    names = {name: blake2b(name.encode(), digest_size=8).hexdigest() for name in dict.fromkeys(ids)}
    if len(set(names.values())) < len(names):
        seen: dict[str, str] = {}
        for name, short in names.items():
            if short in seen:
                raise BenchError(f"ids '{seen[short]}' and '{name}' have the same 8-byte hash; rename one of them")
            seen[short] = name
    return names


def _by_ranx(
    qrels: dict[str, dict[str, int]], run: dict[str, dict[str, float]], metrics: Sequence[Metric]
) -> dict[Metric, Floats]:
    """Scores in the order of the sorted query ids; both arguments hold the same queries."""
    _keep_compiled_code()
    names = [str(metric) for metric in metrics]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba's remarks on ranx's own code
        import ranx

        # As typed lists both are ordered by query id. Handing over the objects costs 5 s more in each process: ranx
        # then compares their keys with numba code that is never cached. That the keys are equal is seen to above.
        found = ranx.evaluate(
            ranx.Qrels(qrels).to_typed_list(),
            ranx.Run(run).to_typed_list(),
            names if len(names) > 1 else names * 2,  # a single one with a cut-off is a KeyError in ranx 0.3.21
            return_mean=False,
        )
    return {metric: np.asarray(found[name], dtype=np.float64) for metric, name in zip(metrics, names, strict=True)}


def _keep_compiled_code() -> None:
    """Let numba keep what it compiles for ranx (half a minute) in the user's cache folder."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "domainbench" / "numba"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # compiled anew each time
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:
        sys.modules["numba"].config.reload_config()


def first_relevant(hits: Sequence[Hit], relevant: Mapping[str, int]) -> int | None:
    """Rank (from 1) of the first relevant hit, or None."""
    return next((rank for rank, hit in enumerate(hits, start=1) if relevant.get(hit.chunk, 0) > 0), None)
