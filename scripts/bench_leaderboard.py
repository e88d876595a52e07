"""How long `domainbench leaderboard` takes over ten models and a thousand questions, beside ranx alone; a few minutes.

    python scripts/bench_leaderboard.py [--systems N] [--queries N] [--repeat N] [--keep DIR] [--without-ranx]

The project is made up with a fixed seed: a corpus of five thousand passages, questions of four kinds with one to three
relevant passages each, and for every model a run of a hundred passages a question on both tasks, kept as the evaluate
stage keeps them. What is timed is the whole command in a new process, with 10,000 permutations and 10,000 resamples:
until the leaderboard is written, and until report, page and plots are as well. ranx alone, also in a new process, reads
the same runs of one task and compares them (one metric, as many permutations), once as it is installed and once with
its compiled code kept from before.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.console import SILENT
from benchmark.files import Json, write_jsonl, write_text
from benchmark.pipeline import Pipeline
from benchmark.project import Domain, Project
from benchmark.provenance import Outcome, Stage, run_stage
from benchmark.records import Hit, Run, read_testset
from benchmark.reporting.metrics import metrics_for, score_run
from benchmark.runs import write_run
from benchmark.specs import BenchmarkSpec
from benchmark.weights import model_fingerprint

ALLOWED = 3.0
"""Seconds from the start of the process until the leaderboard is written."""
CHUNKS = 5000
DEPTH = 100
PERMUTATIONS = 10_000
CATEGORIES = ("core", "jargon", "edge", "paraphrase")
_COMMAND = "from benchmark.cli.main import run_command; run_command()"
_RANX = """
import sys, warnings
warnings.simplefilter("ignore")
from ranx import Qrels, Run, compare
qrels = Qrels.from_file(sys.argv[1], kind="trec")
runs = [Run.from_file(path, kind="trec", name=f"m{place}") for place, path in enumerate(sys.argv[3:])]
print(compare(qrels, runs, metrics=["ndcg@10"], stat_test="fisher", n_permutations=int(sys.argv[2]), make_comparable=True))
"""


@dataclass(frozen=True)
class Made:
    """A project with kept runs, and its benchmark file."""

    project: Project
    domain: Domain
    benchmark: BenchmarkSpec


def main() -> None:
    """Make the runs, time the command, say whether it is fast enough."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--systems", type=int, default=10)
    words.add_argument("--queries", type=int, default=1000)
    words.add_argument("--repeat", type=int, default=3, help="how often the command is timed")
    words.add_argument("--keep", type=Path, help="a folder for the project; it is made once")
    words.add_argument("--without-ranx", action="store_true")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = (given.keep or Path(scratch) / "project").resolve()
        made = make_project(root, given.systems, given.queries)
        print(f"{given.systems} models, {given.queries} questions, {DEPTH} passages each, {PERMUTATIONS} permutations")
        command = [sys.executable, "-c", _COMMAND, "--project", str(root), "leaderboard"]
        taken = [anew(made, command) for _ in range(given.repeat)]
        for what, place in (("leaderboard.json is there", 0), ("all is: report, page and plots as well", 1)):
            print(f"  domainbench leaderboard, until {what}: {', '.join(f'{one[place]:.2f}' for one in taken)} s")
        verdict = "yes" if min(written for written, _ in taken) < ALLOWED else "NO"
        print(f"  the leaderboard under {ALLOWED:.0f} s: {verdict}")
        print(f"  once more, nothing has changed: {seconds(command, dict(os.environ)):.2f} s")
        if not given.without_ranx:
            by_ranx(made, Path(scratch))
    if verdict == "NO":
        raise SystemExit(1)


def anew(made: Made, command: list[str]) -> tuple[float, float]:
    """Seconds until the leaderboard is written and until the command ends, where nothing of it is there yet.

    Raises:
        subprocess.CalledProcessError: It fails.
    """
    results = made.domain.results
    for path in [*results.glob("leaderboard.*"), *results.glob(".leaderboard.*")]:
        path.unlink()
    (results / "report.md").unlink(missing_ok=True)
    shutil.rmtree(results / "plots", ignore_errors=True)
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    while not (results / "leaderboard.json").is_file() and process.poll() is None:
        time.sleep(0.005)
    written = time.perf_counter() - started
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command)
    return written, time.perf_counter() - started


def seconds(command: list[str], surroundings: dict[str, str]) -> float:
    """Seconds that a command takes, from its start to its end.

    Raises:
        subprocess.CalledProcessError: It fails.
    """
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=surroundings)  # noqa: S603
    return time.perf_counter() - started


def by_ranx(made: Made, scratch: Path) -> None:
    """Time ranx on the runs of one task, without and with code that it has compiled before."""
    qrels = scratch / "qrels.trec"
    rows = read_testset(made.domain.testset).qrels.items()
    write_text(qrels, "".join(f"{query} 0 {chunk} {grade}\n" for query, row in rows for chunk, grade in row.items()))
    runs = [str(made.domain.run("retrieval", name) / "run.trec") for name in made.benchmark.compared]
    command = [sys.executable, "-c", _RANX, str(qrels), str(PERMUTATIONS), *runs]
    surroundings = {**os.environ, "NUMBA_CACHE_DIR": str(scratch / "numba")}
    for what in ("the first time", "again"):
        print(f"  ranx alone, one task and one metric, {what}: {seconds(command, surroundings):.2f} s")


# --- runs -----------------------------------------------------------------------------------------------------------


