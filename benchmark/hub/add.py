"""`domainbench add`: a model on the Hub becomes a model spec, pinned to a commit. No weights are fetched for it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmark.console import Reporter
from benchmark.downloads import Repository
from benchmark.errors import BenchError, did_you_mean
from benchmark.files import Json, shown, write_text
from benchmark.hub.add_request import AddRequest
from benchmark.hub.description import Described, describe
from benchmark.hub.prompts import question
from benchmark.hub.spec_text import spec_text
from benchmark.project import Project
from benchmark.specs import BenchmarkSpec, ModelSpec, parse_spec, read_spec
from benchmark.specs.base import Name

_ID: Final = re.compile(r"[\w.-]+/[\w.-]+")
_NAME: Final = re.compile(r"[^A-Za-z0-9._+-]+")


@dataclass(frozen=True)
class Added:
    """What came of it.

    Attributes:
        name: Of the spec to evaluate: the model's, or the pipeline's around a reranker.
        written: The files; none where all stood there already.
        lines: What was found, in order.
        warnings: What the user should know before any figure is believed.
        compared: Whether it takes part without being named.
    """

    name: str
    written: tuple[Path, ...]
    lines: tuple[str, ...]
    warnings: tuple[str, ...]
    compared: bool


def add_model(project: Project, request: AddRequest, reporter: Reporter) -> Added:
    """Write `model_specs/<name>.yaml`, and for a reranker `<retriever>+<name>.yaml` as well.

    Raises:
        BenchError: The Hub does not give the model; it is of no kind that is compared here; it needs code or pickled
            weights and the user did not allow that; or another file of this name stands there. Nothing is written then.
    """
    request = replace(request, repository=_id(request.repository))
    found = describe(project, request, reporter)
    # What is replaced is the file of the name that the user has in mind, never one that stands there under another.
    standing = None if request.force else _standing(project, found)
    name = _checked(request.name or standing or _NAME.sub("-", found.model.name).strip("-._+"))
    value = _spec(found, request)
    parse_spec(ModelSpec, value, f"model_specs/{name}.yaml")
    texts = {} if _stands(project, name, value, request.force) else {name: _text(found, value)}
    best = name
    if found.kind == "cross-encoder":
        best, text = _pipeline(project, name, request)
        texts |= {best: text} if text else {}
    written = []
    for spec, text in texts.items():
        path = project.specs_folder / f"{spec}.yaml"
        write_text(path, text)
        written.append(path)
    return Added(best, tuple(written), tuple(found.lines), found.warnings, project.model_spec(best).compare)


def _id(text: str) -> str:
    """The model's id.

    Raises:
        BenchError: It is none.
    """
    page = Repository("").page
    repository = text.strip().removeprefix(page).removeprefix("https://huggingface.co/").strip("/")
    if not _ID.fullmatch(repository):
        raise BenchError(f"{text}: is no id of a model on the Hub; one like organisation/name is expected")
    return repository


def _checked(name: str) -> str:
    """A name that a model spec can have.

    Raises:
        BenchError: It is none.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise BenchError(
            f"'{name}' is no name for a model spec (letters, digits and ._+- in it, 96 at most); choose a --name"
        ) from None


def _standing(project: Project, found: Described) -> str | None:
    """The spec that has this model at this commit already, under whatever name; on another backend it is another one."""
    for name in project.spec_names:
        try:
            spec = project.model_spec(name)
        except BenchError:  # told by `domainbench check`
            continue
        if (spec.hub, spec.revision, spec.backend) == (found.model.id, found.model.commit, "torch"):
            return name
    return None


def _stands(project: Project, name: str, value: Json, force: bool) -> bool:
    """Whether the file has this model at this commit; what a person changed in it stays.

    Raises:
        BenchError: It is another model's, or another commit's.
    """
    twin = next((one for one in project.spec_names if one != name and one.casefold() == name.casefold()), None)
    if twin is not None:
        # Some file systems would take the two for one file.
        raise BenchError(f"{project.specs_folder.name}/{twin}.yaml: its name differs only in case; choose a --name")
    if name not in project.spec_names or force:
        return False
    where = f"model_specs/{name}.yaml"
    spec = project.model_spec(name)
    if spec.hub != value["hub"]:
        what = spec.hub or f"{spec.source} spec"
        raise BenchError(f"{where}: is another model's ({what}); choose a --name, or replace it with --force")
    if spec.revision != value["revision"]:
        raise BenchError(
            f"{where}: pins {spec.revision or 'no commit'}, not {value['revision']}; replace it with --force, or choose "
            "a --name to compare both"
        )
    return True


