"""The leaderboard's scores once more, by ranx: what `leaderboard --check` compares them with where the runs are kept."""

import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmark.errors import BenchError, Problems
from benchmark.files import shown
from benchmark.project import Domain
from benchmark.records import Hit
from benchmark.reporting.board import Leaderboard
from benchmark.reporting.inputs import Evaluated, read_evaluated
from benchmark.reporting.measures import Qrels
from benchmark.reporting.metrics import Metric
from benchmark.specs import BenchmarkSpec
from benchmark.stats import Floats

_SAME: Final = 1e-9


def check_by_ranx(domain: Domain, benchmark: BenchmarkSpec, board: Leaderboard) -> int | None:
    """Have ranx score the kept runs, and compare every score of every question.

    Args:
        domain: Whose runs.
        benchmark: What is compared.
        board: The committed leaderboard.

    Returns:
        How many scores were compared; None where the runs that it was made from are not kept here.

    Raises:
        BenchError: A line for each metric of a run on which the two disagree.
    """
    evaluated = _its_runs(domain, benchmark, board)
    if evaluated is None:
        return None
    count = 0
    with Problems() as problems:
        for task, runs in evaluated.runs.items():
            for name, run in runs.items():
                theirs = scores_by_ranx(run, evaluated.qrels, board.metrics, top_k=benchmark.top_k)
                for metric, column in theirs.items():
                    ours = np.asarray(board.scores[task][name][metric])
                    off = int((np.abs(ours - column) > _SAME).sum())
                    count += len(ours)
                    if off:
                        problems.add(
                            f"{shown(domain.run(task, name))}: {metric}: for {off} of {len(ours)} questions ranx's score is "
                            "not the leaderboard's"
                        )
    return count


def _its_runs(domain: Domain, benchmark: BenchmarkSpec, board: Leaderboard) -> Evaluated | None:
    try:
        found = read_evaluated(domain, benchmark)
    except BenchError:
        return None
    models = {name: row["facts"].get("model") for rows in found.manifests.values() for name, row in rows.items()}
    same = models == {system.name: system.fingerprint for system in board.systems}
    return found if same and [query.id for query in board.queries] == list(found.qrels) else None


def scores_by_ranx(
    run: Mapping[str, Sequence[Hit]], qrels: Qrels, metrics: Sequence[Metric], *, top_k: int
) -> dict[Metric, Floats]:
    """As `benchmark.reporting.metrics.score_run`, whose arguments it takes.

    ranx is given scores derived from the rank, because its own order of ties is that of insertion.
    """
    scores = {metric: np.zeros(len(qrels)) for metric in metrics}
    hits = {query: run[query][:top_k] for query in qrels if run.get(query)}
    if not hits:
        return scores
    judged = {query: dict(qrels[query]) for query in hits}
    ranked = {query: {hit.chunk: float(top_k - rank) for rank, hit in enumerate(row)} for query, row in hits.items()}
    place = {query: position for position, query in enumerate(qrels)}
    rows = [place[query] for query in hits]
    for metric, column in _asked(judged, ranked, metrics).items():
        scores[metric][rows] = column
    return scores


def _asked(
    judged: dict[str, dict[str, int]], ranked: dict[str, dict[str, float]], metrics: Sequence[Metric]
) -> dict[Metric, Floats]:
    """Scores in the order of the queries, which is the same in both arguments."""
    ranx = load_ranx()
    names = [str(metric) for metric in metrics]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba's remarks on ranx's own code
        # As they are: for ranx's own `Qrels` and `Run` numba compiles half a minute more the first time, and seconds
        # in each process, where their keys are compared with code that is never cached.
        found = ranx.evaluate(
            judged,
            ranked,
            names if len(names) > 1 else names * 2,  # a single one with a cut-off is a KeyError in ranx 0.3.21
            return_mean=False,
        )
    return {metric: np.asarray(found[name], dtype=np.float64) for metric, name in zip(metrics, names, strict=True)}


def load_ranx() -> Any:
    """ranx, loaded so that numba keeps what it compiles for it (a quarter of a minute) in the user's cache folder."""
    _keep_compiled_code()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ranx
    return ranx


def _keep_compiled_code() -> None:
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
