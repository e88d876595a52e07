"""Late interaction: a vector for each token, and the sum over a query's tokens of the best match in a passage (MaxSim).

ColBERT: Khattab and Zaharia, SIGIR 2020; the models are sentence-transformers' `MultiVectorEncoder`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.encoders.asymmetric import AsymmetricModel, Saved
from benchmark.encoders.asymmetric_scorer import AsymmetricScorer
from benchmark.encoders.dense import Role, check_finite, count_bad
from benchmark.encoders.ragged import Ragged
from benchmark.encoders.scorers import Footprint

_QUERIES: Final = 16
"""Queries that are scored at once."""
_SIMILARITIES: Final = 2**23
"""Similarities of tokens that are held at once, 32 MB; more only where a single passage has them."""
_NOTHING: Final = -1e9
"""The library's score of a passage of which the model leaves no token over; it ranks below every other."""


class TokenVectors(NamedTuple):
    """Vectors of the tokens of several texts.

    Attributes:
        vectors: Shape (n_tokens, n_dimensions), the texts one after another.
        offsets: Where each text begins, and the end of the last one; shape (n_texts + 1,).
    """

    vectors: NDArray[np.float32]
    offsets: NDArray[np.int64]

    @property
    def texts(self) -> int:
        """How many texts there are."""
        return len(self.offsets) - 1

    def part(self, start: int, end: int) -> "TokenVectors":
        """Some consecutive texts, without copying."""
        first, last = self.offsets[start], self.offsets[end]
        return TokenVectors(self.vectors[first:last], self.offsets[start : end + 1] - first)

    def blocks(self, tokens: int) -> list[tuple[int, int]]:
        """Ranges of consecutive texts that have at most so many tokens together, or are one longer text."""
        found, start = [], 0
        while start < self.texts:
            fitting = int(np.searchsorted(self.offsets, self.offsets[start] + tokens, side="right")) - 1
            end = min(max(fitting, start + 1), self.texts)
            found.append((start, end))
            start = end
        return found


def maxsim(queries: TokenVectors, documents: TokenVectors) -> NDArray[np.float32]:
    """MaxSim of every query with every document, equal to sentence-transformers' function of that name.

    Args:
        queries: Vectors of the queries' tokens.
        documents: Of the documents', which are compared in blocks.

    Returns:
        Shape (n_queries, n_documents), float32.
    """
    asked = np.flatnonzero(np.diff(queries.offsets))
    scores = np.zeros((queries.texts, documents.texts), dtype=np.float32)
    for start, end in documents.blocks(_SIMILARITIES // max(1, len(queries.vectors))):
        part = documents.part(start, end)
        filled = np.flatnonzero(np.diff(part.offsets))
        if len(filled) and len(asked):
            # reduceat wants no empty ranges; those between full ones take no room.
            best = np.maximum.reduceat(queries.vectors @ part.vectors.T, part.offsets[filled], axis=1)
            scores[np.ix_(asked, start + filled)] = np.add.reduceat(best, queries.offsets[asked], axis=0)
        scores[:, start + np.flatnonzero(np.diff(part.offsets) == 0)] = _NOTHING
    return scores


class LateInteractionModel(AsymmetricModel):
    """A model of late interaction."""

    kind = "late-interaction"
    similarities = ("maxsim", "meanmaxsim")

    @classmethod
    def library_class(cls) -> Any:
        """`MultiVectorEncoder`."""
        from sentence_transformers import MultiVectorEncoder

        return MultiVectorEncoder

    @classmethod
    def fits(cls, saved: Saved) -> bool:
        """A saved `MultiVectorEncoder`, or what PyLate (in two versions) and Stanford's ColBERT saved."""
        if not saved.modules:
            return "HF_ColBERT" in saved.architectures
        if saved.model_type in {"MultiVectorEncoder", "ColBERT"}:
            return True
        return "query_prefix" in saved.settings and "Dense" in saved.modules

    def limit(self, length: int) -> None:
        """Cut passages at so many tokens; queries keep the length that the model was trained to fill them up to."""
        from sentence_transformers.base.modules import Transformer

        for module in self.model.modules():
            if isinstance(module, Transformer):
                module.document_length = length

    def encode(self, texts: Sequence[str], role: Role) -> TokenVectors:
        """Vectors of the tokens that the model compares: without padding, and without what its mask leaves out.

        Args:
            texts: What to encode; longer texts are cut at the model's maximum length.
            role: Which way they go through the model, and which prompt goes in front.

        Raises:
            BenchError: The model fails, or gives something else than numbers.
        """
        found: list[NDArray[np.float32]] = [np.zeros((0, 0), dtype=np.float32)] * len(texts)
        for rows, part in self._in_slices(texts, role, convert_to_numpy=True):
            for row, vectors in zip(rows, part, strict=True):
                found[row] = vectors.astype(np.float32, copy=False)
        check_finite(self.name, sum(count_bad(vectors) > 0 for vectors in found), len(texts))
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(vectors) for vectors in found], out=offsets[1:])
        if not found:
            found = [np.zeros((0, int(self.model.get_embedding_dimension() or 0)), dtype=np.float32)]
        return TokenVectors(np.concatenate(found), offsets)

    def pack(self, encoded: TokenVectors) -> Ragged:
        """Each text's tokens."""
        return Ragged(encoded.offsets, {"vectors": encoded.vectors})

    def unpack(self, ragged: Ragged) -> TokenVectors:
        """The same vectors."""
        return TokenVectors(ragged.entries["vectors"], ragged.offsets)

    @property
    def by_mean(self) -> bool:
        """Whether a score is divided by the number of the query's tokens."""
        return bool(self.model.similarity_fn_name == "meanmaxsim")


class LateInteractionScorer(AsymmetricScorer):
    """MaxSim, in blocks of queries and of passages."""

    model_class = LateInteractionModel

    def _hold(self, encoded: TokenVectors) -> Footprint:
        self._vectors = encoded
        size = encoded.vectors.nbytes + encoded.offsets.nbytes
        return Footprint(size / max(1, encoded.texts), 0, encoded.vectors.shape[1], None)

    def _score(self, encoded: TokenVectors) -> Iterator[NDArray[np.float32]]:
        for start in range(0, encoded.texts, _QUERIES):
            part = encoded.part(start, min(start + _QUERIES, encoded.texts))
            scores = maxsim(part, self._vectors)
            if self.encoder.by_mean:
                scores /= np.maximum(np.diff(part.offsets), 1)[:, None]
            yield from scores
