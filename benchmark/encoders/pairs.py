"""Scores of (query, passage) pairs by a cross-encoder, for those that filter, mine and label training data."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.console import Reporter
from benchmark.encoders.dense import check_finite, count_bad, model_errors, open_cross_encoder
from benchmark.errors import BenchError
from benchmark.project import Project
from benchmark.weights import model_folder

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
        self._spec = project.model_spec(name)
        if self._spec.kind != "cross-encoder":
            raise BenchError(f"model_specs/{name}.yaml: is no cross-encoder (kind: {self._spec.kind})")

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Relevance of each (query, passage) from 0 to 1, shape (n_pairs,).

        It is the sigmoid of the model's logit, or the model's output as it is where that was trained to be a score
        from 0 to 1 (see `is_regression`).

        Raises:
            BenchError: The weights cannot be had, or the model fails or gives something else than numbers.
        """
        import torch

        if not pairs:
            return np.zeros(0, dtype=np.float32)
        activation = torch.nn.Hardtanh(0.0, 1.0) if is_regression(self._model) else torch.nn.Sigmoid()
        return predicted(self._model, pairs, activation, self._reporter, self._label, self._name)

    @cached_property
    def _model(self) -> Any:
        folder = model_folder(self._project, self._name, self._spec)
        return open_cross_encoder(folder, self._spec, f"model_specs/{self._name}.yaml")


def is_regression(model: Any) -> bool:
    """Whether a `CrossEncoder` was trained to give scores, not logits: transformers' `problem_type` says so."""
    return getattr(model.config, "problem_type", None) == "regression"


def logits(
    model: Any, pairs: Sequence[tuple[str, str]], reporter: Reporter, label: str = "", name: str = ""
) -> NDArray[np.float32]:
    """What a `CrossEncoder` says of each (query, passage), shape (n_pairs,).

    For ranking: near 1 probabilities collide in float32.

    Raises:
        BenchError: As `predicted`.
    """
    import torch

    return predicted(model, pairs, torch.nn.Identity(), reporter, label, name)


def predicted(
    model: Any, pairs: Sequence[tuple[str, str]], activation: Any, reporter: Reporter, label: str, name: str = ""
) -> NDArray[np.float32]:
    """A `CrossEncoder`'s outputs after an activation, shape (n_pairs,), in the order of the pairs.

    Args:
        model: The `CrossEncoder`.
        pairs: Query and passage of each.
        activation: What its outputs go through.
        reporter: Shows progress.
        label: What to call this work on the screen; a name and a colon come first.
        name: The spec's; the label's by default.

    Raises:
        BenchError: The model fails, or gives something else than numbers.
    """
    name = name or label.partition(":")[0] or "reranker"
    scores = np.zeros(len(pairs), dtype=np.float32)
    # Longest first: a batch then pads little.
    order = sorted(range(len(pairs)), key=lambda i: (-len(pairs[i][0]) - len(pairs[i][1]), i))
    slices = [order[i : i + _SLICE] for i in range(0, len(order), _SLICE)]
    for rows in reporter.track(slices, total=len(slices), label=label):
        with model_errors(f"model_specs/{name}.yaml: cannot score"):
            scores[rows] = model.predict(
                [pairs[i] for i in rows], batch_size=32, show_progress_bar=False, activation_fn=activation
            )
    check_finite(name, count_bad(scores), len(pairs), "pairs of query and passage")
    return scores


def cross_encoder_scores(
    project: Project, name: str, pairs: Sequence[tuple[str, str]], reporter: Reporter, label: str
) -> NDArray[np.float32]:
    """Scores of some pairs, once; see `PairScorer`."""
    return PairScorer(project, name, reporter, label)(pairs)
