"""`domainbench find`: models on the Hub that one could compare, as its list of models describes them.

The Hub's own search looks for one piece of text in ids, and finds nothing for "finance embedding" unless somebody named a
model so. So each word is searched for by itself, in ids and as a tag, among the models of each pipeline tag in question;
what comes back is put together, and ranked by how many of the words its id, its tags or its card's metadata hold, then by
downloads.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from benchmark.console import Reporter
from benchmark.downloads import endpoint, hub_errors, quietly
from benchmark.errors import BenchError
from benchmark.escape import one_line
from benchmark.files import Json
from benchmark.hub.kinds import listed_kind
from benchmark.hub.remote import Declared
from benchmark.project import Project
from benchmark.specs.models import Kind

_EACH: Final = 100
"""Models taken from each search, those with the most downloads."""
_ASKED: Final = (
    "cardData", "config", "downloads", "gated", "library_name", "pipeline_tag", "safetensors", "siblings", "tags",
)  # fmt: skip
_VECTORS: Final[tuple[Json, ...]] = ({"pipeline_tag": "sentence-similarity"}, {"pipeline_tag": "feature-extraction"})
_AMONG: Final[dict[Kind | None, tuple[Json, ...]]] = {
    None: _VECTORS,
    "bi-encoder": _VECTORS,
    "cross-encoder": ({"pipeline_tag": "text-ranking"}, {"filter": ["cross-encoder"]}, {"filter": ["reranker"]}),
    "sparse": ({"filter": ["sparse-encoder"]}, {"filter": ["splade"]}),
    "late-interaction": ({"filter": ["ColBERT"]}, {"filter": ["PyLate"]}, {"filter": ["multi-vector"]}),
}
"""Which models are searched, by the kind that is wanted: what the Hub has no pipeline tag for is known by tags."""
_SCALES: Final = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}


@dataclass(frozen=True)
class Filters:
    """What a model must be. One of which the Hub does not know whether it is that is left out, and counted.

    Attributes:
        kind: Its kind.
        licences: One of these, in lower case; empty for any.
        max_parameters: At most so many.
        min_downloads: At least so many in the last 30 days.
        language: One of its languages, as ISO 639 has it.
        no_own_code: It must run without code of its own.
        safetensors: It must have weights as safetensors.
        limit: How many to show.
    """

    kind: Kind | None = None
    licences: frozenset[str] = frozenset()
    max_parameters: int | None = None
    min_downloads: int = 0
    language: str | None = None
    no_own_code: bool = False
    safetensors: bool = False
    limit: int = 20

    def refuses(self, model: "Listed") -> str | None:
        """Why a model is left out: empty where it is known not to fit, a word for what is undeclared; None: it stays."""
        known = (
            ("kind", self.kind is not None, model.kind, model.kind == self.kind),
            ("licence", bool(self.licences), model.licence, (model.licence or "").lower() in self.licences),
            ("size", self.max_parameters is not None, model.parameters,
             (model.parameters or 0) <= (self.max_parameters or 0)),
            ("downloads", self.min_downloads > 0, model.downloads, (model.downloads or 0) >= self.min_downloads),
            ("languages", self.language is not None, model.languages,
             (self.language or "") in (language.lower() for language in model.languages or ())),
            ("own code", self.no_own_code, model.own_code, not model.own_code),
            ("form of weights", self.safetensors, model.safetensors, bool(model.safetensors)),
        )  # fmt: skip
        asked = [(what, value, fits) for what, wanted, value, fits in known if wanted]
        if any(value is not None and not fits for _, value, fits in asked):
            return ""
        return next((what for what, value, _ in asked if value is None), None)


@dataclass(frozen=True)
class Listed:
    """A model in the Hub's list; None is what nobody declares.

    Attributes:
        id: `organisation/name`.
        kind: Its kind.
        parameters: As the Hub counted them in the safetensors files.
        downloads: In the last 30 days.
        licence: As the Hub writes it.
        languages: As its card says, in ISO 639.
        own_code: Whether it needs code of its own.
        safetensors: Whether it has weights in that form.
        gated: Whether its licence must be accepted first.
        spec: The model spec of the project that has it already.
        words: How many of the words were found in its id, tags and card.
    """

    id: str
    kind: Kind | None
    parameters: int | None
    downloads: int | None
    licence: str | None
    languages: tuple[str, ...] | None
    own_code: bool | None
    safetensors: bool | None
    gated: bool | None
    spec: str | None
    words: int

    def to_json(self) -> Json:
        """Every field; null where it is undeclared."""
        return asdict(self)


@dataclass(frozen=True)
class Search:
    """What was found.

    Attributes:
        models: Those that fit, the best first, cut at the limit.
        more: How many fit beyond the limit.
        undeclared: What is not declared -> how many models were left out for that.
    """

    models: tuple[Listed, ...]
    more: int = 0
    undeclared: Counter[str] = field(default_factory=Counter)


def find_models(project: Project | None, text: str, filters: Filters, reporter: Reporter) -> Search:
    """Search the Hub.

    Args:
        project: Whose model specs are looked through; None outside of one.
        text: Words.
        filters: What the models must be.
        reporter: Is told when the Hub is asked again.

    Raises:
        BenchError: The Hub cannot be reached, or refuses.
    """
    words = list(dict.fromkeys(text.lower().split()))
    specs = _specs(project) if project else {}
    with hub_errors(None), quietly(reporter=reporter):
        _reach()
        found = {info.id: info for info in _asked(words, filters)}
    models = [_listed(info, words, specs) for info in found.values()]
    ranked = sorted(models, key=lambda model: (-model.words, -(model.downloads or 0), model.id))
    refusals = {model.id: filters.refuses(model) for model in ranked}
    fitting = [model for model in ranked if refusals[model.id] is None]
    undeclared = Counter(why for why in refusals.values() if why)
    return Search(tuple(fitting[: filters.limit]), max(0, len(fitting) - filters.limit), undeclared)


def _reach() -> None:
    """See to it that the Hub answers at all: its client would try a dead address again for half a minute."""
    from huggingface_hub.utils import get_session

    get_session().get(f"{endpoint()}/api/models", params={"limit": 1}, timeout=10)


def _asked(words: Sequence[str], filters: Filters) -> Iterator[Any]:
    """What the Hub lists for each word, in ids and as a tag, among the models of the kind that is wanted."""
    from huggingface_hub import HfApi

    api = HfApi()
    # What is a tag can be asked for, so that the models that are taken of each search are those that count.
    tags = [*([filters.language] if filters.language else []), *(["safetensors"] if filters.safetensors else [])]
    if len(filters.licences) == 1:
        tags += [f"license:{licence}" for licence in filters.licences]
    for among in _AMONG[filters.kind]:
        for search, tag in [*((word, None) for word in words), *((None, word) for word in words)] or [(None, None)]:
            wanted = [*among.get("filter", []), *tags, *([tag] if tag else [])]
            yield from api.list_models(
                pipeline_tag=among.get("pipeline_tag"),
                filter=wanted or None,
                search=search,
                sort="downloads",
                limit=_EACH,
                expand=list(_ASKED),
            )


def _listed(info: Any, words: Sequence[str], specs: dict[str, str]) -> Listed:
    """A row of the Hub's list (a `ModelInfo`)."""
    card = info.card_data.to_dict() if info.card_data else {}
    tags = [str(tag) for tag in info.tags or ()]
    declared = Declared.of(card, tags)
    files = None if info.siblings is None else [str(file.rfilename) for file in info.siblings]
    said = " ".join([info.id, *tags, *_texts(card)]).lower()
    return Listed(
        id=str(info.id),
        kind=listed_kind(tags, info.pipeline_tag, info.library_name),
        parameters=info.safetensors.total if info.safetensors else None,
        downloads=info.downloads,
        licence=one_line(declared.licence, 40) if declared.licence else None,
        languages=tuple(one_line(language, 12) for language in declared.languages) if declared.languages else None,
        own_code=_own_code(tags, info.config),
        safetensors=_safetensors(tags, files),
        gated=None if info.gated is None else bool(info.gated),
        spec=specs.get(str(info.id).lower()),
        words=sum(word in said for word in words),
    )


