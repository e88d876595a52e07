"""Forgetting on general sets: the rule, its statistics, what is told, and the check of what was committed."""

import csv
import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from benchmark import stats
from benchmark.console import SILENT
from benchmark.errors import BenchError
from benchmark.files import write_text
from benchmark.project import Project
from benchmark.reporting.board import TASKS, Leaderboard, Question, Settings
from benchmark.reporting.compact import dump_compact
from benchmark.reporting.compare import with_statistics
from benchmark.reporting.forgetting import overall
from benchmark.reporting.general import METRIC, General, GeneralSet
from benchmark.reporting.leaderboard import check_leaderboard, make_leaderboard, read_leaderboard, write_page
from benchmark.reporting.metrics import metrics_for
from benchmark.reporting.pages import leaderboard_csv, leaderboard_markdown
from benchmark.reporting.report import make_report
from benchmark.reporting.systems import System
from benchmark.reporting.terminal import forgetting_terminal, leaderboard_table
from benchmark.reporting.verdicts import HOW_TO, regressions, verdict_sentence

N = 120


def board_of(
    general: dict[str, list[list[float]]], domain: dict[str, list[float]] | None = None, margin: float = 0.02
) -> Leaderboard:
    """A leaderboard with these scores on the sets (system -> one row for each set), the first system the baseline."""
    domain = domain or {name: [0.5] * 40 for name in general}
    metrics = metrics_for("ndcg@10", 100)
    n = len(next(iter(domain.values())))
    sets = tuple(
        GeneralSet(
            f"set{place}", f"Set {place}", "t", tuple(f"s{place}q{i}" for i in range(len(row))),
            {name: rows[place] for name, rows in general.items()},
        )
        for place, row in enumerate(next(iter(general.values())))
    )  # fmt: skip
    board = Leaderboard(
        domain="d", title="D", task_names={"retrieval": "DRetrieval", "reranking": "DReranking"}, testset="t",
        settings=Settings("base", "ndcg@10", 100, 2000, 1000, 0.05, 0), metrics=metrics,
        systems=tuple(System(name, "kind", "", "", None, None, None, "") for name in general),
        queries=tuple(Question(f"q{i}", "core") for i in range(n)),
        scores={task: {name: dict.fromkeys(metrics, row) for name, row in domain.items()} for task in TASKS},
        general=General(margin, sets),
    )  # fmt: skip
    return with_statistics(board)


def changed(base: np.ndarray, mean: float, spread: float, seed: int = 3) -> list[float]:
    """Scores whose differences to the base have this mean and spread, all within 0..1."""
    gaps = np.random.default_rng(seed).normal(size=len(base))
    gaps = mean + spread * (gaps - gaps.mean()) / gaps.std()
    found = base + gaps
    assert found.min() >= 0 and found.max() <= 1
    return found.tolist()


BASE = np.linspace(0.4, 0.6, N)


# --- the rule -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mean", "spread", "finding", "words"), [
    (-0.06, 0.08, "shown", "and a loss on the general sets is shown, more than 0.02 in the mean"),
    (-0.01, 0.01, "excluded", "and a loss on the general sets is shown, but one of more than 0.02 is excluded"),
    (0.0, 0.05, "excluded", "and a loss of more than 0.02 on the general sets is excluded"),
    (0.05, 0.1, "excluded", "and a loss of more than 0.02 on the general sets is excluded"),
    (-0.018, 0.05, "not excluded", "and a loss on the general sets is shown, though not that it is more than 0.02"),
    (-0.01, 0.12, "not excluded", "and a loss of more than 0.02 on the general sets cannot be excluded"),
    (-0.021, 0.13, "not excluded", "and a loss of more than 0.02 on the general sets cannot be excluded"),
])  # fmt: skip
def test_forgetting_is_shown_excluded_or_neither(mean, spread, finding, words):
    board = board_of({"base": [BASE.tolist()], "rival": [changed(BASE, mean, spread)]})
    row = board.general.row("rival")
    assert row.forgetting == finding
    assert row.difference == pytest.approx(mean)
    assert words in verdict_sentence(board, "rival")


def test_what_is_shown_is_never_excluded():
    grid = np.linspace(-0.1, 0.1, 9)
    for difference in grid:
        for low in grid[grid <= difference]:
            for p in (0.001, 0.2):
                found = stats.forgetting(float(difference), float(low), p, 0.02)
                assert (found == "shown") == (p < 0.05 and difference < -0.02)
                assert found != "excluded" or low >= -0.02


