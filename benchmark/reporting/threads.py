"""Work that numpy and Arrow do outside Python's lock, on as many cores as this process may use."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """The results in the items' order; what one of them raises is raised."""
    with ThreadPoolExecutor(max_workers=cores()) as pool:
        return list(pool.map(work, items))
