"""Figures of the leaderboard in words and Markdown tables. Rounding happens here and nowhere else."""

from collections.abc import Sequence
from typing import Protocol

from markupsafe import Markup

from benchmark.escape import code, md
from benchmark.reporting.board import FEW, TASKS, Comparison, Leaderboard
from benchmark.reporting.general import GeneralRow
from benchmark.reporting.metrics import MEASURES, Metric
from benchmark.stats import Verdict

MARK = "†"
BLANK = ""
SIGNS = {"better": " ▲", "worse": " ▼", "not shown": ""}


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


def bold(word: str) -> Markup:
    """A verdict that matters stands out; a blank one stays blank."""
    return Markup("**{}**").format(word) if word not in {BLANK, "MARGINAL"} else md(word)


def headline_table(board: Leaderboard, task: str) -> Markup:
    """Each system on the main metric over all queries: score, difference, interval, corrected p, verdict.

    Where general sets were measured, retrieval has a last column: the verdict over them and the domain.
    """
    overall = board.general.verdicts if board.general is not None and task == TASKS[0] else None
    rows: list[list[object]] = []
    for system in board.ranked(task):
        row = board.comparison(task, system.name)
        rows.append(
            [system_cell(board, system.name), system.kind, number(board.mean(task, system.name).mean), *compared(row)]
        )
        if overall is not None:
            rows[-1].append(bold(overall.get(system.name, BLANK)))
    head = ["Model", "What it is", board.main.label, *COMPARED, *(["Overall"] if overall is not None else [])]
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
    sign = SIGNS[row.verdict] if row else ""
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


def category_comparisons(board: Leaderboard, task: str, category: str) -> Markup:
    """Each system on the main metric in one category, with everything that the comparison found."""
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
    figures = figures_of(row)
    system = next(system for system in board.systems if system.name == name)
    if system.tuned_from == base.name:
        verb = {"better": "raised", "worse": "lowered", "not shown": "moved"}[row.verdict]
        said = Markup("Tuning ({}) {} {} from {} to {}").format(code(name), verb, label, number(before), number(after))
    else:
        said = Markup("{} scores {} {} where the baseline {} scores {}").format(
            code(name), label, number(after), code(base.name), number(before)
        )
    return said + Markup(" {}: **{}**.").format(figures, row.verdict) + cannot_tell(row)


def figures_of(row: Comparison | GeneralRow) -> str:
    """A comparison's figures in brackets."""
    span = f", 95 % interval {interval(row.low, row.high)}" if row.low is not None else ""
    return f"({signed(row.difference)}{span}, n = {row.n}, corrected p = {p_value(row.corrected_p)})"


class Told(Protocol):
    """A comparison, as far as it says what it could have shown."""

    @property
    def verdict(self) -> Verdict:
        """better, worse or not shown."""

    @property
    def detectable(self) -> float | None:
        """The difference that it would usually find."""


def cannot_tell(row: Told) -> str:
    """What a comparison that shows nothing could have shown; empty for one that does."""
    if row.verdict != "not shown":
        return ""
    if row.detectable is None:
        return " These questions cannot tell the two apart."
    return (
        f" This is no proof of equality: with these questions a true difference of about {number(row.detectable)} "
        "or more would usually be found, a smaller one not."
    )


def detectable_line(board: Leaderboard) -> Markup:
    """The minimum detectable difference of these questions; empty where no comparison has an estimate."""
    rows = (board.comparison(TASKS[0], system.name) for system in board.systems[1:])
    found = [row.detectable for row in rows if row is not None and row.detectable is not None]
    if not found:
        return Markup("")
    low, high = number(min(found)), number(max(found))
    span = low if low == high else f"{low} to {high}, depending on the model,"
    return Markup(
        "With {} questions, a single comparison would find a true difference of about {} in {} in 80 of 100 such test "
        "sets, before correction for several comparisons. This is the minimum detectable difference: smaller ones exist, "
        "but this test set seldom shows them."
    ).format(len(board.queries), span, board.main.label)


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
        *(["- Overall: the verdict over domain and general sets, see Forgetting."] if board.general else []),
        *(f"- {measure.label}{'@k' * measure.needs_cutoff}: {measure.meaning}." for measure in MEASURES.values()),
    ]
    return Markup("\n".join(lines))  # noqa: S704 (only our words, numbers and a code span)
