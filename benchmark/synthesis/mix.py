"""Who asks what, and how hard it is: the mix of question types, personas and difficulties."""

import random
from bisect import bisect_right
from collections.abc import Collection, Mapping
from itertools import accumulate
from typing import NamedTuple, TypeVar

from benchmark.specs import Mix, QuestionType
from benchmark.synthesis.draft import seeded

N = TypeVar("N", bound=str)


class Slot(NamedTuple):
    """One question to be written; persona and difficulty are empty where nothing is asked of them."""

    type: str
    persona: str
    difficulty: str


def slots(
    mix: Mix, personas: Mapping[str, float], count: int, seed: int, chunk_id: str, available: Collection[QuestionType]
) -> list[Slot]:
    """What is asked about one chunk; it depends on the seed and the chunk's id, on no other chunk.

    Types, personas and difficulties are each drawn by systematic sampling, so that one chunk gets different ones and
    many chunks get the shares of the mix; they are paired at random.

    Args:
        mix: The weights.
        personas: Persona -> weight, in the place of the mix's own; may be empty.
        count: How many questions.
        seed: The run's.
        chunk_id: The chunk's.
        available: Types that can be asked here; the weight of the others goes to these in proportion.

    Returns:
        `count` slots, or none where no available type has a weight.
    """
    types = _drawn({kind: mix.types[kind] for kind in mix.types if kind in available}, count, seed, "type", chunk_id)
    if not types:
        return []
    who = _drawn(personas, count, seed, "persona", chunk_id) or [""] * count
    levels = _drawn(mix.difficulty, count, seed, "difficulty", chunk_id)
    return [Slot(*row) for row in zip(types, who, levels, strict=True)]


def _drawn(weights: Mapping[N, float], count: int, seed: int, what: str, chunk_id: str) -> list[N]:
    """`count` names in random order, drawn systematically; none where no weight is above 0."""
    rng = seeded(seed, what, chunk_id)
    names = systematic(weights, count, rng)
    rng.shuffle(names)
    return names


def systematic(weights: Mapping[N, float], count: int, rng: random.Random) -> list[N]:
    """Names at `count` evenly spaced quantiles of the cumulative weights, from a random start.

    >>> sorted(systematic({"a": 1, "b": 1, "c": 0}, 4, random.Random(0)))
    ['a', 'a', 'b', 'b']
    """
    # Sorted, so that the order of a file's keys changes nothing.
    names = sorted(name for name, weight in weights.items() if weight > 0)
    if not names:
        return []
    sums = list(accumulate(weights[name] for name in names))
    start = rng.random()
    points = ((start + number / count) % 1.0 * sums[-1] for number in range(count))
    return [names[min(bisect_right(sums, point), len(names) - 1)] for point in points]
