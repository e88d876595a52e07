"""What a sweep leaves for people: a table as CSV and Markdown, and a plot; the same bytes for the same trials."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmark.escape import csv_cell, md, one_line
from benchmark.files import write_bytes
from benchmark.pages import BLUE, GREEN, GREY, LOOK, ORANGE
from benchmark.stats import Interval

_WIDTH, _HEIGHT, _DPI = 8.0, 3.2, 125  # inches, dots an inch: 1000 pixels
_COLUMNS = 3  # panels side by side
_SETTINGS: Final = {**LOOK, "savefig.dpi": _DPI}


@dataclass(frozen=True)
class Row:
    """A trial, done or left out.

    Attributes:
        settings: What the sweep set, in words by name.
        score: nDCG@10 on the development split by which trials are chosen; None if it was left out.
        gap: The score minus that of the first trial, where it is known.
        interval: Of the gap, at 95 %, where scores by query are known.
        seconds: That training took.
        chosen: Whether it became the model.
    """

    settings: dict[str, str]
    score: float | None
    gap: float | None
    interval: Interval | None
    seconds: float | None
    chosen: bool

    @property
    def state(self) -> str:
        """Chosen, done, or left out."""
        if self.score is None:
            return "left out for lack of time"
        return "chosen" if self.chosen else ""


@dataclass(frozen=True)
class Page:
    """What is told of a sweep.

    Attributes:
        name: Of the run.
        minutes: Its budget.
        queries: What development queries the scores are means of.
        before: The base's score on them; None where it has none.
        rows: The trials, the run as it stands first.
    """

    name: str
    minutes: float
    queries: str
    before: float | None
    rows: Sequence[Row]

    @property
    def settings(self) -> list[str]:
        """Names of what the sweep set."""
        return list(self.rows[0].settings)


def write_pages(folder: Path, page: Page) -> None:
    """Write `sweep.csv`, `sweep.md` and `sweep.png` into a folder; files that would not change are left alone."""
    for name, content in (
        ("sweep.csv", _csv(page).encode()),
        ("sweep.md", _markdown(page).encode()),
        ("sweep.png", _plot(page)),
    ):
        path = folder / name
        if not path.is_file() or path.read_bytes() != content:
            write_bytes(path, content)


def _csv(page: Page) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["trial", *page.settings, "base_ndcg@10", "ndcg@10", "difference", "low", "high", "seconds", "state"]
    )
    for number, row in enumerate(page.rows, start=1):
        low, high = row.interval or (None, None)
        figures = (page.before, row.score, row.gap, low, high)
        writer.writerow(
            [
                number,
                *(csv_cell(value) for value in row.settings.values()),
                *("" if figure is None else f"{figure:.6f}" for figure in figures),
                "" if row.seconds is None else f"{row.seconds:.1f}",
                row.state,
            ]
        )
    return stream.getvalue()


def _markdown(page: Page) -> str:
    done = [row for row in page.rows if row.score is not None]
    spent = sum(row.seconds or 0.0 for row in done) / 60
    head = ["trial", *(md(name) for name in page.settings), "base", "nDCG@10", "difference to trial 1", "seconds", ""]
    lines = [
        f"# Sweep of {md(page.name)}",
        "",
        f"{len(done)} of {len(page.rows)} trials in {spent:.1f} of {page.minutes:g} minutes of training. nDCG@10 over "
        f"{md(page.queries)}, on documents that training never sees; differences with 95 % intervals (bootstrap over "
        "queries) where scores by query are known. The test set has no part in this.",
        "",
        "| " + " | ".join(str(cell) for cell in head) + " |",
        "| --: |" + " :-- |" * len(page.settings) + " --: | --: | --: | --: | :-- |",
    ]
    for number, row in enumerate(page.rows, start=1):
        cells = [
            str(number),
            *(str(md(value)) for value in row.settings.values()),
            _figure(page.before),
            _figure(row.score),
            _gap(row),
            "" if row.seconds is None else f"{row.seconds:.0f}",
            f"**{row.state}**" if row.chosen else row.state,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", "![nDCG@10 by setting](sweep.png)", ""])


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _gap(row: Row) -> str:
    if row.gap is None:
        return ""
    ends = f" ({row.interval.low:+.4f} to {row.interval.high:+.4f})" if row.interval else ""
    return f"{row.gap:+.4f}{ends}"


# --- the plot -------------------------------------------------------------------------------------------------------


def _plot(page: Page) -> bytes:
    """A panel for each setting, with every trial at its value; the base as a line."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in page.settings if len({row.settings[name] for row in page.rows}) > 1] or page.settings
    columns = min(_COLUMNS, len(names))
    lines = -(-len(names) // columns)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # not the user's matplotlibrc
        matplotlib.rcParams.update(_SETTINGS)
        figure = Figure(figsize=(_WIDTH, _HEIGHT * lines + 0.4), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            _panel(axes, page, name)
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        figure.supylabel("nDCG@10 on the development split", fontsize=10)
        figure.suptitle(f"Sweep of {one_line(page.name, 60)}: each number is a trial", x=0.01, ha="left", fontsize=11)
        _key(figure, page)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _panel(axes: Any, page: Page, name: str) -> None:
    values = _in_order(row.settings[name] for row in page.rows)
    if page.before is not None:
        axes.axhline(page.before, color=GREY, linewidth=1, linestyle="--")
    for place, value in enumerate(values):
        found = [(number, row) for number, row in enumerate(page.rows, start=1) if row.settings[name] == value]
        done = [(number, row) for number, row in found if row.score is not None]
        for spot, (number, row) in enumerate(done):
            # Side by side, so that equal scores do not hide one another.
            x = place + (spot - (len(done) - 1) / 2) * 0.6 / max(1, len(done))
            colour, marker, size, _ = _look(number, row)
            axes.plot(x, row.score, marker, color=colour, markersize=size)
            axes.annotate(
                str(number), (x, row.score), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8
            )
        if len(done) < len(found):
            axes.text(place, 0.01, f"{len(found) - len(done)} left out", ha="center", va="bottom", fontsize=8,
                      color=GREY, transform=axes.get_xaxis_transform())  # fmt: skip
    axes.set_xticks(range(len(values)), [one_line(value, 18) for value in values])
    axes.set_xlim(-0.5, len(values) - 0.5)
    axes.margins(y=0.16)
    axes.grid(axis="y")
    axes.set_title(one_line(name.replace("_", " "), 32))


def _in_order(values: Iterable[str]) -> list[str]:
    """Each value once: numbers by size, words as they come.

    >>> _in_order(["2e-05", "1e-05", "1", "1"]), _in_order(["mnrl", "gist"])
    (['1e-05', '2e-05', '1'], ['mnrl', 'gist'])
    """
    found = list(dict.fromkeys(values))
    try:
        return sorted(found, key=float)
    except ValueError:
        return found


def _look(number: int, row: Row) -> tuple[str, str, float, str]:
    """Colour, marker, size and label of a trial."""
    if row.chosen:
        return ORANGE, "D", 8.0, "chosen"
    if number == 1:
        return GREEN, "s", 7.0, "the run as it stands"
    return BLUE, "o", 7.0, "other trials"


def _key(figure: Any, page: Page) -> None:
    from matplotlib.lines import Line2D

    done = [(number, row) for number, row in enumerate(page.rows, start=1) if row.score is not None]
    looks = dict.fromkeys(_look(number, row) for number, row in done)
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=size, label=label)
        for colour, marker, size, label in looks
    ]
    if page.before is not None:
        handles.append(Line2D([], [], color=GREY, linewidth=1, linestyle="--", label="base"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
