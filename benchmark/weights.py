"""From a model spec to a folder of weights, and to a hash that tells any two models apart."""

import importlib.util
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from benchmark.downloads import Repository, snapshot
from benchmark.errors import BenchError
from benchmark.files import Json, files_below, hash_file, hash_json, read_json, shown
from benchmark.project import Project
from benchmark.specs import ModelSpec

_PICKLED = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
_FETCHED = (
    "*.json", "*.txt", "*.model", "*.jinja", "*.safetensors", "*.py", "artifact.metadata", "LICENSE*", "LICENCE*",
    "NOTICE*", "COPYING*",
)  # fmt: skip
"""What a model on the Hub is made of, in shell patterns."""
PYTORCH_WEIGHTS: Final = "*pytorch_model*.bin"
"""The pickled weights that transformers and sentence-transformers would read; no others are ever fetched."""
# A class of PyLate's that sentence-transformers has itself, and takes in its place.
_NO_CODE: Final = ("sentence_transformers.", "pylate.models.Dense.Dense")
ADAPTER_FILE: Final = "linear_adapter.safetensors"
"""An adapter's matrices, in its folder."""
TRAINED_CHUNKS: Final = "trained_chunks.json"
"""Beside the weights of a model that was tuned here: ids of the chunks that it was taught to find."""
# Files of a model that change no vector.
_IGNORED = (
    "README.md", "manifest.json", "model_card.md", TRAINED_CHUNKS, "LICENSE*", "LICENCE*", "NOTICE*", "COPYING*",
)  # fmt: skip
# Settings of a spec that change no ranking: words, and where the weights are taken from (their hash counts).
_WHERE = (
    "description", "licence", "parameters", "dimensions", "provenance", "path", "package", "hub", "revision", "adapter",
    "code_hash", "pickled", "compare",
)  # fmt: skip
_COMPOSED = ("hybrid", "retriever", "reranker", "base")
# Settings that came later than others: they count where they are not the default, so that older fingerprints stay.
_LATER = ("backend", "precision", "quantize", "rescore")
EXPORT_VERSION: Final = 1
"""Of how weights are brought to another backend; to be raised where the same weights give other vectors than before."""
QUANTIZE_VERSION: Final = 1
"""Of how vectors are quantised and rescored; to be raised where the same vectors give another ranking than before."""


def model_folder(project: Project, name: str, spec: ModelSpec | None = None) -> Path:
    """The local folder of a `path:`, `package:` or `hub:` spec (the Hub is asked only where it is not cached).

    Raises:
        BenchError: The folder, package or repository is not there, or holds no safetensors weights (with `pickled:`
            in the spec, no weights that transformers reads).
    """
    spec = spec or project.model_spec(name)
    where = f"model_specs/{name}.yaml"
    if spec.path is not None:
        folder = project.root / spec.path
        if not folder.is_dir():
            raise BenchError(f"{where}: path: {spec.path}: no such folder (train it with: domainbench finetune)")
    elif spec.package is not None:
        folder = package_folder(spec.package, where)
    elif spec.hub is not None:
        folder = snapshot(Repository(spec.hub, spec.revision), _fetched(spec), where, bars=True)
    else:
        raise BenchError(
            f"{where}: has no weights of its own (source: {spec.source}); name a hub, path or package spec"
        )
    _check_weights(spec, folder, where)
    if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
        raise BenchError(f"{where}: {shown(folder)}: neither config.json nor modules.json; not a model folder")
    if spec.trust_remote_code:
        _check_code(spec, folder, where)
    return folder


def _fetched(spec: ModelSpec) -> tuple[str, ...]:
    """What of a `hub:` spec's repository is fetched."""
    return (*_FETCHED, PYTORCH_WEIGHTS) if spec.pickled else _FETCHED


