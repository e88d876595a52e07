"""Statistics of answers: means with their bounds, paired comparisons, preferences, and the page."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.answer_records import Answered, Asked, write_answers
from benchmark.console import SILENT
from benchmark.errors import BenchError
from benchmark.reporting.answers import UNASKED, check_answers, make_answers, read_board
from benchmark.reporting.answers_board import Answers, PairRow, Question, Settings
from benchmark.reporting.answers_pages import answers_markdown, conclusions
from benchmark.reporting.answers_statistics import sign_test, with_answer_statistics
from benchmark.specs import AnswersSpec, BenchmarkSpec, Endpoint, LLMSpec
from benchmark.stats import holm, sign_flip_test

SETTINGS = Settings(seed=3, bootstrap=1000, permutations=1000, alpha=0.05)
LLM = LLMSpec(endpoint=Endpoint(base_url="http://127.0.0.1:9/v1", model="writer"))
SPEC = BenchmarkSpec(
    domains=["village"], baseline="bm25", models=["bm25", "tiny"], seed=3, bootstrap=1000, permutations=1000,
    answers=AnswersSpec(llm=LLM),
)  # fmt: skip


def board(columns, metric="correctness", pairs=(), answerable=None, notes=()):
    """A board with one metric; a column holds a score, None for a failure, or "-" where the metric does not apply."""
    size = len(next(iter(columns.values())))
    cells = {
        name: [None if cell == "-" else cell if isinstance(cell, list) else [cell] for cell in column]
        for name, column in columns.items()
    }
    questions = tuple(Question(f"q{n}", "core", answerable[n] if answerable else True) for n in range(size))
    return with_answer_statistics(
        Answers("village", "Village", SETTINGS, "writer", "judge", 1, tuple(notes), tuple(columns), questions,
                {metric: cells}, tuple(pairs))
    )  # fmt: skip


def pairs(name, said):
    orders = {
        "w": ("second", "second"),
        "l": ("first", "first"),
        "t": ("tie", "tie"),
        "d": ("first", "second"),
        "s": (),
    }
    words = {"w": "second", "l": "first", "f": None}
    return [
        PairRow(f"q{n}", name, words.get(letter, "tie"), orders.get(letter, (None, "tie")))
        for n, letter in enumerate(said)
    ]


def test_failures_are_counted_and_bound_the_mean():
    found = board({"a": [1.0, 0.5, None, "-", 0.0]})
    row = found.mean("a", "correctness")
    assert (row.n_scored, row.n_failed, row.mean, row.worst, row.best) == (3, 1, 0.5, 0.375, 0.625)
    assert row.low <= row.mean <= row.high
    nothing = board({"a": [None, None]}).mean("a", "correctness")
    assert (nothing.n_scored, nothing.n_failed, nothing.mean, nothing.low) == (0, 2, None, None)
    assert (nothing.worst, nothing.best) == (0.0, 1.0)


def test_a_question_is_scored_where_every_repeat_is():
    found = board({"a": [[1.0, 0.0], [0.5, 0.5], [1.0, None]]})
    row = found.mean("a", "correctness")
    assert (row.n_scored, row.n_failed, row.mean) == (2, 1, 0.5)
    assert row.spread == 0.5  # the repeats' means are 0.75 and 0.25
    assert board({"a": [1.0]}).mean("a", "correctness").spread is None


def test_comparisons_are_paired_and_use_questions_scored_for_both():
    base, one = [0.0, 0.5, None, 1.0, "-", 0.0, 0.0], [1.0, 0.5, 1.0, None, 1.0, 1.0, 0.5]
    row = board({"a": base, "b": one}).comparison("b", "correctness")
    assert (row.n, row.left_out) == (4, 2)
    assert row.difference == pytest.approx((1 + 0 + 1 + 0.5) / 4)
    assert row.p == pytest.approx(sign_flip_test([1.0, 0.5, 1.0, 0.5], [0.0, 0.5, 0.0, 0.0]))
    # What failed counts against, then for it: (1 - 1) and (0 - 1), then (1 - 0) and (1 - 1).
    assert (row.worst, row.best) == (pytest.approx((2.5 - 1) / 6), pytest.approx((2.5 + 1) / 6))
    nothing = board({"a": [None], "b": [1.0]}).comparison("b", "correctness")
    assert (nothing.n, nothing.difference, nothing.p, nothing.verdict) == (0, None, None, "not shown")


def test_better_needs_a_corrected_p_and_equal_pipelines_show_nothing():
    rng = np.random.default_rng(0)
    base = (rng.random(40) < 0.4).astype(float).tolist()
    found = board({"a": base, "better": [1.0] * 40, "same": base, "worse": [0.0] * 40})
    rows = {row.pipeline: row for row in found.comparisons}
    assert {name: row.verdict for name, row in rows.items()} == {
        "better": "better",
        "same": "not shown",
        "worse": "worse",
    }
    assert [row.corrected_p for row in rows.values()] == pytest.approx(holm([row.p for row in rows.values()]))
    assert rows["same"].p == 1.0 and rows["same"].detectable is None
    text = answers_markdown(found)
    assert "**better**" in text and "These questions cannot tell the two apart." in text


def test_a_verdict_that_failures_could_turn_says_so():
    base, one = [0.0] * 12, [1.0] * 8 + [None] * 4
    text = answers_markdown(board({"a": base, "b": one}))
    assert "**better**. 4 more questions have no score" in text and "hangs on them" not in text
    text = answers_markdown(board({"a": base[:10] + [1.0] * 30, "b": one[:8] + [None] * 32}))
    assert "**better**. 32 more questions have no score" in text and "The verdict hangs on them." in text


def test_preferences_by_sign_test_with_holm():
    said = pairs("b", "wwwwwwwwww" + "td") + pairs("c", "wl" + "s" * 9 + "f")
    found = board({"a": [1.0] * 12, "b": [1.0] * 12, "c": [1.0] * 12}, pairs=said)
    first, second = found.preferences
    assert (first.wins, first.losses, first.ties, first.same, first.disagreed, first.failed) == (10, 0, 2, 0, 1, 0)
    assert first.p == pytest.approx(2 / 2**10) and first.corrected_p == pytest.approx(2 * first.p)
    assert first.verdict == "better"
    assert (second.wins, second.losses, second.same, second.failed, second.p) == (1, 1, 9, 1, 1.0)
    assert second.verdict == "not shown"
    assert any("c: 1 of 12 pairs have no verdict" in line for line in found.warnings)


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_sign_test_is_scipys_binomial_test(wins, losses):
    from scipy.stats import binomtest

    expected = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert math.isclose(sign_test(wins, losses), expected, rel_tol=1e-9)
    assert sign_test(wins, losses) == sign_test(losses, wins)


def test_few_failures_are_no_warning_many_are():
    assert board({"a": [0.5, *[1.0] * 18, None]}).warnings == ()
    line = board({"a": [0.0, *[1.0] * 17, None, None]}, notes=("a note",)).warnings
    assert line[0] == "a note" and "2 of 20 questions have no score" in line[1] and "0.850 to 0.950" in line[1]


def test_a_judge_that_says_the_same_to_everything_is_suspected():
    assert any("all 10 scores are 0" in line for line in board({"a": [0.0] * 5, "b": [0.0] * 5}).warnings)
    assert board({"a": [0.0] * 5, "b": [0.0] * 4 + [0.5]}).warnings == ()
    assert board({"a": [0.0] * 5, "b": [0.0] * 5}, metric="exact_match").warnings == ()


def test_answerable_and_unanswerable_questions_stand_apart():
    found = board({"a": [0.0, 1.0, 1.0], "b": [0.0, 0.0, 1.0]}, answerable=[True, False, False])
    means = {(row.group, row.pipeline): row.mean for row in found.groups}
    assert means == {
        ("answerable", "a"): 0.0,
        ("unanswerable", "a"): 1.0,
        ("answerable", "b"): 0.0,
        ("unanswerable", "b"): 0.5,
    }
    assert "## Unanswerable questions" in answers_markdown(found)
    assert "## Unanswerable questions" not in answers_markdown(board({"a": [0.0]}))


def test_names_and_titles_stay_text_on_the_page():
    found = replace(board({"a": [1.0]}), title="<b>*T*</b> | x", generator="`m` | n")
    text = answers_markdown(found)
    assert "<b>" not in text and r"\*T\*" in text and "`'m' / n`" in text
    assert conclusions(found)[0].startswith("a alone was asked")


# --- from files -----------------------------------------------------------------------------------------------------


def plant(project, rows, questions=2):
    domain = project.domain("village")
    asked = [Asked(f"q{n}", f"Question {n}?", "core", "a fee", True) for n in range(questions)]
    write_answers(domain.answers, asked, rows)
    return domain


def row(question, pipeline, f1, **options):
    return Answered(
        question, pipeline, ("c0",), "a fee", ("c0",), metrics={"token_f1": f1, "declined_rightly": 1.0}, **options
    )


def test_the_same_files_give_the_same_bytes_and_the_json_derives_itself(project):
    domain = plant(
        project, [row("q0", "bm25", 0.5), row("q0", "tiny", 1.0), row("q1", "bm25", 0.0), row("q1", "tiny", 0.5)]
    )
    make_answers(project, domain, SPEC, SILENT)
    files = [(domain.results / f"answers.{suffix}") for suffix in ("json", "md")]
    first = [path.read_bytes() for path in files]
    made = make_answers(project, domain, SPEC, SILENT)
    assert [path.read_bytes() for path in files] == first
    assert read_board(domain) == made and made.judge is None
    assert check_answers(domain, SPEC) == made
    stored = json.loads(first[0])
    assert stored["format"] == "domainbench-answers/1" and stored["n"] == 2
    assert set(stored["means"][0]) == {
        "pipeline", "metric", "n_scored", "n_failed", "mean", "low", "high", "worst", "best", "spread",
    }  # fmt: skip
    assert "No language model has judged them." in first[1].decode()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda stored: stored["means"][0].update(mean=0.9), "mean is 0.9, its scores give"),
        (lambda stored: stored["comparisons"][0].update(verdict="better"), "verdict is better, its scores give not shown"),
        (lambda stored: stored["scores"]["token_f1"]["tiny"].__setitem__(0, [0.0]), "its scores give"),
        (lambda stored: stored.update(warnings=["all is well"]), "its warnings are not those"),
        (lambda stored: stored["settings"].update(seed=4), "other settings"),
        (lambda stored: stored.update(format="other/2"), "its format is 'other/2'"),
        (lambda stored: stored.pop("scores"), "broken"),
    ],
)  # fmt: skip
def test_a_changed_figure_is_found(project, change, told):
    domain = plant(
        project, [row("q0", "bm25", 0.5), row("q0", "tiny", 1.0), row("q1", "bm25", 0.0), row("q1", "tiny", 0.5)]
    )
    make_answers(project, domain, SPEC, SILENT)
    path = domain.results / "answers.json"
    stored = json.loads(path.read_text())
    change(stored)
    path.write_text(json.dumps(stored))
    with pytest.raises(BenchError, match=told):
        check_answers(domain, SPEC)


def test_a_changed_page_is_found(project):
    domain = plant(project, [row("q0", "bm25", 0.5), row("q0", "tiny", 1.0)], questions=1)
    make_answers(project, domain, SPEC, SILENT)
    page = domain.results / "answers.md"
    page.write_text(page.read_text().replace("0.500", "0.900"))
    with pytest.raises(BenchError, match="differs from what the scores give"):
        check_answers(domain, SPEC)


def test_answers_that_failed_have_no_score_and_are_counted(project):
    failed = Answered("q1", "tiny", ("c0",), "", failure="refused by the model", metrics={})
    domain = plant(project, [row("q0", "bm25", 0.5), row("q0", "tiny", 1.0), row("q1", "bm25", 0.0), failed])
    found = make_answers(project, domain, SPEC, SILENT)
    mean = found.mean("tiny", "token_f1")
    assert (mean.n_scored, mean.n_failed, mean.mean, mean.worst, mean.best) == (1, 1, 1.0, 0.5, 1.0)
    assert found.mean("tiny", "declined_rightly").n_failed == 1
    assert found.comparison("tiny", "token_f1").left_out == 1
    assert "rouge_l" not in found.scores


def test_what_a_model_was_not_asked_for_is_not_rated(project):
    domain = plant(project, [row("q0", "bm25", 0.5), row("q0", "tiny", 1.0)], questions=1)
    (domain.answers / "manifest.json").write_text(json.dumps({"facts": {"style": "instructed"}}))
    assert "declined_rightly" in make_answers(project, domain, SPEC, SILENT).scores
    (domain.answers / "manifest.json").write_text(json.dumps({"facts": {"style": "begun"}}))
    found = make_answers(project, domain, SPEC, SILENT)
    assert set(found.scores) == {"token_f1"} and found.warnings[0] == UNASKED
    assert check_answers(domain, SPEC) == found and "neither to cite nor to decline" in answers_markdown(found)


def test_mistakes_are_told_in_a_line(project):
    domain = project.domain("village")
    with pytest.raises(BenchError, match="domainbench answer"):
        make_answers(project, domain, SPEC, SILENT)
    with pytest.raises(BenchError, match="no 'answers' section"):
        make_answers(project, domain, SPEC.model_copy(update={"answers": None}), SILENT)
    for rows in ([row("q0", "bm25", 0.5)], [row("q0", "bm25", 0.5), row("q0", "tiny", 0.5)] * 2):
        plant(project, rows, questions=1)
        with pytest.raises(BenchError, match="one answer of each pipeline"):
            make_answers(project, domain, SPEC, SILENT)
    assert not (domain.results / "answers.json").exists()
