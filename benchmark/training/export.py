"""An adapter's folder: a complete sentence-transformers model where the base has weights, and a model card."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.encoders.adapter import CutEncoder, LinearMaps
from benchmark.encoders.dense import DenseEncoder, Encoder
from benchmark.project import Project
from benchmark.training.cards import Card as Card
from benchmark.training.cards import write_card
from benchmark.training.licences import Lineage


def write_model(target: Path, project: Project, base: Encoder, maps: LinearMaps, card: Card) -> None:
    """Fill an adapter's folder beside its matrices.

    A base that gives nothing but vectors, or one that needs code of its own, has no model folder; its adapter works
    through its model spec.

    Args:
        target: The folder.
        project: Where the base's spec stands.
        base: What the adapter was trained on.
        maps: The matrices.
        card: For README.md.
    """
    source = Lineage.of(project, card.run.base).source
    if isinstance(base, CutEncoder) and isinstance(base.base, DenseEncoder):
        base = DenseEncoder.load(project, card.run.base)
    if isinstance(base, DenseEncoder) and not source.trust_remote_code:
        save_sentence_transformer(target, base, maps)
    write_card(project, target, card)


def save_sentence_transformer(target: Path, base: DenseEncoder, maps: LinearMaps) -> None:
    """Save base and adapter so that `SentenceTransformer(folder)` encodes queries and documents each in its own way.

    The base's modules are followed by a Router, with a Dense module (no bias, no activation) on each side that has a
    matrix, and a Normalize module. A linear map does not mind whether its input was normalised, so that it makes no
    difference whether the base does that itself. Where the base's vectors are cut (Matryoshka), the matrices get
    columns of zeros for what is cut off.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Router

    model = base.model
    with model.truncate_embeddings(None):
        whole = int(model.get_embedding_dimension() or maps.dimensions)

    def side(matrix: NDArray[np.float32] | None) -> list[Any]:
        if matrix is None and whole == maps.dimensions:
            return [Normalize()]
        known = np.eye(maps.dimensions, dtype=np.float32) if matrix is None else matrix
        weight = np.zeros((maps.dimensions, whole), dtype=np.float32)
        weight[:, : maps.dimensions] = known
        return [_dense(Dense, weight), Normalize()]

    router = Router.for_query_document(side(maps.query), side(maps.document))
    adapted = SentenceTransformer(
        modules=[*model.children(), router],
        device="cpu",
        prompts={**(model.prompts or {}), **base.prompts},
        similarity_fn_name="cosine",
    )
    # A tokenizer saves the padding and truncation of its last call: without one, the bytes would tell whether the
    # vectors came from the store.
    base.encode([""], "document")
    adapted.save_pretrained(str(target), create_model_card=False, safe_serialization=True)


def _dense(kind: Any, weight: NDArray[np.float32]) -> Any:
    import torch

    return kind(
        weight.shape[1], weight.shape[0], bias=False, activation_function=torch.nn.Identity(),
        init_weight=torch.from_numpy(weight),
    )  # fmt: skip
