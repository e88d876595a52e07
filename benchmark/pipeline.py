"""The stages in order: what `domainbench run` does, and what the single commands do parts of."""

import errno
import fcntl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from benchmark.console import SILENT, Reporter
from benchmark.errors import BenchError
from benchmark.files import shown
from benchmark.project import Domain, Project
from benchmark.provenance import Outcome
from benchmark.specs import BenchmarkSpec, FinetuneSpec, GenerateSpec

if TYPE_CHECKING:
    from benchmark.answers.answer import Inputs as AnswerInputs
    from benchmark.evaluation.evaluate import Evaluator
    from benchmark.evaluation.tasks import TaskData, TaskKind
    from benchmark.reporting.answers_board import Answers
    from benchmark.reporting.board import Leaderboard
    from benchmark.synthesis.generate import Inputs


_LOCKS: list[TextIO] = []


def hold(domain: Domain) -> None:
    """Hold a domain's results for this process; the lock goes with the process, however it ends.

    Raises:
        BenchError: Another process is at work there.
    """
    try:
        domain.results.mkdir(parents=True, exist_ok=True)
        stream = (domain.results / ".lock").open("w", encoding="utf-8")
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return  # nobody writes there; what is finished can be read even so
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise BenchError(
            f"{shown(domain.results)}: another domainbench is at work here; wait for it or stop it"
        ) from None
    _LOCKS.append(stream)


def release() -> None:
    """Let go of every lock that this process holds."""
    while _LOCKS:
        _LOCKS.pop().close()


