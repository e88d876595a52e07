"""What a spec has to have computed before it can rank: vectors of texts and scores of pairs, by whichever model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from benchmark.downloads import Repository, cached
from benchmark.encoders.asymmetric import check_is_reranker, is_asymmetric
from benchmark.encoders.backends import check_backend
from benchmark.errors import BenchError
from benchmark.project import Project
from benchmark.weights import model_fingerprint

Texts = Literal["corpus", "queries", "unanswerable"]
"""Which texts of a domain: its chunks, its scored questions, its questions without an answer."""
Family = Literal["dense", "api", "sparse", "late-interaction", "cross-encoder"]
"""Of models, by what they make of texts and where."""


@dataclass(frozen=True)
class Model:
    """Something with weights of its own, or behind an API.

    Attributes:
        spec: The name of its spec.
        fingerprint: `model_fingerprint` of the spec.
        family: What it makes.
    """

    spec: str
    fingerprint: str
    family: Family


@dataclass(frozen=True)
class Reranking:
    """Pairs that a cross-encoder scores.

    Attributes:
        model: The cross-encoder.
        first: The spec whose hits it ranks anew.
        depth: How many of each query, where it is given no candidates.
    """

    model: Model
    first: str
    depth: int


@dataclass(frozen=True)
class Needs:
    """What a spec needs.

    Attributes:
        encoders: Models whose vectors it ranks by, each once.
        rerankings: Of its stages, the innermost first.
    """

    encoders: tuple[Model, ...]
    rerankings: tuple[Reranking, ...]

    @property
    def fingerprints(self) -> frozenset[str]:
        """Of all models."""
        return frozenset(model.fingerprint for model in (*self.encoders, *(one.model for one in self.rerankings)))


NOTHING: Final = Needs((), ())
"""Of a spec that ranks by words alone."""


class NotFetchedError(BenchError):
    """A model's weights are on the Hub and not here, and nothing shall be fetched now."""


class NeedsReader:
    """Reads what specs need; each fingerprint, a hash over weights, is taken once.

    Args:
        project: Where the specs stand.
        fetch: Whether weights are fetched that are not here.
    """

    def __init__(self, project: Project, *, fetch: bool = True) -> None:
        self._project = project
        self._fetch = fetch
        self._fingerprints: dict[str, str] = {}

    def fingerprint(self, name: str) -> str:
        """As `model_fingerprint`.

        Raises:
            NotFetchedError: Weights are not here.
            BenchError: The spec has mistakes, or its weights cannot be had.
        """
        if name not in self._fingerprints:
            if not self._fetch:
                self._check_fetched(name)
            self._fingerprints[name] = model_fingerprint(self._project, name)
        return self._fingerprints[name]

    def _check_fetched(self, name: str) -> None:
        spec = self._project.model_spec(name)
        if spec.hub is not None and cached(Repository(spec.hub, spec.revision)) is None:
            raise NotFetchedError(f"model_specs/{name}.yaml: the weights of {spec.hub} are not here yet")
        for part in spec.parts:
            self._check_fetched(part)

    def needs(self, name: str) -> Needs:
        """What a spec needs.

        Raises:
            BenchError: The spec, or a part of it, has mistakes, or weights cannot be had.
        """
        encoders = {model.fingerprint: model for model in self._encoders(name)}
        return Needs(tuple(encoders.values()), tuple(self._rerankings(name)))

    def _encoders(self, name: str) -> Iterator[Model]:
        spec = self._project.model_spec(name)
        if spec.bm25 is not None:
            return
        if spec.kind == "cross-encoder" and not spec.parts:
            raise BenchError(
                f"model_specs/{name}.yaml: a cross-encoder ranks nothing by itself; name it as a 'reranker'"
            )
        # A reranker has no vectors; an adapter, and what is cut, has those of its base.
        below = [part for part in spec.parts if part != spec.reranker or part == spec.retriever]
        if below:
            for part in below:
                yield from self._encoders(part)
            return
        check_backend(spec, f"model_specs/{name}.yaml")
        family: Family = "dense"
        if spec.api is not None:
            family = "api"
        elif is_asymmetric(spec) and spec.kind in ("sparse", "late-interaction"):
            family = spec.kind
        yield Model(name, self.fingerprint(name), family)

    def _rerankings(self, name: str) -> Iterator[Reranking]:
        spec = self._project.model_spec(name)
        if spec.retriever is None or spec.reranker is None:
            return
        yield from self._rerankings(spec.retriever)
        if spec.weights is None or spec.weights[1] > 0:
            check_backend(self._project.model_spec(spec.reranker), f"model_specs/{spec.reranker}.yaml")
            model = Model(spec.reranker, self.fingerprint(spec.reranker), "cross-encoder")
            check_is_reranker(self._project, spec.reranker)
            yield Reranking(model, spec.retriever, spec.depth)
