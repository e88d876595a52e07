"""What the judge said of the answers that people rate."""

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from benchmark.files import hash_file, hash_json, iter_jsonl, read_json, shown
from benchmark.project import Domain
from benchmark.rating.pairs import POINTS, TIE, Key

COUNTERPARTS: Final = {"accuracy": "correctness", "relevance": "relevance"}
"""People's scale -> the judge's metric; the judge has none for completeness."""


@dataclass(frozen=True)
class Judged:
    """The judge's scores and preferences.

    Attributes:
        scores: (question, pipeline, metric) -> 0..1, the mean over the repeats that did not fail.
        preferred: A question and a pair -> a pipeline or `tie`.
        failed: Scores and preferences that the judge failed to give.
        warning: Why the scores may be of other answers than those that were rated; empty where nothing says so.
    """

    scores: dict[tuple[str, str, str], float]
    preferred: dict[Key, str]
    failed: int
    warning: str = ""


def read_judged(domain: Domain) -> Judged | None:
    """The judge's rows of a domain; None where no judge was asked."""
    scores: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    failed: set[tuple[str, str, str]] = set()
    path, pairs = domain.judged / "judgements.jsonl", domain.judged / "pairs.jsonl"
    if not path.is_file():
        return None
    for row in iter_jsonl(path):
        for metric in set(COUNTERPARTS.values()) & row.keys():
            place = (row["question"], row["pipeline"], metric)
            score = row[metric]["score"]
            if score is None:
                failed.add(place)
            else:
                scores[place].append(score)
    preferred: dict[Key, str] = {}
    lost = 0
    for row in iter_jsonl(pairs) if pairs.is_file() else ():
        names = {"first": row["first"], "second": row["second"], TIE: TIE}
        if row["preferred"] is None:
            lost += 1
        else:
            preferred[Key(row["question"], frozenset((row["first"], row["second"])))] = names[row["preferred"]]
    means = {place: sum(values) / len(values) for place, values in scores.items()}
    return Judged(means, preferred, len(failed - means.keys()) + lost, _warning(domain))


def as_point(score: float) -> int:
    """A score of 0..1 on people's scale: 0 is 1, 1 is 5, and the nearest point between.

    >>> as_point(0), as_point(0.5), as_point(0.9), as_point(1)
    (1, 3, 5, 5)
    """
    return POINTS[0] + math.floor(score * (POINTS[-1] - POINTS[0]) + 0.5)


def _warning(domain: Domain) -> str:
    """A judge's folder whose manifest names other answers than those that are there is about others."""
    manifest = domain.judged / "manifest.json"
    used = read_json(manifest).get("inputs", {}).get("answers") if manifest.is_file() else None
    there = hash_json({path.name: hash_file(path) for path in sorted(domain.answers.glob("*.jsonl"))})
    if used is None or used == there:
        return ""
    return f"{shown(domain.judged)} was made from other answers; judge anew with: domainbench judge"
