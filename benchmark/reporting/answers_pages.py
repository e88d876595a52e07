"""`answers.md`, and its conclusions in plain words."""

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from benchmark.escape import code, md
from benchmark.llm.model import short_identity
from benchmark.reporting.answers_board import JUDGED, LABELS, Answers, Comparison, Mean, Preference
from benchmark.reporting.render import BLANK, SIGNS, bold, cannot_tell, interval, number, p_value, signed, table


def answers_markdown(board: Answers) -> str:
    """`answers.md`."""
    parts = [Markup("# Answers: {}").format(md(board.title)), _about(board)]
    if board.warnings:
        parts += [Markup("## Before you read on"), _bullets([md(line) for line in board.warnings])]
    parts += [Markup("## In plain words"), _bullets(list(_sentences(board)))]
    parts += [Markup("## Means"), _means_table(board, board.means)]
    if len(board.pipelines) > 1:
        parts += [Markup("## Against the baseline"), _comparison_table(board)]
    if board.preferences:
        parts += [Markup("## Preferences"), _preference_table(board)]
    for group in ("answerable", "unanswerable"):
        rows = [row for row in board.groups if row.group == group]
        if rows and len({asked.answerable for asked in board.questions}) == 2:
            parts += [Markup("## {} questions").format(group.capitalize()), _means_table(board, rows)]
    parts += [Markup("## How to read this"), _legend(board)]
    return "\n\n".join(parts) + "\n"


def conclusions(board: Answers) -> list[str]:
    """The same conclusions for a terminal: warnings first, without Markdown."""
    lines = [f"warning: {line}" for line in board.warnings]
    return lines + [_plain(line) for line in _sentences(board)]


def _plain(line: Markup) -> str:
    return line.replace("**", "").replace("`", "").replace("\\", "")


def _bullets(lines: Sequence[Markup]) -> Markup:
    return Markup("\n").join(Markup("- {}").format(line) for line in lines)


def _about(board: Answers) -> Markup:
    answerable = sum(asked.answerable for asked in board.questions)
    judged = (
        Markup("Judged by {}, {}.").format(code(short_identity(board.judge)), _times(board.repeats))
        if board.judge is not None
        else Markup("No language model has judged them.")
    )
    return Markup("{} questions ({} answerable, {} not), answered by {} with the passages of each pipeline. {} "
                  "Baseline: {}. Seed {}.").format(
        len(board.questions), answerable, len(board.questions) - answerable, code(short_identity(board.generator)), judged,
        code(board.baseline), board.settings.seed,
    )  # fmt: skip


def _times(repeats: int) -> str:
    return "once" if repeats == 1 else f"{repeats} times"


# --- plain words ----------------------------------------------------------------------------------------------------


def _sentences(board: Answers) -> Iterator[Markup]:
    metrics = [board.main, *(["faithfulness"] if "faithfulness" in board.scores else [])]
    for pipeline in board.pipelines[1:]:
        for metric in dict.fromkeys(metrics):
            yield comparison_sentence(board, pipeline, metric)
    for row in board.preferences:
        yield preference_sentence(board, row)
    if len(board.pipelines) == 1:
        alone = board.mean(board.baseline, board.main)
        yield Markup("{} alone was asked: its {} is {} ({} questions scored, {} failed). There is nothing to compare it "
                     "with.").format(code(board.baseline), LABELS[board.main], _value(alone.mean), alone.n_scored,
                                     alone.n_failed)  # fmt: skip


def comparison_sentence(board: Answers, pipeline: str, metric: str) -> Markup:
    """What may be said of a pipeline against the baseline on one metric, with all its figures.

    Raises:
        StopIteration: There is no such comparison.
    """
    row, label = board.comparison(pipeline, metric), LABELS[metric]
    who = Markup("With the passages of {}, {}").format(code(pipeline), label)
    if row.difference is None or row.corrected_p is None:
        return who + Markup(" cannot be compared with {}: no question is scored for both. **Not shown**.").format(
            code(board.baseline)
        )
    before, after = _both(board, pipeline, metric)
    span = f", 95 % interval {interval(row.low, row.high)}" if row.low is not None else ""
    figures = f"({signed(row.difference)}{span}, n = {row.n}, corrected p = {p_value(row.corrected_p)})"
    said = who + Markup(" is {} where it is {} with those of {} {}: {}.").format(
        number(after), number(before), code(board.baseline), figures, bold(row.verdict)
    )
    return said + cannot_tell(row) + _failures(row)


def _both(board: Answers, pipeline: str, metric: str) -> tuple[float, float]:
    """Means of the baseline and of a pipeline over the questions that are scored for both."""
    from benchmark.reporting.answers_statistics import question_score

    columns = [[question_score(cell) for cell in board.scores[metric][name]] for name in (board.baseline, pipeline)]
    rows = [(one, other) for one, other in zip(*columns, strict=True) if one is not None and other is not None]
    return sum(one for one, _ in rows) / len(rows), sum(other for _, other in rows) / len(rows)


