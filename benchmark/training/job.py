"""What every kind of training is given."""

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from benchmark.console import Reporter
from benchmark.project import Domain, Project
from benchmark.specs import AdapterRun, BiEncoderRun, CrossEncoderRun, HybridRun

R = TypeVar("R", AdapterRun, BiEncoderRun, CrossEncoderRun, HybridRun)


@dataclass(frozen=True)
class Job(Generic[R]):
    """One entry of `finetune:` on one domain.

    Attributes:
        project: Where model specs stand.
        domain: Whose synthetic data are used.
        run: The settings.
        seed: For everything random.
        synthetic: A hash over the synthetic data that training reads.
        reporter: Shows progress.
    """

    project: Project
    domain: Domain
    run: R
    seed: int
    synthetic: str
    reporter: Reporter

    @property
    def settings(self) -> dict[str, Any]:
        """What changes the outcome, for a stage's fingerprint."""
        return {**self.run.effective, "seed": self.seed}

    def with_run(self, run: R) -> "Job[R]":
        """The same on other settings."""
        return replace(self, run=run)
