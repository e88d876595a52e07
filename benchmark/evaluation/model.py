"""A retriever of ours as an MTEB model, with an identity of its own."""

from collections.abc import Mapping
from typing import Any

from benchmark.encoders.retrieve import Retriever
from benchmark.records import Run


class MtebSearch:
    """Implements mteb's `SearchProtocol` around a retriever and keeps the last ranking.

    mteb gives all local models one identity and caches by it; here the name is the spec's and the revision a hash
    of the weights and of every setting that changes a vector.

    Args:
        name: The model spec's name.
        fingerprint: `benchmark.weights.model_fingerprint` of the spec.
        retriever: What ranks; its corpus must be the task's.
    """

    def __init__(self, name: str, fingerprint: str, retriever: Retriever) -> None:
        self._name = name
        self._fingerprint = fingerprint
        self._retriever = retriever
        self.last_run: Run = {}

    @property
    def mteb_model_meta(self) -> Any:
        """The identity under which mteb files results."""
        from mteb.models import ModelMeta

        return ModelMeta.create_empty(
            overwrites={"name": f"local/{self._name}", "revision": self._fingerprint, "modalities": ["text"]}
        )

    def index(self, corpus: Any, **settings: Any) -> None:
        """Nothing to do: the retriever already holds the corpus."""

    def search(
        self, queries: Any, *, top_k: int, top_ranked: Mapping[str, list[str]] | None = None, **settings: Any
    ) -> dict[str, dict[str, float]]:
        """Rank the corpus, or each query's candidates."""
        texts = dict(zip(queries["id"], queries["text"], strict=True))
        self.last_run = self._retriever.run(texts, top_k, top_ranked)
        return {query: {hit.chunk: hit.score for hit in hits} for query, hits in self.last_run.items()}
