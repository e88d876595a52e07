"""The answer stage: the test questions, put to one language model with the passages of each pipeline."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

from benchmark.answer_records import Answered, Asked, write_answers
from benchmark.answers.citations import Reply, read_reply
from benchmark.answers.counts import by_pipeline, same_passages
from benchmark.answers.metrics import metrics_of
from benchmark.answers.passages import Kept, read_kept
from benchmark.answers.prompt import Prompter, prompt_hashes, read_prompts
from benchmark.answers.sampling import asked_questions
from benchmark.console import SILENT, Reporter
from benchmark.errors import BenchError
from benchmark.files import Json, hash_file, hash_text, shown
from benchmark.llm.asking import LLM_NO_EFFECT, Asker, run_asking_stage
from benchmark.llm.estimate import estimate
from benchmark.llm.journal import Asked as Came
from benchmark.llm.journal import open_journal
from benchmark.llm.model import ChatRequest
from benchmark.llm.opening import open_llm
from benchmark.llm.prompts import Prompts
from benchmark.project import Domain, Project
from benchmark.provenance import Outcome, Stage
from benchmark.records import Chunk, read_chunks, read_testset
from benchmark.specs import AnswersSpec, BenchmarkSpec

STAGE: Final = Stage("answer", 1)
PURPOSE: Final = "answers"
MISSING: Final = (
    "the benchmark file has no 'answers' section: it names the language model that answers (docs/answers.md)"
)
_SETTINGS: Final = {"llm": LLM_NO_EFFECT, "pipelines": True, "judge": True, "prompts": True}
"""What is left out of the fingerprint: the pipelines stand in it as they are compared, the prompts by their text."""


@dataclass(frozen=True)
class Inputs:
    """What the stage reads beside the kept runs.

    Attributes:
        chunks: The outputs of the ingest stage.
        testset: The outputs of the testset stage.
    """

    chunks: Outcome
    testset: Outcome


class Place(NamedTuple):
    """What is asked once: a question with passages in their order, whichever pipelines found them."""

    question: str
    passages: tuple[str, ...]


def answer(
    project: Project, domain: Domain, benchmark: BenchmarkSpec, inputs: Inputs, reporter: Reporter, fresh: bool = False
) -> Outcome:
    """Answer the test questions from the passages of each pipeline; skipped when nothing that matters has changed.

    Args:
        project: Where a local model and edited prompts stand.
        domain: Its kept retrieval runs are read; its journal keeps every answer.
        benchmark: `answers` says who is asked and how; its compared models are the pipelines.
        inputs: What the stages before it wrote.
        reporter: Where progress and notes go.
        fresh: Ask the language model anew; after a kill, a rerun goes on where it stopped.

    Returns:
        `questions.jsonl` and `answers.jsonl` (`benchmark.answer_records`); facts: how many were asked, failed,
        declined and cited, by pipeline, and the language model's tokens and money under `llm: answers`.

    Raises:
        BenchError: There is no `answers` section, a kept run is missing or old, the language model cannot be had or
            reached, too many requests failed, or the budget is used up.
    """
    work = Work(project, domain, benchmark, inputs, reporter)
    work.check()
    asker = Asker(project, domain, reporter, fresh)
    label = f"answer {domain.name}"
    return run_asking_stage(STAGE, domain.answers, work, asker, reporter, label, fresh=fresh)


def planned(
    project: Project, domain: Domain, benchmark: BenchmarkSpec, inputs: Inputs, fresh: bool = False
) -> list[str]:
    """What `answer` would still ask: calls, tokens and money. Asks nobody.

    Raises:
        BenchError: As `answer`, as far as it is seen before anything is asked.
    """
    work = Work(project, domain, benchmark, inputs, SILENT)
    work.check()
    model = open_llm(work.spec.llm, project, domain.batches)
    with open_journal(domain.journal, domain.replay) as journal:
        told = estimate(model, model.price, list(work.requests.values()), journal, fresh=fresh).line
    return [f"{PURPOSE} ({model.identity}): {told}", work.told]


class Work:
    """One run of the stage."""

    def __init__(
        self, project: Project, domain: Domain, benchmark: BenchmarkSpec, inputs: Inputs, reporter: Reporter
    ) -> None:
        self._project, self._domain, self._benchmark = project, domain, benchmark
        self._inputs, self._reporter = inputs, reporter

    @property
    def spec(self) -> AnswersSpec:
        """`answers` of the benchmark file.

        Raises:
            BenchError: There is none.
        """
        if self._benchmark.answers is None:
            raise BenchError(MISSING)
        return self._benchmark.answers

    @cached_property
    def chunks(self) -> dict[str, Chunk]:
        """Chunk id -> chunk."""
        return {chunk.id: chunk for chunk in read_chunks(self._inputs.chunks.folder / "chunks.jsonl")}

    @cached_property
    def questions(self) -> list[Asked]:
        """What is asked."""
        testset = read_testset(self._inputs.testset.folder)
        return asked_questions(testset, self.spec.questions, self._benchmark.seed)

    @cached_property
    def prompts(self) -> Prompts:
        """The package's prompts, or the user's."""
        return read_prompts(self._project, self.spec.prompts)

    @cached_property
    def kept(self) -> Kept:
        """The kept runs."""
        unanswerable = any(not asked.answerable for asked in self.questions)
        testset = self._inputs.testset.outputs_hash
        return read_kept(self._domain, self._benchmark.answering, testset, frozenset(self.chunks), unanswerable)

    def place(self, asked: Asked, pipeline: str) -> Place:
        """What is asked for a question with a pipeline's passages."""
        return Place(asked.id, self.kept.passages(pipeline, asked.id, self.spec.top_k))

    @cached_property
    def requests(self) -> dict[Place, ChatRequest]:
        """The requests: two pipelines with the same passages share one, and so have the same answer."""
        prompter = Prompter(self.prompts, self.spec.llm, self.spec.max_characters)
        return {
            place: prompter.request(asked.text, [self.chunks[chunk] for chunk in place.passages])
            for asked in self.questions
            for place in (self.place(asked, pipeline) for pipeline in self._benchmark.answering)
        }

    @property
    def told(self) -> str:
        """How many answers there are, from how many requests."""
        answers = len(self.questions) * len(self._benchmark.answering)
        same = answers - len(self.requests)
        return (
            f"{len(self.questions)} questions, {len(self._benchmark.answering)} pipelines: {len(self.requests)} requests"
            f" for {answers} answers ({same} with passages that another pipeline found in the same order)"
        )

    def check(self) -> None:
        """Find mistakes of the user before anybody is asked."""
        spec, depth = self.spec, self._benchmark.top_k
        if spec.top_k > depth:
            raise BenchError(f"'answers.top_k' is {spec.top_k}, but kept runs hold {depth} passages only ('top_k')")
        if not self.questions:
            raise BenchError(f"{shown(self._inputs.testset.folder)}: has no question that could be asked")
        _ = self.requests
        language = self._domain.spec.language
        if not (spec.llm.instructed or language.startswith("eng-") or "answer_prefill" in self.prompts.edited):
            self._reporter.note(
                f"answer: a very small model begins its answers in English, though the passages are '{language}'; edit "
                "the prompt answer_prefill.txt, or take a model that follows instructions"
            )

    def hashes(self) -> dict[str, str]:
        """Hashes of everything that is read."""
        replay = self._domain.replay
        return {
            "language model": hash_text(open_llm(self.spec.llm, self._project, self._domain.batches).identity),
            "chunks": self._inputs.chunks.outputs_hash,
            "testset": self._inputs.testset.outputs_hash,
            "replay": hash_file(replay) if replay.is_file() else "",
            **{f"run of {pipeline}": sha for pipeline, sha in self.kept.hashes.items()},
        }

    def settings(self) -> Json:
        """Every setting that changes the output."""
        return {
            **self.spec.model_dump(mode="json", exclude=_SETTINGS),
            "pipelines": list(self._benchmark.answering),
            "prompts": prompt_hashes(self.prompts),
            "seed": self._benchmark.seed if self.spec.questions is not None else None,
            "language": self._domain.spec.language,
        }

    def build(self, folder: Path, asker: Asker) -> Json:
        """Ask, read, measure, and write it all to the folder."""
        places = list(self.requests)
        came = asker.ask(self.spec.llm, list(self.requests.values()), PURPOSE)
        replies = dict(zip(places, self._replies(places, came), strict=True))
        answers = [
            self._answered(asked, pipeline, replies[self.place(asked, pipeline)])
            for asked in self.questions
            for pipeline in self._benchmark.answering
        ]
        write_answers(folder, self.questions, answers)
        facts = self._facts(answers, asker)
        self._say(facts)
        return facts

    def _replies(self, places: Sequence[Place], came: Came) -> list[Reply | str]:
        """Each reply, or why there is none."""
        corpus, declining = self.chunks.keys(), self.prompts.text("answer_declined")
        reasons = "; ".join(came.failures) or "no answer"
        return [
            reasons if answer is None else read_reply(answer, self.spec.llm, place.passages, corpus, declining)
            for place, answer in zip(places, came.answers, strict=True)
        ]

    def _answered(self, asked: Asked, pipeline: str, reply: Reply | str) -> Answered:
        passages = self.place(asked, pipeline).passages
        if isinstance(reply, str):
            return Answered(asked.id, pipeline, passages, "", failure=reply, metrics={})
        row = Answered(asked.id, pipeline, passages, reply.text, reply.cited, reply.invented, reply.declined)
        most = self.spec.max_characters
        texts = [f"{chunk.heading} {chunk.text[:most]}" for chunk in map(self.chunks.__getitem__, passages)]
        return replace(row, metrics=metrics_of(asked, row, texts, self._domain.spec.language))

    def _facts(self, answers: Sequence[Answered], asker: Asker) -> Json:
        kinds = Counter(asked.answerable for asked in self.questions)
        return {
            "questions": {"answerable": kinds[True], "unanswerable": kinds[False]},
            "pipelines": list(self._benchmark.answering),
            "answers": len(answers),
            "requests": len(self.requests),
            "same_passages": same_passages(answers),
            "failed": sum(bool(row.failure) for row in answers),
            "style": "instructed" if self.spec.llm.instructed else "begun",
            "by_pipeline": by_pipeline(self.questions, answers),
            "llm": asker.facts,
        }

    def _say(self, facts: Json) -> None:
        note = self._reporter.note
        note(f"answer: {self.told}")
        if not self.spec.llm.instructed:
            note(
                "answer: a very small model is asked neither to cite nor to decline, and says little that is right: its "
                "answers show that everything works, hardly which pipeline is better"
            )
        if facts["failed"]:
            note(
                f"answer: {facts['failed']} of {facts['answers']} answers failed and are counted as failed; to ask for them "
                f"again, delete {shown(self._domain.answers)} and run again (the others stay in the journal)"
            )
        for name, row in facts["by_pipeline"].items():
            note(
                f"answer: {name}: declined {row['declined_unanswerable']} of {row['unanswerable']} unanswerable and "
                f"{row['declined_answerable']} of {row['answerable']} answerable questions; {row['uncited']} answers cite "
                f"nothing, {row['invented']} cite what they were not given"
            )
