"""Kept runs as mteb lays out results: `results/<org__model>/<revision>/{<Task>.json, model_meta.json}`.

`mteb.ResultCache(folder).load_results()` reads them. A model is called `local/<spec>`, as it was when mteb scored it,
and its revision is our fingerprint: the name on the Hub alone would hide prompts, lengths and compositions, and mix
these figures with those of others.
"""

import json
from typing import Final, NamedTuple

from benchmark.errors import BenchError
from benchmark.files import Json, dump_json, read_json, shown
from benchmark.hub.parcel import Item, LeftOut
from benchmark.project import Domain, Project
from benchmark.provenance import MANIFEST
from benchmark.reporting.board import TASKS, Leaderboard

_MAIN: Final = "ndcg_at_10"


class Layout(NamedTuple):
    """The files, and the runs that are none of this leaderboard's."""

    items: list[Item]
    left_out: list[LeftOut]


def results_layout(project: Project, domain: Domain, board: Leaderboard) -> Layout:
    """The runs that a leaderboard was made from, in mteb's layout.

    Args:
        project: Has the specs.
        domain: Whose runs.
        board: Its leaderboard: a run of another model or test set than it shows is left out.
    """
    items: list[Item] = []
    left_out: list[LeftOut] = []
    for system in board.systems:
        folder = f"results/local__{system.name}/{system.fingerprint}"
        found = 0
        for task in TASKS:
            place = domain.run(task, system.name) / MANIFEST
            manifest = read_json(place) if place.is_file() else {}
            facts = manifest.get("facts", {})
            if not facts:
                left_out.append(LeftOut(f"{folder}/{board.task_names[task]}.json", "the run is not kept here"))
            elif (facts.get("model"), facts.get("testset")) != (system.fingerprint, board.testset):
                why = "the kept run is of another model or test set than the leaderboard's"
                left_out.append(LeftOut(f"{folder}/{board.task_names[task]}.json", why))
            else:
                text = json.dumps(_task_result(domain, manifest), indent=2) + "\n"
                items.append(Item.of_text(f"{folder}/{facts['task']}.json", text, shown(place)))
                found += 1
        if found:
            items.append(
                Item.of_text(f"{folder}/model_meta.json", dump_json(_meta(project, system.name, system.fingerprint)))
            )
    return Layout(items, left_out)


def _task_result(domain: Domain, manifest: Json) -> Json:
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


def _meta(project: Project, name: str, fingerprint: str) -> Json:
    """What mteb's ModelMeta holds, as far as it is known."""
    from mteb.models import ModelMeta

    try:
        spec = project.model_spec(name)
        known = {"n_parameters": spec.parameters, "embed_dim": spec.dimensions, "max_tokens": spec.max_length}
    except BenchError:
        known = {}
    meta = ModelMeta.create_empty(
        overwrites={"name": f"local/{name}", "revision": fingerprint, "modalities": ["text"], **known}
    )
    plain: Json = json.loads(json.dumps(meta.to_dict(), default=str))
    return plain
