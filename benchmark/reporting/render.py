"""The leaderboard as Markdown and CSV. Rounding happens here and nowhere else."""

import csv
import io
from collections.abc import Sequence

from markupsafe import Markup

from benchmark.escape import code, csv_cell, md
from benchmark.reporting.board import FEW, TASKS, Comparison, Leaderboard, Mean
from benchmark.reporting.metrics import MEASURES, Metric

MARK = "†"
BLANK = ""
_SIGNS = {"better": " ▲", "worse": " ▼", "not shown": ""}


# --- numbers --------------------------------------------------------------------------------------------------------


def number(value: float | None) -> str:
    """A score with three digits, blank where there is none."""
    return BLANK if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    """A difference with its sign; no sign on what rounds to 0."""
    if value is None:
        return BLANK
    text = f"{value:+.3f}"
    return text if float(text) else text[1:]


def interval(low: float | None, high: float | None) -> str:
    """Both ends of a difference's interval, blank where there is none."""
    return BLANK if low is None or high is None else f"{signed(low)} to {signed(high)}"


def p_value(p: float) -> str:
    """A p value with four digits."""
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def group(name: str, n: int) -> str:
    """A category's column head, with its size and the mark of a small group."""
    return f"{name} (n = {n}{' ' + MARK if n < FEW else ''})"


# --- Markdown -------------------------------------------------------------------------------------------------------


def table(head: Sequence[object], rows: Sequence[Sequence[object]], left: int = 1) -> Markup:
    """A Markdown table; cells that are not Markup are escaped. The first `left` columns are aligned left."""
    rule = [":--" if place < left else "--:" for place in range(len(head))]
    lines = [[_cell(cell) for cell in head], rule, *[[_cell(cell) for cell in row] for row in rows]]
    return Markup("\n".join(f"| {' | '.join(line)} |" for line in lines))  # noqa: S704 (cells are escaped)


def _cell(cell: object) -> str:
    return str(cell if isinstance(cell, Markup) else md(cell))


def system_cell(board: Leaderboard, name: str) -> Markup:
    """A system's name; the baseline says so."""
    return code(name) + Markup(" (baseline)") if name == board.baseline.name else code(name)


def _verdict(row: Comparison | None) -> Markup:
    if row is None:
        return Markup("")
    return Markup("not shown") if row.verdict == "not shown" else Markup("**{}**").format(row.verdict)


def headline_table(board: Leaderboard, task: str) -> Markup:
    """Each system on the main metric over all queries: score, difference, interval, corrected p, verdict."""
    rows: list[list[object]] = []
    for system in board.ranked(task):
        row = board.comparison(task, system.name)
        rows.append(
            [system_cell(board, system.name), system.kind, number(board.mean(task, system.name).mean), *compared(row)]
        )
    head = ["Model", "What it is", board.main.label, *COMPARED]
    return table(head, rows, left=2)


COMPARED = ("Difference", "95 % interval", "p (Holm)", "Verdict", "Wins / losses / ties", "n")


def compared(row: Comparison | None) -> list[object]:
    """The cells under `COMPARED`; blank for the baseline itself."""
    if row is None:
        return [BLANK] * len(COMPARED)
    record = f"{row.wins} / {row.losses} / {row.ties}"
    span = interval(row.low, row.high)
    return [signed(row.difference), span, p_value(row.corrected_p), _verdict(row), record, row.n]


def _marked(board: Leaderboard, task: str, name: str, metric: Metric, category: str | None = None) -> str:
    row = board.comparison(task, name, metric, category)
    sign = _SIGNS[row.verdict] if row else ""
    return number(board.mean(task, name, metric, category).mean) + sign


def metric_table(board: Leaderboard, task: str) -> Markup:
    """Every metric over all queries, a sign where it is better or worse than the baseline."""
    rows = [
        [system_cell(board, system.name), *(_marked(board, task, system.name, metric) for metric in board.metrics)]
        for system in board.ranked(task)
    ]
    return table(["Model", *(metric.label for metric in board.metrics)], rows)


def category_table(board: Leaderboard, task: str) -> Markup:
    """The main metric by category, a sign where it is better or worse than the baseline."""
    rows = [
        [
            system_cell(board, system.name),
            *(_marked(board, task, system.name, board.main, category) for category in board.categories),
        ]
        for system in board.ranked(task)
    ]
    return table(["Model", *(group(name, n) for name, n in board.categories.items())], rows)


def _category_comparisons(board: Leaderboard, task: str, category: str) -> Markup:
    rows = [
        [
            system_cell(board, system.name),
            number(board.mean(task, system.name, board.main, category).mean),
            *compared(board.comparison(task, system.name, board.main, category)),
        ]
        for system in board.ranked(task)
    ]
    return table(["Model", board.main.label, *COMPARED], rows)


def questions_line(board: Leaderboard) -> Markup:
    """How many questions there are, in all and by category."""
    parts = Markup(", ").join(md(f"{name} {n}") for name, n in board.categories.items())
    return Markup("{} questions ({})").format(len(board.queries), parts)


