"""Vectors that were computed once: a row for each encoder, role, prompt and text, kept for the whole project."""

import time
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmark.console import SILENT, Reporter
from benchmark.encoders.adapter import DerivedEncoder
from benchmark.encoders.api import ApiEncoder
from benchmark.encoders.dense import Encoder, Role, check_finite, count_bad
from benchmark.encoders.rows import Found, Table
from benchmark.encoders.search import BLOCK
from benchmark.encoders.shelf import Filled, Kept, Shelf, distinct, in_groups, in_slices, text_keys
from benchmark.project import Domain, Project
from benchmark.records import Chunk

_HELD: Final = 256 * 2**20
"""Vectors of a corpus that are held in memory when they are searched, in bytes; larger ones are read in blocks."""


class StoredVectors:
    """Unit vectors of texts, in the store.

    Attributes:
        positions: Row of each text in the store, shape (n_texts,), int64.
        seconds: That encoding the texts took; None where the store had some of them.
    """

    def __init__(self, filled: Filled, texts: int, role: Role, derived: Sequence[DerivedEncoder] = ()) -> None:
        self.positions = filled.places
        self.seconds = filled.seconds if filled.made and filled.made == len(np.unique(filled.places)) else None
        self._filled, self._texts, self._role, self._derived = filled, texts, role, tuple(derived)
        self._all: NDArray[np.float32] | None = None
        some = filled.rows[:1]
        for encoder in self._derived:
            some = encoder.adapt(some, role)
        self._dimensions = some.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """How many texts, and how many dimensions."""
        return self._texts, self._dimensions

    def through(self, encoder: DerivedEncoder) -> "StoredVectors":
        """What an encoder makes of these vectors.

        Raises:
            BenchError: They have dimensions that do not fit.
        """
        return StoredVectors(self._filled, self._texts, self._role, [*self._derived, encoder])

    def take(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of some texts, shape (n_numbers, n_dimensions), a copy.

        Raises:
            BenchError: An adapter makes something else than numbers of them.
        """
        held = self._held()
        if held is not None:
            return np.asarray(held[numbers])
        return self._made(np.array(self._filled.rows[self.positions[numbers]], dtype=np.float32))

    def array(self) -> NDArray[np.float32]:
        """All vectors in the order of the texts, shape (n_texts, n_dimensions), a copy."""
        return self._made(np.array(self._filled.rows[self.positions], dtype=np.float32))

    def blocks(self, rows: int = BLOCK) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Numbers of texts, shape (n,), and their vectors, shape (n, n_dimensions), until all of them were there.

        A corpus of some size is read in the order of the store, without ever holding all of it. A smaller one is held,
        and comes in the order of the texts: whatever else is in the store then changes no bit of a product.
        """
        held = self._held()
        order = np.arange(self._texts) if held is not None else np.argsort(self.positions, kind="stable")
        for start in range(0, self._texts, rows):
            numbers = order[start : start + rows]
            yield numbers, self.take(numbers) if held is None else held[start : start + rows]

    def _held(self) -> NDArray[np.float32] | None:
        """All vectors, where they are few."""
        if self._all is None and 4 * self._texts * self._dimensions <= _HELD:
            self._all = self.array()
        return self._all

    def _made(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        for encoder in self._derived:
            vectors = encoder.adapt(vectors, self._role)
            check_finite(encoder.name, count_bad(vectors), len(vectors))
        return vectors


def document_vectors(
    domain: Domain, encoder: Encoder, chunks: Sequence[Chunk], reporter: Reporter = SILENT
) -> NDArray[np.float32]:
    """Unit vectors of a corpus; only what this encoder has not seen yet in this project is encoded.

    An adapter's, and those that are cut from another encoder's, are made of the base's.

    Returns:
        Shape (n_chunks, n_dimensions), float32, in the order of the chunks.
    """
    return stored_documents(domain, encoder, chunks, reporter).array()


def stored_documents(
    domain: Domain, encoder: Encoder, chunks: Sequence[Chunk], reporter: Reporter = SILENT
) -> StoredVectors:
    """As `document_vectors`, left in the store."""
    return stored_vectors(domain, encoder, [chunk.full_text for chunk in chunks], "document", reporter, "chunks")


def query_vectors(
    domain: Domain, encoder: Encoder, texts: Sequence[str], reporter: Reporter = SILENT
) -> NDArray[np.float32]:
    """Unit vectors of queries, kept like those of a corpus.

    Returns:
        Shape (n_texts, n_dimensions), float32, in the order of the texts.
    """
    return stored_vectors(domain, encoder, texts, "query", reporter, "queries").array()


def stored_vectors(
    domain: Domain,
    encoder: Encoder,
    texts: Sequence[str],
    role: Role,
    reporter: Reporter = SILENT,
    what: str = "texts",
) -> StoredVectors:
    """Unit vectors of texts in a role, encoded where they are missing.

    Args:
        domain: Of the project whose store it is.
        encoder: What makes them.
        texts: Whatever stands there several times is encoded once.
        role: Which prompt goes in front.
        reporter: Shows progress; told when rows are broken.
        what: What to call the texts.

    Raises:
        BenchError: The encoder fails or gives something else than numbers; what it did before is kept.
    """
    if isinstance(encoder, DerivedEncoder):
        return stored_vectors(domain, encoder.base, texts, role, reporter, what).through(encoder)
    shelf, prompts = Shelf.of(domain, encoder.fingerprint), _prompts(encoder)
    keys = text_keys(texts)

    def make(table: Table, missing: NDArray[np.int64]) -> tuple[int, float]:
        some = f"{len(missing)} of " if len(missing) < len(texts) else ""
        label = f"{encoder.name}: encoding {some}{len(texts)} {what}"
        slices = in_slices(missing, [len(text) for text in texts])
        whole = isinstance(encoder, ApiEncoder)
        if whole:  # sends many requests at once, and keeps each reply itself
            slices = [missing]
        made, seconds = 0, 0.0
        for numbers in slices if whole else reporter.track(slices, total=len(slices), label=label):
            if table.came_meanwhile(keys[numbers]):
                continue
            part, started = [texts[number] for number in numbers], time.perf_counter()
            vectors = encoder.encode(part, role, reporter, label) if whole else encoder.encode(part, role)
            seconds += time.perf_counter() - started
            check_finite(encoder.name, count_bad(vectors), len(part))
            if not made:
                shelf.tell(encoder.name, prompts, {})
            table.append(keys[numbers], vectors)
            made += len(part)
        if made:
            shelf.tell(encoder.name, prompts, {role: made / seconds})
        return made, seconds

    filled = shelf.filled(role, prompts.get(role, ""), keys, make, reporter)
    if not texts and not filled.rows.shape[1]:
        filled = filled._replace(rows=encoder.encode([], role))
    return StoredVectors(filled, len(texts), role)


class KeptEncoder:
    """An encoder whose vectors come out of the store, and go into it, for those who know nothing of a store.

    Args:
        domain: Of the project whose store it is.
        encoder: What makes vectors.
    """

    def __init__(self, domain: Domain, encoder: Encoder) -> None:
        self.name = encoder.name
        self.fingerprint = encoder.fingerprint
        self._domain, self._encoder = domain, encoder

    def encode(
        self, texts: Sequence[str], role: Role, reporter: Reporter = SILENT, label: str = ""
    ) -> NDArray[np.float32]:
        """Vectors of unit length, in the order of the texts, shape (n_texts, n_dimensions).

        Raises:
            BenchError: As `stored_vectors`.
        """
        what = "queries" if role == "query" else "texts"
        return stored_vectors(self._domain, self._encoder, texts, role, reporter if label else SILENT, what).array()


def _prompts(encoder: Encoder) -> dict[str, str]:
    """By role; not every encoder has prompts of its own: an API's are in its fingerprint."""
    return dict(getattr(encoder, "prompts", {}))


# --- what is there, without a model ---------------------------------------------------------------------------------


def missing(project: Project, fingerprint: str, role: Role, prompt: str, texts: Sequence[str]) -> int:
    """How many different texts an encoder would have to encode.

    Args:
        project: Whose store.
        fingerprint: Of an encoder that is not derived from another one's vectors.
        role: Of the texts.
        prompt: That goes in front of them; see `known_prompts`.
        texts: All that are wanted.
    """
    return sum(len(part) for part in missing_slices(project, fingerprint, role, prompt, texts))


def missing_slices(
    project: Project, fingerprint: str, role: Role, prompt: str, texts: Sequence[str]
) -> list[list[str]]:
    """The texts that `missing` counts, in the groups and the order in which one process would encode them."""
    keys = text_keys(texts)
    there = Shelf.of(project, fingerprint).table(role, prompt).has(keys)
    numbers = distinct(keys, Found(np.where(there, 0, -1), 0))
    return [[texts[number] for number in part] for part in in_slices(numbers, [len(text) for text in texts])]


def keep(domain: Domain, encoder: Encoder, role: Role, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
    """Keep vectors that an encoder gave elsewhere; those of texts that are there already are left alone.

    Args:
        domain: Of the project whose store it is.
        encoder: One that is not derived from another one's vectors.
        role: In which it encoded them.
        texts: What was encoded.
        vectors: Shape (n_texts, n_dimensions), of unit length.

    Raises:
        BenchError: They are no numbers, or have other dimensions than those that are there.
    """
    check_finite(encoder.name, count_bad(vectors), len(vectors))
    shelf, prompts, keys = Shelf.of(domain, encoder.fingerprint), _prompts(encoder), text_keys(texts)

    def make(table: Table, numbers: NDArray[np.int64]) -> tuple[int, float]:
        shelf.tell(encoder.name, prompts, {})
        for part in in_groups(numbers):
            table.append(keys[part], vectors[part])
        return len(numbers), 0.0

    shelf.filled(role, prompts.get(role, ""), keys, make, SILENT)


def rate(project: Project, fingerprint: str, kept: Kept = "document") -> float | None:
    """Texts (or pairs) a second when rows of this kind were last made with these weights; None where none were."""
    found = Shelf.of(project, fingerprint).header.get("rates", {}).get(kept)
    return None if found is None else float(found)


def known_prompts(project: Project, fingerprint: str) -> dict[str, str] | None:
    """An encoder's prompts by role, which its own configuration may hold; None where nothing of it was kept yet.

    It is empty where they are part of the fingerprint: then the prompt is "" in every key.
    """
    found = Shelf.of(project, fingerprint).header.get("prompts")
    return None if found is None else dict(found)
