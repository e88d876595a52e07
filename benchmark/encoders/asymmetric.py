"""What sparse encoders and late interaction share: loaded by a spec, and ways of their own for queries and documents."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from benchmark.device import device_name
from benchmark.encoders.dense import Role, _quiet, loading, model_errors, resolve_prompts, weights_form
from benchmark.encoders.ragged import Ragged
from benchmark.errors import BenchError
from benchmark.files import Json, read_json
from benchmark.project import Project
from benchmark.specs import ModelSpec
from benchmark.weights import listed_modules, model_fingerprint, model_folder

_SLICE = 256
_KINDS: Final = ("sparse", "late-interaction")
_WITH_WEIGHTS: Final = ("hub", "path", "package")
_SAVED_KINDS: Final = {
    "SparseEncoder": "sparse", "MultiVectorEncoder": "late-interaction", "ColBERT": "late-interaction",
    "HF_ColBERT": "late-interaction", "CrossEncoder": "cross-encoder",
}  # fmt: skip
"""The kinds of models that say by what class they were saved."""


def is_asymmetric(spec: ModelSpec) -> bool:
    """Whether a spec is a model with weights that scores passages by something else than one vector each."""
    return spec.kind in _KINDS and spec.source in _WITH_WEIGHTS


@dataclass(frozen=True)
class Saved:
    """What a model folder says of itself.

    Attributes:
        settings: `config_sentence_transformers.json`; empty where there is none.
        modules: Class names of its modules, without their packages; empty where there is no `modules.json`.
        architectures: transformers' classes, of `config.json`.
    """

    settings: Json
    modules: tuple[str, ...]
    architectures: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> "Saved":
        """Read the folder's configuration.

        Raises:
            BenchError: A file is no JSON object.
        """

        def content(name: str) -> Json:
            return read_json(folder / name) if (folder / name).is_file() else {}

        modules = tuple(str(row.get("type", "")).rsplit(".", 1)[-1] for row in listed_modules(folder))
        named = content("config.json").get("architectures") or []
        return cls(content("config_sentence_transformers.json"), modules, tuple(named))

    @property
    def is_classifier(self) -> bool:
        """Whether transformers alone saved it, with a head that scores."""
        return not self.modules and any(name.endswith("ForSequenceClassification") for name in self.architectures)

    @property
    def is_generator(self) -> bool:
        """Whether it is a language model, which sentence-transformers asks for yes and no."""
        return not self.modules and any(name.endswith("ForCausalLM") for name in self.architectures)

    @property
    def model_type(self) -> str:
        """The library's class that saved it, as far as it says; transformers' where it was none."""
        if self.modules:
            return str(self.settings.get("model_type") or "SentenceTransformer")
        return ", ".join(self.architectures) or "unknown"


def check_has_vectors(project: Project, name: str) -> None:
    """See to it that a spec gives one vector a text, as everything needs that cuts, multiplies or tunes vectors.

    Raises:
        BenchError: It is a sparse encoder or one of late interaction, or its weights are though the spec does not say
            so (the library would take the mean of what they give).
    """
    spec = project.model_spec(name)
    where = f"model_specs/{name}.yaml"
    if spec.kind in _KINDS:
        raise BenchError(
            f"{where}: kind: {spec.kind}: there is not one vector for each text, so it cannot be cut, adapted or tuned, "
            "or search for training data; it ranks alone, in a hybrid, or before a reranker"
        )
    if spec.kind == "bi-encoder" and spec.source in _WITH_WEIGHTS:
        saved = Saved.read(model_folder(project, name, spec))
        kind = _SAVED_KINDS.get(saved.model_type) or ("cross-encoder" if saved.is_classifier else None)
        if kind is not None:
            raise BenchError(f"{where}: the weights are those of a {saved.model_type}; say so: kind: {kind}")


def check_is_reranker(project: Project, name: str) -> None:
    """See to it that a spec scores pairs, and that its weights were made to: the library would add a head at random.

    Raises:
        BenchError: It is of another kind, or its weights are.
    """
    spec = project.model_spec(name)
    where = f"model_specs/{name}.yaml"
    if spec.kind != "cross-encoder":
        raise BenchError(f"{where}: {name} is no cross-encoder (kind: {spec.kind}), so it cannot be a reranker")
    if spec.source not in _WITH_WEIGHTS:
        return
    saved = Saved.read(model_folder(project, name, spec))
    fits = saved.model_type == "CrossEncoder" or saved.is_classifier or saved.is_generator
    if not fits and (saved.modules or saved.architectures):
        raise BenchError(
            f"{where}: kind: cross-encoder: the weights are of another kind of model ({saved.model_type}), to which the "
            "library would add a head that was never trained"
        )


class AsymmetricModel(ABC):
    """A model of sentence-transformers that has `encode_query` and `encode_document`.

    Attributes:
        kind: Of the specs that describe such a model.
        similarities: How such models may compare texts, in the library's words.
        name: The spec's name.
        fingerprint: A hash of weights, prompts and length.
        model: The library's model.
        prompts: By role.
    """

    kind: ClassVar[str]
    similarities: ClassVar[tuple[str, ...]]

    def __init__(self, name: str, fingerprint: str, model: Any, prompts: dict[str, str]) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.model = model
        self.prompts = prompts

    @classmethod
    def load(cls, project: Project, name: str) -> Self:
        """Load the model of a `hub`, `path` or `package` spec.

        Raises:
            BenchError: The spec is of another kind, its weights cannot be had or are no model of this kind, or it
                compares texts in a way that is not known here.
        """
        spec = project.model_spec(name)
        where = f"model_specs/{name}.yaml"
        if spec.kind != cls.kind or not is_asymmetric(spec):
            raise BenchError(f"{where}: is not of kind: {cls.kind} (source: {spec.source}, kind: {spec.kind})")
        folder = model_folder(project, name, spec)
        found = Saved.read(folder)
        if not cls.fits(found):
            raise BenchError(
                f"{where}: kind: {cls.kind}: the weights are of another kind of model ({found.model_type}), to which the "
                "library would add a layer that was never trained"
            )
        _quiet()
        with loading(where, folder, spec):
            model = cls.library_class()(
                str(folder),
                device=device_name(),
                trust_remote_code=spec.trust_remote_code,
                local_files_only=True,
                model_kwargs=weights_form(spec),
            )
        if model.similarity_fn_name not in cls.similarities:
            raise BenchError(
                f"{where}: the model compares by '{model.similarity_fn_name}'; only {' and '.join(cls.similarities)} "
                "work here"
            )
        loaded = cls(name, model_fingerprint(project, name), model.eval(), resolve_prompts(spec, model))
        if spec.max_length is not None:
            loaded.limit(spec.max_length)
        return loaded

    @classmethod
    @abstractmethod
    def library_class(cls) -> Any:
        """The library's class."""

    @classmethod
    @abstractmethod
    def fits(cls, saved: Saved) -> bool:
        """Whether a folder holds all weights of such a model."""

    @abstractmethod
    def encode(self, texts: Sequence[str], role: Role) -> Any:
        """What the model makes of texts in a role, in their order."""

    @abstractmethod
    def pack(self, encoded: Any) -> Ragged:
        """What the store keeps of that."""

    @abstractmethod
    def unpack(self, ragged: Ragged) -> Any:
        """The inverse of `pack`."""

    def limit(self, length: int) -> None:
        """Cut texts at so many tokens."""
        self.model.max_seq_length = length

    def _in_slices(self, texts: Sequence[str], role: Role, **settings: Any) -> Iterator[tuple[list[int], Any]]:
        """What the library makes of some texts at a time, with their positions.

        Longest first: a batch then pads little, and memory that will not suffice fails at once.
        """
        order = sorted(range(len(texts)), key=lambda i: (-len(texts[i]), i))
        slices = [order[i : i + _SLICE] for i in range(0, len(order), _SLICE)]
        encode = self.model.encode_query if role == "query" else self.model.encode_document
        for rows in slices:
            # An empty prompt as well: None would bring the model's own back.
            with model_errors(f"model_specs/{self.name}.yaml: cannot encode"):
                found = encode([texts[i] for i in rows], prompt=self.prompts[role], show_progress_bar=False, **settings)
            yield rows, found