def sentence(board: Leaderboard, name: str, task: str = TASKS[0]) -> Markup:
    """The verdict on one system in plain words, with all its figures."""
    row = board.comparison(task, name)
    if row is None:
        raise KeyError(name)
    label, base = board.main.label, board.baseline
    before, after = board.mean(task, base.name).mean, board.mean(task, name).mean
    span = f", 95 % interval {interval(row.low, row.high)}" if row.low is not None else ""
    figures = f"({signed(row.difference)}{span}, n = {row.n}, corrected p = {p_value(row.corrected_p)})"
    system = next(system for system in board.systems if system.name == name)
    if system.tuned_from == base.name:
        verb = {"better": "raised", "worse": "lowered", "not shown": "moved"}[row.verdict]
        said = Markup("Tuning ({}) {} {} from {} to {}").format(code(name), verb, label, number(before), number(after))
    else:
        said = Markup("{} scores {} {} where the baseline {} scores {}").format(
            code(name), label, number(after), code(base.name), number(before)
        )
    return said + Markup(" {}: **{}**.").format(figures, row.verdict) + _cannot_tell(row)


def _cannot_tell(row: Comparison) -> str:
    if row.verdict != "not shown":
        return ""
    if row.detectable is None:
        return " These questions cannot tell the two apart."
    return (
        f" This is no proof of equality: with these questions a true difference of about {number(row.detectable)} "
        "or more would usually be found, a smaller one not."
    )


def ceiling_line(board: Leaderboard) -> Markup:
    """What reranking could reach at most, and whose figures it cannot change."""
    metric = Metric("recall", board.settings.top_k)
    best = max(board.mean("reranking", system.name, metric).mean for system in board.systems)
    line = Markup("The candidates hold {} % of the relevant passages: the most that any order can reach.").format(
        f"{100 * best:.1f}"
    )
    scores = board.scores
    same = [
        system.name
        for system in board.systems
        if scores["retrieval"][system.name][board.main] == scores["reranking"][system.name][board.main]
    ]
    if not same:
        return line
    names = Markup(", ").join(code(name) for name in same)
    return line + Markup(
        " {} for {} on every question the same as in retrieval, as happens to models whose own best hits are the "
        "candidates."
    ).format(f"{board.main.label} is", names)


def legend(board: Leaderboard) -> Markup:
    """What the signs and columns of the tables mean."""
    alpha = f"{board.settings.alpha:g}"
    lines = [
        f"- Difference: model minus baseline ({code(board.baseline.name)}), question by question; its 95 % interval "
        f"is a percentile bootstrap over the questions ({board.settings.bootstrap:,} resamples) for that comparison "
        "on its own.",
        f"- p (Holm): paired sign-flip test ({board.settings.permutations:,} permutations, exact with few "
        "differences), corrected by Holm's method within its family. Families: the main metric over all questions, "
        "all models; each other metric over all questions, all models; each metric by category, all models and "
        "categories; retrieval and reranking apart.",
        f"- Verdict: better or worse where p (Holm) is under {alpha}, otherwise not shown, which does not mean equal. "
        "In the tables without p values ▲ stands for better and ▼ for worse.",
        f"- {MARK}: fewer than {FEW} questions: an example rather than a finding.",
        "- n: questions. A question for which nothing was retrieved scores 0 and stays in the mean. "
        "A blank cell: not enough data.",
        *(f"- {measure.label}{'@k' * measure.needs_cutoff}: {measure.meaning}." for measure in MEASURES.values()),
    ]
    return Markup("\n".join(lines))  # noqa: S704 (only our words, numbers and a code span)


def leaderboard_markdown(board: Leaderboard) -> str:
    """`leaderboard.md`."""
    parts: list[str] = [
        f"# Leaderboard: {md(board.title)}",
        f"{questions_line(board)}. Main metric: {board.main.label}. Baseline: {code(board.baseline.name)}. "
        f"Seed {board.settings.seed}.",
        f"## Retrieval (`{board.task_names['retrieval']}`)",
        headline_table(board, "retrieval"),
        "### All metrics",
        metric_table(board, "retrieval"),
        "### By category",
        category_table(board, "retrieval"),
    ]
    for category, n in board.categories.items():
        parts += [f"#### {md(group(category, n))}", _category_comparisons(board, "retrieval", category)]
    parts += [
        f"## Reranking (`{board.task_names['reranking']}`)",
        ceiling_line(board),
        headline_table(board, "reranking"),
        "### All metrics of reranking",
        metric_table(board, "reranking"),
        "### Reranking by category",
        category_table(board, "reranking"),
        "## How to read this",
        legend(board),
    ]
    return "\n\n".join(parts) + "\n"


# --- CSV ------------------------------------------------------------------------------------------------------------

_MEAN_COLUMNS = ("n", "mean", "low", "high")
_COMPARISON_COLUMNS = (
    "difference", "low", "high", "p", "corrected_p", "verdict", "wins", "losses", "ties", "detectable",
)  # fmt: skip


def leaderboard_csv(board: Leaderboard) -> str:
    """`leaderboard.csv`: a row for each task, metric, group and system, six digits."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["task", "model", "what", "metric", "group", "category", *_MEAN_COLUMNS]
        + [f"difference_{name}" if name in {"low", "high"} else name for name in _COMPARISON_COLUMNS]
    )
    kinds = {system.name: system.kind for system in board.systems}
    for mean in board.means:
        writer.writerow(_csv_row(mean, kinds[mean.system], board))
    return stream.getvalue()


def _csv_row(mean: Mean, kind: str, board: Leaderboard) -> list[str]:
    row = board.comparison(mean.task, mean.system, mean.metric, mean.category)
    labels = [mean.task, mean.system, kind, str(mean.metric)]
    labels += ["overall", ""] if mean.category is None else ["category", mean.category]
    figures: list[object] = [getattr(mean, name) for name in _MEAN_COLUMNS]
    figures += [getattr(row, name) if row else None for name in _COMPARISON_COLUMNS]
    return [csv_cell(label) for label in labels] + [_csv_figure(figure) for figure in figures]


def _csv_figure(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else str(value)
