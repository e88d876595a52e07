"""What a system costs beside its quality: parameters, index, time. Measured here; unknown is None, never 0."""

import os
import platform
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from benchmark.device import device_name
from benchmark.encoders.adapter import AdaptedEncoder, DerivedEncoder
from benchmark.encoders.api import ApiEncoder
from benchmark.encoders.asymmetric_scorer import AsymmetricScorer
from benchmark.encoders.fused import HybridScorer
from benchmark.encoders.retrieve import RerankRetriever, Retriever, ScoreRetriever
from benchmark.encoders.runtime import parameter_count
from benchmark.encoders.scorers import DenseScorer, Scorer
from benchmark.evaluation.rates import per_second, spread
from benchmark.files import Json
from benchmark.project import Project
from benchmark.weights import model_folder

_SAMPLE: Final = 64
"""Chunks that are encoded for measuring, at most, where the corpus was not."""
_QUESTIONS: Final = 30
_SECONDS: Final = 3.0
"""What either measurement may take; it ends after the step in which it is reached."""
_MILLION: Final = 1_000_000
_ENCODING: Final = (DenseScorer, AsymmetricScorer)


def measure_costs(
    project: Project, name: str, retriever: Retriever, passages: Sequence[str], questions: Sequence[str], depth: int
) -> Json:
    """What a system costs, on this machine and over this corpus.

    Nothing is asked of an API: that would cost money, and tell of the network.

    Args:
        project: Where the specs are.
        name: The spec.
        retriever: What was opened for it.
        passages: The texts of the corpus.
        questions: The texts of the test set.
        depth: How many hits a question gets.

    Returns:
        `parameters` and `dimensions` (of a vector, also where there is one for each token);
        `index_bytes_per_million_chunks`, in memory, the vocabulary taken at its present size; `chunks_per_second` of
        encoding or indexing; `query_ms`: `p50` and `p95` over so many `questions`, asked one at a time, from text to
        ranking; the `machine`.
    """
    found = list(_parts(project, name, retriever))
    paid = any(isinstance(part.loaded, ApiEncoder) for part in found)
    first = _first_stage(retriever)
    footprint = first.footprint
    seconds = None if paid else _seconds_per_chunk(first, passages)
    return {
        "parameters": _parameters(project, name, found),
        "dimensions": footprint.dimensions,
        "index_bytes_per_million_chunks": round(footprint.bytes_per_chunk * _MILLION) + footprint.fixed_bytes,
        "chunks_per_second": round(1 / seconds, 2) if seconds else None,
        "query_ms": None if paid else _query_ms(retriever, questions, depth),
        "machine": machine(),
    }


# --- parts ----------------------------------------------------------------------------------------------------------


class _Part(NamedTuple):
    """Something with weights of its own, or behind an API.

    Attributes:
        spec: The name of its spec.
        loaded: An encoder of ours, or a library's cross-encoder.
    """

    spec: str
    loaded: Any


def _parts(project: Project, name: str, retriever: Retriever) -> Iterator[_Part]:
    """Everything that was loaded for a retriever, an encoder before the one whose vectors it works on."""
    if isinstance(retriever, RerankRetriever):
        spec = project.model_spec(name)
        yield _Part(str(spec.reranker), retriever.cross_encoder)
        yield from _parts(project, str(spec.retriever), retriever.first)
    elif isinstance(retriever, ScoreRetriever):
        yield from _encoders(retriever.scorer)


def _encoders(scorer: Scorer) -> Iterator[_Part]:
    if isinstance(scorer, HybridScorer):
        for side in scorer.sides:
            yield from _encoders(side)
    elif isinstance(scorer, _ENCODING):
        encoder = scorer.encoder
        while isinstance(encoder, DerivedEncoder):
            yield _Part(encoder.name, encoder)
            encoder = encoder.base
        yield _Part(encoder.name, encoder)


def _first_stage(retriever: Retriever) -> Scorer:
    while isinstance(retriever, RerankRetriever):
        retriever = retriever.first
    assert isinstance(retriever, ScoreRetriever)  # noqa: S101 (a spec is opened as one of the two)
    return retriever.scorer


def _parameters(project: Project, name: str, parts: Sequence[_Part]) -> int | None:
    """Of all distinct parts; the spec's word where one of them does not tell."""
    counts: dict[str, int | None] = {}
    for part in parts:
        spec = project.model_spec(part.spec)
        if isinstance(part.loaded, ApiEncoder):
            counts[str(spec.api.identity if spec.api else part.spec)] = spec.parameters
        elif isinstance(part.loaded, AdaptedEncoder):
            maps = part.loaded.maps
            counts[part.loaded.fingerprint] = sum(side.size for side in (maps.query, maps.document) if side is not None)
        elif not isinstance(part.loaded, DerivedEncoder):
            model = getattr(part.loaded, "model", part.loaded)
            counts[_folder(project, part.spec)] = parameter_count(model)
    known = [count for count in counts.values() if count is not None]
    return sum(known) if len(known) == len(counts) else project.model_spec(name).parameters


def _folder(project: Project, name: str) -> str:
    """Where a part's weights are: two specs of the same ones do not count twice."""
    spec = project.model_spec(name)
    return _folder(project, spec.base) if spec.base else str(model_folder(project, name, spec).resolve())


# --- time -----------------------------------------------------------------------------------------------------------


def _seconds_per_chunk(scorer: Scorer, passages: Sequence[str]) -> float | None:
    """Of encoding or indexing, by all sides of a hybrid one after another."""
    if isinstance(scorer, HybridScorer):
        sides = [_seconds_per_chunk(side, passages) for side in scorer.sides]
        known = [side for side in sides if side is not None]
        return sum(known) if len(known) == len(sides) else None
    if scorer.footprint.seconds is not None:
        return scorer.footprint.seconds / max(1, len(passages))
    return _sampled(scorer.encoder, passages) if isinstance(scorer, _ENCODING) else None


def _sampled(encoder: Any, passages: Sequence[str]) -> float | None:
    """Seconds for each of some passages."""
    rate = per_second(spread(passages, _SAMPLE), lambda part: encoder.encode(part, "document"), _SECONDS)
    return None if rate is None else 1 / rate


def _query_ms(retriever: Retriever, questions: Sequence[str], depth: int) -> Json | None:
    """Milliseconds from a question's text to its ranking, one question at a time."""
    started, taken = time.perf_counter(), []
    asked = spread(questions, _QUESTIONS)
    for text in asked[:1]:
        retriever.afresh().run({"": text}, depth)
    fresh = retriever.afresh()
    for text in asked:
        before = time.perf_counter()
        fresh.run({"": text}, depth)
        after = time.perf_counter()
        taken.append(1000 * (after - before))
        if after - started > _SECONDS:
            break
    if not taken:
        return None
    p50, p95 = np.percentile(taken, [50, 95])
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3), "questions": len(taken)}


# --- machine --------------------------------------------------------------------------------------------------------


def machine() -> Json:
    """What the figures were measured on: `cpu`, `cores` (that this process may use), `threads`, `gpu`, `torch`."""
    import torch

    device = device_name()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu(),
        "cores": usable,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else "MPS" if device == "mps" else None,
        "torch": str(torch.__version__),
    }


def _cpu() -> str | None:
    """The processor's name; Linux has it in a file."""
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or None