@pytest.mark.parametrize(("domain", "general", "verdict"), [
    ("better", "excluded", "WIN"), ("better", "not excluded", "MARGINAL"), ("better", "shown", "REGRESSION"),
    ("not shown", "excluded", "MARGINAL"), ("not shown", "not excluded", "MARGINAL"), ("not shown", "shown", "REGRESSION"),
    ("worse", "excluded", "REGRESSION"), ("worse", "not excluded", "REGRESSION"), ("worse", "shown", "REGRESSION"),
])  # fmt: skip
def test_the_verdict_needs_both(domain, general, verdict):
    assert overall(domain, general) == verdict


def test_margin_of_zero():
    better = changed(BASE, 0.05, 0.05)
    board = board_of({"base": [BASE.tolist()], "same": [BASE.tolist()], "better": [better]}, margin=0.0)
    assert [board.general.row(name).forgetting for name in ("same", "better")] == ["excluded", "excluded"]


def test_one_query_shows_and_excludes_nothing():
    board = board_of({"base": [[1.0]], "rival": [[0.0]]})
    row = board.general.row("rival")
    assert (row.low, row.high, row.detectable, row.p, row.forgetting) == (None, None, None, 1, "not excluded")
    assert "n = 1 †" in leaderboard_markdown(board)


def test_only_the_baseline():
    board = board_of({"base": [BASE.tolist()]})
    assert board.general.rows == ()
    assert "of the baseline `base` on them: 0.500." in leaderboard_markdown(board)
    assert regressions(board) == []


# --- statistics -----------------------------------------------------------------------------------------------------


def test_sets_are_pooled_by_query_and_corrected_over_models():
    small = np.linspace(0.3, 0.7, 30)
    systems = {
        "base": [BASE.tolist(), small.tolist()],
        "a": [changed(BASE, -0.012, 0.05), changed(small, 0.1, 0.1, 1)],
        "b": [changed(BASE, -0.05, 0.1, 2), changed(small, -0.05, 0.1, 4)],
        "c": [changed(BASE, 0.0, 0.1, 5), changed(small, 0.0, 0.1, 6)],
    }
    board = board_of(systems)
    general = board.general
    assert general.n == 150
    gaps = {name: np.concatenate(rows) - np.concatenate(systems["base"]) for name, rows in systems.items()}
    rows = {name: general.row(name) for name in "abc"}
    for name, row in rows.items():
        assert row.difference == pytest.approx((120 * gaps[name][:120].mean() + 30 * gaps[name][120:].mean()) / 150)
        assert row.after - row.before == pytest.approx(row.difference)
        assert (row.low, row.high) == pytest.approx(stats.bootstrap_interval(gaps[name], resamples=1000))
        assert row.p == pytest.approx(stats.sign_flip_tests(gaps[name], permutations=2000)[0])
        assert row.detectable == pytest.approx(stats.minimum_detectable(gaps[name]))
    assert [row.corrected_p for row in rows.values()] == pytest.approx(stats.holm([row.p for row in rows.values()]))
    single = [general.row(name, group) for group in ("set0", "set1") for name in "abc"]
    assert [row.corrected_p for row in single] == pytest.approx(stats.holm([row.p for row in single]))
    assert [row.n for row in single] == [120] * 3 + [30] * 3
    assert len(general.rows) == 9


def test_a_single_set_has_no_rows_of_its_own():
    board = board_of({"base": [BASE.tolist()], "rival": [changed(BASE, 0.01, 0.05)]})
    assert [row.group for row in board.general.rows] == [None]


# --- from runs to files ---------------------------------------------------------------------------------------------


def make(lab) -> Leaderboard:
    board = make_leaderboard(lab.project, lab.domain, lab.benchmark, SILENT)
    make_report(lab.project, lab.domain, lab.benchmark, board, SILENT)
    write_page(lab.project, lab.domain, lab.benchmark, board)
    return board


@pytest.fixture(scope="module")
def kept_wide(kept_lab, kit, tmp_path_factory):
    """A lab with two general sets, on which the tuned model has lost much, and its leaderboard; made once."""
    skills = {**dict.fromkeys(kit.SYSTEMS, 1.9), kit.TUNED: 1.3, kit.FUSED: 2.4}
    lab = moved(kept_lab, tmp_path_factory.mktemp("wide") / "project")
    for path in lab.domain.results.glob("leaderboard.*"):
        path.unlink()
    lab = kit.add_general(lab, "everyday", skills, n=150)
    lab = kit.add_general(lab, "nano_nq", skills, n=40)
    return lab, make(lab)