def _own_code(tags: Sequence[str], config: Any) -> bool | None:
    """Whether a model needs code of its own: the Hub tags those that do, and shows `auto_map`."""
    if "custom_code" in tags or (isinstance(config, dict) and config.get("auto_map")):
        return True
    return False if tags or config else None


def _safetensors(tags: Sequence[str], files: Sequence[str] | None) -> bool | None:
    if "safetensors" in tags or any(name.endswith(".safetensors") for name in files or ()):
        return True
    return None if files is None else False


def _texts(value: Any) -> Iterator[str]:
    """Every text in a card's metadata, but for its long tables of results."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in {"model-index", "widget"}:
                yield from _texts(item)


def _specs(project: Project) -> dict[str, str]:
    """Id on the Hub, in lower case -> the model spec that has it."""
    found: dict[str, str] = {}
    for name in project.spec_names:
        try:
            spec = project.model_spec(name)
        except BenchError:  # told by `domainbench check`
            continue
        if spec.hub is not None:
            found.setdefault(spec.hub.lower(), name)
    return found


def parameters_of(text: str) -> int:
    """A number of parameters as people write it.

    Raises:
        BenchError: It is none.

    >>> parameters_of("500M"), parameters_of("1.5b"), parameters_of("22713216")
    (500000000, 1500000000, 22713216)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*([kmb]?)", text.strip().lower())
    if not found or float(found[1]) <= 0:
        raise BenchError(f"--max-parameters {text}: a number is expected, such as 500M, 1.5B or 33400000")
    return int(float(found[1]) * _SCALES[found[2]])
