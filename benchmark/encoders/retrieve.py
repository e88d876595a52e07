"""From a spec to something that ranks a corpus: dense, sparse, late interaction, BM25, hybrid, retriever and reranker."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from benchmark.console import SILENT, Reporter
from benchmark.encoders.adapter import open_encoder
from benchmark.encoders.asymmetric import is_asymmetric
from benchmark.encoders.bm25 import BM25Index
from benchmark.encoders.dense import open_cross_encoder
from benchmark.encoders.late import open_late_scorer
from benchmark.encoders.pairs import logits
from benchmark.encoders.scorers import DenseScorer, Footprint, Scorer
from benchmark.encoders.sparse import open_sparse_scorer
from benchmark.encoders.store import stored_documents
from benchmark.errors import BenchError
from benchmark.project import Domain, Project
from benchmark.records import Chunk, Hit, Run
from benchmark.runs import rank, rank_row
from benchmark.specs import BM25Settings
from benchmark.weights import model_folder

# The dense side's weight in a hybrid, where the spec gives none (docs/LOG.md has the measurement).
HYBRID_WEIGHTS = (0.6, 0.4)
# How many hits of each side of a hybrid are pooled before their scores are normalised.
HYBRID_POOL = 100

Candidates = Mapping[str, Sequence[str]]


class Retriever(Protocol):
    """Anything that ranks the chunks of one corpus."""

    def run(self, queries: Mapping[str, str], depth: int, candidates: Candidates | None = None) -> Run:
        """Rank the corpus, or only each query's candidates, and keep the best `depth`."""


class BM25Scorer:
    """BM25 scores."""

    def __init__(self, index: BM25Index) -> None:
        self.ids = index.ids
        self.footprint = Footprint(index.posting_bytes / max(1, len(index.ids)), index.word_bytes, None, index.seconds)
        self._index = index

    def score_rows(self, queries: Sequence[str]) -> Iterator[NDArray[np.float32]]:
        """One row of BM25 scores for each query."""
        return (self._index.scores(query) for query in queries)


class ZScores:
    """Rows of scores for the same chunks, brought onto one scale, so that any weights can be tried on them.

    Args:
        rows: One row of shape (n_chunks,) for each side, n_chunks at least 1.
        pool: Positions of the chunks over which mean and deviation are taken; all by default.
    """

    def __init__(self, rows: Sequence[NDArray[np.float32]], pool: NDArray[np.int64] | None = None) -> None:
        values = [(row if pool is None else row[pool]).astype(np.float64) for row in rows]
        self._deviations = [side.std() for side in values]
        self._centred = [row - side.mean() for row, side in zip(rows, values, strict=True)]

    def fused(self, weights: Sequence[float]) -> NDArray[np.float32]:
        """The weighted sum, shape (n_chunks,); a side that scores everything alike has no say."""
        total = np.zeros(len(self._centred[0]), dtype=np.float64)
        for centred, deviation, weight in zip(self._centred, self._deviations, weights, strict=True):
            if deviation > 0:
                total += weight * centred / deviation
        return total.astype(np.float32)


class HybridScorer:
    """Two scorers, z-normalised over the pool of both sides' best hits and added with weights.

    Chunks outside the pool keep their order by the same formula, since both sides score every chunk.

    Attributes:
        sides: Both scorers.
    """

    def __init__(self, sides: Sequence[Scorer], weights: Sequence[float]) -> None:
        self.ids = sides[0].ids
        self.sides = sides
        self._weights = weights

    @property
    def footprint(self) -> Footprint:
        """Of both sides together."""
        found = [side.footprint for side in self.sides]
        dimensions = [one.dimensions for one in found if one.dimensions is not None]
        seconds = [one.seconds for one in found if one.seconds is not None]
        return Footprint(
            sum(one.bytes_per_chunk for one in found),
            sum(one.fixed_bytes for one in found),
            dimensions[0] if len(dimensions) == 1 else None,
            sum(seconds) if len(seconds) == len(found) else None,
        )

    def score_rows(self, queries: Sequence[str]) -> Iterator[NDArray[np.float32]]:
        """One row of fused scores for each query."""
        for rows in zip(*(side.score_rows(queries) for side in self.sides), strict=True):
            yield fuse_rows(rows, self._weights)


