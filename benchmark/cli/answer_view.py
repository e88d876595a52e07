"""How `domainbench ask` shows passages and answers: as text alone, whatever stands in them."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from benchmark.answers.ask import Found, Told
from benchmark.escape import one_line

_SIDE_BY_SIDE: Final = 100
"""Columns of the screen from which on two pipelines stand side by side."""
_LONGEST: Final = 600
"""Characters of a passage that are shown."""
_MARK: Final = "*"


def show(rows: Sequence[Told], console: Console | None = None) -> None:
    """Print what each pipeline has: two of them side by side where there is room, else one below the other."""
    screen = console or Console(highlight=False)
    if len(rows) == 2 and screen.width >= _SIDE_BY_SIDE:
        table = Table.grid(expand=True, padding=(0, 1))
        table.add_column(ratio=1)
        table.add_column(ratio=1)
        table.add_row(*map(_panel, rows))
        screen.print(table)
        return
    for row in rows:
        screen.print(_panel(row))


def _panel(row: Told) -> Panel:
    title = Text(f"{row.letter}: {row.pipeline}" if row.letter else row.pipeline, "bold")
    passages = [_passage(number, found, row) for number, found in enumerate(row.found, start=1)]
    parts: list[RenderableType] = [*_answer(row), *passages]
    return Panel(Group(*(parts or [Text("no passage was found")])), title=title, title_align="left")


def _answer(row: Told) -> list[RenderableType]:
    """The answer, and what it cites, as numbers of the passages below."""
    if row.reply is None:
        return [Text(f"no answer: {one_line(row.failure)}\n", "red")] if row.failure else []
    reply = row.reply
    numbers = {found.chunk.id: number for number, found in enumerate(row.found, start=1)}
    lines = Text(one_line(reply.text), "bold")
    if reply.declined:
        lines.append("\nIt says that the passages do not answer this.", "yellow")
    cited = " ".join(f"[{numbers[chunk]}]" for chunk in reply.cited)
    if cited or not reply.declined:
        lines.append(f"\nCites {cited or 'nothing'}", "green" if cited else "yellow")
    if reply.invented:
        lines.append(f"\nCites what it was not given: {', '.join(map(one_line, reply.invented))}", "red")
    lines.append("\n")
    return [lines]


def _passage(number: int, found: Found, row: Told) -> Text:
    chunk = found.chunk
    cited = row.reply is not None and chunk.id in row.reply.cited
    lines = Text(f"[{number}]{_MARK if cited else ' '} ", "bold green" if cited else "bold")
    lines.append(one_line(chunk.heading or chunk.document), "bold")
    lines.append(f"\n{one_line(chunk.document)}, score {found.score:.4g}\n", "dim")
    lines.append(one_line(chunk.text, _LONGEST) + "\n", "")
    return lines
