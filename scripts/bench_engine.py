"""Nine variants of one model: `domainbench evaluate` beside one plain `mteb.evaluate` for each, in one run.

    python scripts/bench_engine.py [folder] [--questions N] [--candidates N] [--max-length N]
                                   [--retrieval-only]

The folder holds corpus.jsonl, queries.jsonl and qrels.tsv (BEIR); by default the sample data beside the repository.
Ours runs the domain's two tasks (retrieval; reranking of the same candidates) and measures costs, from the start of its
process; plain mteb, in a process of its own, runs the same tasks, or with `--retrieval-only` the first of them. Weights
of the tuned and the mixed model and of the reranker's head are those of all-MiniLM-L6-v2 with noise: what they rank is
worth nothing, the time they take is that of any such weights. Plain mteb evaluates the adapter's base in its place (the
small matrix takes no time to speak of). On two cores it takes half an hour; at the model's full length, `--max-length
256`, more than two hours.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from bench_common import BASE, SHARED, make_project

from benchmark.cli.screen import Screen
from benchmark.pipeline import Pipeline
from benchmark.project import Project
from benchmark.weights import ADAPTER_FILE, model_folder

COMMAND = "from benchmark.cli.main import run_command; run_command()"
SIZES = (256, 128, 64)
NINE = [BASE, "base-reranked", "tuned", "tuned-reranked", "adapter", *(f"tuned-{size}" for size in SIZES), "mixed"]
FIRST_STAGES = {"base-reranked": BASE, "tuned-reranked": "tuned"}
NOISE = 1e-3


def main() -> None:
    """Prepare, run both arms, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=SHARED / "covidqa")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--candidates", type=int, default=20)
    parser.add_argument("--max-length", type=int, default=64, help="tokens of a text; of a pair twice as many")
    parser.add_argument("--retrieval-only", action="store_true")
    parser.add_argument("--plain", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.plain:
        plain(Path.cwd(), asked.plain.split(","), asked.candidates, asked.retrieval_only)
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "project"
        prepare(root, asked.folder.resolve(), asked.questions, asked.candidates, asked.max_length)
        measure(root, ["--candidates", str(asked.candidates), *(["--retrieval-only"] if asked.retrieval_only else [])])


def measure(root: Path, options: list[str]) -> None:
    """Time both arms and say how they compare."""
    words = [sys.executable, __file__, *options, "--plain"]
    say("one model", evaluate(root, [BASE]), child([*words, BASE], root))
    shutil.rmtree(root / "results")
    Pipeline(Project(root), Project(root).domain(domain_name(root)), None, Screen()).testset()
    nine = evaluate(root, NINE)
    again = evaluate(root, NINE)
    print(f"nine variants again, nothing changed: {again['seconds']:.1f} s from the start of the process", flush=True)
    say("nine variants", nine, child([*words, ",".join(NINE)], root))


def say(what: str, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """One comparison."""
    seconds = sum(sum(row) for row in theirs["rows"].values())
    ratio, memory = ours["seconds"] / seconds, ours["peak"] / theirs["peak"]
    print(f"{what}: ours {ours['seconds']:.1f} s, plain mteb {seconds:.1f} s, ratio {ratio:.2f}")
    print(f"  peak memory {ours['peak'] / 2**20:,.0f} MiB and {theirs['peak'] / 2**20:,.0f} MiB, ratio {memory:.2f}")
    for name, row in theirs["rows"].items():
        print(f"  plain {name}: {', '.join(f'{seconds:.1f} s' for seconds in row)}", flush=True)


# --- ours -----------------------------------------------------------------------------------------------------------


def evaluate(root: Path, names: list[str]) -> dict[str, Any]:
    """`domainbench evaluate`, in a process of its own."""
    spec = {"domains": [domain_name(root)], "baseline": BASE, "models": names}
    (root / "benchmark.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    return child([sys.executable, "-c", COMMAND, "evaluate"], root)


def domain_name(root: Path) -> str:
    """The only domain's."""
    return next(path.parent.name for path in root.glob("tasks/*/domain.yaml"))


def child(words: list[str], root: Path) -> dict[str, Any]:
    """Run a command in the project; its seconds, peak memory in bytes, and the last line if that is JSON."""
    wrapper = (
        "import json,resource,subprocess,sys,time\n"
        "t=time.perf_counter()\n"
        "done=subprocess.run(sys.argv[1:],stdout=subprocess.PIPE,text=True)\n"
        "s=time.perf_counter()-t\n"
        "peak=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss*1024\n"
        "print(json.dumps({'code':done.returncode,'out':done.stdout,'seconds':s,'peak':peak}))"
    )
    done = subprocess.run(  # noqa: S603 (our own words)
        [sys.executable, "-c", wrapper, *words], cwd=root, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    if found["code"]:
        raise SystemExit(f"{words[2:]} ended with code {found['code']}")
    lines = found["out"].strip().splitlines()
    if lines and lines[-1].startswith("{"):
        found |= json.loads(lines[-1])
    return found


# --- plain mteb -----------------------------------------------------------------------------------------------------


def plain(root: Path, names: list[str], candidates: int, retrieval_only: bool) -> None:
    """Evaluate each variant with mteb as its documentation shows, and print seconds by variant and task."""
    import mteb
    from sentence_transformers import CrossEncoder, SentenceTransformer

    import benchmark

    tasks = benchmark.register_tasks(str(root))[: 1 if retrieval_only else 2]
    folders = json.loads((root / "folders.json").read_text(encoding="utf-8"))
    rows = {}
    for name in names:
        first = FIRST_STAGES.get(name, name)
        weights, _, size = first.partition("-") if first.startswith("tuned-") else (first, "", "")
        model = SentenceTransformer(folders[weights], truncate_dim=int(size) if size else None)
        seconds = []
        for task_name in tasks:
            started = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                task = mteb.get_task(task_name)
                kept = folder if name in FIRST_STAGES else None
                ranked = task_name.endswith("Reranking")
                if name not in FIRST_STAGES or not ranked:
                    mteb.evaluate(model, task, cache=None, co2_tracker=False, prediction_folder=kept)
                if name in FIRST_STAGES:
                    if not ranked:
                        task = mteb.get_task(task_name).convert_to_reranking(folder, top_k=candidates)
                    mteb.evaluate(CrossEncoder(folders["reranker"]), task, cache=None, co2_tracker=False)
            seconds.append(time.perf_counter() - started)
        rows[name] = seconds
    print(json.dumps({"rows": rows}))


# --- preparation ----------------------------------------------------------------------------------------------------


def prepare(root: Path, folder: Path, questions: int, candidates: int, length: int) -> None:
    """A project with so many of the folder's questions and all nine variants."""
    data = root / "data" / folder.name
    data.mkdir(parents=True)
    shutil.copy(folder / "corpus.jsonl", data)
    asked = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()[:questions]
    ids = {json.loads(line)["id"] for line in asked}
    (data / "queries.jsonl").write_text("\n".join(asked) + "\n", encoding="utf-8")
    head, *judged = (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()
    judged = [line for line in judged if line.split("\t")[0] in ids]
    (data / "qrels.tsv").write_text("\n".join([head, *judged]) + "\n", encoding="utf-8")
    project, domain = make_project(root, data)
    page = root / "tasks" / folder.name / "domain.yaml"
    page.write_text(page.read_text(encoding="utf-8").replace("depth: 10", f"depth: {candidates}"), encoding="utf-8")
    make_weights(root, model_folder(project, BASE, project.model_spec(BASE)), length)
    page = root / "model_specs" / f"{BASE}.yaml"
    page.write_text(yaml.safe_dump(yaml.safe_load(page.read_text(encoding="utf-8")) | {"max_length": length}))
    specs: dict[str, dict[str, Any]] = {
        "tuned": {"path": "models/tuned", "max_length": length},
        "mixed": {"path": "models/mixed", "max_length": length},
        "reranker": {"path": "models/reranker", "kind": "cross-encoder", "max_length": min(512, 2 * length)},
        "adapter": {"base": BASE, "adapter": "models/adapter"},
        **{
            name: {"retriever": first, "reranker": "reranker", "depth": candidates}
            for name, first in FIRST_STAGES.items()
        },
        **{f"tuned-{size}": {"base": "tuned", "truncate_dim": size} for size in SIZES},
    }
    for name, spec in specs.items():
        (root / "model_specs" / f"{name}.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    Pipeline(Project(root), domain, None, Screen()).testset()


def make_weights(root: Path, base: Path, length: int) -> None:
    """Variants of the base's weights, and an adapter."""
    import numpy as np
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer

    from benchmark.encoders.adapter import LinearMaps

    torch.manual_seed(0)
    model = SentenceTransformer(str(base), device="cpu")
    model.max_seq_length = length
    folders = dict.fromkeys((BASE, "adapter"), str(root / "models" / "base"))
    model.save(folders[BASE])
    for name in ("tuned", "mixed"):
        model = SentenceTransformer(folders[BASE], device="cpu")
        with torch.no_grad():
            for weights in model.parameters():
                weights += NOISE * torch.randn_like(weights)
        folders[name] = str(root / "models" / name)
        model.save(folders[name])
    folders["reranker"] = str(root / "models" / "reranker")
    CrossEncoder(str(base), num_labels=1, max_length=min(512, 2 * length), device="cpu").save_pretrained(
        folders["reranker"]
    )
    same = LinearMaps.identity(384, both=False)
    noise = np.random.default_rng(0).standard_normal(same.query.shape).astype(np.float32)
    (root / "models" / "adapter").mkdir()
    LinearMaps(same.query + NOISE * noise, None).save(root / "models" / "adapter" / ADAPTER_FILE)
    (root / "folders.json").write_text(json.dumps(folders), encoding="utf-8")


if __name__ == "__main__":
    main()
