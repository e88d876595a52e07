"""What each way of tuning all-MiniLM-L6-v2 is worth on people's questions; about an hour a folder on two cores.

    python scripts/bench_tuning.py [folder ...] [--keep DIR] [--chunks 300] [--pairs N]

Each folder holds corpus.jsonl, queries.jsonl and qrels.tsv (BEIR). The generate stage writes the training data (the
built-in language model asks about some passages, pseudo-queries are cut from all); on it are made: an adapter, a
bi-encoder with Matryoshka dimensions, its mixture with the base, an adapter on it, a reranker, the reranker fused with
its first stage, and hybrids with BM25 whose weight is learnt on the development split. Printed: nDCG@10 with 95 %
intervals, the difference to the base, the hybrids against their parts, and the base and the tuned model at fewer
dimensions. Nothing is chosen by the questions. `--keep` holds answers, vectors and models for the next time.
"""

import argparse
import tempfile
from pathlib import Path

from bench_common import BASE, SHARED, against, interval, make_project, question_scores

from benchmark.cli.screen import Screen
from benchmark.evaluation.evaluate import Evaluator
from benchmark.files import dump_yaml
from benchmark.pipeline import Pipeline
from benchmark.project import Domain, Project, builtin_root
from benchmark.specs import BenchmarkSpec, parse_spec
from benchmark.training.ranks import Floats

DIMENSIONS = (256, 128, 64)


def main() -> None:
    """Tune and measure on every folder."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("folders", nargs="*", type=Path, default=[SHARED / "covidqa", SHARED / "aws"])
    words.add_argument("--keep", type=Path, help="a folder for answers, vectors and models")
    words.add_argument("--chunks", type=int, default=300, help="passages that the language model asks about")
    words.add_argument("--pairs", type=int, help="pairs that the bi-encoder is trained on; all by default")
    words.add_argument("--no-reranker", action="store_true", help="leave out what takes longest with many questions")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for folder in given.folders:
            project, domain = make_project((given.keep or Path(scratch)).resolve(), folder.resolve(), "bm25")
            measure(project, domain, benchmark_of(domain.name, given))


def benchmark_of(name: str, given: argparse.Namespace) -> BenchmarkSpec:
    """Every kind of run, with the settings that docs/finetuning.md recommends for some thousands of pairs."""
    builtin = Project(builtin_root())
    generate = builtin.benchmark(builtin.root / "benchmark.yaml").generate
    assert generate is not None and generate.llm is not None  # noqa: S101 (the built-in benchmark has both)
    weights = {"kind": "bi-encoder", "base": BASE, "learning_rate": 1e-4, "max_length": 128, "max_pairs": given.pairs}
    reranker = {"kind": "cross-encoder", "base": BASE, "learning_rate": 5e-5, "max_length": 128, "batch_size": 8}
    tuned = f"{name}-tuned"
    runs = [
        {"name": f"{name}-adapter", "kind": "adapter", "base": BASE, "sides": "both"},
        {"name": tuned, **weights, "matryoshka": list(DIMENSIONS)},
        {"name": f"{name}-tuned-adapter", "kind": "adapter", "base": tuned, "sides": "both"},
        {"name": f"{name}-reranker", **reranker, "first_stage": tuned, "depth": 20, "hard_negatives": 3, "max_pairs": 2400},
        {"name": f"{name}-hybrid", "kind": "hybrid", "sides": ["bm25", tuned]},
        {"name": f"{name}-hybrid-adapter", "kind": "hybrid", "sides": ["bm25", f"{name}-tuned-adapter"]},
    ]  # fmt: skip
    runs = [run for run in runs if not (given.no_reranker and run["kind"] == "cross-encoder")]
    return parse_spec(
        BenchmarkSpec,
        {
            "domains": [name],
            "generate": {
                "llm": generate.llm.model_dump(exclude_none=True), "retriever": BASE, "question_chunks": given.chunks,
                "questions_per_chunk": 3,
            },
            "finetune": runs,
            "baseline": BASE,
            "models": [BASE],
        },
        "bench_tuning",
    )  # fmt: skip


def measure(project: Project, domain: Domain, spec: BenchmarkSpec) -> None:
    """Train everything, evaluate it on people's questions and print."""
    pipeline = Pipeline(project, domain, spec, Screen())
    outcomes = pipeline.finetune()
    tuned = f"{domain.name}-tuned"
    shorter = [truncated(project, name, size) for size in DIMENSIONS for name in (BASE, tuned)]
    # A cross-encoder ranks only what a first stage found; its fused pipeline is measured.
    names = [name for run in spec.finetune for name in run.emits if project.model_spec(name).kind != "cross-encoder"]
    inputs = {"chunks": pipeline.chunks(), "testset": pipeline.testset()}
    evaluator = Evaluator(project, domain, inputs, 100, Screen())
    scores: dict[str, Floats] = {}
    for name in (BASE, "bm25", *names, *shorter):
        evaluator.evaluate(name, ["retrieval"])
        scores[name] = question_scores(domain, name)
    print(f"{domain.name}: nDCG@10 on {len(scores[BASE])} questions of people; beside it the difference to the base")
    for name in (BASE, "bm25", *names):
        print(f"  {name:26} {interval(scores[name])}  {against(scores[name], scores[BASE])}")
    for name, part in ((f"{domain.name}-hybrid", tuned), (f"{domain.name}-hybrid-adapter", f"{tuned}-adapter")):
        for side in ("bm25", part):
            print(f"  {name} against {side}: {against(scores[name], scores[side])}")
    print("  dimensions: base, tuned")
    for size in (384, *DIMENSIONS):
        pair = (BASE, tuned) if size == 384 else (f"{BASE}-{size}", f"{tuned}-{size}")
        print(
            f"  {size:4}: {scores[pair[0]].mean():.4f}, {scores[pair[1]].mean():.4f}  {against(*(scores[n] for n in pair[::-1]))}"
        )
    for outcome in outcomes:
        told = outcome.facts.get("choice", {})
        print(f"  {outcome.folder.name}: {outcome.manifest['seconds']:.0f} s; {told.get('why', '')}")


def truncated(project: Project, name: str, size: int) -> str:
    """Write the spec of a model's first dimensions; returns its name."""
    short = f"{name}-{size}"
    (project.specs_folder / f"{short}.yaml").write_text(
        dump_yaml({"base": name, "truncate_dim": size}), encoding="utf-8"
    )
    return short


if __name__ == "__main__":
    main()
