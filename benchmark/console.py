"""What a stage may say while it works. The command line brings a real reporter; tests and libraries stay silent."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Reporter(Protocol):
    """Where notes and progress of a stage go."""

    def note(self, text: str) -> None:
        """Say one line."""

    def track(self, items: Iterable[T], *, total: int | None, label: str) -> Iterator[T]:
        """Pass the items through and show how far it has come."""


class Silent:
    """A reporter that says nothing."""

    def note(self, text: str) -> None:
        """Drop the line."""

    def track(self, items: Iterable[T], *, total: int | None, label: str) -> Iterator[T]:
        """Pass the items through."""
        yield from items


SILENT = Silent()
