"""Linear adapters: from vectors that are encoded once to one or two matrices, in seconds and without a GPU."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.console import Reporter
from benchmark.encoders.adapter import LinearMaps, open_encoder
from benchmark.encoders.dense import Encoder
from benchmark.encoders.store import document_vectors, query_vectors
from benchmark.errors import BenchError
from benchmark.files import Json, iter_jsonl, shown
from benchmark.project import Domain, Project
from benchmark.records import Chunk, read_chunks
from benchmark.specs import FinetuneSpec
from benchmark.training.choice import FEWEST, Choice, Kind, choose
from benchmark.training.data import read_development, write_trained_chunks
from benchmark.training.export import Card, write_model
from benchmark.training.linear import Fitted, Pairs, fit
from benchmark.training.ranks import Judged, Quality
from benchmark.weights import ADAPTER_FILE

SHARES = (1.0, 0.75, 0.5, 0.25)
"""Mixtures of the adapter with its base that are compared: identity + share * (matrix - identity)."""
MADE = "with title (made for this check)"


@dataclass(frozen=True)
class Asked:
    """A training or development query.

    Attributes:
        text: The query.
        relevant: Rows of its passages in the corpus.
        origin: How it was made.
    """

    text: str
    relevant: tuple[int, ...]
    origin: str


@dataclass(frozen=True)
class Material:
    """What an adapter learns from and is chosen by.

    Attributes:
        chunks: The passages.
        training: Queries to learn from, the first passage of each is the one it was made from.
        development: Queries on documents that training never sees.
        made: Development queries with their document's title put in front, where too few of them begin with it.
    """

    chunks: Sequence[Chunk]
    training: Sequence[Asked]
    development: Sequence[Asked]
    made: Sequence[Asked]


def train_adapter(
    project: Project, domain: Domain, run: FinetuneSpec, seed: int, target: Path, reporter: Reporter
) -> Json:
    """Train an adapter, choose how much of it to keep, and save it.

    Args:
        project: Where the base's spec stands.
        domain: Whose synthetic data are used.
        run: The settings.
        seed: For the order of the queries, and for which are left out beyond `max_pairs`.
        target: The folder that the matrices and the model go to.
        reporter: Shows loss and time left.

    Returns:
        Facts: pairs, epochs, loss, what was chosen and why, and the development split's nDCG@10 and MRR@10.

    Raises:
        BenchError: The base or the data cannot be had, or memory does not suffice.
    """
    base = open_encoder(project, run.base)
    material = read_material(domain, run.max_pairs, seed)
    documents = document_vectors(domain, base, material.chunks, reporter)
    pairs = _pairs(domain, base, material, documents, reporter)
    judged = _judged(domain, base, material, documents, reporter)
    before = judged.quality(LinearMaps.identity(documents.shape[1], both=False))
    counted = len(material.development)
    reporter.note(
        f"{run.name}: {len(pairs.queries)} pairs, {pairs.candidates} candidates; development nDCG@10 of the base "
        f"{before.ndcg[:counted].mean():.4f}"
    )
    fitted = _fit(run, pairs, judged, counted, seed, reporter)
    mixtures = {share: judged.quality(fitted.maps.mixed(share)) for share in SHARES}
    choice = choose(
        before.ndcg, {share: quality.ndcg for share, quality in mixtures.items()}, kinds_of(material), counted, seed
    )
    reporter.note(f"{run.name}: {choice.word}: {choice.why}")
    after = mixtures.get(choice.share, before)
    maps = fitted.maps.mixed(choice.share)
    facts = _facts(run, pairs, fitted, choice, maps) | {
        "development": {"queries": counted, "before": _means(before, counted), "after": _means(after, counted)},
    }
    maps.save(target / ADAPTER_FILE)
    write_trained_chunks(domain, (material.chunks[asked.relevant[0]].id for asked in material.training), target)
    write_model(target, project, base, maps, Card(domain, run, seed, facts))
    return facts


def _fit(run: FinetuneSpec, pairs: Pairs, judged: Judged, counted: int, seed: int, reporter: Reporter) -> Fitted:
    """Train with a bar; the best epoch is that of the development split.

    Raises:
        BenchError: Memory did not suffice; says what to lower.
    """
    import torch

    first = Judged(judged.queries[:counted], judged.documents, judged.relevant[:counted], judged.ids)

    def score(maps: LinearMaps) -> float:
        return float(first.quality(maps).ndcg.mean())

    label = f"{run.name}: training the adapter"
    try:
        with reporter.progress(total=run.linear.epochs, label=label) as update:
            return fit(pairs, run.linear, seed, update, score)
    except (MemoryError, torch.OutOfMemoryError):
        raise BenchError(
            f"{run.name}: memory does not suffice; lower adapter.batch_size (now {run.linear.batch_size}) or take "
            "a base with fewer dimensions"
        ) from None


def read_material(domain: Domain, most: int | None, seed: int) -> Material:
    """Read the generate stage's queries.

    Args:
        domain: Whose.
        most: At most so many training queries, drawn at random.
        seed: For the draw.

    Raises:
        BenchError: There are no files, no training queries or no development queries.
    """
    path = domain.synthetic / "queries.jsonl"
    if not path.is_file():
        raise BenchError(f"{shown(path)}: no such file; make it with: domainbench generate")
    chunks = read_chunks(domain.passages)
    place = {chunk.id: number for number, chunk in enumerate(chunks)}
    rows = [row for row in iter_jsonl(path) if row["split"] == "train"]
    if not rows:
        raise BenchError(f"{shown(path)}: holds no training queries; generate more questions or loosen the filters")
    if most is not None and most < len(rows):
        rows = [rows[number] for number in sorted(np.random.default_rng(seed).permutation(len(rows))[:most])]
    training = [Asked(row["text"], (place[row["chunk"]],), row["origin"]) for row in rows]
    split = read_development(domain)
    origins = {row["id"]: row["origin"] for row in iter_jsonl(domain.synthetic / "dev_queries.jsonl")}
    development = [
        Asked(text, tuple(sorted(place[chunk] for chunk in split.qrels[query])), origins[query])
        for query, text in split.queries.items()
    ]
    if not development:
        raise BenchError(
            f"{shown(domain.synthetic / 'dev_queries.jsonl')}: holds no queries; an adapter is chosen by them: raise "
            "'development_share' under 'generate' or make more queries"
        )
    return Material(chunks, training, development, _with_titles(development, chunks))


def _named(asked: Asked, chunks: Sequence[Chunk]) -> bool:
    """Whether a query begins with its document's title."""
    title = chunks[asked.relevant[0]].title.lower()
    return bool(title) and asked.text.lower().startswith(title)


