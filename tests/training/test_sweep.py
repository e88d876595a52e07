"""Sweeps on a tiny model: what is tried, chosen, kept and told, and that nothing reads the test set."""

import csv
import hashlib
import json
import os
import random
import shutil
import textwrap
from dataclasses import dataclass, replace

import pytest

from benchmark.console import SILENT, Notes
from benchmark.errors import BenchError
from benchmark.files import files_below
from benchmark.pipeline import Pipeline
from benchmark.project import Domain, Project
from benchmark.provenance import MANIFEST, Outcome
from benchmark.specs import AdapterRun, BenchmarkSpec, BiEncoderRun, CrossEncoderRun, parse_spec
from benchmark.training.finetune import finetune
from benchmark.training.job import Job
from benchmark.training.loop import last_checkpoint
from benchmark.training.sweep import Trial, _best, _trials
from benchmark.training.sweep_pages import Page, Row, write_pages
from benchmark.weights import ADAPTER_FILE

GENERATE = {
    "retriever": "tiny", "questions_per_chunk": 0, "pseudo": {"per_chunk": 3}, "development_share": 0.3,
    "filters": {"off": ["round_trip"], "near_duplicate": 1.0, "leak_similarity": 1.0},
    "negatives": {"margin": 1.0, "near_duplicate": 1.0},
}  # fmt: skip
LINEAR = {"name": "linear", "base": "tiny", "epochs": 2, "batch_size": 8}
GRID = {"epochs": [2, 12], "learning_rate": [3e-4, 3e-2]}
TUNED = {"name": "tuned", "base": "tiny", "batch_size": 8, "max_length": 48, "mix": [], "learning_rate": 1e-3,
         "max_pairs": 24}  # fmt: skip


@dataclass(frozen=True)
class Ready:
    """A project with finished synthetic data, and with test set and candidates that nobody should read."""

    project: Project
    domain: Domain
    synthetic: Outcome

    def finetune(self, run, reporter=SILENT):
        return finetune(self.project, self.domain, run, 0, self.synthetic, reporter)

    def folder(self, name):
        return self.domain.results / "sweeps" / name

    def rows(self, name):
        return list(csv.DictReader((self.folder(name) / "sweep.csv").read_text().splitlines()))


def made_ready(project, name="village"):
    given = {"domains": [name], "baseline": "tiny", "models": ["bm25"], "generate": GENERATE}
    pipeline = Pipeline(project, project.domain(name), parse_spec(BenchmarkSpec, given, "b"), SILENT)
    pipeline.candidates()
    return Ready(project, pipeline.domain, pipeline.synthetic())


WORDS = [
    *("amber", "basalt", "cedar", "dune", "ember", "fjord", "gravel", "heather", "island", "juniper", "kelp", "lagoon"),
    *("meadow", "nettle", "orchard", "pebble", "quarry", "reed", "saddle", "thicket", "umbrella", "valley", "willow"),
    *("anchor", "barrel", "candle", "dagger", "easel", "feather", "goblet", "hammer", "ivory", "jacket", "kettle"),
]


@pytest.fixture(scope="module")
def village(tmp_path_factory, tiny_model):
    """A project with finished synthetic data, of enough documents that the development split shows a difference."""
    root = tmp_path_factory.mktemp("sweeps") / "project"
    documents = root / "tasks" / "village" / "documents"
    documents.mkdir(parents=True)
    rng = random.Random(0)
    for number in range(14):
        parts = [f"# About {rng.choice(WORDS)} {number}"]
        for section in range(3):
            sentences = (f"The {' '.join(rng.sample(WORDS, 6))} stands there." for _ in range(4))
            parts.append(f"## {rng.choice(WORDS)} {section}\n\n{' '.join(sentences)}")
        (documents / f"about{number}.md").write_text("\n\n".join(parts) + "\n")
    quote = parts[1].split("\n\n")[1].split(".")[0]
    row = {"id": "q0", "question": "What is where?", "answer": quote,
           "evidence": [{"document": "about13.md", "quote": quote}]}  # fmt: skip
    (root / "tasks" / "village" / "questions.jsonl").write_text(json.dumps(row) + "\n")
    (root / "tasks" / "village" / "domain.yaml").write_text(
        "title: Village\nchunking: {tokenizer: tiny, max_tokens: 64, min_tokens: 8}\nreranking: {base: tiny, depth: 3}\n"
    )
    (root / "model_specs").mkdir()
    shutil.copytree(tiny_model, root / "weights" / "tiny")
    (root / "model_specs" / "tiny.yaml").write_text("path: weights/tiny\nmax_length: 96\n")
    (root / "model_specs" / "bm25.yaml").write_text("bm25: {}\n")
    made_ready(Project(root))
    return root


