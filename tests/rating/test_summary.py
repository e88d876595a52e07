"""`ratings.json`, its tables, the export and the command, from planted ratings of known raters and a known judge."""

import csv
import importlib.util
import json
import random
import re
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from benchmark.answer_records import Answered, Asked, write_answers
from benchmark.cli.rate import rate
from benchmark.cli.state import set_project_folder
from benchmark.errors import BenchError
from benchmark.files import hash_file, hash_json, write_jsonl
from benchmark.rating.pairs import chosen_pairs, read_material
from benchmark.rating.store import Rating, Store
from benchmark.rating.summary import summarise

_SPEC = importlib.util.spec_from_file_location("rating_kit", Path(__file__).parent / "conftest.py")
kit = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(kit)
PLAIN, TUNED = kit.PIPELINES[:2]
N = 40


@pytest.fixture
def many(village):
    """Forty questions with different answers, two more with the same and one that failed."""
    asked = [Asked(f"m{i}", f"Question {i}?", "core", "Reference.", True) for i in range(N + 3)]
    answers = []
    for i in range(N + 3):
        for name in (PLAIN, TUNED):
            text = "the same" if i in (N, N + 1) else f"{name} says {i}"
            failure = "no answer" if i == N + 2 and name == TUNED else ""
            answers.append(Answered(f"m{i}", name, (), "" if failure else text, failure=failure))
    write_answers(village.answers, asked, answers)
    return village


def quality(i: int, name: str) -> int:
    """What everybody sees: the tuned answers are better in three of four questions."""
    return 2 + (i * 7) % 3 + (name == TUNED and i % 4 > 0) - (name == TUNED and i % 4 == 0)


def rate_all(domain, rater: str, noise: float, items=None, seed: int = 0) -> None:
    rng = random.Random(f"{rater}{seed}")
    found = kit.material(domain)
    with Store(domain.ratings / f"{rater}.jsonl", domain.results / ".drafts" / f"{rater}.json") as store:
        for item in items or found.items:
            left, right = item.sides(rater, 3)
            i = int(item.asked.id[1:])
            scores = {}
            for name in (PLAIN, TUNED):
                seen = {s: quality(i, name) for s in ("accuracy", "relevance", "completeness")}
                scores[name] = {s: rng.randint(1, 5) if rng.random() < noise else min(5, v) for s, v in seen.items()}
            better = TUNED if i % 4 else PLAIN
            preferred = rng.choice([PLAIN, TUNED, "tie"]) if rng.random() < noise else better
            store.append(
                Rating(
                    item.asked.id,
                    left.pipeline,
                    right.pipeline,
                    scores,
                    preferred,
                    "",
                    "2026-01-02T00:00:00+00:00",
                    item.answers_hash,
                )
            )


def judge(domain, *, contrary: bool = False, failing: int = 0) -> None:
    rows, pairs = [], []
    for i in range(N):
        for name in (PLAIN, TUNED):
            score = (min(5, quality(i, name)) - 1) / 4
            score = 1 - score if contrary else score
            failed = i < failing
            for repeat in range(2):
                rows.append(
                    {
                        "question": f"m{i}",
                        "pipeline": name,
                        "repeat": repeat,
                        **{
                            m: {"score": None if failed else score, "failure": "x" if failed else ""}
                            for m in ("correctness", "relevance", "faithfulness")
                        },
                    }
                )
        pairs.append(
            {
                "question": f"m{i}",
                "first": PLAIN,
                "second": TUNED,
                "preferred": None if i < failing else "second" if i % 4 else "first",
                "orders": [],
                "failure": "",
            }
        )
    write_jsonl(domain.judged / "judgements.jsonl", rows)
    write_jsonl(domain.judged / "pairs.jsonl", pairs)


def summary(domain):
    return summarise(domain, kit.material(domain), resamples=300, seed=3, alpha=0.05)


def test_raters_who_agree_and_a_judge_who_agrees_with_them(many):
    for rater in ("ann", "bob", "cid"):
        rate_all(many, rater, 0.1)
    judge(many, failing=2)
    found = summary(many)
    assert json.loads(json.dumps(found)) == found and summary(many) == found
    assert (found["items"], found["identical"], found["failed"]) == (N, 2, 1)
    assert (found["ratings"], found["questions"]) == (3 * N, N)
    for row in found["agreement"]:
        assert 0.5 < row["low"] < row["value"] < row["high"] <= 1 and row["questions"] == N
    assert [row["level"] for row in found["agreement"]] == ["ordinal"] * 3 + ["nominal"]
    for row in found["judge"]:
        assert row["value"] > 0.85 and row["questions"] == N - 2
    assert [row["units"] for row in found["judge"]] == [2 * (N - 2), 2 * (N - 2), N - 2]
    (preference,) = found["preferences"]
    assert (preference["wins"], preference["losses"], preference["ties"], preference["n"]) == (30, 10, 2, N + 2)
    assert preference["verdict"] == "better" and 0 < preference["corrected_p"] < 0.01
    for row in found["comparisons"]:
        assert row["n"] == N and row["low"] <= row["difference"] <= row["high"]
    assert found["warnings"] == ["the judge failed to give 10 scores and preferences; these cannot be compared"]


