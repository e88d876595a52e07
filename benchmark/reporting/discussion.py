"""The discussion of a report in plain words, filled from the verdicts: what was shown, and what was not."""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from markupsafe import Markup

from benchmark.escape import code, md
from benchmark.files import Json
from benchmark.reporting.board import TASKS, Comparison, Leaderboard
from benchmark.reporting.metrics import Metric
from benchmark.reporting.page.costs import NOISE, Costs, milliseconds
from benchmark.reporting.pairwise import Pair, pair_of
from benchmark.reporting.render import number
from benchmark.reporting.report_answers import JUDGED, AnswerFigures, label, number_of
from benchmark.reporting.systems import System
from benchmark.reporting.verdicts import verdict_sentence

HIT_RATE: Final = Metric("hit_rate", 3)
"""Whether a reader of the first three passages finds the answer: the figure that says most to a user of a RAG system."""
_MORE: Final = 50
"""Questions that somebody could write on top in an afternoon."""
_LEXICAL: Final = "BM25"


class Part(NamedTuple):
    """A question that the discussion answers, and its answer in sentences."""

    heading: str
    lines: list[Markup]


def discussion(board: Leaderboard, figures: AnswerFigures | None, costs: Mapping[str, Costs]) -> list[Part]:
    """The parts of the discussion that there is something to say about.

    Args:
        board: The leaderboard, with its statistics.
        figures: What was found of answers; None where there are none.
        costs: By model.
    """
    parts = [
        Part("Is anything better than the baseline?", list(_gains(board))),
        Part("Would BM25 alone do?", list(_lexical(board))),
        Part("Was anything forgotten?", list(_forgotten(board))),
        Part("Are the answers better?", list(_answers(figures)) if figures is not None else []),
        Part("What does it cost?", list(_costs(board, costs))),
        Part(f"What would the next {_MORE} questions show?", list(_more_questions(board))),
    ]
    return [part for part in parts if part.lines]


# --- figures --------------------------------------------------------------------------------------------------------


def percent(value: float) -> str:
    """A share, as people write it.

    >>> percent(0.61), percent(0.7333)
    ('61 %', '73.3 %')
    """
    return f"{_short(100 * value)} %"


def points(value: float, sign: bool = False) -> str:
    """A difference of shares in percentage points.

    >>> points(0.13, sign=True), points(-0.0004, sign=True), points(0.071), points(-0.02)
    ('+13', '0', '7.1', '-2')
    """
    text = _short(100 * value)
    return f"+{text}" if sign and not text.startswith("-") and text != "0" else text


def _short(value: float) -> str:
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text in {"-0", ""} else text


def _figures(row: Comparison | Pair, *, shares: bool) -> str:
    """Difference, interval and n in brackets; of shares in points."""
    span = ""
    if row.low is not None and row.high is not None:
        ends = (points(row.low), points(row.high)) if shares else (f"{row.low:.3f}", f"{row.high:.3f}")
        span = f", 95 % interval {ends[0]} to {ends[1]}"
    gap = f"{points(row.difference, sign=True)} points" if shares else f"{row.difference:+.3f}"
    return f"({gap}{span}, n = {row.n})"


# --- parts ----------------------------------------------------------------------------------------------------------


def _gains(board: Leaderboard) -> Iterator[Markup]:
    for system in board.subjects:
        for metric in dict.fromkeys([HIT_RATE, board.main]):
            row = board.comparison(TASKS[0], system.name, metric)
            if row is not None:
                yield _gain(board, system, metric, row)
        reranked = board.comparison(TASKS[1], system.name)
        if reranked is not None and reranked.verdict != "not shown":
            yield Markup("As a reranker of the same candidates {} is {} than the baseline {}.").format(
                code(system.name), reranked.verdict, _figures(reranked, shares=_is_share(board.main))
            )
    better = [row for row in board.comparisons if _headline(board, row) and row.verdict == "better"]
    if len(board.systems) > 1:
        yield Markup("Of {} compared with the baseline on {}, {} shown to be better.").format(
            _several(len(board.systems) - 1, "model"), board.main.label, _were(len(better))
        )


def _headline(board: Leaderboard, row: Comparison) -> bool:
    return row.task == TASKS[0] and row.metric == board.main and row.category is None


def _gain(board: Leaderboard, system: System, metric: Metric, row: Comparison) -> Markup:
    """Such as: Tuning raised Hit rate@3 from 61 % to 74 % (+13 points, 95 % interval 7 to 19, n = 150)."""
    shares = _is_share(metric)
    before, after = (
        board.mean(TASKS[0], name, metric).mean for name in (board.baseline.name, system.name)
    )  # fmt: skip
    ends = [percent(value) if shares else number(value) for value in (before, after)]
    figures = _figures(row, shares=shares)
    if system.tuned_from == board.baseline.name:
        verb = {"better": "raised", "worse": "lowered", "not shown": "moved"}[row.verdict]
        said = Markup("Tuning ({}) {} {} from {} to {} {}").format(
            code(system.name), verb, metric.label, *ends, figures
        )
    else:
        verb = {"better": "is better than", "worse": "is worse than", "not shown": "is not shown to differ from"}[
            row.verdict
        ]
        said = Markup("{} {} the baseline: {} is {} where that has {} {}").format(
            code(system.name), verb, metric.label, ends[1], ends[0], figures
        )
    if row.verdict != "not shown":
        return said + Markup(".")
    if system.tuned_from != board.baseline.name:
        return said + Markup(". Corrected p: {}.").format(_p(row))
    return said + Markup(". That the difference is more than luck is not shown (corrected p {}).").format(_p(row))


