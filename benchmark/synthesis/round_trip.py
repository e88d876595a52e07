"""The round trip: a query is worth training on when it leads back to its own passage (Promptagator, arXiv 2209.11755)."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmark.files import Json
from benchmark.synthesis.draft import ORIGINS, PEOPLE_LIKE, Draft
from benchmark.synthesis.filters import Verdict
from benchmark.synthesis.search import Corpus, source_ranks

_ENOUGH_SHARE: Final = 0.3
_ENOUGH_PAIRS: Final = 100
_MOST_RELAXED: Final = 8


def round_trip_verdict(corpus: Corpus, drafts: Sequence[Draft], vectors: NDArray[np.float32], asked: int) -> Verdict:
    """Drop the queries that do not find their own chunk among the first K, by vectors or by BM25.

    Facts: k, asked_k, passed_share (by origin), and types: for the language model's questions of each type how many
    were sent and how many passed.

    Args:
        corpus: What is searched.
        drafts: The queries.
        vectors: Theirs; unit length, shape (n_drafts, n_dimensions).
        asked: K; relaxed where too little would survive.
    """
    ranks = source_ranks(corpus, [draft.text for draft in drafts], vectors, [draft.chunk for draft in drafts])
    k = relaxed_k(ranks, drafts, asked)
    passed = [draft for draft, rank in zip(drafts, ranks.tolist(), strict=True) if rank <= k]
    total, good = Counter(draft.origin for draft in drafts), Counter(draft.origin for draft in passed)
    sent, back = by_type(drafts), by_type(passed)
    note = f"generate: few queries find their own passage among the first {asked}; relaxed to the first {k}"
    return Verdict(
        {number: float(rank) for number, rank in enumerate(ranks.tolist()) if rank > k},
        {
            "k": k,
            "asked_k": asked,
            "passed_share": {origin: good[origin] / total[origin] for origin in ORIGINS if total[origin]},
            "types": {kind: {"asked": sent[kind], "passed": back[kind]} for kind in sorted(sent)},
        },
        {"setting": "filters.round_trip_k", "from": asked, "to": k} if k > asked else {},
        (note,) if k > asked else (),
    )


def by_type(drafts: Sequence[Draft]) -> Counter[str]:
    """How many questions of each type a language model wrote; `untyped` where it was asked for none."""
    return Counter(draft.type or "untyped" for draft in drafts if draft.origin == "llm")


def type_facts(written: Counter[str], kept: Counter[str], round_trip: Json) -> Json:
    """Type -> how many questions were written and kept, and passed the round trip (None where there was none)."""
    trip = round_trip.get("types")
    return {
        kind: {
            "written": written[kind],
            "kept": kept[kind],
            "round_trip_asked": None if trip is None else trip.get(kind, {}).get("asked", 0),
            "round_trip_passed": None if trip is None else trip.get(kind, {}).get("passed", 0),
        }
        for kind in sorted(written)
    }


def relaxed_k(ranks: NDArray[np.int64], drafts: Sequence[Draft], k: int) -> int:
    """K, doubled until 30 % of the questions and 100 queries (or half of them) survive; 8 K at most.

    Args:
        ranks: Of each query's own chunk, from 1; shape (n_drafts,).
        drafts: The queries.
        k: Where to begin.
    """
    questions = np.array([draft.origin in PEOPLE_LIKE for draft in drafts], dtype=bool)
    wanted = min(_ENOUGH_PAIRS, len(drafts) / 2)
    most = k * _MOST_RELAXED
    while k < most:
        passed = ranks <= k
        enough = not questions.any() or float(passed[questions].mean()) >= _ENOUGH_SHARE
        if enough and passed.sum() >= wanted:
            break
        k *= 2
    return k
