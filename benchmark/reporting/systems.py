"""The models that a leaderboard compares, and what their specs say of them."""

from dataclasses import asdict, dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import NamedTuple

from benchmark.files import Json
from benchmark.licences import is_unsaid
from benchmark.project import Project
from benchmark.specs import BenchmarkSpec, HybridRun, ModelSpec


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


class Declared(NamedTuple):
    """What a spec, or the specs that it stands on, say of a model; see `System`."""

    licence: str
    parameters: int | None
    dimensions: int | None


def declared(project: Project, spec: ModelSpec) -> Declared:
    """What is known of a spec's model without loading it: what it does not say itself, its parts say.

    Raises:
        BenchError: A part is missing or has mistakes.
    """
    parts = [declared(project, project.model_spec(name)) for name in spec.parts]
    licence = ", ".join(dict.fromkeys(part.licence for part in parts if part.licence)) or spec.licence
    if spec.bm25 is not None:
        licence = ""  # a formula, no weights
    below = parts[0] if spec.base is not None else None
    return Declared(
        licence if is_unsaid(spec.licence) else spec.licence,
        spec.parameters or (below.parameters if below else None),
        spec.dimensions or spec.truncate_dim or (below.dimensions if below else None),
    )


def tuned_from(name: str, spec: ModelSpec, benchmark: BenchmarkSpec) -> str | None:
    """What a spec that a training run of this project made would be without it: its base, or its first stage."""
    for run in benchmark.finetune:
        if name in run.emits and not isinstance(run, HybridRun):
            return spec.retriever or run.base
    base = spec.provenance.get("base")
    return base if isinstance(base, str) and (spec.path or spec.adapter) else None


def choice_of(name: str, spec: ModelSpec) -> Choice | None:
    """What the development split chose in the run that made a spec, if its provenance says so."""
    facts = spec.provenance.get("facts")
    found = spec.provenance.get("choice") or (facts.get("choice") if isinstance(facts, dict) else None)
    if not isinstance(found, dict):
        return None
    chosen, share, why = (found.get(key) for key in ("chosen", "share", "why"))
    if not isinstance(chosen, str) or not isinstance(share, int | float) or not isinstance(why, str):
        return None
    return Choice(str(spec.provenance.get("run", name)), chosen, float(share), why)


def kind_of(spec: ModelSpec, origin: str | None) -> str:
    """What a spec is, in a few words that tell nothing of the machine: pages with them are published."""
    if spec.bm25 is not None:
        return f"BM25 (k1 {spec.bm25.k1:g}, b {spec.bm25.b:g})"
    if spec.hybrid is not None:
        shares = "" if spec.weights is None else f" (weights {spec.weights[0]:g} and {spec.weights[1]:g})"
        return f"hybrid of {spec.hybrid[0]} and {spec.hybrid[1]}{shares}"
    if spec.retriever is not None:
        return f"{spec.retriever}, its first {spec.depth} reranked by {spec.reranker}"
    if spec.truncate_dim is not None:
        return f"{spec.base}, cut to {spec.truncate_dim} dimensions"
    if spec.quantize is not None:
        return f"{spec.base}, its vectors searched as {spec.quantize}"
    if spec.adapter is not None:
        return f"linear adapter on {spec.base}"
    return _model(spec, origin)


def _model(spec: ModelSpec, origin: str | None) -> str:
    on = "" if spec.backend == "torch" else f", on {spec.backend} ({spec.precision})"
    if origin is not None:
        return f"{spec.kind}, tuned from {origin}{on}"
    if spec.api is not None:
        return f"{spec.kind} {spec.api.model}"
    return f"{spec.kind} {spec.hub or spec.package or _place(spec.path or '')}{on}"


def _place(path: str) -> str:
    """A folder as written in a spec; of an absolute one, which may begin with a user's name, the last part only."""
    absolute = PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()
    return PureWindowsPath(path).name if absolute else path