def test_raters_who_roll_dice_do_not_agree_and_show_nothing(many):
    for rater in ("ann", "bob"):
        rate_all(many, rater, 1.0)
    judge(many)
    found = summary(many)
    for row in (*found["agreement"], *found["judge"]):
        assert abs(row["value"]) < 0.3 and row["low"] < 0.1
    assert [row["verdict"] for row in (*found["preferences"], *found["comparisons"])] == ["not shown"] * 4


def test_a_judge_who_says_the_contrary_is_told(many):
    rate_all(many, "ann", 0.0)
    judge(many, contrary=True)
    found = summary(many)
    by_scale = {row["scale"]: row["value"] for row in found["judge"]}
    assert by_scale["accuracy"] < -0.5 and by_scale["relevance"] < -0.5 and by_scale["preference"] == 1.0


def test_too_little_is_said_to_be_too_little(many):
    items = kit.material(many).items[:6]
    for rater in ("ann", "bob"):
        rate_all(many, rater, 0.2, items)
    found = summary(many)
    assert all(row["value"] is None and "not enough: 6 questions" in row["why"] for row in found["agreement"])
    assert found["judge"] == [] and "domainbench judge" in found["warnings"][0]
    assert found["preferences"][0]["unrated"] == N - 6


def test_ratings_of_answers_that_changed_do_not_count(many):
    rate_all(many, "ann", 0.0)
    path = many.answers / "answers.jsonl"
    path.write_text(path.read_text().replace(f'{TUNED} says 7"', f'{TUNED} says otherwise"'))
    found = summary(many)
    assert found["raters"] == [{"rater": "ann", "rated": N - 1, "of": N, "stale": 1, "after_reference": 0}]
    assert found["ratings"] == N - 1


def test_a_judge_of_other_answers_is_told(many):
    rate_all(many, "ann", 0.0)
    judge(many)
    there = hash_json({path.name: hash_file(path) for path in sorted(many.answers.glob("*.jsonl"))})
    (many.judged / "manifest.json").write_text(json.dumps({"inputs": {"answers": there}}))
    assert summary(many)["warnings"] == []
    path = many.answers / "answers.jsonl"
    path.write_text(path.read_text().replace(f"{TUNED} says 7", f"{TUNED} says otherwise"))
    assert "other answers" in summary(many)["warnings"][0]


@pytest.fixture
def run(many):
    set_project_folder(many.folder.parents[1])
    yield lambda **options: rate(**options)
    set_project_folder(None)