def _with_titles(development: Sequence[Asked], chunks: Sequence[Chunk]) -> list[Asked]:
    """Queries that name their document, made where the split has too few: what it never asks, it cannot warn of."""
    if sum(_named(asked, chunks) for asked in development) >= FEWEST:
        return []
    titles = [chunks[asked.relevant[0]].title for asked in development]
    return [
        Asked(f"{title}: {asked.text}", asked.relevant, asked.origin)
        for title, asked in zip(titles, development, strict=True)
        if title and not _named(asked, chunks)
    ]


def kinds_of(material: Material) -> list[Kind]:
    """Development queries by origin, with and without title; the made ones stand behind them."""
    groups: dict[str, list[int]] = defaultdict(list)
    titled: dict[str, list[int]] = defaultdict(list)
    for number, asked in enumerate(material.development):
        groups[asked.origin].append(number)
        if material.chunks[asked.relevant[0]].title:
            titled["with title" if _named(asked, material.chunks) else "without title"].append(number)
    count = len(material.development)
    named = [
        *(Kind(name, np.array(rows)) for name, rows in sorted(groups.items())),
        # A loss of names counts however few ask by them: the test asks for enough of them by itself.
        *(Kind(name, np.array(rows), 1 if name == "with title" else FEWEST) for name, rows in sorted(titled.items())),
    ]
    if material.made:
        named.append(Kind(MADE, np.arange(count, count + len(material.made)), 1))
    return named


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


def further_positives(material: Material) -> list[list[int]]:
    """Rows that are relevant to each training query beside its own: the same words again, or an equal query's."""
    same_text: dict[str, list[int]] = defaultdict(list)
    for number, chunk in enumerate(material.chunks):
        same_text[" ".join(chunk.text.split())].append(number)
    twins = {row: rows for rows in same_text.values() if len(rows) > 1 for row in rows}
    same_query: dict[str, set[int]] = defaultdict(set)
    for asked in material.training:
        same_query[asked.text].update(asked.relevant)
    found = []
    for asked in material.training:
        rows = {twin for row in same_query[asked.text] for twin in twins.get(row, [row])}
        found.append(sorted(rows - {asked.relevant[0]}))
    return found


def _judged(
    domain: Domain, base: Encoder, material: Material, documents: NDArray[np.float32], reporter: Reporter
) -> Judged:
    asked = [*material.development, *material.made]
    vectors = query_vectors(domain, base, [item.text for item in asked], reporter)
    return Judged(vectors, documents, [item.relevant for item in asked], [chunk.id for chunk in material.chunks])


def _means(quality: Quality, counted: int) -> dict[str, float]:
    return {"ndcg@10": float(quality.ndcg[:counted].mean()), "mrr@10": float(quality.mrr[:counted].mean())}


def _facts(run: FinetuneSpec, pairs: Pairs, fitted: Fitted, choice: Choice, maps: LinearMaps) -> Json:
    return {
        "pairs": len(pairs.queries),
        "candidates": pairs.candidates,
        "sides": run.linear.sides,
        "dimensions": maps.dimensions,
        "epochs": len(fitted.losses),
        "best_epoch": fitted.epoch,
        "final_loss": fitted.losses[-1],
        "distance_from_identity": maps.distance,
        "choice": choice.to_json(),
    }
