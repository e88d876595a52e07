"""The leaderboard for the terminal."""

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from benchmark.reporting.board import FEW, Leaderboard
from benchmark.reporting.render import MARK, interval, number, p_value, signed

_COLOURS = {"better": "green", "worse": "red", "not shown": "dim"}


def leaderboard_table(leaderboard: Leaderboard, task: str = "retrieval") -> Table:
    """The headline: each model on the main metric, its difference to the baseline and the verdict.

    Args:
        leaderboard: What `make_leaderboard` returned.
        task: `retrieval` or `reranking`.
    """
    n = len(leaderboard.queries)
    table = Table(title=f"{leaderboard.task_names[task]}, {n} questions{f' {MARK}' if n < FEW else ''}", box=SIMPLE)
    table.add_column("Model", overflow="fold")
    for head in (leaderboard.main.label, "Diff.", "95 % interval", "p (Holm)"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("Verdict", no_wrap=True)
    for system in leaderboard.ranked(task):
        score = number(leaderboard.mean(task, system.name).mean)
        row = leaderboard.comparison(task, system.name)
        cells = ["", "", "", "baseline"]
        if row is not None:
            cells = [signed(row.difference), interval(row.low, row.high), p_value(row.corrected_p), row.verdict]
        # As Text: square brackets in a name are no markup.
        styles = ["", "", "", "", "", _COLOURS.get(cells[-1], "dim")]
        table.add_row(
            *(Text(cell, style=style) for cell, style in zip([system.name, score, *cells], styles, strict=True))
        )
    if n < FEW:
        table.caption = f"{MARK} fewer than {FEW} questions: an example rather than a finding"
    return table
