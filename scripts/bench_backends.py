"""What backends and quantised vectors cost in nDCG@10 and gain in speed and size; some minutes for each backend.

    python scripts/bench_backends.py [folder in the BEIR layout] [--passages N] [--work FOLDER]

Speed: every backend encodes the same passages in turn, round after round, so that whatever else the machine does slows
all alike; printed are medians, and the ratio to torch in the same round. Quality: nDCG@10 on all questions, with the
difference to torch, its interval and the p of the paired sign-flip test. With `--passages` only so many passages are
searched, the relevant ones among them; with `--work` vectors are kept, and a second call computes nothing again.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bench_common import BASE, SHARED, against, interval, make_project, question_scores

from benchmark.console import SILENT
from benchmark.encoders.adapter import open_encoder
from benchmark.encoders.dense import Encoder
from benchmark.evaluation.costs import machine
from benchmark.evaluation.evaluate import Evaluator
from benchmark.files import dump_yaml, iter_jsonl, read_text, read_yaml, write_jsonl
from benchmark.pipeline import Pipeline
from benchmark.project import Domain, Project
from benchmark.training.ranks import Floats

BACKENDS = {
    f"{BASE}-{backend}-{precision}": {"backend": backend, "precision": precision}
    for backend in ("onnx", "openvino")
    for precision in ("float32", "int8")
}
QUANTIZED = {
    f"{BASE}-{kind}{'' if rescore else '-alone'}": {"base": BASE, "quantize": kind, "rescore": rescore}
    for kind in ("int8", "binary")
    for rescore in (0, 4)
}
SAMPLE = 32
ROUNDS = 5
ASKED = 20


def main() -> None:
    """Measure speed, then quality."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=SHARED / "aws")
    parser.add_argument("--passages", type=int)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = given.work or Path(scratch)
        folder = given.folder if given.passages is None else smaller(given.folder, given.passages, work / "data")
        project, domain = make_project(work / "project", folder)
        write_specs(project)
        print(json.dumps(machine()))
        passages = [f"{row.get('title', '')} {row['text']}".strip() for row in iter_jsonl(folder / "corpus.jsonl")]
        questions = [str(row["text"]) for row in iter_jsonl(folder / "queries.jsonl")]
        speed(project, passages, questions)
        quality(project, domain)


def smaller(folder: Path, passages: int, work: Path) -> Path:
    """The same test set over fewer passages: all that are relevant, and the first of the others."""
    target = work / folder.name
    target.mkdir(parents=True, exist_ok=True)
    for name in ("queries.jsonl", "qrels.tsv"):
        shutil.copy(folder / name, target / name)
    relevant = {line.split("\t")[1] for line in read_text(folder / "qrels.tsv").splitlines()[1:] if line}
    rows = list(iter_jsonl(folder / "corpus.jsonl"))
    ids = [str(row.get("_id", row.get("id"))) for row in rows]
    others = [passage for passage in ids if passage not in relevant]
    kept = relevant | set(others[: max(0, passages - len(relevant))])
    write_jsonl(target / "corpus.jsonl", [row for row, passage in zip(rows, ids, strict=True) if passage in kept])
    return target


def write_specs(project: Project) -> None:
    """The base's spec with each backend, and those that quantise its vectors."""
    base = read_yaml(project.specs_folder / f"{BASE}.yaml")
    specs = {name: {**base, **more} for name, more in BACKENDS.items()} | QUANTIZED
    for name, spec in specs.items():
        (project.specs_folder / f"{name}.yaml").write_text(dump_yaml(spec), encoding="utf-8")


def speed(project: Project, passages: Sequence[str], questions: Sequence[str]) -> None:
    """Documents a second, and milliseconds for a question alone."""
    sample = list(passages[:: max(1, len(passages) // SAMPLE)][:SAMPLE])
    asked = list(questions[:ASKED])
    encoders: dict[str, Encoder] = {}
    for name in (BASE, *BACKENDS):
        started = time.perf_counter()
        encoders[name] = open_encoder(project, name)
        encoders[name].encode(sample[:4], "document")
        print(f"{name}: opened in {time.perf_counter() - started:.1f} s", flush=True)
    documents = {name: np.zeros(ROUNDS) for name in encoders}
    queries = {name: np.zeros(ROUNDS) for name in encoders}
    for turn in range(ROUNDS):
        for name, encoder in encoders.items():
            documents[name][turn] = len(sample) / seconds(encoder, [sample], "document")
            queries[name][turn] = 1000 * seconds(encoder, [[text] for text in asked], "query") / len(asked)
    print(f"\nspeed: {len(sample)} passages and {len(asked)} questions one at a time, {ROUNDS} rounds")
    for name in encoders:
        faster, quicker = documents[name] / documents[BASE], queries[BASE] / queries[name]
        print(
            f"  {name:36} {np.median(documents[name]):7.1f} documents/s {ratio(faster)}   "
            f"question {np.median(queries[name]):6.1f} ms {ratio(quicker)}"
        )


def seconds(encoder: Encoder, groups: Sequence[Sequence[str]], role: str) -> float:
    """What encoding some groups of texts takes."""
    started = time.perf_counter()
    for group in groups:
        encoder.encode(group, "query" if role == "query" else "document")
    return time.perf_counter() - started


def ratio(found: Floats) -> str:
    """How many times as fast as torch: the median of the rounds, the least and the most."""
    return f"x {np.median(found):.2f} ({found.min():.2f} to {found.max():.2f})"


def quality(project: Project, domain: Domain) -> None:
    """nDCG@10 on all questions, and bytes of the index."""
    pipeline = Pipeline(project, domain, None, SILENT)
    inputs = {"chunks": pipeline.chunks(), "testset": pipeline.testset()}
    evaluator = Evaluator(project, domain, inputs, 100, SILENT)
    scores: dict[str, Floats] = {}
    print("\nnDCG@10; beside it the difference to torch, and what an index of a million passages takes")
    for name in (BASE, *BACKENDS, *QUANTIZED):
        (outcome,) = evaluator.evaluate(name, ["retrieval"])
        scores[name] = question_scores(domain, name)
        costs = outcome.facts["costs"]["index_bytes_per_million_chunks"]
        beside = "" if name == BASE else against(scores[name], scores[BASE])
        print(f"  {name:36} {interval(scores[name])}  {costs / 2**20:6.0f} MiB  {beside}", flush=True)


if __name__ == "__main__":
    main()
