"""One progress bar over everything that an evaluation does, its parts weighted by the time that they take."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, TypeVar

from benchmark.console import Reporter, Update
from benchmark.evaluation.plan import Plan, Unit, Work

T = TypeVar("T")
_STEPS: Final = 100


class _Part(NamedTuple):
    """A work of a unit, or (None) all the rest of it: searching, scoring, measuring what it costs."""

    unit: int
    work: int | None


class WorkBar:
    """A reporter under which whatever shows progress moves one bar.

    Args:
        reporter: Shows the bar, and gets all notes.
        plan: What the bar is about.
    """

    def __init__(self, reporter: Reporter, plan: Plan) -> None:
        self._reporter = reporter
        self._units = plan.to_do
        self._weights = _weights(self._units)
        self._done = dict.fromkeys(self._weights, 0.0)
        self._total = sum(self._weights.values())
        self._unit: Unit | None = None
        self._update: Update = lambda done, word: None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bar while the block runs; without anything to do there is none."""
        if not self._units:
            yield
            return
        with self._reporter.progress(total=_STEPS, label="evaluate, %") as self._update:
            yield

    def begin(self, unit: Unit) -> None:
        """Say that a unit is worked on: what shows progress from now on is part of it."""
        self._unit = unit
        self._tell(unit_label(unit))

    def end(self, unit: Unit) -> None:
        """Say that a unit is over, however it ended."""
        number = self._units.index(unit)
        self._done.update({part: 1.0 for part in self._done if part.unit == number})
        self._unit = None
        self._tell(unit_label(unit))

    def advance(self, work: Work, fraction: float) -> None:
        """Say how far one work has come.

        Args:
            work: Of whichever unit.
            fraction: From 0 to 1.
        """
        for number, unit in enumerate(self._units):
            for place, one in enumerate(unit.works):
                if one is work:
                    part = _Part(number, place)
                    self._done[part] = max(self._done[part], min(1.0, fraction))
        self._tell(f"{work.model.spec}: {'scoring' if work.source == 'pairs' else 'encoding'}")

    # --- a reporter ---

    def note(self, text: str) -> None:
        """Say one line."""
        self._reporter.note(text)

    def track(self, items: Iterable[T], *, total: int | None, label: str) -> Iterator[T]:
        """Pass the items through and move the bar."""
        with self.progress(total=total or 0, label=label) as update:
            for done, item in enumerate(items, start=1):
                yield item
                update(done, "")

    @contextmanager
    def progress(self, *, total: int, label: str) -> Iterator[Update]:
        """Move the bar by the part of the present unit's work that the label is about."""
        work = self._work(label)

        def update(done: int, word: str) -> None:
            if work is not None and total:
                self.advance(work, done / total)

        yield update

    def _work(self, label: str) -> Work | None:
        """The work that a stage calls by this label: `<spec>: encoding ...` or `<pipeline>: reranking`."""
        works = self._unit.works if self._unit is not None else ()
        name, _, what = label.partition(": ")
        scoring = "rerank" in what
        found = [work for work in works if (work.source == "pairs") == scoring]
        named = [work for work in found if scoring or work.model.spec == name]
        return next(iter(named or found), None)

    def _tell(self, word: str) -> None:
        done = sum(self._weights[part] * fraction for part, fraction in self._done.items())
        self._update(int(_STEPS * (done / self._total)), word)


def unit_label(unit: Unit) -> str:
    """What a unit is called, as a stage calls itself on the screen."""
    return f"{unit.domain.name}: {unit.kind} with {unit.spec}"


def _weights(units: tuple[Unit, ...]) -> dict[_Part, float]:
    """Seconds of every part, as far as they are known.

    Where a model's speed is not known it is taken for the mean of those that are; the rest of a unit, which no plan
    knows, for a twentieth of the mean unit.
    """
    known = [(work.count, work.seconds) for unit in units for work in unit.works if work.seconds is not None]
    each = sum(seconds for _, seconds in known) / sum(count for count, _ in known) if known else 1.0
    weights = {
        _Part(number, place): work.count * each if work.seconds is None else work.seconds
        for number, unit in enumerate(units)
        for place, work in enumerate(unit.works)
    }
    rest = sum(weights.values()) / max(1, len(units)) / 20 or 1.0
    return weights | {_Part(number, None): rest for number in range(len(units))}
