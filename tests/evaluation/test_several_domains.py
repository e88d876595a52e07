"""Several domains in one benchmark file, and models that take part without being named in it."""

import shutil

import pytest

from benchmark.cli.main import run_app
from benchmark.errors import BenchError
from benchmark.project import Project

BENCHMARK = """\
domains: [village, town]
finetune: []
baseline: bm25
models: [tiny]
bootstrap: 1000
permutations: 1000
"""


@pytest.fixture
def bench(project) -> Project:
    """The village twice; in the second only half of the questions."""
    town = project.root / "tasks" / "town"
    shutil.copytree(project.root / "tasks" / "village", town)
    lines = (town / "questions.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (town / "questions.jsonl").write_text("".join(lines[:4]), encoding="utf-8")
    (project.root / "benchmark.yaml").write_text(BENCHMARK)
    return Project(project.root)


def command(bench, *words) -> int:
    return run_app(["--project", str(bench.root), *words])


def test_one_leaderboard_over_all(bench, capsys):
    assert command(bench, "run") == 0
    path = bench.root / "results" / "leaderboard.md"
    assert str(path.name) in capsys.readouterr().out
    text = path.read_text(encoding="utf-8")
    assert "`village` (n = 8), `town` (n = 4)" in text
    assert (bench.root / "results" / "town" / "leaderboard.md").is_file()
    first = path.read_bytes()
    assert command(bench, "leaderboard") == 0
    assert path.read_bytes() == first
    assert command(bench, "leaderboard", "--check") == 0
    path.write_text(text.replace("bm25", "BM25"), encoding="utf-8")
    assert command(bench, "leaderboard", "--check") == 2
    assert "leaderboard.md: does not follow" in capsys.readouterr().err


def test_a_spec_that_asks_for_it_takes_part(bench):
    path, added = bench.root / "benchmark.yaml", bench.specs_folder / "shorter.yaml"
    added.write_text("path: weights/tiny\nmax_length: 48\ncompare: true\n")
    (bench.specs_folder / "another.yaml").write_text("path: weights/tiny\nmax_length: 32\n")
    assert bench.benchmark(path).compared == ("bm25", "tiny", "shorter")
    path.write_text(BENCHMARK.replace("[tiny]", "[shorter, tiny]"))
    assert bench.benchmark(path).compared == ("bm25", "shorter", "tiny")
    path.write_text(BENCHMARK + "added: false\n")
    assert bench.benchmark(path).compared == ("bm25", "tiny")
    path.write_text(BENCHMARK)
    added.write_text("path: weights/tiny\ncompare: perhaps\n")
    with pytest.raises(BenchError, match=r"shorter\.yaml: 'compare'"):
        bench.benchmark(path)


def test_taking_part_changes_no_fingerprint(bench):
    from benchmark.weights import model_fingerprint

    before = model_fingerprint(bench, "tiny")
    with (bench.specs_folder / "tiny.yaml").open("a") as stream:
        stream.write("compare: true\n")
    assert model_fingerprint(bench, "tiny") == before