def moved(lab, root):
    """A copy of a lab in another place."""
    project = Project(shutil.copytree(lab.project.root, root))
    return replace(lab, project=project, domain=project.domain(lab.domain.name))


@pytest.fixture
def wide(kept_wide, tmp_path):
    """A copy of it for a test."""
    return moved(kept_wide[0], tmp_path / "wide")


@pytest.fixture
def board(kept_wide) -> Leaderboard:
    """Its leaderboard."""
    return kept_wide[1]


def test_scores_follow_from_the_runs_and_verdicts_are_everywhere(wide, board, kit):
    for name in ("everyday", "nano_nq"):
        (one,) = (one for one in board.general.sets if one.name == name)
        for system in kit.SYSTEMS:
            manifest = json.loads((wide.project.domain(name).run("retrieval", system) / "manifest.json").read_text())
            assert np.mean(one.scores[system]) == pytest.approx(manifest["facts"]["scores"]["ndcg_at_10"], abs=1e-5)
    assert board.general.verdicts[kit.TUNED] == "REGRESSION"
    assert board.general.row(kit.TUNED).forgetting == "shown"
    assert board.general.verdicts[kit.FUSED] == "WIN"
    assert board.general.verdicts[kit.LEXICAL] == "REGRESSION"  # worse on the domain
    assert board.general.verdicts[kit.DOTTED] == "MARGINAL"

    folder = wide.domain.results
    text, report = (folder / "leaderboard.md").read_text(), (folder / "report.md").read_text()
    for page in (text, report):
        assert "General sets: `everyday` (150 queries), `nano_nq` (40 queries); n = 190." in page
        assert "## Forgetting" in page and "- **REGRESSION**: worse on the domain, or forgetting shown." in page
        row = board.general.row(kit.TUNED)
        assert f"| `{kit.TUNED}` | {row.before:.3f} → {row.after:.3f} | {row.difference:+.3f} |" in page
        assert "### nano\\_nq (n = 40)" in page
    headline = text.split("## Retrieval")[1].split("### All metrics")[0]
    assert headline.count("**WIN** |") == 1 and headline.count("**REGRESSION** |") == 2
    assert "Overall" not in text.split("## Reranking")[1].split("###")[0]
    for name in kit.SYSTEMS:
        assert name == kit.BASE or verdict_sentence(board, name) in report
    assert "plots/forgetting.png" in report and (folder / "plots" / "forgetting.png").is_file()
    assert f"evaluate {kit.TUNED} (everyday)" in report

    rows = list(csv.DictReader(io.StringIO((folder / "leaderboard.csv").read_text())))
    assert len(rows) == len(board.means) + 3 * len(kit.SYSTEMS)
    tuned = [row for row in rows if row["model"] == kit.TUNED and row["overall"]]
    assert [(row["task"], row["overall"], row["forgetting"]) for row in tuned] == [
        ("retrieval", "REGRESSION", ""), ("general", "REGRESSION", "shown"),
    ]  # fmt: skip
    assert {row["category"] for row in rows if row["group"] == "set"} == {"everyday", "nano_nq"}


def test_the_json_holds_the_general_scores_and_the_check_derives_them(wide, board, kit):
    path = wide.domain.results / "leaderboard.json"
    assert Leaderboard.from_json(json.loads(path.read_text()), "here") == board
    for name in ("runs", "chunks", "testset"):
        shutil.rmtree(wide.domain.results / name)
    for name in ("everyday", "nano_nq"):
        shutil.rmtree(wide.project.domain(name).results)
    assert check_leaderboard(wide.domain, wide.benchmark) == board

    def differences(change, benchmark=wide.benchmark) -> str:
        value = json.loads(path.read_text())
        change(value["general"])
        kept = path.read_bytes()
        write_text(path, dump_compact(value) + "\n")
        with pytest.raises(BenchError) as error:
            check_leaderboard(wide.domain, benchmark)
        path.write_bytes(kept)
        return str(error.value)

    def raise_scores(general):
        scores = general["sets"][0]["scores"][kit.TUNED]
        scores[:] = [1.0] * len(scores)

    said = differences(raise_scores)
    assert f"general sets, {kit.TUNED}, together: after is " in said
    assert f"{kit.TUNED}: the verdict is REGRESSION, its scores give WIN" in said
    assert f"its verdict on '{kit.TUNED}' is not the leaderboard's" in said
    said = differences(lambda general: general["verdicts"].update({kit.DOTTED: "WIN"}))
    assert f"{kit.DOTTED}: the verdict is WIN, its scores give MARGINAL" in said
    assert "made with margin 0.02, the benchmark file says 0.1" in differences(
        lambda _: None, wide.benchmark.model_copy(update={"margin": 0.1})
    )
    assert "has general sets everyday, nano_nq; the benchmark file says nano_nq" in differences(
        lambda _: None, wide.benchmark.model_copy(update={"general": ["nano_nq"]})
    )
    for change, told in (
        (lambda general: general["sets"][1]["scores"].pop(kit.FUSED), "nano_nq, bm25+tuned: 40 scores are expected"),
        (lambda general: general["sets"][0]["scores"]["base"].__setitem__(0, 2), "everyday, base: a score lies outside 0..1"),
        (lambda general: general["sets"][0].update(queries=[]), "general set everyday: no queries"),
        (lambda general: general.update(surprise=1), "not a leaderboard (TypeError"),
        (lambda general: general.pop("margin"), "not a leaderboard (TypeError"),
    ):  # fmt: skip
        said = differences(change)
        assert told in said and "\n" not in said


