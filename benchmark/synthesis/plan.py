"""What the generate stage would ask of language models, before anybody is asked."""

from collections.abc import Iterator
from typing import NamedTuple

from benchmark.llm.estimate import estimate
from benchmark.llm.journal import open_journal
from benchmark.llm.opening import open_llm
from benchmark.project import Domain, Project
from benchmark.specs import GenerateSpec, LLMSpec
from benchmark.synthesis.generate import Inputs, Work


class Step(NamedTuple):
    """Calls whose text depends on answers that are not there yet: at most so many, to this model."""

    purpose: str
    llm: LLMSpec | None
    calls: int


def planned(project: Project, domain: Domain, spec: GenerateSpec, seed: int, inputs: Inputs) -> list[str]:
    """One line for each purpose: the questions exactly, what follows from them at most."""
    work = Work(project, domain, spec, seed, inputs, None)
    requests = [asked.request for asked in work.requests]
    lines = []
    questions = len(requests)
    if spec.llm is not None and requests:
        model = open_llm(spec.llm, project, domain.batches)
        with open_journal(domain.journal, domain.replay) as journal:
            lines.append(f"questions ({model.identity}): {estimate(model, model.price, requests, journal).line}")
        questions = len(requests) * (spec.questions_per_chunk if spec.llm.instructed else 1)
    for step in _following(spec, questions, spec.pseudo.per_chunk * len(work.chunks)):
        llm = step.llm or spec.llm
        assert llm is not None  # noqa: S101 (see GenerateSpec)
        model = open_llm(llm, project, domain.batches)
        lines.append(f"{step.purpose} ({model.identity}): at most {step.calls:,} calls, as the questions turn out")
    return lines or ["no language model is asked"]


def planned_passages(spec: GenerateSpec) -> list[str]:
    """The lines for a domain whose passages are yet to be written."""
    assert spec.source is not None and spec.source.prompt is not None  # noqa: S101 (the caller has looked)
    count = spec.source.prompt.passages
    return [
        f"passages: about {count:,} calls, and some for their topics",
        "questions: follow from the passages; run it once more with --dry-run when these are there",
    ]


def _following(spec: GenerateSpec, questions: int, cuts: int) -> Iterator[Step]:
    """What is asked about the questions, and about the cuts of the text where every pair is looked at."""
    if spec.filters.judge is not None and spec.filters.on("judge"):
        yield Step("judge", spec.filters.judge.llm, questions)
    queries = questions + cuts
    if spec.negatives.relabel is not None:
        yield Step("relabel", spec.negatives.relabel.llm, queries * spec.negatives.count)
    if spec.rag_columns == "written":
        yield Step("rag columns", None, questions)
    if spec.pair_scores.teacher == "llm":
        yield Step("pair scores", spec.pair_scores.llm, queries * (1 + spec.negatives.count))