def _check_weights(spec: ModelSpec, folder: Path, where: str) -> None:
    """See to it that nothing is unpickled unless the spec says so.

    Raises:
        BenchError: There are no safetensors weights, or a part of the model has pickled ones only.
    """
    names = [path.relative_to(folder).as_posix() for path in files_below(folder)]
    modules = listed_modules(folder)
    left = only_pickled(names, [str(row.get("path", "")) for row in modules])
    if left and spec.pickled:
        return
    if left or not any(name.endswith(".safetensors") for name in names):
        found = left or sorted(name for name in names if any(fnmatch(name, pattern) for pattern in _PICKLED))
        why = f"only pickled weights ({found[0]}), which can run code" if found else "no weights"
        allow = "; if you trust it: pickled: true" if left and spec.hub is not None else ""
        raise BenchError(f"{where}: {shown(folder)}: {why}; a *.safetensors file is needed{allow}")


def only_pickled(names: Iterable[str], parts: Iterable[str]) -> list[str]:
    """Pickled weights of a model, or of a part of it, that has no others.

    Args:
        names: Paths of all files in the model's folder.
        parts: The folders of its modules; the model's own folder is always looked at.

    >>> only_pickled(["pytorch_model.bin", "model.safetensors", "2_Dense/pytorch_model.bin"], ["", "2_Dense"])
    ['2_Dense/pytorch_model.bin']
    """
    by_folder: dict[str, list[str]] = {part.strip("/"): [] for part in ("", *parts)}
    for name in names:
        folder, _, _ = name.rpartition("/")
        if folder in by_folder:
            by_folder[folder].append(name)
    return sorted(
        name
        for found in by_folder.values()
        if not any(other.endswith(".safetensors") for other in found)
        for name in found
        if fnmatch(name, PYTORCH_WEIGHTS)
    )


def needs_code(folder: Path) -> list[str]:
    """References to classes that a model folder brings itself; empty for most models.

    They stand under transformers' `auto_map`, and in `modules.json`, where only sentence-transformers' own classes are
    taken without code.
    """
    found = []
    for pattern in ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json"):
        for path in sorted(folder.rglob(pattern)):
            found += list(_classes(read_json(path).get("auto_map")))
    kinds = [str(row.get("type", "")) for row in listed_modules(folder)]
    return list(dict.fromkeys([*found, *(kind for kind in kinds if not kind.startswith(_NO_CODE))]))


def _classes(auto_map: Any) -> Iterator[str]:
    """The classes that an `auto_map` names: one, or a slow and a fast one, for each purpose."""
    for named in auto_map.values() if isinstance(auto_map, dict) else ():
        yield from (str(name) for name in (named if isinstance(named, list) else [named]) if name)


def listed_modules(folder: Path) -> list[Json]:
    """The rows of a model folder's `modules.json`; none where it is not there or is something else."""
    path = folder / "modules.json"
    try:
        rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    except ValueError:
        rows = []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def code_elsewhere(references: Collection[str]) -> list[str]:
    """The other repositories in which referenced code lies; no commit of the model pins it.

    >>> code_elsewhere(["modeling_x.Model", "org/other--modeling_x.Model"])
    ['org/other']
    """
    return sorted({name.split("--")[0] for name in references if "--" in name})


def code_hash(folder: Path) -> str:
    """sha256 over the Python files of a model folder."""
    files = [path for path in files_below(folder) if path.suffix == ".py"]
    return hash_json([(path.relative_to(folder).as_posix(), hash_file(path)) for path in files])


def _check_code(spec: ModelSpec, folder: Path, where: str) -> None:
    """See to it that nothing runs but what the spec has pinned.

    Raises:
        BenchError: The code lies in another repository, or is not what `code_hash` says.
    """
    elsewhere = code_elsewhere(needs_code(folder))
    if elsewhere:
        raise BenchError(
            f"{where}: the model's code lies in another repository ({', '.join(elsewhere)}), which 'revision' does "
            "not pin; copy weights and code into one repository or folder and name that"
        )
    if spec.path is not None and code_hash(folder) != spec.code_hash:
        raise BenchError(
            f"{where}: {shown(folder)}: the code in it is not what 'code_hash' says; look at its *.py files, and if "
            f"you trust them write code_hash: {code_hash(folder)}"
        )


