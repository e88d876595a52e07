"""Hard negatives mined from the corpus, with a positive-aware margin (NV-Retriever, arXiv 2407.15831)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmark.files import Json
from benchmark.records import Chunk
from benchmark.specs import GenerateSpec
from benchmark.synthesis.draft import Draft, seeded
from benchmark.synthesis.search import Corpus

RULES: Final = ("own_chunk", "same_text", "same_section", "neighbour", "held_out", "near_duplicate", "margin")
"""Why a chunk may not be a negative, in the order in which the rules are asked."""
LEXICAL_SHARE: Final = 0.25
"""Share of the negatives that BM25 finds; alone it is a worse miner than chance, mixed in it adds variety."""


@dataclass
class Mined:
    """Negatives of each query, and what stood in the way.

    Attributes:
        negatives: Positions of chunks, most similar first; fewer than wanted where the corpus gave no more.
        similarities: Their similarity to the query.
        own: Each query's similarity to its own chunk.
        excluded: Rule -> chunks it excluded among each query's closest `negative_pool`.
        short: Rule -> queries short of negatives for which this rule excluded most.
        afar: Negatives that filled such queries up, from the half of the corpus that is least similar.
    """

    negatives: list[list[int]] = field(default_factory=list)
    similarities: list[list[float]] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    excluded: Counter[str] = field(default_factory=Counter)
    short: Counter[str] = field(default_factory=Counter)
    afar: int = 0

    def facts(self) -> Json:
        """Counts for a manifest."""
        return {
            "mined": sum(len(row) for row in self.negatives),
            "excluded_among_the_closest": {rule: self.excluded[rule] for rule in RULES if self.excluded[rule]},
            "queries_short_of_negatives": sum(self.short.values()),
            "short_because_of": {rule: self.short[rule] for rule in RULES if self.short[rule]},
            "filled_up_from_afar": self.afar,
        }


def mine(
    corpus: Corpus,
    drafts: Sequence[Draft],
    vectors: NDArray[np.float32],
    held_out: NDArray[np.bool_],
    spec: GenerateSpec,
    seed: int,
) -> Mined:
    """Find hard negatives for each query, in blocks of queries.

    The closest chunks that no rule excludes are the pool; `negatives` of them are drawn, a quarter from BM25's pool.

    Args:
        corpus: Where negatives come from.
        drafts: The queries.
        vectors: Their vectors, shape (n_queries, n_dimensions).
        held_out: Shape (n_chunks,): the development documents' chunks, which are no negatives of training queries.
        spec: Pool, margin, how many, near-duplicate threshold.
        seed: For the draw.
    """
    mined = Mined()
    places = _Places(corpus.chunks)
    for start, block in corpus.similarity_blocks(vectors):
        own_vectors = corpus.vectors[[draft.chunk for draft in drafts[start : start + len(block)]]]
        alike = own_vectors @ corpus.vectors.T
        for row, similarity in enumerate(block):
            draft = drafts[start + row]
            barred = _barred(draft, places, similarity, alike[row], held_out, spec)
            _draw(mined, corpus, draft, similarity, barred, spec, seed)
    return mined


class _Places:
    """Where each chunk stands: its text, section and neighbours."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        numbers: dict[object, int] = {}
        flat = [" ".join(chunk.text.split()) for chunk in chunks]
        self.texts = np.array([numbers.setdefault(text, len(numbers)) for text in flat])
        # Without headings the document is no section: a ready-made corpus would lose all its close negatives.
        self.sections = np.array(
            [
                numbers.setdefault((chunk.document, chunk.headings) if chunk.headings else (place,), len(numbers))
                for place, chunk in enumerate(chunks)
            ]
        )
        self.documents = [chunk.document for chunk in chunks]

    def neighbours(self, place: int) -> list[int]:
        """The chunks just before and after in the same document."""
        beside = [other for other in (place - 1, place + 1) if 0 <= other < len(self.documents)]
        return [other for other in beside if self.documents[other] == self.documents[place]]


def _barred(
    draft: Draft,
    places: _Places,
    similarity: NDArray[np.float32],
    alike: NDArray[np.float32],
    held_out: NDArray[np.bool_],
    spec: GenerateSpec,
) -> NDArray[np.int8]:
    """For each chunk 0, or 1 + the number of the first rule that bars it; shape (n_chunks,)."""
    own = draft.chunk
    numbers = np.arange(len(similarity))
    tests = {
        "own_chunk": numbers == own,
        "same_text": places.texts == places.texts[own],
        "same_section": places.sections == places.sections[own],
        "neighbour": np.isin(numbers, places.neighbours(own)),
        "held_out": held_out & ~held_out[own],
        "near_duplicate": alike >= spec.near_duplicate,
        "margin": similarity > spec.negative_margin * similarity[own],
    }
    barred = np.zeros(len(similarity), dtype=np.int8)
    for number, rule in reversed(list(enumerate(RULES, start=1))):
        barred[tests[rule]] = number
    return barred


def _draw(
    mined: Mined,
    corpus: Corpus,
    draft: Draft,
    similarity: NDArray[np.float32],
    barred: NDArray[np.int8],
    spec: GenerateSpec,
    seed: int,
) -> None:
    """Draw one query's negatives from the pools and keep count of what was barred."""
    closest = _best(similarity, spec.negative_pool)
    lost = Counter(RULES[barred[place] - 1] for place in closest if barred[place])
    mined.excluded.update(lost)
    free = np.where(barred == 0, similarity, -np.inf)
    dense = _best(free, spec.negative_pool)
    lexical_scores = np.where(barred == 0, corpus.bm25.scores(draft.text), 0.0)
    lexical = [place for place in _best(lexical_scores, spec.negative_pool) if lexical_scores[place] > 0]

    rng = seeded(seed, "negatives", draft.source, corpus.chunks[draft.chunk].id, draft.text)
    wanted = min(spec.negatives, len(dense))
    chosen = rng.sample(lexical, min(int(spec.negatives * LEXICAL_SHARE), wanted, len(lexical)))
    rest = [place for place in dense if place not in set(chosen)]
    chosen += rng.sample(rest, min(wanted - len(chosen), len(rest)))
    if len(chosen) < spec.negatives:
        everywhere = Counter(RULES[number - 1] for number in barred.tolist() if number > 1)
        mined.short[min(everywhere, key=lambda rule: (-everywhere[rule], RULES.index(rule)), default="own_chunk")] += 1
        # An encoder that finds everything alike leaves nothing under the margin; what is far is no false negative.
        far = (barred == RULES.index("margin") + 1) & (similarity <= np.median(similarity))
        more = rng.sample(np.flatnonzero(far).tolist(), min(spec.negatives - len(chosen), int(far.sum())))
        mined.afar += len(more)
        chosen += more
    chosen.sort(key=lambda place: (-similarity[place], place))
    mined.negatives.append(chosen)
    mined.similarities.append([float(similarity[place]) for place in chosen])
    mined.own.append(float(similarity[draft.chunk]))


def _best(scores: NDArray[np.float32], count: int) -> list[int]:
    """Positions of the highest finite scores, best first, ties by position."""
    count = min(count, len(scores))
    edge = np.partition(scores, len(scores) - count)[len(scores) - count]
    places = np.flatnonzero((scores >= edge) & np.isfinite(scores))
    return sorted(places.tolist(), key=lambda place: (-scores[place], place))[:count]
