"""Kept runs as mteb lays out results: `results/<org__model>/<revision>/{<Task>.json, model_meta.json}`.

`mteb.ResultCache("results/<domain>/mteb").load_results()` reads them. A model is called `local/<spec>`, as it was when
mteb scored it, and its revision is our fingerprint: the name on the Hub alone would hide prompts, lengths and
compositions, and mix these figures with those of others. Nothing in it is text of documents or questions.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from benchmark.errors import BenchError
from benchmark.evaluation.tasks import TASK_KINDS, TaskKind
from benchmark.files import Json, files_below, hash_json, read_json, read_text, replacing, write_text
from benchmark.project import Domain, Project
from benchmark.provenance import MANIFEST

FOLDER: Final = "mteb"
META: Final = "model_meta.json"
_MAIN: Final = "ndcg_at_10"


class KeptRun(NamedTuple):
    """A finished run of the present test set.

    Attributes:
        spec: The model spec.
        fingerprint: Of the model that it was made with.
        manifest: The evaluate stage's.
    """

    spec: str
    fingerprint: str
    manifest: Json

    @property
    def folder(self) -> str:
        """Of the model, in mteb's layout."""
        return model_folder(self.spec, self.fingerprint)


def model_folder(spec: str, fingerprint: str) -> str:
    """Where mteb looks for a model's results, below its cache folder.

    >>> model_folder("bm25", "ab12")
    'results/local__bm25/ab12'
    """
    return f"results/local__{spec}/{fingerprint}"


def write_layout(project: Project, domain: Domain) -> Path:
    """Bring `results/<domain>/mteb` up to date with the kept runs; what no run stands for any more is taken out.

    mteb itself is only loaded where there is a new model to describe.

    Args:
        project: Has the specs, which tell parameters and dimensions.
        domain: Whose runs; those of another test set, other passages or other candidates than the present are left out.

    Returns:
        The folder, which is what `mteb.ResultCache` is given.
    """
    folder = domain.results / FOLDER
    runs = list(_kept_runs(domain))
    results = {f"{run.folder}/{run.manifest['facts']['task']}.json": _text(domain, run.manifest) for run in runs}
    models = {f"{run.folder}/{META}": run for run in runs}
    there = {path.relative_to(folder).as_posix(): path for path in files_below(folder)} if folder.is_dir() else {}
    same = there.keys() == {*results, *models}
    same = same and all(read_text(there[name]) == text for name, text in results.items())
    if same and all(_describes(there[name], project, run) for name, run in models.items()):
        return folder
    with replacing(folder) as target:
        for name, text in results.items():
            write_text(target / name, text)
        for name, run in models.items():
            write_text(target / name, json.dumps(model_meta(project, run.spec, run.fingerprint), indent=2) + "\n")
    return folder


def _kept_runs(domain: Domain) -> Iterator[KeptRun]:
    present = {name: _outputs(domain.results / name) for name in ("chunks", "testset", "candidates")}
    for kind in TASK_KINDS:
        # As the run's stage has them among its inputs.
        wanted = {name: present[name] for name in _inputs(kind)}
        runs = domain.results / "runs" / kind
        for folder in sorted(runs.iterdir()) if runs.is_dir() else ():
            path = folder / MANIFEST
            if folder.name.startswith(".") or not path.is_file():
                continue
            manifest = read_json(path)
            facts, inputs = manifest.get("facts", {}), manifest.get("inputs", {})
            if all(inputs.get(name) == sha for name, sha in wanted.items()) and _MAIN in facts.get("scores", {}):
                yield KeptRun(facts["spec"], facts["model"], manifest)


def _inputs(kind: TaskKind) -> tuple[str, ...]:
    return ("chunks", "testset", "candidates") if kind == "reranking" else ("chunks", "testset")


def _outputs(folder: Path) -> str:
    path = folder / MANIFEST
    return hash_json(read_json(path)["outputs"]) if path.is_file() else ""


def _text(domain: Domain, manifest: Json) -> str:
    return json.dumps(task_result(domain, manifest), indent=2) + "\n"


def task_result(domain: Domain, manifest: Json) -> Json:
    """What mteb's TaskResult holds, from a run's manifest."""
    facts, version = manifest["facts"], manifest.get("packages", {}).get("mteb")
    scores = facts["scores"]
    row = {
        **scores,
        "main_score": scores[_MAIN],
        "hf_subset": "default",
        "languages": [domain.spec.language],
        "mteb_version": version,
    }
    return {
        # The hash of queries and judgements that the run was scored on: no commit has them, and it must tell them apart.
        "dataset_revision": facts["testset"][:40],
        "task_name": facts["task"],
        "mteb_version": version,
        "scores": {"test": [row]},
        "evaluation_time": manifest.get("seconds"),
        "kg_co2_emissions": None,
        "date": None,
        "evaluation_phases": None,
    }


def model_meta(project: Project, name: str, fingerprint: str) -> Json:
    """What mteb's ModelMeta holds, as far as it is known."""
    from mteb.models import ModelMeta

    meta = ModelMeta.create_empty(overwrites={**_known(project, name, fingerprint), "modalities": ["text"]})
    plain: Json = json.loads(json.dumps(meta.to_dict(), default=str))
    return plain


def _known(project: Project, name: str, fingerprint: str) -> Json:
    """Under mteb's names."""
    identity: Json = {"name": f"local/{name}", "revision": fingerprint}
    try:
        spec = project.model_spec(name)
    except BenchError:
        return identity
    return {**identity, "n_parameters": spec.parameters, "embed_dim": spec.dimensions, "max_tokens": spec.max_length}


def _describes(path: Path, project: Project, run: KeptRun) -> bool:
    """Whether a `model_meta.json` says of the model what is known of it now."""
    try:
        there = read_json(path)
    except BenchError:
        return False
    return all(there.get(key) == value for key, value in _known(project, run.spec, run.fingerprint).items())
