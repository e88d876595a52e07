"""The whole way on a small domain with a tiny model: once, again, killed in the middle, and after an edit."""

import contextlib
import io
import json
import shutil
import textwrap
import time

import pytest

from benchmark.cli.main import run_app
from benchmark.pipeline import release
from benchmark.project import Project

BENCHMARK = """\
domains: [village]
generate:
  retriever: tiny
  questions_per_chunk: 0
  pseudo: {per_chunk: 6}
  # The tiny model is random: all its vectors are alike.
  filters: {off: [round_trip], near_duplicate: 1.0, leak_similarity: 1.0}
  negatives: {margin: 1.0, near_duplicate: 1.0}
finetune:
  - {name: tuned, kind: bi-encoder, base: tiny, batch_size: 8, mini_batch_size: 8, max_length: 48, epochs: 1}
  - {name: cross, kind: cross-encoder, base: tiny, batch_size: 8, max_length: 64}
baseline: tiny
models: [bm25, tuned, reranked, fused]
bootstrap: 1000
permutations: 1000
"""


def configure(project):
    (project.root / "benchmark.yaml").write_text(textwrap.dedent(BENCHMARK))
    (project.specs_folder / "reranked.yaml").write_text("retriever: tuned\nreranker: cross\ndepth: 5\n")
    (project.specs_folder / "fused.yaml").write_text("hybrid: [bm25, tuned]\nweights: [0.6, 0.4]\n")
    return project


@pytest.fixture(scope="module")
def finished(tmp_path_factory, new_project):
    """A project after `domainbench run`, made once, and what that printed."""
    done = configure(new_project(tmp_path_factory.mktemp("finished") / "project"))
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            assert run_app(["--project", str(done.root), "run"]) == 0
    finally:
        release()
    return done, printed.getvalue()


def published(project):
    """What people read, byte by byte."""
    folder = project.root / "results" / "village"
    names = ["leaderboard.json", "leaderboard.md", "leaderboard.csv", "report.md"]
    plots = sorted((folder / "plots").glob("*.png"))
    assert len(plots) >= 3
    return {path.name: path.read_bytes() for path in [*(folder / name for name in names), *plots]}


def test_all_of_it_then_nothing_then_only_what_changed(finished, tmp_path, capsys):
    done, out = finished
    assert "in all" in out
    first = published(done)
    board = json.loads(first["leaderboard.json"])
    assert {"tiny", "bm25", "tuned", "reranked", "fused"} <= set(json.dumps(board).replace('"', " ").split())

    bench = Project(shutil.copytree(done.root, tmp_path / "project"))
    assert run_app(["--project", str(bench.root), "run"]) == 0
    _, err = capsys.readouterr()
    assert err.count("skipped") >= 4 and "nothing to do: everything is kept" in err
    assert "working" not in err
    assert published(bench) == first

    assert run_app(["--project", str(bench.root), "leaderboard"]) == 0
    assert published(bench) == first
    assert run_app(["--project", str(bench.root), "leaderboard", "--check"]) == 0
    assert "ranx gives the same" in capsys.readouterr().out

    capsys.readouterr()
    with (bench.root / "tasks" / "village" / "documents" / "bees.md").open("a") as stream:
        stream.write("\n## Feeding\n\nSugar syrup is given in autumn when the stores of the colony are low.\n")
    assert run_app(["--project", str(bench.root), "run"]) == 0
    _, err = capsys.readouterr()
    assert "ingest" in err
    assert "done again, changed" in err


def test_killed_at_several_points_it_ends_as_if_undisturbed(project, finished, start_command):
    """kill -9 while it works, again and again, each time a little later; then the last run goes through."""
    bench = configure(project)
    results = bench.root / "results" / "village"
    watched = [
        results / "testset" / "manifest.json",
        results / "synthetic" / "manifest.json",
        results / "models" / "tuned" / "manifest.json",
        results / "runs" / "retrieval" / "tuned" / "manifest.json",
    ]
    for mark in watched:
        process = start_command(bench, "run")
        while not mark.is_file() and process.poll() is None:
            time.sleep(0.005)
        process.kill()
        assert mark.is_file(), process.stderr
    done = start_command(bench, "run")
    assert done.wait() == 0, done.stderr
    assert done.stderr.count("skipped") >= 4
    disturbed = published(bench)
    litter = [path for path in results.rglob("*") if path.name.endswith((".new", ".old", ".tmp"))]
    assert not litter

    undisturbed = published(finished[0])
    for name in ("leaderboard.json", "leaderboard.md", "leaderboard.csv"):
        assert disturbed[name] and undisturbed[name] == disturbed[name], name
