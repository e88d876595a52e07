"""A tuned model with its card, and in the card what the leaderboard measured of this very model."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from benchmark.errors import BenchError
from benchmark.escape import code, md
from benchmark.files import Json, dump_yaml, read_text, shown
from benchmark.hub.parcel import Item, LeftOut, Parcel, files_of, unique, without_home
from benchmark.hub.publish_request import Request
from benchmark.hub.publish_results import read_board
from benchmark.licences import hub_licence
from benchmark.project import Domain, Project
from benchmark.provenance import MANIFEST
from benchmark.reporting.board import TASKS, Leaderboard
from benchmark.reporting.systems import System
from benchmark.specs import ModelSpec
from benchmark.training.licences import caution
from benchmark.training.wording import FOLDER
from benchmark.weights import ADAPTER_FILE, TRAINED_CHUNKS, model_fingerprint

_CARD: Final = "README.md"
_STAYS: Final = {
    MANIFEST: "how it was made here, file by file; the card tells the rest",
    TRAINED_CHUNKS: "names of the documents' passages; only this project's report needs them",
    _CARD: "",  # made anew
}
_OWNED: Final = (
    *("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json", ADAPTER_FILE),
    *("config.json", "config_sentence_transformers.json", "sentence_bert_config.json", "modules.json"),
    # Modules of sentence-transformers, and those within a router.
    *(
        f"{folder}/{name}"
        for folder in ("[0-9]_*", "[0-9]_*/*_[0-9]_*")
        for name in ("*config*.json", "model.safetensors")
    ),
)
"""What training saves of a model; anything else in its repository is somebody else's."""
_TYPES: Final = {"retrieval": "text-retrieval", "reranking": "text-ranking"}
"""Our tasks as the Hub calls them."""


class Place(NamedTuple):
    """A data set on the Hub that has the test set; `revision` may be unknown."""

    name: str
    revision: str | None


class Lies(NamedTuple):
    """Where a model's folder is, and the project's own folder around it, out of which nothing may lead."""

    folder: Path
    inside: Path


class Measured(NamedTuple):
    """A model's place in a leaderboard."""

    board: Leaderboard
    system: System
    domain: Domain
    place: Place | None


def model_parcel(project: Project, domain: Domain, request: Request, scratch: Path) -> Parcel:
    """The folder of a tuned model.

    Args:
        project: Has the spec.
        domain: On whose leaderboard it may stand.
        request: Names the spec.
        scratch: Not needed.

    Raises:
        BenchError: No such spec, one without a folder in the project, or a folder without a card.
    """
    if request.model is None:
        raise BenchError("publish model: name the model's spec with --model")
    spec = project.model_spec(request.model)
    folder, home = _folder(project, request.model, spec)
    items: list[Item] = []
    left_out: list[LeftOut] = []
    for path in files_of(folder, home):
        name = path.relative_to(folder).as_posix()
        if path.name not in _STAYS:
            items.append(_cleaned(name, path))
        elif _STAYS[path.name]:
            left_out.append(LeftOut(name, _STAYS[path.name]))
    doubt = caution(f"Documents of {domain.spec.title}", domain.spec.licence)
    notes = [doubt] if doubt else []
    measured = _measured(project, domain, request, notes)
    items.append(Item.of_text(_CARD, _card(project, folder, request, measured), shown(folder / _CARD)))
    if measured is not None:
        results = list(_eval_files(measured))
        items += results
        if not results:
            why = "they name a data set on the Hub: publish the test set, then say --dataset organisation/name@commit"
            left_out.append(LeftOut(".eval_results/", why))
    return Parcel(
        "model", f"{request.model}, tuned on {domain.name}", unique(items), tuple(left_out), tuple(notes),
        owned=(*_OWNED, f".eval_results/{domain.task_name}{TASKS[0].capitalize()}.yaml"),
    )  # fmt: skip


def _folder(project: Project, name: str, spec: ModelSpec) -> Lies:
    """The folder of a `path:` or `adapter:` spec, and the project's folder that it lies in.

    Raises:
        BenchError: It has none, it is not there, outside the project, or without a card.
    """
    where, place = f"model_specs/{name}.yaml", spec.path or spec.adapter
    if place is None:
        raise BenchError(f"{where}: its source is '{spec.source}'; only a model that was tuned here can be published")
    folder = (project.root / place).resolve()
    homes = (project.root.resolve(), project.results.resolve())
    inside = next((home for home in homes if folder.is_relative_to(home)), None)
    if inside is None:
        raise BenchError(f"{where}: {place}: lies outside the project; only its own models are published")
    if not folder.is_dir():
        raise BenchError(f"{where}: {place}: no such folder (train it with: domainbench finetune)")
    if not (folder / _CARD).is_file():
        raise BenchError(f"{where}: {place}: has no {_CARD}; training writes one (domainbench finetune)")
    return Lies(folder, inside)


def _cleaned(name: str, path: Path) -> Item:
    """A file as it goes; a configuration loses the folder that the model was loaded from."""
    if path.suffix != ".json" or path.stat().st_size > 1_000_000:
        return Item.of_file(name, path)
    try:
        value = json.loads(read_text(path))
    except json.JSONDecodeError:
        return Item.of_file(name, path)
    came_from = value.get("_name_or_path") if isinstance(value, dict) else None
    if not isinstance(came_from, str) or not came_from.startswith(("/", "~", "\\")):
        return Item.of_file(name, path)
    rest = {key: inner for key, inner in value.items() if key != "_name_or_path"}
    return Item.of_text(name, json.dumps(rest, indent=2, ensure_ascii=False) + "\n", shown(path))


