"""Each spec on each task: mteb's scores, a run file, and what the system costs."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmark.console import SILENT, Reporter
from benchmark.device import device_name
from benchmark.encoders.dense import model_errors
from benchmark.encoders.retrieve import Retriever, open_retriever
from benchmark.evaluation.candidates import kept_candidates, make_candidates
from benchmark.evaluation.costs import measure_costs
from benchmark.evaluation.execute import carry_out
from benchmark.evaluation.model import MtebSearch
from benchmark.evaluation.needs import Texts
from benchmark.evaluation.plan import make_plan
from benchmark.evaluation.plan_lines import tell_plan
from benchmark.evaluation.rates import Rates
from benchmark.evaluation.tasks import K_VALUES, TASK_KINDS, TaskData, TaskKind, read_task_data, task_class, task_name
from benchmark.files import Json
from benchmark.project import Domain, Project
from benchmark.provenance import Outcome, Stage, kept, run_stage
from benchmark.runs import write_run
from benchmark.weights import model_fingerprint

STAGE = Stage("evaluate", 3)
UNANSWERABLE = "unanswerable.trec"


def cutoffs(top_k: int) -> tuple[int, ...]:
    """The metrics' cut-offs for a depth: mteb's grid below it, and the depth itself.

    >>> cutoffs(100), cutoffs(50)
    ((1, 3, 5, 10, 20, 100), (1, 3, 5, 10, 20, 50))
    """
    return (*(k for k in K_VALUES if k < top_k), top_k)


class Evaluator:
    """Evaluates specs on the two tasks of a domain; a model is loaded once, and only when it is needed.

    Args:
        project: Where the specs stand.
        domain: On what they are evaluated.
        inputs: What the stages `chunks`, `testset` and `candidates` made; general sets have no candidates.
        top_k: How many hits of a query are kept.
        reporter: Told what is done.
        reranked: Whether the candidates are made here, the first time they are needed, where `inputs` has none.

    Attributes:
        project: As given.
        domain: As given.
        top_k: As given.
    """

    def __init__(
        self,
        project: Project,
        domain: Domain,
        inputs: dict[str, Outcome],
        top_k: int,
        reporter: Reporter,
        *,
        reranked: bool = False,
    ) -> None:
        self.project = project
        self.domain = domain
        self.top_k = top_k
        self.has_candidates = reranked or "candidates" in inputs
        self._inputs = dict(inputs)
        self._reporter = reporter
        self._data: dict[TaskKind, TaskData] = {}

    def bare(self) -> "Evaluator":
        """The same without its reporter and the data that it has read: small enough to go to another process."""
        return Evaluator(
            self.project, self.domain, self._inputs, self.top_k, SILENT, reranked=self.has_candidates
        )  # fmt: skip

    @property
    def kinds(self) -> tuple[TaskKind, ...]:
        """The tasks: without candidates only retrieval."""
        return TASK_KINDS if self.has_candidates else ("retrieval",)

    def data(self, kind: TaskKind) -> TaskData:
        """The task's data, read once."""
        if kind not in self._data:
            self._data[kind] = read_task_data(self.domain, kind)
        return self._data[kind]

    def texts(self, source: Texts) -> list[str]:
        """The texts of chunks or questions, as an encoder gets them."""
        data = self.data("retrieval")
        if source == "corpus":
            return [chunk.full_text for chunk in data.chunks]
        return [query.text for query in (data.testset.queries if source == "queries" else data.testset.unanswerable)]

    def kept_candidates(self) -> Outcome | None:
        """The candidates, where they need not be made.

        Raises:
            BenchError: Their base model cannot be had.
        """
        if "candidates" not in self._inputs:
            found = kept_candidates(self.project, self.domain, self._inputs["chunks"], self._inputs["testset"])
            if found is None:
                return None
            self._inputs["candidates"] = found
        return self._inputs["candidates"]

    def candidates(self, reporter: Reporter | None = None) -> Outcome:
        """The candidates, made where they are missing.

        Raises:
            BenchError: Their base model cannot be had, or fails in whatever way.
        """
        if self.kept_candidates() is None:
            chunks, testset = self._inputs["chunks"], self._inputs["testset"]
            base = self.domain.spec.reranking.base
            with model_errors(f"model_specs/{base}.yaml: cannot find candidates for {self.domain.name}"):
                self._inputs["candidates"] = make_candidates(
                    self.project, self.domain, chunks, testset, reporter or self._reporter
                )
        return self._inputs["candidates"]

    def kept(self, name: str, kind: TaskKind, fingerprint: str) -> Outcome | None:
        """What `evaluate` would pass over because nothing has changed; None where it would work.

        Args:
            name: The spec.
            kind: The task.
            fingerprint: The spec's `model_fingerprint`.

        Raises:
            BenchError: The base model of the candidates cannot be had.
        """
        if kind == "reranking" and self.kept_candidates() is None:
            return None  # another set of candidates makes another run
        folder = self.domain.run(kind, name)
        found = STAGE.fingerprint(self._stage_inputs(kind, fingerprint), self._settings(name, kind))
        manifest = kept(STAGE, folder, found)
        return None if manifest is None else Outcome(folder, True, manifest)

    def evaluate(
        self, name: str, kinds: Sequence[TaskKind] | None = None, reporter: Reporter | None = None
    ) -> list[Outcome]:
        """Evaluate one spec on the given tasks (by default on all that there are).

        Raises:
            BenchError: The spec or its weights cannot be had, or the model fails in whatever way.
        """
        return list(self.each(name, self.kinds if kinds is None else kinds, reporter or self._reporter))

    def each(self, name: str, kinds: Sequence[TaskKind], reporter: Reporter) -> Iterator[Outcome]:
        """As `evaluate`, one task after the other."""
        with model_errors(f"model_specs/{name}.yaml: cannot be evaluated"):
            yield from self._each(name, kinds, reporter)

    def _each(self, name: str, kinds: Sequence[TaskKind], reporter: Reporter) -> Iterator[Outcome]:
        fingerprint = model_fingerprint(self.project, name)
        opened: list[Retriever] = []

        def retriever() -> Retriever:
            if not opened:
                chunks = self.data("retrieval").chunks
                opened.append(open_retriever(self.project, self.domain, name, chunks, reporter))
            return opened[0]

        for kind in kinds:
            if kind == "reranking":
                self.candidates(reporter)
            yield run_stage(
                STAGE,
                self.domain.run(kind, name),
                inputs=self._stage_inputs(kind, fingerprint),
                settings=self._settings(name, kind),
                build=lambda folder, kind=kind: self._build(folder, name, fingerprint, kind, retriever()),  # type: ignore[misc]
                reporter=reporter,
                label=f"{self.domain.name}: {kind} with {name}",
                device=device_name,
            )

    def _stage_inputs(self, kind: TaskKind, fingerprint: str) -> dict[str, str]:
        wanted = ("chunks", "testset", *(["candidates"] if kind == "reranking" else []))
        return {**{key: self._inputs[key].outputs_hash for key in wanted}, "model": fingerprint}

    def _settings(self, name: str, kind: TaskKind) -> Json:
        return {"spec": name, "task": kind, "top_k": self.top_k}

    def _build(self, folder: Path, name: str, fingerprint: str, kind: TaskKind, retriever: Retriever) -> Json:
        model = MtebSearch(name, fingerprint, retriever)
        task = task_class(self.domain, kind, lambda *_: self.data(kind), cutoffs(self.top_k))()
        scores = run_mteb(model, task)
        queries = [query.id for query in self.data(kind).testset.queries]
        write_run(folder / "run.trec", model.last_run, name, queries)
        if kind == "retrieval":
            self._rank_unanswerable(folder, name, retriever)
        return {
            "spec": name,
            "task": task_name(self.domain, kind),
            "queries": len(queries),
            "model": fingerprint,
            "testset": self._inputs["testset"].outputs_hash,
            "scores": {key: value for key, value in sorted(scores.items()) if _is_metric(key)},
            **({"costs": self._costs(name, retriever)} if kind == "retrieval" else {}),
        }

    def _rank_unanswerable(self, folder: Path, name: str, retriever: Retriever) -> None:
        """Rank for the questions without an answer too: what a language model is then asked with these passages.

        They are no part of mteb's task or of the run that is scored. General sets, which come without candidates, are
        not answered from.
        """
        texts = {query.id: query.text for query in self.data("retrieval").testset.unanswerable}
        if texts and self.has_candidates:
            write_run(folder / UNANSWERABLE, retriever.run(texts, self.top_k), name, texts)

    def _costs(self, name: str, retriever: Retriever) -> Json:
        """What the system costs: facts about this run on this machine, which decide nothing."""
        data = self.data("retrieval")
        passages = [chunk.full_text for chunk in data.chunks]
        questions = [query.text for query in data.testset.queries]
        return measure_costs(self.project, name, retriever, passages, questions, self.top_k)


