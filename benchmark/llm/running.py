"""Many requests on their way to one endpoint: how they start, are tried again, and end.

They run in an event loop in a thread of its own; results reach the caller through a queue. No more than `concurrency`
of them are under way or wait for the caller, so that a kill loses few answers that were paid for.
"""

import asyncio
import contextlib
import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, Generic

from benchmark.errors import BenchError
from benchmark.llm.connection import Connection, TroubleError
from benchmark.llm.limits import Limiter, backoff
from benchmark.llm.model import A, Done, Failure, Meter, Q
from benchmark.specs import Remote

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_HOPELESS: Final = 50
"""At least so many requests in a row must fail for good before the endpoint counts as lost."""
_FIRST_ONES: Final = 3
"""So many requests must fail one after the other, before anything was answered, for the run to end."""


@dataclass
class _Effort:
    """What has been done for one request.

    Attributes:
        since: When it set out first (the loop's clock).
        failures: Tries that failed and count.
        throttles: Tries that were turned away with HTTP 429.
        trouble: What the last try met.
        unknown: Whether the last try may have been paid for and brought nothing.
        lost: Earlier tries of which that is true.
    """

    since: float
    failures: int = 0
    throttles: int = 0
    trouble: TroubleError | None = None
    unknown: bool = False
    lost: int = 0

    def begin(self) -> None:
        """Another try sets out; until it ends, nobody knows what it costs."""
        self.lost += self.unknown
        self.unknown = True

    def failure(self, reason: str) -> Failure:
        """The end of it."""
        tokens = None if self.unknown else 0
        return Failure(reason, tokens, tokens, self.lost)


