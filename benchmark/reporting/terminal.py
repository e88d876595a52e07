"""The leaderboard for the terminal."""

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from benchmark.reporting.board import FEW, TASKS, Leaderboard
from benchmark.reporting.general import METRIC, General
from benchmark.reporting.render import MARK, interval, number, p_value, signed
from benchmark.reporting.verdicts import HOW_TO

_COLOURS = {"better": "green", "worse": "red", "WIN": "green", "REGRESSION": "red", "shown": "red"}


def leaderboard_table(leaderboard: Leaderboard, task: str = "retrieval", *, narrow: bool = False) -> Table:
    """The headline: each model on the main metric, its difference to the baseline and the verdict.

    Args:
        leaderboard: What `make_leaderboard` returned.
        task: `retrieval` or `reranking`.
        narrow: Leave out the p values, which the verdict sums up, so that names are not broken into pieces.
    """
    n = len(leaderboard.queries)
    overall = leaderboard.general.verdicts if leaderboard.general is not None and task == TASKS[0] else None
    table = Table(title=f"{leaderboard.task_names[task]}, {n} questions{f' {MARK}' if n < FEW else ''}", box=SIMPLE)
    table.add_column("Model", overflow="fold")
    for head in (leaderboard.main.label, "Diff.", "95 % interval", *([] if narrow else ["p (Holm)"])):
        table.add_column(head, justify="right", no_wrap=True)
    for head in ("Verdict", *(["Overall"] if overall is not None else [])):
        table.add_column(head, no_wrap=True)
    for system in leaderboard.ranked(task):
        score = number(leaderboard.mean(task, system.name).mean)
        row = leaderboard.comparison(task, system.name)
        figures, said = ["", "", ""], "baseline"
        if row is not None:
            figures = [signed(row.difference), interval(row.low, row.high), p_value(row.corrected_p)]
            said = row.verdict
        words = [] if overall is None else [overall.get(system.name, "")]
        _add(table, [system.name, score, *(figures[:2] if narrow else figures)], [said, *words])
    captions = [f"{MARK} fewer than {FEW} questions: an example rather than a finding"] if n < FEW else []
    if leaderboard.general is None and task == TASKS[0]:
        captions.append(HOW_TO)
    table.caption = Text("\n".join(captions)) if captions else None
    return table


def forgetting_terminal(leaderboard: Leaderboard, general: General) -> Table:
    """Each model on all general sets together: before and after, the difference, and whether it forgets."""
    mark = f" {MARK}" if general.n < FEW else ""
    names = ", ".join(one.name for one in general.sets)
    table = Table(title=Text(f"General knowledge ({names}), {general.n} questions{mark}"), box=SIMPLE)
    table.add_column("Model", overflow="fold")
    for head in (METRIC.label, "Diff.", "95 % interval", "p (Holm)"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("Forgetting", no_wrap=True)
    for system in leaderboard.ranked(TASKS[0]):
        row = general.row(system.name)
        if row is not None:
            figures = [number(row.after), signed(row.difference), interval(row.low, row.high), p_value(row.corrected_p)]
            _add(table, [system.name, *figures], [row.forgetting])
    return table


def _add(table: Table, cells: list[str], verdicts: list[str]) -> None:
    """A row, as Text: square brackets in a name are no markup."""
    table.add_row(*map(Text, cells), *(Text(word, style=_COLOURS.get(word, "dim")) for word in verdicts))