def hybrid_scores(rows: Sequence[NDArray[np.float32]]) -> ZScores:
    """Both sides of a hybrid on one scale: mean and deviation are over the union of each side's best hits.

    Args:
        rows: One row of shape (n_chunks,) for each side.
    """
    depth = min(HYBRID_POOL, len(rows[0]))
    return ZScores(rows, np.unique(np.concatenate([np.argpartition(-row, depth - 1)[:depth] for row in rows])))


def fuse_rows(rows: Sequence[NDArray[np.float32]], weights: Sequence[float]) -> NDArray[np.float32]:
    """Weighted sum of z-normalised scores; see `hybrid_scores`.

    Args:
        rows: One row of shape (n_chunks,) for each side.
        weights: One weight for each side.
    """
    return hybrid_scores(rows).fused(weights)


class ScoreRetriever:
    """Ranks by a scorer's scores."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self._position = {chunk: i for i, chunk in enumerate(scorer.ids)}

    def run(self, queries: Mapping[str, str], depth: int, candidates: Candidates | None = None) -> Run:
        """Rank the corpus, or only each query's candidates, and keep the best `depth`."""
        run: Run = {}
        for query, row in zip(queries, self.scorer.score_rows(list(queries.values())), strict=True):
            if candidates is None:
                run[query] = rank_row(row, self.scorer.ids, depth)
            else:
                scores = {chunk: float(row[self._position[chunk]]) for chunk in candidates[query]}
                run[query] = rank(scores, depth)
        return run


