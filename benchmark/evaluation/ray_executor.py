"""Carries out a plan on the machines of a Ray cluster: same files, same bytes.

Shards of encoding and units (a spec on a task) are Ray tasks; Ray does those of a lost worker again. The project's folder
lies at the same path on every node. Corpora are encoded first, in the slices and the order of a single process, and the
driver alone appends what comes back to the store; what an API is asked for, it asks itself.
"""

from collections.abc import Iterator
from typing import Any

from benchmark.errors import BenchError
from benchmark.evaluation.bar import WorkBar, unit_label
from benchmark.evaluation.execute import Done
from benchmark.evaluation.plan import Plan, Unit
from benchmark.evaluation.ray_cluster import RETRIES, Cluster, first_line, joined
from benchmark.evaluation.ray_encoding import Encoding, encodings_of
from benchmark.evaluation.ray_tasks import Made, do_unit, encode_texts
from benchmark.project import Project


class RayExecutor:
    """An executor on an existing Ray cluster, which must include this machine.

    Args:
        project: The same on every node.
        address: HOST:PORT of the head; None for the cluster that is found here (RAY_ADDRESS, or started here).
        threads: Processor cores of a task; None for as many as torch would use here, but no more than the smallest
            node has. The last bits of a vector can depend on them.
    """

    def __init__(self, project: Project, address: str | None = None, threads: int | None = None) -> None:
        self._project = project
        self._address = address
        self._threads = threads

    def __call__(self, plan: Plan, bar: WorkBar) -> Iterator[Done]:
        """Do what the plan has to do.

        Raises:
            BenchError: There is no cluster, or a node of it cannot be used.
        """
        if not plan.to_do:
            return
        with joined(self._project, self._address, self._threads) as cluster:
            bar.note(str(cluster))
            yield from _Run(cluster, self._project, plan, bar).done()


class _Run:
    """One plan on one cluster.

    Args:
        cluster: Where.
        project: The project.
        plan: What to do.
        bar: Moved as work comes in.
    """

    def __init__(self, cluster: Cluster, project: Project, plan: Plan, bar: WorkBar) -> None:
        self._cluster, self._ray, self._project, self._bar = cluster, cluster.ray, project, bar
        # Made once: each remote function is sent to the cluster.
        self._encode = cluster.task(encode_texts, model=True)
        self._do = {model: cluster.task(do_unit, model=model) for model in (True, False)}
        self._units = plan.to_do
        self._waiting = list(self._units)
        self._encodings = encodings_of(project, plan, cluster.slots)
        self._pending: dict[Any, Unit | Encoding] = {}
        self._over: dict[Unit, Done] = {}

    # --- the loop ---

    def done(self) -> Iterator[Done]:
        """Units in the order in which they end."""
        while True:
            yield from self._start()
            if not self._pending:
                return
            ready, _ = self._ray.wait(list(self._pending), num_returns=1)
            for reference in ready:
                job = self._pending.pop(reference)
                if isinstance(job, Encoding):
                    self._take(job, reference)
                else:
                    yield self._finished(job, self._made(job, reference))

    def _start(self) -> Iterator[Done]:
        """Send out whatever can be done now; yields the units that never can."""
        # An API is asked while the cluster is at work.
        for encoding in sorted(self._encodings.values(), key=lambda one: one.model.family == "api"):
            self._send(encoding)
        going = True
        while going:
            going = False
            for unit in list(self._waiting):
                error = self._hopeless(unit)
                if error is not None:
                    self._waiting.remove(unit)
                    yield self._finished(unit, Made(None, error.problems, ()))
                    going = True  # others may have waited for it
                elif self._is_ready(unit):
                    self._waiting.remove(unit)
                    self._bar.begin(unit)
                    task = self._do[bool(unit.needs.fingerprints)]
                    self._pending[task.remote(unit.evaluator.bare(), unit.spec, unit.kind)] = unit

    def _send(self, encoding: Encoding) -> None:
        """Send out shards, as many as are of use now."""
        if encoding.model.family == "api":
            encoding.ask(self._bar)
            return
        model = encoding.model
        while len(self._pending) < 2 * self._cluster.slots and (shard := encoding.next()) is not None:
            reference = self._encode.remote(self._project, model.spec, model.fingerprint, shard.call.role, shard.slices)
            encoding.sent(reference, shard)
            self._pending[reference] = encoding

    def _take(self, encoding: Encoding, reference: Any) -> None:
        """Take in what came back of a corpus."""
        try:
            encoding.take(reference, self._ray.get(reference), self._bar)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayError as error:
            encoding.fail(BenchError(f"model_specs/{encoding.model.spec}.yaml: encoding: {_lost(error)}"))

    def _made(self, unit: Unit, reference: Any) -> Made:
        try:
            made: Made = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            # Only what is no model's fault is raised there, such as a full disk.
            raise error.cause from None
        except self._ray.exceptions.RayError as error:
            why = f"model_specs/{unit.spec}.yaml: {unit.kind} on {unit.domain.name}: {_lost(error)}"
            return Made(None, (why,), ())
        return made

    def _finished(self, unit: Unit, made: Made) -> Done:
        for line in made.notes:
            self._bar.note(line)
        if made.outcome is not None:
            self._bar.note(f"{unit_label(unit)}: done")
        self._bar.end(unit)
        error = None if made.outcome is not None else BenchError(*made.problems)
        self._over[unit] = Done(unit, made.outcome, error)
        return self._over[unit]

    # --- what waits for what ---

    def _hopeless(self, unit: Unit) -> BenchError | None:
        """Why a unit cannot be done any more: an encoder of its, or its domain's candidates, failed."""
        for model in unit.needs.encoders:
            encoding = self._encodings.get(model.fingerprint)
            if encoding is not None and encoding.error is not None:
                return encoding.error
        if unit.kind == "reranking":
            for other, done in self._over.items():
                if other.kind == "candidates" and other.domain.name == unit.domain.name and done.error is not None:
                    return done.error
        return None

    def _is_ready(self, unit: Unit) -> bool:
        """Whether all is there that a unit needs, and all units are over that it must come after."""
        for model in unit.needs.encoders:
            encoding = self._encodings.get(model.fingerprint)
            if encoding is not None and not encoding.is_complete:
                return False
        earlier = self._units[: self._units.index(unit)]
        return all(other in self._over for other in earlier if _comes_after(unit, other))


def _comes_after(unit: Unit, other: Unit) -> bool:
    """Whether a unit must wait for an earlier one: for its candidates, or for what both would compute.

    The scores of pairs that one has computed the next takes over; in another order they would come out of other batches,
    with other last bits.
    """
    if other.kind == "candidates" and unit.kind == "reranking" and other.domain.name == unit.domain.name:
        return True
    shared = {model.fingerprint for model in other.needs.encoders if model.family in ("sparse", "late-interaction")}
    shared |= {reranking.model.fingerprint for reranking in other.needs.rerankings}
    made = {work.model.fingerprint for work in other.works}
    return bool(shared & made & unit.needs.fingerprints)


def _lost(error: Exception) -> str:
    return f"lost on the Ray cluster with its worker, {RETRIES + 1} times: {first_line(error)}"
