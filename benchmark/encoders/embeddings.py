"""One try at an OpenAI-compatible `/embeddings` endpoint: what is sent, and what may pass for its vectors."""

import base64
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import BenchError
from benchmark.files import Json
from benchmark.llm.connection import ABOUT_THE_REQUEST, Connection, refusals_of, words_of
from benchmark.llm.model import Failure
from benchmark.specs import ApiSettings

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

_TOO_LARGE: Final = r"(request|input|prompt|text|batch)\b.{0,60}too (large|long)"
"""What some endpoints say of a request that never fits, with the status of one that they have no time for now."""


@dataclass(frozen=True)
class EmbeddingRequest:
    """Texts that are sent together; `max_tokens` is nothing, since an endpoint writes none."""

    texts: tuple[str, ...]
    max_tokens: int = 0


@dataclass(frozen=True, eq=False)
class Vectors:
    """What came back for one request.

    Attributes:
        rows: As the endpoint gave them, finite and none of them zero; shape (n_texts, n_dimensions).
        input_tokens: Tokens read, as the endpoint counts them; None where it does not say.
        output_tokens: None are written.
        lost: Tries before it that may have been paid for and brought nothing.
    """

    rows: NDArray[np.float32]
    input_tokens: int | None
    output_tokens: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Refused(Failure):
    """The endpoint does not take these texts, or not so many of them together; nothing was paid.

    Attributes:
        said: The endpoint's own words, in a short line.
    """

    said: str = ""


class EmbeddingsConnection(Connection[EmbeddingRequest, Vectors]):
    """Speaks to an `/embeddings` endpoint.

    Vectors are asked for in base64, a quarter of the digits' length; an endpoint that refuses the parameter is asked
    without it, and any endpoint may answer in either form.
    """

    def __init__(self, spec: ApiSettings) -> None:
        super().__init__(spec, f"the embeddings of {spec.model} at {spec.base_url}")
        self._spec = spec
        self._packed = True

    async def ask(self, client: "AsyncOpenAI", request: EmbeddingRequest) -> Vectors | Failure:
        """One try.

        Raises:
            TroubleError: There is no answer.
            BenchError: No request will do better.
        """
        while True:
            packed = self._packed
            outcome = await self._post(client, "/embeddings", self._body(request, packed))
            if not isinstance(outcome, Exception):
                dimensions = self._spec.dimensions
                return self._read(outcome, partial(read_embeddings, count=len(request.texts), dimensions=dimensions))
            if packed and self._refuses_packing(outcome):
                self._packed = False
                continue
            refused = self._about_texts(outcome)
            if refused is None:
                raise self._trouble(outcome)
            return refused

    def _body(self, request: EmbeddingRequest, packed: bool) -> Json:
        body: Json = {"model": self._spec.model, "input": list(request.texts)}
        if self._spec.dimensions is not None:
            body["dimensions"] = self._spec.dimensions
        return body | ({"encoding_format": "base64"} if packed else {})

    @staticmethod
    def _refuses_packing(error: Exception) -> bool:
        import openai

        if not isinstance(error, openai.APIStatusError) or error.status_code not in {400, 422}:
            return False
        return any(
            re.search(r"encoding_format|base64", f"{refusal.parameter} {refusal.words}")
            for refusal in refusals_of(error)
        )

    def _about_texts(self, error: Exception) -> Refused | None:
        """A refusal that may lie with the texts of a request.

        Raises:
            BenchError: The model does not take 'dimensions'.
        """
        import openai

        if not isinstance(error, openai.APIStatusError):
            return None
        said = self._clean(words_of(error))
        never_fits = error.status_code in {429, 500} and re.search(_TOO_LARGE, said, re.IGNORECASE)
        if error.status_code not in ABOUT_THE_REQUEST and not never_fits:
            return None
        self._refuse_dimensions(error, said)
        return Refused(f"HTTP {error.status_code}", said=said)

    def _refuse_dimensions(self, error: "APIStatusError", said: str) -> None:
        asked = self._spec.dimensions
        if asked is not None and any(
            re.search(r"\bdimensions\b", f"{refusal.parameter} {refusal.words}") for refusal in refusals_of(error)
        ):
            raise BenchError(
                f"{self.who}: does not take dimensions: {asked} (HTTP {error.status_code}: {said}); leave it out, and "
                "cut the vectors by a spec with 'base' and 'truncate_dim'"
            )


def read_embeddings(body: Any, count: int, dimensions: int | None = None) -> Vectors | Failure:
    """The vectors in a reply, in the order of the texts; a `Failure` where one of them is missing or no vector.

    Args:
        body: The reply's JSON.
        count: How many texts were sent.
        dimensions: How many were asked for, if any.

    Raises:
        ValueError: It is no list of embeddings.

    >>> read_embeddings({"data": [{"index": 1, "embedding": [0, 1]}, {"index": 0, "embedding": [2, 0]}]}, 2).rows
    array([[2., 0.],
           [0., 1.]], dtype=float32)
    >>> read_embeddings({"data": [{"index": 0, "embedding": [0, 1]}]}, 2).reason
    '1 vectors for 2 texts'
    """
    rows = body.get("data") if isinstance(body, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "embedding" in row for row in rows):
        raise ValueError("its reply holds no embeddings")
    read = _tokens(body.get("usage"))
    if len(rows) != count:
        return Failure(f"{len(rows)} vectors for {count} texts", read)
    places = [row.get("index", place) for place, row in enumerate(rows)]
    if any(type(place) is not int for place in places) or sorted(places) != list(range(count)):
        return Failure("its vectors' indices are not those of the texts", read)
    by_place = dict(zip(places, rows, strict=True))
    try:
        vectors = np.stack([_vector(by_place[place]["embedding"]) for place in range(count)])
    except (ValueError, TypeError, OverflowError):  # binascii.Error is a ValueError
        return Failure("something else than vectors of equal dimensions", read)
    wrong = _wrong(vectors, dimensions)
    return Failure(wrong, read) if wrong else Vectors(vectors, read)


def _wrong(vectors: NDArray[np.float32], dimensions: int | None) -> str:
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        return "empty vectors"
    if dimensions is not None and vectors.shape[1] != dimensions:
        return f"vectors of {vectors.shape[1]} dimensions in place of {dimensions}"
    if not np.isfinite(vectors).all():
        return "a vector with values that are no numbers"
    return "" if np.linalg.norm(vectors, axis=1).min() > 0 else "a vector of zeros"


def _vector(value: Any) -> NDArray[np.float32]:
    """Numbers as they are, or little-endian float32 in base64."""
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4").astype(np.float32)
    if not isinstance(value, list):
        raise TypeError("neither numbers nor base64")
    with np.errstate(over="ignore"):  # too large for float32: told as no number
        return np.asarray(value, dtype=np.float64).astype(np.float32)


def _tokens(usage: Any) -> int | None:
    """Tokens read; some endpoints tell the total alone.

    >>> _tokens({"prompt_tokens": 8, "total_tokens": 8}), _tokens({"total_tokens": 5}), _tokens(None)
    (8, 5, None)
    """
    told = [usage.get(name) for name in ("prompt_tokens", "total_tokens")] if isinstance(usage, dict) else []
    return next((count for count in told if type(count) is int and count >= 0), None)
