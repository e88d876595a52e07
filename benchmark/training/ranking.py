"""The development split of rerankers: a first stage's best hits, and how well they are ordered.

A passage that the first stage did not find scores nothing whatever the reranker says: candidate recall is the ceiling.
"""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.console import SILENT
from benchmark.device import device_name
from benchmark.encoders.fused import fuse_reranked
from benchmark.encoders.pairs import logits
from benchmark.encoders.retrieve import (
    BM25Scorer,
    Retriever,
    ScoreRetriever,
    bm25_index,
    open_retriever,
)
from benchmark.encoders.scores import kept_logits
from benchmark.encoders.shelf import Shelf
from benchmark.files import Json
from benchmark.records import Hit
from benchmark.runs import rank
from benchmark.specs import BM25Settings, CrossEncoderRun
from benchmark.training.choice import ENOUGH_WRITTEN
from benchmark.training.emit import weights_spec
from benchmark.training.job import Job
from benchmark.training.material import Material
from benchmark.training.ranks import CUTOFF, Quality
from benchmark.weights import folder_fingerprint

MOST_QUERIES: Final = 200
"""Development queries whose candidates a reranker scores, at most."""
MOST_PAIRS: Final = 3_000
"""Pairs that it scores for that: what takes two cores a few minutes."""
_MOST_ON_GPU: Final = 20_000
LOOK_DEPTH: Final = 20
"""Candidates of a query that are scored when training looks at the development split."""
MOST_LOOKED_AT: Final = 60
"""Queries that it looks at, at most."""
_FEWEST_LOOKED_AT: Final = 30
_LOOKS: Final = (4, 8)


class FirstStage(NamedTuple):
    """What finds the candidates: its name, and the retriever."""

    name: str
    retriever: Retriever


def open_first_stage(job: Job[CrossEncoderRun], material: Material) -> FirstStage:
    """The first stage of a run; where it names none, its base if that is a bi-encoder, else BM25.

    Raises:
        BenchError: A spec, or a part of it, cannot be had.
    """
    run, project = job.run, job.project
    name = run.first_stage or (run.base if project.model_spec(run.base).kind == "bi-encoder" else None)
    if name is None:
        return FirstStage("BM25", ScoreRetriever(BM25Scorer(bm25_index(material.chunks, BM25Settings()))))
    return FirstStage(name, open_retriever(project, job.domain, name, material.chunks, job.reporter))


class Deciding(NamedTuple):
    """Which development queries a choice is made by: their positions, and what they are."""

    rows: NDArray[np.int64]
    words: str


def deciding(material: Material) -> Deciding:
    """The written development queries where there are enough of them, else all.

    Cuts of the text share their words with it and flatter whatever matches words; people's questions are more like
    written ones.
    """
    if len(material.written) >= ENOUGH_WRITTEN:
        return Deciding(material.written, "written development queries")
    return Deciding(np.arange(material.counted), "development queries of every origin")


def graded(hits: Sequence[str], relevant: Collection[str]) -> tuple[float, float]:
    """nDCG@10 (binary) and MRR@10 of a ranking.

    >>> graded(["a", "b", "c"], {"b"})[1]
    0.5
    """
    places = np.array([place for place, chunk in enumerate(hits[:CUTOFF], start=1) if chunk in relevant], dtype=float)
    ideal = 1 / np.log2(1 + np.arange(1, min(len(relevant), CUTOFF) + 1))
    mrr = 1 / places[0] if len(places) else 0.0
    return float((1 / np.log2(1 + places)).sum() / ideal.sum()), float(mrr)


def quality_of(rankings: Sequence[Sequence[str]], relevant: Sequence[Collection[str]]) -> Quality:
    """nDCG@10 and MRR@10 of each query's ranking."""
    found = np.array([graded(hits, wanted) for hits, wanted in zip(rankings, relevant, strict=True)]).reshape(-1, 2)
    return Quality(found[:, 0], found[:, 1])


