"""The heads of kept runs: what a model ranked first, and where its first relevant passage stands."""

from collections.abc import Mapping
from typing import NamedTuple

from benchmark.errors import BenchError, Problems
from benchmark.files import Json, hash_file, hash_json, read_json, shown
from benchmark.project import Domain
from benchmark.provenance import MANIFEST
from benchmark.reporting.board import TASKS, Leaderboard
from benchmark.reporting.inputs import RUN, check_passages

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


def read_heads(domain: Domain, system: str, qrels: Mapping[str, Mapping[str, int]]) -> Heads:
    """The heads of a system's retrieval run; its lines stand in the order of the ranks, as `write_run` left them.

    Args:
        domain: Whose run; `read_manifests` has seen that it is as it was written.
        system: Its name.
        qrels: Relevance by query and chunk.

    Raises:
        BenchError: A line is not TREC.
    """
    path = domain.run(TASKS[0], system) / RUN
    hits: dict[str, list[str]] = {}
    first: dict[str, int] = {}
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                query, _, chunk, rank, _ = line.split(" ", 4)
                place = int(rank)
            except ValueError:
                raise BenchError(f"{shown(path)}:{number}: not a TREC run line (6 fields, the 4th a rank)") from None
            row = hits.setdefault(query, [])
            if len(row) < MOST_HITS:
                row.append(chunk)
            if query not in first and qrels.get(query, {}).get(chunk, 0) > 0:
                first[query] = place
    return {query: Head(first.get(query), tuple(row)) for query, row in hits.items()}
