"""What an evaluation will do, told before it does it: what is kept, what must be encoded and scored, and how long."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from benchmark.encoders.dense import Role
from benchmark.encoders.ragged import missing_ragged
from benchmark.encoders.store import known_prompts, missing
from benchmark.errors import BenchError
from benchmark.evaluation.needs import NOTHING, Model, Needs, NeedsReader, NotFetchedError, Reranking, Texts
from benchmark.evaluation.plan_pairs import pairs_to_score
from benchmark.evaluation.rates import Rates
from benchmark.evaluation.tasks import TaskKind
from benchmark.project import Domain, Project
from benchmark.provenance import Outcome

if TYPE_CHECKING:
    from benchmark.evaluation.evaluate import Evaluator

UnitKind = Literal["candidates", "retrieval", "reranking"]


@dataclass(frozen=True)
class Work:
    """Something that is computed in a unit because it is not kept.

    Attributes:
        model: What computes it.
        source: Which texts are encoded; "pairs" of query and passage are scored.
        count: How many texts or pairs; of pairs, at most: which they are, the first stage's ranking will tell.
        seconds: About how long that takes; None where that is not known.
    """

    model: Model
    source: Texts | Literal["pairs"]
    count: int
    seconds: float | None = None


@dataclass(frozen=True, eq=False)
class Unit:
    """One spec on one task of one domain, or the candidates of a domain's reranking task.

    Attributes:
        evaluator: The domain's.
        spec: The spec's name; of candidates their base's.
        kind: The task.
        kept: What is there already; None where it is to be done.
        needs: All that the spec works with, kept or not.
        works: What is to be computed, but for what an earlier unit of the plan computes.
        mistake: Why it cannot be done, in the spec or its weights; a `NotFetchedError` where it is not known before
            weights are fetched what there is to do.
    """

    evaluator: "Evaluator"
    spec: str
    kind: UnitKind
    kept: Outcome | None = None
    needs: Needs = NOTHING
    works: tuple[Work, ...] = ()
    mistake: BenchError | None = None

    @property
    def domain(self) -> Domain:
        """The evaluator's."""
        return self.evaluator.domain

    @property
    def to_do(self) -> bool:
        """Whether there is work, and nothing in its way."""
        return self.kept is None and self.mistake is None


@dataclass(frozen=True)
class Plan:
    """Every unit of an evaluation, in order."""

    units: tuple[Unit, ...]

    @property
    def to_do(self) -> tuple[Unit, ...]:
        """What is neither kept nor impossible."""
        return tuple(unit for unit in self.units if unit.to_do)

    @property
    def works(self) -> tuple[Work, ...]:
        """Of all units."""
        return tuple(work for unit in self.to_do for work in unit.works)

    @property
    def seconds(self) -> float:
        """Of all works whose time is known."""
        return sum(work.seconds for work in self.works if work.seconds is not None)

    @property
    def not_fetched(self) -> int:
        """Units of which nothing is known before weights are fetched."""
        return sum(isinstance(unit.mistake, NotFetchedError) for unit in self.units)

    def check(self) -> None:
        """See to it that everything can be done, as far as that is known.

        Raises:
            BenchError: With every mistake in specs, and weights that are not there.
        """
        mistakes = [unit.mistake for unit in self.units if unit.mistake is not None]
        told = [mistake for mistake in mistakes if not isinstance(mistake, NotFetchedError)]
        lines = dict.fromkeys(line for mistake in told for line in mistake.problems)
        if lines:
            raise BenchError(*lines)


def make_plan(
    groups: Sequence[Sequence["Evaluator"]], names: Sequence[str], rates: Rates | None = None, *, fetch: bool = True
) -> Plan:
    """Find out what has to be done; loads no model, unless to measure how fast it is.

    Args:
        groups: For each domain its evaluator, and those of the general sets after it; one that comes again is passed
            over.
        names: The specs.
        rates: How fast models are; what is known of it, by default.
        fetch: Whether weights on the Hub are fetched that are not here: what is kept is found by their hash.
    """
    project = groups[0][0].project
    planner = _Planner(NeedsReader(project, fetch=fetch))
    seen: set[str] = set()
    units: list[Unit] = []
    for group in groups:
        new = [evaluator for evaluator in group if evaluator.domain.name not in seen]
        seen |= {evaluator.domain.name for evaluator in new}
        units += [unit for evaluator in new for unit in planner.candidates(evaluator)]
        units += [
            planner.unit(evaluator, name, kind) for name in names for evaluator in new for kind in evaluator.kinds
        ]
    return Plan(_timed(units, rates or Rates(project)))


