"""Locks on files, between processes."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Hold a lock, as one of several or alone; it goes with the process, however that ends.

    Whoever holds it alone may delete the file with its folder: the next one then makes a new one.

    Args:
        path: An empty file, made where it is missing.
        shared: Whether others may share it.
        wait: Whether to wait for it.

    Yields:
        Whether it is held; always with `wait`.
    """
    mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            stream = path.open("ab")
        except FileNotFoundError:  # its folder was deleted meanwhile
            continue
        with stream:
            try:
                fcntl.flock(stream, mode)
            except BlockingIOError:
                yield False
                return
            if _is_at(stream.fileno(), path):
                yield True
                return


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is still the one at that place."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
