"""From a spec to something that ranks a corpus: dense, sparse, late interaction, BM25, hybrid, retriever and reranker."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from benchmark.console import SILENT, Reporter
from benchmark.encoders.adapter import QuantizedEncoder, open_encoder
from benchmark.encoders.asymmetric import is_asymmetric
from benchmark.encoders.backends import open_reranker
from benchmark.encoders.bm25 import BM25Index
from benchmark.encoders.fused import HYBRID_WEIGHTS, HybridScorer, fuse_reranked
from benchmark.encoders.late import LateInteractionScorer
from benchmark.encoders.pairs import logits
from benchmark.encoders.rescored import open_quantized_scorer
from benchmark.encoders.scorers import DenseScorer, Footprint, Scorer
from benchmark.encoders.scores import kept_logits
from benchmark.encoders.shelf import Shelf
from benchmark.encoders.sparse import SparseScorer
from benchmark.encoders.store import query_vectors, stored_documents
from benchmark.errors import BenchError
from benchmark.project import Domain, Project
from benchmark.records import Chunk, Hit, Run
from benchmark.runs import rank, rank_row
from benchmark.specs import BM25Settings
from benchmark.weights import model_fingerprint

Candidates = Mapping[str, Sequence[str]]


class Retriever(Protocol):
    """Anything that ranks the chunks of one corpus."""

    def run(self, queries: Mapping[str, str], depth: int, candidates: Candidates | None = None) -> Run:
        """Rank the corpus, or only each query's candidates, and keep the best `depth`."""

    def afresh(self) -> "Retriever":
        """The same, silent and without anything that it knows of queries already: as slow as for a new question."""


class BM25Scorer:
    """BM25 scores."""

    def __init__(self, index: BM25Index) -> None:
        self.ids = index.ids
        self.footprint = Footprint(index.posting_bytes / max(1, len(index.ids)), index.word_bytes, None, index.seconds)
        self._index = index

    def afresh(self) -> Self:
        """The scorer itself: it keeps nothing of a query."""
        return self

    def score_rows(self, queries: Sequence[str]) -> Iterator[NDArray[np.float32]]:
        """One row of BM25 scores for each query."""
        return (self._index.scores(query) for query in queries)


class ScoreRetriever:
    """Ranks by a scorer's scores."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self._position = {chunk: i for i, chunk in enumerate(scorer.ids)}

    def afresh(self) -> Self:
        """The same retriever, which encodes every query."""
        other = copy.copy(self)
        other.scorer = self.scorer.afresh()
        return other

    def run(self, queries: Mapping[str, str], depth: int, candidates: Candidates | None = None) -> Run:
        """Rank the corpus, or only each query's candidates, and keep the best `depth`."""
        texts, scorer = list(queries.values()), self.scorer
        if candidates is not None:
            return self._run_candidates(queries, depth, candidates)
        if isinstance(scorer, DenseScorer):
            return dict(zip(queries, scorer.best(texts, depth), strict=True))
        rows = zip(queries, scorer.score_rows(texts), strict=True)
        return {query: rank_row(row, scorer.ids, depth) for query, row in rows}

    def _run_candidates(self, queries: Mapping[str, str], depth: int, candidates: Candidates) -> Run:
        texts, scorer = list(queries.values()), self.scorer
        wanted = [np.array([self._position[chunk] for chunk in candidates[query]], dtype=np.int64) for query in queries]
        if isinstance(scorer, DenseScorer):
            rows = scorer.score_some(texts, wanted)
        else:
            rows = (row[numbers] for row, numbers in zip(scorer.score_rows(texts), wanted, strict=True))
        return {
            query: rank(dict(zip(candidates[query], row.tolist(), strict=True)), depth)
            for query, row in zip(queries, rows, strict=True)
        }


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
        shelf: What is kept of the cross-encoder; without it every pair is scored once by this retriever.
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
        shelf: Shelf | None = None,
    ) -> None:
        self.first = first
        self.cross_encoder = cross_encoder
        self._texts = texts
        self._depth = depth
        self._reporter = reporter
        self._label = label
        self._weights = weights
        self._name = name
        self._shelf = shelf
        # Scores of (query text, chunk id): a second task asks for many of the first one's pairs again.
        self._known: dict[tuple[str, str], float] = {}

    def afresh(self) -> Self:
        """The same pipeline, silent and without the scores that it knows already: as slow as for a new question."""
        other = copy.copy(self)
        other.first = self.first.afresh()
        other._known, other._shelf, other._reporter, other._label = {}, None, SILENT, ""
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
        if self._shelf is None:
            scores = logits(self.cross_encoder, texts, self._reporter, self._label, self._name)
        else:
            ask = partial(logits, self.cross_encoder, reporter=SILENT, name=self._name)
            scores = kept_logits(self._shelf, self._name, texts, ask, self._reporter, self._label)
        self._known.update(zip(new, scores.tolist(), strict=True))


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
    model = open_reranker(project, spec.reranker)
    first = open_retriever(project, domain, spec.retriever, chunks, reporter)
    texts = {chunk.id: chunk.full_text for chunk in chunks}
    label = f"{name}: reranking"
    shelf = Shelf.of(project, model_fingerprint(project, spec.reranker))
    return RerankRetriever(first, model, texts, spec.depth, reporter, label, spec.weights, spec.reranker, shelf)


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
        scorer = SparseScorer if spec.kind == "sparse" else LateInteractionScorer
        return scorer.open(project, domain, name, chunks, reporter)
    encoder = open_encoder(project, name)
    if isinstance(encoder, QuantizedEncoder):
        return open_quantized_scorer(domain, encoder, chunks, reporter)
    vectors = stored_documents(domain, encoder, chunks, reporter)
    return DenseScorer(encoder, [chunk.id for chunk in chunks], vectors, partial(query_vectors, domain, encoder))


def bm25_index(chunks: Sequence[Chunk], settings: BM25Settings) -> BM25Index:
    """BM25 over a corpus, heading and text."""
    return BM25Index([chunk.id for chunk in chunks], [chunk.full_text for chunk in chunks], settings)
