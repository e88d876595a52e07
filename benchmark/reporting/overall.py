"""`results/leaderboard.{json,md,csv,tex}`: several domains together, made from their own leaderboards."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmark.errors import BenchError, Problems
from benchmark.files import Json, read_json, read_text, shown, write_text
from benchmark.project import Project
from benchmark.reporting.board import TASKS, Leaderboard, Settings
from benchmark.reporting.compact import close, dump_compact, ends, kept
from benchmark.reporting.overall_pages import PAGES
from benchmark.stats import Verdict, differences, holm, sign_flip_test, stratified_interval, verdict

FORMAT = "domainbench-overall/1"
_SUFFIXES = ("md", "csv", "tex", "json")


@dataclass(frozen=True)
class Against:
    """A system against the baseline over several domains, each domain counting the same.

    Attributes:
        difference: Mean over the domains of the mean difference in each.
        low: Lower end of its 95 % interval (questions are drawn within their domain); None where a domain has one.
        high: Upper end.
        p: Paired sign-flip test over all questions, weighted so that domains count the same.
        corrected_p: After Holm's correction over the systems.
        verdict: better, worse or not shown.
    """

    difference: float
    low: float | None
    high: float | None
    p: float
    corrected_p: float
    verdict: Verdict


@dataclass(frozen=True)
class OverallRow:
    """A system over several domains.

    Attributes:
        system: Its name.
        rank: By Borda count, as in MTEB; equal counts share the better rank.
        points: The Borda count: in each domain the number of systems less the system's rank there.
        mean: Mean over the domains of its means.
        by_domain: Its mean in each domain, in the order of `Overall.domains`.
        against: Its comparison with the baseline; None for the baseline itself.
    """

    system: str
    rank: int
    points: float
    mean: float
    by_domain: tuple[float, ...]
    against: Against | None


@dataclass(frozen=True)
class Overall:
    """Several domains' leaderboards in one; retrieval, main metric.

    Attributes:
        settings: What decides the statistics, the same in every domain.
        metric: The main metric's label.
        domains: Their names.
        queries: How many each has.
        testsets: Their test sets' hashes.
        rows: Best rank first.
    """

    settings: Settings
    metric: str
    domains: tuple[str, ...]
    queries: tuple[int, ...]
    testsets: tuple[str, ...]
    rows: tuple[OverallRow, ...]

    def to_json(self) -> Json:
        """A JSON object, in full precision."""
        return {"format": FORMAT, **asdict(self)}


def overall(boards: Sequence[Leaderboard]) -> Overall:
    """Put leaderboards of one benchmark file together.

    Raises:
        BenchError: There is no leaderboard, or they do not compare the same systems under the same settings.
    """
    from scipy.stats import rankdata

    if not boards:
        raise BenchError("no leaderboard to put together")
    first, names = boards[0], [system.name for system in boards[0].systems]
    for board in boards[1:]:
        if [system.name for system in board.systems] != names or board.settings != first.settings:
            raise BenchError(
                f"the leaderboards of {first.domain} and {board.domain} do not compare the same models under the same "
                "settings; make them anew with one benchmark file: domainbench leaderboard"
            )
    means = np.array([[board.mean(TASKS[0], name).mean for board in boards] for name in names])
    points = (len(names) - rankdata(-means, method="average", axis=0)).sum(axis=1)
    ranks = rankdata(-points, method="min").astype(int)
    against = dict(zip(names[1:], _against(boards, names), strict=True))
    rows = [
        OverallRow(name, int(rank), float(count), kept(float(row.mean())), tuple(row.tolist()), against.get(name))
        for name, rank, count, row in zip(names, ranks, points, means, strict=True)
    ]
    return Overall(
        settings=first.settings,
        metric=first.main.label,
        domains=tuple(board.domain for board in boards),
        queries=tuple(len(board.queries) for board in boards),
        testsets=tuple(board.testset for board in boards),
        rows=tuple(sorted(rows, key=lambda row: (row.rank, -row.mean))),
    )


def _against(boards: Sequence[Leaderboard], names: Sequence[str]) -> list[Against]:
    settings, total = boards[0].settings, sum(len(board.queries) for board in boards)
    found = []
    for name in names[1:]:
        gaps = [
            differences(*(np.asarray(board.scores[TASKS[0]][one][board.main]) for one in (name, names[0])))
            for board in boards
        ]
        # Scaled so that the plain mean over all questions is the mean over the domains.
        scaled = np.concatenate([part * (total / (len(boards) * len(part))) for part in gaps])
        p = sign_flip_test(scaled, np.zeros(total), permutations=settings.permutations, seed=settings.seed)
        span = stratified_interval(gaps, resamples=settings.bootstrap, seed=settings.seed)
        found.append(Against(kept(float(scaled.mean())), *ends(span), kept(p), kept(p), "not shown"))
    corrected = holm([row.p for row in found])
    return [
        Against(row.difference, row.low, row.high, row.p, kept(p), verdict(row.difference, p, settings.alpha))
        for row, p in zip(found, corrected, strict=True)
    ]


# --- files ----------------------------------------------------------------------------------------------------------


def make_overall(project: Project, boards: Sequence[Leaderboard]) -> Path:
    """Write `results/leaderboard.{md,csv,tex,json}`; returns the first one's path.

    Raises:
        BenchError: As `overall`.
    """
    found = overall(boards)
    for suffix in _SUFFIXES:
        write_text(_path(project, suffix), _text(found, suffix))
    return _path(project, "md")


def check_overall(project: Project, boards: Sequence[Leaderboard]) -> None:
    """See to it that what was committed follows from the domains' leaderboards.

    Raises:
        BenchError: A file is missing or differs.
    """
    found = overall(boards)
    path = _path(project, "json")
    stored = read_json(path)
    with Problems() as problems:
        for suffix in _SUFFIXES[:-1]:
            if read_text(_path(project, suffix)) != _text(found, suffix):
                problems.add(f"{shown(_path(project, suffix))}: {_OLD}")
        if not _alike(stored, json.loads(_text(found, "json"))):
            problems.add(f"{shown(path)}: {_OLD}")


_OLD = "does not follow from the domains' leaderboards; make it anew: domainbench leaderboard"


def _alike(stored: object, derived: object) -> bool:
    """Whether two parts of a JSON file agree, figures up to their last digits."""
    if isinstance(stored, dict) and isinstance(derived, dict):
        return stored.keys() == derived.keys() and all(_alike(stored[key], derived[key]) for key in stored)
    if isinstance(stored, list) and isinstance(derived, list):
        return len(stored) == len(derived) and all(map(_alike, stored, derived))
    return close(stored, derived)


def _path(project: Project, suffix: str) -> Path:
    return project.root / "results" / f"leaderboard.{suffix}"


def _text(found: Overall, suffix: str) -> str:
    if suffix == "json":
        return dump_compact(found.to_json()) + "\n"
    return PAGES[suffix](found)
