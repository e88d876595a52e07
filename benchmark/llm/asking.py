"""Asking language models within the stage: one journal, one count of tokens and money for each purpose."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from benchmark.console import Reporter
from benchmark.files import Json
from benchmark.llm.journal import Asked, Journal, ask, open_journal
from benchmark.llm.model import ChatRequest
from benchmark.llm.opening import open_llm
from benchmark.llm.prompts import Prompts
from benchmark.llm.rounds import TOLERATED
from benchmark.project import Domain, Project
from benchmark.provenance import MANIFEST, Outcome, Stage, run_stage
from benchmark.specs import LLMSpec

LLM_NO_EFFECT: Final[Any] = {
    "endpoint": {
        "concurrency", "timeout", "deadline", "retries", "structured", "batch", "api_key_env",
        "usd_per_million_input", "usd_per_million_output",
    },
    "local": {"batch_size"},
    "budget": True,
}  # fmt: skip
"""Settings of a language model that change how long it takes or what it costs, not what comes out."""


class Asker:
    """Language models with a domain's journal; a context manager.

    Attributes:
        facts: Purpose -> model, requests by where their answers came from, failures, tokens and money.
    """

    def __init__(
        self, project: Project, domain: Domain, reporter: Reporter, fresh: bool = False, prompts: Prompts | None = None
    ) -> None:
        self.facts: Json = {}
        self._prompts = prompts
        self._project, self._domain, self._reporter, self._fresh = project, domain, reporter, fresh
        self._stack = ExitStack()
        self._journal: Journal | None = None
        self._renewed: list[list[str]] = []
        self._keys: dict[str, None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal = None
        # The journal turns its own errors into a line for the user; it swallows none.
        self._stack.__exit__(kind, error, trace)

    @property
    def keys(self) -> list[str]:
        """The keys of all requests so far, whoever was asked and whatever came back, in order and each once."""
        return list(self._keys)

    @property
    def journal(self) -> Journal:
        """The domain's journal, opened when it is first needed."""
        if self._journal is None:
            self._journal = self._stack.enter_context(open_journal(self._domain.journal, self._domain.replay))
        return self._journal

    def ask(self, spec: LLMSpec, requests: Sequence[ChatRequest], purpose: str, tolerated: float = TOLERATED) -> Asked:
        """Answer requests from the journal, then from the replay file, and ask the model for the rest.

        Args:
            spec: Who is asked, and what may be spent.
            requests: Any number; equal ones are asked once.
            purpose: A word or two for the screen, the facts and the data card, e.g. "questions".
            tolerated: The share of all requests that may fail before the stage ends.

        Raises:
            BenchError: The model cannot be reached, the budget is used up, or too many requests brought no answer.
        """
        model = open_llm(spec, self._project, self._domain.batches, self._reporter)
        keys = [request.key(model.identity) for request in requests]
        self._keys.update(dict.fromkeys(keys))
        asked = ask(
            model, requests, self.journal, self._reporter, fresh=self._fresh, budget=spec.budget, purpose=purpose,
            prompts=self._prompts, tolerated=tolerated,
        )  # fmt: skip
        left_out: tuple[str, ...] = getattr(model, "left_out", ())
        if left_out:
            self._reporter.note(f"{purpose}: {model.identity} refuses {', '.join(left_out)}; asked without")
        # A run without `fresh` may have brought to its end what one with it has begun.
        if self._fresh or self.journal.renewing(keys):
            self._renewed.append(keys)
        self.facts[purpose] = {"model": model.identity, **asked.sources, "failures": asked.failures, **asked.usage}
        return asked

    def finish(self) -> None:
        """The stage's output is in place: the next `fresh` asks anew."""
        for keys in self._renewed:
            self.journal.renewed(keys)


class AskingWork(Protocol):
    """A stage's work, part of which is to ask language models."""

    def hashes(self) -> dict[str, str]:
        """Its inputs, as `run_stage` takes them."""

    def settings(self) -> Json:
        """What decides its output."""

    def build(self, folder: Path, asker: Asker) -> Json:
        """Write the output; returns the facts."""


def run_asking_stage(
    stage: Stage, target: Path, work: AskingWork, asker: Asker, reporter: Reporter, label: str, *, fresh: bool
) -> Outcome:
    """`run_stage` for work that asks language models: `fresh` makes it again, until its output is in place.

    Args:
        stage: Which.
        target: Its folder.
        work: What it does.
        asker: Opened with the same `fresh`; ended here.
        reporter: Shows progress.
        label: What to call it on the screen.
        fresh: Ask anew.

    Raises:
        BenchError: As the work itself.
    """
    if fresh:
        # Without its manifest the stage is made again, even when this run is killed and started without `fresh`.
        (target / MANIFEST).unlink(missing_ok=True)
    with asker:
        outcome = run_stage(
            stage, target, inputs=work.hashes(), settings=work.settings(),
            build=lambda folder: work.build(folder, asker), reporter=reporter, label=label,
        )  # fmt: skip
        if not outcome.skipped:
            asker.finish()
    return outcome
