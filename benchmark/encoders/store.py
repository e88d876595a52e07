"""Vectors that were computed once: a file for each (encoder fingerprint, corpus)."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark.console import SILENT, Reporter
from benchmark.encoders.adapter import DerivedEncoder
from benchmark.encoders.dense import Encoder, Role
from benchmark.files import hash_json, write_bytes
from benchmark.project import Domain
from benchmark.records import Chunk


def document_vectors(
    domain: Domain, encoder: Encoder, chunks: Sequence[Chunk], reporter: Reporter = SILENT
) -> NDArray[np.float32]:
    """Unit vectors of a corpus, from `results/<domain>/vectors` where this encoder has seen these texts before.

    An adapter's, and those that are cut from an API's, are made of the base's, which are not encoded again.

    Returns:
        Shape (n_chunks, n_dimensions), float32, in the order of the chunks.
    """
    texts = [chunk.full_text for chunk in chunks]
    return _vectors(domain, encoder, texts, "document", f"{len(texts)} chunks", reporter)


def query_vectors(
    domain: Domain, encoder: Encoder, texts: Sequence[str], reporter: Reporter = SILENT
) -> NDArray[np.float32]:
    """Unit vectors of training queries, kept like those of a corpus.

    Returns:
        Shape (n_texts, n_dimensions), float32, in the order of the texts.
    """
    return _vectors(domain, encoder, texts, "query", f"{len(texts)} queries", reporter)


def _vectors(
    domain: Domain, encoder: Encoder, texts: Sequence[str], role: Role, what: str, reporter: Reporter
) -> NDArray[np.float32]:
    if isinstance(encoder, DerivedEncoder):
        return encoder.adapt(_vectors(domain, encoder.base, texts, role, what, reporter), role)
    word = "" if role == "document" else f"{role}-"
    name = f"{encoder.fingerprint[:20]}-{word}{hash_json(list(texts))[:20]}.npy"
    path = domain.results / "vectors" / name
    if path.is_file():
        try:
            vectors: NDArray[np.float32] = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError):
            reporter.note(f"{path.name}: broken, encoded again")
        else:
            if len(vectors) == len(texts):
                return vectors
    vectors = encoder.encode(texts, role, reporter, f"{encoder.name}: encoding {what}")
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    write_bytes(path, buffer.getvalue())
    return vectors