@pytest.fixture
def ready(village, tmp_path):
    shutil.copytree(village, tmp_path / "project")
    return made_ready(Project(tmp_path / "project"))


@pytest.fixture(scope="module")
def linear_swept(village, tmp_path_factory):
    """The village in which `linear()` has been swept, and what that made."""
    root = tmp_path_factory.mktemp("swept") / "project"
    shutil.copytree(village, root)
    (outcome,) = made_ready(Project(root)).finetune(linear())
    return root, outcome


@pytest.fixture
def swept(linear_swept, tmp_path):
    """A copy of it, and of what the sweep made."""
    root, outcome = linear_swept
    shutil.copytree(root, tmp_path / "project")
    ready = made_ready(Project(tmp_path / "project"))
    return ready, replace(outcome, folder=ready.domain.model("linear"))


def linear(minutes=5.0, **grid):
    return AdapterRun.model_validate({**LINEAR, "sweep": {"minutes": minutes, "grid": grid or GRID}})


def tuned(minutes=5.0, **grid):
    return BiEncoderRun.model_validate({**TUNED, "sweep": {"minutes": minutes, "grid": grid}})


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def content(folder):
    """Every file's hash, apart from the manifest, which holds the seconds."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files_below(folder)
        if path.name != MANIFEST
    }


# --- what is tried and chosen ---------------------------------------------------------------------------------------


def test_the_best_trial_becomes_the_model_and_the_others_leave_their_scores(swept):
    ready, outcome = swept
    rows = ready.rows("linear")
    assert [(row["epochs"], row["learning_rate"]) for row in rows] == [
        ("2", "0.0003"), ("2", "0.03"), ("12", "0.0003"), ("12", "0.03"),
    ]  # fmt: skip
    scores = [float(row["ndcg@10"]) for row in rows]
    (chosen,) = [number for number, row in enumerate(rows) if row["state"] == "chosen"]
    assert chosen == scores.index(max(scores)) and max(scores) > float(rows[0]["base_ndcg@10"])
    settings = outcome.manifest["settings"]
    assert (f"{settings['epochs']}", f"{settings['learning_rate']:g}") == (
        rows[chosen]["epochs"], rows[chosen]["learning_rate"],
    )  # fmt: skip
    told = ready.project.model_spec("linear").provenance["sweep"]
    assert told == {"won_with": {name: settings[name] for name in GRID}, "trials": 4, "left_out": 0}
    trials = [path for path in ready.folder("linear").iterdir() if path.is_dir()]
    assert len(trials) == 4 and all([path.name for path in files_below(trial)] == [MANIFEST] for trial in trials)
    plain = linear().model_copy(update={"sweep": None, **{name: settings[name] for name in GRID}, "name": "plain"})
    alone = ready.finetune(plain)[0].folder
    assert content(alone)[ADAPTER_FILE] == content(outcome.folder)[ADAPTER_FILE]


def test_done_again_it_trains_and_writes_nothing(swept):
    ready, _ = swept
    before = {path: path.stat().st_mtime_ns for path in files_below(ready.domain.results)}
    heard = Notes()
    (again,) = ready.finetune(linear(), heard)
    assert again.skipped and not any("working" in line or "trial " in line for line in heard.lines)
    assert {path: path.stat().st_mtime_ns for path in files_below(ready.domain.results)} == before


def test_a_grid_that_grows_keeps_what_is_done_and_one_that_changes_leaves_no_litter(ready):
    ready.finetune(linear(epochs=[2, 4]))
    heard = Notes()
    ready.finetune(linear(epochs=[2, 4, 6]), heard)
    assert [line for line in heard.lines if "trial " in line] == ["linear: trial 3 of 3: epochs 6"]
    ready.finetune(linear(scale=[20.0, 30.0]))
    names = {path.name for path in ready.folder("linear").iterdir()}
    assert len([name for name in names if name.endswith(".json")]) == 2 and len(names) == 2 + 2 + 3


def test_a_model_that_was_deleted_is_trained_anew_with_the_same_bytes(swept):
    ready, outcome = swept
    before = content(outcome.folder)
    shutil.rmtree(outcome.folder)
    (again,) = ready.finetune(linear())
    assert not again.skipped and content(again.folder) == before


def test_what_does_not_fit_into_the_budget_is_left_out_and_done_with_a_larger_one(ready):
    heard = Notes()
    ready.finetune(linear(minutes=1e-9), heard)
    assert [row["state"] for row in ready.rows("linear")] == ["chosen", *["left out for lack of time"] * 3]
    assert any("sweep: 1 of 4 trials, the others left out for lack of time" in line for line in heard.lines)
    page = (ready.folder("linear") / "sweep.md").read_text()
    assert "1 of 4 trials" in page and page.count("left out for lack of time") == 3
    heard = Notes()
    ready.finetune(linear(), heard)
    assert len([line for line in heard.lines if "trial " in line]) == 3
    assert not any("left out" in row["state"] for row in ready.rows("linear"))


def test_the_mean_time_so_far_decides_what_still_fits(ready, monkeypatch):
    """Each trial is told to have taken 60 s: 60 + 60 fit into two and a half minutes, a third does not."""
    from benchmark.training import sweep

    plain = sweep.train_run

    def timed(job, folder):
        outcome = plain(job, folder)
        return Outcome(outcome.folder, outcome.skipped, {**outcome.manifest, "seconds": 60.0})

    monkeypatch.setattr(sweep, "train_run", timed)
    ready.finetune(linear(minutes=2.5))
    assert [bool(row["ndcg@10"]) for row in ready.rows("linear")] == [True, True, False, False]
    ready.finetune(linear(minutes=3.0))
    assert [bool(row["ndcg@10"]) for row in ready.rows("linear")] == [True, True, True, False]


def test_of_equal_trials_the_first_wins(ready):
    job = Job(ready.project, ready.domain, linear(), 0, "x", SILENT)
    trials = _trials(job, ready.folder("linear"))
    scores = {
        trial.fingerprint: {"after": after} for trial, after in zip(trials, (0.4, 0.5, 0.5 + 1e-15, 0.3), strict=True)
    }
    assert _best(trials, scores) is trials[1]
    assert _best(trials, {trials[2].fingerprint: {"after": 0.0}}) is trials[2]
    assert isinstance(trials[0], Trial) and len({trial.folder for trial in trials}) == 4


def test_a_trial_that_cannot_be_trained_is_named(ready):
    with pytest.raises(BenchError, match=r"hard_negatives is 9, but .* \(a trial of its sweep: hard_negatives 9\)"):
        ready.finetune(tuned(hard_negatives=[0, 9]))


def test_every_kind_of_run_can_be_swept(ready):
    grid = {"minutes": 5.0, "grid": {"epochs": [0.5, 1.0]}}
    cross = {**TUNED, "name": "cross", "first_stage": "bm25", "depth": 4, "sweep": grid}
    del cross["mix"]
    for run in (
        BiEncoderRun.model_validate({**TUNED, "mix": [0.5], "sweep": grid}),
        CrossEncoderRun.model_validate(cross),
    ):
        made = ready.finetune(run)
        assert [outcome.folder.name for outcome in made] == list(run.emits)
        rows = ready.rows(run.name)
        assert len(rows) == 2 and sum(row["state"] == "chosen" for row in rows) == 1
        # Where a score for each query is at hand, the difference has an interval.
        assert bool(rows[1]["low"]) == isinstance(run, BiEncoderRun)
    kept = [path.parent.name for path in (ready.domain.results.parent / ".vectors").rglob("document-*.rows")]
    fingerprints = {json.loads(path.read_text())["vectors"] for path in ready.folder("tuned").glob("*.json")}
    assert len(fingerprints) == 2
    assert sum(str(mark)[:20] in kept for mark in fingerprints) == 1


# --- kill -9 --------------------------------------------------------------------------------------------------------

CODE = """
from pathlib import Path
from benchmark.console import SILENT
from benchmark.files import read_json
from benchmark.project import Project
from benchmark.provenance import Outcome
from benchmark.specs import {kind}
from benchmark.training.finetune import finetune
project = Project(Path({root!r}))
domain = project.domain({name!r})
synthetic = Outcome(domain.synthetic, True, read_json(domain.synthetic / "manifest.json"))
run = {kind}.model_validate_json({run!r})
{before}
finetune(project, domain, run, 0, synthetic, SILENT)
{after}
"""


def in_a_process(ready, run, before="", after=""):
    return CODE.format(
        kind=type(run).__name__, root=str(ready.project.root), name=ready.domain.name, run=run.model_dump_json(),
        before=textwrap.dedent(before), after=textwrap.dedent(after),
    )  # fmt: skip


def test_killed_in_its_second_trial_it_goes_on_there_and_ends_with_the_same_model(ready, start_doomed):
    run = tuned(epochs=[1.0, 2.0])
    start_doomed(in_a_process(ready, run), training=2)
    assert any(last_checkpoint(path) for path in ready.folder("tuned").glob(".*.checkpoints"))
    assert not ready.domain.model("tuned").exists()
    (first,) = ready.folder("tuned").glob("*.json")
    stamp = first.stat().st_mtime_ns

    heard = Notes()
    (resumed,) = ready.finetune(run, heard)
    assert any("goes on from step" in line for line in heard.lines)
    assert first.stat().st_mtime_ns == stamp and not list(ready.folder("tuned").glob(".*"))
    disturbed = content(resumed.folder)["model.safetensors"], [row["ndcg@10"] for row in ready.rows("tuned")]
    for path in (ready.folder("tuned"), resumed.folder):
        remove(path)
    (again,) = ready.finetune(run)
    assert (content(again.folder)["model.safetensors"], [row["ndcg@10"] for row in ready.rows("tuned")]) == disturbed


# --- the test set ---------------------------------------------------------------------------------------------------

HOOK = """
import os, sys
OPENED = set()
def hook(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], (str, bytes, os.PathLike)):
        OPENED.add(os.path.realpath(os.fsdecode(arguments[0])))
