"""A model on the Hub as its small files describe it; no weights are fetched."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from benchmark.downloads import Repository, hub_errors, quietly, snapshot
from benchmark.errors import BenchError
from benchmark.files import Json, read_json
from benchmark.weights import PYTORCH_WEIGHTS, listed_modules

_SMALL: Final = (
    "config.json", "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json",
    "tokenizer_config.json", "processor_config.json", "preprocessor_config.json", "adapter_config.json",
    "artifact.metadata", "[0-9]*/config.json", "[0-9]*/sentence_bert_config.json", "[0-9]*/tokenizer_config.json",
)  # fmt: skip
_CARD: Final = "README.md"
_WEIGHTS: Final = ("*.safetensors",)


@dataclass(frozen=True)
class Declared:
    """What a model's card, or the Hub's list of models, says of it; None is undeclared.

    Attributes:
        licence: As the Hub writes licences; the name of one that the Hub does not know.
        languages: ISO 639 codes.
        datasets: What it was trained on: ids of data sets, mostly.
        base_models: What it was made from.
    """

    licence: str | None = None
    languages: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None
    base_models: tuple[str, ...] | None = None

    @classmethod
    def of(cls, card: Json, tags: Iterable[str] = ()) -> "Declared":
        """From a card's front matter; the licence also from the Hub's tags.

        >>> Declared.of({"license": "other", "license_name": "gemma", "language": "en"}).licence
        'gemma'
        """
        tagged = next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), None)
        licence = _one(card.get("license")) or tagged
        if licence in {"other", None}:
            licence = _one(card.get("license_name")) or licence
        return cls(
            None if licence == "unknown" else licence,
            _several(card.get("language")),
            _several(card.get("datasets")),
            _several(card.get("base_model")),
        )


def _one(value: Any) -> str | None:
    return next(iter(_several(value) or ()), None)


def _several(value: Any) -> tuple[str, ...] | None:
    """A text or a list of texts, as cards have either; what is empty is undeclared."""
    values = value if isinstance(value, list) else [value]
    return tuple(item.strip() for item in values if isinstance(item, str) and item.strip()) or None


@dataclass(frozen=True)
class RemoteModel:
    """What is known of a model on the Hub at one commit.

    Attributes:
        id: `organisation/name`.
        commit: 40 hex digits.
        sizes: Every file with its size in bytes; None where the Hub does not say.
        tags: The Hub's.
        pipeline_tag: The Hub's word for what it does.
        library: The Hub's word for what loads it.
        parameters: Counted by the Hub in the safetensors files.
        declared: What its card says.
        folder: Where its small files lie.
    """

    id: str
    commit: str
    sizes: dict[str, int | None]
    tags: frozenset[str]
    pipeline_tag: str | None
    library: str | None
    parameters: int | None
    declared: Declared
    folder: Path = field(compare=False)

    @property
    def name(self) -> str:
        """The last part of its id."""
        return self.id.rpartition("/")[2]

    @cached_property
    def config(self) -> Json:
        """The config.json of transformers; of the first module, where that has a folder of its own."""
        first = next((str(row.get("path", "")) for row in self.modules), "")
        return self.json("config.json") or (self.json(f"{first}/config.json") if first else {})

    @cached_property
    def own(self) -> Json:
        """sentence-transformers' config_sentence_transformers.json."""
        return self.json("config_sentence_transformers.json")

    @cached_property
    def modules(self) -> list[Json]:
        """sentence-transformers' modules.json."""
        return listed_modules(self.folder)

    @property
    def architectures(self) -> tuple[str, ...]:
        """The classes that transformers saved."""
        found = self.config.get("architectures")
        return tuple(str(name) for name in found) if isinstance(found, list) else ()

    def weights_size(self, *, pickled: bool) -> int | None:
        """Bytes of the weights that are fetched at the first evaluation; None where the Hub does not say.

        Args:
            pickled: Whether those are fetched that are pickled.
        """
        forms = (*_WEIGHTS, PYTORCH_WEIGHTS) if pickled else _WEIGHTS
        sizes = [size for name, size in self.sizes.items() if any(fnmatch(name, form) for form in forms)]
        return None if not sizes or None in sizes else sum(size for size in sizes if size)

    def json(self, name: str) -> Json:
        """A small file; empty where the model has none of this name.

        Raises:
            BenchError: It is no JSON object.
        """
        path = self.folder / name
        return read_json(path) if name in self.sizes and path.is_file() else {}


def read_remote(repository: str, revision: str | None = None) -> RemoteModel:
    """Ask the Hub for a model's description at a commit, branch or tag (`main` by default), and fetch its small files.

    Raises:
        BenchError: The Hub cannot be reached, or has no such model or revision, or does not show it to everybody.
    """
    from huggingface_hub import HfApi

    asked = Repository(repository, revision)
    with hub_errors(asked), quietly():
        info = HfApi().model_info(repository, revision=revision, files_metadata=True)
    # A renamed model has another id than was asked for.
    if not re.fullmatch(r"[0-9a-f]{40}", info.sha or "") or not re.fullmatch(r"[\w.-]+/[\w.-]+", info.id):
        raise BenchError(f"{asked.name}: the Hub names no commit of it")
    sizes = {str(file.rfilename): file.size for file in info.siblings or ()}
    has_card = info.card_data is not None
    patterns = _SMALL if has_card or _CARD not in sizes else (*_SMALL, _CARD)
    folder = snapshot(Repository(info.id, info.sha), patterns, "")
    tags = frozenset(str(tag) for tag in info.tags or ())
    return RemoteModel(
        id=info.id,
        commit=str(info.sha),
        sizes=sizes,
        tags=tags,
        pipeline_tag=info.pipeline_tag,
        library=info.library_name,
        parameters=info.safetensors.total if info.safetensors else None,
        declared=Declared.of(info.card_data.to_dict() if has_card else _front_matter(folder / _CARD), tags),
        folder=folder,
    )


def _front_matter(card: Path) -> Json:
    """What a card says at its head; nothing where it says nothing that can be read."""
    import yaml
    from huggingface_hub import metadata_load

    try:
        return (metadata_load(card) if card.is_file() else None) or {}
    except (yaml.YAMLError, ValueError):
        return {}