class Pipeline:
    """One domain's way from documents to report; each step makes what it needs of the steps before it.

    Attributes:
        seconds: Seconds by stage, in the order of work.
    """

    def __init__(self, project: Project, domain: Domain, spec: BenchmarkSpec | None, reporter: Reporter) -> None:
        self.project = project
        self.domain = domain
        self.reporter = reporter
        self.seconds: dict[str, float] = {}
        self._spec = spec
        self._done: dict[str, Outcome] = {}
        self._general: list[Pipeline] | None = None

    @property
    def spec(self) -> BenchmarkSpec:
        """The benchmark file.

        Raises:
            BenchError: There is none, and the step needs one.
        """
        if self._spec is None:
            raise BenchError("a benchmark file is needed for this step")
        return self._spec

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started

    def chunks(self) -> Outcome:
        """Documents to chunks."""
        from benchmark.domain.ingest import ingest

        if "chunks" not in self._done:
            with self._timed("ingest"):
                self._done["chunks"] = ingest(self.project, self.domain, self.reporter)
        return self._done["chunks"]

    def testset(self) -> Outcome:
        """Evidence to relevant chunks."""
        from benchmark.domain.testset import build_testset

        if "testset" not in self._done:
            chunks = self.chunks()
            with self._timed("test set"):
                self._done["testset"] = build_testset(self.domain, chunks, self.reporter)
        return self._done["testset"]

    def candidates(self) -> Outcome:
        """What rerankers are given."""
        from benchmark.evaluation.candidates import make_candidates

        if "candidates" not in self._done:
            chunks, testset = self.chunks(), self.testset()
            with self._timed("candidates"):
                self._done["candidates"] = make_candidates(self.project, self.domain, chunks, testset, self.reporter)
        return self._done["candidates"]

    def synthetic(self, fresh: bool = False) -> Outcome:
        """Passages to training data.

        Args:
            fresh: Ask the language model anew in place of replaying its journalled answers.
        """
        from benchmark.synthesis.generate import generate

        if "synthetic" not in self._done:
            inputs = self._generate_inputs(fresh)
            with self._timed("generate"):
                self._done["synthetic"] = generate(
                    self.project, self.domain, self._generate_spec, self.spec.seed, inputs, self.reporter, fresh=fresh
                )
        return self._done["synthetic"]

    def export_answers(self) -> int:
        """Keep the language model's answers with the domain, for those who have none; returns how many."""
        from benchmark.synthesis.generate import export_answers

        spec = self._generate_spec
        return export_answers(self.project, self.domain, spec, self.spec.seed, self._generate_inputs())

    def dry_run(self, fresh: bool = False) -> list[str]:
        """What `synthetic` would ask of language models: calls, tokens and money, in one line for each purpose."""
        from benchmark.synthesis.plan import planned, planned_passages
        from benchmark.synthesis.sources import passages_are_written

        spec, seed = self._generate_spec, self.spec.seed
        to_write = spec.source is not None and spec.source.prompt is not None
        if to_write and (fresh or not passages_are_written(self.project, self.domain, spec, seed)):
            return planned_passages(spec)
        return planned(self.project, self.domain, spec, seed, self._generate_inputs(), fresh)

    @property
    def _generate_spec(self) -> GenerateSpec:
        if self.spec.generate is None:
            raise BenchError("the benchmark file has no 'generate' section: nothing to make training data with")
        return self.spec.generate

    def _generate_inputs(self, fresh: bool = False) -> "Inputs":
        """Passages, where they came from, and the test set where the domain has one."""
        from benchmark.synthesis.generate import Inputs
        from benchmark.synthesis.sources import make_source

        spec = self._generate_spec
        testset = self.testset() if spec.source is None or self.domain.has_questions else None
        if spec.source is None:
            return Inputs(self.chunks(), None, testset)
        with self._timed("source"):
            source = make_source(self.project, self.domain, spec, self.spec.seed, self.reporter, fresh)
        if (source.folder / "chunks.jsonl").is_file():
            return Inputs(source, source, testset)
        from benchmark.domain.ingest import ingest

        if self.domain.spec.chunking is None:
            raise BenchError(f"tasks/{self.domain.name}/domain.yaml: 'chunking' is missing; a data set's texts are cut")
        with self._timed("source"):
            return Inputs(ingest(self.project, self.domain.of_source, self.reporter), source, testset)

    def finetune(
        self, only: str | None = None, fresh: bool = False, runs: Sequence[FinetuneSpec] | None = None
    ) -> list[Outcome]:
        """Training data to models and their specs, in the file's order.

        Args:
            only: The name of one run.
            fresh: Ask the language model anew.
            runs: In place of those of the benchmark file.

        Raises:
            BenchError: There is no run of this name, or one that it needs has not been done.
        """
        from benchmark.training.finetune import finetune

        known = self.spec.finetune if runs is None else runs
        chosen = [run for run in known if only in (None, run.name)]
        if only is not None and not chosen:
            names = ", ".join(run.name for run in known) or "none"
            raise BenchError(f"no run '{only}' under 'finetune' in the benchmark file; there are: {names}")
        if only is not None:
            self._check_needed(chosen[0], known)
        outcomes = []
        for run in chosen:
            synthetic = self.synthetic(fresh)
            with self._timed(f"finetune {run.name}"):
                outcomes += finetune(self.project, self.domain, run, self.spec.seed, synthetic, self.reporter)
        return outcomes

    def _check_needed(self, run: FinetuneSpec, runs: Sequence[FinetuneSpec]) -> None:
        maker = {name: other.name for other in runs for name in other.emits}
        for name in run.needs:
            if name in maker and name not in self.project.spec_names:
                raise BenchError(f"'{run.name}' needs '{name}'; make it first with: domainbench finetune {maker[name]}")

    def default_runs(self) -> list[FinetuneSpec]:
        """What to train where the benchmark file does not say; makes the training data for it.

        Raises:
            BenchError: The baseline gives no vectors that could be tuned.
        """
        from benchmark.training.defaults import default_runs, with_data

        self._spec = with_data(self.spec)
        pairs = self.synthetic().facts["rows"]["train"]["queries"]
        return default_runs(self.project, self.domain, self._spec, pairs)

    def general(self) -> "list[Pipeline]":
        """The general sets' own pipelines, with corpus and test set made."""
        if self._general is None:
            domains = [self.project.domain(name) for name in self.spec.general]
            self._general = [Pipeline(self.project, domain, self.spec, self.reporter) for domain in domains]
            for pipeline in self._general:
                with self._timed("general sets"):
                    pipeline.testset()
        return self._general

    def evaluators(self) -> "list[Evaluator]":
        """The domain's evaluator, and those of the general sets; their corpora and test sets are made."""
        from benchmark.evaluation.evaluate import Evaluator

        found = []
        for one in (self, *self.general()):
            inputs = {"chunks": one.chunks(), "testset": one.testset()}
            found.append(
                Evaluator(one.project, one.domain, inputs, self.spec.top_k, self.reporter, reranked=one is self)
            )
        return found

    def evaluate(self, only: str | None = None) -> list[Outcome]:
        """Every spec on both tasks, and on retrieval from the general sets."""
        from benchmark.evaluation.evaluate import evaluate_all

        first, *general = self.evaluators()
        with self._timed("evaluate"):
            return evaluate_all(first, (only,) if only else self.spec.compared, self.reporter, general)

    def answer(self, fresh: bool = False) -> Outcome:
        """A language model's answers with each pipeline's passages.

        Args:
            fresh: Ask the language model anew.
        """
        from benchmark.answers.answer import answer

        inputs = self._answer_inputs()
        with self._timed("answers"):
            return answer(self.project, self.domain, self.spec, inputs, self.reporter, fresh=fresh)

    def planned_answers(self, fresh: bool = False) -> list[str]:
        """What `answer` would ask: calls, tokens and money."""
        from benchmark.answers.answer import planned

        return planned(self.project, self.domain, self.spec, self._answer_inputs(), fresh)

    def _answer_inputs(self) -> "AnswerInputs":
        from benchmark.answers.answer import Inputs

        return Inputs(self.chunks(), self.testset())

    def judge(self, fresh: bool = False) -> "Answers":
        """Verdicts of a judge, unless none is named, and what the kept answers are worth.

        Args:
            fresh: Ask the judge anew.
        """
        from benchmark.answers.judge import judge
        from benchmark.reporting.answers import make_answers

        with self._timed("judge"):
            if self.spec.answers is None or self.spec.answers.judge is not None:
                judge(self.project, self.domain, self.spec, self.reporter, fresh)
            return make_answers(self.project, self.domain, self.spec, self.reporter)

    def planned_judge(self, fresh: bool = False) -> list[str]:
        """What `judge` would ask: calls, tokens and money."""
        from benchmark.answers.judge import planned_judge

        return planned_judge(self.project, self.domain, self.spec, fresh)

    def check_by_ranx(self, board: "Leaderboard") -> int | None:
        """Have ranx score the kept runs as well; how many scores were equal, None where a leaderboard's runs are not kept."""
        from benchmark.reporting.by_ranx import check_by_ranx

        return check_by_ranx(self.domain, self.spec, board)

    def check_answers(self) -> bool:
        """Derive the figures of the answers anew, where the file has answers and figures are there; whether so."""
        from benchmark.reporting.answers import NAME, check_answers

        if self.spec.answers is None or not (self.domain.results / f"{NAME}.json").is_file():
            return False
        check_answers(self.domain, self.spec)
        return True

    def leaderboard(self) -> "Leaderboard":
        """Kept runs to leaderboard, page and report; loads no model, and skips what would be the same."""
        from benchmark.reporting.whole import make_all

        with self._timed("leaderboard and report"):
            return make_all(self.project, self.domain, self.spec, self.reporter)

    def run(self, fresh: bool = False) -> "Leaderboard":
        """All of it, in order; what has not changed is skipped."""
        self.testset()
        self.general()
        self.finetune(fresh=fresh)
        self.evaluate()
        if self.spec.answers is not None:
            self.answer(fresh)
            self.judge(fresh)
        return self.leaderboard()


def register_tasks(folder: str | None = None) -> list[str]:
    """See `benchmark.register_tasks`."""
    from benchmark.evaluation.tasks import register

    project = _project(folder)

    def load(domain: Domain, kind: "TaskKind") -> "TaskData":
        from benchmark.evaluation.tasks import read_task_data

        pipeline = Pipeline(project, domain, None, SILENT)
        pipeline.testset()
        if kind == "reranking":
            pipeline.candidates()
        return read_task_data(domain, kind)

    return register([project.domain(name) for name in project.domain_names], load)


def _project(folder: str | None) -> Project:
    if folder is not None:
        return Project.find(Path(folder))
    try:
        return Project.find()
    except BenchError:
        return Project.builtin()
