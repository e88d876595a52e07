"""What the generate stage would ask of language models, before anybody is asked."""

from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from benchmark.llm.budget import dollars, tokens_of
from benchmark.llm.estimate import estimate
from benchmark.llm.journal import open_journal
from benchmark.llm.opening import open_llm
from benchmark.project import Domain, Project
from benchmark.specs import GenerateSpec, LLMSpec
from benchmark.synthesis.generate import Inputs, Work
from benchmark.synthesis.sources import read_imported


class Step(NamedTuple):
    """Calls whose text depends on answers that are not there yet: at most so many, to this model.

    Attributes:
        purpose: As on the screen.
        prompt: The name of the prompt that each call carries beside a passage.
        llm: Who is asked; None for the generator's own model.
        calls: At most.
    """

    purpose: str
    prompt: str
    llm: LLMSpec | None
    calls: int


def planned(
    project: Project, domain: Domain, spec: GenerateSpec, seed: int, inputs: Inputs, fresh: bool = False
) -> list[str]:
    """One line for each purpose: the questions exactly, what follows from them at most.

    Args:
        project: Where models and prompts stand.
        domain: Whose journal has answers already.
        spec: What is wanted.
        seed: For what is drawn.
        inputs: The passages.
        fresh: Whether everything would be asked anew.
    """
    work = Work(project, domain, spec, seed, inputs, None)
    requests = [asked.request for asked in work.requests]
    lines = []
    if spec.llm is not None and requests:
        model = open_llm(spec.llm, project, domain.batches)
        with open_journal(domain.journal, domain.replay) as journal:
            told = estimate(model, model.price, requests, journal, fresh=fresh).line
        lines.append(f"questions ({model.identity}): {told}")
    questions = sum(len(asked.slots) for asked in work.requests)
    questions += len(read_imported(inputs.source.folder, work.chunks)) if inputs.source else 0
    steps = list(_following(spec, questions, spec.pseudo.per_chunk * len(work.chunks)))
    passage = int(median(tokens_of(chunk.full_text) for chunk in work.chunks)) if steps else 0
    for step in steps:
        llm = step.llm or spec.llm
        assert llm is not None  # noqa: S101 (see GenerateSpec)
        # About what one call reads: its prompt and a passage of the median length.
        tokens = tokens_of(work.prompts.text(step.prompt)) + passage
        lines.append(_told(step, llm, project, domain, tokens))
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
        yield Step("judge", "judge_system", spec.filters.judge.llm, questions)
    queries = questions + cuts
    if spec.negatives.relabel is not None:
        yield Step("relabel", "relabel_system", spec.negatives.relabel.llm, queries * spec.negatives.count)
    if spec.rag_columns == "written":
        yield Step("rag columns", "rag_columns", None, questions)
    if spec.pair_scores.teacher == "llm":
        calls = queries * (1 + spec.negatives.count)
        yield Step("pair scores", "pair_score_system", spec.pair_scores.llm, calls)


def _told(step: Step, llm: LLMSpec, project: Project, domain: Domain, tokens: int) -> str:
    model = open_llm(llm, project, domain.batches)
    read = step.calls * tokens
    usd = model.price.cost(read, 0)
    money = "money unknown" if usd is None else f"about {dollars(usd)} for what is read"
    return f"{step.purpose} ({model.identity}): at most {step.calls:,} calls, about {read:,} tokens in, {money}"