class Run(Generic[Q, A]):
    """One sequence of requests on its way; `work` is the whole life of a thread.

    Attributes:
        results: What has come back, for the caller's thread; an error, if any, comes last, then None.
    """

    def __init__(self, spec: Remote, transport: Connection[Q, A], requests: Sequence[Q], meter: Meter) -> None:
        self.results: SimpleQueue[Done[A] | BaseException | None] = SimpleQueue()
        self._spec, self._transport, self._requests, self._meter = spec, transport, requests, meter
        self._draws = random.Random()  # noqa: S311 (it only spreads retries over time)
        self._started = threading.Event()
        self._fatal: BenchError | None = None
        self._lost = self._failed_first = 0
        self._waiting: set[asyncio.Task[None]] = set()
        self._reserved: set[int] = set()
        self._loop: asyncio.AbstractEventLoop
        self._main: asyncio.Task[None]
        self._client: AsyncOpenAI
        self._limiter: Limiter
        self._room: asyncio.Semaphore

    # --- from other threads -------------------------------------------------------------------------------------

    def work(self) -> None:
        """Ask everything; the thread's whole life."""
        error: BaseException | None = None
        try:
            asyncio.run(self._all())
            error = self._fatal
        except asyncio.CancelledError:
            pass  # the caller has gone
        except BaseException as unexpected:
            error = unexpected
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
        self._started.set()
        self.results.put(error)
        if error is not None:
            self.results.put(None)

    def taken(self) -> None:
        """The caller has taken a result: there is room for another request."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._room.release)

    def stop(self) -> None:
        """Cancel what is under way."""
        self._started.wait()
        with contextlib.suppress(RuntimeError, AttributeError):  # the loop has ended, or never began
            self._loop.call_soon_threadsafe(self._main.cancel)

    # --- in the event loop --------------------------------------------------------------------------------------

    async def _all(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine runs in a task)
        self._main, self._loop = task, asyncio.get_running_loop()
        self._limiter = Limiter(self._spec.concurrency, clock=self._loop.time, draws=self._draws)
        self._room = asyncio.Semaphore(self._spec.concurrency)
        self._started.set()
        try:
            async with self._transport.client() as self._client:
                begun = 0 if self._transport.proven else await self._first()
                if self._fatal is None:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._others(group, begun))
        finally:
            for place in sorted(self._reserved):  # cancelled before they ran at all
                self._settle(place, Failure("stopped"))

    async def _first(self) -> int:
        """Bring requests to their ends, one alone after the other until the endpoint answers; returns how many."""
        for place in range(len(self._requests)):
            await self._room.acquire()
            decreases = await self._limiter.acquire()
            if not self._reserve(place):
                break
            failed = self._failed_first
            await self._one(place, decreases, first=True)
            if self._failed_first == failed or self._fatal is not None:
                return place + 1
        return len(self._requests)

    async def _others(self, group: asyncio.TaskGroup, begun: int) -> None:
        """Start every request that has not been begun as soon as it may run."""
        for place in range(begun, len(self._requests)):
            with self._interruptible():
                await self._room.acquire()
                decreases = await self._limiter.acquire()
            if self._fatal is not None or not self._reserve(place):
                return
            group.create_task(self._one(place, decreases))

    def _reserve(self, place: int) -> bool:
        if not self._meter.reserve(self._requests[place]):
            return False
        self._reserved.add(place)
        return True

    def _settle(self, place: int, result: A | Failure) -> None:
        self._reserved.remove(place)
        self._meter.settle(self._requests[place], result)

    async def _one(self, place: int, decreases: int, first: bool = False) -> None:
        """Bring one request, which has a place of the limiter, to its end; the meter learns of it in any case."""
        effort = _Effort(self._loop.time())
        result: A | Failure | None = None
        try:
            result = await self._persist(self._requests[place], effort, decreases, first)
        except BenchError as error:
            self._end(error)
        finally:
            self._settle(place, result or effort.failure("stopped"))
        if result is not None:
            self.results.put(Done(place, result))

    async def _persist(self, request: Q, effort: _Effort, decreases: int, first: bool) -> A | Failure:
        """Try until there is an answer, or no more tries or time.

        Raises:
            BenchError: The run must end.
        """
        try:
            async with asyncio.timeout(self._spec.deadline):
                while (result := await self._try(request, effort, decreases)) is None:
                    wait = self._next_wait(effort, first)
                    if wait is None:
                        return self._given_up(effort, first)
                    with self._interruptible():
                        await asyncio.sleep(wait)
                        decreases = await self._limiter.acquire(effort.since)
        except TimeoutError:
            return self._out_of_time(effort, first)
        self._lost = 0
        self._transport.proven = self._transport.proven or not isinstance(result, Failure)
        return replace(result, lost=effort.lost)

    async def _try(self, request: Q, effort: _Effort, decreases: int) -> A | Failure | None:
        """One try, with a place of the limiter, which is given back; None: it met trouble, noted in the effort."""
        effort.begin()
        try:
            result = await self._transport.ask(self._client, request)
            self._limiter.succeeded(decreases)
            return result
        except TroubleError as trouble:
            effort.trouble, effort.unknown = trouble, trouble.unknown
            if trouble.overloaded:
                self._limiter.overloaded(decreases)
            return None
        except BenchError:
            effort.unknown = False
            raise
        finally:
            self._limiter.release()

    def _next_wait(self, effort: _Effort, first: bool) -> float | None:
        """Seconds to wait after a failed try, or None where it was the last; makes all pause where that is asked.

        Raises:
            BenchError: The run must end.
        """
        trouble = effort.trouble
        assert trouble is not None  # noqa: S101 (a try has just failed)
        if trouble.decisive and first:
            raise BenchError(f"{self._transport.who}: {trouble.detail}")
        if trouble.wait is not None:
            if trouble.wait > self._spec.deadline:
                raise BenchError(
                    f"{self._transport.who}: {trouble.reason}, and asks to wait {trouble.wait:.0f} s, longer than a "
                    "request may take ('deadline'); run again later"
                )
            self._limiter.pause(trouble.wait)
        effort.throttles += trouble.throttled
        effort.failures += not trouble.throttled
        if self._fatal is not None or not trouble.passing or effort.failures > self._spec.retries:
            return None
        return backoff(effort.throttles if trouble.throttled else effort.failures, self._draws)

    def _given_up(self, effort: _Effort, first: bool) -> Failure:
        """A failure after the last try; too many in a row end the run."""
        trouble = effort.trouble
        assert trouble is not None  # noqa: S101 (a try has failed)
        if first:
            times = f", {effort.failures} times in a row" if trouble.passing else ""
            self._count_first(f"{trouble.detail}{times}")
        elif trouble.passing:
            self._count_lost(trouble.reason)
        return effort.failure(trouble.reason)

    def _out_of_time(self, effort: _Effort, first: bool) -> Failure:
        """A failure at the deadline; too many in a row end the run."""
        deadline = f"{self._spec.deadline:g} s"
        reason = (
            f"{effort.trouble.reason}, still after {deadline}" if effort.trouble else f"no answer within {deadline}"
        )
        if first:
            self._count_first(f"{reason} ('deadline')")
        else:
            self._count_lost(reason)
        return effort.failure(reason)

    def _count_first(self, detail: str) -> None:
        """One that went alone has failed: it may be to blame, or the endpoint; several tell."""
        self._failed_first += 1
        if self._failed_first >= _FIRST_ONES:
            self._end(BenchError(f"{self._transport.who}: {detail}"))

    def _count_lost(self, reason: str) -> None:
        self._lost += 1
        if self._lost >= max(_HOPELESS, 2 * self._spec.concurrency):
            self._end(
                BenchError(
                    f"{self._transport.who}: {reason}, and so for the last {self._lost} requests; run again later"
                )
            )

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """A wait that the end of the run cuts short."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine runs in a task)
        self._waiting.add(task)
        try:
            yield
        finally:
            self._waiting.discard(task)

    def _end(self, error: BenchError) -> None:
        """End the run: nothing new starts, nothing is tried again; what is under way may still finish."""
        if self._fatal is None:
            self._fatal = error
            for task in self._waiting:
                task.cancel()
