"""A transformer that another library runs, in the place where sentence-transformers expects torch's."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Runtime(Protocol):
    """What runs an exported model.

    Attributes:
        by_row: Whether texts have to go through one at a time, because what a text becomes depends on its batch.
    """

    by_row: bool

    def __call__(self, inputs: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """The model's output for some texts, shape (n_texts, n_tokens, n_dimensions) or (n_texts, n_outputs)."""


def runtime_module(runtime: Runtime, original: Any, output: str) -> Any:
    """A torch module that takes the place of a transformer.

    Args:
        runtime: What runs it.
        original: The transformer; its configuration is still read.
        output: The name under which sentence-transformers looks for its output.
    """
    import torch

    class Exported(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.config = original.config
            self.exported_parameters = parameter_count(original)

        def forward(self, **inputs: Any) -> dict[str, Any]:
            arrays = {name: value.numpy() for name, value in inputs.items() if isinstance(value, torch.Tensor)}
            found = _by_row(runtime, arrays) if runtime.by_row else runtime(arrays)
            return {output: torch.from_numpy(found)}

    return Exported().eval()


def _by_row(runtime: Runtime, inputs: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
    """One text after another, without its padding, in whose place come zeros; the mask keeps those from having a say."""
    mask = inputs["attention_mask"] != 0
    mask[~mask.any(axis=1)] = True
    rows = [runtime({name: value[[row]][:, kept] for name, value in inputs.items()}) for row, kept in enumerate(mask)]
    if rows[0].ndim == 2:
        return np.concatenate(rows)
    found = np.zeros((*mask.shape, rows[0].shape[-1]), dtype=np.float32)
    for place, kept, row in zip(found, mask, rows, strict=True):
        place[kept] = row[0]
    return found


def parameter_count(model: Any) -> int:
    """Weights of a torch module, those that another library runs in its place included."""
    own = sum(weights.numel() for weights in model.parameters())
    return int(own + sum(getattr(module, "exported_parameters", 0) for module in model.modules()))
