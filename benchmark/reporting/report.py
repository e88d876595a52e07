"""`results/<domain>/report.md` and its plots: the leaderboard explained, from kept runs and manifests alone."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from benchmark.console import Reporter
from benchmark.escape import code, md
from benchmark.files import Json, read_json, shown, write_text
from benchmark.pages import flat_facts, markdown_templates, plain_name
from benchmark.project import Domain, Project
from benchmark.provenance import MANIFEST
from benchmark.records import Chunk, Run, TestSet, read_chunks, read_testset
from benchmark.reporting import render
from benchmark.reporting.board import FEW, TASKS, Leaderboard
from benchmark.reporting.changes import Changes, changes
from benchmark.reporting.inputs import RUN
from benchmark.reporting.plots import Plot, write_plots
from benchmark.reporting.seen import by_seen, seen_table, trained_passages
from benchmark.reporting.systems import System
from benchmark.reporting.tuning import tuning_section
from benchmark.reporting.verdicts import HOW_TO, forgetting_section, verdict_sentence
from benchmark.runs import read_run
from benchmark.specs import BenchmarkSpec

NAME = "report.md"
PLOTS = "plots"
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
_TEMPLATES = Path(__file__).parent / "templates"


def make_report(
    project: Project, domain: Domain, benchmark: BenchmarkSpec, leaderboard: Leaderboard, reporter: Reporter
) -> Path:
    """Write `report.md` and `plots/*.png`; the same runs and manifests give the same bytes.

    Args:
        project: What the report's path is told relative to.
        domain: Whose report it is.
        benchmark: What was run.
        leaderboard: What `make_leaderboard` returned.
        reporter: Where notes go.

    Returns:
        The path of `report.md`.

    Raises:
        BenchError: Chunks, test set or runs are missing.
    """
    plots = write_plots(leaderboard, domain.results / PLOTS)
    testset, chunks = read_testset(domain.testset), read_chunks(domain.chunks / "chunks.jsonl")
    manifests = dict(_manifests(project, domain, benchmark))
    path = domain.results / NAME
    text = markdown_templates(_TEMPLATES).get_template("report.md.jinja").render(
        board=leaderboard,
        domain=domain,
        benchmark=benchmark,
        figures=_figures(leaderboard),
        plots={plot.file.removesuffix(".png"): _image(plot) for plot in plots},
        sizes=_sizes(chunks, testset),
        few=FEW,
        systems=_systems(leaderboard),
        synthetic=_synthetic(manifests.get("generate")),
        seen=_seen(domain, leaderboard, testset),
        forgetting=list(forgetting_section(leaderboard, leaderboard.general)) if leaderboard.general else [HOW_TO],
        tuning=tuning_section(leaderboard),
        trained=[_trained(name, manifests) for name in _trained_names(benchmark, manifests)],
        changes=list(_changes(domain, leaderboard, testset, chunks)),
        seconds=_seconds(manifests),
        surroundings=_surroundings(manifests),
    )  # fmt: skip
    write_text(path, text)
    where = path.relative_to(project.root).as_posix() if path.is_relative_to(project.root) else shown(path)
    reporter.note(f"report: {where} with {len(plots)} plots")
    return path


# --- results --------------------------------------------------------------------------------------------------------


def _figures(board: Leaderboard) -> dict[str, Any]:
    """Tables and sentences that come from the leaderboard alone."""
    order = [system.name for system in board.subjects]
    order += [system.name for system in board.ranked(TASKS[0]) if system.name not in order]
    rivals = [name for name in order if name != board.baseline.name]
    main = [row for name in rivals if (row := board.comparison(TASKS[0], name)) is not None]
    return {
        "sentences": [_in_short(board, name) for name in rivals],
        "example": main[0] if main else None,
        "questions": render.questions_line(board),
        "headline": render.headline_table(board, "retrieval"),
        "metrics": render.metric_table(board, "retrieval"),
        "categories": render.category_table(board, "retrieval"),
        "reranking": render.headline_table(board, "reranking"),
        "ceiling": render.ceiling_line(board),
        "legend": render.legend(board),
    }


def _in_short(board: Leaderboard, name: str) -> Markup:
    said = render.sentence(board, name)
    return said if board.general is None else said + Markup(" ") + verdict_sentence(board, name)


def _image(plot: Plot) -> Markup:
    return Markup("![{}]({}/{})").format(md(plot.caption), PLOTS, plot.file)


def _systems(board: Leaderboard) -> Markup:
    rows = [
        [
            render.system_cell(board, system.name),
            system.kind,
            system.description,
            system.licence,
            f"{system.parameters / 1e6:.1f} M" if system.parameters else "",
            system.dimensions or "",
        ]
        for system in board.systems
    ]
    return render.table(["Model", "What it is", "Description", "Licence", "Parameters", "Dimensions"], rows, left=4)


def _changes(
    domain: Domain, board: Leaderboard, testset: TestSet, chunks: Sequence[Chunk]
) -> Iterator[tuple[System, Changes]]:
    """The questions that gained and lost most, for each system worth a closer look."""

    def run(name: str) -> Run:
        return read_run(domain.run("retrieval", name) / RUN)

    passages = {chunk.id: chunk for chunk in chunks}
    before = run(board.baseline.name)
    for system in board.subjects:
        yield system, changes(board, system.name, testset, passages, before, run(system.name))


# --- data -----------------------------------------------------------------------------------------------------------


def _sizes(chunks: Sequence[Chunk], testset: TestSet) -> dict[str, Any]:
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


def _synthetic(manifest: Json | None) -> dict[str, Markup] | None:
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


def _seen(domain: Domain, board: Leaderboard, testset: TestSet) -> Markup | None:
    rows = by_seen(board, testset.qrels, trained_passages(domain, board))
    return seen_table(rows) if rows else None


def _trained_names(benchmark: BenchmarkSpec, manifests: Mapping[str, Json]) -> list[str]:
    return [name for run in benchmark.finetune for name in run.emits if f"finetune {name}" in manifests]


def _trained(name: str, manifests: Mapping[str, Json]) -> dict[str, Any]:
    manifest = manifests[f"finetune {name}"]
    settings = {key: value for key, value in manifest.get("settings", {}).items() if key != "name"}
    return {
        "name": code(name),
        "settings": _facts_table(settings, ("Setting", "Value")),
        "facts": _facts_table(manifest.get("facts", {})),
    }


def _facts_table(facts: Mapping[str, Any], head: tuple[str, str] = ("What", "Figure")) -> Markup:
    return render.table(head, list(flat_facts(facts)))


# --- manifests ------------------------------------------------------------------------------------------------------


def _manifests(project: Project, domain: Domain, benchmark: BenchmarkSpec) -> Iterator[tuple[str, Json]]:
    """Stage -> manifest, in the order of work, as far as there is one."""
    folders = {"ingest": domain.chunks, "test set": domain.testset, "generate": domain.synthetic}
    folders |= {f"finetune {name}": domain.model(name) for run in benchmark.finetune for name in run.emits}
    folders["candidates"] = domain.candidates
    for spec in benchmark.compared:
        folders |= {f"evaluate {spec} ({task})": domain.run(task, spec) for task in TASKS}
        folders |= {f"evaluate {spec} ({name})": project.domain(name).run(TASKS[0], spec) for name in benchmark.general}
    for stage, folder in folders.items():
        if (folder / MANIFEST).is_file():
            yield stage, read_json(folder / MANIFEST)


def _seconds(manifests: Mapping[str, Json]) -> Markup:
    rows = [
        [stage, manifest.get("device", ""), f"{manifest['seconds']:.1f}"]
        for stage, manifest in manifests.items()
        if "seconds" in manifest
    ]
    return render.table(["Stage", "Device", "Seconds"], rows, left=2)


def _surroundings(manifests: Mapping[str, Json]) -> list[dict[str, Any]]:
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