@dataclass(frozen=True)
class Candidates:
    """Development queries, each with a first stage's best hits; scores are arrays over all `pairs`.

    Attributes:
        first_stage: Who found them.
        depth: How many of each query, at most.
        words: What queries these are.
        texts: Chunk id -> text.
        queries: The queries' texts.
        hits: What the first stage found for each, best first.
        relevant: Ids of the chunks that are relevant to each.
    """

    first_stage: str
    depth: int
    words: str
    texts: Mapping[str, str]
    queries: Sequence[str]
    hits: Sequence[Sequence[Hit]]
    relevant: Sequence[frozenset[str]]

    @functools.cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """(query, passage) of every candidate, query after query."""
        return [
            (query, self.texts[hit.chunk]) for query, hits in zip(self.queries, self.hits, strict=True) for hit in hits
        ]

    @property
    def recall(self) -> float:
        """The share of a query's relevant passages among its candidates, in the mean: the reranker's ceiling."""
        shares = [
            len(wanted & {hit.chunk for hit in hits}) / len(wanted)
            for wanted, hits in zip(self.relevant, self.hits, strict=True)
        ]
        return float(np.mean(shares))

    @property
    def facts(self) -> Json:
        """What they are, for a manifest."""
        return {
            "queries": len(self.queries),
            "unit": f"{self.words}, the first {self.depth} hits of {self.first_stage} reranked",
            "first_stage": self.first_stage,
            "depth": self.depth,
            "candidate_recall": self.recall,
        }

    @property
    def before(self) -> Quality:
        """The first stage's own order."""
        return quality_of([[hit.chunk for hit in hits] for hits in self.hits], self.relevant)

    def reranked(self, scores: NDArray[np.float32]) -> Quality:
        """In the order of a reranker's scores, shape (n_pairs,)."""
        return self._ordered(self._by_query(scores))

    def fused(self, scores: NDArray[np.float32], weights: Sequence[float]) -> Quality:
        """In the order of both sides' weighted scores (`fuse_reranked`)."""
        rows = [
            fuse_reranked([hit.score for hit in hits], row.tolist(), weights)
            for hits, row in zip(self.hits, self._by_query(scores), strict=True)
        ]
        return self._ordered(rows)

    def looked_at(self, most: int, seed: int) -> "Candidates":
        """At most so many of those queries that have something to gain, with fewer candidates; may be none."""
        hits = [row[:LOOK_DEPTH] for row in self.hits]
        able = [i for i, row in enumerate(hits) if any(hit.chunk in self.relevant[i] for hit in row)]
        rows = sorted(np.random.default_rng(seed).permutation(able)[:most].tolist())
        return replace(
            self,
            depth=min(self.depth, LOOK_DEPTH),
            queries=[self.queries[row] for row in rows],
            hits=[hits[row] for row in rows],
            relevant=[self.relevant[row] for row in rows],
        )

    def _by_query(self, scores: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return np.split(scores, np.cumsum([len(hits) for hits in self.hits])[:-1])

    def _ordered(self, rows: Sequence[NDArray[np.float32]]) -> Quality:
        rankings = []
        for hits, row in zip(self.hits, rows, strict=True):
            scores = {hit.chunk: float(score) for hit, score in zip(hits, row, strict=True)}
            rankings.append([hit.chunk for hit in rank(scores, CUTOFF)])
        return quality_of(rankings, self.relevant)


def development_candidates(material: Material, first: FirstStage, depth: int, seed: int) -> Candidates:
    """What a first stage finds for the development queries that decide, or for a draw of them.

    Args:
        material: The queries and the passages.
        first: The first stage.
        depth: Hits of each query.
        seed: For the draw.
    """
    among, words = deciding(material)
    pairs = MOST_PAIRS if device_name() == "cpu" else _MOST_ON_GPU
    most = min(MOST_QUERIES, max(1, pairs // depth))
    rows = sorted(np.random.default_rng(seed).permutation(among)[:most].tolist())
    asked = [material.development[row] for row in rows]
    run = first.retriever.run({str(row): item.text for row, item in zip(rows, asked, strict=True)}, depth)
    return Candidates(
        first.name,
        depth,
        words,
        {chunk.id: chunk.full_text for chunk in material.chunks},
        [item.text for item in asked],
        [run[str(row)] for row in rows],
        [frozenset(material.chunks[place].id for place in item.relevant) for item in asked],
    )


def looks_an_epoch(rows: int, pairs: int) -> int:
    """How often training looks at the development split: what the looks cost is a part of what training costs.

    Args:
        rows: Pairs of an epoch.
        pairs: Pairs of a look.

    >>> looks_an_epoch(100, 600), looks_an_epoch(3_600, 600), looks_an_epoch(60_000, 1_200)
    (4, 6, 8)
    """
    fewest, most = _LOOKS
    return max(fewest, min(most, rows // max(1, pairs)))


def queries_of_a_look(rows: int) -> int:
    """How many queries a look asks, for so many training pairs in an epoch.

    >>> queries_of_a_look(100), queries_of_a_look(4_000), queries_of_a_look(60_000)
    (30, 50, 60)
    """
    return max(_FEWEST_LOOKED_AT, min(MOST_LOOKED_AT, rows // (_LOOKS[0] * LOOK_DEPTH)))


def kept_scores(
    job: Job[CrossEncoderRun], weights: Path, candidates: Candidates, open_model: Callable[[], Any]
) -> NDArray[np.float32]:
    """A reranker's scores of the candidates, shape (n_pairs,); kept, since training and fusion ask for the same.

    Args:
        job: The run that trains it.
        weights: The reranker's folder, in which everything stands that decides a score.
        candidates: What it scores.
        open_model: Gives the `CrossEncoder`, where scores are missing.
    """
    shelf = Shelf.of(job.domain, folder_fingerprint(weights_spec(job, weights), weights))
    opened, name = functools.cache(open_model), job.run.name

    def score(pairs: list[tuple[str, str]]) -> NDArray[np.float32]:
        return logits(opened(), pairs, SILENT, name=name)

    return kept_logits(shelf, name, candidates.pairs, score, job.reporter, f"{name}: scoring development")
