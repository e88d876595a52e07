"""Encoders made from another one's vectors: by a linear adapter (small matrices), by cutting or by quantising them.

Document vectors that were computed for the base serve these too: as they are, or after one matrix product.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.console import SILENT, Reporter
from benchmark.encoders.api import ApiEncoder
from benchmark.encoders.asymmetric import check_has_vectors
from benchmark.encoders.backends import open_exported_encoder
from benchmark.encoders.dense import DenseEncoder, Encoder, Role
from benchmark.encoders.quantized import CODES, Codes
from benchmark.errors import BenchError
from benchmark.files import shown, write_bytes
from benchmark.project import Project
from benchmark.specs.models import Quantization
from benchmark.weights import adapter_file, model_fingerprint

_SLICE = 8192
_SMALLEST = 1e-12


@dataclass(frozen=True)
class LinearMaps:
    """What is done to the vectors of either side.

    Attributes:
        query: Shape (n_dimensions, n_dimensions); a vector v becomes `query @ v`, at length 1.
        document: The same for documents; None leaves their vectors untouched.
    """

    query: NDArray[np.float32]
    document: NDArray[np.float32] | None

    @classmethod
    def identity(cls, dimensions: int, *, both: bool) -> "LinearMaps":
        """Maps that change no direction."""
        same = np.eye(dimensions, dtype=np.float32)
        return cls(same, same.copy() if both else None)

    @property
    def dimensions(self) -> int:
        """Of the vectors that go in and come out."""
        return len(self.query)

    def matrix(self, role: Role) -> NDArray[np.float32] | None:
        """The matrix of one side; None where its vectors stay as they are."""
        return self.query if role == "query" else self.document

    def apply(self, vectors: NDArray[np.float32], role: Role) -> NDArray[np.float32]:
        """Adapted vectors at length 1, shape (n_vectors, n_dimensions); the same array where nothing is to be done."""
        matrix = self.matrix(role)
        if matrix is None:
            return vectors
        adapted = np.empty_like(vectors)
        for start in range(0, len(vectors), _SLICE):
            part = vectors[start : start + _SLICE] @ matrix.T
            part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), _SMALLEST)
            adapted[start : start + _SLICE] = part
        return adapted

    def mixed(self, share: float) -> "LinearMaps":
        """The way from the identity to these maps, gone to this share: identity + share * (map - identity)."""
        same = np.eye(self.dimensions, dtype=np.float32)

        def part(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.asarray(same + np.float32(share) * (matrix - same), dtype=np.float32)

        return LinearMaps(part(self.query), None if self.document is None else part(self.document))

    @property
    def distance(self) -> float:
        """From the identity: the root mean square over both sides of |matrix - identity| / |identity| (Frobenius)."""
        sides = [matrix for matrix in (self.query, self.document) if matrix is not None]
        squares = [float(np.square(matrix - np.eye(self.dimensions)).sum()) / self.dimensions for matrix in sides]
        return float(np.sqrt(np.mean(squares)))

    def save(self, path: Path) -> None:
        """Write a safetensors file; equal maps give equal bytes."""
        from safetensors.numpy import save

        tensors = {"query": np.ascontiguousarray(self.query)}
        if self.document is not None:
            tensors["document"] = np.ascontiguousarray(self.document)
        write_bytes(path, save(tensors))

    @classmethod
    def load(cls, path: Path, where: str) -> "LinearMaps":
        """Read what `save` wrote.

        Raises:
            BenchError: The file is broken, or holds something else than square matrices of one size.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            tensors = load(path.read_bytes())
        except (SafetensorError, OSError, ValueError) as error:
            raise BenchError(f"{where}: {shown(path)}: cannot be read: {str(error).splitlines()[0][:200]}") from None
        shapes = {array.shape for array in tensors.values()}
        square = len(shapes) == 1 and all(len(shape) == 2 and shape[0] == shape[1] for shape in shapes)
        if not square or "query" not in tensors or not tensors.keys() <= {"query", "document"}:
            raise BenchError(f"{where}: {shown(path)}: is no linear adapter (a square matrix 'query', or two)")
        floats = {name: np.asarray(array, dtype=np.float32) for name, array in tensors.items()}
        return cls(floats["query"], floats.get("document"))


class DerivedEncoder(ABC):
    """An encoder that works on another one's vectors and needs none of its own.

    Attributes:
        name: The spec's name.
        fingerprint: A hash of the base and of what is done to its vectors.
        base: Where the vectors come from.
    """

    def __init__(self, name: str, fingerprint: str, base: Encoder) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.base = base

    def encode(
        self, texts: Sequence[str], role: Role, reporter: Reporter = SILENT, label: str = ""
    ) -> NDArray[np.float32]:
        """Vectors of unit length, in the order of the texts, shape (n_texts, n_dimensions).

        Raises:
            BenchError: The base's vectors have dimensions that do not fit.
        """
        return self.adapt(self.base.encode(texts, role, reporter, label), role)

    @abstractmethod
    def adapt(self, vectors: NDArray[np.float32], role: Role) -> NDArray[np.float32]:
        """What becomes of the base's vectors, shape (n_vectors, n_dimensions).

        Raises:
            BenchError: They have dimensions that do not fit.
        """


