"""Which test questions are asked, where not all are."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from benchmark.answer_records import Asked
from benchmark.files import hash_json
from benchmark.records import Query, TestSet

_DRAW: Final = "answers"


def asked_questions(testset: TestSet, count: int | None, seed: int) -> list[Asked]:
    """The questions to ask, in the test set's order, the unanswerable ones last.

    Args:
        testset: What there is.
        count: At most so many answerable ones, spread over the categories as in the test set; the unanswerable ones
            are drawn in the same proportion, one at least. All by default.
        seed: Whether a question is drawn depends on this, on its id, and on how many its category may have.
    """
    answerable = [_asked(query, testset) for query in testset.queries]
    unanswerable = [_asked(query, None) for query in testset.unanswerable]
    if count is None or count >= len(answerable):
        return [*answerable, *unanswerable]
    share = max(1, round(count * len(unanswerable) / len(answerable))) if unanswerable else 0
    return [*_drawn(answerable, count, seed), *_drawn(unanswerable, share, seed)]


def _asked(query: Query, answered_in: TestSet | None) -> Asked:
    relevant = tuple(answered_in.qrels[query.id]) if answered_in else ()
    return Asked(query.id, query.text, query.category, query.answer, answered_in is not None, relevant)


def _drawn(questions: Sequence[Asked], count: int, seed: int) -> list[Asked]:
    by_category: dict[str, list[Asked]] = defaultdict(list)
    for question in questions:
        by_category[question.category].append(question)
    wanted = allotted({name: len(rows) for name, rows in by_category.items()}, count)
    chosen = {
        question.id
        for name, rows in by_category.items()
        for question in sorted(rows, key=lambda row: hash_json([_DRAW, seed, row.id]))[: wanted[name]]
    }
    return [question for question in questions if question.id in chosen]


def allotted(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """So many of each group that the shares stay as they are, by largest remainders; ties go to the first name.

    Args:
        sizes: Group -> how many it has.
        count: How many are wanted, at most as many as there are.

    >>> allotted({"core": 6, "edge": 3, "jargon": 1}, 5)
    {'core': 3, 'edge': 2, 'jargon': 0}
    """
    total = sum(sizes.values())
    exact = {name: count * size / total for name, size in sizes.items()}
    given = {name: math.floor(share) for name, share in exact.items()}
    rest = sorted(sizes, key=lambda name: (given[name] - exact[name], name))
    for name in rest[: count - sum(given.values())]:
        given[name] += 1
    return given
