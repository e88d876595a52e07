"""Was tuning worth it: what the development split chose and what the test set says, in plain words."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmark import stats
from benchmark.console import SILENT
from benchmark.files import dump_yaml, write_text
from benchmark.reporting.board import TASKS, Leaderboard
from benchmark.reporting.leaderboard import check_leaderboard, make_leaderboard, write_page
from benchmark.reporting.report import make_report
from benchmark.reporting.tuning import tuning_section


def choice(chosen: str, share: float, why: str = "share is <b>best</b> | of 3.") -> dict:
    return {"chosen": chosen, "share": share, "why": why}


def write_spec(lab, name: str, **provenance) -> None:
    write_text(
        lab.project.specs_folder / f"{name}.yaml",
        dump_yaml({"path": f"results/village/models/{name}", "provenance": provenance}),
    )


def make(lab) -> Leaderboard:
    return make_leaderboard(lab.project, lab.domain, lab.benchmark, SILENT)


def test_specs_without_a_choice_get_no_sentence(lab):
    board = make(lab)
    assert tuning_section(board) == []
    assert "## Tuning" not in (lab.domain.results / "leaderboard.md").read_text()
    assert all("choice" not in row for row in board.to_json()["systems"])
    assert "tuning" not in board.to_json()


@pytest.mark.parametrize("odd", [{"choice": "base"}, {"choice": {"chosen": "base"}}, {"facts": {"choice": [1]}},
                                 {"choice": {"chosen": 1, "share": 0.5, "why": "x"}}])  # fmt: skip
def test_what_is_no_choice_is_passed_over(lab, kit, odd):
    write_spec(lab, kit.TUNED, base=kit.BASE, **odd)
    assert tuning_section(make(lab)) == []


def test_the_choice_and_the_test_set_are_told_and_checked(lab, kit):
    write_spec(lab, kit.TUNED, run="village-tuned", base=kit.BASE, choice=choice("mixed", 0.5))
    write_spec(lab, kit.DOTTED, run="village-tuned", base=kit.BASE, facts={"choice": choice("mixed", 0.5)})
    write_spec(lab, kit.LEXICAL, run="other", base=kit.BASE, facts={"choice": choice("base", 0.0)})
    board = make(lab)
    make_report(lab.project, lab.domain, lab.benchmark, board, SILENT)
    write_page(lab.project, lab.domain, lab.benchmark, board)
    text = (lab.domain.results / "leaderboard.md").read_text()
    section = text.split("## Tuning\n")[1].split("\n## ")[0]
    first, second = section.split("### `other`")
    assert first.count("The development split") == 1
    assert (
        "chose a mixture of base and tuned model (share of the tuned one 0.5): share is &lt;b&gt;best&lt;/b&gt; \\| of 3."
        in first
    )
    row = board.comparison("retrieval", kit.TUNED)
    before, after = (board.mean("retrieval", name).mean for name in (kit.BASE, kit.TUNED))
    assert (
        f"On the test set `{kit.TUNED}`: nDCG@10 {after:.3f} against {before:.3f} of `base` ({row.difference:+.3f}"
        in first
    )
    assert "Tuning was worth it on this domain." in first
    assert "**Tuning was not shown to be worth it.** This is no proof of equality" in first
    assert "chose the base, so by these signs tuning was not worth it" in second
    assert "**Tuning made it worse.**" in second
    assert section.strip() in (lab.domain.results / "report.md").read_text()
    check_leaderboard(lab.domain, lab.benchmark)


def test_a_gain_that_the_development_split_did_not_see_is_told(lab, kit):
    write_spec(lab, kit.TUNED, base=kit.BASE, facts={"choice": choice("base", 0.0)})
    text = "\n".join(tuning_section(make(lab)))
    assert f"### `{kit.TUNED}`" in text
    assert "Tuning was worth it on this domain, although the development split chose the base." in text


def test_a_model_that_ranks_as_its_base(lab, kit):
    for task in TASKS:
        lab.evaluate(kit.TUNED, task, lab.scores(1.2, 10))
        lab.evaluate(kit.BASE, task, lab.scores(1.2, 10))
    write_spec(lab, kit.TUNED, base=kit.BASE, facts={"choice": choice("base", 0.0)})
    assert "**Tuning was not worth it**: every question scores the same without it." in "\n".join(
        tuning_section(make(lab))
    )


def test_a_model_is_judged_against_its_own_base(lab, kit):
    lab = lab.with_benchmark(finetune=[])  # the run there starts from the baseline
    write_spec(lab, kit.TUNED, base=kit.DOTTED, choice=choice("tuned", 1.0))
    write_text(lab.project.specs_folder / f"{kit.LEXICAL}.yaml", dump_yaml(
        {"path": "x", "provenance": {"base": "bert", "choice": choice("tuned", 1.0)}}
    ))  # fmt: skip
    board = make(lab)
    (row,) = board.tuning
    scores = board.scores["retrieval"]
    gaps = stats.differences(np.array(scores[kit.TUNED][board.main]), np.array(scores[kit.DOTTED][board.main]))
    assert (row.system, row.difference) == (kit.TUNED, pytest.approx(gaps.mean()))
    assert row.p == pytest.approx(stats.sign_flip_tests(gaps, permutations=2000)[0])
    text = "\n".join(tuning_section(board))
    assert f"of `{kit.DOTTED}` ({row.difference:+.3f}" in text and "chose the tuned model" in text
    assert "On the test set `bm25` cannot be judged: `bert`, which it was made from, is not compared." in text
    path = lab.domain.results / "leaderboard.json"
    assert Leaderboard.from_json(json.loads(path.read_text()), "here") == board
    make_report(lab.project, lab.domain, lab.benchmark, board, SILENT)
    write_page(lab.project, lab.domain, lab.benchmark, board)
    check_leaderboard(lab.domain, lab.benchmark)


def test_weights_of_two_sides(lab, kit):
    write_text(lab.project.specs_folder / f"{kit.FUSED}.yaml", dump_yaml(
        {"hybrid": [kit.LEXICAL, kit.TUNED], "weights": [0.3, 0.7],
         "provenance": {"run": "h", "facts": {"choice": choice("both", 0.7, "weight 0.7 is the best of 11")}}}
    ))  # fmt: skip
    text = "\n".join(tuning_section(make(lab)))
    assert "weighed the two sides: weight 0.7 is the best of 11." in text
    assert "Combining was worth it on this domain." in text


def test_forgetting_is_told_beside_the_gain(lab, kit):
    write_spec(lab, kit.TUNED, base=kit.BASE, choice=choice("tuned", 1.0))
    for skill, told in ((1.0, "**It forgets**: see Forgetting."), (2.6, "That it forgets is excluded.")):
        found = kit.add_general(lab, "everyday", {**dict.fromkeys(kit.SYSTEMS, 1.9), kit.TUNED: skill})
        board = make(found)
        assert told in "\n".join(tuning_section(board))
    assert "It forgets" not in "\n".join(tuning_section(replace(board, general=None)))
