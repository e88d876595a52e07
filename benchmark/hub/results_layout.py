"""The runs of a leaderboard as mteb lays out results (`benchmark.evaluation.layout`)."""

import json
from typing import NamedTuple

from benchmark.evaluation.layout import META, model_folder, model_meta, task_result
from benchmark.files import dump_json, read_json, shown
from benchmark.hub.parcel import Item, LeftOut
from benchmark.project import Domain, Project
from benchmark.provenance import MANIFEST
from benchmark.reporting.board import TASKS, Leaderboard


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
        folder = model_folder(system.name, system.fingerprint)
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
                text = json.dumps(task_result(domain, manifest), indent=2) + "\n"
                items.append(Item.of_text(f"{folder}/{facts['task']}.json", text, shown(place)))
                found += 1
        if found:
            items.append(
                Item.of_text(f"{folder}/{META}", dump_json(model_meta(project, system.name, system.fingerprint)))
            )
    return Layout(items, left_out)
