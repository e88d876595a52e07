"""The scorers of sparse encoders and of late interaction: what the store keeps of a corpus, and of queries."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from benchmark.console import SILENT, Reporter
from benchmark.encoders.asymmetric import AsymmetricModel
from benchmark.encoders.ragged import Stored, stored_ragged
from benchmark.encoders.scorers import Footprint
from benchmark.project import Domain, Project
from benchmark.records import Chunk


class AsymmetricScorer(ABC):
    """Scores by a model that makes more than one vector of a text.

    Args:
        encoder: Encodes the queries.
        ids: One id per chunk.
        chunks: What the encoder made of the chunks.
        domain: Whose project's store keeps queries; without it each query is encoded whenever it is asked.

    Attributes:
        model_class: Of the encoder.
    """

    model_class: ClassVar[type[AsymmetricModel]]

    def __init__(
        self, encoder: AsymmetricModel, ids: Sequence[str], chunks: Stored[Any], domain: Domain | None = None
    ) -> None:
        self.ids = ids
        self.encoder: Any = encoder
        self.footprint = self._hold(chunks.encoded)._replace(seconds=chunks.seconds)
        self._domain = domain

    @classmethod
    def open(
        cls, project: Project, domain: Domain, name: str, chunks: Sequence[Chunk], reporter: Reporter = SILENT
    ) -> Self:
        """The scorer of a spec of the model's kind; each chunk is encoded once, and kept.

        Raises:
            BenchError: As `AsymmetricModel.load`, and where the model fails.
        """
        model = cls.model_class.load(project, name)
        kept = stored_ragged(domain, model, [chunk.full_text for chunk in chunks], "document", reporter, "chunks")
        return cls(model, [chunk.id for chunk in chunks], kept, domain)

    def afresh(self) -> Self:
        """The same scorer, which knows no query yet."""
        other = copy.copy(self)
        other._domain = None
        return other

    def score_rows(self, queries: Sequence[str]) -> Iterator[NDArray[np.float32]]:
        """One row of scores for each query, as the model's own similarity has them.

        Raises:
            BenchError: The model fails, or gives something else than numbers.
        """
        if self._domain is None:
            return self._score(self.encoder.encode(queries, "query"))
        return self._score(stored_ragged(self._domain, self.encoder, queries, "query", what="queries").encoded)

    @abstractmethod
    def _hold(self, encoded: Any) -> Footprint:
        """Take the chunks; says what they take, but for the seconds."""

    @abstractmethod
    def _score(self, encoded: Any) -> Iterator[NDArray[np.float32]]:
        """One row of shape (n_chunks,) for each of the queries."""
