"""What the commands say about what the stages made."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from benchmark.pipeline import Pipeline
    from benchmark.provenance import Outcome
    from benchmark.reporting.board import Leaderboard


_WIDE = 96
"""Columns of a terminal that hold the whole leaderboard without breaking names."""


def counts(facts: dict[str, object]) -> str:
    """The figures among a stage's facts in one line; a table of counts by its sum.

    >>> counts({"kept": {"llm": 2, "span": 3}, "final_loss": 0.123456, "teacher": "bm25"})
    'kept 5, final loss 0.1235'
    """
    words = []
    for key, value in facts.items():
        figure = value
        if isinstance(value, dict) and value and all(isinstance(count, int) for count in value.values()):
            figure = sum(value.values())
        if isinstance(figure, int | float):
            words.append(f"{key.replace('_', ' ')} {figure if isinstance(figure, int) else round(figure, 4)}")
    return ", ".join(words)


def lines_of(outcome: "Outcome") -> Iterator[str]:
    """A tuned model's figures: the development split before and after, what was chosen and why, as far as there."""
    name, facts = outcome.folder.name, outcome.facts
    yield f"{name}: {counts(facts)}"
    development = facts.get("development", {})
    before, after = (development.get(when, {}).get("ndcg@10") for when in ("before", "after"))
    if after is not None:
        start = "" if before is None else f"{before:.4f} -> "
        yield f"{name}: development nDCG@10 {start}{after:.4f}"
    if "choice" in facts:
        yield f"{name}: {facts['choice']['chosen']}: {facts['choice']['why']}"


def lines_to_add(names: Sequence[str]) -> Iterator[str]:
    """How to compare models that the benchmark file does not name yet."""
    if not names:
        return
    yield "to compare them, add under 'models:' in the benchmark file:"
    for name in names:
        yield f"  - {name}"
    yield f"then: domainbench evaluate {names[0]}, or domainbench run for all of it"


def show_board(pipeline: "Pipeline", board: "Leaderboard") -> None:
    """The leaderboard as a table, and where the pages are."""
    from rich.console import Console

    from benchmark.files import shown
    from benchmark.reporting.terminal import forgetting_terminal, leaderboard_table

    console = Console()
    console.print(leaderboard_table(board, narrow=console.width < _WIDE))
    if board.general is not None and board.general.rows:
        console.print(forgetting_terminal(board, board.general))
    for name in ("leaderboard.html", "leaderboard.md", "report.md"):
        typer.echo(shown(pipeline.domain.results / name))


def show_seconds(pipeline: "Pipeline") -> None:
    """Seconds by stage."""
    for stage, seconds in pipeline.seconds.items():
        typer.echo(f"{seconds:8.1f} s  {stage}")
    typer.echo(f"{sum(pipeline.seconds.values()):8.1f} s  in all")
