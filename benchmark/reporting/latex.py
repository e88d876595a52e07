r"""`leaderboard.tex`: the headline as a table for a paper, to be read in with `\input`; needs the package booktabs."""

from collections.abc import Iterator, Sequence

from benchmark.escape import tex
from benchmark.reporting.board import FEW, TASKS, Leaderboard
from benchmark.reporting.metrics import Metric
from benchmark.reporting.render import MARK, group, number, p_value, signed

HEAD = "% Needs \\usepackage{booktabs}; made by: domainbench leaderboard"


def leaderboard_latex(board: Leaderboard) -> str:
    """`leaderboard.tex`: a table for each task, and one of the main metric by category.

    What is better than the baseline is bold, what is worse in italics, so the tables say nothing that is not shown.
    """
    return "\n\n".join([HEAD, *_tables(board)]) + "\n"


def _tables(board: Leaderboard) -> Iterator[str]:
    n, settings = len(board.queries), board.settings
    for task in TASKS:
        rows = []
        for system in board.ranked(task):
            row = board.comparison(task, system.name)
            score = _score(board, task, system.name, board.main, None)
            if row is None:
                rows.append([tex(system.name), score, "", "", "", "baseline"])
                continue
            span = "" if row.low is None or row.high is None else f"[{signed(row.low)}, {signed(row.high)}]"
            cells = [signed(row.difference), span, p_value(row.corrected_p)]
            rows.append([tex(system.name), score, *map(numeral, cells), row.verdict])
        caption = (
            f"{board.title}, {task}: {board.main.label} on {n} questions against the baseline; 95 % percentile "
            f"bootstrap intervals of the difference, paired sign-flip test with Holm's correction over "
            f"{max(1, len(board.systems) - 1)} comparisons, alpha = {settings.alpha:g}."
        )
        head = ["Model", board.main.label, "Difference", "95 % interval", "p (Holm)", "Verdict"]
        yield table(head, rows, "lrrrrl", caption, f"tab:{board.domain}-{task}")
    names = list(board.categories)
    rows = [
        [tex(system.name), *(_score(board, TASKS[0], system.name, board.main, name) for name in names)]
        for system in board.ranked(TASKS[0])
    ]
    head = ["Model", *(group(name, n) for name, n in board.categories.items())]
    caption = (
        f"{board.title}: {board.main.label} by category of question. Bold: better than the baseline; italics: worse."
    )
    if any(n < FEW for n in board.categories.values()):
        caption += f" {MARK}: fewer than {FEW} questions: an example rather than a finding."
    yield table(head, rows, "l" + "r" * len(names), caption, f"tab:{board.domain}-categories")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], columns: str, caption: str, label: str) -> str:
    """A floating table with rules of booktabs.

    Args:
        head: Column heads, as plain text.
        rows: Cells, already LaTeX.
        columns: Their alignment, as in `tabular`.
        caption: As plain text.
        label: For references; only letters, digits, `:` and `-` of it stay.
    """
    name = "".join(sign if sign.isalnum() or sign in ":-" else "-" for sign in label)
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{tex(caption)}}}",
        rf"  \label{{{name}}}",
        rf"  \begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        f"    {' & '.join(map(tex, head))} \\\\",
        r"    \midrule",
        *(f"    {' & '.join(cells)} \\\\" for cells in rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _score(board: Leaderboard, task: str, name: str, metric: Metric, category: str | None) -> str:
    row = board.comparison(task, name, metric, category)
    text = number(board.mean(task, name, metric, category).mean)
    styles = {"better": r"\textbf{%s}", "worse": r"\textit{%s}"}
    return styles.get(row.verdict if row else "", "%s") % text


def numeral(text: str) -> str:
    """Figures as LaTeX, with minus signs in place of hyphens."""
    return tex(text).replace("-", "$-$")
