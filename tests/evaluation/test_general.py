"""General sets beside a domain: every compared model ranks them too, and `--fail-on-regression` reads the verdict."""

import json

import pytest

from benchmark.cli.main import run_app
from benchmark.console import SILENT
from benchmark.pipeline import Pipeline, hold, release
from benchmark.project import Project
from benchmark.runs import read_run

BENCHMARK = """\
domains: [village]
finetune: []
general: [everyday]
baseline: bm25
models: [tiny, fused]
bootstrap: 1000
permutations: 1000
"""
WORDS = [
    "anchor", "basket", "candle", "drawer", "engine", "feather", "garden", "hammer", "island", "jacket", "kettle",
    "ladder", "mirror", "needle", "orange", "pillow", "quarry", "ribbon", "saddle", "tunnel",
]  # fmt: skip


@pytest.fixture
def bench(project) -> Project:
    """The village, and a set of passages that lexical search finds and a random encoder does not."""
    folder = project.root / "tasks" / "everyday"
    folder.mkdir()
    (folder / "domain.yaml").write_text("title: Everyday\nbeir: .\nreranking: {base: tiny, depth: 3}\n")
    corpus = [
        {"_id": f"d{i}", "text": f"This passage is about a {word} and nothing else."} for i, word in enumerate(WORDS)
    ]
    queries = [{"_id": f"q{i}", "text": f"Where do I read of the {word}?"} for i, word in enumerate(WORDS)]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judged = "".join(f"q{i}\td{i}\t1\n" for i in range(len(WORDS)))
    (folder / "qrels.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    (project.specs_folder / "fused.yaml").write_text("hybrid: [bm25, tiny]\nweights: [0.9, 0.1]\n")
    (project.root / "benchmark.yaml").write_text(BENCHMARK)
    return Project(project.root)


def command(bench, *words) -> int:
    return run_app(["--project", str(bench.root), *words])


def test_every_model_ranks_the_general_set_once(bench, capsys):
    assert command(bench, "run") == 0
    everyday, village = bench.domain("everyday"), bench.domain("village")
    for name in ("bm25", "tiny", "fused"):
        run = read_run(everyday.run("retrieval", name) / "run.trec")
        assert len(run) == len(WORDS) and all(len(hits) == len(WORDS) for hits in run.values())
    assert not everyday.candidates.exists() and not (everyday.results / "runs" / "reranking").exists()
    assert not (everyday.results / "leaderboard.json").exists()
    assert any((everyday.results.parent / ".vectors").rglob("*.rows"))
    general = json.loads((village.results / "leaderboard.json").read_text())["general"]
    assert [(one["name"], len(one["queries"])) for one in general["sets"]] == [("everyday", len(WORDS))]
    assert set(general["sets"][0]["scores"]["bm25"]) == {1.0}
    assert general["verdicts"]["tiny"] == "REGRESSION"
    assert "General knowledge (everyday), 20 questions" in capsys.readouterr().out

    assert command(bench, "run") == 0
    err = capsys.readouterr().err
    assert "nothing to do: everything is kept" in err and "working" not in err

    (bench.specs_folder / "tiny.yaml").write_text("path: weights/tiny\nmax_length: 80\n")
    assert command(bench, "evaluate", "tiny") == 0
    out = capsys.readouterr()
    assert "everyday: retrieval with tiny: done again, changed: model" in out.err
    assert "EverydayRetrieval tiny: nDCG@10 " in out.out and "EverydayReranking" not in out.out


def test_a_regression_fails_after_everything_is_written(bench, capsys):
    assert command(bench, "run", "--fail-on-regression") == 1
    results = bench.domain("village").results
    assert (results / "report.md").is_file() and (results / "plots" / "forgetting.png").is_file()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("regression: ")]
    assert len(lines) == 1 and "tiny: " in lines[0] and "nDCG@10 on general sets (-0." in lines[0]
    for words in (["leaderboard"], ["leaderboard", "--check"]):
        assert command(bench, *words) == 0
        assert command(bench, *words, "--fail-on-regression") == 1
        assert f"{lines[0]}\n" in capsys.readouterr().err
    (bench.root / "benchmark.yaml").write_text(BENCHMARK.replace("[tiny, fused]", "[fused]"))
    assert command(bench, "leaderboard", "--fail-on-regression") == 0


def test_without_general_sets_the_flag_looks_at_the_domain_and_says_so(bench, capsys):
    (bench.root / "benchmark.yaml").write_text(BENCHMARK.replace("general: [everyday]", "general: []"))
    code = command(bench, "run", "--fail-on-regression")
    err = capsys.readouterr().err
    assert "note: Whether a model lost what it knew beside the domain was not measured" in err
    assert code == (1 if "regression: tiny: nDCG@10 on village (" in err else 0)
    assert not bench.domain("everyday").results.exists()


def test_the_general_sets_results_are_held_where_they_are_written(bench, capsys):
    hold(bench.domain("everyday"))
    try:
        assert command(bench, "ingest") == 0
    finally:
        release()
    hold(bench.domain("everyday"))
    try:
        assert command(bench, "evaluate") == 2
    finally:
        release()
    assert "results/everyday: another domainbench is at work here" in capsys.readouterr().err


def test_a_general_set_with_mistakes_is_told_before_anything_is_trained(bench, capsys):
    path = bench.root / "tasks" / "everyday" / "queries.jsonl"
    path.write_text(path.read_text() + '{"_id": "extra", "text": "Unjudged?"}\n')
    assert command(bench, "run") == 2
    assert "everyday/queries.jsonl:21: query extra: no relevant passage" in capsys.readouterr().err
    assert not (bench.domain("village").results / "runs").exists()


def test_a_model_that_fails_does_not_lose_the_others(bench):
    (bench.specs_folder / "fused.yaml").write_text("path: weights/gone\n")
    spec = bench.benchmark(bench.root / "benchmark.yaml")
    with pytest.raises(Exception, match="weights/gone: no such folder") as error:
        Pipeline(bench, bench.domain("village"), spec, SILENT).evaluate()
    assert len(error.value.problems) == 1
    assert (bench.domain("everyday").run("retrieval", "tiny") / "run.trec").is_file()
