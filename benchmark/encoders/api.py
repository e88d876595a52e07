"""Bi-encoders behind an OpenAI-compatible API: vectors without weights, each of them asked for once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from benchmark.console import SILENT, Reporter, Update
from benchmark.encoders.dense import Role
from benchmark.encoders.embeddings import EmbeddingRequest, EmbeddingsConnection, Refused, Vectors
from benchmark.encoders.kept import KeptVectors, kept_file, open_kept
from benchmark.errors import BenchError
from benchmark.files import hash_json, shown
from benchmark.llm.budget import BudgetMeter, Spent, cost_of, dollars
from benchmark.llm.endpoint import ask_all
from benchmark.llm.model import Price, Request, Result
from benchmark.project import Project
from benchmark.specs import ApiSettings, Prompts
from benchmark.weights import model_fingerprint

_SHOWN_WORDS: Final = 10


class ApiEncoder:
    """A bi-encoder that an endpoint computes.

    Equal texts are asked for once, in whatever domain, role (prompts being equal) or run; what was there before an
    error or a kill stays there. The longest texts go first: one that the endpoint does not take ends the run before
    the others are paid for.

    Args:
        name: The spec's name.
        fingerprint: A hash of address, model, dimensions and prompts. It cannot tell when the provider changes what
            stands behind a name.
        spec: The endpoint.
        prompts: What goes in front of the texts.
        kept: The file that keeps the vectors.
    """

    def __init__(self, name: str, fingerprint: str, spec: ApiSettings, prompts: Prompts, kept: Path) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self._spec, self._prompts, self._kept = spec, prompts, kept
        # What the endpoint takes is found out once, not with every call.
        self._connection = EmbeddingsConnection(spec)
        self._batch_size = spec.batch_size

    @classmethod
    def open(cls, project: Project, name: str) -> "ApiEncoder":
        """The encoder of an `api:` spec; nothing is asked yet.

        Raises:
            BenchError: The spec has mistakes, or is none of an API.
        """
        spec = project.model_spec(name)
        if spec.api is None:
            raise BenchError(f"model_specs/{name}.yaml: is reached by no API (source: {spec.source})")
        return cls(name, model_fingerprint(project, name), spec.api, spec.prompts, kept_file(project))

    def encode(
        self, texts: Sequence[str], role: Role, reporter: Reporter = SILENT, label: str = ""
    ) -> NDArray[np.float32]:
        """Vectors of unit length, in the order of the texts, shape (n_texts, n_dimensions).

        Args:
            texts: What to encode.
            role: Which prompt goes in front.
            reporter: Told what was asked and paid; shows progress when a label is given.
            label: What to call this work.

        Raises:
            BenchError: The endpoint cannot be reached or used, does not take a text, or gives something else than
                vectors; the budget is reached; a kept vector has other dimensions than a new one. What has come is
                kept.
        """
        # Lone surrogates (from a broken document) cannot be sent as UTF-8.
        prompt = self._prompts.query if role == "query" else self._prompts.document
        inputs = [(prompt + text).encode("utf-8", "replace").decode("utf-8") for text in texts]
        keys = [self._key(text) for text in inputs]
        wanted = dict(zip(keys, inputs, strict=True))
        with open_kept(self._kept) as kept:
            found = kept.find(list(wanted))
            missing = {key: text for key, text in wanted.items() if key not in found}
            if missing:
                asking = _Asking(self._spec, self._connection, kept, missing, self._batch_size)
                with (reporter if label else SILENT).progress(total=len(missing), label=label) as update:
                    found |= asking.run(update)
                self._batch_size = asking.size
                reporter.note(f"{self.name}: {asking.told(len(found) - len(missing))}")
            if not keys:
                known = self._spec.dimensions or kept.dimensions(model_of(self._spec)) or 0
                return np.zeros((0, known), dtype=np.float32)
        vectors = np.stack([found[key] for key in keys])
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)

    def _key(self, text: str) -> bytes:
        """sha256 over everything that decides a vector."""
        return bytes.fromhex(hash_json([self._spec.identity, text]))


def model_of(spec: ApiSettings) -> str:
    """Under what name vectors and spending are kept."""
    return "#".join(str(part) for part in spec.identity.values() if part is not None)


class _Gate:
    """A budget's meter that lets nothing more start once it is closed."""

    def __init__(self, meter: BudgetMeter) -> None:
        self.closed = False
        self._meter = meter

    def reserve(self, request: Request) -> bool:
        """Whether the request may start."""
        return not self.closed and self._meter.reserve(request)

    def settle(self, request: Request, result: Result) -> None:
        """The request has ended."""
        self._meter.settle(request, result)


