"""The report's plots as PNG files, the same bytes for the same leaderboard.

Colours are those of Okabe and Ito (2008), told apart with any colour vision; every colour also has its own marker.
"""

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.escape import one_line
from benchmark.files import replacing
from benchmark.pages import BLUE, GREEN, GREY, LOOK, ORANGE
from benchmark.reporting.board import FEW, Comparison, Leaderboard, Mean
from benchmark.reporting.general import METRIC
from benchmark.reporting.page.costs import Costs
from benchmark.reporting.quadrants import draw_quadrants
from benchmark.reporting.report_costs import draw_costs, figure_height, timed
from benchmark.reporting.systems import System
from benchmark.stats import counts, mean

_WIDTH = 8.0  # inches
_ROW = 0.34  # inches for each system
_DPI = 150
_EDGED = 300  # bars of so many questions at most are told apart by white edges; thinner ones would be nothing but edge
_SETTINGS = {**LOOK, "savefig.dpi": _DPI}


class Plot(NamedTuple):
    """A plot's file name (without folder) and what it shows, for those who cannot see it."""

    file: str
    caption: str


class _Style(NamedTuple):
    colour: str
    marker: str
    label: str
    face: str = ""  # the colour, unless the marker is hollow


def planned_plots(board: Leaderboard, costs: Mapping[str, Costs]) -> list[Plot]:
    """What `write_plots` draws for this leaderboard."""
    return [plot for plot, _ in _drawings(board, costs)]


def warm_up() -> None:
    """Draw something for nobody: matplotlib and its fonts are loaded then."""
    _figure(2.0).subplots().figure.canvas.draw()


def write_plots(board: Leaderboard, folder: Path, costs: Mapping[str, Costs] | None = None) -> list[Plot]:
    """Draw all plots into `folder`, which is replaced as a whole.

    Args:
        board: What they show.
        folder: Where they go.
        costs: Of each model, for the plot of quality against time.

    Returns:
        The plots in the report's order; without a system beside the baseline those of differences are left out, and
        without two models whose time was measured that of the costs is.
    """
    import matplotlib

    drawings = list(_drawings(board, costs or {}))
    with replacing(folder) as temporary, matplotlib.rc_context():
        matplotlib.rcdefaults()  # not the user's matplotlibrc
        matplotlib.rcParams.update(_SETTINGS)
        for plot, draw in drawings:
            (temporary / plot.file).write_bytes(_png(draw()))
    return [plot for plot, _ in drawings]


def _drawings(board: Leaderboard, costs: Mapping[str, Costs]) -> Iterator[tuple[Plot, Callable[[], Any]]]:
    label, n = board.main.label, len(board.queries)
    yield Plot("scores.png", f"{label} of each model with 95 % intervals, n = {n}"), lambda: _scores(board)
    if board.subjects:
        names = ", ".join(system.name for system in board.subjects)
        caption = f"Difference in {label} to the baseline with 95 % intervals, n = {n}"
        yield Plot("differences.png", caption), lambda: _differences(board)
        yield Plot("queries.png", f"Gain or loss in {label} of every question: {names}"), lambda: _queries(board)
    general = board.general
    if general is not None and general.rows:
        caption = (
            f"Gain in {label} on the domain (n = {n}) against change in {METRIC.label} on general sets "
            f"(n = {general.n}) with 95 % intervals"
        )
        yield Plot("forgetting.png", caption), lambda: draw_quadrants(_figure(5.4), board, general)
    yield Plot("categories.png", f"{label} by category with 95 % intervals"), lambda: _categories(board)
    caption = f"{label} of the reranking task with 95 % intervals, n = {n}"
    yield Plot("reranking.png", caption), lambda: _reranking(board)
    points = len(timed(board, costs)) if costs else 0
    if points > 1:
        caption = f"{label} (n = {n}) against milliseconds for a query of {points} models, with their Pareto front"
        yield Plot("costs.png", caption), lambda: draw_costs(_figure(figure_height(points)), board, costs)


