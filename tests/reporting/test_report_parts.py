"""Answers, ratings, costs, pairs and the discussion in the report."""

import json
import re
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from benchmark.answer_records import Answered, Asked, write_answers
from benchmark.console import SILENT
from benchmark.files import write_text
from benchmark.reporting import report_costs
from benchmark.reporting.board import TASKS
from benchmark.reporting.discussion import HIT_RATE, discussion, points
from benchmark.reporting.leaderboard import read_leaderboard
from benchmark.reporting.page.costs import Costs
from benchmark.reporting.pairwise import pair_of
from benchmark.reporting.plots import planned_plots, write_plots
from benchmark.reporting.report import make_report
from benchmark.reporting.report_answers import read_answer_figures
from benchmark.reporting.report_costs import draw_costs, pareto_front

BASE, TUNED = "base", "village-tuned"


def undrawn(board, folder, costs):
    """In place of `write_plots`, where a test reads the report's text."""
    return planned_plots(board, costs)


def make(lab, draw=undrawn) -> str:
    board = read_leaderboard(lab.domain)
    return make_report(lab.project, lab.domain, lab.benchmark, board, SILENT, draw).read_text()


def without_costs(board):
    return {system.name: Costs(*[None] * 7, "") for system in board.systems}


def sentences(board, figures=None, costs=None) -> str:
    parts = discussion(board, figures, costs or without_costs(board))
    return "\n".join(str(line) for part in parts for line in part.lines)


def mean(pipeline, metric, **more):
    return {"pipeline": pipeline, "metric": metric, "n_scored": 57, "n_failed": 3, "mean": 0.5, "low": 0.4, "high": 0.6,
            "worst": 0.475, "best": 0.525, "spread": 0.0125, **more}  # fmt: skip


ANSWERS = {
    "format": "domainbench-answers/1", "n": 60, "pipelines": [BASE, TUNED], "generator": "model <g>", "judge": "model j",
    "means": [mean(BASE, "faithfulness"), mean(TUNED, "faithfulness", mean=0.712, n_failed=0, n_scored=60),
              mean(BASE, "token_f1", mean=None, low=None, high=None), mean(TUNED, "token_f1")],
    "comparisons": [
        {"pipeline": TUNED, "metric": "faithfulness", "n": 57, "difference": 0.21, "low": 0.1, "high": 0.3, "p": 0.001,
         "corrected_p": 0.002, "verdict": "better", "detectable": 0.1},
        {"pipeline": TUNED, "metric": "token_f1", "n": 57, "difference": 0.01, "low": -0.1, "high": 0.12, "p": 0.8,
         "corrected_p": 0.8, "verdict": "not shown", "detectable": 0.1},
    ],
    "preferences": [{"pipeline": TUNED, "n": 60, "wins": 31, "losses": 20, "ties": 7, "failed": 2, "p": 0.16,
                     "corrected_p": 0.16, "verdict": "not shown"}],
    "warnings": ["the judge is the model that answers | <b>"],
}  # fmt: skip


def with_answers(lab, **more):
    write_text(lab.domain.results / "answers.json", json.dumps({**ANSWERS, **more}))
    return lab


# --- answers --------------------------------------------------------------------------------------------------------


def test_answers_are_told_with_what_failed(made):
    text = make(with_answers(made))
    section = text.split("## Results: answers")[1].split("## Question by question")[0]
    assert "60 questions were put to one language model (model &lt;g&gt;)" in section
    assert "| Faithfulness | A: `base` | 0.500 | 0.400 to 0.600 | 57 | 3 | 0.475 to 0.525 | 0.013 |" in section
    assert "| B: `village-tuned` | 0.500 | 0.712 ▲ |" in section
    assert "| A: `base` |  | 0.500 |" in section, "what is not known is blank, never 0"
    assert "| B: `village-tuned` | 31 | 20 | 7 | 2 | 0.1600 | not shown | 60 |" in section
    assert r"the judge is the model that answers \| &lt;b&gt;" in section
    assert "not about the answers that a language model makes" not in text