def test_the_command_prints_agreement_and_writes_it(many, run, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for rater in ("ann", "bob"):
        rate_all(many, rater, 0.1)
    judge(many)
    run(agreement=True)
    said = capsys.readouterr().out
    assert "Raters with each other" in said and "Judge with people" in said and "Krippendorff's alpha, ordinal" in said
    found = json.loads((many.results / "ratings.json").read_text())
    assert f"{found['agreement'][0]['value']:.3f}" in said and found["format"] == "domainbench-ratings/1"


def test_the_export_joins_questions_and_answers(many, run, tmp_path, capsys):
    rate_all(many, "ann", 0.0)
    rate_all(many, "bob", 0.0)
    run(export=tmp_path / "out.jsonl")
    run(export=tmp_path / "out.csv")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * N and {row["rater"] for row in rows} == {"ann", "bob"}
    for row in rows:
        number = row["question"][1:]
        assert row["text"] == f"Question {number}?" and row["left_answer"] == f"{row['left']} says {number}"
        assert row[f"{'left' if row['left'] == PLAIN else 'right'}_accuracy"] == quality(int(number), PLAIN)
    with (tmp_path / "out.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [row["question"] for row in table] == [row["question"] for row in rows]
    assert table[0].keys() == rows[0].keys()
    assert "80 ratings" in capsys.readouterr().out


def test_no_spreadsheet_runs_what_an_export_holds(village, tmp_path, run):
    set_project_folder(village.folder.parents[1])
    path = village.answers / "answers.jsonl"
    path.write_text(path.read_text().replace(f'{PLAIN} says 1"', '=HYPERLINK(1)"'))
    rate_all(village, "ann", 0.0)
    run(export=tmp_path / "out.csv")
    text = (tmp_path / "out.csv").read_text()
    assert "'=HYPERLINK" in text and ",=HYPERLINK" not in text


MISTAKES = [
    ({"export": Path("out.xlsx")}, ".csv or .jsonl"),
    ({"export": Path("out.csv"), "agreement": True}, "one at a time"),
    ({"export": Path("out.csv")}, "no ratings"),
    ({"agreement": True}, "no ratings yet"),
    ({"pipelines": "A,Q"}, "no pipeline 'Q'"),
    ({"pipelines": "A"}, "two or more"),
    ({"pipelines": "A,zq-plain"}, "twice"),
    ({"domain": "city"}, "--domain city: not under 'domains'"),
    ({"rater": "../x", "no_browser": True}, "--rater"),
    ({"rater": "ann", "port": 70000, "no_browser": True}, "--port 70000"),
]


@pytest.mark.parametrize(("options", "words"), MISTAKES, ids=[words for _, words in MISTAKES])
def test_mistakes_are_one_line(many, run, options, words):
    with pytest.raises(BenchError) as caught:
        run(**options)
    assert len(caught.value.problems) == 1 and words in caught.value.problems[0]


def test_a_port_that_is_taken_is_one_line(many, run):
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(BenchError, match="Address already in use"):
            run(rater="ann", port=other.getsockname()[1], no_browser=True)


def test_the_command_says_where_the_rater_stands_and_nobody_rates_twice_at_once(many, command):
    root = many.folder.parents[1]
    rate_all(many, "ann", 0.0)
    path = many.ratings / "ann.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    answers = many.answers / "answers.jsonl"
    answers.write_text(
        answers.read_text().replace(f'{TUNED} says {kit.material(many).items[0].asked.id[1:]}"', 'else"')
    )
    process, address = command(root, "--rater", "ann", "--no-browser")
    said = "".join(process.said)
    assert f"ann has rated {N - 2} of {N}" in said and "1 ratings are of answers that have changed" in said
    assert "2 pairs of identical answers" in said and "1 pairs in which an answer failed" in said and "cut off" in said
    assert address.startswith("http://127.0.0.1:")
    again = subprocess.run(
        [sys.executable, "-c", kit.RUN, "--project", str(root), "--rater", "ann", "--no-browser"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 2 and again.stderr.count("\n") == 1 and "'ann' is rating already" in again.stderr
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert process.stdout.read().splitlines()[-1] == f"ann: {N - 2} of {N} rated"


def test_answers_that_are_not_all_there_are_a_mistake(many):
    path = many.answers / "answers.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(BenchError, match="make them anew"):
        kit.material(many)


def test_without_answers_the_command_says_how_to_make_them(many, run):
    (many.answers / "questions.jsonl").unlink()
    with pytest.raises(BenchError, match="domainbench answer"):
        run(agreement=True)


def test_nothing_to_rate_is_said(village, run):
    asked = [Asked("q1", "One?", "core", "", True)]
    write_answers(village.answers, asked, [Answered("q1", name, (), "same") for name in (PLAIN, TUNED)])
    with pytest.raises(BenchError, match="nothing to rate: 1 pairs of answers are identical"):
        run(rater="ann", no_browser=True)


def test_letters_and_names_choose_pipelines():
    names = ("base", "tuned", "bm25")
    assert [tuple(pair) for pair in chosen_pairs(names)] == [("base", "tuned"), ("base", "bm25")]
    assert [tuple(pair) for pair in chosen_pairs(names, "C, tuned")] == [("bm25", "tuned")]


def test_pairs_are_sorted_into_what_can_be_rated_and_what_cannot(village):
    found = read_material(village, chosen_pairs(kit.PIPELINES[:2]), 3)
    assert {item.asked.id for item in found.identical} == {"q6"} and {item.asked.id for item in found.failed} == {"q8"}
    assert len(found.items) == 6
    others = read_material(village, chosen_pairs(kit.PIPELINES[:2]), 4)
    assert [item.asked.id for item in found.items] != [item.asked.id for item in others.items]


def test_help_loads_no_server():
    code = (
        "import sys, benchmark.cli.rate, benchmark.rating.app, benchmark.rating.serve, benchmark.rating.summary;"
        "print(*(n for n in ('starlette', 'uvicorn', 'krippendorff', 'jinja2') if n in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_every_option_and_every_field_is_documented():
    text = (kit.ROOT / "docs" / "rating.md").read_text()
    app = typer.Typer()
    app.command()(rate)
    options = {name for option in typer.main.get_command(app).params for name in option.opts}
    listed = set(re.findall(r"`(--?[a-z-]+)`", text.split("## The page")[0]))
    assert options - {"--install-completion", "--show-completion", "--help"} == listed
    for field in fields(Rating):
        assert f"`{field.name}`" in text
