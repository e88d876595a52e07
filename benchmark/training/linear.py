"""Training of a linear adapter on vectors that were computed once.

InfoNCE (van den Oord et al., arXiv 1807.03748) with the whole corpus as candidates, in place of the other rows of a
batch: vectors that stay as they are make every passage a negative for the price of a matrix product. The matrices
start at the identity, and a penalty on the distance from it holds them there where the data say nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.console import Update
from benchmark.device import device_name
from benchmark.encoders.adapter import LinearMaps
from benchmark.encoders.dense import Role
from benchmark.specs import AdapterSettings

BLOCK_BYTES = 64 * 2**20
"""Similarities and projected candidates in memory at once; a larger corpus is gone through in blocks."""
PATIENCE = 10
"""Epochs without a better score after which training stops."""
_HIDDEN = -1e4


class Targets(NamedTuple):
    """Shares of the target that go to other passages than a query's own, or to it as well.

    Attributes:
        rows: Rows in the documents, shape (n_queries, n_targets).
        shares: Shape (n_queries, n_targets), together 1 or less for each query; its own passage has the rest.
    """

    rows: NDArray[np.int64]
    shares: NDArray[np.float32]


@dataclass(frozen=True)
class Pairs:
    """Queries, candidates, and which candidates are relevant.

    Attributes:
        queries: Unit vectors, shape (n_queries, n_dimensions).
        documents: Unit vectors, shape (n_documents, n_dimensions).
        positives: Row in `documents` of each query's passage, shape (n_queries,).
        also: Rows in `documents` that are relevant to a query as well: they are no negatives for it.
        left_out: Documents that are nobody's candidate, shape (n_documents,).
        targets: A teacher's ranking; without it a query's own passage is all that it should find.
    """

    queries: NDArray[np.float32]
    documents: NDArray[np.float32]
    positives: NDArray[np.int64]
    also: Sequence[Sequence[int]]
    left_out: NDArray[np.bool_]
    targets: Targets | None = None

    @property
    def candidates(self) -> int:
        """Documents that queries are compared with."""
        return int((~self.left_out).sum())


class Fitted(NamedTuple):
    """What training found.

    Attributes:
        maps: The matrices after the best epoch.
        epoch: Which one that was, from 1.
        losses: The mean loss of each epoch that was run.
    """

    maps: LinearMaps
    epoch: int
    losses: tuple[float, ...]


def fit(
    pairs: Pairs,
    settings: AdapterSettings,
    seed: int,
    update: Update,
    score: Callable[[LinearMaps], float] | None = None,
) -> Fitted:
    """Train the matrices; equal seeds give equal matrices on one machine.

    Args:
        pairs: What to learn from.
        settings: Sides, epochs, learning rate, batch size, scale, shrinkage.
        seed: For the order of the queries.
        update: Called after each epoch.
        score: How good the matrices are after an epoch, higher is better: the best epoch is then kept, and training
            stops after ten without a better one. Without it the last epoch is kept.
    """
    import torch

    learner = _Learner(pairs, settings)
    order = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    best, best_epoch, best_score = learner.maps, 0, -np.inf
    for epoch in range(1, settings.epochs + 1):
        losses.append(learner.epoch(torch.randperm(len(pairs.queries), generator=order).numpy()))
        update(epoch, f"loss {losses[-1]:.3f}")
        value = float(epoch) if score is None else score(learner.maps)
        if value > best_score:
            best, best_epoch, best_score = learner.maps, epoch, value
        elif epoch - best_epoch >= PATIENCE:
            break
    return Fitted(best, best_epoch, tuple(losses))


class _Learner:
    """The distance of each matrix from the identity, and the optimizer that moves it."""

    def __init__(self, pairs: Pairs, settings: AdapterSettings) -> None:
        import torch

        self._pairs, self._settings, self._device = pairs, settings, device_name()
        self._queries, self._documents = self._tensor(pairs.queries), self._tensor(pairs.documents)
        self._left_out = self._tensor(pairs.left_out)
        self._dimensions = pairs.queries.shape[1]
        sides: list[Role] = ["query"] if settings.sides == "query" else ["query", "document"]
        self._away: dict[Role, Any] = {
            side: torch.zeros(self._dimensions, self._dimensions, device=self._device, requires_grad=True)
            for side in sides
        }
        # AdamW's own decay is off: the penalty in the loss is what shrinks.
        self._optimizer = torch.optim.AdamW(self._away.values(), lr=settings.learning_rate, weight_decay=0.0)
        # Beside a similarity, a candidate's projection and its normalised copy are held.
        width = settings.batch_size + 2 * self._dimensions
        self._block = max(1, BLOCK_BYTES // (4 * width))

    def _tensor(self, array: NDArray[Any]) -> Any:
        import torch

        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    @property
    def maps(self) -> LinearMaps:
        """The matrices as they are now."""
        found = {side: away.detach().cpu().numpy() + np.eye(self._dimensions, dtype=np.float32)
                 for side, away in self._away.items()}  # fmt: skip
        return LinearMaps(found["query"], found.get("document"))

    def epoch(self, order: NDArray[np.int64]) -> float:
        """Go through all queries once; returns the mean loss."""
        size = self._settings.batch_size
        total = 0.0
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            self._optimizer.zero_grad(set_to_none=True)
            loss = self._loss(rows)
            loss.backward()
            self._optimizer.step()
            total += float(loss.detach()) * len(rows)
        return total / max(1, len(order))

    def _loss(self, rows: NDArray[np.int64]) -> Any:
        """InfoNCE of some queries against all candidates, and the penalty."""
        queries = self._mapped(self._queries[self._tensor(rows)], "query")
        # Gathered before the projection: the gradient of a gather after it is not deterministic on a GPU.
        own = self._mapped(self._documents[self._tensor(self._pairs.positives[rows])], "document")
        close = self._settings.scale * (queries * own).sum(dim=1)
        taught = self._taught(rows)
        total, learnt = self._sums(queries, self._hidden(rows), taught)
        if taught is not None:
            close = (1 - self._tensor(taught.shares).sum(dim=1)) * close + learnt
        losses = total - close
        penalty = sum(away.square().sum() for away in self._away.values()) / self._dimensions
        return losses.mean() + self._settings.shrinkage * penalty

    def _mapped(self, vectors: Any, side: Role) -> Any:
        import torch

        away = self._away.get(side)
        return vectors if away is None else torch.nn.functional.normalize(vectors + vectors @ away.T, dim=1)

    def _hidden(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Further positives of some queries: (row in the batch, document) pairs, shape (n, 2), sorted by document."""
        found = [(place, column) for place, row in enumerate(rows) for column in self._pairs.also[row]]
        pairs = np.array(found, dtype=np.int64).reshape(-1, 2)
        return pairs[np.argsort(pairs[:, 1], kind="stable")]

    def _taught(self, rows: NDArray[np.int64]) -> Targets | None:
        targets = self._pairs.targets
        return None if targets is None else Targets(targets.rows[rows], targets.shares[rows])

    def _sums(self, queries: Any, hidden: NDArray[np.int64], taught: Targets | None) -> tuple[Any, Any]:
        """Over all candidates, for each query, shape (n_queries,) both.

        The log of the summed exponentials of its similarities, and its similarities weighed with the teacher's shares.
        """
        import torch
        from torch.utils.checkpoint import checkpoint

        count = len(self._documents)
        if count <= self._block:
            return self._sums_of(queries, 0, count, hidden, taught)
        # A block's similarities are computed again for the gradient, so that only one block's are ever held.
        parts = [
            checkpoint(
                self._sums_of, queries, start, min(start + self._block, count), hidden, taught,
                use_reentrant=False, preserve_rng_state=False,
            )
            for start in range(0, count, self._block)
        ]  # fmt: skip
        totals, learnt = zip(*parts, strict=True)
        return torch.logsumexp(torch.stack(totals), dim=0), torch.stack(learnt).sum(dim=0)

    def _sums_of(
        self, queries: Any, start: int, stop: int, hidden: NDArray[np.int64], taught: Targets | None
    ) -> tuple[Any, Any]:
        import torch

        similar = self._settings.scale * queries @ self._mapped(self._documents[start:stop], "document").T
        mask = self._left_out[start:stop].expand(similar.shape).clone()
        low, high = np.searchsorted(hidden[:, 1], [start, stop])
        if high > low:
            inside = self._tensor(hidden[low:high])
            mask[inside[:, 0], inside[:, 1] - start] = True
        total = torch.logsumexp(similar.masked_fill(mask, _HIDDEN), dim=1)
        if taught is None:
            return total, torch.zeros_like(total)
        here = (taught.rows >= start) & (taught.rows < stop)
        rows = self._tensor(np.where(here, taught.rows - start, 0))
        shares = self._tensor(np.where(here, taught.shares, np.float32(0)))
        return total, (similar.gather(1, rows) * shares).sum(dim=1)
