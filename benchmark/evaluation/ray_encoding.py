"""What one encoder has to encode, in shards that workers of a Ray cluster do and that are kept in order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.console import SILENT, Reporter
from benchmark.encoders.adapter import open_encoder
from benchmark.encoders.dense import Role, model_errors
from benchmark.encoders.store import keep, known_prompts, missing_slices, stored_vectors
from benchmark.errors import BenchError
from benchmark.evaluation.bar import WorkBar
from benchmark.evaluation.needs import Model
from benchmark.evaluation.plan import Plan, Work
from benchmark.evaluation.ray_tasks import Encoded
from benchmark.project import Domain, Project

_SHARDS: Final = 4
"""For each slot of the cluster: enough for all to end at about the same time, few enough to load models seldom."""
_LARGEST: Final = 16
"""Slices in a shard."""


class Call(NamedTuple):
    """Texts that are asked of the store at once, as a single process would.

    Attributes:
        work: What the plan calls it.
        domain: Whose texts they are.
        role: Which prompt goes in front.
        texts: All of them, kept or not.
    """

    work: Work
    domain: Domain
    role: Role
    texts: list[str]


class Shard(NamedTuple):
    """Some consecutive slices of a call."""

    call: Call
    slices: list[list[str]]


@dataclass(eq=False)
class _Remote:
    """An encoder that is opened on other machines only."""

    name: str
    fingerprint: str
    prompts: dict[str, str] = field(default_factory=dict)

    def encode(
        self, texts: Sequence[str], role: Role, reporter: Reporter = SILENT, label: str = ""
    ) -> NDArray[np.float32]:
        """Not on this machine.

        Raises:
            BenchError: Always.
        """
        raise BenchError(f"model_specs/{self.name}.yaml: is opened by the workers of the cluster, not here")


class Encoding:
    """All calls of one encoder, one after the other: what a call finds in the store decides what it has to do.

    Args:
        project: Whose store.
        model: The encoder.
        slots: How many tasks the cluster does at once.

    Attributes:
        model: As given.
        calls: Those that were not begun yet, in the plan's order.
        error: Why it failed; None where it has not.
    """

    def __init__(self, project: Project, model: Model, slots: int) -> None:
        self.model = model
        self.calls: list[Call] = []
        self.error: BenchError | None = None
        self._project = project
        self._slots = slots
        self._remote = _Remote(model.spec, model.fingerprint)
        self._ahead: list[Shard] = []
        self._out: dict[Any, Shard] = {}
        self._came: dict[Any, Encoded] = {}
        self._total = self._kept = 0

    @property
    def is_complete(self) -> bool:
        """Whether everything is in the store."""
        return self.error is None and not (self.calls or self._ahead or self._out)

    def next(self) -> Shard | None:
        """The next shard to send out; None where there is none before the present call is over."""
        while not self._ahead and not self._out and self.calls and self.error is None:
            self._ahead = self._shards(self.calls.pop(0))
        return self._ahead.pop(0) if self._ahead else None

    def _shards(self, call: Call) -> list[Shard]:
        prompts = known_prompts(self._project, self.model.fingerprint) or {}
        slices = missing_slices(
            self._project, self.model.fingerprint, call.role, prompts.get(call.role, ""), call.texts
        )
        self._total, self._kept = len(slices), 0
        size = max(1, min(_LARGEST, len(slices) // (_SHARDS * self._slots)))
        return [Shard(call, slices[start : start + size]) for start in range(0, len(slices), size)]

    def sent(self, reference: Any, shard: Shard) -> None:
        """Remember under what reference a shard comes back."""
        self._out[reference] = shard

    def take(self, reference: Any, encoded: Encoded, bar: WorkBar) -> None:
        """Keep what came back, and what waited for it: all is kept in the order in which it was sent out."""
        if self.error is not None:
            return
        self._came[reference] = encoded
        try:
            while self._out and (first := next(iter(self._out))) in self._came:
                self._keep(self._out[first], self._came.pop(first), bar)
                del self._out[first]
        except BenchError as error:
            self.fail(error)

    def _keep(self, shard: Shard, encoded: Encoded, bar: WorkBar) -> None:
        if encoded.problems:
            raise BenchError(*encoded.problems)
        self._remote.prompts = encoded.prompts
        call = shard.call
        for texts, vectors in zip(shard.slices, encoded.parts, strict=True):
            keep(call.domain, self._remote, call.role, texts, vectors)
            self._kept += 1
            bar.advance(call.work, self._kept / self._total)

    def ask(self, bar: WorkBar) -> None:
        """Do all calls here: an API is asked by one process, which counts what it costs."""
        try:
            with model_errors(f"model_specs/{self.model.spec}.yaml: cannot be asked"):
                encoder = open_encoder(self._project, self.model.spec)
                while self.calls:
                    call = self.calls.pop(0)
                    stored_vectors(call.domain, encoder, call.texts, call.role, bar)
                    bar.advance(call.work, 1.0)
        except BenchError as error:
            self.fail(error)

    def fail(self, error: BenchError) -> None:
        """Give up; what was kept stays."""
        self.error = self.error or error
        for waiting in (self.calls, self._ahead, self._out, self._came):
            waiting.clear()


def encodings_of(project: Project, plan: Plan, slots: int) -> dict[str, Encoding]:
    """What there is to encode before units can be done, by the encoders' fingerprints.

    Sparse encoders and late interaction are none of it: a unit encodes for them.
    """
    found: dict[str, Encoding] = {}
    for call in _calls(plan):
        model = call.work.model
        found.setdefault(model.fingerprint, Encoding(project, model, slots)).calls.append(call)
    return found


def _calls(plan: Plan) -> Iterator[Call]:
    for unit in plan.to_do:
        for work in unit.works:
            if work.source != "pairs" and work.model.family in ("dense", "api"):
                texts = unit.evaluator.texts(work.source)
                yield Call(work, unit.domain, "document" if work.source == "corpus" else "query", texts)
