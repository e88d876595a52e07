"""Bi-encoders and cross-encoders through sentence-transformers."""

import errno
import logging
import pickle
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmark.console import SILENT, Reporter
from benchmark.device import device_name
from benchmark.errors import BenchError
from benchmark.project import Project
from benchmark.specs import ModelSpec
from benchmark.weights import code_hash, model_fingerprint, model_folder, needs_code

Role = Literal["query", "document"]
_SLICE = 256
PROMPT_KEYS: Final[Mapping[Role, tuple[str, ...]]] = {
    "query": ("query", "Retrieval-query", "retrieval.query", "search_query", "web_search_query", "s2p_query"),
    "document": (
        "document", "passage", "corpus", "Retrieval-document", "Retrieval-passage", "retrieval.document",
        "retrieval.passage", "search_document",
    ),
}  # fmt: skip
"""Under which names models configure what goes in front of a search's queries and documents.

The first ones are sentence-transformers' own, `Retrieval-` begins those that mteb reads, `retrieval.` Jina's; the last
ones are those of Nomic, E5-Mistral and Stella.
"""

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Of errors that tell of a full disk, whatever was being done."""
SURROUNDINGS: Final = FULL | {errno.EACCES, errno.EROFS, errno.EPERM}
"""Of errors that are the machine's and no model's; the command has words of its own for them."""


class Encoder(Protocol):
    """Anything that turns texts into unit vectors."""

    @property
    def name(self) -> str:
        """The spec's name."""

    @property
    def fingerprint(self) -> str:
        """A hash of everything that changes a vector."""

    def encode(
        self, texts: Sequence[str], role: Role, reporter: Reporter = SILENT, label: str = ""
    ) -> NDArray[np.float32]:
        """Vectors of unit length, in the order of the texts, shape (n_texts, n_dimensions)."""


