"""What a stage may say while it works. The command line brings a real reporter; tests and libraries stay silent."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

T = TypeVar("T")
Update = Callable[[int, str], None]
"""Called with how many steps are done and a word on the state, e.g. the loss."""


class Reporter(Protocol):
    """Where notes and progress of a stage go."""

    def note(self, text: str) -> None:
        """Say one line."""

    def track(self, items: Iterable[T], *, total: int | None, label: str) -> Iterator[T]:
        """Pass the items through and show how far it has come."""

    def progress(self, *, total: int, label: str) -> AbstractContextManager[Update]:
        """Show how far work has come whose steps somebody else counts."""


class Silent:
    """A reporter that says nothing."""

    def note(self, text: str) -> None:
        """Drop the line."""

    def track(self, items: Iterable[T], *, total: int | None, label: str) -> Iterator[T]:
        """Pass the items through."""
        yield from items

    def progress(self, *, total: int, label: str) -> AbstractContextManager[Update]:
        """Drop every update."""
        return nullcontext(lambda done, text: None)


class Notes(Silent):
    """A reporter that keeps what it is told, for those who call the stages from Python.

    Attributes:
        lines: The notes, in order.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Keep one line."""
        self.lines.append(text)


SILENT = Silent()