def _failures(row: Comparison) -> str:
    if not row.left_out or row.worst is None or row.best is None:
        return ""
    hangs = " The verdict hangs on them." if row.verdict != "not shown" and row.worst <= 0 <= row.best else ""
    return (
        f" {row.left_out} more questions have no score for one of the two; whatever they are, the difference lies between "
        f"{signed(row.worst)} and {signed(row.best)}.{hangs}"
    )


def preference_sentence(board: Answers, row: Preference) -> Markup:
    """What may be said of how often a pipeline's answers were preferred."""
    said = Markup(
        "The judge preferred the answers of {} to those of {} {} times and the other way round {} times, with {} ties "
        "(n = {}, {} failed, sign test, corrected p = {}): {}."
    ).format(
        code(row.pipeline), code(board.baseline), row.wins, row.losses, row.ties, row.n, row.failed,
        p_value(row.corrected_p), bold(row.verdict),
    )  # fmt: skip
    if not row.disagreed:
        return said
    return said + f" {row.disagreed} of the ties are pairs where it changed its mind with the order."


# --- tables ---------------------------------------------------------------------------------------------------------


def _value(value: float | None) -> str:
    return "-" if value is None else number(value)


def _between(low: float | None, high: float | None) -> str:
    return BLANK if low is None or high is None else f"{number(low)} to {number(high)}"


def _means_table(board: Answers, rows: Sequence[Mean]) -> Markup:
    """Every metric of every pipeline with how many questions it rests on."""
    repeated = any(row.spread is not None for row in rows)
    cells: list[list[object]] = []
    for row in rows:
        if not row.n_scored + row.n_failed:
            continue
        bounds = _between(row.worst, row.best) if row.n_failed else BLANK
        line: list[object] = [
            LABELS[row.metric],
            _name(board, row.pipeline),
            _value(row.mean),
            _between(row.low, row.high),
            row.n_scored,
            row.n_failed,
            bounds,
        ]
        cells.append([*line, number(row.spread)] if repeated else line)
    head = ["Metric", "Pipeline", "Mean", "95 % interval", "n scored", "n failed", "Bounds with the failed"]
    return table([*head, *(["Spread over repeats"] if repeated else [])], cells, left=2)


def _name(board: Answers, pipeline: str) -> Markup:
    return code(pipeline) + Markup(" (baseline)") if pipeline == board.baseline else code(pipeline)


def _comparison_table(board: Answers) -> Markup:
    rows: list[list[object]] = [
        [
            LABELS[row.metric],
            code(row.pipeline),
            signed(row.difference),
            interval(row.low, row.high),
            BLANK if row.corrected_p is None else p_value(row.corrected_p),
            bold(row.verdict) if row.verdict != "not shown" else row.verdict,
            number(row.detectable),
            row.n,
            row.left_out,
        ]
        for row in board.comparisons
        if row.n + row.left_out
    ]
    head = ["Metric", "Pipeline", "Difference", "95 % interval", "p (Holm)", "Verdict", "Detectable", "n", "Left out"]
    return table(head, rows, left=2)


def _preference_table(board: Answers) -> Markup:
    rows: list[list[object]] = [
        [
            code(row.pipeline) + SIGNS[row.verdict],
            row.wins,
            row.losses,
            row.ties,
            row.same,
            row.disagreed,
            row.failed,
            row.n,
            p_value(row.corrected_p),
            bold(row.verdict) if row.verdict != "not shown" else row.verdict,
        ]
        for row in board.preferences
    ]
    head = ["Pipeline", "Preferred", "Baseline preferred", "Ties", "of these equal answers",
            "of these orders disagree", "Failed", "n", "p (Holm)", "Verdict"]  # fmt: skip
    return table(head, rows)


def _legend(board: Answers) -> Markup:
    settings = board.settings
    lines = [
        "- Every score lies between 0 and 1, more is better. A question that has no answer, or of which the judge gave no "
        "verdict, has *failed*: it is in no mean, but it is counted, and the bounds say where the mean would be if all of "
        "these had scored 0, or 1.",
        "- A metric is left out for a question to which it does not apply: an answer that declines makes no claims that "
        "could be unfaithful, so it has no faithfulness, but a correctness of 0 (of 1 where declining is right).",
        f"- Intervals: percentile bootstrap over questions, {settings.bootstrap:,} resamples. p: paired sign-flip test, "
        f"{settings.permutations:,} permutations, over the questions scored for both; corrected by Holm over all pipelines, "
        f"for each metric on its own. *better* and *worse* need a corrected p under {settings.alpha:g}; everything else is "
        "*not shown*, which is no proof of equality.",
        "- Many metrics are shown: one that is better by itself, among several that are not, is weak evidence.",
    ]
    if board.preferences:
        lines.append(
            "- Preferences: each answerable question's two answers are shown in both orders; only where both orders agree "
            "is one preferred. p: two-sided sign test over these, corrected by Holm over all pipelines."
        )
    if any(metric in board.scores for metric in JUDGED):
        lines.append(
            "- What a judge says is an opinion of a language model. Compare it with people's before you rely on it: "
            "`domainbench rate`."
        )
    return Markup("\n".join(lines))  # noqa: S704 (only our words and numbers)
