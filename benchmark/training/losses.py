"""Losses of bi-encoders by name.

- `mnrl`: multiple negatives ranking (InfoNCE; van den Oord et al., arXiv 1807.03748).
- `gist`: the same without the candidates that a guide finds more similar than the positive (Solatorio,
  arXiv 2402.16829).
- `triplet`: a positive must be nearer than each negative by a margin.
- `margin-mse`: differences of a teacher's scores (Hofstätter et al., arXiv 2010.02666).
- `kl`: a teacher's scores of a row as a distribution (Lin et al., arXiv 2010.11386).

Where a batch of the first two is larger than `mini_batch_size`, its gradients are cached (GradCache; Gao et al.,
arXiv 2101.06983), so that the number of negatives does not depend on memory. The others compare nothing across rows:
their batches are gone through in parts. Any of them can be computed at several dimensions at once (Matryoshka; Kusupati
et al., arXiv 2205.13147).
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import BenchError
from benchmark.specs import BiEncoderRun

CONTRASTIVE: Final = frozenset({"mnrl", "gist"})
"""Losses whose negatives are the other rows of a batch."""
DISTILLING: Final = frozenset({"margin-mse", "kl"})
"""Losses that learn a teacher's scores."""
TRIPLET_MARGIN: Final = 0.2
"""In cosine distance, which goes from 0 to 2.

Mined negatives lie at up to 95 % of the positive's similarity, so nearly all triplets are short of it at the start and
teach something, and those that reach it drop out. The default of sentence-transformers (5, for Euclidean distances of
vectors of any length) is never reached by a cosine: it would pull apart what is apart already.
"""


@dataclass(frozen=True)
class Known:
    """Vectors of a frozen model for every text of the training rows.

    Attributes:
        vectors: Unit vectors, shape (n_texts, n_dimensions).
        places: Row in `vectors` of each text, shape (n_rows, n_columns), anchors first.
    """

    vectors: NDArray[np.float32]
    places: NDArray[np.int64]

    def of(self, rows: Any, column: int, device: Any) -> Any:
        """Vectors of one column of some rows, as a tensor of shape (n_rows, n_dimensions)."""
        import torch

        return torch.from_numpy(self.vectors[self.places[rows.cpu().numpy(), column]]).to(device)


def is_cached(model: Any, run: BiEncoderRun, rows: int) -> bool:
    """Whether a loss goes through its batch in parts with cached gradients.

    Args:
        model: A `SentenceTransformer`; tables of word vectors take so little memory that it is never needed.
        run: The settings.
        rows: Of a batch, on one device.
    """
    from sentence_transformers.base.losses.gradcache import has_static_embedding_input

    return run.loss in CONTRASTIVE and rows > run.mini_batch_size and not has_static_embedding_input(model)


def make_loss(model: Any, run: BiEncoderRun, rows: int, guide: Known | None = None, *, gather: bool = False) -> Any:
    """The loss of a run.

    Args:
        model: The `SentenceTransformer` to train.
        run: The settings.
        rows: Rows in a batch, on one device.
        guide: The guide's vectors; needed by `gist`, whose labels are row numbers.
        gather: Whether the rows of all GPUs are each other's negatives.

    Raises:
        BenchError: A Matryoshka dimension is larger than the model's.
    """
    from sentence_transformers.sentence_transformer import losses

    def by_row(left: Any, right: Any) -> Any:
        return run.scale * _cosines(left, right, by_row=True)

    part = run.mini_batch_size if is_cached(model, run, rows) else None
    more: dict[str, Any] = {"scale": run.scale, "similarity_fct": _cosines}
    if gather:
        more["gather_across_devices"] = True
    if run.loss == "mnrl" and part is not None:
        loss = losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=part, **more)
    elif run.loss == "mnrl":
        loss = losses.MultipleNegativesRankingLoss(model, **more)
    elif run.loss == "gist":
        if guide is None:
            raise ValueError("loss: gist without a guide's vectors")
        loss = _guided(model, guide, run.scale, part, gather)
    elif run.loss == "triplet":
        loss = _triplet(model)
    elif run.loss == "margin-mse":
        loss = losses.MarginMSELoss(model, similarity_fct=by_row)
    else:
        loss = losses.DistillKLDivLoss(model, similarity_fct=by_row)
    return _matryoshka(model, run, loss) if run.matryoshka else loss


def _cosines(left: Any, right: Any, *, by_row: bool = False) -> Any:
    """Cosine similarities in float32 also under mixed precision: in bfloat16 those of hard negatives collide.

    Args:
        left: Shape (n_left, n_dimensions).
        right: Shape (n_right, n_dimensions).
        by_row: Whether only rows of one number are compared; there are equally many then.

    Returns:
        Shape (n_left, n_right), or (n_left,) by row.
    """
    import torch

    with torch.autocast(left.device.type, enabled=False):
        left, right = (torch.nn.functional.normalize(side.float(), dim=-1) for side in (left, right))
        return (left * right).sum(dim=-1) if by_row else left @ right.T


