"""ONNX: a transformer as a graph of operations, run by onnxruntime on the CPU; in float32, or with integer weights."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmark.specs.models import Precision

MODEL: Final = "model.onnx"
_OPSET: Final = 18
_LARGE: Final = 2**31 - 2**24
"""Bytes of a model above which its weights lie in files beside the graph: a protobuf message holds 2 GiB."""


def export_onnx(model: Any, inputs: Mapping[str, Any], settings: Mapping[str, Any], output: str, folder: Path) -> None:
    """Write a transformer as ONNX, with any number of texts of any length.

    By tracing: torch's newer way, through torch.export, needs a package more and ten times as long, and both give the
    same vectors for every architecture that was tried (docs/backends.md).

    Args:
        model: Of transformers, in float32.
        inputs: Tensors by name, of shape (n_texts, n_tokens), as sentence-transformers hands them over.
        settings: What it hands over besides, the same for all texts.
        output: Which of the model's outputs is wanted.
        folder: Where `MODEL` is written.
    """
    import torch

    class Traced(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *values: Any) -> Any:
            return self.model(**dict(zip(inputs, values, strict=True)), **settings)[output]

    traced, values = Traced().eval(), tuple(inputs.values())
    with quiet(), torch.no_grad():
        axes = {0: "texts", 1: "tokens"}
        of_output = axes if traced(*values).ndim > 2 else {0: "texts"}
        torch.onnx.export(
            traced,
            values,
            str(folder / MODEL),
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes={**dict.fromkeys(inputs, axes), output: of_output},
            opset_version=_OPSET,
            dynamo=False,
        )


def quantize_onnx(folder: Path) -> int:
    """Put integers of 8 bits in place of a model's weights, one scale a column; inputs of layers get theirs as they run.

    No sample of texts has a say in it, so that the same weights always give the same model.

    Returns:
        How many layers multiply integers now.
    """
    from onnx import load
    from onnxruntime.quantization import QuantType, quantize_dynamic

    work = folder / "quantized"
    work.mkdir()
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    with quiet():
        quantize_dynamic(
            folder / MODEL,
            work / MODEL,
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=size > _LARGE,
        )
    for path in [path for path in folder.iterdir() if path.is_file()]:
        path.unlink()
    for path in list(work.iterdir()):
        path.rename(folder / path.name)
    work.rmdir()
    nodes = load(folder / MODEL, load_external_data=False).graph.node
    return sum(node.op_type == "MatMulInteger" for node in nodes)


class OnnxRuntime:
    """A model that onnxruntime runs, on the CPU and with as many threads as torch would take.

    Args:
        folder: Where `MODEL` is.
        precision: Of the model.

    Attributes:
        by_row: Whether texts have to go through one at a time. In int8 the scale of a layer's inputs is taken over all
            of a batch: what a text becomes would depend on its neighbours.
    """

    def __init__(self, folder: Path, precision: Precision) -> None:
        import onnxruntime
        import torch

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.by_row = precision == "int8"
        self._session = onnxruntime.InferenceSession(str(folder / MODEL), options, providers=["CPUExecutionProvider"])
        self._names = [one.name for one in self._session.get_inputs()]

    def __call__(self, inputs: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """The model's output, shape (n_texts, n_tokens, n_dimensions) or (n_texts, n_outputs)."""
        (found,) = self._session.run(None, {name: inputs[name] for name in self._names})
        return np.asarray(found, dtype=np.float32)


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters warn of whatever might go wrong; here the result is compared with the original's.

    They also log through the root, which then gets a handler that prints what any library logs from now on.
    """
    before, handlers = logging.root.manager.disable, list(logging.root.handlers)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        logging.root.handlers[:] = handlers