sys.addaudithook(hook)
"""
TELL = """
import json
print(json.dumps(sorted(OPENED)), file=sys.stderr)
"""


def opened_by(start, code):
    """Runs code that ends with TELL; the files that it opened."""
    process = start(code)
    assert process.wait() == 0, process.stderr
    return set(json.loads(process.stderr.splitlines()[-1]))


def forbidden(domain):
    """Questions, relevance judgements and candidates: what a model is tested with."""
    named = ("questions.jsonl", "queries.jsonl", "qrels.tsv", "test.tsv")
    found = [path for path in files_below(domain.folder) if path.name in named]
    found += [path for folder in (domain.testset, domain.candidates) for path in (folder, *files_below(folder))]
    assert len(found) >= 4
    return {os.path.realpath(path) for path in found}


def write_beir(project):
    """The village again as a ready-made corpus."""
    village = project.domain("village")
    from benchmark.records import read_chunks

    chunks = read_chunks(village.chunks / "chunks.jsonl")
    folder = project.root / "tasks" / "ready"
    folder.mkdir()
    (folder / "domain.yaml").write_text("title: Ready\nbeir: .\nreranking: {base: tiny, depth: 3}\n")

    def lines(rows):
        return "".join(json.dumps(row) + "\n" for row in rows)

    corpus = [{"_id": chunk.id, "title": chunk.title, "text": chunk.text} for chunk in chunks]
    (folder / "corpus.jsonl").write_text(lines(corpus))
    (folder / "queries.jsonl").write_text(lines({"_id": f"q{i}", "text": f"what is {i}?"} for i in range(4)))
    (folder / "qrels.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "".join(f"q{i}\t{chunks[i].id}\t1\n" for i in range(4))
    )
    return Project(project.root)


OTHERS = """
from benchmark.specs import AdapterRun, CrossEncoderRun, HybridRun
for other in (
    AdapterRun(name="linear", base="tiny", epochs=2),
    HybridRun(name="both", sides=["bm25", "linear"]),
    CrossEncoderRun(name="cross", base="tiny", first_stage="bm25", depth=4, epochs=0.5, max_pairs=16, max_length=48),
):
    finetune(project, domain, other, 0, synthetic, SILENT)
