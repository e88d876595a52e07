"""Linear adapters: from vectors that are encoded once to one or two matrices, in seconds and without a GPU."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.console import Reporter
from benchmark.encoders.adapter import LinearMaps, open_encoder
from benchmark.encoders.dense import Encoder
from benchmark.encoders.store import document_vectors, query_vectors
from benchmark.errors import BenchError
from benchmark.files import Json
from benchmark.project import Domain
from benchmark.specs import AdapterRun
from benchmark.training.choice import Choice, choose
from benchmark.training.data import write_trained_chunks
from benchmark.training.export import Card, write_model
from benchmark.training.job import Job
from benchmark.training.lexical import lexical_targets
from benchmark.training.linear import Fitted, Pairs, Targets, fit
from benchmark.training.material import WRITTEN, Material, further_positives, judged, kinds_of, read_material
from benchmark.training.ranks import Judged
from benchmark.weights import ADAPTER_FILE

SHARES = (1.0, 0.75, 0.5, 0.25)
"""Mixtures of the adapter with its base that are compared: identity + share * (matrix - identity)."""


def train_adapter(job: Job[AdapterRun], target: Path) -> Json:
    """Train an adapter, choose how much of it to keep, and save it.

    Args:
        job: The settings and the data; the seed is for the order of the queries, and for which are left out beyond
            `max_pairs`.
        target: The folder that the matrices and the model go to.

    Returns:
        Facts: pairs, epochs, loss, what was chosen and why, and the development split's nDCG@10 and MRR@10.

    Raises:
        BenchError: The base or the data cannot be had, or memory does not suffice.
    """
    project, domain, run, seed, reporter = job.project, job.domain, job.run, job.seed, job.reporter
    base = open_encoder(project, run.base)
    material = read_material(domain, run.max_pairs, seed)
    documents = document_vectors(domain, base, material.chunks, reporter)
    pairs = _pairs(domain, base, material, documents, reporter)
    if run.lexical:
        reporter.note(f"{run.name}: BM25 and {run.base} rank the passages for every query")
        pairs = replace(pairs, targets=_targets(run, pairs, material))
    found = judged(domain, base, material, reporter)
    before = found.quality(LinearMaps.identity(documents.shape[1], both=False))
    counted = material.counted
    reporter.note(
        f"{run.name}: {len(pairs.queries)} pairs, {pairs.candidates} candidates; development nDCG@10 of the base "
        f"{before.ndcg[:counted].mean():.4f}"
    )
    fitted = _fit(run, pairs, found, counted, seed, reporter)
    mixtures = {share: found.quality(fitted.maps.mixed(share)) for share in SHARES}
    choice = choose(
        before.ndcg,
        {share: quality.ndcg for share, quality in mixtures.items()},
        kinds_of(material),
        counted,
        seed,
        material.written,
    )
    reporter.note(f"{run.name}: {choice.word}: {choice.why}")
    after = mixtures.get(choice.share, before)
    maps = fitted.maps.mixed(choice.share)
    facts = _facts(run, pairs, fitted, choice, maps) | {
        "development": {"queries": counted, "before": before.means(counted), "after": after.means(counted)},
    }
    maps.save(target / ADAPTER_FILE)
    write_trained_chunks(domain, (material.chunks[asked.relevant[0]].id for asked in material.training), target)
    card = Card(domain, run, seed, facts, before=before.ndcg[:counted], after=after.ndcg[:counted])
    write_model(target, project, base, maps, card)
    return facts


def _fit(run: AdapterRun, pairs: Pairs, found: Judged, counted: int, seed: int, reporter: Reporter) -> Fitted:
    """Train with a bar; the best epoch is that of the development split.

    Raises:
        BenchError: Memory did not suffice; says what to lower.
    """
    import torch

    first = Judged(found.queries[:counted], found.documents, found.relevant[:counted], found.ids)

    def score(maps: LinearMaps) -> float:
        return float(first.quality(maps).ndcg.mean())

    label = f"{run.name}: training the adapter"
    try:
        with reporter.progress(total=run.epochs, label=label) as update:
            return fit(pairs, run, seed, update, score)
    except (MemoryError, torch.OutOfMemoryError):
        raise BenchError(
            f"{run.name}: memory does not suffice; lower batch_size (now {run.batch_size}) or take "
            "a base with fewer dimensions"
        ) from None


def _pairs(
    domain: Domain, base: Encoder, material: Material, documents: NDArray[np.float32], reporter: Reporter
) -> Pairs:
    """Training queries with their candidates; passages that only development asks for are left out of these.

    As negatives of every query they would be pushed away, and the development split would show a harm that the
    finished adapter does not do.
    """
    vectors = query_vectors(domain, base, [asked.text for asked in material.training], reporter)
    positives = np.array([asked.relevant[0] for asked in material.training], dtype=np.int64)
    left_out = np.zeros(len(documents), dtype=bool)
    left_out[[row for asked in material.development for row in asked.relevant]] = True
    left_out[positives] = False
    return Pairs(vectors, documents, positives, further_positives(material), left_out)


def _targets(run: AdapterRun, pairs: Pairs, material: Material) -> Targets:
    """The lexical teacher's shares; less for written queries, whose words are their own and whose passage is sure."""
    written = np.array([asked.origin in WRITTEN for asked in material.training])
    weights = np.where(written, run.lexical / 3, run.lexical).astype(np.float32)
    return lexical_targets(pairs, [asked.text for asked in material.training], material.chunks, weights)


def _facts(run: AdapterRun, pairs: Pairs, fitted: Fitted, choice: Choice, maps: LinearMaps) -> Json:
    return {
        "pairs": len(pairs.queries),
        "candidates": pairs.candidates,
        "sides": run.sides,
        "dimensions": maps.dimensions,
        "epochs": len(fitted.losses),
        "best_epoch": fitted.epoch,
        "final_loss": fitted.losses[-1],
        "distance_from_identity": maps.distance,
        "choice": choice.to_json(),
    }
