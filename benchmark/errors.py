"""The one exception that a user may see, and a collector that tells all mistakes at once."""

from collections.abc import Iterable
from difflib import get_close_matches
from types import TracebackType
from typing import ClassVar, Self


class BenchError(Exception):
    """A mistake in the user's input or surroundings; the command prints it and exits with `exit_code`.

    Args:
        problems: One line for each mistake: what is wrong, where, and what to do.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: tuple[str, ...] = problems


class ModelFailuresError(BenchError):
    """Models that failed at their work; what the others made is kept."""

    exit_code: ClassVar[int] = 1


class Problems:
    """Collects mistakes so that a user sees all of them in one go.

    Used as a context manager it raises `BenchError` on leaving, if anything was added:

    >>> with Problems() as problems:
    ...     problems.add("questions.jsonl:3: no answer")
    Traceback (most recent call last):
    ...
    benchmark.errors.BenchError: questions.jsonl:3: no answer
    """

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        """Keep one mistake; line breaks are folded so that it stays one line."""
        self._lines.append(" ".join(line.split()))

    def absorb(self, error: BenchError) -> None:
        """Keep every mistake of an error raised further down."""
        for line in error.problems:
            self.add(line)

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def lines(self) -> tuple[str, ...]:
        """All mistakes so far, in the order in which they were found."""
        return tuple(self._lines)

    def raise_if_any(self) -> None:
        """Raise `BenchError` with everything collected, if there is anything."""
        if self._lines:
            raise BenchError(*self._lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.raise_if_any()


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint to append to a message: the closest known word, or what is known at all.

    >>> did_you_mean("tempature", ["temperature", "model"])
    "did you mean 'temperature'?"
    >>> did_you_mean("x", ["b", "a"])
    'known: a, b'
    """
    names = sorted(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return "known: " + (", ".join(names) if names else "none")
