"""The plot of gain on the domain against change on general sets."""

from typing import Any, Final, NamedTuple

from benchmark.escape import one_line
from benchmark.pages import BLUE, GREY, ORANGE
from benchmark.reporting.board import TASKS, Comparison, Leaderboard
from benchmark.reporting.general import METRIC, General, GeneralRow, Overall

_COLOURS: Final[dict[Overall, str]] = {"WIN": BLUE, "MARGINAL": GREY, "REGRESSION": ORANGE}
_MARKERS: Final[dict[Overall, str]] = {"WIN": "^", "MARGINAL": "o", "REGRESSION": "v"}
_AT_LEAST: Final = 0.03
"""Half a side of the picture, in nDCG: smaller changes are not blown up."""


class _Point(NamedTuple):
    """A system: its change on the general sets (across) and on the domain (up), and its verdict."""

    name: str
    across: GeneralRow
    up: Comparison
    verdict: Overall


def draw_quadrants(figure: Any, board: Leaderboard, general: General) -> Any:
    """Fill a figure: a point with two intervals for each system, numbered as in the list beside it.

    Args:
        figure: An empty one of matplotlib.
        board: The leaderboard.
        general: Its general sets, with rows.

    Returns:
        The figure.
    """
    points = [
        _Point(system.name, across, up, general.verdicts[system.name])
        for system in board.ranked(TASKS[0])
        if (across := general.row(system.name)) and (up := board.comparison(TASKS[0], system.name))
    ]
    axes, words = figure.subplots(1, 2, width_ratios=[3, 1.25])
    _frame(axes, board, general, points)
    for number, point in enumerate(points, start=1):
        _draw(axes, number, point)
    _list(words, points)
    return figure


def _frame(axes: Any, board: Leaderboard, general: General, points: list[_Point]) -> None:
    """Axes through zero, the margin, and what each quarter means."""
    left, right = _range([(point.across.low, point.across.difference, point.across.high) for point in points])
    low, high = _range([(point.up.low, point.up.difference, point.up.high) for point in points])
    # Room on each side of zero for the words in the corners.
    left = min(left, -2 * general.margin, -0.35 * right)
    right, low, high = max(right, -0.35 * left), min(low, -0.2 * high), max(high, -0.2 * low)
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
    axes.axvspan(left, -general.margin, color=ORANGE, alpha=0.08, linewidth=0)
    axes.axhline(0, color=GREY, linewidth=1)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.axvline(-general.margin, color=ORANGE, linewidth=1, linestyle="--")
    corners = [
        (0.015, 0.985, "left", "top", "gains here,\nloses elsewhere"),
        (0.985, 0.985, "right", "top", "gains here,\nkeeps the rest"),
        (0.015, 0.015, "left", "bottom", "loses here,\nloses elsewhere"),
        (0.985, 0.015, "right", "bottom", "loses here,\nkeeps the rest"),
    ]
    for x, y, across, up, text in corners:
        axes.text(x, y, text, ha=across, va=up, transform=axes.transAxes, color=GREY, style="italic")
    axes.text(
        -general.margin, (low + high) / 2, f"margin −{general.margin:g} ", color=ORANGE, rotation=90, ha="right",
        va="center",
    )  # fmt: skip
    axes.set_xlabel(f"general sets: change in {METRIC.label}, n = {general.n}")
    axes.set_ylabel(f"domain: change in {board.main.label}, n = {len(board.queries)}")
    axes.set_title(f"Gain and forgetting against {one_line(board.baseline.name, 36)}, with 95 % intervals")


def _range(intervals: list[tuple[float | None, float, float | None]]) -> tuple[float, float]:
    """The ends of an axis: every interval, zero, and some air."""
    values = [value for interval in intervals for value in interval if value is not None]
    low, high = min([*values, -_AT_LEAST]), max([*values, _AT_LEAST])
    air = 0.14 * (high - low)
    return low - air, high + air


def _draw(axes: Any, number: int, point: _Point) -> None:
    from matplotlib.patheffects import withStroke

    x, y, colour = point.across.difference, point.up.difference, _COLOURS[point.verdict]
    if point.across.low is not None and point.across.high is not None:
        axes.plot([point.across.low, point.across.high], [y, y], color=colour, linewidth=1.5, alpha=0.6)
    if point.up.low is not None and point.up.high is not None:
        axes.plot([x, x], [point.up.low, point.up.high], color=colour, linewidth=1.5, alpha=0.6)
    face = "white" if point.verdict == "MARGINAL" else colour
    axes.plot(x, y, _MARKERS[point.verdict], color=colour, markerfacecolor=face, markersize=8, zorder=3)
    axes.annotate(
        str(number), (x, y), (6, 5), textcoords="offset points", color=colour, fontweight="bold", zorder=4,
        path_effects=[withStroke(linewidth=3, foreground="white")],
    )  # fmt: skip


def _list(axes: Any, points: list[_Point]) -> None:
    """Number, name and verdict of each point."""
    axes.set_axis_off()
    step = min(0.09, 0.98 / max(1, len(points)))
    for number, point in enumerate(points, start=1):
        top, colour = 1.0 - step * (number - 1), _COLOURS[point.verdict]
        axes.text(0.0, top, f"{number}  {one_line(point.name, 26)}", va="top", color=colour, fontweight="bold")
        if step > 0.06:
            axes.text(0.0, top - 0.042, f"     {point.verdict}", va="top", color=colour)