# --- what was measured ----------------------------------------------------------------------------------------------


def _measured(project: Project, domain: Domain, request: Request, notes: list[str]) -> Measured | None:
    """The model's place in the leaderboard, if it is this very model that was measured; a note where it is not."""
    name = str(request.model)
    try:
        board, fingerprint = read_board(domain), model_fingerprint(project, name)
    except BenchError as error:
        notes.append(f"the card gets no evaluation results: {error.problems[0]}")
        return None
    found = same_model(board, name, fingerprint)
    if found is None:
        known = any(system.name == name for system in board.systems)
        why = "measured another state of it (its fingerprint differs)" if known else f"has no model '{name}'"
        notes.append(
            f"the card gets no evaluation results: the leaderboard of {domain.name} {why}; "
            "domainbench evaluate, then domainbench leaderboard"
        )
        return None
    return Measured(board, found, domain, _place(domain, request))


def same_model(board: Leaderboard, name: str, fingerprint: str) -> System | None:
    """The system of a leaderboard that is this very model, by its fingerprint; its own name is looked at first."""
    same = [system for system in board.systems if system.fingerprint == fingerprint]
    return next((system for system in same if system.name == name), same[0] if same else None)


def _place(domain: Domain, request: Request) -> Place | None:
    """Where the test set is on the Hub, as far as anybody has said."""
    if request.dataset is not None:
        name, _, revision = request.dataset.partition("@")
        return Place(name, revision or None)
    hub = domain.spec.hub
    return Place(hub.repository, hub.revision) if hub is not None else None


def _results(measured: Measured) -> Iterator[Any]:
    """One `EvalResult` for each task and metric, from 0 to 1."""
    from huggingface_hub import EvalResult

    board, place = measured.board, measured.place
    for task in TASKS:
        for metric in board.metrics:
            mean = board.mean(task, measured.system.name, metric)
            yield EvalResult(
                task_type=_TYPES[task],
                task_name=board.task_names[task],
                # Without a place on the Hub the data set is named as the domain is, never by a local path.
                dataset_type=place.name if place else measured.domain.name,
                dataset_name=board.title,
                dataset_split="test",
                dataset_revision=place.revision if place else None,
                metric_type=metric.mteb_key(board.settings.top_k),
                metric_name=metric.label,
                metric_value=round(mean.mean, 5),
            )


def _eval_files(measured: Measured) -> Iterator[Item]:
    """`.eval_results/<Task>.yaml`, from 0 to 100; only where the data set is on the Hub."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    place, board = measured.place, measured.board
    if place is None:
        return
    task = TASKS[0]
    mean = board.mean(task, measured.system.name)
    entry = EvalResultEntry(
        dataset_id=place.name,
        task_id=board.task_names[task],
        value=round(100 * mean.mean, 3),
        dataset_revision=place.revision,
        notes=f"{board.main.label} of {len(board.queries)} queries",
    )
    text = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, allow_unicode=True)
    yield Item.of_text(f".eval_results/{board.task_names[task]}.yaml", text)


# --- the card -------------------------------------------------------------------------------------------------------


def _card(project: Project, folder: Path, request: Request, measured: Measured | None) -> str:
    """The card that training wrote, with the repository's name in its code and the figures of the leaderboard."""
    text = without_home(read_text(folder / _CARD), project.root)
    parts = re.fullmatch(r"---\n(.*?\n)---\n(.*)", text, re.DOTALL)
    if parts is None:
        raise BenchError(f"{shown(folder / _CARD)}: has no head (--- ... ---); train the model anew")
    front: Json = yaml.safe_load(parts[1]) or {}
    body = _for_hub(parts[2], request.to)
    if request.licence is not None:
        front.pop("license_name", None)
        front |= hub_licence(request.licence)
    if measured is not None:
        from huggingface_hub.repocard_data import eval_results_to_model_index

        front["model-index"] = eval_results_to_model_index(str(request.model), list(_results(measured)))
        body = f"{body.rstrip()}\n\n{_section(measured)}"
    return f"---\n{dump_yaml(front)}---\n{body}"


def _for_hub(body: str, to: str) -> str:
    """Code that loads the model from the Hub in place of a folder."""
    matrices = f'load_file("{FOLDER}/{ADAPTER_FILE}")'
    if matrices in body:
        body = body.replace(matrices, f'load_file(hf_hub_download("{to}", "{ADAPTER_FILE}"))')
        body = body.replace(
            "from safetensors.numpy import",
            "from huggingface_hub import hf_hub_download\nfrom safetensors.numpy import",
            1,
        )
    return body.replace(FOLDER, to)


def _section(measured: Measured) -> str:
    """The leaderboard's figures as a table."""
    board, name, first = measured.board, measured.system.name, measured.board.baseline
    lines = [
        f"## Evaluation: {md(board.title)}",
        "",
        f"{len(board.queries)} questions of the test set, beside the baseline {code(first.name)}.",
        "",
        "| Task | Metric | This model (95 % interval) | Baseline |",
        "| :-- | :-- | --: | --: |",
    ]
    for task in TASKS:
        for metric in board.metrics:
            mean, base = board.mean(task, name, metric), board.mean(task, first.name, metric)
            ends = "" if mean.low is None or mean.high is None else f" ({mean.low:.4f} to {mean.high:.4f})"
            lines.append(
                f"| {code(board.task_names[task])} | {metric.label} | {mean.mean:.4f}{ends} | {base.mean:.4f} |"
            )
    return "\n".join([*lines, ""])