"""


@pytest.mark.parametrize("kind", ["documents", "beir"])
def test_a_sweep_never_reads_the_test_set(ready, start, kind):
    if kind == "beir":
        ready = made_ready(write_beir(ready.project), "ready")
    secret = forbidden(ready.domain)
    run = BiEncoderRun.model_validate(
        {**TUNED, "mix": [0.5], "sweep": {"minutes": 5.0, "grid": {"learning_rate": [1e-3, 2e-3]}}}
    )
    after = TELL if kind == "beir" else OTHERS + TELL
    opened = opened_by(start, in_a_process(ready, run, HOOK, after))
    assert os.path.realpath(ready.domain.synthetic / "dev_queries.jsonl") in opened
    assert not opened & secret


def test_the_watcher_would_notice(ready, start):
    for path in sorted(forbidden(ready.domain)):
        peek = f"import os; p = {path!r}; os.listdir(p) if os.path.isdir(p) else open(p).close()"
        code = f"{HOOK}\n{peek}\n{TELL}"
        assert path in opened_by(start, code)


def test_without_a_test_set_everything_is_the_same(swept):
    """What is opened without Python's knowledge (Parquet, for one) is not there at all."""
    ready, outcome = swept
    before = content(outcome.folder), [row["ndcg@10"] for row in ready.rows("linear")]
    for path in (
        ready.domain.testset,
        ready.domain.candidates,
        ready.domain.questions,
        ready.folder("linear"),
        outcome.folder,
    ):
        remove(path)
    (again,) = ready.finetune(linear())
    assert (content(again.folder), [row["ndcg@10"] for row in ready.rows("linear")]) == before


