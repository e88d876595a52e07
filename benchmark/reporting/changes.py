"""Which questions a system gains and loses most, and what it ranked first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.records import Chunk, Hit, Query, TestSet
from benchmark.reporting.board import TASKS, Leaderboard
from benchmark.reporting.metrics import first_relevant
from benchmark.stats import SAME

MOST = 5
_SNIPPET = 90  # characters of a passage that are shown


@dataclass(frozen=True)
class Top:
    """What a system ranked first: the passage, and whether it is relevant."""

    passage: str
    relevant: bool


@dataclass(frozen=True)
class Change:
    """A question before (baseline) and after (system).

    Ranks are of the first relevant passage, from 1; None where it is not in the run.
    """

    query: Query
    before: float
    after: float
    rank_before: int | None
    rank_after: int | None
    relevant: str
    top_before: Top | None
    top_after: Top | None


@dataclass(frozen=True)
class Changes:
    """The questions that gained and lost most, strongest first; only those that did gain or lose."""

    gained: tuple[Change, ...]
    lost: tuple[Change, ...]


def changes(
    board: Leaderboard,
    system: str,
    testset: TestSet,
    passages: Mapping[str, Chunk],
    before: Mapping[str, Sequence[Hit]],
    after: Mapping[str, Sequence[Hit]],
) -> Changes:
    """The five questions that gained and the five that lost most on the main metric.

    Equal changes stand in the test set's order.

    Args:
        board: The leaderboard, for the per-query scores.
        system: What is compared with the baseline.
        testset: Questions and relevance.
        passages: Chunks by id.
        before: The baseline's retrieval run.
        after: The system's.
    """
    scores = board.scores[TASKS[0]]
    old, new = scores[board.baseline.name][board.main], scores[system][board.main]
    order = sorted(range(len(old)), key=lambda place: old[place] - new[place])
    queries = {query.id: query for query in testset.queries}

    def change(place: int) -> Change:
        query = queries[board.queries[place].id]
        relevant = testset.qrels[query.id]
        left, right = before.get(query.id, []), after.get(query.id, [])
        return Change(
            query=query,
            before=old[place],
            after=new[place],
            rank_before=first_relevant(left, relevant),
            rank_after=first_relevant(right, relevant),
            relevant=_listed(relevant, passages),
            top_before=_top(left, relevant, passages),
            top_after=_top(right, relevant, passages),
        )

    gained = [change(place) for place in order[:MOST] if new[place] - old[place] > SAME]
    # From the end, but equal losses in the test set's order as well.
    worst = sorted(range(len(old)), key=lambda place: new[place] - old[place])
    lost = [change(place) for place in worst[:MOST] if old[place] - new[place] > SAME]
    return Changes(tuple(gained), tuple(lost))


def _top(hits: Sequence[Hit], relevant: Mapping[str, int], passages: Mapping[str, Chunk]) -> Top | None:
    if not hits:
        return None
    return Top(_passage(hits[0].chunk, passages), relevant.get(hits[0].chunk, 0) > 0)


def _listed(relevant: Mapping[str, int], passages: Mapping[str, Chunk]) -> str:
    first, *others = relevant
    more = f" (and {len(others)} more)" if others else ""
    return _passage(first, passages) + more


def _passage(chunk: str, passages: Mapping[str, Chunk]) -> str:
    """Where a passage stands and how it begins."""
    found = passages.get(chunk)
    if found is None:
        return chunk
    text = " ".join(found.text.split())
    begin = text if len(text) <= _SNIPPET else text[:_SNIPPET].rsplit(" ", 1)[0] + " …"
    return f"{found.heading or found.document}: “{begin}”"
