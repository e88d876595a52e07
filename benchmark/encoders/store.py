"""Vectors that were computed once: a file for each (encoder fingerprint, corpus)."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark.console import SILENT, Reporter
from benchmark.encoders.dense import DenseEncoder
from benchmark.files import hash_json, write_bytes
from benchmark.project import Domain
from benchmark.records import Chunk


def document_vectors(
    domain: Domain, encoder: DenseEncoder, chunks: Sequence[Chunk], reporter: Reporter = SILENT
) -> NDArray[np.float32]:
    """Unit vectors of a corpus, from `results/<domain>/vectors` where this encoder has seen these texts before.

    Returns:
        Shape (n_chunks, n_dimensions), float32, in the order of the chunks.
    """
    texts = [chunk.full_text for chunk in chunks]
    name = f"{encoder.fingerprint[:20]}-{hash_json(texts)[:20]}.npy"
    path = domain.results / "vectors" / name
    if path.is_file():
        try:
            vectors: NDArray[np.float32] = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError):
            reporter.note(f"{path.name}: broken, encoded again")
        else:
            if len(vectors) == len(texts):
                return vectors
    vectors = encoder.encode(texts, "document", reporter, f"{encoder.name}: encoding {len(texts)} chunks")
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    write_bytes(path, buffer.getvalue())
    return vectors