class _Asking:
    """The asking for one set of texts, in batches.

    Attributes:
        size: Texts in a request, at most; halved whenever the endpoint refuses so many.
    """

    def __init__(
        self,
        spec: ApiSettings,
        connection: EmbeddingsConnection,
        kept: KeptVectors,
        missing: Mapping[bytes, str],
        size: int,
    ) -> None:
        self.size = size
        self._spec, self._connection, self._kept = spec, connection, kept
        self._model = model_of(spec)
        read = spec.usd_per_million_input
        self._price = Price(read, None if read is None else 0.0)
        self._meter = BudgetMeter(spec.budget, self._price, kept.spent(self._model), kept.paid(self._model))
        self._before = self._counted = self._meter.spent
        self._waiting = dict(sorted(missing.items(), key=lambda item: (-len(item[1]), item[1])))
        self._total = len(missing)
        self._found: dict[bytes, NDArray[np.float32]] = {}
        self._failures: Counter[str] = Counter()

    def run(self, update: Update) -> dict[bytes, NDArray[np.float32]]:
        """Ask until every text has its vector.

        Raises:
            BenchError: As `ApiEncoder.encode`.
        """
        proven = False
        try:
            while self._waiting:
                keys, got = list(self._waiting), len(self._found)
                batches = [keys[start : start + self.size] for start in range(0, len(keys), self.size)]
                refused = self._round(batches if proven else batches[:1], update)
                if refused:
                    # Of many texts one may be too long, or all of them together too much: fewer will tell.
                    self.size, proven = -(-len(refused) // 2), False
                    self._waiting = {key: self._waiting[key] for key in refused} | self._waiting
                    continue
                self._stop_if_stuck(len(self._found) - got)
                proven = True
        finally:
            self._keep_rest()
        return self._found

    def told(self, known: int) -> str:
        """What was asked and what it did cost, in a line."""
        cost = self._meter.spent.beyond(self._before)
        usd = self._usd(cost)
        paid = "money unknown" if usd is None else dollars(usd)
        about = "about " if cost.unknown_calls else ""
        host = urlsplit(self._spec.base_url).netloc
        also = f"; {known:,} were kept already" if known else ""
        texts = "1 text" if self._total == 1 else f"{self._total:,} texts"
        return f"{texts} sent to {host}: {about}{cost.input_tokens:,} tokens, {paid}{also}"

    def _round(self, batches: Sequence[Sequence[bytes]], update: Update) -> Sequence[bytes]:
        """Ask for some batches; returns one that the endpoint refused, after which no other was sent.

        Raises:
            BenchError: The endpoint cannot be used, or refused a single text.
        """
        gate, refused = _Gate(self._meter), list[Sequence[bytes]]()
        requests = [EmbeddingRequest(tuple(self._waiting[key] for key in keys)) for keys in batches]
        alone: BenchError | None = None
        self._failures.clear()
        with closing(ask_all(self._connection, self._spec, requests, gate)) as results:
            for place, result in results:
                keys, cost = batches[place], cost_of(requests[place], result)
                if isinstance(result, Vectors):
                    self._take(keys, result, cost)
                    update(len(self._found), "")
                    continue
                self._count(cost, {})
                if not isinstance(result, Refused):
                    self._failures[result.reason] += len(keys)
                    continue
                gate.closed = True  # what is under way may still come
                refused.append(keys)
                if len(keys) == 1:
                    alone = self._refusal(requests[place].texts[0], result)
        if alone is not None:
            raise alone
        return min(refused, key=len, default=())

    def _take(self, keys: Sequence[bytes], result: Vectors, cost: Spent) -> None:
        known, given = self._kept.dimensions(self._model), result.rows.shape[1]
        if known is not None and given != known:
            raise BenchError(
                f"{self._connection.who}: gives {given} dimensions now, and gave {known} before: the model behind the "
                f"name has changed; move {shown(self._kept.path)} away to ask for every vector again"
            )
        vectors = dict(zip(keys, result.rows, strict=True))
        self._count(cost, vectors)
        self._found |= vectors
        for key in keys:
            del self._waiting[key]

    def _refusal(self, text: str, result: Refused) -> BenchError:
        words = text.split()
        start = " ".join(words[:_SHOWN_WORDS])[:80] + (" ..." if len(words) > _SHOWN_WORDS else "")
        return BenchError(
            f"{self._connection.who}: does not take the text that begins with '{start}' ({len(text):,} characters; "
            f"{result.reason}: {result.said}); if it is too long for the model, make smaller chunks: lower 'max_tokens' "
            "under 'chunking' in domain.yaml"
        )

    def _stop_if_stuck(self, got: int) -> None:
        """End the run where texts have failed for good, or the budget lets nothing more start.

        Raises:
            BenchError: Says which; what has come is kept.
        """
        have = f"{len(self._found):,} of {self._total:,} vectors have come and are kept"
        if self._failures:
            reason, count = self._failures.most_common(1)[0]
            raise BenchError(
                f"{self._connection.who}: no vectors for {self._failures.total():,} texts (of {count:,}: {reason}); "
                f"{have}, run again to ask only for the rest"
            )
        if not got:
            raise BenchError(
                f"{self._connection.who}: the budget is reached ({self._meter.told()}); {have}; raise 'budget' in the "
                "model spec and run again to go on"
            )

    def _keep_rest(self) -> None:
        """Count what was spent without any result (cancelled, or ended by an error)."""
        self._count(self._meter.spent.beyond(self._counted), {})

    def _count(self, cost: Spent, vectors: Mapping[bytes, NDArray[np.float32]]) -> None:
        """Keep vectors with what they did cost."""
        self._kept.put(self._model, vectors, cost, self._usd(cost))
        self._counted = self._counted.plus(cost)

    def _usd(self, cost: Spent) -> float | None:
        return self._price.cost(cost.input_tokens, cost.output_tokens)