def _figure(height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Any) -> bytes:
    """What `savefig` would write, which draws everything twice."""
    from matplotlib.image import imsave

    figure.canvas.draw()
    stream = io.BytesIO()
    metadata: dict[str, Any] = {"Software": None}
    imsave(stream, figure.canvas.buffer_rgba(), format="png", dpi=_DPI, metadata=metadata)
    return stream.getvalue()


def _name(text: str) -> str:
    return one_line(text, 44)


# --- scores ---------------------------------------------------------------------------------------------------------


def _style(board: Leaderboard, system: System) -> _Style:
    if system.name == board.baseline.name:
        return _Style(GREY, "s", "baseline")
    if system.tuned_from is not None:
        return _Style(ORANGE, "D", "tuned on this domain")
    return _Style(BLUE, "o", "other models")


def _point(axes: Any, place: int, row: Mean | Comparison, style: _Style) -> float:
    """One mean with its interval; returns the mean."""
    value = row.mean if isinstance(row, Mean) else row.difference
    if row.low is not None and row.high is not None:
        axes.plot([row.low, row.high], [place, place], color=style.colour, linewidth=2, solid_capstyle="butt")
    axes.plot(value, place, style.marker, color=style.colour, markersize=7, markerfacecolor=style.face or style.colour)
    return value


def _figures(axes: Any, texts: Sequence[str]) -> None:
    """The value of each row, in a column to the right of the axes."""
    for place, text in enumerate(texts):
        axes.text(1.015, place, text, va="center", transform=axes.get_yaxis_transform())


