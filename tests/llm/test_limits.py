"""How fast an endpoint may be asked: the limiter with a clock of its own, pauses, backing off, headers."""

import asyncio
import random
from datetime import UTC, datetime

import pytest

from benchmark.llm.limits import Limiter, asked_wait, backoff


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self):
        self.now = 100.0
        self.slept = []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def limiter(highest, seed=0):
    clock = Clock()
    return Limiter(highest, clock=clock, sleep=clock.sleep, draws=random.Random(seed)), clock


def test_an_overload_halves_once_for_all_that_were_under_way_together():
    async def scenario():
        limits, _ = limiter(64)
        together = [await limits.acquire() for _ in range(64)]
        seen = []
        for decreases in together:
            limits.overloaded(decreases)
            limits.release()
            seen.append(limits.limit)
        assert set(seen) == {32}
        for expected in (16, 8, 4, 2, 1, 1):
            limits.overloaded(await limits.acquire())
            limits.release()
            assert limits.limit == expected

    asyncio.run(scenario())


def test_successes_creep_up_by_one_a_window_and_never_above_the_highest():
    async def scenario():
        limits, _ = limiter(8)
        early = await limits.acquire()
        limits.overloaded(early)
        assert limits.limit == 4
        limits.succeeded(early)  # it set out before: it says nothing about the new limit
        assert limits.limit == 4
        steps = []
        for _ in range(60):
            limits.succeeded(await limits.acquire())
            limits.release()
            steps.append(limits.limit)
        assert steps[3] == 4 and steps[4] == 5  # about as many successes as the limit
        assert steps.count(5) in {5, 6} and steps.count(6) in {6, 7}
        assert max(steps) == steps[-1] == 8
        limits.release()

    asyncio.run(scenario())


def test_no_more_than_the_limit_are_under_way_and_the_oldest_goes_first():
    async def scenario():
        limits, _ = limiter(2)
        held = [await limits.acquire(), await limits.acquire()]
        order = []

        async def wait(since):
            await limits.acquire(since)
            order.append(since)

        waiting = [asyncio.create_task(wait(since)) for since in (float("inf"), 30.0, 10.0, 20.0)]
        await asyncio.sleep(0)
        assert order == []
        waiting[3].cancel()  # who no longer waits is passed over
        await asyncio.sleep(0)
        for expected in ([10.0], [10.0, 30.0], [10.0, 30.0, float("inf")]):
            limits.release()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert order == expected
        assert len(held) == 2

    asyncio.run(scenario())


def test_a_place_given_to_somebody_who_is_cancelled_is_not_lost():
    async def scenario():
        limits, _ = limiter(1)
        await limits.acquire()
        waiting = asyncio.create_task(limits.acquire())
        await asyncio.sleep(0)
        limits.release()  # the place is his now, but he has not run yet
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.wait_for(limits.acquire(), 1)

    asyncio.run(scenario())


def test_a_pause_holds_everybody_and_they_set_out_spread_over_time():
    async def scenario():
        limits, clock = limiter(8, seed=3)
        limits.pause(7.0)
        limits.pause(2.0)  # a shorter one does not end it
        await limits.acquire()
        assert 107.0 <= clock.now <= 107.0 + 7.0 / 4 and len(clock.slept) == 1
        await limits.acquire()
        assert len(clock.slept) == 1  # it is over

    asyncio.run(scenario())
    first = [_resumed(seed) for seed in range(20)]
    assert len(set(first)) == 20 and min(first) >= 140.0 and max(first) <= 145.0


def _resumed(seed):
    limits, clock = limiter(8, seed)
    limits.pause(40.0)
    asyncio.run(limits.acquire())
    return clock.now


def test_a_pause_that_grows_while_one_sleeps_is_slept_to_its_end():
    async def scenario():
        limits, clock = limiter(2)
        first_sleep = clock.sleep

        async def sleep(seconds):
            if not clock.slept:
                limits.pause(50.0)
            await first_sleep(seconds)

        limits._sleep = sleep
        limits.pause(5.0)
        await limits.acquire()
        assert clock.now >= 150.0 and len(clock.slept) == 2

    asyncio.run(scenario())


def test_backing_off_doubles_with_full_jitter_up_to_a_cap():
    draws = random.Random(1)
    for failures, longest in [(1, 0.5), (2, 1.0), (4, 4.0), (7, 30.0), (5000, 30.0)]:
        waits = [backoff(failures, draws) for _ in range(500)]
        assert 0.0 <= min(waits) < 0.05 * longest and 0.95 * longest < max(waits) <= longest


NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "Tue, 01 Jan 2030 12:01:30 GMT"}, 90.0),
        ({"retry-after": "Tue, 01 Jan 2030 11:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "120ms"}, 0.12),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "20s"}, None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, 60.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "later"}, None),
    ],
)
def test_what_an_endpoint_asks_to_wait(headers, seconds):
    assert asked_wait(headers, NOW) == seconds
