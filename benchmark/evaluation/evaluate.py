"""Each spec on each task: mteb's scores, a run file, and what the system costs."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.console import Reporter
from benchmark.device import device_name
from benchmark.encoders.dense import model_errors
from benchmark.encoders.retrieve import Retriever, open_retriever
from benchmark.errors import BenchError, Problems
from benchmark.evaluation.costs import measure_costs
from benchmark.evaluation.model import MtebSearch
from benchmark.evaluation.tasks import K_VALUES, TASK_KINDS, TaskData, TaskKind, read_task_data, task_class, task_name
from benchmark.files import Json
from benchmark.project import Domain, Project
from benchmark.provenance import Outcome, Stage, run_stage
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
    """Evaluates specs on the two tasks of a domain; a model is loaded once, and only when it is needed."""

    def __init__(
        self,
        project: Project,
        domain: Domain,
        inputs: dict[str, Outcome],
        top_k: int,
        reporter: Reporter,
    ) -> None:
        self._project = project
        self._domain = domain
        self._inputs = inputs
        self._top_k = top_k
        self._reporter = reporter
        self._data: dict[TaskKind, TaskData] = {}

    def data(self, kind: TaskKind) -> TaskData:
        """The task's data, read once."""
        if kind not in self._data:
            self._data[kind] = read_task_data(self._domain, kind)
        return self._data[kind]

    def evaluate(self, name: str, kinds: Sequence[TaskKind] = TASK_KINDS) -> list[Outcome]:
        """Evaluate one spec on the given tasks.

        Raises:
            BenchError: The spec or its weights cannot be had, or the model fails in whatever way.
        """
        with model_errors(f"model_specs/{name}.yaml: cannot be evaluated"):
            return self._evaluate(name, kinds)

    def _evaluate(self, name: str, kinds: Sequence[TaskKind]) -> list[Outcome]:
        fingerprint = model_fingerprint(self._project, name)
        opened: list[Retriever] = []

        def retriever() -> Retriever:
            if not opened:
                chunks = self.data("retrieval").chunks
                opened.append(open_retriever(self._project, self._domain, name, chunks, self._reporter))
            return opened[0]

        outcomes = []
        for kind in kinds:
            wanted = ("chunks", "testset", *(["candidates"] if kind == "reranking" else []))
            outcomes.append(
                run_stage(
                    STAGE,
                    self._domain.run(kind, name),
                    inputs={**{key: self._inputs[key].outputs_hash for key in wanted}, "model": fingerprint},
                    settings={"spec": name, "task": kind, "top_k": self._top_k},
                    build=lambda folder, kind=kind: self._build(folder, name, fingerprint, kind, retriever()),  # type: ignore[misc]
                    reporter=self._reporter,
                    label=f"{self._domain.name}: {kind} with {name}",
                    device=device_name(),
                )
            )
        return outcomes

    def _build(self, folder: Path, name: str, fingerprint: str, kind: TaskKind, retriever: Retriever) -> Json:
        model = MtebSearch(name, fingerprint, retriever)
        task = task_class(self._domain, kind, lambda *_: self.data(kind), cutoffs(self._top_k))()
        scores = run_mteb(model, task)
        queries = [query.id for query in self.data(kind).testset.queries]
        write_run(folder / "run.trec", model.last_run, name, queries)
        if kind == "retrieval":
            self._rank_unanswerable(folder, name, retriever)
        return {
            "spec": name,
            "task": task_name(self._domain, kind),
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
        if texts and "candidates" in self._inputs:
            write_run(folder / UNANSWERABLE, retriever.run(texts, self._top_k), name, texts)

    def _costs(self, name: str, retriever: Retriever) -> Json:
        """What the system costs: facts about this run on this machine, which decide nothing."""
        data = self.data("retrieval")
        passages = [chunk.full_text for chunk in data.chunks]
        questions = [query.text for query in data.testset.queries]
        return measure_costs(self._project, name, retriever, passages, questions, self._top_k)


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
    """Evaluate every spec; one that fails does not lose the others.

    Args:
        evaluator: The domain's.
        names: The specs.
        reporter: Where it is told that one failed.
        general: Those of general sets, on which only retrieval is measured.

    Raises:
        BenchError: At the end, with the mistakes of every spec that failed.
    """
    problems = Problems()
    outcomes: list[Outcome] = []
    for name in names:
        try:
            outcomes += evaluator.evaluate(name)
            for other in general:
                outcomes += other.evaluate(name, ["retrieval"])
        except BenchError as error:
            problems.absorb(error)
            reporter.note(f"{name}: failed ({error.problems[0]}); the others go on")
    problems.raise_if_any()
    return outcomes