def test_answers_of_another_form_are_passed_over(made):
    for content in ({"format": "other/9"}, {"format": "domainbench-answers/2", "means": "none", "warnings": [3]}):
        write_text(made.domain.results / "answers.json", json.dumps(content))
        make(made)
    found = read_answer_figures(made.domain)
    assert found is not None
    assert (found.pipelines, found.means, found.warnings, found.n) == ((), (), (), None)


def test_both_answers_stand_beside_examples_and_only_there(made):
    board = read_leaderboard(made.domain)
    secret = "the berth *costs* <b>nine</b> | crowns"
    rows = [
        Answered(query.id, name, ("doc-0.md#0",), f"{secret} {name}")
        for query in board.queries
        for name in (BASE, TUNED)
    ]
    write_answers(made.domain.answers, [Asked(query.id, "?", "core", "", True) for query in board.queries], rows)
    text = make(with_answers(made))
    inside = re.search(r"<!-- passages -->(.*)<!-- /passages -->", text, flags=re.DOTALL)[1]
    assert "answer before (`base`): the berth" in inside
    assert f"answer after (`{TUNED}`): the berth" in inside
    assert "crowns" not in text.replace(inside, "")
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    html = [t for token in tokens for t in token.children or [token] if t.type in {"html_inline", "html_block"}]
    assert all(token.content.strip().startswith("<!--") for token in html)


def test_broken_answers_are_told_and_the_report_is_made(made):
    write_text(made.domain.answers / "answers.jsonl", '{"question": 1}\n')
    notes = []
    reporter = type("Notes", (), {"note": lambda self, line: notes.append(line)})()
    make_report(made.project, made.domain, made.benchmark, read_leaderboard(made.domain), reporter)
    assert any("shows no answers" in line for line in notes)


def test_ratings_of_people_and_how_far_they_agree(made):
    ratings = {
        "format": "domainbench-ratings/1", "ratings": 40, "questions": 20,
        "raters": [{"rater": "a", "rated": 20, "of": 20, "stale": 2}, {"rater": "b", "rated": 20, "of": 20, "stale": 0},
                   {"rater": "c", "rated": 0, "of": 20, "stale": 0}],
        "preferences": [{"first": BASE, "second": TUNED, "n": 20, "wins": 14, "losses": 3, "ties": 3, "p": 0.01,
                         "corrected_p": 0.0127, "verdict": "better"}],
        "comparisons": [{"first": BASE, "second": TUNED, "scale": "accuracy", "n": 20, "difference": 0.75, "low": 0.2,
                         "high": 1.3, "p": 0.01, "corrected_p": 0.03, "verdict": "better"}],
        "agreement": [{"scale": "accuracy", "coefficient": "Krippendorff's alpha", "value": 0.61, "low": 0.4,
                       "high": 0.8, "questions": 20}],
        "judge": [{"scale": "preference", "coefficient": "Cohen's kappa", "value": None, "why": "all alike"}],
        "warnings": ["one row was cut off"],
    }  # fmt: skip
    write_text(made.domain.results / "ratings.json", json.dumps(ratings))
    text = make(with_answers(made))
    section = text.split("### Ratings by people")[1].split("\n## ")[0]
    assert "40 ratings of 20 questions by 2 people" in section
    assert "2 ratings of earlier answers are left out" in section
    assert "| B: `village-tuned` | A: `base` | 14 | 3 | 3 | 0.0127 | **better** | 20 |" in section
    assert (
        "| accuracy | B: `village-tuned` | A: `base` | +0.75 | +0.20 to +1.30 | 0.0300 | **better** | 20 |" in section
    )
    assert "| people with each other | accuracy | Krippendorff's alpha | 0.610 | 0.40 to 0.80 | 20 |" in section
    assert "| the judge with people | preference | Cohen's kappa | all alike |  |  |" in section
    assert "one row was cut off" in section


# --- costs and pairs ------------------------------------------------------------------------------------------------