class AdaptedEncoder(DerivedEncoder):
    """An encoder whose vectors are another one's, multiplied with matrices.

    Attributes:
        name: The spec's name.
        fingerprint: A hash of the base and the matrices.
        base: Where the vectors come from.
        maps: What is done to them.
    """

    def __init__(self, name: str, fingerprint: str, base: Encoder, maps: LinearMaps) -> None:
        super().__init__(name, fingerprint, base)
        self.maps = maps

    def adapt(self, vectors: NDArray[np.float32], role: Role) -> NDArray[np.float32]:
        """What becomes of the base's vectors, shape (n_vectors, n_dimensions).

        Raises:
            BenchError: The base's vectors have other dimensions than the adapter was trained on.
        """
        if vectors.shape[1] != self.maps.dimensions:
            raise BenchError(
                f"model_specs/{self.name}.yaml: the adapter was trained on {self.maps.dimensions} dimensions, "
                f"{self.base.name} has {vectors.shape[1]}"
            )
        return self.maps.apply(vectors, role)


class CutEncoder(DerivedEncoder):
    """An encoder whose vectors are another one's first dimensions, at length 1 again (Matryoshka).

    Args:
        name: The spec's name.
        fingerprint: A hash of the base and the number of dimensions.
        base: Where the vectors come from.
        dimensions: How many are left.
    """

    def __init__(self, name: str, fingerprint: str, base: Encoder, dimensions: int) -> None:
        super().__init__(name, fingerprint, base)
        self._dimensions = dimensions

    def adapt(self, vectors: NDArray[np.float32], role: Role) -> NDArray[np.float32]:
        """What becomes of the base's vectors, whatever their role; shape (n_vectors, n_dimensions).

        Raises:
            BenchError: They are shorter.
        """
        if vectors.shape[1] < self._dimensions and len(vectors):
            raise BenchError(
                f"model_specs/{self.name}.yaml: truncate_dim: {self._dimensions}: the vectors of {self.base.name} have "
                f"{vectors.shape[1]} dimensions ({role})"
            )
        cut = vectors[:, : self._dimensions]
        return np.asarray(cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), _SMALLEST), dtype=np.float32)


class QuantizedEncoder(DerivedEncoder):
    """An encoder whose vectors are another one's, as exact as an integer or a bit for each dimension can be.

    Args:
        name: The spec's name.
        fingerprint: A hash of the base and of how its vectors are searched.
        base: Where the vectors come from.
        kind: What becomes of a dimension.
        rescore: How many times ten hits are scored anew by the base's vectors.
    """

    def __init__(self, name: str, fingerprint: str, base: Encoder, kind: Quantization, rescore: int) -> None:
        super().__init__(name, fingerprint, base)
        self.kind: Quantization = kind
        self.rescore = rescore

    def adapt(self, vectors: NDArray[np.float32], role: Role) -> NDArray[np.float32]:
        """What the integers or bits stand for, whatever the role; shape (n_vectors, n_dimensions)."""
        return self.codes(vectors).vectors()

    def codes(self, vectors: NDArray[np.float32]) -> Codes:
        """The integers or bits themselves."""
        return CODES[self.kind].of(vectors)


def open_encoder(project: Project, name: str) -> Encoder:
    """The encoder of a bi-encoder's spec: with weights, behind an API, or made from another one's vectors.

    Raises:
        BenchError: The spec is no bi-encoder, or its weights or matrices cannot be had.
    """
    spec = project.model_spec(name)
    check_has_vectors(project, name)
    if spec.api is not None:
        return ApiEncoder.open(project, name)
    if spec.backend != "torch":
        return open_exported_encoder(project, name)
    if spec.base is None:
        return DenseEncoder.load(project, name)
    fingerprint = model_fingerprint(project, name)
    if spec.adapter is not None:
        maps = LinearMaps.load(adapter_file(project, name, spec), f"model_specs/{name}.yaml")
        return AdaptedEncoder(name, fingerprint, open_encoder(project, spec.base), maps)
    base = open_encoder(project, spec.base)
    if spec.quantize is not None:
        return QuantizedEncoder(name, fingerprint, base, spec.quantize, spec.rescore)
    # Not by the model itself: the whole vectors are in the store already, or will be of use there.
    assert spec.truncate_dim is not None  # noqa: S101 (the spec has one of the three)
    return CutEncoder(name, fingerprint, base, spec.truncate_dim)
