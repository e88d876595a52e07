"""Scores of (query, passage) pairs by a cross-encoder, for those that filter, mine and label training data."""

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.console import SILENT, Reporter
from benchmark.encoders.backends import open_reranker
from benchmark.encoders.dense import check_finite, count_bad, model_errors
from benchmark.encoders.scores import kept_logits
from benchmark.encoders.shelf import Shelf
from benchmark.errors import BenchError
from benchmark.project import Project
from benchmark.weights import model_fingerprint

_SLICE = 256


class PairScorer:
    """A cross-encoder that is loaded when its first pair is scored.

    Args:
        project: Where the spec stands.
        name: A spec with `kind: cross-encoder`.
        reporter: Shows progress.
        label: What to call this work on the screen.

    Raises:
        BenchError: The spec is missing or no cross-encoder.
    """

    def __init__(self, project: Project, name: str, reporter: Reporter, label: str) -> None:
        self._project, self._name, self._reporter, self._label = project, name, reporter, label
        kind = project.model_spec(name).kind
        if kind != "cross-encoder":
            raise BenchError(f"model_specs/{name}.yaml: is no cross-encoder (kind: {kind})")

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Relevance of each (query, passage) from 0 to 1, shape (n_pairs,).

        It is the sigmoid of the model's logit, or the model's output as it is where that was trained to be a score from
        0 to 1 (see `is_regression`). What the model said is kept.

        Raises:
            BenchError: The weights cannot be had, or the model fails or gives something else than numbers.
        """
        import torch

        if not pairs:
            return np.zeros(0, dtype=np.float32)
        ask = partial(logits, self._model, reporter=SILENT, name=self._name)
        said = torch.from_numpy(kept_logits(self._shelf, self._name, pairs, ask, self._reporter, self._label))
        relevant = torch.clamp(said, 0.0, 1.0) if is_regression(self._model) else torch.sigmoid(said)
        return np.asarray(relevant.numpy(), dtype=np.float32)

    @cached_property
    def _shelf(self) -> Shelf:
        return Shelf.of(self._project, model_fingerprint(self._project, self._name))

    @cached_property
    def _model(self) -> Any:
        return open_reranker(self._project, self._name)


def is_regression(model: Any) -> bool:
    """Whether a `CrossEncoder` was trained to give scores, not logits: transformers' `problem_type` says so."""
    return getattr(model.config, "problem_type", None) == "regression"


def logits(
    model: Any, pairs: Sequence[tuple[str, str]], reporter: Reporter, label: str = "", name: str = ""
) -> NDArray[np.float32]:
    """What a `CrossEncoder` says of each (query, passage), shape (n_pairs,), in the order of the pairs.

    For ranking: near 1 probabilities collide in float32.

    Args:
        model: The `CrossEncoder`.
        pairs: Query and passage of each.
        reporter: Shows progress.
        label: What to call this work on the screen; a name and a colon come first.
        name: The spec's; the label's by default.

    Raises:
        BenchError: The model fails, or gives something else than numbers.
    """
    import torch

    name = name or label.partition(":")[0] or "reranker"
    scores = np.zeros(len(pairs), dtype=np.float32)
    # Longest first: a batch then pads little.
    order = sorted(range(len(pairs)), key=lambda i: (-len(pairs[i][0]) - len(pairs[i][1]), i))
    slices = [order[i : i + _SLICE] for i in range(0, len(order), _SLICE)]
    for rows in reporter.track(slices, total=len(slices), label=label):
        with model_errors(f"model_specs/{name}.yaml: cannot score"):
            scores[rows] = model.predict(
                [pairs[i] for i in rows], batch_size=32, show_progress_bar=False, activation_fn=torch.nn.Identity()
            )
    check_finite(name, count_bad(scores), len(pairs), "pairs of query and passage")
    return scores


def cross_encoder_scores(
    project: Project, name: str, pairs: Sequence[tuple[str, str]], reporter: Reporter, label: str
) -> NDArray[np.float32]:
    """Scores of some pairs, once; see `PairScorer`."""
    return PairScorer(project, name, reporter, label)(pairs)
