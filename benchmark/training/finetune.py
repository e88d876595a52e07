"""One run of benchmark.yaml to models and their specs."""

from typing import Any

from benchmark.console import Reporter
from benchmark.project import Domain, Project
from benchmark.provenance import Outcome
from benchmark.specs import AdapterRun, FinetuneSpec, HybridRun, ModelSpec
from benchmark.training.emit import emit_spec, provenance, refuse_foreign_spec
from benchmark.training.job import Job
from benchmark.training.train import train_run
from benchmark.weights import model_fingerprint

_FOR_PEOPLE = ("README.md", "examples.md", "picture.png", "dropped.jsonl", "terms.jsonl", "rag.parquet")
"""Files of the synthetic data that no training reads: a corrected licence trains nothing anew."""


def finetune(
    project: Project, domain: Domain, run: FinetuneSpec, seed: int, synthetic: Outcome, reporter: Reporter
) -> list[Outcome]:
    """Train a model and what is made of it, or skip what has not changed, and emit the model specs.

    Raises:
        BenchError: The base or the data cannot be had, memory does not suffice, or a spec of this name was written
            by hand.
    """
    for name in run.emits:
        refuse_foreign_spec(project, name)
    job: Job[Any] = Job(project, domain, run, seed, synthetic.hash_without(_FOR_PEOPLE), reporter)
    if isinstance(run, HybridRun):
        raise NotImplementedError
    tuned = train_run(job, domain.model(run.name))
    emit_spec(job, run.name, _tuned_spec(job, tuned))
    return [tuned]


def _tuned_spec(job: Job[Any], tuned: Outcome) -> ModelSpec:
    """What training made, as a model spec; what changes no vector is passed on from the base's."""
    run, facts = job.run, tuned.facts
    parent = job.project.model_spec(run.base)
    folder = tuned.folder.relative_to(job.project.root).as_posix()
    data = f"synthetic data of {job.domain.name}"
    made = provenance(job, tuned, base=run.base, base_fingerprint=model_fingerprint(job.project, run.base))
    if isinstance(run, AdapterRun):
        matrices = facts["dimensions"] ** 2 * (2 if facts["sides"] == "both" else 1)
        return ModelSpec(
            description=f"{run.base} with a linear adapter trained on {data}",
            base=run.base,
            adapter=folder,
            licence=parent.licence,
            parameters=None if parent.parameters is None else parent.parameters + matrices,
            dimensions=facts["dimensions"],
            provenance=made,
        )
    return ModelSpec(
        description=f"{run.base} fine-tuned on {data}",
        path=folder,
        kind=run.kind,
        prompts=parent.prompts,
        max_length=parent.max_length,
        licence=parent.licence,
        parameters=parent.parameters,
        dimensions=parent.dimensions if run.kind == "bi-encoder" else None,
        provenance=made,
    )