def _p(row: Comparison | Pair) -> str:
    return "under 0.001" if row.corrected_p < 0.001 else f"{row.corrected_p:.2g}"


def _is_share(metric: Metric) -> bool:
    return metric.name in {"hit_rate", "recall"}


def _lexical(board: Leaderboard) -> Iterator[Markup]:
    """The best model against BM25, which needs no model at all."""
    lexical = next((system for system in board.ranked(TASKS[0]) if system.kind.startswith(_LEXICAL)), None)
    others = [system for system in board.ranked(TASKS[0]) if system != lexical]
    if lexical is None or not others:
        return
    named = [others[0], *(system for system in board.subjects if system.tuned_from is not None)]
    for system in {system.name: system for system in named if system != lexical}.values():
        pair = pair_of(board, system.name, lexical.name)
        said = {
            "better": "No: {} is better than {} in {}.",
            "worse": "Yes: {} is worse than {} in {}.",
            "not shown": "Perhaps: that {} and {} differ is not shown in {}, which is no proof of equality.",
        }[pair.verdict]
        figures = _figures(pair, shares=_is_share(board.main))
        yield Markup(said).format(code(system.name), code(lexical.name), f"{board.main.label} {figures}")  # noqa: S704
    yield Markup(
        "These comparisons are corrected for all pairs of models, and so stricter than those with the baseline."
    )


def _forgotten(board: Leaderboard) -> Iterator[Markup]:
    if board.general is None:
        yield Markup("It was not measured: the benchmark file names no general sets.")
        return
    for system in board.subjects:
        if board.general.row(system.name) is not None:
            yield code(system.name) + Markup(": ") + verdict_sentence(board, system.name)


def _answers(figures: AnswerFigures) -> Iterator[Markup]:
    rows = [row for row in figures.comparisons if row.get("verdict") in {"better", "worse"}]
    for row in rows:
        yield _answer(figures, row)
    quiet = [row for row in figures.comparisons if row.get("verdict") == "not shown"]
    if quiet:
        which = md(", ".join(label(metric) for metric in dict.fromkeys(str(row["metric"]) for row in quiet)))
        yield Markup(
            "{} of {} show no difference to the baseline's answers ({}); that is no proof of equality."
        ).format(len(quiet), _several(len(figures.comparisons), "comparison"), which)
    for row in figures.preferences:
        yield _preference(figures, row)
    failed = sum(number_of(row, "n_failed") or 0 for row in figures.means if row["metric"] in JUDGED)
    if failed:
        yield Markup("{:g} judgements failed; the tables show what the means would be at worst and at best.").format(
            failed
        )


def _answer(figures: AnswerFigures, row: Json) -> Markup:
    gap, low, high, n = (number_of(row, key) for key in ("difference", "low", "high", "n"))
    span = "" if low is None or high is None else f", 95 % interval {low:.3f} to {high:.3f}"
    tested = "" if n is None else f", n = {n:g}"
    said = "" if gap is None else f" ({gap:+.3f}{span}{tested})"
    return Markup("With the passages of {} the answers are {} than the baseline's in {}{}.").format(
        code(str(row["pipeline"])), str(row["verdict"]), md(label(str(row["metric"]))), said
    )


def _preference(figures: AnswerFigures, row: Json) -> Markup:
    wins, losses, ties = (number_of(row, key) for key in ("wins", "losses", "ties"))
    counted = "" if wins is None or losses is None else f" ({wins:g} to {losses:g}, {ties or 0:g} ties)"
    said = {
        "better": "The judge preferred the answers with {} to the baseline's{}.",
        "worse": "The judge preferred the baseline's answers to those with {}{}.",
    }.get(str(row.get("verdict")), "That the judge preferred either {} or the baseline is not shown{}.")
    return Markup(said).format(code(str(row["pipeline"])), counted)  # noqa: S704


def _costs(board: Leaderboard, costs: Mapping[str, Costs]) -> Iterator[Markup]:
    base = costs[board.baseline.name].latency_p50
    for system in board.subjects:
        time = costs[system.name].latency_p50
        if not base or not time:
            continue
        if 1 / NOISE <= time / base <= NOISE:
            times = "about the same"
        else:
            times = f"{time / base:.2g} times as long" if time > base else f"{100 * time / base:.0f} % of that"
        yield Markup("A query takes {} with the baseline and {} with {} (medians): {}.").format(
            milliseconds(base), milliseconds(time), code(system.name), times
        )


def _more_questions(board: Leaderboard) -> Iterator[Markup]:
    """How the smallest visible difference shrinks, and how many questions the measured one would take."""
    rows = [row for system in board.subjects if (row := board.comparison(TASKS[0], system.name)) is not None]
    for row in rows:
        if row.detectable is None:
            continue
        then = row.detectable * (row.n / (row.n + _MORE)) ** 0.5
        yield Markup(
            "{}: with these {} questions a true difference of about {} in {} would be found in 80 of 100 test sets "
            "(before correction); with {} more of the same kind, one of about {}."
        ).format(code(row.system), row.n, number(row.detectable), board.main.label, _MORE, number(then))
        if row.verdict == "not shown" and abs(row.difference) > 0.0005:
            needed = row.n * (row.detectable / abs(row.difference)) ** 2
            yield Markup(
                "If the true difference were the measured one ({:+.3f}), it would take about {} questions in all."
            ).format(row.difference, _rounded(needed))


def _rounded(value: float) -> str:
    """Two digits are all that such a guess is worth.

    >>> _rounded(1234.5), _rounded(87.2)
    ('1,200', '87')
    """
    return f"{float(f'{value:.2g}'):,.0f}"


def _several(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _were(n: int) -> str:
    return {0: "none is", 1: "1 is"}.get(n, f"{n} are")
