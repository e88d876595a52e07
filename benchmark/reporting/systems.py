"""The models that a leaderboard compares."""

from dataclasses import asdict, dataclass

from benchmark.files import Json


@dataclass(frozen=True)
class Choice:
    """What the development split chose between a run's model, its base and their mixtures, or between two sides.

    Attributes:
        run: The training run.
        chosen: `tuned`, `mixed` or `base`; where two sides were weighed, the name of one of them or `both`.
        share: Of the tuned model, or of the second side, in what was chosen, from 0 to 1.
        why: In a sentence.
    """

    run: str
    chosen: str
    share: float
    why: str


@dataclass(frozen=True)
class System:
    """One compared model spec: what it is, and the hash of everything that changes its rankings.

    Attributes:
        tuned_from: What it would be without training: its base, or a pipeline's first stage; None if not tuned here.
        choice: Of the training run that made it; None where it left none.
    """

    name: str
    kind: str
    description: str
    licence: str
    parameters: int | None
    dimensions: int | None
    tuned_from: str | None
    fingerprint: str
    choice: Choice | None = None

    def to_json(self) -> Json:
        """A JSON object; without a choice where there is none."""
        return {key: value for key, value in asdict(self).items() if key != "choice" or value is not None}

    @classmethod
    def from_json(cls, row: Json) -> "System":
        """The inverse of `to_json`.

        Raises:
            TypeError: A key is missing or unknown.
        """
        return cls(**{**row, "choice": Choice(**row["choice"]) if "choice" in row else None})
