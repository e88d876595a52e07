"""Near duplicates are found among many texts; equal signatures mean equal shingles."""

import random

from benchmark.domain.duplicates import NearDuplicates, shingles

WORDS = [f"word{number}" for number in range(3000)]


def jaccard(one, other):
    left, right = set(shingles(one, 3)), set(shingles(other, 3))
    return len(left & right) / len(left | right)


def test_the_estimate_is_near_the_truth_and_the_earlier_text_is_named():
    rng = random.Random(0)
    near = NearDuplicates()
    originals = [rng.choices(WORDS, k=120) for _ in range(200)]
    assert [near.add(str(i), " ".join(words)) for i, words in enumerate(originals)] == [None] * 200
    found = 0
    for number, words in enumerate(originals):
        changed = [*words[:-2], "other", "end"]
        twin = near.add(f"copy {number}", " ".join(changed))
        truth = jaccard(" ".join(words), " ".join(changed))
        assert truth > 0.95
        if twin:
            found += 1
            assert twin.key == str(number)
            assert abs(twin.similarity - truth) < 0.1
    assert found >= 195


def test_half_equal_texts_are_no_twins():
    rng = random.Random(1)
    near = NearDuplicates()
    for number in range(100):
        words = rng.choices(WORDS, k=120)
        assert near.add(f"{number}", " ".join(words)) is None
        assert near.add(f"{number} half", " ".join(words[:60] + rng.choices(WORDS, k=60))) is None


def test_case_and_punctuation_do_not_matter_and_the_most_similar_is_given():
    near = NearDuplicates(threshold=0.5)
    base = "the senior notes are repaid in full before any principal reaches the mezzanine notes of the deal"
    near.add("a", base + " and then some more words that differ")
    near.add("b", base)
    assert near.add("c", base.upper() + "!") == ("b", 1.0)


def test_short_and_empty_texts():
    near = NearDuplicates()
    assert near.add("a", "two words") is None
    assert near.add("b", "Two words.") == ("a", 1.0)
    assert near.add("c", "") is None
    assert near.add("d", "other words") is None