def _timed(units: Sequence[Unit], rates: Rates) -> tuple[Unit, ...]:
    """The same units, with the seconds that their works take."""
    totals = Counter[str]()
    for work in (work for unit in units for work in unit.works):
        totals[work.model.fingerprint] += work.count

    def timed(unit: Unit, work: Work) -> Work:
        rates.learn(work.model, totals[work.model.fingerprint], unit.evaluator)
        return replace(work, seconds=rates.seconds(work.model, work.source, work.count, unit.evaluator))

    return tuple(replace(unit, works=tuple(timed(unit, work) for work in unit.works)) for unit in units)


class _Planner:
    """Plans one unit after the other, and remembers what earlier ones will have computed."""

    def __init__(self, reader: NeedsReader) -> None:
        self._reader = reader
        self._planned: set[tuple[str, str, str]] = set()

    def candidates(self, evaluator: "Evaluator") -> list[Unit]:
        """The unit that makes the candidates of a domain; none where it has none, or they are kept."""
        if not evaluator.has_candidates:
            return []
        base = evaluator.domain.spec.reranking.base
        try:
            self._reader.fingerprint(base)
            if evaluator.kept_candidates() is not None:
                return []
            needs = self._reader.needs(base)
            return [Unit(evaluator, base, "candidates", None, needs, self._works(evaluator, needs, "candidates"))]
        except BenchError as error:
            return [Unit(evaluator, base, "candidates", mistake=error)]

    def unit(self, evaluator: "Evaluator", name: str, kind: TaskKind) -> Unit:
        """The unit of a spec on a task."""
        try:
            fingerprint, needs = self._reader.fingerprint(name), self._reader.needs(name)
            if kind == "reranking":
                self._reader.fingerprint(evaluator.domain.spec.reranking.base)
            kept = evaluator.kept(name, kind, fingerprint)
            works = self._works(evaluator, needs, kind) if kept is None else ()
        except BenchError as error:
            return Unit(evaluator, name, kind, mistake=error)
        return Unit(evaluator, name, kind, kept, needs, works)

    def _works(self, evaluator: "Evaluator", needs: Needs, kind: UnitKind) -> tuple[Work, ...]:
        sources: tuple[Texts, ...] = ("corpus", "queries")
        if kind == "retrieval" and evaluator.has_candidates:
            sources = (*sources, "unanswerable")
        works = [self._encoding(evaluator, model, source) for model in needs.encoders for source in sources]
        works += [self._scoring(evaluator, kind, reranking) for reranking in needs.rerankings]
        return tuple(work for work in works if work is not None)

    def _scoring(self, evaluator: "Evaluator", kind: UnitKind, reranking: Reranking) -> Work | None:
        """What a cross-encoder has to score; None where nothing is left."""
        count = pairs_to_score(evaluator, kind, reranking, self._reader)
        return Work(reranking.model, "pairs", count) if count else None

    def _encoding(self, evaluator: "Evaluator", model: Model, source: Texts) -> Work | None:
        """What a model has to encode of some texts; None where nothing is left."""
        key = (model.fingerprint, evaluator.domain.name, source)
        if key in self._planned:
            return None
        self._planned.add(key)
        role: Role = "document" if source == "corpus" else "query"
        count = _missing(evaluator.project, model, role, evaluator.texts(source))
        return Work(model, source, count) if count else None


def _missing(project: Project, model: Model, role: Role, texts: Sequence[str]) -> int:
    """How many different ones of some texts are not kept in a role."""
    prompts = known_prompts(project, model.fingerprint)
    if prompts is None:
        return len(set(texts))
    counted = missing if model.family in ("dense", "api") else missing_ragged
    return counted(project, model.fingerprint, role, prompts.get(role, ""), texts)
