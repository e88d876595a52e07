"""The judge stage: what a language model says of the answers."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from benchmark.answer_records import Answered, Asked, read_answers, read_asked
from benchmark.answers.judge_forms import FormJudge
from benchmark.answers.judge_items import Ask, Judge
from benchmark.answers.judge_plain import PlainJudge
from benchmark.answers.judge_plan import Guess, Plan
from benchmark.answers.judgements import judgements
from benchmark.answers.pairwise import pairs_of, preferences
from benchmark.answers.prompt import read_prompts
from benchmark.console import Reporter
from benchmark.errors import BenchError
from benchmark.files import Json, hash_file, hash_json, hash_text, read_json, shown, write_jsonl
from benchmark.llm.asking import LLM_NO_EFFECT, Asker, run_asking_stage
from benchmark.llm.journal import open_journal
from benchmark.llm.opening import open_llm
from benchmark.llm.prompts import Prompts
from benchmark.project import Domain, Project
from benchmark.provenance import MANIFEST, Outcome, Stage
from benchmark.records import Chunk, read_chunks
from benchmark.specs import AnswersSpec, BenchmarkSpec, JudgeSpec, LLMSpec

STAGE: Final = Stage("judge", 1)
JUDGEMENTS: Final = "judgements.jsonl"
PAIRS: Final = "pairs.jsonl"
METRICS: Final = ("faithfulness", "correctness", "relevance", "citation_precision", "citation_recall")
SELF: Final = (
    "the model that gave the answers judges them itself: models favour their own answers, and miss the mistakes they "
    "make; name another one under 'answers: judge: llm:'"
)
WEAK: Final = (
    "the judge follows no instructions and is asked for yes and no alone; such a judge is weak, and its figures show "
    "little beside that the way to them works"
)
SAME_EACH_TIME: Final = "the judge's temperature is 0, so that its repeats can hardly differ"


def judge(
    project: Project, domain: Domain, benchmark: BenchmarkSpec, reporter: Reporter, fresh: bool = False
) -> Outcome:
    """Have the kept answers judged; skipped when nothing that matters has changed.

    Args:
        project: Where a local model and edited prompts stand.
        domain: Its `answers` are read; its journal keeps every verdict.
        benchmark: `answers.judge` says who judges, how often, and whether pairs are compared.
        reporter: Where progress and notes go.
        fresh: Ask the judge anew; after a kill, a rerun goes on where it stopped.

    Returns:
        `judgements.jsonl` and `pairs.jsonl`; facts: counts, failures, warnings, tokens and money.

    Raises:
        BenchError: Nothing is to be judged, answers are missing or are not those of the benchmark file, the judge
            cannot be reached, too many requests failed, or the budget is used up.
    """
    work = Work(project, domain, benchmark)
    work.check()
    for warning in work.warnings():
        reporter.note(f"judge {domain.name}: {warning}")
    asker = Asker(project, domain, reporter, fresh)
    label = f"judge {domain.name}"
    return run_asking_stage(STAGE, domain.judged, work, asker, reporter, label, fresh=fresh)


def planned_judge(project: Project, domain: Domain, benchmark: BenchmarkSpec, fresh: bool = False) -> list[str]:
    """What `judge` would ask: calls, tokens and money, in one line for each purpose; asks nobody.

    Where an answer has not been broken into statements yet, its sentences are taken in their place, so that verdicts
    on statements are only about as many tokens as told.

    Raises:
        BenchError: As `judge`, as far as it is seen before anything is asked.
    """
    work, plan = _plan(project, domain, benchmark, fresh)
    return [f"{domain.name}: {line}" for line in (*plan.lines, *work.warnings())]


def export_keys(project: Project, domain: Domain, benchmark: BenchmarkSpec) -> list[str]:
    """The journal's keys of all verdicts, for a replay file that spares others the judge; after `judge`.

    Raises:
        BenchError: As `planned_judge`.
    """
    return _plan(project, domain, benchmark, False)[1].keys


def _plan(project: Project, domain: Domain, benchmark: BenchmarkSpec, fresh: bool) -> "tuple[Work, Plan]":
    work = Work(project, domain, benchmark)
    work.check()
    model = open_llm(work.llm, project, domain.batches)
    with open_journal(domain.journal, domain.replay) as journal:
        plan = Plan(model, journal, fresh)
        work.judge_all(plan.ask, guess=True)
    return work, plan


class Work:
    """One run of the stage."""

    def __init__(self, project: Project, domain: Domain, benchmark: BenchmarkSpec) -> None:
        self._project, self._domain, self._benchmark = project, domain, benchmark

    @property
    def _spec(self) -> AnswersSpec:
        if self._benchmark.answers is None:
            raise BenchError("the benchmark file has no 'answers' section: there is nothing to judge")
        return self._benchmark.answers

    @property
    def _judging(self) -> JudgeSpec:
        if self._spec.judge is None:
            raise BenchError(
                "the benchmark file has no 'judge' under 'answers': name a language model that judges the answers "
                "(docs/judging.md)"
            )
        return self._spec.judge

    @property
    def llm(self) -> LLMSpec:
        """The judge's language model; the one that answered, where none is named."""
        return self._judging.llm or self._spec.llm

    @cached_property
    def _prompts(self) -> Prompts:
        return read_prompts(self._project, self._spec.prompts)

    @cached_property
    def _questions(self) -> list[Asked]:
        return read_asked(self._domain.answers)

    @cached_property
    def _answers(self) -> list[Answered]:
        """The answers, pipeline by pipeline, the baseline's first."""
        order = {name: place for place, name in enumerate(self._benchmark.answering)}
        rows = read_answers(self._domain.answers)
        unknown = {row.pipeline for row in rows} ^ order.keys()
        if unknown:
            raise BenchError(
                f"{shown(self._domain.answers)}: holds other pipelines than the benchmark file asks for "
                f"({', '.join(sorted(unknown))}); run again: domainbench answer"
            )
        return sorted(rows, key=lambda row: order[row.pipeline])

    @cached_property
    def _passages(self) -> dict[str, str]:
        """Chunk id -> heading and text, as far as the language model that answered has seen it."""
        most = self._spec.max_characters
        return {chunk.id: _text(chunk, most) for chunk in read_chunks(self._domain.chunks / "chunks.jsonl")}

    def check(self) -> None:
        """Find mistakes of the user before anybody is asked."""
        _ = self.llm, self._prompts
        asked = {question.id for question in self._questions}
        answered = [(row.question, row.pipeline) for row in self._answers]
        wanted = {(question, pipeline) for question in asked for pipeline in self._benchmark.answering}
        if not asked or set(answered) != wanted or len(answered) != len(wanted):
            raise BenchError(
                f"{shown(self._domain.answers)}: does not hold one answer of each pipeline to each question; "
                "run again: domainbench answer"
            )
        if not (self._domain.chunks / "chunks.jsonl").is_file():
            raise BenchError(f"{shown(self._domain.chunks)}: no passages; make them with: domainbench ingest")
        if any(chunk not in self._passages for row in self._answers for chunk in row.passages):
            raise BenchError(
                f"{shown(self._domain.answers)}: was made from other passages than those of "
                f"{shown(self._domain.chunks)}; run again: domainbench answer"
            )

    @cached_property
    def generator(self) -> str:
        """Who gave the answers, as the answer stage noted it, else as the benchmark file says."""
        path = self._domain.answers / MANIFEST
        facts: Json = read_json(path).get("facts", {}) if path.is_file() else {}
        noted = [use.get("model") for use in facts.get("llm", {}).values() if isinstance(use, dict)]
        return str(noted[0]) if noted and noted[0] else open_llm(self._spec.llm, self._project).identity

    @cached_property
    def identity(self) -> str:
        """Who judges."""
        return open_llm(self.llm, self._project).identity

    def warnings(self) -> list[str]:
        """What a reader of the figures should know of the judge."""
        same = self._judging.llm is None or self.identity == self.generator or _same_model(self.llm, self._spec.llm)
        found = [SELF] if same else []
        found += [] if self.llm.instructed else [WEAK]
        return found + ([SAME_EACH_TIME] if self._judging.repeats > 1 and self.llm.temperature == 0 else [])

    def hashes(self) -> dict[str, str]:
        """Hashes of everything that is read."""
        replay = self._domain.replay
        answers = {path.name: hash_file(path) for path in sorted(self._domain.answers.glob("*.jsonl"))}
        used = sorted({chunk for row in self._answers for chunk in row.passages})
        return {
            "language model": hash_text(self.identity),
            "answers": hash_json(answers),
            "passages": hash_json([[chunk, self._passages[chunk]] for chunk in used]),
            "replay": hash_file(replay) if replay.is_file() else "",
        }

    def settings(self) -> Json:
        """Every setting that changes the output."""
        prompts = self._prompts.hashes
        return {
            "llm": self.llm.model_dump(mode="json", exclude=LLM_NO_EFFECT),
            "repeats": self._judging.repeats,
            "pairwise": self._judging.pairwise,
            "generator": self.generator,
            "pipelines": list(self._benchmark.answering),
            "prompts": {name: sha for name, sha in prompts.items() if name.startswith("judge_")},
        }

    def judge_all(self, ask: Ask, guess: bool = False) -> tuple[list[Json], list[Json]]:
        """The rows of both files.

        Args:
            ask: Puts the requests.
            guess: Take sentences for statements that are not there, for an estimate.
        """
        kind = FormJudge if self.llm.instructed else PlainJudge
        who: Judge = kind(self.llm, self._prompts, _if_any(ask), self._judging.repeats)
        who = Guess(who) if guess else who
        rows = judgements(self._questions, self._answers, self._passages, who, self._judging.repeats)
        pairs = pairs_of(self._questions, self._answers) if self._judging.pairwise else []
        return rows, preferences(pairs, who)

    def build(self, folder: Path, asker: Asker) -> Json:
        """Ask, and write both files."""
        rows, pairs = self.judge_all(
            lambda requests, purpose: asker.ask(self.llm, requests, purpose, tolerated=1.0).answers
        )
        write_jsonl(folder / JUDGEMENTS, rows)
        write_jsonl(folder / PAIRS, pairs)
        asked = [row for row in pairs if len(row["orders"]) == 2 and row["preferred"] is not None]
        return {
            "generator": self.generator,
            "judge": self.identity,
            "style": "instructed" if self.llm.instructed else "begun",
            "warnings": self.warnings(),
            "questions": len(self._questions),
            "pipelines": list(self._benchmark.answering),
            "judgements": len(rows),
            "failed": failures(rows),
            "pairs": len(pairs),
            "pairs_asked": sum(bool(row["orders"]) for row in pairs),
            "pairs_failed": sum(row["preferred"] is None for row in pairs),
            "pairs_disagreed": sum(row["orders"][0] != row["orders"][1] for row in asked),
            "llm": asker.facts,
        }


