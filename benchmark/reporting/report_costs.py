"""What each model costs to run, for the report: a table, and the plot of quality against time."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from benchmark.escape import code, one_line
from benchmark.files import Json
from benchmark.pages import BLUE, GREEN, GREY, ORANGE
from benchmark.reporting.board import TASKS, Leaderboard, Mean
from benchmark.reporting.page.costs import Costs, costs_of, count, milliseconds, size
from benchmark.reporting.render import number, system_cell, table
from benchmark.reporting.systems import System


def read_costs(board: Leaderboard, manifests: Mapping[str, Json]) -> dict[str, Costs]:
    """Costs by model, from the manifests of the retrieval runs.

    Args:
        board: Has the models.
        manifests: By model; a model may be missing.
    """
    return {system.name: costs_of(system, manifests.get(system.name, {})) for system in board.systems}


def cost_table(board: Leaderboard, costs: Mapping[str, Costs]) -> Markup | None:
    """Quality, time and size of each model, the best first; None where nothing was measured."""
    if not any(row.measured for row in costs.values()):
        return None
    rows: list[list[object]] = []
    for system in board.ranked(TASKS[0]):
        row = costs[system.name]
        rate = row.chunks_per_second
        rows.append([
            system_cell(board, system.name), number(board.mean(TASKS[0], system.name).mean),
            milliseconds(row.latency_p50), milliseconds(row.latency_p95),
            "" if rate is None else f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}",
            size(row.index_bytes_per_million), count(row.parameters),
            "" if row.dimensions is None else f"{row.dimensions:g}",
        ])  # fmt: skip
    head = ["Model", board.main.label, "Query, median", "Slowest in 20", "Passages / s", "Index of a million",
            "Parameters", "Dimensions"]  # fmt: skip
    return table(head, rows)


def machines(costs: Mapping[str, Costs]) -> list[str]:
    """What the costs were measured on, each machine once."""
    return list(dict.fromkeys(row.machine for row in costs.values() if row.measured and row.machine))


def pareto_front(board: Leaderboard, costs: Mapping[str, Costs]) -> list[str]:
    """Models that no other one is both faster than and better than in the mean of the main metric, the fastest first.

    The same rule as the page's: of two that take equally long the better one, of two equal ones the first.
    """
    means = {name: board.mean(TASKS[0], name).mean for name in timed(board, costs)}
    front: list[str] = []
    for name in sorted(means, key=lambda name: (costs[name].latency_p50, -means[name])):
        if not front or means[name] > means[front[-1]]:
            front.append(name)
    return front


def front_sentence(board: Leaderboard, costs: Mapping[str, Costs]) -> Markup | None:
    """Which models are on the front; None where fewer than two were timed."""
    if len(timed(board, costs)) < 2:
        return None
    listed = Markup("; ").join(
        Markup("{} ({}, {})").format(
            code(name), milliseconds(costs[name].latency_p50), number(board.mean(TASKS[0], name).mean)
        )
        for name in pareto_front(board, costs)
    )
    return Markup(
        "On the Pareto front of {} and time, the fastest first: {}. No other model is both faster and better in the "
        "mean; where intervals overlap, that is no proof. Each time was measured once, beside whatever else the machine "
        "did: two that differ by less than half are to be taken for the same."
    ).format(board.main.label, listed)


# --- plot -----------------------------------------------------------------------------------------------------------


class _Point(NamedTuple):
    """A model: its time in milliseconds (across) and its quality (up)."""

    system: System
    across: float
    up: Mean


def timed(board: Leaderboard, costs: Mapping[str, Costs]) -> list[str]:
    """Names of the models whose time for a query was measured, the best first."""
    return [system.name for system in board.ranked(TASKS[0]) if costs[system.name].latency_p50]


def draw_costs(figure: Any, board: Leaderboard, costs: Mapping[str, Costs]) -> Any:
    """Fill a figure: a point with its interval for each model, numbered as in the list beside it, and the Pareto front.

    Args:
        figure: An empty one of matplotlib.
        board: The leaderboard.
        costs: By model; models without a measured time are left out.

    Returns:
        The figure.
    """
    names = timed(board, costs)
    points = [
        _Point(system, float(costs[system.name].latency_p50 or 0), board.mean(TASKS[0], system.name))
        for system in board.ranked(TASKS[0])
        if system.name in names
    ]
    axes, words = figure.subplots(1, 2, width_ratios=[3, 1.6])
    axes.set_xscale("log")
    times = [point.across for point in points]
    axes.set_xlim(min(times) / 2, max(times) * 2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.4g}")
    axes.grid(visible=True)
    axes.set_xlabel("milliseconds for a query, the median (logarithmic)")
    axes.set_ylabel(f"{board.main.label} (mean and 95 % interval)")
    axes.set_title(f"Quality against time, n = {len(board.queries)}: up and left is better; ringed: the Pareto front")
    front = {point.system.name: point for point in points}
    _draw_front(axes, [front[name] for name in pareto_front(board, costs)])
    for order, point in enumerate(points, start=1):
        _draw(axes, order, point, _colour(board, point.system))
    _list(words, board, points)
    return figure


def _colour(board: Leaderboard, system: System) -> str:
    if system.name == board.baseline.name:
        return GREY
    return BLUE if system.tuned_from is None else ORANGE


def _draw(axes: Any, order: int, point: _Point, colour: str) -> None:
    from matplotlib.patheffects import withStroke

    x, y = point.across, point.up.mean
    if point.up.low is not None and point.up.high is not None:
        axes.plot([x, x], [point.up.low, point.up.high], color=colour, linewidth=1.5, alpha=0.5)
    marker = {GREY: "s", ORANGE: "D", BLUE: "o"}[colour]
    axes.plot(x, y, marker, color=colour, markersize=7, zorder=3)
    # Neighbours at the same time get their numbers on different sides.
    side = 7 if order % 2 else -7
    axes.annotate(
        str(order), (x, y), (side, 3), textcoords="offset points", color=colour, fontweight="bold", zorder=4,
        ha="left" if side > 0 else "right", path_effects=[withStroke(linewidth=3, foreground="white")],
    )  # fmt: skip


def _draw_front(axes: Any, front: Sequence[_Point]) -> None:
    """A ring around each model that no other is both faster and better than, and a stair through them."""
    across, up = [point.across for point in front], [point.up.mean for point in front]
    axes.step(across, up, where="post", color=GREEN, linewidth=1.5, linestyle="--", zorder=1)
    axes.plot(across, up, "o", color=GREEN, markersize=13, markerfacecolor="none", zorder=2)


def _list(axes: Any, board: Leaderboard, points: Sequence[_Point]) -> None:
    """Number, name, quality and time of each point."""
    axes.set_axis_off()
    step = min(0.115, 0.98 / max(1, len(points)))
    for order, point in enumerate(points, start=1):
        top, colour = 1.0 - step * (order - 1), _colour(board, point.system)
        axes.text(0.0, top, f"{order}  {one_line(point.system.name, 30)}", va="top", color=colour, fontweight="bold")
        if step > 0.085:
            words = f"     {point.up.mean:.3f}, {milliseconds(point.across)}"
            axes.text(0.0, top - 0.05, words, va="top", color=colour)


def figure_height(points: int) -> float:
    """Inches, so that the list has room; past about twenty models it is narrower."""
    return min(9.0, max(4.2, 1.2 + 0.42 * points))