def make_project(root: Path, systems: int, queries: int) -> Made:
    """A project around a made-up corpus, with a kept run of every model on both tasks; what is there stays."""
    draws = np.random.default_rng(0)
    chunks = [f"guide-{place // 20:03d}.md#{place % 20}" for place in range(CHUNKS)]
    names = [f"model-{place}" for place in range(systems)]
    for place, name in enumerate(names):
        write_text(root / "model_specs" / f"{name}.yaml", f"bm25: {{k1: {1 + place / 10:.1f}}}\n")
    _write_corpus(root / "tasks" / "bench", chunks, queries, draws)
    listed = ", ".join(names[1:])
    path = root / "benchmark.yaml"
    write_text(path, f"domains: [bench]\nbaseline: {names[0]}\nmodels: [{listed}]\npermutations: {PERMUTATIONS}\n")
    project = Project(root)
    made = Made(project, project.domain("bench"), project.benchmark(path))
    pipeline = Pipeline(project, made.domain, made.benchmark, SILENT)
    inputs = {"chunks": pipeline.chunks(), "testset": pipeline.testset()}
    inputs["candidates"] = _keep_candidates(made, chunks)
    for place, name in enumerate(names):
        for task in ("retrieval", "reranking"):
            _keep_run(made, name, task, inputs, _made_run(made, chunks, place, task))
    return made


def _write_corpus(folder: Path, chunks: list[str], queries: int, draws: np.random.Generator) -> None:
    """A BEIR folder; texts are drawn from a few thousand words."""
    words = [f"word{number}" for number in range(4000)]

    def text(length: int) -> str:
        return " ".join(words[i] for i in draws.integers(0, len(words), length))

    ids = [f"q{place:04d}" for place in range(queries)]
    write_jsonl(
        folder / "corpus.jsonl",
        ({"_id": chunk, "title": chunk.partition("#")[0], "doc_id": chunk.partition("#")[0], "text": text(90)}
         for chunk in chunks),
    )  # fmt: skip
    write_jsonl(
        folder / "queries.jsonl",
        ({"_id": query, "text": text(9), "category": CATEGORIES[place % 4]} for place, query in enumerate(ids)),
    )
    lines = [
        f"{query}\t{chunks[int(chunk)]}\t1\n"
        for place, query in enumerate(ids)
        for chunk in draws.choice(len(chunks), 1 + place % 3, replace=False)
    ]
    write_text(folder / "qrels.tsv", "query-id\tcorpus-id\tscore\n" + "".join(lines))
    write_text(folder / "domain.yaml", "title: Leaderboard bench\nbeir: .\nreranking: {base: model-0}\n")


def _keep_candidates(made: Made, chunks: list[str]) -> Outcome:
    """The candidates stage's output, of the relevant passages and others."""
    testset = read_testset(made.domain.testset)
    draws = np.random.default_rng(1)
    rows = [
        {"query": query, "chunks": sorted({*row, *(chunks[int(i)] for i in draws.integers(0, len(chunks), DEPTH))})}
        for query, row in testset.qrels.items()
    ]
    return run_stage(
        Stage("candidates", 1), made.domain.candidates, inputs={}, settings={}, reporter=SILENT,
        build=lambda folder: {"queries": write_jsonl(folder / "candidates.jsonl", rows)},
    )  # fmt: skip


def _made_run(made: Made, chunks: list[str], place: int, task: str) -> Run:
    """A hundred passages for each question; the later a model stands in the list, the higher the relevant ones."""
    draws = np.random.default_rng([2, place, len(task)])
    run: Run = {}
    for query, relevant in read_testset(made.domain.testset).qrels.items():
        others = (chunks[int(i)] for i in draws.integers(0, len(chunks), DEPTH))
        found = dict.fromkeys(chunk for chunk in others if chunk not in relevant)
        order = list(found)
        for chunk in relevant:
            at = int(draws.geometric(0.08 + place / 100)) - 1
            order.insert(min(at, len(order)), chunk)
        scores = np.sort(draws.random(DEPTH).astype(np.float32))[::-1]
        run[query] = [Hit(chunk, float(score)) for chunk, score in zip(order, scores, strict=False)]
    return run


def _keep_run(made: Made, name: str, task: str, inputs: dict[str, Outcome], run: Run) -> None:
    """Keep a run as the evaluate stage does, costs included."""
    testset = read_testset(made.domain.testset)
    fingerprint = model_fingerprint(made.project, name)

    def build(folder: Path) -> Json:
        write_run(folder / "run.trec", run, name, testset.qrels)
        metrics = metrics_for(made.benchmark.main_metric, DEPTH)
        scores = score_run(run, testset.qrels, metrics, top_k=DEPTH)
        return {
            "spec": name,
            "task": made.domain.task_name + task.capitalize(),
            "queries": len(testset.qrels),
            "model": fingerprint,
            "testset": inputs["testset"].outputs_hash,
            "scores": {metric.mteb_key(DEPTH): round(float(column.mean()), 5) for metric, column in scores.items()},
            "costs": {"query_ms": {"p50": 1.5 + len(name), "p95": 4.0, "questions": 30}, "machine": {"cores": 2}},
        }

    wanted = ("chunks", "testset", *(["candidates"] if task == "reranking" else []))
    run_stage(
        Stage("evaluate", 1), made.domain.run(task, name),
        inputs={**{key: inputs[key].outputs_hash for key in wanted}, "model": fingerprint},
        settings={"spec": name, "task": task, "top_k": DEPTH}, build=build, reporter=SILENT,
    )  # fmt: skip


if __name__ == "__main__":
    main()
