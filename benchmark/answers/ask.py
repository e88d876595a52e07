"""One question, answered from the passages of one or more pipelines."""

import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from benchmark.answers.answer import PURPOSE
from benchmark.answers.citations import Reply, read_reply
from benchmark.answers.prompt import Prompter, read_prompts
from benchmark.console import Reporter
from benchmark.encoders.retrieve import open_retriever
from benchmark.errors import BenchError, did_you_mean
from benchmark.llm.asking import Asker
from benchmark.project import Domain, Project
from benchmark.records import Chunk
from benchmark.specs import AnswersSpec, BenchmarkSpec

SHOWN: Final = AnswersSpec.model_fields["top_k"].default
"""Passages that are shown where the benchmark file does not say how many are handed over."""


@dataclass(frozen=True)
class Found:
    """A passage and its pipeline's score."""

    chunk: Chunk
    score: float


@dataclass(frozen=True)
class Told:
    """What a pipeline has for a question.

    Attributes:
        pipeline: The model spec.
        letter: A for the baseline, then B, C... in the order of the comparison; empty for one that is not compared.
        found: Its passages, best first.
        reply: The answer from them; None where no language model was asked, or where there is none.
        failure: Why there is no answer; empty where none was asked for or there is one.
    """

    pipeline: str
    letter: str
    found: tuple[Found, ...]
    reply: Reply | None = None
    failure: str = ""


def letters(benchmark: BenchmarkSpec) -> dict[str, str]:
    """Letter -> pipeline, in the order of the comparison; behind Z they have no letter."""
    return dict(zip(string.ascii_uppercase, benchmark.answering, strict=False))


def chosen_pipelines(project: Project, benchmark: BenchmarkSpec, words: Sequence[str]) -> list[str]:
    """Names of model specs from letters or names, each once; pipeline A where nothing is said.

    Args:
        project: Any of its model specs may be named, compared or not.
        benchmark: Says which letter is which.
        words: As typed.

    Raises:
        BenchError: A word is neither; all of them at once.
    """
    known = letters(benchmark)
    wrong = [word for word in words if word.upper() not in known and word not in project.spec_names]
    if wrong:
        meant = ", ".join(f"{letter} = {name}" for letter, name in known.items())
        names = (*known.values(), *project.spec_names)
        raise BenchError(*(f"--pipeline {word}: {did_you_mean(word, names)}; or one of {meant}" for word in wrong))
    # A spec that is called like a letter is meant by its name.
    chosen = [word if word in project.spec_names else known[word.upper()] for word in words]
    return list(dict.fromkeys(chosen)) or [benchmark.baseline]


def ask(
    project: Project, domain: Domain, benchmark: BenchmarkSpec, chunks: Sequence[Chunk], pipelines: Sequence[str],
    question: str, reporter: Reporter,
) -> list[Told]:  # fmt: skip
    """Rank the passages for a question and let the language model answer from them.

    Args:
        project: Where the models stand.
        domain: Its kept vectors are used; its journal keeps the answer, so that asking again costs nothing.
        benchmark: `answers` says who answers; without it only the passages are found.
        chunks: The corpus.
        pipelines: Names of model specs.
        question: Any.
        reporter: Where progress and notes go.

    Raises:
        BenchError: The question is empty, a model cannot be had or reached, or the budget is used up.
    """
    if not question.strip():
        raise BenchError("the question is empty")
    names = {name: letter for letter, name in letters(benchmark).items()}
    spec = benchmark.answers
    if spec is not None:
        read_prompts(project, spec.prompts)  # a mistake is told before models are loaded
    by_id = {chunk.id: chunk for chunk in chunks}
    told = []
    for name in pipelines:
        retriever = open_retriever(project, domain, name, chunks, reporter)
        hits = retriever.run({"": question}, spec.top_k if spec else SHOWN)[""]
        found = tuple(Found(by_id[hit.chunk], hit.score) for hit in hits)
        told.append(Told(name, names.get(name, ""), found))
    return told if spec is None else _answered(project, domain, spec, by_id, told, question, reporter)


def _answered(
    project: Project, domain: Domain, spec: AnswersSpec, by_id: dict[str, Chunk], told: Sequence[Told], question: str,
    reporter: Reporter,
) -> list[Told]:  # fmt: skip
    prompts = read_prompts(project, spec.prompts)
    prompter = Prompter(prompts, spec.llm, spec.max_characters)
    requests = [prompter.request(question, [found.chunk for found in row.found]) for row in told]
    with Asker(project, domain, reporter) as asker:
        came = asker.ask(spec.llm, requests, PURPOSE)
    rows = []
    for row, answer in zip(told, came.answers, strict=True):
        passages = [found.chunk.id for found in row.found]
        reply: Reply | str = "; ".join(came.failures) or "no answer"
        if answer is not None:
            reply = read_reply(answer, spec.llm, passages, by_id.keys(), prompts.text("answer_declined"))
        rows.append(replace(row, failure=reply) if isinstance(reply, str) else replace(row, reply=reply))
    return rows
