"""Late interaction: a vector for each token, and the sum over a query's tokens of the best match in a passage (MaxSim).

ColBERT: Khattab and Zaharia, SIGIR 2020; the models are sentence-transformers' `MultiVectorEncoder`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from benchmark.console import SILENT, Reporter
from benchmark.encoders.arrays import Arrays, stored_arrays
from benchmark.encoders.asymmetric import AsymmetricModel, Saved
from benchmark.encoders.dense import Role, check_finite, count_bad
from benchmark.encoders.scorers import Footprint
from benchmark.project import Domain, Project
from benchmark.records import Chunk

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

    def encode(self, texts: Sequence[str], role: Role, reporter: Reporter = SILENT, label: str = "") -> TokenVectors:
        """Vectors of the tokens that the model compares: without padding, and without what its mask leaves out.

        Args:
            texts: What to encode; longer texts are cut at the model's maximum length.
            role: Which way they go through the model, and which prompt goes in front.
            reporter: Shows progress when a label is given.
            label: What to call this work.

        Raises:
            BenchError: The model fails, or gives something else than numbers.
        """
        found: list[NDArray[np.float32]] = [np.zeros((0, 0), dtype=np.float32)] * len(texts)
        for rows, part in self._in_slices(texts, role, reporter, label, convert_to_numpy=True):
            for row, vectors in zip(rows, part, strict=True):
                found[row] = vectors.astype(np.float32, copy=False)
        check_finite(self.name, sum(count_bad(vectors) > 0 for vectors in found), len(texts))
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(vectors) for vectors in found], out=offsets[1:])
        if not found:
            found = [np.zeros((0, int(self.model.get_embedding_dimension() or 0)), dtype=np.float32)]
        return TokenVectors(np.concatenate(found), offsets)

    @property
    def by_mean(self) -> bool:
        """Whether a score is divided by the number of the query's tokens."""
        return bool(self.model.similarity_fn_name == "meanmaxsim")


class LateInteractionScorer:
    """MaxSim, in blocks of queries and of passages.

    Args:
        encoder: Encodes the queries.
        ids: One id per chunk.
        vectors: Of the chunks' tokens.
        seconds: That encoding them took; None where they were in the store.
    """

    def __init__(
        self, encoder: LateInteractionModel, ids: Sequence[str], vectors: TokenVectors, seconds: float | None = None
    ) -> None:
        self.ids = ids
        self.encoder = encoder
        self._vectors = vectors
        size = vectors.vectors.nbytes + vectors.offsets.nbytes
        self.footprint = Footprint(size / max(1, len(ids)), 0, vectors.vectors.shape[1], seconds)

    def afresh(self) -> Self:
        """The scorer itself: it keeps nothing of a query."""
        return self

    def score_rows(self, queries: Sequence[str]) -> Iterator[NDArray[np.float32]]:
        """One row of scores for each query, as the model's own similarity has them."""
        encoded = self.encoder.encode(queries, "query")
        for start in range(0, len(queries), _QUERIES):
            part = encoded.part(start, min(start + _QUERIES, len(queries)))
            scores = maxsim(part, self._vectors)
            if self.encoder.by_mean:
                scores /= np.maximum(np.diff(part.offsets), 1)[:, None]
            yield from scores


def open_late_scorer(
    project: Project, domain: Domain, name: str, chunks: Sequence[Chunk], reporter: Reporter = SILENT
) -> LateInteractionScorer:
    """The scorer of a `kind: late-interaction` spec; the corpus is encoded once, and kept.

    Raises:
        BenchError: As `LateInteractionModel.load`.
    """
    model = LateInteractionModel.load(project, name)
    texts = [chunk.full_text for chunk in chunks]

    def unpack(arrays: Arrays) -> TokenVectors | None:
        vectors, offsets = arrays["vectors"].astype(np.float32, copy=False), arrays["offsets"].astype(np.int64)
        fits = len(offsets) == len(texts) + 1 and offsets[-1] == len(vectors)
        return TokenVectors(vectors, offsets) if fits else None

    kept = stored_arrays(
        domain,
        name,
        model.fingerprint,
        texts,
        model.prompts,
        lambda: model.encode(texts, "document", reporter, f"{name}: encoding {len(texts)} chunks"),
        lambda made: made._asdict(),
        unpack,
        reporter,
    )
    return LateInteractionScorer(model, [chunk.id for chunk in chunks], kept.vectors, kept.seconds)