# --- pages ----------------------------------------------------------------------------------------------------------


def page(**more):
    rows = [
        Row({"loss": "mnrl", "scale": "20"}, 0.5, None, None, 10.0, False),
        Row({"loss": "=cmd()", "scale": "20"}, 0.625, 0.125, None, 12.0, True),
        Row({"loss": "a|b", "scale": "40"}, None, None, None, None, False),
    ]
    return Page(**{"name": "x", "minutes": 1.0, "queries": "40 queries", "before": 0.4, "rows": rows, **more})


def test_pages_say_the_same_and_are_the_same_bytes(tmp_path):
    for folder in (tmp_path / "a", tmp_path / "b"):
        write_pages(folder, page())
    names = ["sweep.csv", "sweep.md", "sweep.png"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
    rows = list(csv.DictReader((tmp_path / "a" / "sweep.csv").read_text().splitlines()))
    assert [row["state"] for row in rows] == ["", "chosen", "left out for lack of time"]
    assert rows[1]["loss"] == "'=cmd()" and rows[1]["difference"] == "0.125000" and rows[2]["ndcg@10"] == ""
    text = (tmp_path / "a" / "sweep.md").read_text()
    assert "2 of 3 trials in 0.4 of 1 minutes" in text and r"a\|b" in text and "+0.1250" in text
    assert (tmp_path / "a" / "sweep.png").read_bytes().startswith(b"\x89PNG")