def failures(rows: Sequence[Mapping[str, Json]]) -> Json:
    """How many judgements of each metric failed, of how many that apply.

    >>> failures([{"relevance": {"score": None}}, {"relevance": {"score": 1.0}}])
    {'relevance': {'failed': 1, 'of': 2}}
    """
    found: Json = {}
    for metric in METRICS:
        scores = [row[metric]["score"] for row in rows if metric in row]
        if scores:
            found[metric] = {"failed": sum(score is None for score in scores), "of": len(scores)}
    return found


def _text(chunk: Chunk, most: int) -> str:
    text = chunk.text if len(chunk.text) <= most else chunk.text[:most].rstrip() + " [...]"
    return "\n".join(part for part in (chunk.heading, text) if part)


def _same_model(judge: LLMSpec, generator: LLMSpec) -> bool:
    """Whether both are the same model, wherever it is reached and with whatever settings.

    Names at endpoints are compared without what stands before the last slash: a provider's prefix is no other model.
    """
    if judge.endpoint is not None and generator.endpoint is not None:
        return judge.endpoint.model.rpartition("/")[2].lower() == generator.endpoint.model.rpartition("/")[2].lower()
    if judge.local is not None and generator.local is not None:
        places = [(one.package, one.path, one.gguf) for one in (judge.local, generator.local)]
        return places[0] == places[1]
    return False


def _if_any(ask: Ask) -> Ask:
    """Nobody is troubled for nothing."""
    return lambda requests, purpose: ask(requests, purpose) if requests else []