def with_costs(lab, times):
    for name, time in times.items():
        path = lab.domain.run("retrieval", name) / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["facts"]["costs"] = {
            "parameters": 22_713_216, "dimensions": 384, "index_bytes_per_million_chunks": 1_536_000_000,
            "chunks_per_second": 51.2, "query_ms": {"p50": time, "p95": 2 * time, "questions": 30},
            "machine": {"cpu": "Some CPU", "cores": 2},
        }  # fmt: skip
        path.write_text(json.dumps(manifest))
    return lab


def test_costs_are_blank_where_nothing_was_measured(made):
    assert "## Cost" not in make(made)
    text = make(with_costs(made, {BASE: 5.0, TUNED: 12.5}), write_plots)
    section = text.split("## Cost")[1].split("\n## ")[0]
    assert "(Some CPU, 2 cores)" in section
    assert re.search(r"`village-tuned` \| 0\.\d{3} \| 12 ms \| 25 ms \| 51 \| 1.54 GB \| 22.7 M \| 384 \|", section)
    assert re.search(r"`bm25` \| 0\.\d{3} \|  \|  \|  \|  \|  \|  \|", section)
    assert "plots/costs.png" in section
    assert (made.domain.results / "plots" / "costs.png").read_bytes()[:4] == b"\x89PNG"
    assert "5.0 ms with the baseline and 12 ms with `village-tuned` (medians): 2.5 times as long" in text
    first = text
    assert make(made) == first


def test_the_pareto_front_is_told_and_drawn(made, monkeypatch):
    board = read_leaderboard(made.domain)
    order = [system.name for system in board.ranked("retrieval")]
    best, second, worst = order[0], order[1], order[-1]
    times = {best: 9.0, second: 12.0, worst: 1.0}
    costs = without_costs(board)
    costs |= {name: replace(costs[name], latency_p50=time) for name, time in times.items()}
    assert pareto_front(board, costs) == [worst, best]
    # Equally fast: the better one alone; a model that was not timed is none of it.
    costs[worst] = replace(costs[worst], latency_p50=9.0)
    assert pareto_front(board, costs) == [best]
    assert pareto_front(board, without_costs(board)) == []
    section = make(with_costs(made, times)).split("## Cost")[1].split("\n## ")[0]
    means = {name: f"{board.mean('retrieval', name).mean:.3f}" for name in times}
    told = f"the fastest first: `{worst}` (1.0 ms, {means[worst]}); `{best}` (9.0 ms, {means[best]}). No other"
    assert told in section
    drawn = []
    monkeypatch.setattr(report_costs, "_draw_front", lambda axes, front: drawn.extend(p.system.name for p in front))
    draw_costs(Figure(), board, {**costs, worst: replace(costs[worst], latency_p50=1.0)})
    assert drawn == [worst, best]


def test_one_measured_model_is_no_plot(made, tmp_path):
    board = read_leaderboard(made.domain)
    costs = without_costs(board)
    costs[BASE] = replace(costs[BASE], latency_p50=5.0)
    assert "costs.png" not in [plot.file for plot in write_plots(board, tmp_path / "p", costs)]


def test_every_pair_has_its_sign(made):
    board = read_leaderboard(made.domain)
    section = make(made).split("### Every model against every other")[1].split("\n## ")[0]
    rows = [line for line in section.split("\n") if line.startswith("| ") and "`" in line]
    names = [system.name for system in board.ranked(TASKS[0])]
    assert len(rows) == len(names)
    for row, name in zip(rows, names, strict=True):
        cells = [cell.strip() for cell in row.strip("|").split("|")][1:]
        for cell, other in zip(cells, names, strict=True):
            if other == name:
                assert cell == "·"
            else:
                sign = {"better": "▲", "worse": "▼", "not shown": ""}[pair_of(board, name, other).verdict]
                assert cell.endswith(sign) and ("▲" in cell) + ("▼" in cell) == bool(sign)


# --- discussion -----------------------------------------------------------------------------------------------------


