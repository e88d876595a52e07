"""Near-duplicates against the plain double loop."""

import numpy as np
import pytest

from benchmark.synthesis.twins import groups, near_duplicates


def plain(vectors, threshold):
    kept, found = [], {}
    for row in range(len(vectors)):
        scores = [float(vectors[row] @ vectors[other]) for other in kept]
        if scores and max(scores) >= threshold:
            found[row] = kept[int(np.argmax(scores))]
        else:
            kept.append(row)
    return found


@pytest.mark.parametrize("rows", [0, 1, 2, 255, 256, 257, 700])
def test_rows_point_to_the_most_similar_earlier_row_that_stays(rows):
    rng = np.random.default_rng(rows)
    vectors = rng.normal(size=(rows, 8)).astype(np.float32)
    third = rows // 3
    noise = rng.normal(size=(third, 8)).astype(np.float32) * 0.2
    vectors[rows - third :] = vectors[:third] + noise  # twins beyond the block
    if third:  # and beside each other
        vectors[third : 2 * third : 2] = vectors[third - 1 : 2 * third - 1 : 2] + 0.1
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = near_duplicates(vectors, 0.9)
    assert {number: twin.other for number, twin in found.items()} == plain(vectors, 0.9)
    assert rows < 200 or 30 < len(found) < rows
    for number, twin in found.items():
        assert twin.other < number and twin.other not in found
        assert twin.similarity >= 0.9
        assert twin.similarity == pytest.approx(float(vectors[number] @ vectors[twin.other]), abs=1e-5)


def test_a_chain_keeps_every_second_link():
    angles = np.radians([0, 20, 40, 60, 80])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = near_duplicates(vectors, float(np.cos(np.radians(21))))
    assert {number: twin.other for number, twin in found.items()} == {1: 0, 3: 2}


def test_rows_that_repeat_the_same_one_are_a_group():
    angles = np.radians([0, 90, 5, 40, 95, 350])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert groups(near_duplicates(vectors, float(np.cos(np.radians(11))))) == [[0, 2, 5], [1, 4]]
    assert groups({}) == []


def test_one_block_of_similarities_is_in_memory_at_once():
    import tracemalloc

    vectors = np.random.default_rng(0).normal(size=(4000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    tracemalloc.start()
    near_duplicates(vectors, 0.999)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4000 * 4000  # a quarter of the full matrix of 32-bit similarities