def test_runs_on_general_sets_are_refused_like_others(wide, kit):
    general = wide.project.domain("everyday")
    run = general.run("retrieval", kit.TUNED)
    kept = {path: path.read_bytes() for path in run.iterdir()}

    def refused() -> str:
        with pytest.raises(BenchError) as error:
            make(wide)
        for path, body in kept.items():
            path.write_bytes(body)
        return str(error.value)

    manifest = json.loads(kept[run / "manifest.json"])
    manifest["facts"]["model"] = "another"
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert "everyday/runs/retrieval/village-tuned: was made with another model than village's; run again" in refused()
    (run / "run.trec").write_bytes(kept[run / "run.trec"].replace(b" 1 ", b" 2 ", 1))
    assert "everyday/runs/retrieval/village-tuned/run.trec: was edited" in refused()
    (run / "manifest.json").unlink()
    assert "no finished retrieval run of 'village-tuned'; make it with: domainbench evaluate" in refused()
    shutil.rmtree(general.testset)
    said = refused()
    assert "everyday/testset: no test set; make it with: domainbench evaluate" in said and "\n" not in said


def test_without_general_sets_there_is_no_verdict_and_a_word_on_how_to_get_one(made, kit):
    board = read_leaderboard(made.domain)
    text, report = leaderboard_markdown(board), (made.domain.results / "report.md").read_text()
    assert "Overall" not in text and "REGRESSION" not in text and "## Forgetting" not in text
    assert "name general sets under 'general' in the benchmark file" in report
    assert "overall" in leaderboard_csv(board) and ",overall\n" not in leaderboard_csv(board)
    assert "general" not in json.loads((made.domain.results / "leaderboard.json").read_text())
    (line,) = regressions(board)
    assert line.startswith(f"regression: {kit.LEXICAL}: nDCG@10 on village (")
    assert HOW_TO in " ".join(shown(leaderboard_table(board)).split())


def shown(table) -> str:
    console = Console(width=140, file=io.StringIO(), record=True)
    console.print(table)
    return console.export_text()


def test_the_terminal_and_the_lines_of_regressed_models(board, kit):
    text = shown(leaderboard_table(board)) + shown(forgetting_terminal(board, board.general))
    assert "Overall" in text and "WIN" in text and "REGRESSION" in text and "name general sets" not in text
    assert "General knowledge (everyday, nano_nq), 190 questions" in text and "not excluded" in text
    lines = regressions(board)
    assert [line.split(":")[1].strip() for line in lines] == [kit.TUNED, kit.LEXICAL]
    assert regressions(board, {kit.TUNED}) == lines[:1]
    row = board.general.row(kit.TUNED)
    assert f"{METRIC.label} on general sets ({row.difference:+.3f}, 95 % interval" in lines[0]
    assert "on village (" in lines[1]


def test_the_picture_follows_the_figures(wide, board, kit, tmp_path):
    from benchmark.reporting.plots import write_plots

    first = (wide.domain.results / "plots" / "forgetting.png").read_bytes()
    write_plots(board, tmp_path / "same")
    assert (tmp_path / "same" / "forgetting.png").read_bytes() == first
    general = replace(board.general, verdicts={**board.general.verdicts, kit.TUNED: "WIN"})
    write_plots(replace(board, general=general), tmp_path / "other")
    assert (tmp_path / "other" / "forgetting.png").read_bytes() != first
    assert (tmp_path / "other" / "scores.png").read_bytes() == (tmp_path / "same" / "scores.png").read_bytes()
