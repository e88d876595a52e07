"""What ratings tell, as tables of the terminal."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from benchmark.files import Json

if TYPE_CHECKING:
    from rich.table import Table


def tables(found: Json) -> "Iterator[Table | str]":
    """The parts of `ratings.json`, to be printed one after the other.

    Args:
        found: What `summarise` returned.
    """
    yield (
        f"{found['domain']}: {found['ratings']} ratings of {found['questions']} questions; "
        f"{found['items']} pairs to rate, {found['identical']} identical, {found['failed']} failed"
    )
    yield _table("Raters", ("rater", "rated", "of", "stale", "after the reference"), (
        (row["rater"], row["rated"], row["of"], row["stale"], row["after_reference"]) for row in found["raters"]
    ))  # fmt: skip
    head = ("scale", "coefficient", "value", "95 % interval", "questions", "same")
    yield _table("Raters with each other", head, (_coefficient(row, row["level"]) for row in found["agreement"]))
    if found["judge"]:
        rows = (_coefficient(row, "" if row["weights"] == "none" else row["weights"]) for row in found["judge"])
        yield _table("Judge with people", head, rows)
    yield _table(
        "Scores, second minus first (mean over raters, paired by question)",
        ("scale", "first", "second", "n", "difference", "95 % interval", "p (Holm)", "second is"),
        (
            (row["scale"], row["first"], row["second"], row["n"], f"{row['difference']:+.2f}",
             _span(row, "+.2f"), f"{row['corrected_p']:.4f}", row["verdict"])
            for row in found["comparisons"]
        ),
    )  # fmt: skip
    yield _table(
        "Preference (sign test over questions)",
        ("first", "second", "n", "second better", "first better", "ties", "p (Holm)", "second is"),
        (
            (row["first"], row["second"], row["n"], row["wins"], row["losses"], row["ties"],
             f"{row['corrected_p']:.4f}", row["verdict"])
            for row in found["preferences"]
        ),
    )  # fmt: skip
    for line in found["warnings"]:
        yield f"note: {line}"


def _coefficient(row: Mapping[str, Any], kind: str) -> tuple[object, ...]:
    name = f"{row['coefficient']}{', ' if kind else ''}{kind}"
    raw = "" if row["raw"] is None else f"{100 * row['raw']:.0f} %"
    if row["value"] is None:
        return row["scale"], name, row["why"], "", row["questions"], raw
    return row["scale"], name, f"{row['value']:.3f}", _span(row, ".3f"), row["questions"], raw


def _span(row: Mapping[str, Any], form: str) -> str:
    return "unknown" if row["low"] is None else f"{row['low']:{form}} to {row['high']:{form}}"


def _table(title: str, head: tuple[str, ...], rows: "Iterator[tuple[object, ...]]") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in head:
        table.add_column(name)
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    return table
