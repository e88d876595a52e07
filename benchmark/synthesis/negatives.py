"""Hard negatives mined from the corpus, with a positive-aware margin (NV-Retriever, arXiv 2407.15831).

Beside the corpus' vectors one block of similarities is in memory, and a few rows of its width for the query at hand.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmark.files import Json
from benchmark.specs import Negatives
from benchmark.synthesis.barring import CROSS_ENCODER_MARGIN, MARGIN, RULES, Barring, most_allowed
from benchmark.synthesis.draft import Draft, seeded
from benchmark.synthesis.search import Corpus, Places, best

UNMATCHED: Final = "unmatched"
"""Why a query is short where BM25 is the miner, too few chunks share a word with it, and no rule barred any of them."""
_RESCORED: Final = 512
"""Queries whose pools the cross-encoder reads in one go, at most."""
Rescorer = Callable[[Sequence[tuple[str, str]]], NDArray[np.float32]]
"""(query, passage) pairs to relevance from 0 to 1."""


@dataclass
class Mined:
    """Negatives of each query, and what stood in the way.

    Attributes:
        negatives: Positions of chunks, most similar first; fewer than wanted where the corpus gave no more.
        similarities: Their similarity to the query.
        own: Each query's similarity to its own chunk.
        rest: What is left of each query's pool, most similar first: where relabelling is asked for, else empty.
        rest_similarities: Their similarity to the query.
        excluded: Rule -> chunks it excluded among each query's closest `pool`.
        short: Rule -> queries short of negatives for which this rule excluded most.
        afar: Negatives that filled such queries up, from the half of the corpus that is least similar.
        rescored: Pairs that the cross-encoder read.
        removed: For each query the negatives that relabelling removed, since they answer it; empty without it.
        relabelled: What relabelling did: negatives asked about, those of each answer, failures, replacements.
    """

    negatives: list[list[int]] = field(default_factory=list)
    similarities: list[list[float]] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    rest: list[list[int]] = field(default_factory=list)
    rest_similarities: list[list[float]] = field(default_factory=list)
    excluded: Counter[str] = field(default_factory=Counter)
    short: Counter[str] = field(default_factory=Counter)
    afar: int = 0
    rescored: int = 0
    removed: list[list[int]] = field(default_factory=list)
    relabelled: Counter[str] = field(default_factory=Counter)

    def facts(self) -> Json:
        """Counts for a manifest."""
        reasons = (*RULES, UNMATCHED)
        return {
            "mined": sum(len(row) for row in self.negatives),
            "excluded_among_the_closest": {rule: self.excluded[rule] for rule in RULES if self.excluded[rule]},
            "queries_short_of_negatives": sum(self.short.values()),
            "short_because_of": {rule: self.short[rule] for rule in reasons if self.short[rule]},
            "filled_up_from_afar": self.afar,
            "rescored_by_cross_encoder": self.rescored,
            "relabelled": dict(sorted(self.relabelled.items())),
        }


def mine(
    corpus: Corpus,
    drafts: Sequence[Draft],
    vectors: NDArray[np.float32],
    held_out: NDArray[np.bool_],
    also: Mapping[int, frozenset[int]],
    spec: Negatives,
    near_duplicate: float,
    seed: int,
    rescorer: Rescorer | None = None,
) -> Mined:
    """Find hard negatives for each query, in blocks of queries.

    The closest chunks that no rule excludes are the pool; `count` of them are drawn. Closest is by similarity
    (`miner: dense`), by BM25 (`bm25`; alone a worse miner than chance, mixed in it adds variety), or a pool by each,
    with `lexical_share` of the draw from BM25's (`both`). The margin compares similarities, also of what BM25 found:
    BM25's scores are not comparable between a positive and a negative of different length. With a rescorer its
    scores take their place: a negative has at most `margin` times the score of the query's own chunk.

    Args:
        corpus: Where negatives come from.
        drafts: The queries.
        vectors: Their vectors, shape (n_queries, n_dimensions).
        held_out: Shape (n_chunks,): the development documents' chunks, which are no negatives of training queries.
        also: Number of a query -> further chunks that answer it.
        spec: Miner, pool, margin, how many.
        near_duplicate: Similarity to the query's own chunk from which on a chunk is its twin.
        seed: For the draw.
        rescorer: A cross-encoder that reads each query's pool.
    """
    mined = Mined()
    miner = _Miner(corpus, held_out, spec, near_duplicate, seed, rescorer)
    for start, block in corpus.similarity_blocks(vectors):
        for first in range(0, len(block), _RESCORED):
            part = range(first, min(first + _RESCORED, len(block)))
            queries = [
                _Query(drafts[start + row], block[row], also.get(start + row, frozenset()), spec.margin) for row in part
            ]
            for query in queries:
                miner.search(query)
            miner.rescore(queries, mined)
            for query in queries:
                miner.draw(query, mined)
    return mined


class _Query:
    """A query and what was found for it; small, for many are kept while a cross-encoder reads.

    Attributes:
        similarity: To every chunk, shape (n_chunks,); a row of the block.
        limit: The highest similarity that the margin allows.
        dense: The pool by similarity, best first.
        lexical: The pool by BM25, best first.
        closest: Each of the miner's `pool` closest chunks -> 0, or 1 + the number of the rule that bars it.
        lost: Rule -> chunks it barred among all that were looked at.
        refused: Chunks of the pools that the cross-encoder took out.
    """

    def __init__(self, draft: Draft, similarity: NDArray[np.float32], golds: frozenset[int], margin: float) -> None:
        self.draft, self.similarity, self.golds = draft, similarity, golds
        self.limit = most_allowed(float(similarity[draft.chunk]), margin)
        self.dense = self.lexical = np.empty(0, dtype=np.int64)
        self.closest: dict[int, int] = {}
        self.lost: Counter[str] = Counter()
        self.refused: list[int] = []

    @property
    def pool(self) -> list[int]:
        """What both miners found and no rule excludes, each chunk once."""
        return list(dict.fromkeys([*self.dense.tolist(), *self.lexical.tolist()]))


class _Miner:
    """Searches, rescores and draws."""

    def __init__(
        self,
        corpus: Corpus,
        held_out: NDArray[np.bool_],
        spec: Negatives,
        near_duplicate: float,
        seed: int,
        rescorer: Rescorer | None,
    ) -> None:
        self._corpus, self._spec, self._seed, self._rescorer = corpus, spec, seed, rescorer
        self._barring = Barring(corpus, held_out, near_duplicate)
        self._size = max(spec.pool, spec.count)
        self._of_bm25 = {"dense": 0, "both": int(spec.count * spec.lexical_share), "bm25": spec.count}[spec.miner]

    def search(self, query: _Query) -> None:
        """Find a query's pools."""
        if self._spec.miner != "dense":
            scores = self._corpus.bm25.scores(query.draft.text)
            query.lexical = self._pool(query, scores, np.flatnonzero(scores > 0))
        if self._spec.miner != "bm25":
            query.dense = self._pool(query, query.similarity, None)

    def _pool(self, query: _Query, scores: NDArray[np.float32], among: Places | None) -> Places:
        """The best-scored chunks (of all, or among some) that no rule bars; notes what the rules barred."""
        total = len(scores) if among is None else len(among)
        size = 2 * self._size
        if among is None and self._rescorer is None:
            size += int((query.similarity > query.limit).sum())
        while True:
            seen = best(scores, size) if among is None else np.asarray(among[best(scores[among], size)])
            barred = self._barred(query, seen)
            free = seen[barred == 0]
            if len(free) >= self._size or size >= total:
                break
            size *= 2
        pool = self._spec.pool
        query.closest = dict(zip(seen[:pool].tolist(), barred[:pool].tolist(), strict=True))
        query.lost = _counted(barred)
        # A copy: a slice would keep what it was cut from in memory.
        return np.array(free[: self._size])

    def _barred(self, query: _Query, places: Places) -> NDArray[np.int8]:
        """For each place 0, or 1 + the number of the first rule that bars it; shape (n_places,)."""
        over = query.similarity[places] > query.limit if self._rescorer is None else None
        return self._barring.barred(query.draft.chunk, query.golds, places, over)

    def rescore(self, queries: Sequence[_Query], mined: Mined) -> None:
        """Take out of the pools what the cross-encoder scores too near to the query's own chunk."""
        if self._rescorer is None:
            return
        places = [[query.draft.chunk, *query.pool] for query in queries]
        texts = {place: self._corpus.chunks[place].full_text for row in places for place in row}
        scores = self._rescorer(
            [(query.draft.text, texts[place]) for query, row in zip(queries, places, strict=True) for place in row]
        )
        mined.rescored += len(scores)
        start = 0
        for query, row in zip(queries, places, strict=True):
            own, *others = scores[start : start + len(row)].tolist()
            start += len(row)
            limit = most_allowed(own, self._spec.margin)
            query.refused = [place for place, score in zip(row[1:], others, strict=True) if score > limit]
            query.dense = query.dense[~np.isin(query.dense, query.refused)]
            query.lexical = query.lexical[~np.isin(query.lexical, query.refused)]
            query.lost["cross_encoder_margin"] = len(query.refused)
            for place in query.closest.keys() & query.refused:
                query.closest[place] = CROSS_ENCODER_MARGIN

    def draw(self, query: _Query, mined: Mined) -> None:
        """Draw one query's negatives from its pools and keep count of what was barred."""
        mined.excluded.update(RULES[number - 1] for number in query.closest.values() if number)
        draft, similarity = query.draft, query.similarity
        rng = seeded(self._seed, "negatives", draft.origin, self._corpus.chunks[draft.chunk].id, draft.text)
        chosen = self._drawn(query, rng)
        short = self._spec.count - len(chosen)
        if self._spec.relabel is not None:
            left = by_similarity([place for place in query.pool if place not in chosen], similarity)
            mined.rest.append(left)
            mined.rest_similarities.append(similarity[left].tolist())
        if short:
            mined.short[self._cause(query)] += 1
            far = self._afar(query, chosen)
            more = far[rng.sample(range(len(far)), min(short, len(far)))].tolist()
            mined.afar += len(more)
            chosen += more
        chosen = by_similarity(chosen, similarity)
        mined.negatives.append(chosen)
        mined.similarities.append(similarity[chosen].tolist())
        mined.own.append(float(similarity[draft.chunk]))

    def _drawn(self, query: _Query, rng: Random) -> list[int]:
        """BM25's share first, then from the dense pool, then from whatever is left of BM25's."""
        pool, lexical = query.pool, query.lexical.tolist()
        wanted = min(self._spec.count, len(pool))
        chosen: list[int] = rng.sample(lexical, min(self._of_bm25, wanted, len(lexical)))
        for places in (query.dense.tolist(), pool):
            left = [place for place in places if place not in chosen]
            chosen += rng.sample(left, min(wanted - len(chosen), len(left)))
        return chosen

    def _cause(self, query: _Query) -> str:
        """The rule that barred most of what was seen, which is everything where no rescorer stopped the search."""
        lost = {rule: count for rule, count in query.lost.items() if count and rule != "own_chunk"}
        default = UNMATCHED if self._spec.miner == "bm25" else "own_chunk"
        return min(lost, key=lambda rule: (-lost[rule], RULES.index(rule)), default=default)

    def _afar(self, query: _Query, chosen: Sequence[int]) -> Places:
        """Chunks of the less similar half that only the margin bars, or nothing does.

        An encoder that finds everything alike leaves nothing under the margin; what is far is no false negative.
        """
        barred = self._barred(query, np.arange(len(query.similarity)))
        far = ((barred == 0) | (barred == MARGIN)) & (query.similarity <= np.median(query.similarity))
        far[[*chosen, *query.refused]] = False
        return np.flatnonzero(far)


def _counted(barred: NDArray[np.int8]) -> Counter[str]:
    counts = np.bincount(barred, minlength=len(RULES) + 1)[1:]
    return Counter({rule: count for rule, count in zip(RULES, counts.tolist(), strict=True) if count})


def by_similarity(places: Sequence[int], similarity: NDArray[np.float32]) -> list[int]:
    """Most similar first, ties by position."""
    return sorted(places, key=lambda place: (-similarity[place], place))
