"""From scores on domain and general sets to WIN, MARGINAL or REGRESSION (pure: no file, no clock).

The queries of all general sets are pooled, so that a set counts by its queries. Families for Holm's correction: the
pooled comparison of every system; and, where there are several sets, every system on every set.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from benchmark.reporting.board import TASKS, Leaderboard, Settings
from benchmark.reporting.compact import ends, kept
from benchmark.reporting.general import General, GeneralRow, Overall
from benchmark.stats import (
    Floats,
    Forgetting,
    Verdict,
    bootstrap_intervals,
    differences,
    forgetting,
    holm,
    mean,
    minimum_detectable,
    sign_flip_tests,
)


def with_forgetting(board: Leaderboard) -> Leaderboard:
    """The leaderboard with what its general sets show; as it is where there are none.

    Args:
        board: With its comparisons on the domain.

    Raises:
        BenchError: There is no query, or a score is NaN.
    """
    general = board.general
    if general is None or len(board.systems) == 1:
        return board
    names = [system.name for system in board.systems]
    families = [_group(board.settings, general, None, [general.pooled(name) for name in names], names)]
    if len(general.sets) > 1:
        single = (
            _group(board.settings, general, one.name, [one.scores[name] for name in names], names)
            for one in general.sets
        )
        families.append([row for rows in single for row in rows])
    rows = [row for family in families for row in _corrected(family, general.margin, board.settings.alpha)]
    return replace(board, general=replace(general, rows=tuple(rows), verdicts=dict(_verdicts(board, rows))))


def overall(domain: Verdict, general: Forgetting) -> Overall:
    """The verdict on a system.

    >>> overall("better", "excluded"), overall("better", "not excluded"), overall("better", "shown")
    ('WIN', 'MARGINAL', 'REGRESSION')

    Args:
        domain: The headline's verdict.
        general: Whether forgetting is shown on all general sets together.
    """
    if domain == "worse" or general == "shown":
        return "REGRESSION"
    return "WIN" if domain == "better" and general == "excluded" else "MARGINAL"


def _verdicts(board: Leaderboard, rows: Sequence[GeneralRow]) -> Iterator[tuple[str, Overall]]:
    for row in rows:
        compared = board.comparison(TASKS[0], row.system)
        if row.group is None and compared is not None:
            yield row.system, overall(compared.verdict, row.forgetting)


def _group(
    settings: Settings, general: General, group: str | None, scores: Sequence[Sequence[float]], names: Sequence[str]
) -> list[GeneralRow]:
    """Every system but the first against the first; p values not yet corrected."""
    values = np.asarray(scores, dtype=np.float64).T
    gaps: Floats = np.column_stack([differences(values[:, place], values[:, 0]) for place in range(1, len(names))])
    intervals = bootstrap_intervals(gaps, resamples=settings.bootstrap, seed=settings.seed)
    p_values = sign_flip_tests(gaps, permutations=settings.permutations, seed=settings.seed)
    rows = []
    for place, (name, interval, p) in enumerate(zip(names[1:], intervals, p_values, strict=True)):
        column = gaps[:, place]
        detectable = minimum_detectable(column, alpha=settings.alpha)
        low, high = ends(interval)
        rows.append(
            GeneralRow(
                system=name,
                group=group,
                n=len(column),
                before=kept(mean(values[:, 0])),
                after=kept(mean(values[:, place + 1])),
                difference=kept(mean(column)),
                low=low,
                high=high,
                p=kept(p),
                corrected_p=kept(p),
                detectable=None if detectable is None else kept(detectable),
                forgetting="not excluded",
            )
        )
    return rows


def _corrected(rows: Sequence[GeneralRow], margin: float, alpha: float) -> list[GeneralRow]:
    corrected = map(kept, holm([row.p for row in rows]))
    return [
        replace(row, corrected_p=p, forgetting=forgetting(row.difference, row.low, p, margin, alpha))
        for row, p in zip(rows, corrected, strict=True)
    ]
