"""Batches: every row once, no passage twice, similar lengths together, and the same ones after a kill."""

from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.errors import BenchError
from benchmark.training.batches import GroupedBatches, RowShapes, draw_batches, sampler


def shapes(n, chunks, seed=0, negatives=0, spread=120):
    """Rows whose passages, and with them their lengths, repeat as queries of one chunk do."""
    rng = np.random.default_rng(seed)
    length = rng.integers(8, 8 + spread, chunks)
    own = rng.integers(0, chunks, n)
    passages = [frozenset({f"c{row}", *(f"c{other}" for other in rng.integers(0, chunks, negatives))}) for row in own]
    return RowShapes(length[own] + rng.integers(4, 9, n), passages)


def once(found, batches):
    for batch in batches:
        seen = [passage for row in batch for passage in found.passages[row]]
        assert len(seen) == len(set(seen))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 400), st.integers(1, 150), st.integers(1, 32), st.integers(0, 3), st.integers(0, 5))
def test_every_row_once_and_no_passage_twice(n, chunks, size, negatives, seed):
    found = shapes(n, chunks, seed, negatives)
    batches = draw_batches(found, size, np.random.default_rng(seed))
    assert sorted(row for batch in batches for row in batch) == list(range(n))
    assert max(len(batch) for batch in batches) <= size
    once(found, batches)
    sizes = [len(batch) for batch in batches]
    assert sizes == sorted(sizes, reverse=True)


def test_rows_may_meet_freely_where_no_passages_are_given():
    found = RowShapes(np.full(100, 7), [frozenset()] * 100)
    assert [len(batch) for batch in draw_batches(found, 32, np.random.default_rng(0))] == [32, 32, 32, 4]


def test_several_queries_of_a_chunk_make_hardly_more_batches_than_there_must_be():
    for n, chunks, size in ((300, 100, 64), (1000, 330, 64), (5000, 1500, 64), (48, 8, 8)):
        found = shapes(n, chunks)
        most = max(Counter(passage for row in found.passages for passage in row).values())
        assert len(draw_batches(found, size, np.random.default_rng(1))) <= max(-(-n // size), most) + 1


def padded(found, batches):
    return sum(len(batch) * int(found.lengths[batch].max()) for batch in batches)


def test_similar_lengths_come_together_and_little_is_padded():
    found = shapes(6000, 2000)
    order = np.random.default_rng(0).permutation(6000)
    random = padded(found, [order[start : start + 64].tolist() for start in range(0, 6000, 64)])
    grouped = padded(found, draw_batches(found, 64, np.random.default_rng(0)))
    needed = int(found.lengths.sum())
    assert random > 1.5 * needed
    assert grouped < 1.12 * needed


def test_a_seed_and_an_epoch_decide_everything():
    found = shapes(500, 200)
    first, again, other = (GroupedBatches(found, 16, seed) for seed in (0, 0, 1))
    assert list(first) == list(again) != list(other)
    epochs = []
    for epoch in (0, 1):
        first.set_epoch(epoch)
        epochs.append(list(first))
    assert epochs[0] != epochs[1]
    assert {frozenset(batch) for batch in epochs[0]} != {frozenset(batch) for batch in epochs[1]}
    first.set_epoch(0)
    assert list(first) == epochs[0]


@pytest.mark.parametrize(("n", "chunks", "negatives"), [(500, 200, 0), (333, 60, 2), (48, 8, 1), (5, 2, 0), (1, 1, 0)])
def test_every_epoch_has_as_many_batches_as_it_says(n, chunks, negatives):
    """Resuming counts steps: an epoch with one more or less would shift all batches after it."""
    found = shapes(n, chunks, 3, negatives)
    made = GroupedBatches(found, 16, 0)
    for epoch in range(12):
        made.set_epoch(epoch)
        batches = list(made)
        assert len(batches) == len(made)
        assert all(batches)
        once(found, batches)


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize(("n", "chunks", "negatives"), [(500, 200, 0), (101, 9, 2), (9, 6, 0)])
def test_several_processes_get_equal_parts_of_a_batch_without_a_passage_twice(world, n, chunks, negatives):
    found = shapes(n, chunks, 0, negatives)
    made = GroupedBatches(found, 8, 0, world)
    for epoch in range(6):
        made.set_epoch(epoch)
        parts = list(made)
        assert len(parts) == len(made) and len(parts) % world == 0
        together = [parts[start : start + world] for start in range(0, len(parts), world)]
        assert all(len({len(part) for part in batch}) == 1 and batch[0] for batch in together)
        once(found, [list(chain(*batch)) for batch in together])
    assert n < 500 or sum(map(len, parts)) > 0.98 * n


def test_rows_that_all_hold_one_passage_cannot_be_shared():
    with pytest.raises(BenchError, match="no 2 of 5 hold passages that are all different"):
        GroupedBatches(shapes(5, 1), 8, 0, 2)


def test_accelerate_hands_each_process_its_part_and_skips_what_was_seen():
    from accelerate.data_loader import BatchSamplerShard, DataLoaderShard, skip_first_batches

    found = shapes(301, 120)
    rows = list(range(301))
    shards = [BatchSamplerShard(GroupedBatches(found, 8, 0, 2), 2, i, even_batches=False) for i in range(2)]
    seen = [list(shard) for shard in shards]
    assert len(seen[0]) == len(seen[1]) == len(shards[0]) == len(shards[1])
    once(found, [left + right for left, right in zip(*seen, strict=True)])

    whole = DataLoaderShard(rows, batch_sampler=GroupedBatches(found, 8, 0), collate_fn=list)
    whole.set_epoch(2)
    expected = list(whole)
    resumed = skip_first_batches(DataLoaderShard(rows, batch_sampler=GroupedBatches(found, 8, 0), collate_fn=list), 5)
    resumed.set_epoch(2)
    assert list(resumed) == expected[5:]


def test_the_trainers_call_makes_it_for_the_rows_it_was_measured_on():
    found = shapes(20, 10)
    made = sampler(found)(
        list(range(20)), batch_size=4, drop_last=False, valid_label_columns=[], generator=None, seed=3
    )
    assert list(made) == list(GroupedBatches(found, 4, 3))
    with pytest.raises(ValueError, match="19 rows, but the lengths of 20"):
        sampler(found)(list(range(19)), batch_size=4)