class RerankRetriever:
    """A first stage whose best hits a cross-encoder ranks anew; what lies below keeps the first stage's order.

    Args:
        first: The first stage.
        cross_encoder: The reranker, a `CrossEncoder`.
        texts: Chunk id -> text.
        depth: How many hits are ranked anew.
        reporter: Shows progress.
        label: What to call this work on the screen.
        weights: Of the first stage's scores and of the reranker's, both z-normalised over a query's candidates, in
            the sum that ranks them; without them the reranker's scores alone do.
        name: The cross-encoder's spec, for messages.
    """

    def __init__(
        self,
        first: Retriever,
        cross_encoder: Any,
        texts: Mapping[str, str],
        depth: int,
        reporter: Reporter = SILENT,
        label: str = "",
        weights: Sequence[float] | None = None,
        name: str = "",
    ) -> None:
        self.first = first
        self.cross_encoder = cross_encoder
        self._texts = texts
        self._depth = depth
        self._reporter = reporter
        self._label = label
        self._weights = weights
        self._name = name
        # Scores of (query text, chunk id): a second task asks for many of the first one's pairs again.
        self._known: dict[tuple[str, str], float] = {}

    def afresh(self) -> Self:
        """The same pipeline, silent and without the scores that it knows already: as slow as for a new question."""
        other = copy.copy(self)
        other.first = self.first.afresh() if isinstance(self.first, RerankRetriever) else self.first
        other._known, other._reporter, other._label = {}, SILENT, ""
        return other

    def run(self, queries: Mapping[str, str], depth: int, candidates: Candidates | None = None) -> Run:
        """Rank the first stage's hits (or every candidate) with the cross-encoder."""
        first = self.first.run(queries, max(depth, self._depth), candidates)
        top = {query: hits if candidates is not None else hits[: self._depth] for query, hits in first.items()}
        self._score([(queries[query], hit.chunk) for query, hits in top.items() for hit in hits])
        return {
            query: self._with_rest(self._scores(queries[query], top[query]), first[query], depth) for query in queries
        }

    def _scores(self, text: str, hits: Sequence[Hit]) -> dict[str, float]:
        scores = [self._known.get((text, hit.chunk), 0.0) for hit in hits]
        if self._weights is not None:
            scores = fuse_reranked([hit.score for hit in hits], scores, self._weights).tolist()
        return {hit.chunk: score for hit, score in zip(hits, scores, strict=True)}

    def _with_rest(self, scores: dict[str, float], first: list[Hit], depth: int) -> list[Hit]:
        reranked = rank(scores, len(scores))
        floor = (reranked[-1].score if reranked else 0.0) - 1.0
        rest = [hit.chunk for hit in first if hit.chunk not in scores]
        return [*reranked, *(Hit(chunk, floor - i) for i, chunk in enumerate(rest))][:depth]

    def _score(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Score the pairs that are not known yet, unless nothing depends on their scores."""
        if self._weights is not None and self._weights[1] == 0:
            return
        new = sorted(pair for pair in set(pairs) if pair not in self._known)
        texts = [(query, self._texts[chunk]) for query, chunk in new]
        scores = logits(self.cross_encoder, texts, self._reporter, self._label, self._name).tolist()
        self._known.update(zip(new, scores, strict=True))


def fuse_reranked(first: Sequence[float], reranked: Sequence[float], weights: Sequence[float]) -> NDArray[np.float32]:
    """Weighted sum of a first stage's and a reranker's scores of one query's candidates, both z-normalised over them.

    Args:
        first: The first stage's scores, shape (n_candidates,).
        reranked: The reranker's.
        weights: Of the two.

    >>> fuse_reranked([3.0, 2.0, 1.0], [10.0, 30.0, 20.0], [0.0, 1.0]).argsort().tolist()
    [0, 2, 1]
    """
    if not len(first):
        return np.zeros(0, dtype=np.float32)
    return ZScores([np.asarray(row, dtype=np.float32) for row in (first, reranked)]).fused(weights)


def open_retriever(
    project: Project, domain: Domain, name: str, chunks: Sequence[Chunk], reporter: Reporter = SILENT
) -> Retriever:
    """The retriever that a model spec describes, over a corpus.

    Raises:
        BenchError: The spec, or a part of it, cannot be had or does not fit.
    """
    spec = project.model_spec(name)
    if spec.retriever is None or spec.reranker is None:
        return ScoreRetriever(open_scorer(project, domain, name, chunks, reporter))
    reranker = project.model_spec(spec.reranker)
    if reranker.kind != "cross-encoder":
        raise BenchError(
            f"model_specs/{name}.yaml: reranker: {spec.reranker} is no cross-encoder (kind: cross-encoder)"
        )
    folder = model_folder(project, spec.reranker, reranker)
    model = open_cross_encoder(folder, reranker, f"model_specs/{spec.reranker}.yaml")
    first = open_retriever(project, domain, spec.retriever, chunks, reporter)
    texts = {chunk.id: chunk.full_text for chunk in chunks}
    label = f"{name}: reranking"
    return RerankRetriever(first, model, texts, spec.depth, reporter, label, spec.weights, spec.reranker)


def open_scorer(
    project: Project, domain: Domain, name: str, chunks: Sequence[Chunk], reporter: Reporter = SILENT
) -> Scorer:
    """The scorer of a one-stage spec.

    Raises:
        BenchError: The spec has two stages, or its weights cannot be had.
    """
    spec = project.model_spec(name)
    if spec.bm25 is not None:
        return BM25Scorer(bm25_index(chunks, spec.bm25))
    if spec.hybrid is not None:
        sides = [open_scorer(project, domain, part, chunks, reporter) for part in spec.hybrid]
        return HybridScorer(sides, spec.weights or HYBRID_WEIGHTS)
    if spec.retriever is not None:
        raise BenchError(f"model_specs/{name}.yaml: a pipeline of two stages cannot be a side of a hybrid")
    if is_asymmetric(spec):
        opened = open_sparse_scorer if spec.kind == "sparse" else open_late_scorer
        return opened(project, domain, name, chunks, reporter)
    encoder = open_encoder(project, name)
    kept = stored_documents(domain, encoder, chunks, reporter)
    return DenseScorer(encoder, [chunk.id for chunk in chunks], kept.vectors, kept.seconds)


def bm25_index(chunks: Sequence[Chunk], settings: BM25Settings) -> BM25Index:
    """BM25 over a corpus, heading and text."""
    return BM25Index([chunk.id for chunk in chunks], [chunk.full_text for chunk in chunks], settings)
