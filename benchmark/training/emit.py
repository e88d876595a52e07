"""Model specs that training writes."""

from pathlib import Path
from typing import Any

from benchmark.errors import BenchError
from benchmark.files import Json, dump_yaml, write_text
from benchmark.project import Project
from benchmark.provenance import Outcome
from benchmark.specs import ModelSpec
from benchmark.training.job import Job
from benchmark.weights import code_hash


def refuse_foreign_spec(project: Project, name: str) -> None:
    """See to it that a training run overwrites nothing that a person wrote.

    Raises:
        BenchError: A spec of this name was written by hand.
    """
    if name in project.spec_names and "training" not in project.model_spec(name).provenance:
        raise BenchError(
            f"model_specs/{name}.yaml: was written by hand and a training run of this name would replace it; "
            "rename one of the two"
        )


def emit_spec(job: Job[Any], name: str, spec: ModelSpec) -> None:
    """Write `model_specs/<name>.yaml`, unless it stands there already."""
    text = "# Emitted by `domainbench finetune`; made anew with every training run.\n" + dump_yaml(
        spec.model_dump(mode="json", exclude_defaults=True)
    )
    path = job.project.specs_folder / f"{name}.yaml"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
        job.reporter.note(f"{name}: wrote model_specs/{name}.yaml")


def weights_spec(job: Job[Any], folder: Path, stands_at: Path | None = None) -> ModelSpec:
    """The spec of a transformer that a run has trained, as far as it decides what the model computes.

    Prompts and length are those of the spec that the base's weights come from. Code of the base's own travels with
    the weights; the spec pins it by its hash.

    Args:
        job: The run.
        folder: Where the weights lie now.
        stands_at: Where they will lie; there by default.
    """
    project, run = job.project, job.run
    base = project.model_spec(run.base)
    source = project.model_spec(base.base) if base.base else base
    place = stands_at or folder
    inside = place.is_relative_to(project.root)
    own = source.trust_remote_code and any(folder.rglob("*.py"))
    return ModelSpec(
        path=(place.relative_to(project.root) if inside else place).as_posix(),
        kind=run.kind,
        prompts=source.prompts,
        max_length=source.max_length,
        trust_remote_code=own,
        code_hash=code_hash(folder) if own else None,
    )


def provenance(job: Job[Any], outcome: Outcome, **more: Any) -> Json:
    """What an emitted spec says of its making: run, domain, fingerprint and facts, without long tables."""
    return {
        "run": job.run.name,
        **more,
        "domain": job.domain.name,
        "training": outcome.manifest["fingerprint"],
        "facts": _short(outcome.facts),
    }


def _short(facts: Json) -> Json:
    """Facts without the table behind the choice, which the manifest and the model card have."""
    if "choice" not in facts:
        return facts
    return {**facts, "choice": {key: value for key, value in facts["choice"].items() if key != "mixtures"}}