def told(board, name, **changes):
    """The leaderboard with one comparison on hit rate@3 changed."""
    rows = tuple(
        replace(row, **changes) if (row.task, row.metric, row.category, row.system) == (TASKS[0], HIT_RATE, None, name)
        else row
        for row in board.comparisons
    )  # fmt: skip
    means = tuple(
        replace(row, mean={BASE: 0.61, name: 0.74}[row.system])
        if (row.task, row.metric, row.category) == (TASKS[0], HIT_RATE, None) and row.system in {BASE, name} else row
        for row in board.means
    )  # fmt: skip
    return replace(board, comparisons=rows, means=means)


def test_a_gain_in_plain_words(made):
    board = told(read_leaderboard(made.domain), TUNED, difference=0.13, low=0.07, high=0.19, n=150, verdict="better")
    wanted = "raised Hit rate@3 from 61 % to 74 % (+13 points, 95 % interval 7 to 19, n = 150)."
    assert f"Tuning (`{TUNED}`) {wanted}" in sentences(board)


def test_nobody_is_told_a_gain_that_was_not_shown(made):
    board = told(
        read_leaderboard(made.domain), TUNED, difference=0.13, low=-0.01, high=0.27, corrected_p=0.31,
        verdict="not shown",
    )  # fmt: skip
    text = sentences(board)
    assert "moved Hit rate@3 from 61 % to 74 %" in text
    assert "more than luck is not shown (corrected p 0.31)" in text
    assert "raised Hit rate@3" not in text


def test_a_loss_is_told(made):
    board = told(read_leaderboard(made.domain), TUNED, difference=-0.1, low=-0.2, high=-0.01, verdict="worse")
    assert "lowered Hit rate@3" in sentences(board)


@pytest.mark.parametrize(
    ("verdict", "words"), [("better", "No: "), ("worse", "Yes: "), ("not shown", "no proof of equality")]
)
def test_whether_bm25_alone_would_do(made, verdict, words):
    board = read_leaderboard(made.domain)
    best = board.ranked(TASKS[0])[0].name
    pairs = tuple(replace(pair_of(board, best, "bm25"), verdict=verdict) if {p.first, p.second} == {best, "bm25"} else p
                  for p in board.pairwise)  # fmt: skip
    parts = {
        part.heading: part.lines for part in discussion(replace(board, pairwise=pairs), None, without_costs(board))
    }
    assert words in str(parts["Would BM25 alone do?"][0])


def test_the_next_questions_narrow_what_can_be_seen(made):
    board = read_leaderboard(made.domain)
    row = board.comparison(TASKS[0], TUNED)
    text = sentences(board)
    then = row.detectable * (row.n / (row.n + 50)) ** 0.5
    assert f"about {row.detectable:.3f} in {board.main.label}" in text
    assert f"with 50 more of the same kind, one of about {then:.3f}." in text
    small = tuple(replace(r, verdict="not shown", difference=row.detectable / 2) if r == row else r
                  for r in board.comparisons)  # fmt: skip
    assert f"about {float(f'{4 * row.n:.2g}'):,.0f} questions in all" in sentences(replace(board, comparisons=small))


def test_what_is_said_of_answers(made):
    figures = read_answer_figures(with_answers(made).domain)
    text = sentences(read_leaderboard(made.domain), figures)
    assert (
        f"With the passages of `{TUNED}` the answers are better than the baseline's in Faithfulness (+0.210, 95 % "
        "interval 0.100 to 0.300, n = 57)." in text
    )
    assert "1 of 2 comparisons show no difference to the baseline's answers (Token F1)" in text
    assert f"That the judge preferred either `{TUNED}` or the baseline is not shown (31 to 20, 7 ties)." in text
    assert "3 judgements failed" in text


def test_without_general_sets_forgetting_is_said_to_be_unknown(made):
    assert "It was not measured" in sentences(read_leaderboard(made.domain))


def test_points_never_say_minus_nothing():
    assert [points(value, sign=True) for value in (0.0, -0.0001, 0.0001, -0.004)] == ["0", "0", "0", "-0.4"]
