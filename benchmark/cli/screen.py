"""What a person sees: notes, progress bars in a terminal, a line now and then in a log file."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmark.console import Update

T = TypeVar("T")
_SECONDS_BETWEEN_LINES = 15.0


class Screen:
    """A `benchmark.console.Reporter` on standard error."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._started = time.monotonic()

    def note(self, text: str) -> None:
        """Say one line, with the minutes and seconds since the start."""
        seconds = int(time.monotonic() - self._started)
        self.console.print(f"[dim]{seconds // 60:2d}:{seconds % 60:02d}[/dim] ", end="")
        self.console.print(text, markup=False, soft_wrap=True)

    def track(self, items: Iterable[T], *, total: int | None, label: str) -> Iterator[T]:
        """Pass the items through and show how far it has come."""
        with self.progress(total=total or 0, label=label) as update:
            for done, item in enumerate(items, start=1):
                yield item
                update(done, "")

    @contextmanager
    def progress(self, *, total: int, label: str) -> Iterator[Update]:
        """A bar with time left in a terminal; elsewhere a line every quarter of a minute."""
        if not self.console.is_terminal:
            yield self._lines(total, label)
            return
        columns = (
            TextColumn("      {task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[word]}"),
        )  # fmt: skip
        with Progress(*columns, console=self.console, transient=True) as bars:
            task = bars.add_task(label, total=total or None, word="")
            yield lambda done, word: bars.update(task, completed=done, word=word)

    def _lines(self, total: int, label: str) -> Update:
        begun = last = time.monotonic()

        def update(done: int, word: str) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last < _SECONDS_BETWEEN_LINES or not done:
                return
            last = now
            left = f", {(now - begun) / done * (total - done):.0f} s left" if total else ""
            self.note(f"  {label}: {done} of {total or '?'}{left}{', ' + word if word else ''}")

        return update