def adapter_file(project: Project, name: str, spec: ModelSpec) -> Path:
    """The file with the matrices of an `adapter:` spec.

    Raises:
        BenchError: The folder is not there or holds no adapter.
    """
    folder = project.root / (spec.adapter or "")
    path = folder / ADAPTER_FILE
    if path.is_file():
        return path
    why = f"has no {ADAPTER_FILE}" if folder.is_dir() else "no such folder (train it with: domainbench finetune)"
    raise BenchError(f"model_specs/{name}.yaml: adapter: {spec.adapter}: {why}")


def package_folder(package: str, where: str) -> Path:
    """The folder `import_name/sub/folder` of an installed package, without importing it.

    Raises:
        BenchError: The package or the folder in it is not there.
    """
    name, _, inner = package.partition("/")
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # a name with dots whose parent is not there, or that is none
        found = None
    if found is None or not found.submodule_search_locations:
        raise BenchError(
            f"{where}: the package '{name}' is not installed; install it with: pip install {name.replace('_', '-')}"
        )
    folder = Path(found.submodule_search_locations[0], inner)
    if not folder.is_dir():
        raise BenchError(f"{where}: the package '{name}' has no folder '{inner}'")
    return folder


def model_fingerprint(project: Project, name: str) -> str:
    """A hash of everything that changes a ranking: weights, prompts, lengths, composition (sha256, hex).

    Two checkpoints that differ in one weight never share it; equal models under two names do.

    Raises:
        BenchError: As `model_folder`; also for a part of a composition.
    """
    spec = project.model_spec(name)
    parts = [model_fingerprint(project, part) for part in spec.parts]
    if spec.adapter is not None:
        parts.append(hash_file(adapter_file(project, name, spec)))
    if not spec.parts and spec.bm25 is None and spec.api is None:
        return folder_fingerprint(spec, model_folder(project, name, spec))
    return hash_json([spec.source if spec.parts else "", _settings(spec), parts])


def folder_fingerprint(spec: ModelSpec, folder: Path) -> str:
    """As `model_fingerprint`, of a spec that need not stand in the project yet.

    Args:
        spec: A `hub`, `path` or `package` spec.
        folder: Where its weights are, which need not be where it says.
    """
    # The cache of a repository is shared: other tools put files there that this package neither fetches nor loads. A
    # folder of somebody's own is taken as it is.
    return hash_json(["", _settings(spec), [weights_hash(folder, _fetched(spec) if spec.hub else ("*",))]])


def _settings(spec: ModelSpec) -> Json:
    settings = spec.model_dump(mode="json", exclude={*_WHERE, *_COMPOSED, *_LATER})
    defaults = type(spec).model_fields
    settings |= {key: value for key in _LATER if (value := getattr(spec, key)) != defaults[key].default}
    if spec.backend != "torch":
        settings["export"] = EXPORT_VERSION
    if spec.quantize is not None:
        settings["quantization"] = QUANTIZE_VERSION
    if spec.api is not None:
        settings["api"] = spec.api.identity
    return settings


def weights_hash(folder: Path, patterns: Sequence[str] = ("*",)) -> str:
    """sha256 over a model folder's files, those left out that change no vector (card, licence, our manifest).

    Args:
        folder: Of the model.
        patterns: Of the files that count, as in `snapshot`: a star passes slashes.
    """
    files = {path.relative_to(folder).as_posix(): path for path in files_below(folder)}
    counted = {
        name: path
        for name, path in files.items()
        if any(fnmatch(name, pattern) for pattern in patterns)
        and not any(fnmatch(path.name, ignored) for ignored in _IGNORED)
    }
    return hash_json([(name, hash_file(path)) for name, path in counted.items()])
