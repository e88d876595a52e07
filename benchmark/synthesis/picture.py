"""The data card's picture: lengths of queries, what was asked for, what the rules dropped; the same bytes each time.

Colours are those of Okabe and Ito (2008), told apart with any colour vision; kept and dropped differ in pattern too.
"""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.escape import one_line
from benchmark.files import write_bytes
from benchmark.pages import BLUE, GREY, LOOK, ORANGE
from benchmark.synthesis.draft import ORIGINS, PEOPLE_LIKE, Draft, Dropped, word_count

_WIDTH, _DPI = 8.0, 125  # inches, dots an inch: 1000 pixels
_ROW = 0.34  # inches for each row
_SETTINGS = {**LOOK, "savefig.dpi": _DPI}
CAPTION = (
    "Words a kept query has, by origin (line: 5 to 95 % of the queries, bar: the middle half, mark: the median); "
    "queries kept and dropped by type; queries dropped by rule"
)


def write_picture(path: Path, kept: Sequence[Draft], dropped: Sequence[Dropped], rules: Mapping[str, int]) -> None:
    """Draw the picture as a PNG, 1000 pixels wide.

    Args:
        path: Where it goes.
        kept: The kept queries, at least one.
        dropped: What the filters removed.
        rules: Rule -> queries it dropped, in the order to show.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lengths: dict[str, Any] = {
        origin: np.array([word_count(draft.text) for draft in kept if draft.origin == origin])
        for origin in ORIGINS
        if any(draft.origin == origin for draft in kept)
    }
    types = _types(kept, dropped)
    heights = [_ROW * max(2, len(rows)) + 0.9 for rows in (lengths, types, rules)]
    heights[1] += 0.25  # its legend
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # not the user's matplotlibrc
        matplotlib.rcParams.update(_SETTINGS)
        figure = Figure(figsize=(_WIDTH, sum(heights)), layout="constrained")
        FigureCanvasAgg(figure)
        above, middle, below = figure.subplots(3, 1, height_ratios=heights)
        _lengths(above, lengths)
        _kept_and_dropped(middle, types)
        _rules(below, rules)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
    write_bytes(path, stream.getvalue())


def kind_of(draft: Draft) -> str:
    """A query's type; for a cut of the text, which has none, how it was cut.

    >>> kind_of(Draft("Who?", 0, "llm", "text", type="question"))
    'question'
    >>> kind_of(Draft("the words", 0, "span", "text"))
    'cut: span'
    """
    if draft.type:
        return draft.type
    return draft.origin if draft.origin in PEOPLE_LIKE else f"cut: {draft.origin}"


def _types(kept: Sequence[Draft], dropped: Sequence[Dropped]) -> dict[str, tuple[int, int]]:
    """Type -> kept and dropped queries, the most frequent first."""
    stayed = Counter(kind_of(draft) for draft in kept)
    gone = Counter(kind_of(item.draft) for item in dropped)
    order = sorted(stayed | gone, key=lambda name: (-stayed[name] - gone[name], name))
    return {name: (stayed[name], gone[name]) for name in order}


def _rows(axes: Any, names: Sequence[str]) -> None:
    """One row for each name, the first on top."""
    axes.set_yticks(range(len(names)), [one_line(name, 32) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def _counts(axes: Any, texts: Sequence[str]) -> None:
    """A figure for each row, in a column to the right of the axes."""
    for place, text in enumerate(texts):
        axes.text(1.015, place, text, va="center", transform=axes.get_yaxis_transform())


def _whole_numbers(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(left=0)


def _lengths(axes: Any, lengths: Mapping[str, Any]) -> None:
    for place, words in enumerate(lengths.values()):
        low, first, median, third, high = np.percentile(words, [5, 25, 50, 75, 95])
        axes.plot([low, high], [place, place], color=BLUE, linewidth=2, solid_capstyle="butt")
        axes.plot([first, third], [place, place], color=BLUE, linewidth=9, solid_capstyle="butt", alpha=0.45)
        axes.plot(median, place, "o", color=BLUE, markersize=7)
    _counts(axes, [f"n = {len(words)}" for words in lengths.values()])
    _rows(axes, list(lengths))
    _whole_numbers(axes)
    axes.set_title("Length of the kept queries, by origin")
    axes.set_xlabel("words (line: 5 to 95 %, bar: the middle half, mark: the median)")


def _kept_and_dropped(axes: Any, types: Mapping[str, tuple[int, int]]) -> None:
    from matplotlib.patches import Patch

    kept: dict[str, Any] = {"color": BLUE}
    dropped: dict[str, Any] = {"facecolor": "white", "edgecolor": ORANGE, "hatch": "////"}
    for place, (stayed, gone) in enumerate(types.values()):
        axes.barh(place, stayed, height=0.62, **kept)
        if gone:  # a bar without width would still show its edge
            axes.barh(place, gone, left=stayed, height=0.62, **dropped)
    _counts(axes, [f"{stayed} of {stayed + gone}" for stayed, gone in types.values()])
    _rows(axes, list(types))
    _whole_numbers(axes)
    axes.set_title("Queries kept, by type")
    axes.set_xlabel("queries")
    handles = [Patch(**kept, label="kept"), Patch(**dropped, label="dropped")]
    axes.legend(handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False)


def _rules(axes: Any, rules: Mapping[str, int]) -> None:
    axes.set_title("Queries dropped, by rule")
    if not rules:
        axes.axis("off")
        axes.text(0, 0.5, "no query was dropped", color=GREY, transform=axes.transAxes)
        return
    axes.barh(range(len(rules)), list(rules.values()), height=0.62, color=ORANGE)
    _counts(axes, [str(count) for count in rules.values()])
    _rows(axes, [name.replace("_", " ") for name in rules])
    _whole_numbers(axes)
    axes.set_xlabel("queries")
