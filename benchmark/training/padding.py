"""Less padding within a batch: a transformer goes through it in parts of similar length.

A batch is as wide as its longest text. Batches of similar texts (see `batches`) help one column of texts; the others
are as mixed as ever, and so is the only one where data are few. Attention leaves padding out, so that parts give the
same vectors and gradients, up to rounding and to which units dropout draws.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

ROWS: Final = 16
"""Texts in a part: on a processor, smaller products are not slower by themselves."""


@contextmanager
def in_sorted_parts(model: Any, rows: int = ROWS) -> Iterator[None]:
    """Make a model's transformer go through each batch in parts while this lasts.

    Only on a processor: a GPU loses more by small products than by padding.

    Args:
        model: A `SentenceTransformer`; others than transformers with vectors of tokens stay as they are.
        rows: Texts in a part.
    """
    first = model[0]
    if model.device.type != "cpu" or getattr(first, "module_output_name", None) != "token_embeddings":
        yield
        return
    whole = first.forward

    def forward(features: dict[str, Any], **more: Any) -> dict[str, Any]:
        if not _can_be_parted(features, rows):
            found: dict[str, Any] = whole(features, **more)
            return found
        return {**features, "token_embeddings": _by_parts(whole, features, rows, more)}

    first.forward = forward
    try:
        yield
    finally:
        del first.forward


def _can_be_parted(features: dict[str, Any], rows: int) -> bool:
    """Whether there are more texts than a part holds, padded at the end and by nothing but tokens."""
    mask = features.get("attention_mask")
    if mask is None or mask.ndim != 2 or len(mask) <= rows or "cu_seq_lens_q" in features:
        return False
    return bool(mask[:, 0].all()) and all(
        getattr(value, "shape", mask.shape) == mask.shape for value in features.values()
    )


def _by_parts(whole: Any, features: dict[str, Any], rows: int, more: dict[str, Any]) -> Any:
    """Vectors of tokens, shape (n_texts, n_tokens, n_dimensions), zeros in place of padding."""
    import torch

    mask = features["attention_mask"]
    lengths = mask.sum(dim=1)
    order = torch.argsort(lengths, stable=True)
    found = []
    for part in order.split(rows):
        width = int(lengths[part].max())
        taken = {
            name: value[part, :width] if isinstance(value, torch.Tensor) else value for name, value in features.items()
        }
        tokens = whole(taken, **more)["token_embeddings"]
        found.append(torch.nn.functional.pad(tokens, (0, 0, 0, mask.shape[1] - width)))
    return torch.cat(found)[torch.argsort(order)]
