"""One run of benchmark.yaml to models and their specs."""

from typing import Any

from benchmark.console import Reporter
from benchmark.files import Json
from benchmark.project import Domain, Project
from benchmark.provenance import Outcome
from benchmark.specs import AdapterRun, BiEncoderRun, CrossEncoderRun, FinetuneSpec, HybridRun, ModelSpec
from benchmark.training.emit import emit_spec, provenance, refuse_foreign_spec, weights_spec
from benchmark.training.fusion import fuse, learn_hybrid
from benchmark.training.job import Job
from benchmark.training.mixing import mix
from benchmark.training.sweep import sweep
from benchmark.training.train import train_run
from benchmark.weights import model_fingerprint

_FOR_PEOPLE = ("README.md", "examples.md", "picture.png", "dropped.jsonl", "terms.jsonl", "rag.parquet")
"""Files of the synthetic data that no training reads: a corrected licence trains nothing anew."""


def finetune(
    project: Project, domain: Domain, run: FinetuneSpec, seed: int, synthetic: Outcome, reporter: Reporter
) -> list[Outcome]:
    """Train a model and what is made of it, or skip what has not changed, and emit the model specs.

    Args:
        project: Where model specs stand.
        domain: Whose synthetic data are used; its test set is never read.
        run: The settings.
        seed: For everything random.
        synthetic: What the generate stage left.
        reporter: Shows progress.

    Returns:
        One outcome for each spec that the run emits, in the order of `run.emits`; its folder has the spec's name.

    Raises:
        BenchError: The base or the data cannot be had, memory does not suffice, or a spec of this name was written
            by hand.
    """
    for name in run.emits:
        refuse_foreign_spec(project, name)
    job: Job[Any] = Job(project, domain, run, seed, synthetic.hash_without(_FOR_PEOPLE), reporter)
    if isinstance(run, HybridRun):
        return [learn_hybrid(job)]
    made: Json = {}
    if run.sweep is not None:
        swept = sweep(job)
        job, made = swept.job, {"sweep": swept.facts}
    tuned = train_run(job, domain.model(run.name))
    spec = _tuned_spec(job, tuned, made)
    further = _further(job, tuned, spec)
    if further is not None and "choice" in further.facts and isinstance(run, BiEncoderRun):
        choice = {key: further.facts["choice"][key] for key in ("chosen", "share", "why")}
        spec = spec.model_copy(update={"provenance": {**spec.provenance, "choice": choice}})
    emit_spec(job, run.name, spec)
    return [tuned] if further is None else [tuned, further]


def _further(job: Job[Any], tuned: Outcome, spec: ModelSpec) -> Outcome | None:
    """What is made of a tuned model: a mixture with its base, or a pipeline that fuses it with its first stage."""
    run = job.run
    mixed = isinstance(run, BiEncoderRun) and bool(run.mix)
    fused = isinstance(run, CrossEncoderRun) and run.first_stage is not None
    if not mixed and not fused:
        return None
    if not _stands(job, run.name, spec):
        emit_spec(job, run.name, spec)
    return mix(job, tuned) if mixed else fuse(job, tuned)


def _stands(job: Job[Any], name: str, spec: ModelSpec) -> bool:
    """Whether a spec is written already, but for the choice that is added to it later."""
    if name not in job.project.spec_names:
        return False
    known = job.project.model_spec(name)
    made = {key: value for key, value in known.provenance.items() if key != "choice"}
    return known.model_copy(update={"provenance": made}) == spec


def _tuned_spec(job: Job[Any], tuned: Outcome, more: Json) -> ModelSpec:
    """What training made, as a model spec; what changes no vector is passed on from the base's."""
    run, facts = job.run, tuned.facts
    parent = job.project.model_spec(run.base)
    data = f"synthetic data of {job.domain.name}"
    fingerprint = model_fingerprint(job.project, run.base)
    made = {**provenance(job, tuned, base=run.base, base_fingerprint=fingerprint), **more}
    if isinstance(run, AdapterRun):
        root = job.project.root
        inside = tuned.folder.is_relative_to(root)
        matrices = facts["dimensions"] ** 2 * (2 if facts["sides"] == "both" else 1)
        return ModelSpec(
            description=f"{run.base} with a linear adapter trained on {data}",
            base=run.base,
            adapter=(tuned.folder.relative_to(root) if inside else tuned.folder).as_posix(),
            licence=parent.licence,
            parameters=None if parent.parameters is None else parent.parameters + matrices,
            dimensions=facts["dimensions"],
            provenance=made,
        )
    return weights_spec(job, tuned.folder).model_copy(
        update={
            "description": f"{run.base} fine-tuned on {data}",
            "licence": parent.licence,
            "parameters": parent.parameters,
            "dimensions": parent.dimensions if run.kind == "bi-encoder" else None,
            "provenance": made,
        }
    )
