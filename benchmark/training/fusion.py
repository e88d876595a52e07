"""How much weight each side of a combination gets: learnt on the development split, nothing is trained.

Scores of both sides are computed once; every weight of the grid is arithmetic on them, by the same functions that rank
with the emitted spec. Fusion of z-normalised scores: see `benchmark/encoders/retrieve.py`.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmark.encoders.dense import open_cross_encoder
from benchmark.encoders.fused import hybrid_scores
from benchmark.encoders.retrieve import open_scorer
from benchmark.files import Json, dump_json, write_text
from benchmark.provenance import Outcome, Stage, run_stage
from benchmark.runs import rank_row
from benchmark.specs import CrossEncoderRun, HybridRun, ModelSpec
from benchmark.training.emit import emit_spec, provenance
from benchmark.training.job import Job
from benchmark.training.material import read_material
from benchmark.training.ranking import deciding, development_candidates, graded, kept_scores, open_first_stage
from benchmark.training.ranks import CUTOFF
from benchmark.weights import TRAINED_CHUNKS, model_fingerprint, weights_hash

FUSE: Final = Stage("fuse", 1)
HYBRID: Final = Stage("hybrid", 1)
GRID: Final = tuple(step / 10 for step in range(11))
"""Weights of the second side; the first one has the rest."""
_SHOWN: Final = "weights.json"


def fuse(job: Job[CrossEncoderRun], tuned: Outcome) -> Outcome:
    """Learn how much a reranker's scores count beside its first stage's, and emit the pipeline's spec.

    Args:
        job: A run with a first stage.
        tuned: The reranker that it made.

    Returns:
        The stage's: a table of weights, no model. Facts: queries, depth, candidate recall, weights, choice.

    Raises:
        BenchError: The data, the first stage or the reranker cannot be had.
    """
    run, project = job.run, job.project
    if run.first_stage is None:
        raise ValueError(f"{run.name}: there is no first stage to fuse with")
    name = f"{run.name}-fused"
    outcome = run_stage(
        FUSE,
        job.domain.model(name),
        inputs={
            "synthetic": job.synthetic,
            "reranker": weights_hash(tuned.folder),
            "first_stage": model_fingerprint(project, run.first_stage),
        },
        settings={"depth": run.depth, "max_length": project.model_spec(run.base).max_length, "seed": job.seed},
        build=lambda target: _fuse(job, tuned, target),
        reporter=job.reporter,
        label=f"{job.domain.name}: fuse {name}",
    )
    spec = ModelSpec(
        description=f"{run.first_stage} and {run.name} on its first {run.depth} hits, weighted on synthetic "
        f"data of {job.domain.name}",
        retriever=run.first_stage,
        reranker=run.name,
        depth=run.depth,
        weights=outcome.facts["weights"],
        licence=project.model_spec(run.base).licence,
        provenance=provenance(job, outcome, first_stage=run.first_stage, reranker=run.name),
    )
    emit_spec(job, name, spec)
    return outcome


def learn_hybrid(job: Job[HybridRun]) -> Outcome:
    """Learn the weights of a hybrid's two sides over the whole corpus, and emit its spec.

    Returns:
        The stage's: a table of weights, no model. Facts: queries, weights, choice.

    Raises:
        BenchError: The data or a side cannot be had, or a side has two stages.
    """
    run, project = job.run, job.project
    outcome = run_stage(
        HYBRID,
        job.domain.model(run.name),
        inputs={"synthetic": job.synthetic, **{side: model_fingerprint(project, side) for side in run.sides}},
        settings={"sides": run.sides, "seed": job.seed},
        build=lambda target: _learn_hybrid(job, target),
        reporter=job.reporter,
        label=f"{job.domain.name}: weigh {run.name}",
    )
    first, second = run.sides
    spec = ModelSpec(
        description=f"{first} and {second}, z-normalised, weighted on synthetic data of {job.domain.name}",
        hybrid=run.sides,
        weights=outcome.facts["weights"],
        provenance=provenance(job, outcome, sides=run.sides),
    )
    emit_spec(job, run.name, spec)
    return outcome


def _fuse(job: Job[CrossEncoderRun], tuned: Outcome, target: Path) -> Json:
    run, base = job.run, job.project.model_spec(job.run.base)
    material = read_material(job.domain, None, job.seed)
    first = open_first_stage(job, material)
    candidates = development_candidates(material, first, run.depth, job.seed)

    def open_model() -> Any:
        return open_cross_encoder(tuned.folder, base, f"model_specs/{run.name}.yaml")

    scores = kept_scores(job, tuned.folder, candidates, open_model)
    table = {weight: candidates.fused(scores, _weights(weight)).means()["ndcg@10"] for weight in GRID}
    told = tuned.folder / TRAINED_CHUNKS
    if told.is_file():
        shutil.copyfile(told, target / TRAINED_CHUNKS)
    facts = {**candidates.facts, "asked": candidates.words}
    return _chosen(job, target, facts, table, (str(run.first_stage), run.name))


def _learn_hybrid(job: Job[HybridRun], target: Path) -> Json:
    run = job.run
    material = read_material(job.domain, None, job.seed)
    rows, words = deciding(material)
    asked = [material.development[row] for row in rows]
    sides = [open_scorer(job.project, job.domain, side, material.chunks, job.reporter) for side in run.sides]
    texts = [item.text for item in asked]
    ids = material.ids
    grades = np.zeros((len(asked), len(GRID)))
    scored = zip(asked, *(side.score_rows(texts) for side in sides), strict=True)
    for number, (item, *both) in enumerate(
        job.reporter.track(scored, total=len(asked), label=f"{run.name}: weighing both sides")
    ):
        pooled = hybrid_scores(both)
        relevant = {ids[row] for row in item.relevant}
        for column, weight in enumerate(GRID):
            hits = rank_row(pooled.fused(_weights(weight)), ids, CUTOFF)
            grades[number, column] = graded([hit.chunk for hit in hits], relevant)[0]
    table = dict(zip(GRID, grades.mean(axis=0).tolist(), strict=True))
    return _chosen(job, target, {"queries": len(asked), "asked": words}, table, (run.sides[0], run.sides[1]))


def _weights(second: float) -> list[float]:
    return [round(1 - second, 1), second]


def _chosen(job: Job[Any], target: Path, facts: Json, table: Mapping[float, float], sides: tuple[str, str]) -> Json:
    """The facts with the best weight, of equals the one that leaves most to the first side; writes the table."""
    best = max(sorted(table), key=lambda weight: table[weight])
    first, second = sides
    why = (
        f"weight {best:g} on {second} and {1 - best:g} on {first} is the best of {len(table)} by nDCG@10 on "
        f"{facts['queries']} {facts['asked']}: {table[best]:.4f}, where {first} alone has {table[0.0]:.4f} and "
        f"{second} alone {table[1.0]:.4f}"
    )
    job.reporter.note(f"{job.run.name}: {why}")
    mixtures = [{"share": weight, "score": score, "kinds": []} for weight, score in table.items()]
    write_text(target / _SHOWN, dump_json({"sides": list(sides), "ndcg@10": {f"{w:g}": s for w, s in table.items()}}))
    chosen = {0.0: first, 1.0: second}.get(best, "both")
    return {
        **facts,
        "weights": _weights(best),
        "choice": {"chosen": chosen, "share": best, "why": why, "mixtures": mixtures},
    }
