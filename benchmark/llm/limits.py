"""How fast an endpoint may be asked: how many requests at once, when all of them pause, how long one waits."""

import asyncio
import heapq
import itertools
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_DECREASE: Final = 0.5
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
_LONGEST_HINT: Final = 60.0
_LONGEST_SPREAD: Final = 5.0


class Limiter:
    """Additive increase, multiplicative decrease of the requests under way (Chiu and Jain, 1989), and common pauses.

    It begins at the highest limit. An overload halves the limit, but once for all requests that were under way
    together: those that set out before the last decrease say nothing new. As many successes in a row as the limit
    allows requests raise it by one. Whoever set out first gets the next place, so that what has waited longest is
    finished before anything new begins. All of it runs in one event loop.

    Args:
        highest: Requests under way at once, at most.
        clock: Seconds, as `time.monotonic`.
        sleep: Waits for some seconds.
        draws: Random numbers that spread requests after a pause.
    """

    def __init__(
        self,
        highest: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draws: random.Random | None = None,
    ) -> None:
        self._highest, self._clock, self._sleep = highest, clock, sleep
        self._draws = draws or random.Random()  # noqa: S311 (it only spreads requests over time)
        self._limit = float(highest)
        self._under_way = 0
        self._decreases = 0
        self._queue: list[tuple[float, int, asyncio.Future[None]]] = []
        self._arrivals = itertools.count()
        self._paused_until, self._spread = 0.0, 0.0

    @property
    def limit(self) -> int:
        """Requests that may be under way now, at least 1."""
        return max(1, int(self._limit))

    async def acquire(self, since: float = float("inf")) -> int:
        """Wait for a place and for the end of a pause; `release` gives the place back.

        Args:
            since: When the request set out first (by the clock); a request that never did comes last.

        Returns:
            The number of decreases so far, to hand to `succeeded` or `overloaded`.
        """
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (since, next(self._arrivals), turn))
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            raise
        try:
            while (rest := self._paused_until - self._clock()) > 0:
                await self._sleep(rest + self._draws.uniform(0.0, self._spread))
        except BaseException:
            self.release()
            raise
        return self._decreases

    def release(self) -> None:
        """Give a place back."""
        self._under_way -= 1
        self._hand_out()

    def succeeded(self, decreases: int) -> None:
        """A request that set out after this many decreases was answered."""
        if decreases == self._decreases:
            self._limit = min(float(self._highest), self._limit + 1.0 / self._limit)
            self._hand_out()

    def overloaded(self, decreases: int) -> None:
        """A request that set out after this many decreases was turned away."""
        if decreases == self._decreases:
            self._limit = max(1.0, self._limit * _DECREASE)
            self._decreases += 1

    def pause(self, seconds: float) -> None:
        """Nobody sets out for so long; then they do spread over time, not all at the same moment."""
        until = self._clock() + seconds
        if until > self._paused_until:
            self._paused_until, self._spread = until, min(seconds / 4, _LONGEST_SPREAD)

    def _hand_out(self) -> None:
        while self._queue and self._under_way < self.limit:
            turn = heapq.heappop(self._queue)[2]
            if not turn.done():
                self._under_way += 1
                turn.set_result(None)


def backoff(failures: int, draws: random.Random) -> float:
    """Seconds to wait after so many failures of one request (from 1): exponential, with full jitter."""
    return draws.uniform(0.0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures - 1, 16)))


def asked_wait(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that an endpoint asks to wait, or None.

    Read from `retry-after-ms`, `retry-after` (seconds or a date) or, where nothing remains of a limit, from
    `x-ratelimit-reset-*`. Those tell when the whole limit is back, so they count for a minute at most.

    >>> asked_wait({"retry-after-ms": "1500"}), asked_wait({"retry-after": "7"}), asked_wait({})
    (1.5, 7.0, None)
    >>> asked_wait({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2.5s"})
    60.0
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    if value is not None:
        seconds = _number(value)
        return seconds if seconds is not None else _until(value, now or datetime.now(UTC))
    resets = [
        _duration(headers.get(f"x-ratelimit-reset-{kind}", ""))
        for kind in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{kind}") == "0"
    ]
    told = [reset for reset in resets if reset is not None]
    return min(max(told), _LONGEST_HINT) if told else None


def _number(value: str | None) -> float | None:
    """A number that is no less than 0, or None."""
    return float(value) if value is not None and re.fullmatch(r"\s*\d+(\.\d+)?\s*", value) else None


def _until(value: str, now: datetime) -> float | None:
    """Seconds until an HTTP date, or None where it is none."""
    try:
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (ValueError, TypeError):
        return None


def _duration(value: str) -> float | None:
    """Seconds of a duration such as `6m0s` or `120ms`, or None.

    >>> _duration("1h2m3.5s"), _duration("120ms"), _duration("soon")
    (3723.5, 0.12, None)
    """
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?", value)
    if found is None or not value:
        return None
    return sum(float(part or 0) * unit for part, unit in zip(found.groups(), (3600, 60, 1, 0.001), strict=True))
