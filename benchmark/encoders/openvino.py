"""OpenVINO: a transformer as its intermediate representation, run on the CPU; in float32, or with integer weights."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmark.encoders.onnx import MODEL as ONNX_MODEL
from benchmark.specs.models import Precision

MODEL: Final = "openvino_model.xml"
_TELEMETRY: Final = "openvino_telemetry"
_LARGEST: Final = 127
_GROUP: Final = 32
"""Neighbouring inputs of a layer that share a scale, where they are made integers."""


def convert_to_openvino(folder: Path) -> None:
    """Put OpenVINO's files in place of a folder's ONNX model.

    By way of ONNX, because OpenVINO's own converter of torch models reports to its makers that it was used.
    """
    openvino = _library()
    model = openvino.Core().read_model(folder / ONNX_MODEL)
    openvino.save_model(model, folder / MODEL, compress_to_fp16=False)
    for path in folder.iterdir():
        if path.name not in (MODEL, _weights(MODEL)):
            path.unlink()


def quantize_openvino(folder: Path) -> int:
    """Put integers of 8 bits in place of the matrices of a model's layers, with one scale for each output.

    Where the processor multiplies integers, OpenVINO then makes them of the layers' inputs as well, as they run and in
    small groups; elsewhere it only takes less memory. No sample of texts has a say in it.

    Returns:
        How many matrices there were.
    """
    openvino = _library()
    model = openvino.Core().read_model(folder / MODEL)
    found = sum(_compressed(node) for node in model.get_ops() if node.get_type_name() == "MatMul")
    name = f"int8_{MODEL}"
    openvino.save_model(model, folder / name, compress_to_fp16=False)
    for before, after in ((name, MODEL), (_weights(name), _weights(MODEL))):
        (folder / before).replace(folder / after)
    return found


def _compressed(product: Any) -> bool:
    """Whether the second factor of a product is a constant matrix, which then is integers times a scale for each output."""
    from openvino import opset13

    constant = product.input(1).get_source_output().get_node()
    if constant.get_type_name() != "Constant" or len(constant.shape) != 2:
        return False
    settings = product.get_attributes()
    matrix = constant.data if settings["transpose_b"] else constant.data.T
    scales = np.abs(matrix).max(axis=1, keepdims=True) / _LARGEST
    scales[scales == 0] = 1
    integers = opset13.convert(opset13.constant(np.round(matrix / scales).astype(np.int8)), "f32")
    weights = opset13.multiply(integers, opset13.constant(scales.astype(np.float32)))
    new = opset13.matmul(product.input_value(0), weights, bool(settings["transpose_a"]), True)
    new.set_friendly_name(product.get_friendly_name())
    product.output(0).replace(new.output(0))
    return True


class OpenVinoRuntime:
    """A model that OpenVINO runs, on the CPU and with as many threads as torch would take.

    Args:
        folder: Where `MODEL` is.
        precision: Of the model.

    Attributes:
        by_row: Never: what becomes of a text does not depend on the others of its batch.
    """

    def __init__(self, folder: Path, precision: Precision) -> None:
        import torch

        settings = {
            # Without it, processors that can do so calculate in bfloat16, which is off by a thousandth.
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(_GROUP if precision == "int8" else 0),
        }
        self.by_row = False
        core = _library().Core()
        model = core.read_model(folder / MODEL)
        self._names = [one.get_any_name() for one in model.inputs]
        self._model = core.compile_model(model, "CPU", settings)

    def __call__(self, inputs: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """The model's output, shape (n_texts, n_tokens, n_dimensions) or (n_texts, n_outputs)."""
        found = self._model({name: inputs[name] for name in self._names})
        return np.array(found[0], dtype=np.float32)


def _weights(name: str) -> str:
    """The file with the weights, beside that with the graph."""
    return str(Path(name).with_suffix(".bin"))


def _library() -> Any:
    """OpenVINO, which reports each import to its makers where its package for that is found: so it is not found."""
    if "openvino" not in sys.modules and _TELEMETRY not in sys.modules:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
        try:
            import openvino
        finally:
            del sys.modules[_TELEMETRY]
    import openvino

    return openvino
