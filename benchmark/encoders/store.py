"""Vectors that were computed once: a file for each encoder, corpus, prompt and version of what is kept."""

import io
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmark.console import SILENT, Reporter
from benchmark.encoders.adapter import DerivedEncoder
from benchmark.encoders.dense import Encoder, Role, check_finite, count_bad
from benchmark.files import hash_json, write_bytes
from benchmark.project import Domain
from benchmark.records import Chunk

T = TypeVar("T")
Arrays = Mapping[str, NDArray[np.generic]]
VERSION: Final = 2
"""Of what is kept; to be raised where the same weights and prompts give other vectors than before."""


@dataclass(frozen=True)
class Stored(Generic[T]):
    """Vectors, from the store or for it.

    Attributes:
        vectors: Whatever the encoder makes of texts.
        seconds: That making them took; None where they were in the store.
    """

    vectors: T
    seconds: float | None


def document_vectors(
    domain: Domain, encoder: Encoder, chunks: Sequence[Chunk], reporter: Reporter = SILENT
) -> NDArray[np.float32]:
    """Unit vectors of a corpus, from `results/<domain>/vectors` where this encoder has seen these texts before.

    An adapter's, and those that are cut from an API's, are made of the base's, which are not encoded again.

    Returns:
        Shape (n_chunks, n_dimensions), float32, in the order of the chunks.
    """
    return stored_documents(domain, encoder, chunks, reporter).vectors


def stored_documents(
    domain: Domain, encoder: Encoder, chunks: Sequence[Chunk], reporter: Reporter = SILENT
) -> Stored[NDArray[np.float32]]:
    """As `document_vectors`, with the seconds that they took."""
    texts = [chunk.full_text for chunk in chunks]
    return _vectors(domain, encoder, texts, "document", f"{len(texts)} chunks", reporter)


def query_vectors(
    domain: Domain, encoder: Encoder, texts: Sequence[str], reporter: Reporter = SILENT
) -> NDArray[np.float32]:
    """Unit vectors of training queries, kept like those of a corpus.

    Returns:
        Shape (n_texts, n_dimensions), float32, in the order of the texts.
    """
    return _vectors(domain, encoder, texts, "query", f"{len(texts)} queries", reporter).vectors


def stored_arrays(
    domain: Domain,
    fingerprint: str,
    texts: Sequence[str],
    prompt: str,
    encode: Callable[[], T],
    pack: Callable[[T], Arrays],
    unpack: Callable[[Arrays], T | None],
    reporter: Reporter = SILENT,
) -> Stored[T]:
    """Vectors of a corpus that are more than one array, kept as an .npz file beside the dense ones.

    Args:
        domain: In whose results they are kept.
        fingerprint: Of the encoder.
        texts: What they are made of.
        prompt: What goes in front of them.
        encode: Makes them, where none are kept.
        pack: Their arrays, by name.
        unpack: The inverse; None where the arrays do not fit these texts.
        reporter: Told when a file is broken.
    """
    path = _file(domain, fingerprint, texts, "document", prompt, ".npz")
    if path.is_file():
        try:
            with np.load(path, allow_pickle=False) as file:
                vectors = unpack({name: file[name] for name in file.files})
        except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile):
            vectors = None
        if vectors is not None:
            return Stored(vectors, None)
        reporter.note(f"{path.name}: broken, encoded again")
    started = time.perf_counter()
    made = encode()
    seconds = time.perf_counter() - started
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **pack(made))
    write_bytes(path, buffer.getvalue())
    return Stored(made, seconds)


def _file(domain: Domain, fingerprint: str, texts: Sequence[str], role: Role, prompt: str, ending: str) -> Path:
    """The fingerprint stays the beginning of the name, by which the files of a model are found.

    It covers a spec's prompts, not those that are read out of a model's own configuration, which another version of
    this package or of the library may find where none were found before.
    """
    word = "" if role == "document" else f"{role}-"
    return domain.results / "vectors" / f"{fingerprint[:20]}-{word}{hash_json([VERSION, prompt, *texts])[:20]}{ending}"


def _vectors(
    domain: Domain, encoder: Encoder, texts: Sequence[str], role: Role, what: str, reporter: Reporter
) -> Stored[NDArray[np.float32]]:
    if isinstance(encoder, DerivedEncoder):
        base = _vectors(domain, encoder.base, texts, role, what, reporter)
        adapted = encoder.adapt(base.vectors, role)
        check_finite(encoder.name, count_bad(adapted), len(texts))
        return Stored(adapted, base.seconds)
    # Not every encoder has prompts of its own: an API's are in its fingerprint.
    prompt: str = getattr(encoder, "prompts", {}).get(role, "")
    path = _file(domain, encoder.fingerprint, texts, role, prompt, ".npy")
    if path.is_file():
        try:
            vectors: NDArray[np.float32] = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError):
            reporter.note(f"{path.name}: broken, encoded again")
        else:
            if len(vectors) == len(texts):
                return Stored(vectors, None)
    started = time.perf_counter()
    vectors = encoder.encode(texts, role, reporter, f"{encoder.name}: encoding {what}")
    seconds = time.perf_counter() - started
    check_finite(encoder.name, count_bad(vectors), len(texts))
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    write_bytes(path, buffer.getvalue())
    return Stored(vectors, seconds)
