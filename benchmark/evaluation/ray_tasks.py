"""What the workers of a Ray cluster do; the driver's side is in `ray_executor.py`."""

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import benchmark
from benchmark.console import Notes
from benchmark.encoders.adapter import open_encoder
from benchmark.encoders.dense import Encoder, Role, model_errors
from benchmark.errors import BenchError
from benchmark.evaluation.evaluate import Evaluator
from benchmark.evaluation.plan import UnitKind
from benchmark.project import Project
from benchmark.provenance import Outcome

_OPENED: dict[str, Encoder] = {}
"""The encoder that this process used last, by its fingerprint: it comes back with the next texts."""


class Made(NamedTuple):
    """What became of a unit on a worker.

    Attributes:
        outcome: What it made; None where it failed.
        problems: Why it failed.
        notes: What it said, but for a stage's word that it works.
    """

    outcome: Outcome | None
    problems: tuple[str, ...]
    notes: tuple[str, ...]


class Encoded(NamedTuple):
    """What became of texts on a worker.

    Attributes:
        parts: Vectors of each slice, shape (n_texts, n_dimensions); none where it failed.
        prompts: The encoder's, by role.
        problems: Why it failed.
    """

    parts: tuple[NDArray[np.float32], ...]
    prompts: dict[str, str]
    problems: tuple[str, ...]


def sees(path: Path) -> tuple[str | None, str]:
    """What a file holds (None where it is not there) and which version of this package reads it."""
    return (path.read_text(encoding="utf-8") if path.is_file() else None), benchmark.__version__


def encode_texts(project: Project, name: str, fingerprint: str, role: Role, slices: Sequence[Sequence[str]]) -> Encoded:
    """Vectors of some slices of a corpus, each encoded by itself as a single process does.

    Args:
        project: Where the spec stands.
        name: The encoder's spec.
        fingerprint: Its `model_fingerprint`.
        role: Which prompt goes in front.
        slices: Texts.
    """
    try:
        with model_errors(f"model_specs/{name}.yaml: cannot encode"):
            encoder = _opened(project, name, fingerprint)
            parts = tuple(encoder.encode(texts, role) for texts in slices)
    except BenchError as error:
        return Encoded((), {}, error.problems)
    return Encoded(parts, dict(getattr(encoder, "prompts", {})), ())


def _opened(project: Project, name: str, fingerprint: str) -> Encoder:
    """An encoder, loaded unless it was the last one here."""
    if fingerprint not in _OPENED:
        _OPENED.clear()
        encoder = open_encoder(project, name)
        if encoder.fingerprint != fingerprint:
            raise BenchError(f"model_specs/{name}.yaml: its weights are others on this node, or have just changed")
        _OPENED[fingerprint] = encoder
    return _OPENED[fingerprint]


def do_unit(evaluator: Evaluator, spec: str, kind: UnitKind) -> Made:
    """One spec on one task, or the candidates of a domain.

    Args:
        evaluator: The domain's, as `Evaluator.bare` has it.
        spec: The spec's name.
        kind: What to do.
    """
    _OPENED.clear()
    said, outcome = Notes(), None
    problems: tuple[str, ...] = ()
    try:
        if kind == "candidates":
            outcome = evaluator.candidates(said)
        else:
            (outcome,) = evaluator.evaluate(spec, [kind], said)
    except BenchError as error:
        problems = error.problems
    stage = f"{evaluator.domain.name}: {kind} "
    if problems:
        said.note(f"{spec}: {kind} of {evaluator.domain.name} failed on {socket.gethostname()}")
    return Made(outcome, problems, tuple(line for line in said.lines if not line.startswith(stage)))