def _quiet() -> None:
    """The libraries draw a bar and print a path for every model that they load; our own words are enough."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)


def open_bi_encoder(folder: Path, spec: ModelSpec, where: str) -> Any:
    """A `SentenceTransformer` with the spec's length and dimensions.

    Raises:
        BenchError: The folder does not hold a model that sentence-transformers can load.
    """
    from sentence_transformers import SentenceTransformer

    _quiet()
    with loading(where, folder, spec):
        model = SentenceTransformer(
            str(folder),
            device=device_name(),
            trust_remote_code=spec.trust_remote_code,
            truncate_dim=spec.truncate_dim,
            local_files_only=True,
            model_kwargs=weights_form(spec),
        )
        if spec.max_length is not None:
            model.max_seq_length = spec.max_length
        return model.eval()


def open_cross_encoder(folder: Path, spec: ModelSpec, where: str) -> Any:
    """A `CrossEncoder` with one output and the spec's length.

    Raises:
        BenchError: The folder does not hold a model that sentence-transformers can load.
    """
    from sentence_transformers import CrossEncoder

    _quiet()
    with loading(where, folder, spec):
        return CrossEncoder(
            str(folder),
            device=device_name(),
            num_labels=1,
            max_length=spec.max_length,
            trust_remote_code=spec.trust_remote_code,
            local_files_only=True,
            model_kwargs=weights_form(spec),
        )


def weights_form(spec: ModelSpec) -> dict[str, Any]:
    """What `model_kwargs` must say about the form of the weights.

    Without `pickled:` in the spec only safetensors are looked for; with it they come first, and `pytorch_model.bin` where
    there are none. Whatever is no safetensors goes through torch's restricted unpickler, which knows tensors and plain
    containers and refuses everything else. sentence-transformers' modules always ask for that
    (`Module.load_torch_weights`). transformers does by default, but a model's own sentence_bert_config.json can ask for
    `weights_only: false`, which `_get_dtype` obeys when it looks at the weights to learn their type, and an index of
    safetensors files can name files of any form; what is given here goes before the model's own word.
    """
    return {"use_safetensors": None if spec.pickled else True, "weights_only": True}


@contextmanager
def model_errors(where: str, passed: Collection[int] = SURROUNDINGS) -> Iterator[None]:
    """Whatever a model or its library raises becomes one line: it is not known beforehand what a model breaks with.

    Raises:
        BenchError: With the exception's type and the first line of its words; one that was raised inside goes on as it
            is, as do errors of the operating system with a number among `passed`.
    """
    try:
        yield
    except BenchError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in passed:
            raise
        words = [line.strip()[:300] for line in str(error).strip().splitlines()[:1]]
        raise BenchError(": ".join([where, type(error).__name__, *words])) from error


@contextmanager
def loading(where: str, folder: Path, spec: ModelSpec) -> Iterator[None]:
    """Whatever the libraries raise at a folder that is no model becomes one line."""
    with model_errors(f"{where}: cannot be loaded", FULL):
        try:
            yield
        except pickle.UnpicklingError:
            raise BenchError(
                f"{where}: cannot be loaded: its pickled weights hold more than tensors, which could run code; they were "
                "not read"
            ) from None
        except Exception as error:
            full = isinstance(error, OSError) and error.errno in FULL
            if full or isinstance(error, BenchError) or spec.trust_remote_code or not needs_code(folder):
                raise
            raise BenchError(
                f"{where}: the model needs code of its own, which is not run by default; if you trust it: "
                "trust_remote_code: true, with 'hub' and a 'revision' of 40 hex digits, or with 'path' and "
                f"code_hash: {code_hash(folder)}"
            ) from None


def check_finite(name: str, bad: int, texts: int, what: str = "texts") -> None:
    """See to it that a model gave numbers: a score of NaN is above and below no other, so its hit would just be missing.

    Raises:
        BenchError: For some of the texts it did not.
    """
    if bad:
        raise BenchError(
            f"model_specs/{name}.yaml: gives values that are no numbers (NaN or infinite) for {bad} of {texts} {what}; "
            "nothing of them was kept; its weights are broken, or do not fit this device's precision"
        )


def count_bad(vectors: NDArray[np.float32]) -> int:
    """How many rows hold a value that is no finite number.

    >>> count_bad(np.array([[1, 2], [np.nan, 1], [np.inf, np.nan]], dtype=np.float32))
    2
    """
    return len(vectors) - int(np.isfinite(vectors).reshape(len(vectors), -1).all(axis=1).sum()) if len(vectors) else 0


class DenseEncoder:
    """A bi-encoder that turns texts into unit vectors.

    Attributes:
        name: The spec's name.
        fingerprint: A hash of weights, prompts, length and dimensions.
        model: The `SentenceTransformer`.
        prompts: By role.
        routed: Whether queries and documents go different ways through the model.
    """

    def __init__(self, name: str, fingerprint: str, model: Any, prompts: dict[str, str]) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.model = model
        self.prompts = prompts
        self.routed = _has_routes(model)

    @classmethod
    def load(cls, project: Project, name: str) -> "DenseEncoder":
        """Load the bi-encoder of a `hub`, `path`, `package` or `truncate_dim` spec.

        Raises:
            BenchError: The spec is no bi-encoder, or its weights cannot be had.
        """
        spec = project.model_spec(name)
        where = f"model_specs/{name}.yaml"
        if spec.adapter is not None:
            raise BenchError(f"{where}: is an adapter on {spec.base} and has no weights of its own; name that one")
        if spec.quantize is not None:
            raise BenchError(
                f"{where}: quantises the vectors of {spec.base} and has no weights of its own; name that one"
            )
        source = project.model_spec(spec.base) if spec.base else spec
        if source.backend != "torch":
            raise BenchError(
                f"{where}: runs on {source.backend}, which cannot be tuned; name a spec of the same weights without "
                "'backend'"
            )
        if source.api is not None:
            raise BenchError(
                f"{where}: its vectors come from an API, there are no weights to tune; train a linear adapter on it "
                "(kind: adapter)"
            )
        if source.kind != "bi-encoder" or source.source not in {"hub", "path", "package"}:
            raise BenchError(f"{where}: is no bi-encoder (source: {spec.source}, kind: {source.kind})")
        folder = model_folder(project, spec.base or name, source)
        merged = source.model_copy(update={"truncate_dim": spec.truncate_dim})
        model = open_bi_encoder(folder, merged, where)
        return cls(name, model_fingerprint(project, name), model, resolve_prompts(source, model))

    def encode(
        self, texts: Sequence[str], role: Role, reporter: Reporter = SILENT, label: str = ""
    ) -> NDArray[np.float32]:
        """Vectors of unit length, in the order of the texts.

        Args:
            texts: What to encode; longer texts are cut at the model's maximum length.
            role: Which prompt goes in front.
            reporter: Shows progress when a label is given.
            label: What to call this work.

        Returns:
            Shape (n_texts, n_dimensions), float32.

        Raises:
            BenchError: The model fails, or gives something else than numbers.
        """
        # Longest first: a batch then pads little, and memory that will not suffice fails at once.
        order = sorted(range(len(texts)), key=lambda i: (-len(texts[i]), i))
        slices = [order[i : i + _SLICE] for i in range(0, len(order), _SLICE)]
        shown = reporter if label else SILENT
        route = {"task": role} if self.routed else {}
        result: NDArray[np.float32] | None = None
        for rows in shown.track(slices, total=len(slices), label=label):
            with model_errors(f"model_specs/{self.name}.yaml: cannot encode"):
                part = self.model.encode(
                    [texts[i] for i in rows],
                    # Not None, which would stand for the model's default prompt.
                    prompt=self.prompts[role],
                    batch_size=32,
                    normalize_embeddings=True,
                    show_progress_bar=False,
                    convert_to_numpy=True,
                    **route,
                )
            if result is None:
                result = np.zeros((len(texts), part.shape[1]), dtype=np.float32)
            result[rows] = part
        if result is None:
            return np.zeros((0, int(self.model.get_embedding_dimension() or 0)), dtype=np.float32)
        check_finite(self.name, count_bad(result), len(texts))
        return result


def _has_routes(model: Any) -> bool:
    """Whether queries and documents go different ways through the model, by sentence-transformers' Router."""
    from sentence_transformers.base.modules import Router

    return any(isinstance(module, Router) for module in model.modules())


def resolve_prompts(spec: ModelSpec, model: Any) -> dict[str, str]:
    """The prompts of a spec, or, where it names none, those that the model's own configuration carries."""
    if spec.prompts.query or spec.prompts.document:
        return {"query": spec.prompts.query, "document": spec.prompts.document}
    return own_prompts(model.prompts or {})


def own_prompts(configured: Mapping[str, str | None]) -> dict[str, str]:
    """What goes in front of queries and documents, from the prompts of a model's own configuration.

    Under each name of `PROMPT_KEYS`, an empty one is passed over: sentence-transformers adds it for models that have
    none of that name.

    >>> own_prompts({"query": "query: ", "document": "", "passage": "passage: ", "sts": "x"})
    {'query': 'query: ', 'document': 'passage: '}
    """
    return {role: next(filter(None, map(configured.get, keys)), "") for role, keys in PROMPT_KEYS.items()}
