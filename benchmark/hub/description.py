"""Everything about a model on the Hub that its spec says, and what nobody says."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from benchmark.console import Reporter
from benchmark.errors import BenchError
from benchmark.escape import one_line
from benchmark.hub.add_request import AddRequest
from benchmark.hub.kinds import recognise
from benchmark.hub.prompts import FoundPrompts, configured_prompts, with_registry
from benchmark.hub.registry import registered
from benchmark.hub.remote import RemoteModel, read_remote
from benchmark.hub.shape import dimensions, max_length
from benchmark.hub.training_data import TrainingData, seen_domains
from benchmark.project import Project
from benchmark.specs.models import Kind
from benchmark.weights import code_elsewhere, needs_code, only_pickled


@dataclass(frozen=True)
class Described:
    """A model that can be added.

    Attributes:
        model: What the Hub has of it.
        kind: Its kind.
        prompts: What goes in front of texts.
        training: What it was trained on, as far as declared.
        max_length: Tokens of a text; None where nobody says.
        dimensions: Of its vectors.
        parameters: How many it has.
        licence: As the Hub writes it.
        own_code: Whether it runs code of its own, which the user allowed.
        pickled: Whether its weights are pickled, which the user allowed.
        warnings: Domains of the project that it may have seen.
        unknown: What nobody declares, in words.
    """

    model: RemoteModel
    kind: Kind
    prompts: FoundPrompts
    training: TrainingData
    max_length: int | None
    dimensions: int | None
    parameters: int | None
    licence: str | None
    own_code: bool
    pickled: bool
    warnings: tuple[str, ...]
    unknown: tuple[str, ...] = ()

    @property
    def lines(self) -> Iterator[str]:
        """What was found, for the screen."""
        size = self.model.weights_size(pickled=self.pickled)
        facts = [
            self.kind,
            f"{self.parameters:,} parameters" if self.parameters else "",
            f"{self.dimensions} dimensions" if self.dimensions else "",
            f"{self.max_length} tokens" if self.max_length else "",
            f"licence {self.licence}" if self.licence else "",
            f"{max(1, round(size / 1e6)):,} MB to fetch at its first evaluation" if size else "",
        ]
        yield f"{self.model.id}@{self.model.commit[:12]}: {', '.join(fact for fact in facts if fact)}"
        if self.prompts.value is not None:
            texts = self.prompts.value
            yield f"prompts: query {texts.query!r}, document {texts.document!r} ({self.prompts.source})"
        elif self.prompts.known:
            yield f"prompts: {self.prompts.source}"
        if self.prompts.remark:
            yield f"prompts: {self.prompts.remark}"
        if not self.prompts.known:
            yield "prompts: UNKNOWN; the file asks for them and says what to look for in the model's card"
        if self.unknown:
            yield f"unknown: {', '.join(self.unknown)}"


def describe(project: Project, request: AddRequest, reporter: Reporter) -> Described:
    """Ask the Hub and mteb's registry, which may name training data that the card leaves out.

    Raises:
        BenchError: As `benchmark.hub.add.add_model`, but for files that stand there.
    """
    model = read_remote(request.repository, request.revision)
    kind, doubt = recognise(model, request.kind)
    allowed = _allowed(model, request)
    prompts = configured_prompts(model, kind)
    reporter.note("looking the model up in mteb's registry, which takes some seconds to load")
    entry = registered(model.id)
    training = TrainingData.of(model, entry)
    licence = model.declared.licence or (entry.licence if entry else None)
    found = Described(
        model=model,
        kind=kind,
        prompts=with_registry(prompts, entry),
        training=training,
        max_length=max_length(model, kind),
        dimensions=dimensions(model, kind),
        parameters=model.parameters or (entry.parameters if entry else None),
        licence=one_line(licence, 100) if licence else None,
        own_code=allowed.code,
        pickled=allowed.pickled,
        warnings=tuple(seen_domains(project, training.names or ())),
    )
    return replace(found, unknown=(*_unknown(found), *([doubt] if doubt else [])))


def _unknown(found: Described) -> Iterator[str]:
    """What nobody declares."""
    if not found.prompts.known:
        yield "prompts"
    if found.max_length is None:
        yield "maximum length (the model's own is taken)"
    if found.dimensions is None and found.kind != "cross-encoder":
        yield "dimensions"
    for what, value in (
        ("parameters", found.parameters), ("licence", found.licence), ("training data", found.training.names),
        ("languages", found.model.declared.languages),
    ):  # fmt: skip
        if value is None:
            yield what


class _Allowed(NamedTuple):
    """What a model needs, and the user has allowed."""

    code: bool
    pickled: bool


def _allowed(model: RemoteModel, request: AddRequest) -> _Allowed:
    """See to it that the model needs nothing that the user has not allowed.

    Raises:
        BenchError: It does, with the command line that would allow it; or it needs what cannot be allowed.
    """
    references = needs_code(model.folder)
    elsewhere = code_elsewhere(references)
    if elsewhere:
        raise BenchError(
            f"{model.id}: runs code that lies in another repository ({', '.join(elsewhere)}), which no commit of this one "
            "pins; it cannot be added (copy weights and code into one folder, and name that with 'path:')"
        )
    parts = [str(row.get("path", "")) for row in model.modules]
    pickled = only_pickled(model.sizes, parts)
    needed = []
    if references and not request.code:
        files = sorted({f"{name.split('.')[0]}.py" for name in references})
        needed.append(("--trust-remote-code", f"runs code of its own ({', '.join(files)})"))
    if pickled and not request.pickled:
        needed.append(("--pickled", f"has only pickled weights ({pickled[0]}), which can run code"))
    if not pickled and not any(name.endswith(".safetensors") for name in model.sizes):
        raise BenchError(f"{model.id}: holds no weights that can be read (*.safetensors, or pytorch_model.bin)")
    command = request.command(option for option, _ in needed)
    if needed:
        raise BenchError(*(f"{model.id}: {why}; if you trust it: {command}" for _, why in needed))
    return _Allowed(bool(references), bool(pickled))