def _is_metric(key: str) -> bool:
    return key.rsplit("_at_", 1)[-1].isdigit() and not key.startswith("nauc")


def run_mteb(model: Any, task: Any) -> dict[str, float]:
    """The scores that mteb computes for a model on a task, without its result cache.

    The cache is left out because it would serve stale scores after an edit of the data; our run files are the cache.
    """
    import mteb

    logging.getLogger("mteb").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = mteb.evaluate(
            model, tasks=[task], cache=None, show_progress_bar=False, encode_kwargs={"show_progress_bar": False},
            co2_tracker=False,
        )  # fmt: skip
    scores: dict[str, float] = result.task_results[0].scores["test"][0]
    return scores


def evaluate_all(
    evaluator: Evaluator, names: Sequence[str], reporter: Reporter, general: Sequence[Evaluator] = ()
) -> list[Outcome]:
    """Evaluate every spec on one domain; one that fails does not lose the others.

    Args:
        evaluator: The domain's.
        names: The specs.
        reporter: Told the plan, how far it has come, and where one failed.
        general: Those of general sets, on which only retrieval is measured.

    Raises:
        ModelFailuresError: At the end, with a line for every spec that failed at its work.
        BenchError: At the end, where nothing but mistakes in specs went wrong.
    """
    rates = Rates(evaluator.project, measure=True, reporter=reporter)
    plan = make_plan([[evaluator, *general]], names, rates)
    tell_plan(plan, reporter)
    return carry_out(plan, reporter).all()