def _matryoshka(model: Any, run: BiEncoderRun, loss: Any) -> Any:
    from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss

    whole = int(model.get_embedding_dimension())
    if max(run.matryoshka) > whole:
        raise BenchError(f"{run.name}: 'matryoshka' names {max(run.matryoshka)} dimensions, the base has {whole}")
    return MatryoshkaLoss(model, loss, sorted({whole, *run.matryoshka}, reverse=True))


def _triplet(model: Any) -> Any:
    """Triplet loss in cosine distance, the mean over a row's negatives."""
    import torch
    from sentence_transformers.sentence_transformer.losses import TripletDistanceMetric, TripletLoss

    class SeveralNegatives(TripletLoss):  # type: ignore[misc]
        def compute_loss_from_embeddings(self, embeddings: list[Any], labels: Any) -> Any:
            anchor, positive, *negatives = embeddings
            one_by_one = [
                super(SeveralNegatives, self).compute_loss_from_embeddings([anchor, positive, negative], labels)
                for negative in negatives
            ]
            return torch.stack(one_by_one).mean()

    return SeveralNegatives(model, distance_metric=TripletDistanceMetric.COSINE, triplet_margin=TRIPLET_MARGIN)


def _guided(model: Any, guide: Known, scale: float, part: int | None, gather: bool) -> Any:
    """GIST with a guide whose vectors are known: it reads each text once, whole, and with its own prompts.

    sentence-transformers' own runs the guide over every batch, on the tokens of the model that is trained: cut at its
    length, with its prompts.
    """
    import torch
    from sentence_transformers.base.losses.gradcache import CachedLossMixin
    from sentence_transformers.base.losses.merged_forward import embed_columns

    class Guided(CachedLossMixin, torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.mini_batch_size = part
            self.uses_gradient_cache = part is not None

        def forward(self, features: Any, labels: Any) -> Any:
            if part is not None:
                return self.forward_cached(features, labels)
            return guided_loss(embed_columns(self.model, features), labels, guide, scale, gather=gather)

        def calculate_loss(self, reps: list[list[Any]], labels: Any = None, *, with_backward: bool = False) -> Any:
            embeddings = [torch.cat(column) for column in reps]
            loss = guided_loss(embeddings, labels, guide, scale, gather=gather)
            if with_backward:
                loss.backward()
                loss = loss.detach()
            return loss

    return Guided()


def guided_loss(embeddings: list[Any], rows: Any, guide: Known, scale: float, *, gather: bool = False) -> Any:
    """Cross-entropy of each anchor's positive among all positives, negatives and other anchors of a batch.

    A candidate that the guide finds more similar to the anchor than its positive is left out; of two positives, one
    that it finds more similar to the anchor's positive than the anchor is.

    Args:
        embeddings: Of anchors, positives and each column of negatives, shape (n_rows, n_dimensions).
        rows: Numbers of the rows, shape (n_rows,).
        guide: The guide's vectors.
        scale: What cosine similarities are multiplied with.
        gather: Whether positives and negatives of all GPUs are candidates.
    """
    import torch
    from sentence_transformers.util import all_gather, all_gather_with_grad, get_rank

    anchors, *candidates = embeddings
    everyone, start = rows, 0
    if gather:
        candidates = [all_gather_with_grad(column) for column in candidates]
        everyone, start = all_gather(rows), get_rank() * len(rows)
    device, own = anchors.device, torch.arange(start, start + len(anchors), device=anchors.device)
    seen = [guide.of(rows, 0, device), *(guide.of(everyone, i, device) for i in range(1, len(embeddings)))]
    bar = _cosines(seen[0], seen[1][own], by_row=True).unsqueeze(1)

    def logits(left: Any, right: Any, left_seen: Any, right_seen: Any, kept: Any = None) -> Any:
        hidden = _cosines(left_seen, right_seen) > bar
        if kept is not None:
            hidden[torch.arange(len(left), device=device), kept] = False
        return (scale * _cosines(left, right)).masked_fill(hidden, -torch.inf)

    def without(found: Any, places: Any) -> Any:
        """No text is its own candidate."""
        return found.index_put((torch.arange(len(found), device=device), places), found.new_tensor(-torch.inf))

    positives, mine = candidates[0], candidates[0][own]
    scores = [
        logits(anchors, positives, seen[0], seen[1], own),
        without(logits(anchors, anchors, seen[0], seen[0]), own - start),
        without(logits(mine, positives, seen[1][own], seen[1]), own),
        *(logits(anchors, column, seen[0], known) for column, known in zip(candidates[1:], seen[2:], strict=True)),
    ]
    return torch.nn.functional.cross_entropy(torch.cat(scores, dim=1), own)
