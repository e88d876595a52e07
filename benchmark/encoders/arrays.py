"""Vectors of a corpus that are more than one array, kept as a file for each corpus."""

import io
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmark.console import SILENT, Reporter
from benchmark.encoders.shelf import Shelf
from benchmark.files import write_bytes
from benchmark.project import Domain

T = TypeVar("T")
Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Stored(Generic[T]):
    """Vectors, from the store or for it.

    Attributes:
        vectors: Whatever the encoder makes of texts.
        seconds: That making them took; None where they were in the store.
    """

    vectors: T
    seconds: float | None


def stored_arrays(
    domain: Domain,
    spec: str,
    fingerprint: str,
    texts: Sequence[str],
    prompts: Mapping[str, str],
    encode: Callable[[], T],
    pack: Callable[[T], Arrays],
    unpack: Callable[[Arrays], T | None],
    reporter: Reporter = SILENT,
) -> Stored[T]:
    """Vectors of a corpus that are more than one array, kept as an .npz file for each corpus.

    Args:
        domain: Of the project whose store it is.
        spec: The encoder's name.
        fingerprint: Of the encoder.
        texts: What they are made of.
        prompts: What goes in front, by role.
        encode: Makes them, where none are kept.
        pack: Their arrays, by name.
        unpack: The inverse; None where the arrays do not fit these texts.
        reporter: Told when a file is broken.
    """
    shelf = Shelf.of(domain, fingerprint)
    path = shelf.path("document", prompts["document"], texts).with_suffix(".npz")
    with shelf.in_use():
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
        shelf.tell(spec, prompts, {"document": len(texts) / seconds})
        write_bytes(path, buffer.getvalue())
    return Stored(made, seconds)