def _rows(axes: Any, names: Sequence[str]) -> None:
    """One row for each name, the first on top."""
    axes.set_yticks(range(len(names)), [_name(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def _key(figure: Any, styles: Sequence[_Style]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            color=style.colour,
            marker=style.marker,
            markerfacecolor=style.face or style.colour,
            linewidth=2,
            markersize=7,
            label=style.label,
        )
        for style in dict.fromkeys(styles)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)


def _score_panel(board: Leaderboard, task: str, title: str) -> Any:
    systems = board.ranked(task)
    figure = _figure(1.5 + _ROW * len(systems))
    axes = figure.subplots()
    base = board.mean(task, board.baseline.name).mean
    axes.axvline(base, color=GREY, linewidth=1, linestyle="--")
    means = [
        _point(axes, place, board.mean(task, system.name), _style(board, system))
        for place, system in enumerate(systems)
    ]
    _figures(axes, [f"{value:.3f}" for value in means])
    _rows(axes, [system.name for system in systems])
    axes.set_xlabel(f"{board.main.label} (mean and 95 % interval)")
    axes.set_title(title)
    _key(figure, [_style(board, system) for system in systems])
    return figure


def _scores(board: Leaderboard) -> Any:
    return _score_panel(board, "retrieval", f"Retrieval: {board.main.label}, n = {len(board.queries)} questions")


def _reranking(board: Leaderboard) -> Any:
    title = f"Reranking of the same candidates: {board.main.label}, n = {len(board.queries)} questions"
    return _score_panel(board, "reranking", title)


# --- differences ----------------------------------------------------------------------------------------------------

_VERDICTS = {
    "better": _Style(BLUE, "^", "better"),
    "worse": _Style(ORANGE, "v", "worse"),
    "not shown": _Style(GREY, "o", "not shown", "white"),
}


def _differences(board: Leaderboard) -> Any:
    compared = [board.comparison("retrieval", system.name) for system in board.ranked("retrieval")]
    rows: list[Comparison] = [row for row in compared if row is not None]
    figure = _figure(1.7 + _ROW * len(rows))
    axes = figure.subplots()
    axes.axvline(0, color=GREY, linewidth=1, linestyle="--")
    means = [_point(axes, place, row, _VERDICTS[row.verdict]) for place, row in enumerate(rows)]
    _figures(axes, [f"{value:+.3f}".replace("-", "−") for value in means])
    _rows(axes, [row.system for row in rows])
    axes.set_xlabel(f"{board.main.label}: model minus {_name(board.baseline.name)} (mean and 95 % interval)")
    axes.set_title(f"Difference to the baseline, n = {len(board.queries)} questions; verdicts after Holm's correction")
    _key(figure, [_VERDICTS[row.verdict] for row in rows])
    return figure


# --- categories -----------------------------------------------------------------------------------------------------


def _categories(board: Leaderboard) -> Any:
    systems = board.ranked("retrieval")
    columns = min(3, len(board.categories))
    lines = math.ceil(len(board.categories) / columns)
    figure = _figure(0.9 + lines * (0.95 + _ROW * len(systems)))
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (category, n) in zip(panels, board.categories.items(), strict=False):
        base = board.mean("retrieval", board.baseline.name, None, category).mean
        axes.axvline(base, color=GREY, linewidth=1, linestyle="--")
        for place, system in enumerate(systems):
            _point(axes, place, board.mean("retrieval", system.name, None, category), _style(board, system))
        _rows(axes, [system.name for system in systems])
        few = ", few" if n < FEW else ""
        axes.set_title(f"{one_line(category, 24)} (n = {n}{few})")
        axes.set_xlabel(board.main.label)
        axes.tick_params(axis="x", labelbottom=True)
    for axes in panels[len(board.categories) :]:
        axes.set_visible(False)
    figure.suptitle("Retrieval by category (mean and 95 % interval)", x=0.01, ha="left", fontsize=11)
    _key(figure, [_style(board, system) for system in systems])
    return figure


# --- queries --------------------------------------------------------------------------------------------------------


def _queries(board: Leaderboard) -> Any:
    figure = _figure(0.3 + 2.9 * len(board.subjects))
    panels = figure.subplots(len(board.subjects), 1, squeeze=False, sharey=True).ravel()
    scores = board.scores["retrieval"]
    base = scores[board.baseline.name][board.main]
    for axes, system in zip(panels, board.subjects, strict=True):
        gaps = sorted(
            (after - before for after, before in zip(scores[system.name][board.main], base, strict=True)), reverse=True
        )
        _waterfall(axes, gaps)
        axes.set_ylabel(f"change in {board.main.label}")
        title = f"{_name(system.name)} against {_name(board.baseline.name)}"
        axes.set_title(f"{board.main.label} of each question: {title}, n = {len(gaps)}")
    panels[-1].set_xlabel("questions, from the largest gain to the largest loss")
    return figure


def _waterfall(axes: Any, gaps: Sequence[float]) -> None:
    from matplotlib.collections import PolyCollection

    colours = [BLUE if gap > 0 else ORANGE for gap in gaps]
    edge = 0.3 if len(gaps) <= _EDGED else 0.0
    # All bars as one thing to draw: `bar` takes a second for a thousand questions.
    bars = [[(x - 0.5, 0), (x - 0.5, gap), (x + 0.5, gap), (x + 0.5, 0)] for x, gap in enumerate(gaps)]
    axes.add_collection(
        PolyCollection(bars, facecolors=colours, edgecolors="white", linewidths=edge, antialiaseds=edge > 0)
    )
    axes.axhline(0, color=GREY, linewidth=1)
    axes.axhline(mean(gaps), color=GREEN, linewidth=1.5, linestyle="--")
    axes.set_ylim(-1.08, 1.08)
    axes.set_xlim(-0.5, len(gaps) - 0.5)
    axes.grid(axis="y")
    wins, losses, ties = counts(gaps)
    texts = [
        (0.02, 0.06, "left", BLUE, f"▲ {wins} gained"),
        (0.50, 0.06, "center", GREY, f"{ties} equal"),
        (0.98, 0.90, "right", ORANGE, f"▼ {losses} lost"),
        (0.98, 0.78, "right", GREEN, f"mean {mean(gaps):+.3f}".replace("-", "−")),
    ]
    for x, y, align, colour, text in texts:
        axes.text(x, y, text, ha=align, color=colour, transform=axes.transAxes, fontweight="bold")
