"""The heads of kept runs: what a model ranked first, and where its first relevant passage stands."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from benchmark.errors import Problems
from benchmark.files import Json, hash_file, hash_json, read_json, shown
from benchmark.project import Domain
from benchmark.provenance import MANIFEST
from benchmark.reporting.board import TASKS, Leaderboard
from benchmark.reporting.inputs import RUN, check_passages
from benchmark.reporting.measures import Qrels, judge
from benchmark.runs import Ranking, read_ranking

MOST_HITS = 3
"""Passages of a question and model that a page shows."""
_AGAIN = "make it anew: domainbench leaderboard"


class Head(NamedTuple):
    """The first passages of a ranking, and the rank (from 1) of its first relevant one; None where it has none."""

    first: int | None
    hits: tuple[str, ...]


NOTHING = Head(None, ())
Heads = Mapping[str, Head]
"""By query; a query for which nothing was retrieved is missing."""


def read_manifests(domain: Domain, board: Leaderboard) -> dict[str, Json]:
    """The manifests of the retrieval runs that a leaderboard was made from, by system.

    Raises:
        BenchError: Test set or runs are missing or are others than the leaderboard's, or runs were made over other
            passages than the present ones; all of them at once.
    """
    found: dict[str, Json] = {}
    with Problems() as problems:
        testset = domain.testset / MANIFEST
        if not testset.is_file() or hash_json(read_json(testset)["outputs"]) != board.testset:
            problems.add(f"{shown(domain.testset)}: is not the test set that the leaderboard was made on; {_AGAIN}")
        for system in board.systems:
            folder = domain.run(TASKS[0], system.name)
            if not (folder / MANIFEST).is_file() or not (folder / RUN).is_file():
                problems.add(f"{shown(folder)}: no finished run; make it with: domainbench evaluate")
                continue
            manifest = found[system.name] = read_json(folder / MANIFEST)
            same_model = manifest.get("facts", {}).get("model", "") == system.fingerprint
            if not same_model or manifest.get("outputs", {}).get(RUN) != hash_file(folder / RUN):
                problems.add(f"{shown(folder)}: is not the run that the leaderboard was made from; {_AGAIN}")
        check_passages(domain, TASKS[0], found, problems)
    return found


def read_heads(domain: Domain, system: str, qrels: Qrels) -> Heads:
    """The heads of a system's retrieval run; `read_manifests` has seen that it is as it was written.

    Raises:
        BenchError: A line is not TREC.
    """
    return heads_of(read_ranking(domain.run(TASKS[0], system) / RUN), qrels)


def heads_of(run: Ranking, qrels: Qrels) -> Heads:
    """The heads of a run, with relevance by query and chunk."""
    grades = judge(run, qrels, max(1, run.depth)).grades > 0
    first = np.where(grades.any(axis=1), np.argmax(grades, axis=1) + 1, 0)
    ranks = dict(zip(qrels, first.tolist(), strict=True))
    return {query: Head(ranks.get(query) or None, tuple(run.heads(query, MOST_HITS))) for query in run.queries}
