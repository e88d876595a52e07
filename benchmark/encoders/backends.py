"""Bi-encoders and cross-encoders whose transformer another library runs: ONNX or OpenVINO, in float32 or in int8.

Everything else stays sentence-transformers': tokenizer, prompts, maximum length, pooling, further layers. A model is
exported once for each fingerprint, and only kept where it gives what torch gives.
"""

import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.encoders.asymmetric import check_is_reranker
from benchmark.encoders.dense import (
    DenseEncoder,
    model_errors,
    open_bi_encoder,
    open_cross_encoder,
    resolve_prompts,
)
from benchmark.encoders.locks import locked
from benchmark.encoders.onnx import OnnxRuntime, export_onnx, quantize_onnx
from benchmark.encoders.openvino import OpenVinoRuntime, convert_to_openvino, quantize_openvino
from benchmark.encoders.runtime import Runtime, runtime_module
from benchmark.encoders.shelf import LETTERS
from benchmark.errors import BenchError
from benchmark.files import Json, dump_json, files_below, hash_file, read_json, replacing, write_text
from benchmark.project import Project
from benchmark.specs import ModelSpec
from benchmark.specs.models import Precision
from benchmark.weights import model_fingerprint, model_folder

FOLDER: Final = ".backends"
MANIFEST: Final = "export.json"
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {"onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}
_TOLERANCE: Final = 1e-4
"""By which an exported float32 model may be off, in a value of a unit vector; in a score, relative to the largest."""
_NUMBERS: Final = " ".join(str(number) for number in range(400))
"""A text that is longer than most models' maximum length, in words that every tokenizer knows."""
_PROBES: Final = ("a", "The berth is let for one season, from April on.", _NUMBERS)


def open_exported_encoder(project: Project, name: str) -> DenseEncoder:
    """The bi-encoder of a spec with a `backend`.

    Raises:
        BenchError: The backend is not installed, or the weights cannot be had, loaded or exported.
    """
    spec = project.model_spec(name)
    where = f"model_specs/{name}.yaml"
    check_backend(spec, where)
    fingerprint = model_fingerprint(project, name)
    model = open_bi_encoder(model_folder(project, name, spec), spec, where)
    _put_in_place(_Export(project, spec, where, fingerprint, model))
    return DenseEncoder(name, fingerprint, model, resolve_prompts(spec, model))


def open_reranker(project: Project, name: str) -> Any:
    """The `CrossEncoder` of a spec, run by the spec's backend.

    Raises:
        BenchError: The backend is not installed, or the weights cannot be had, loaded or exported.
    """
    spec = project.model_spec(name)
    where = f"model_specs/{name}.yaml"
    check_backend(spec, where)
    check_is_reranker(project, name)
    model = open_cross_encoder(model_folder(project, name, spec), spec, where)
    if spec.backend != "torch":
        _put_in_place(_Export(project, spec, where, model_fingerprint(project, name), model))
    return model


def check_backend(spec: ModelSpec, where: str) -> None:
    """See to it that what a spec's backend needs is installed; nothing is imported.

    Raises:
        BenchError: It is not.
    """
    missing = [name for name in _NEEDED.get(spec.backend, ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise BenchError(
            f"{where}: backend: {spec.backend} needs {' and '.join(missing)}; install with: "
            f"pip install domainbench[{spec.backend}]"
        )


def exported_folder(project: Project, fingerprint: str) -> Path:
    """Where the export for a fingerprint is kept."""
    return project.results / FOLDER / fingerprint[:LETTERS]


# --- exporting ------------------------------------------------------------------------------------------------------


class _Export(NamedTuple):
    """A model and where its export goes."""

    project: Project
    spec: ModelSpec
    where: str
    fingerprint: str
    model: Any

    @property
    def folder(self) -> Path:
        return exported_folder(self.project, self.fingerprint)

    @property
    def pairs(self) -> bool:
        return self.spec.kind == "cross-encoder"

    def refused(self, why: str) -> BenchError:
        return BenchError(f"{self.where}: backend: {self.spec.backend}: {why}; use backend: torch")

    def runtime(self, folder: Path, precision: Precision) -> Runtime:
        kind = OnnxRuntime if self.spec.backend == "onnx" else OpenVinoRuntime
        return kind(folder, precision)

    def answers(self) -> NDArray[np.float32]:
        """What the model says of some probes, one alone and all together: unit vectors, or scores of pairs."""
        import torch

        def asked(texts: Sequence[str]) -> NDArray[np.float32]:
            if self.pairs:
                given = self.model.predict(
                    [("Who pays?", text) for text in texts], show_progress_bar=False, activation_fn=torch.nn.Identity()
                )
            else:
                given = self.model.encode(list(texts), prompt="", normalize_embeddings=True, show_progress_bar=False)
            return np.asarray(given, dtype=np.float32)

        return np.concatenate([asked(_PROBES[:1]), asked(_PROBES)])


def _put_in_place(export: _Export) -> None:
    """Let the spec's backend run the model's transformer; exported where it was not before."""
    transformer = _transformer(export)
    _on_cpu(export.model)
    wanted = f"{export.where}: backend: {export.spec.backend}: the model cannot be exported (use backend: torch)"
    if not _is_whole(export):
        with locked(export.folder.parent / f".{export.folder.name}.lock"), model_errors(wanted):
            if not _is_whole(export):
                _make(export, transformer)
    with model_errors(f"{export.where}: backend: {export.spec.backend}: the exported model cannot be loaded"):
        runtime = export.runtime(export.folder, export.spec.precision)
    transformer.model = runtime_module(runtime, transformer.model, _output(export, transformer))


def _on_cpu(model: Any) -> None:
    """Weights may be of half the precision, or on a GPU; exports are float32, and run on the CPU."""
    model.to("cpu")
    model.float()


def _transformer(export: _Export) -> Any:
    from sentence_transformers.base.modules import Transformer

    found = [module for module in export.model.modules() if isinstance(module, Transformer)]
    if len(found) != 1:
        count = "none" if not found else f"it has {len(found)}"
        raise export.refused(f"only a model with one transformer can be exported ({count})")
    return found[0]


def _output(export: _Export, transformer: Any) -> str:
    """Which of the transformer's outputs the other modules work with."""
    found = transformer.modality_config.get("text", {}).get("method_output_name")
    names = [found] if isinstance(found, str) else list(found or ())
    if len(names) != 1:
        raise export.refused("the model's output is made in a way that cannot be exported")
    return str(names[0])


def _is_whole(export: _Export) -> bool:
    """Whether the export is there and every file as it was written; a broken one is made anew."""
    try:
        kept = read_json(export.folder / MANIFEST).get("files")
    except BenchError:
        return False
    return kept == _hashes(export.folder)


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: hash_file(path) for path in files_below(folder) if path.name != MANIFEST}


def _make(export: _Export, transformer: Any) -> None:
    """Export, compare, quantise; the folder is there in one step."""
    ignore = export.folder.parent / ".gitignore"
    if not ignore.is_file():
        write_text(ignore, "*\n")
    spec, output, original = export.spec, _output(export, transformer), transformer.model
    inputs, settings = _called(export, original)
    expected = export.answers()

    def difference(folder: Path, precision: Precision) -> float:
        transformer.model = runtime_module(export.runtime(folder, precision), original, output)
        try:
            return float(np.abs(export.answers() - expected).max())
        finally:
            transformer.model = original

    with replacing(export.folder) as folder:
        export_onnx(original, inputs, settings, output, folder)
        if spec.backend == "openvino":
            convert_to_openvino(folder)
        off = difference(folder, "float32")
        if not off <= _TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise export.refused(f"the exported model gives something else than the original (by {off:.2g})")
        if spec.precision == "int8":
            if not (quantize_onnx if spec.backend == "onnx" else quantize_openvino)(folder):
                raise export.refused("the model has no layers that could multiply integers")
            off = difference(folder, "int8")
        write_text(folder / MANIFEST, dump_json(_manifest(export, folder, off)))


def _manifest(export: _Export, folder: Path, difference: float) -> Json:
    """`difference` is the largest in a value of the probes' unit vectors or scores, to those of torch in float32."""
    libraries = ("torch", "transformers", "sentence-transformers", *_NEEDED[export.spec.backend])
    return {
        "backend": export.spec.backend,
        "precision": export.spec.precision,
        "fingerprint": export.fingerprint,
        "difference": difference,
        "versions": {name: importlib.metadata.version(name) for name in libraries},
        "files": _hashes(folder),
    }


def _called(export: _Export, original: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """With what sentence-transformers calls the transformer for two texts: tensors by name, and the settings besides.

    Raises:
        BenchError: Not by texts' tokens alone.
    """
    import torch

    seen: dict[str, Any] = {}
    forward = original.forward

    def watched(*args: Any, **given: Any) -> Any:
        seen.update(given)
        return forward(*args, **given)

    # No hook of torch's sees it: the library calls `forward` itself.
    original.forward = watched
    try:
        texts = [(text, text) for text in _PROBES[:2]] if export.pairs else list(_PROBES[:2])
        with torch.no_grad():
            export.model(export.model.preprocess(texts))
    finally:
        del original.forward
    tensors = {name: value for name, value in seen.items() if isinstance(value, torch.Tensor)}
    shapes = {tuple(value.shape) for value in tensors.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2 or "attention_mask" not in tensors:
        raise export.refused("the model is not called with the tokens of texts alone, so it cannot be exported")
    return tensors, {name: value for name, value in seen.items() if name not in tensors}
