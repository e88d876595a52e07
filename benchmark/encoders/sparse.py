"""Sparse encoders: weights for the words of a vocabulary, compared by the words that both sides have.

SPLADE: Formal, Piwowarski and Clinchant, SIGIR 2021; the models are sentence-transformers' `SparseEncoder`.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmark.encoders.asymmetric import AsymmetricModel, Saved
from benchmark.encoders.asymmetric_scorer import AsymmetricScorer
from benchmark.encoders.dense import Role, check_finite, model_errors
from benchmark.encoders.ragged import Ragged
from benchmark.encoders.scorers import Footprint

_BLOCK: Final = 32
"""Queries that are scored at once."""
_LOGITS: Final = 2**27
"""Logits of one batch, about: one for each word of the vocabulary at each token, half a gigabyte."""
_CHARACTERS: Final = 3
"""Of a token, where the number of tokens is only estimated."""
_SMALLEST: Final = 1e-12


class SparseModel(AsymmetricModel):
    """A sparse encoder; its matrices are scipy's `csr_matrix`, a row for each text and a column for each word."""

    kind = "sparse"
    similarities = ("dot", "cosine")

    @classmethod
    def library_class(cls) -> Any:
        """`SparseEncoder`."""
        from sentence_transformers import SparseEncoder

        return SparseEncoder

    @classmethod
    def fits(cls, saved: Saved) -> bool:
        """A saved `SparseEncoder`, or a masked language model, as older SPLADE models were saved."""
        if saved.modules:
            return saved.model_type == "SparseEncoder"
        return any(name.endswith("ForMaskedLM") for name in saved.architectures)

    def encode(self, texts: Sequence[str], role: Role) -> Any:
        """Word weights as the model compares them: at length 1 where that is by cosine.

        Args:
            texts: What to encode; longer texts are cut at the model's maximum length.
            role: Which way they go through the model, and which prompt goes in front.

        Returns:
            A `csr_matrix` of shape (n_texts, n_words), float32, in the order of the texts.

        Raises:
            BenchError: The model fails, or gives something else than numbers.
        """
        from scipy.sparse import csr_matrix, vstack

        parts, order = [], []
        settings = {"batch_size": self._batch_size(texts), "save_to_cpu": True}
        for rows, found in self._in_slices(texts, role, **settings):
            tensor = found.coalesce()
            values = tensor.values().float().numpy()
            parts.append(csr_matrix((values, tensor.indices().numpy()), shape=tuple(tensor.shape), dtype=np.float32))
            order += rows
        if not parts:
            return csr_matrix((0, self._words), dtype=np.float32)
        matrix = vstack(parts, format="csr")[np.argsort(order)]
        bad = np.flatnonzero(~np.isfinite(matrix.data))
        check_finite(self.name, len(np.unique(np.searchsorted(matrix.indptr, bad, side="right"))), len(texts))
        return _normalised(matrix) if self.model.similarity_fn_name == "cosine" else matrix

    def pack(self, encoded: Any) -> Ragged:
        """Each text's words and their weights."""
        return Ragged(encoded.indptr.astype(np.int64), {"words": encoded.indices, "weights": encoded.data})

    def unpack(self, ragged: Ragged) -> Any:
        """A `csr_matrix` of shape (n_texts, n_words)."""
        from scipy.sparse import csr_matrix

        shape = (len(ragged.offsets) - 1, self._words)
        return csr_matrix((ragged.entries["weights"], ragged.entries["words"], ragged.offsets), shape=shape)

    @cached_property
    def _words(self) -> int:
        """Columns of the matrices; not every model's configuration has them."""
        with model_errors(f"model_specs/{self.name}.yaml: cannot encode"):
            return int(self.model.encode_query(["a"], prompt="", show_progress_bar=False).shape[1])

    def _batch_size(self, texts: Sequence[str]) -> int:
        longest = max((len(text) for text in texts), default=0) // _CHARACTERS + 2
        return max(1, min(32, _LOGITS // (self._words * min(longest, self.model.max_seq_length or longest))))


def _normalised(matrix: Any) -> Any:
    from scipy.sparse import diags

    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return (diags((1 / np.maximum(lengths, _SMALLEST)).astype(np.float32)) @ matrix).tocsr()


class SparseScorer(AsymmetricScorer):
    """Products of word weights, in blocks of queries; 0 where a chunk has none of a query's words."""

    model_class = SparseModel

    def _hold(self, encoded: Any) -> Footprint:
        # A list of chunks for each word: only those of the query's words are read.
        self._postings = encoded.T.tocsr()
        size = encoded.data.nbytes + encoded.indices.nbytes + encoded.indptr.nbytes
        return Footprint(size / max(1, encoded.shape[0]), 0, encoded.shape[1], None)

    def _score(self, encoded: Any) -> Iterator[NDArray[np.float32]]:
        for start in range(0, encoded.shape[0], _BLOCK):
            yield from (encoded[start : start + _BLOCK] @ self._postings).toarray()