def _spec(found: Described, request: AddRequest) -> Json:
    """The spec's keys, in the order in which a person reads them; what is unknown is left out."""
    model, prompts = found.model, found.prompts.value
    alone = found.kind != "cross-encoder"
    value: Json = {
        "description": f"{model.id} ({found.kind}) from the Hugging Face Hub",
        "hub": model.id,
        "revision": model.commit,
        "kind": None if found.kind == "bi-encoder" else found.kind,
        "prompts": prompts.model_dump() if prompts else None,
        "max_length": found.max_length,
        "trust_remote_code": found.own_code or None,
        "pickled": found.pickled or None,
        "compare": (request.compare and alone) or None,
        "licence": found.licence,
        "parameters": found.parameters,
        "dimensions": found.dimensions,
        "provenance": {
            "prompts": found.prompts.source,
            "training_data": list(found.training.names) if found.training.names else "unknown",
            "training_data_from": list(found.training.sources) or None,
            "languages": list(model.declared.languages) if model.declared.languages else "unknown",
            "base_model": list(model.declared.base_models) if model.declared.base_models else None,
        },
    }
    value["provenance"] = {key: entry for key, entry in value["provenance"].items() if entry is not None}
    return {key: entry for key, entry in value.items() if entry is not None}


def _text(found: Described, value: Json) -> str:
    head = [f"Written by `domainbench add {found.model.id}`; yours to edit."]
    if found.unknown:
        head.append(f"UNKNOWN, since nobody declares it: {', '.join(found.unknown)}.")
    head += [f"CAUTION: {warning}." for warning in found.warnings]
    asked = [] if found.prompts.known else question(found.model.id, found.prompts.offered)
    return spec_text(head, value, asked)


def _pipeline(project: Project, reranker: str, request: AddRequest) -> tuple[str, str | None]:
    """Name and text of the spec that puts a reranker behind a first stage; no text where it stands already.

    One that stands there stays as it is, also with `--force`, where only its reranker is replaced.

    Raises:
        BenchError: There is no first stage, or another file of this name stands there.
    """
    retriever = request.retriever or _baseline(project)
    if retriever not in project.spec_names:
        known = did_you_mean(retriever, project.spec_names)
        raise BenchError(f"model_specs/{retriever}.yaml: no such model spec to put before the reranker; {known}")
    if project.model_spec(retriever).kind == "cross-encoder":
        raise BenchError(f"model_specs/{retriever}.yaml: is a reranker itself; name a --retriever to put before it")
    name = _checked(f"{retriever}+{reranker}")
    value: Json = {
        "description": f"The best hits of {retriever}, ranked anew by {reranker}",
        "retriever": retriever,
        "reranker": reranker,
        "depth": ModelSpec.model_fields["depth"].default,
        **({"compare": True} if request.compare else {}),
    }
    parse_spec(ModelSpec, value, f"model_specs/{name}.yaml")
    if name in project.spec_names:
        spec = project.model_spec(name)
        if (spec.retriever, spec.reranker) == (retriever, reranker):
            return name, None
        if not request.force:
            raise BenchError(f"model_specs/{name}.yaml: is another model's; replace it with --force")
    head = [f"Written by `domainbench add {request.repository}`; yours to edit. A reranker is compared in a pipeline."]
    return name, spec_text(head, value)


def _baseline(project: Project) -> str:
    """The benchmark file's baseline.

    Raises:
        BenchError: There is no benchmark file.
    """
    path = project.root / "benchmark.yaml"
    if not path.is_file():
        raise BenchError(f"{shown(path)}: no such file, so there is no baseline; name a --retriever for the reranker")
    return read_spec(BenchmarkSpec, path).baseline


def next_steps(project: Project, added: Added) -> Iterator[str]:
    """What to do with what was added."""
    for path in added.written:
        yield f"wrote {shown(path)}"
    if not added.written:
        yield f"model_specs/{added.name}.yaml: stands there already, at this commit; nothing was changed"
    if added.compared:
        yield "next: domainbench run (only what is new is computed)"
        path = project.root / "benchmark.yaml"
        if path.is_file() and not read_spec(BenchmarkSpec, path).added:
            yield f"{shown(path)} says 'added: false': name {added.name} under 'models:' there first"
    else:
        yield f"next: domainbench evaluate {added.name}; to compare it, name it under 'models:' in the benchmark file"
