"""The fine-tuning stage: one run of benchmark.yaml to a model folder, and its model spec."""

from pathlib import Path

from benchmark.console import Reporter
from benchmark.device import device_name
from benchmark.errors import BenchError
from benchmark.files import Json, dump_yaml, write_text
from benchmark.project import Domain, Project
from benchmark.provenance import Outcome, Stage, run_stage
from benchmark.specs import FinetuneSpec, ModelSpec
from benchmark.training.adapter import train_adapter
from benchmark.training.biencoder import train_bi_encoder
from benchmark.training.crossencoder import train_cross_encoder
from benchmark.training.loop import checkpoints
from benchmark.weights import model_fingerprint

STAGE = Stage("finetune", 2)
_FOR_PEOPLE = ("README.md", "examples.md", "picture.png", "dropped.jsonl", "terms.jsonl", "rag.parquet")
"""Files of the synthetic data that no training reads: a corrected licence trains nothing anew."""


def finetune(
    project: Project, domain: Domain, run: FinetuneSpec, seed: int, synthetic: Outcome, reporter: Reporter
) -> Outcome:
    """Train a model, or skip it when data, base and settings are the same, and emit `model_specs/<name>.yaml`.

    Killed in the middle, it goes on from the last of five checkpoints (an adapter, a matter of seconds, starts again).

    Raises:
        BenchError: The base or the data cannot be had, memory does not suffice, or a spec of this name was written
            by hand.
    """
    _refuse_foreign_spec(project, run.name)
    base = model_fingerprint(project, run.base)
    inputs = {"synthetic": synthetic.hash_without(_FOR_PEOPLE), "base": base}
    settings = {**run.effective, "seed": seed}
    trainer = train_bi_encoder if run.kind == "bi-encoder" else train_cross_encoder

    def build(folder: Path) -> Json:
        if run.kind == "adapter":
            return train_adapter(project, domain, run, seed, folder, reporter)
        work = domain.results / "models" / f".{run.name}.checkpoints"
        with checkpoints(work, STAGE.fingerprint(inputs, settings)) as kept:
            return trainer(project, domain, run, seed, kept, folder, reporter)

    outcome = run_stage(
        STAGE,
        domain.model(run.name),
        inputs=inputs,
        settings=settings,
        build=build,
        reporter=reporter,
        label=f"{domain.name}: finetune {run.name}",
        device=device_name(),
    )
    _emit_spec(project, domain, run, base, outcome, reporter)
    return outcome


def _refuse_foreign_spec(project: Project, name: str) -> None:
    if name in project.spec_names and not project.model_spec(name).provenance:
        raise BenchError(
            f"model_specs/{name}.yaml: was written by hand and a training run of this name would replace it; "
            "rename one of the two"
        )


def _emit_spec(
    project: Project, domain: Domain, run: FinetuneSpec, base: str, outcome: Outcome, reporter: Reporter
) -> None:
    provenance = {
        "base": run.base,
        "base_fingerprint": base,
        "domain": domain.name,
        "training": outcome.manifest["fingerprint"],
        "facts": _short(outcome.facts),
    }
    folder = outcome.folder.relative_to(project.root).as_posix()
    spec = _spec_of(run, project.model_spec(run.base), folder, f"synthetic data of {domain.name}", provenance)
    text = "# Emitted by `domainbench finetune`; made anew with every training run.\n" + dump_yaml(
        spec.model_dump(mode="json", exclude_defaults=True)
    )
    path = project.specs_folder / f"{run.name}.yaml"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
        reporter.note(f"{run.name}: wrote model_specs/{run.name}.yaml")


def _short(facts: Json) -> Json:
    """Facts without the table behind the choice, which the manifest and the model card have."""
    if "choice" not in facts:
        return facts
    return {**facts, "choice": {key: value for key, value in facts["choice"].items() if key != "mixtures"}}


def _spec_of(run: FinetuneSpec, parent: ModelSpec, folder: str, data: str, provenance: Json) -> ModelSpec:
    """What training made, as a model spec; what changes no vector is passed on from the base's."""
    if run.kind == "adapter":
        facts = provenance["facts"]
        matrices = facts["dimensions"] ** 2 * (2 if facts["sides"] == "both" else 1)
        return ModelSpec(
            description=f"{run.base} with a linear adapter trained on {data}",
            base=run.base,
            adapter=folder,
            licence=parent.licence,
            parameters=None if parent.parameters is None else parent.parameters + matrices,
            dimensions=facts["dimensions"],
            provenance=provenance,
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
        provenance=provenance,
    )
