"""The mix: shares over many chunks, independence of the three draws, stability, types that cannot be asked."""

from collections import Counter
from math import sqrt

import pytest

from benchmark.specs import Mix
from benchmark.synthesis.mix import slots
from benchmark.synthesis.writers import TYPES

MIX = Mix(types={"question": 3, "keywords": 2, "jargon": 2, "colloquial": 2, "comparison": 0, "edge": 1})
PERSONAS = {"expert": 1.0, "newcomer": 3.0}
N = 5000


@pytest.fixture(scope="module")
def drawn():
    return [slots(MIX, PERSONAS, 3, 0, f"doc.md#{i}", TYPES) for i in range(N)]


def close(share, wanted, n):
    """Within four standard errors of independent draws; systematic ones lie closer."""
    return abs(share - wanted) <= 4 * sqrt(wanted * (1 - wanted) / n)


def test_over_many_chunks_the_shares_are_those_of_the_mix(drawn):
    rows = [slot for row in drawn for slot in row]
    wanted = {"type": MIX.types, "persona": PERSONAS, "difficulty": MIX.difficulty}
    for part, weights in wanted.items():
        counts = Counter(getattr(slot, part) for slot in rows)
        assert set(counts) == {name for name, weight in weights.items() if weight}
        for name, weight in weights.items():
            assert close(counts[name] / len(rows), weight / sum(weights.values()), len(rows)), (part, name)


def test_one_chunk_gets_different_types(drawn):
    # No type has more than 3/10 of the weight, and three quantiles are a third apart.
    assert all(len({slot.type for slot in row}) == 3 for row in drawn)


def test_type_persona_and_difficulty_are_independent(drawn):
    rows = [slot for row in drawn for slot in row]
    for first, second in (("type", "persona"), ("type", "difficulty"), ("persona", "difficulty")):
        pairs = Counter((getattr(slot, first), getattr(slot, second)) for slot in rows)
        lefts, rights = Counter(getattr(s, first) for s in rows), Counter(getattr(s, second) for s in rows)
        for left in lefts:
            for right in rights:
                wanted = lefts[left] * rights[right] / len(rows) ** 2
                assert close(pairs[left, right] / len(rows), wanted, len(rows)), (left, right)


def test_the_place_in_the_list_says_nothing_about_the_type(drawn):
    for place in range(3):
        counts = Counter(row[place].type for row in drawn)
        assert close(counts["question"] / N, 0.3, N) and close(counts["edge"] / N, 0.1, N)


def test_a_chunk_is_drawn_for_by_its_id_and_the_seed_alone(drawn):
    assert slots(MIX, PERSONAS, 3, 0, "doc.md#17", TYPES) == drawn[17]
    reordered = MIX.model_copy(update={"types": dict(reversed(MIX.types.items()))})
    assert slots(reordered, dict(reversed(PERSONAS.items())), 3, 0, "doc.md#17", TYPES[::-1]) == drawn[17]
    assert sum(slots(MIX, PERSONAS, 3, 1, f"doc.md#{i}", TYPES) != drawn[i] for i in range(100)) > 80


def test_the_weight_of_what_cannot_be_asked_goes_to_the_others():
    available = [kind for kind in TYPES if kind != "jargon"]
    rows = [slot.type for i in range(N) for slot in slots(MIX, PERSONAS, 2, 0, str(i), available)]
    counts = Counter(rows)
    assert counts["jargon"] == 0 and close(counts["question"] / len(rows), 3 / 8, len(rows))
    assert slots(Mix(types={"jargon": 1}), PERSONAS, 2, 0, "c", available) == []


def test_one_persona_for_nobody_and_more_questions_than_types():
    row = slots(Mix(types={"edge": 1, "question": 1}), {}, 6, 0, "c", TYPES)
    assert Counter(slot.type for slot in row) == {"edge": 3, "question": 3}
    assert {slot.persona for slot in row} == {""}


def test_within_a_chunk_all_pairings_are_as_likely():
    mix = Mix(types={"question": 1, "keywords": 1, "edge": 1})
    personas = dict.fromkeys(("expert", "newcomer", "auditor"), 1.0)
    pairings = Counter(
        tuple(persona for _, persona, _ in sorted(slots(mix, personas, 3, 0, str(i), TYPES))) for i in range(N)
    )
    assert len(pairings) == 6 and all(close(count / N, 1 / 6, N) for count in pairings.values())
