"""What training costs, beside a plain SentenceTransformerTrainer script on the same pairs; about a quarter of an hour on two cores.

    python scripts/bench_training.py [folder] [--rows 500] [--rounds 1] [--keep DIR]

The folder holds corpus.jsonl, queries.jsonl and qrels.tsv (BEIR); pseudo-queries are cut from its passages and negatives
are mined. The plain script is what the well-known notebook on synthetic data for RAG does: TripletLoss on anchor,
positive and negative, batches of 16, the trainer's defaults (float32, texts as long as the model reads), once with and
once without gradient checkpointing, which the notebook switches on. Ours is `kind: bi-encoder` on the same anchors and
positives at the learning rate that docs/finetuning.md recommends for so few pairs, once with its defaults and once with
parts of 8 rows in memory. Each arm is a process of its own, all of them in turn: seconds per 1,000 pairs, peak memory,
and nDCG@10 on the development split.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench_common import BASE, SHARED, make_project

from benchmark.cli.screen import Screen
from benchmark.console import SILENT
from benchmark.encoders.dense import DenseEncoder
from benchmark.pipeline import Pipeline
from benchmark.project import Domain, Project
from benchmark.specs import BenchmarkSpec, BiEncoderRun, parse_spec
from benchmark.training.biencoder import train_bi_encoder, training_rows
from benchmark.training.job import Job
from benchmark.training.loop import peak_memory
from benchmark.training.material import development_quality, read_material

ARMS = ("plain", "plain-checkpointing", "ours", "ours-lean")
LEAN = 8
RATE = 1e-4
Figures = dict[str, float]


def main() -> None:
    """Make the data once, then run every arm in turn."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("folder", nargs="?", type=Path, default=SHARED / "aws")
    words.add_argument("--rows", type=int, default=500, help="pairs that each arm is trained on")
    words.add_argument("--rounds", type=int, default=1)
    words.add_argument("--keep", type=Path, help="a folder for vectors and training data")
    words.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = (given.keep or Path(scratch)).resolve()
        project, domain = make_project(root, given.folder.resolve())
        if given.arm:
            print(json.dumps(run_arm(given.arm, project, domain, given.rows, Path(scratch))))
            return
        prepare(project, domain)
        found: dict[str, list[Figures]] = {arm: [] for arm in ARMS}
        for number in range(given.rounds):
            for arm in ARMS:
                found[arm].append(in_a_process(arm, root, given.folder, given.rows))
                print(f"round {number + 1}, {arm}: {told(found[arm][-1])}", flush=True)
        report(found)


def prepare(project: Project, domain: Domain) -> None:
    """Training data without a language model, with one mined negative a query."""
    spec = parse_spec(
        BenchmarkSpec,
        {
            "domains": [domain.name],
            "generate": {"retriever": BASE, "questions_per_chunk": 0},
            "baseline": BASE,
            "models": [BASE],
        },
        "bench_training",
    )
    Pipeline(project, domain, spec, Screen()).synthetic()


def in_a_process(arm: str, root: Path, folder: Path, rows: int) -> Figures:
    """An arm in a process of its own, so that its peak memory is its own."""
    words = [sys.executable, __file__, str(folder), "--arm", arm, "--rows", str(rows), "--keep", str(root)]
    surroundings = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=surroundings)  # noqa: S603
    if done.returncode:
        sys.exit(done.stderr)
    found: Figures = json.loads(done.stdout.splitlines()[-1])
    return found


def run_arm(arm: str, project: Project, domain: Domain, rows: int, scratch: Path) -> Figures:
    """Train one way and measure."""
    ours = arm.startswith("ours")
    run = BiEncoderRun(
        name=f"bench-{arm}", base=BASE, learning_rate=RATE, max_length=256, max_pairs=rows, hard_negatives=int(not ours),
        mini_batch_size=LEAN if arm == "ours-lean" else 64, mix=[],
    )  # fmt: skip
    if ours:
        job = Job(project, domain, run, 0, "", SILENT)
        (scratch / "work").mkdir()
        (scratch / "model").mkdir()
        facts = train_bi_encoder(job, scratch / "work", scratch / "model")
        return {
            "seconds": facts["seconds_per_1000_pairs"],
            "memory": facts["peak_memory_mib"]["process"],
            "before": facts["development"]["before"]["ndcg@10"],
            "after": facts["development"]["after"]["ndcg@10"],
        }
    return plain(project, domain, run, scratch, checkpointing=arm == "plain-checkpointing")


def plain(project: Project, domain: Domain, run: BiEncoderRun, scratch: Path, *, checkpointing: bool) -> Figures:
    """What a script without this project would do."""
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import TripletLoss

    encoder = DenseEncoder.load(project, BASE)
    data = training_rows(domain, run, 0)
    settings: dict[str, Any] = {"gradient_checkpointing": checkpointing}
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(scratch / "plain"), num_train_epochs=1, per_device_train_batch_size=16, warmup_steps=0.1,
        save_strategy="no", report_to="none", disable_tqdm=True, use_cpu=True, **settings,
    )  # fmt: skip
    trainer = SentenceTransformerTrainer(
        model=encoder.model, args=arguments, train_dataset=data, loss=TripletLoss(encoder.model)
    )
    started = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - started
    memory = peak_memory()["process"]
    encoder.model.eval()
    material = read_material(domain, None, 0)
    tuned = DenseEncoder(run.name, f"{run.name}-{os.getpid()}", encoder.model, encoder.prompts)
    scores = {
        name: development_quality(domain, model, material, SILENT).means(material.counted)["ndcg@10"]
        for name, model in (("before", DenseEncoder.load(project, BASE)), ("after", tuned))
    }
    return {"seconds": 1000 * seconds / len(data), "memory": memory, **scores}


def told(figures: Figures) -> str:
    """An arm's figures in words."""
    return (
        f"{figures['seconds']:.1f} s per 1,000 pairs, peak {figures['memory']:.0f} MiB, development nDCG@10 "
        f"{figures['before']:.4f} -> {figures['after']:.4f}"
    )


def report(found: dict[str, list[Figures]]) -> None:
    """Medians, and ratios to the plain script."""
    medians = {
        arm: {key: statistics.median(row[key] for row in rows) for key in rows[0]} for arm, rows in found.items()
    }
    for arm, figures in medians.items():
        ratios = ", ".join(
            f"{figures['seconds'] / medians[other]['seconds']:.2f} of the time and "
            f"{figures['memory'] / medians[other]['memory']:.2f} of the memory of {other}"
            for other in ARMS[:2]
            if other != arm
        )
        print(f"{arm:20} {told(figures)}; {ratios}")


if __name__ == "__main__":
    main()
