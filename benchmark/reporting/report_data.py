"""What a report tells of data, training, hardware and versions, from the manifests that the stages left."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from benchmark.escape import code
from benchmark.files import Json, read_json
from benchmark.pages import flat_facts, plain_name
from benchmark.project import Domain, Project
from benchmark.provenance import MANIFEST
from benchmark.records import Chunk, TestSet
from benchmark.reporting import render
from benchmark.reporting.board import TASKS
from benchmark.specs import BenchmarkSpec

_SYNTHETIC = (
    "written",
    "kept",
    "round_trip",
    "leak",
    "negatives",
    "scores",
    "llm",
    "rows",
    "development_by",
    "excluded_chunks",
)
"""Facts of the generate stage that a reader of the report wants; the data card beside the data has all."""

_DETAILS = ("types", "excluded_among_the_closest", "by")


def sizes(chunks: Sequence[Chunk], testset: TestSet) -> dict[str, Any]:
    """How large the corpus and the test set are."""
    words = sorted(len(chunk.text.split()) for chunk in chunks)
    counted = Counter(query.category for query in testset.queries)
    relevant = [len(testset.qrels[query.id]) for query in testset.queries]
    return {
        "documents": len({chunk.document for chunk in chunks}),
        "chunks": len(chunks),
        "median_words": words[len(words) // 2] if words else 0,
        "unanswerable": len(testset.unanswerable),
        "relevant": sum(relevant) / len(relevant),
        "categories": render.table(["Category", "Questions"], list(counted.items())),
    }


def synthetic(manifest: Json | None) -> dict[str, Markup] | None:
    """Tables of the training data and of the filters' funnel; None where none were made."""
    if manifest is None:
        return None
    facts = dict(manifest.get("facts", {}))
    funnel = facts.get("funnel", [])
    shown = {name: facts[name] for name in _SYNTHETIC if name in facts}
    tables = {"facts": _facts_table(shown)}
    if funnel:
        rows = [[plain_name(step["rule"]), step["before"], step["dropped"], step["kept"]] for step in funnel]
        tables["funnel"] = render.table(["Rule", "Before", "Dropped", "Kept"], rows)
    return tables


def trained_names(benchmark: BenchmarkSpec, manifests: Mapping[str, Json]) -> list[str]:
    """Models that training runs of this benchmark file made."""
    return [name for run in benchmark.finetune for name in run.emits if f"finetune {name}" in manifests]


def trained(name: str, manifests: Mapping[str, Json]) -> dict[str, Any]:
    """Settings and outcome of a training run."""
    manifest = manifests[f"finetune {name}"]
    settings = {key: value for key, value in manifest.get("settings", {}).items() if key != "name"}
    return {
        "name": code(name),
        "settings": _facts_table(settings, ("Setting", "Value")),
        "facts": _facts_table(manifest.get("facts", {})),
    }


def _facts_table(facts: Mapping[str, Any], head: tuple[str, str] = ("What", "Figure")) -> Markup:
    return render.table(head, list(flat_facts(_brief(facts))))


def _brief(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Without what only the data card and the model card go into: counts by kind, lists of everything that was tried.

    >>> _brief({"k": 3, "types": {"edge": 7}, "choice": {"share": 1, "mixtures": [{"share": 0}]}})
    {'k': 3, 'choice': {'share': 1}}
    """
    return {
        key: _brief(value) if isinstance(value, Mapping) else value
        for key, value in facts.items()
        if key not in _DETAILS and not (isinstance(value, list) and value and isinstance(value[0], Mapping))
    }


# --- manifests ------------------------------------------------------------------------------------------------------


def manifests(project: Project, domain: Domain, benchmark: BenchmarkSpec) -> Iterator[tuple[str, Json]]:
    """Stage -> manifest, in the order of work, as far as there is one."""
    folders = {"ingest": domain.chunks, "test set": domain.testset, "generate": domain.synthetic}
    folders |= {f"finetune {name}": domain.model(name) for run in benchmark.finetune for name in run.emits}
    folders["candidates"] = domain.candidates
    for spec in benchmark.compared:
        folders |= {f"evaluate {spec} ({task})": domain.run(task, spec) for task in TASKS}
        folders |= {f"evaluate {spec} ({name})": project.domain(name).run(TASKS[0], spec) for name in benchmark.general}
    folders |= {"answers": domain.answers, "judges": domain.judged}
    for stage, folder in folders.items():
        if (folder / MANIFEST).is_file():
            yield stage, read_json(folder / MANIFEST)


def of_runs(found: Mapping[str, Json]) -> dict[str, Json]:
    """Model -> manifest of its retrieval run on the domain."""
    begin, end = "evaluate ", f" ({TASKS[0]})"
    return {
        stage.removeprefix(begin).removesuffix(end): manifest
        for stage, manifest in found.items()
        if stage.startswith(begin) and stage.endswith(end)
    }


def seconds(manifests: Mapping[str, Json]) -> Markup:
    """Seconds and device of each stage."""
    rows = [
        [stage, manifest.get("device", ""), f"{manifest['seconds']:.1f}"]
        for stage, manifest in manifests.items()
        if "seconds" in manifest
    ]
    return render.table(["Stage", "Device", "Seconds"], rows, left=2)


def surroundings(manifests: Mapping[str, Json]) -> list[dict[str, Any]]:
    """Versions and hardware; stages that ran in the same surroundings are told together."""
    found: dict[str, dict[str, Any]] = {}
    for stage, manifest in manifests.items():
        here = {key: manifest.get(key) for key in ("python", "device", "packages", "code")}
        found.setdefault(json.dumps(here, sort_keys=True), {**here, "stages": []})["stages"].append(stage)
    return [_surrounding(here, all_stages=len(found) == 1) for here in found.values()]


def _surrounding(here: Mapping[str, Any], *, all_stages: bool) -> dict[str, Any]:
    commit = (here["code"] or {}).get("commit", "")
    return {
        "stages": "All stages" if all_stages else "; ".join(here["stages"]),
        "python": here["python"] or "unknown",
        "device": here["device"] or "unknown",
        "packages": ", ".join(f"{name} {version}" for name, version in (here["packages"] or {}).items()),
        "commit": commit[:12],
        "dirty": bool((here["code"] or {}).get("dirty")),
    }
