"""What all Markdown pages share: templates that escape what they print, facts in words, the look of pictures."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from benchmark.escape import code, md

if TYPE_CHECKING:
    from jinja2 import Environment

# The colours of Okabe and Ito (2008), told apart with any colour vision.
BLUE, ORANGE, GREY, GREEN = "#0072B2", "#D55E00", "#6B6B6B", "#009E73"
LOOK: Final = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is the same everywhere
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "hatch.linewidth": 0.6,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
}
"""Settings of matplotlib, to which each picture adds its resolution."""


def markdown_templates(folder: Path) -> "Environment":
    """Templates of a folder: whatever one prints is escaped for Markdown, unless our own code has made it Markdown."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else md(value),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = code
    environment.filters["share"] = lambda value: f"{100 * value:.1f} %"
    return environment


def flat_facts(facts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Facts as rows of name and words; nested ones under `outer: inner`.

    >>> list(flat_facts({"kept": {"llm": 7}, "near_duplicate": 0.9}))
    [('kept: llm', '7'), ('near duplicate', '0.9')]
    """
    for key, value in facts.items():
        name = above + plain_name(key)
        if isinstance(value, dict):
            yield from flat_facts(value, f"{name}: ")
        else:
            yield name, fact_in_words(value)


def plain_name(key: object) -> str:
    """A key as people write it."""
    return str(key).replace("_", " ")


def fact_in_words(value: Any) -> str:
    """A fact in words; rounded, since this is for reading.

    >>> fact_in_words(None), fact_in_words(True), fact_in_words(0.123456), fact_in_words([])
    ('unknown', 'yes', '0.1235', 'none')
    """
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {text}" for name, text in flat_facts(value))
    if isinstance(value, list | tuple):
        return "; ".join(fact_in_words(part) for part in value) or "none"
    return str(value)
