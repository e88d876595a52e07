"""What kind a model on the Hub is: from its files when it is added, from its tags when it is only listed."""

from collections.abc import Collection
from typing import Final, NamedTuple, get_args

from benchmark.encoders.asymmetric import Saved
from benchmark.encoders.late import LateInteractionModel
from benchmark.encoders.sparse import SparseModel
from benchmark.errors import BenchError
from benchmark.hub.remote import RemoteModel
from benchmark.specs.models import Kind

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_SPARSE_TAGS: Final = frozenset({"sparse-encoder", "splade", "sparse", "inference-free"})
_LATE_TAGS: Final = frozenset({"colbert", "pylate", "multi-vector", "late-interaction"})
_PAIR_TAGS: Final = frozenset({"cross-encoder", "reranker", "text-ranking"})
_VECTOR_TAGS: Final = frozenset({"sentence-similarity", "feature-extraction", "sentence-transformers"})


class Recognised(NamedTuple):
    """A model's kind.

    Attributes:
        kind: The kind.
        doubt: What its files leave open; empty where they leave nothing.
    """

    kind: Kind
    doubt: str = ""


def recognise(model: RemoteModel, wanted: Kind | None = None) -> Recognised:
    """The kind of a model, as the libraries that load it would see it.

    Args:
        model: What the Hub has of it.
        wanted: The kind that the user says it is; decides only where the files do not.

    Raises:
        BenchError: It is none of the kinds, or another than the user says.
    """
    if "adapter_config.json" in model.sizes:
        # Whatever else is saved with it: the weights are another repository's, which no commit of this one pins.
        base = model.json("adapter_config.json").get("base_model_name_or_path")
        raise _none(model, f"low-rank updates (PEFT) of {base or 'another model'}, without that model")
    saved = Saved.read(model.folder)
    found = _by_modules(model, saved) if saved.modules else _by_architecture(model, saved, wanted)
    if wanted is not None and found.kind != wanted:
        raise BenchError(f"{model.id}: --kind {wanted}: its files say that it is of kind {found.kind}")
    return found


def _by_modules(model: RemoteModel, saved: Saved) -> Recognised:
    """Of a model that sentence-transformers or PyLate saved."""
    if LateInteractionModel.fits(saved):
        return Recognised("late-interaction")
    if SparseModel.fits(saved):
        return Recognised("sparse")
    if saved.model_type == "CrossEncoder":
        return Recognised("cross-encoder")
    if saved.model_type == "SentenceTransformer":
        return Recognised("bi-encoder")
    raise _none(model, f"a model of sentence-transformers' class {saved.model_type}")


def _by_architecture(model: RemoteModel, saved: Saved, wanted: Kind | None) -> Recognised:
    """Of a model that transformers saved."""
    names = saved.architectures
    if LateInteractionModel.fits(saved):
        return Recognised("late-interaction")
    if any(name.endswith("ForSequenceClassification") for name in names):
        return _classifier(model)
    if SparseModel.fits(saved):
        if wanted == "sparse" or _SPARSE_TAGS & _lower(model.tags) or "splade" in model.id.lower():
            return Recognised("sparse")
        raise _none(model, f"a masked language model ({names[0]}), which was not trained to search", "sparse")
    for end, what in (
        ("ForCausalLM", "a generative language model"), ("LMHeadModel", "a generative language model"),
        ("ForConditionalGeneration", "a generative model"), ("ForRetrieval", "a model for pictures of pages"),
    ):  # fmt: skip
        if any(name.endswith(end) for name in names):
            raise _none(model, f"{what} ({', '.join(names)})")
    if not model.config:
        library = f"; the Hub says that {model.library} loads it" if model.library else ""
        raise _none(model, f"a repository with neither config.json nor modules.json{library}")
    other = [name for name in names if "For" in name]
    if other and wanted != "bi-encoder":
        raise _none(model, f"a {other[0]}", "bi-encoder")
    doubt = "how token vectors become one (no modules.json; sentence-transformers takes their mean)"
    return Recognised("bi-encoder", doubt)


def _classifier(model: RemoteModel) -> Recognised:
    """A cross-encoder, if it gives one figure for a pair."""
    labels = model.config.get("id2label")
    count = len(labels) if isinstance(labels, dict) else model.config.get("num_labels", 2)
    if count == 1:
        return Recognised("cross-encoder")
    raise _none(model, f"a classifier with {count} labels ({model.architectures[0]}); a reranker has one")


def _none(model: RemoteModel, what: str, kind: Kind | None = None) -> BenchError:
    hint = f"; if you know better: domainbench add {model.id} --kind {kind}" if kind else ""
    return BenchError(f"{model.id}: is no embedding model or reranker but {what}{hint}")


def listed_kind(tags: Collection[str], pipeline_tag: str | None, library: str | None) -> Kind | None:
    """The kind of a model as far as the Hub's list tells it; None is undeclared.

    >>> listed_kind(["ColBERT", "sentence-similarity"], "sentence-similarity", "PyLate")
    'late-interaction'
    """
    said = _lower([*tags, pipeline_tag or "", library or ""])
    if _LATE_TAGS & said:
        return "late-interaction"
    if _SPARSE_TAGS & said:
        return "sparse"
    if _PAIR_TAGS & said:
        return "cross-encoder"
    return "bi-encoder" if _VECTOR_TAGS & said else None


def _lower(words: Collection[str]) -> set[str]:
    return {word.lower() for word in words}
