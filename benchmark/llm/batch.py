"""OpenAI's Batch API: everything in one go, at half the price, within a day; taken up again by the batch's id."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmark.console import SILENT, Reporter
from benchmark.errors import BenchError
from benchmark.files import Json
from benchmark.llm.batch_api import BatchApi, Entry, Ledger, State
from benchmark.llm.completions import Manner, chat_body, read_completion
from benchmark.llm.endpoint import EndpointLanguageModel
from benchmark.llm.model import UNLIMITED, Answer, Answered, ChatRequest, Failure, Meter, Price
from benchmark.specs import Endpoint

_MOST_REQUESTS = 50_000
_MOST_BYTES = 150_000_000
_SHORTEST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_SHARE_OF_PRICE: Final = 0.5


class BatchLanguageModel:
    """An endpoint that is asked through batches; its identity, and so its answers' keys, are those of the endpoint.

    A batch is remembered in the ledger before it begins, and forgotten when all its results were taken; those that
    nobody wants now wait there for a later run. Whoever is killed
    in between finds it there by the keys of its requests, and waits on in place of sending them again. A batch cannot
    find out what the endpoint refuses, so requests are sent as the strictest endpoints want them.

    Args:
        spec: The endpoint.
        ledger: The JSON file of the batches that are on their way.
        reporter: Told whenever a batch's status has changed.
        pause: Waits for some seconds.

    Attributes:
        one_round: A call of `answers` may last a day, so a run should not send what a budget held back in more and
            more small batches, one after the other, but leave it to the next run.
    """

    one_round: Final = True

    def __init__(
        self,
        spec: Endpoint,
        ledger: Path,
        reporter: Reporter = SILENT,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._spec, self._path, self._reporter, self._pause = spec, ledger, reporter, pause
        self._endpoint = EndpointLanguageModel(spec)
        structured = "json_schema" if spec.structured == "auto" else spec.structured
        self._manner = Manner(structured, yielding=False, limit="max_completion_tokens")

    @property
    def identity(self) -> str:
        """That of the endpoint."""
        return self._endpoint.identity

    @property
    def price(self) -> Price:
        """Half of the endpoint's."""
        read, written = self._endpoint.price
        return Price(
            None if read is None else read * _SHARE_OF_PRICE, None if written is None else written * _SHARE_OF_PRICE
        )

    def answers(self, requests: Sequence[ChatRequest], meter: Meter = UNLIMITED) -> Iterator[Answered]:
        """Send what is not on its way yet, wait, and hand on the results; equal requests have one, at the first place.

        Raises:
            BenchError: The key is not set or refused, the endpoint cannot be reached or has no Batch API, the quota is
                used up, or the ledger is damaged. The batches go on; run again to take their results.
        """
        if not requests:
            return
        api, ledger = BatchApi(self._spec), Ledger(self._path)
        api.open()
        try:
            run = _Run(self, api, ledger, requests, meter)
            yield from run.results()
        finally:
            api.close()

    def line(self, key: str, request: ChatRequest) -> bytes:
        """A request's line in the file that is uploaded."""
        body = chat_body(self._spec, request, self._manner)
        line = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}
        return (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "replace")

    def wait(self, seconds: float) -> None:
        """Let time pass between two looks at a batch."""
        self._pause(seconds)

    def note(self, text: str) -> None:
        """Tell the user."""
        self._reporter.note(text)


class _Part(NamedTuple):
    """A file of requests that keeps the limits of the Batch API."""

    keys: list[str]
    content: bytes


def _parts(lines: Iterator[tuple[str, bytes]]) -> Iterator[_Part]:
    keys: list[str] = []
    content = bytearray()
    for key, line in lines:
        if keys and (len(keys) >= _MOST_REQUESTS or len(content) + len(line) > _MOST_BYTES):
            yield _Part(keys, bytes(content))
            keys, content = [], bytearray()
        keys.append(key)
        content += line
    if keys:
        yield _Part(keys, bytes(content))


class _Run:
    """One sequence of requests on its way."""

    def __init__(
        self, model: BatchLanguageModel, api: BatchApi, ledger: Ledger, requests: Sequence[ChatRequest], meter: Meter
    ) -> None:
        self._model, self._api, self._ledger = model, api, ledger
        self._requests, self._meter = requests, meter
        # Equal requests have one key; a batch takes each key once.
        self._places: dict[str, int] = {}
        for place, request in enumerate(requests):
            self._places.setdefault(request.key(model.identity), place)
        self._told: dict[str, str] = {}

    def results(self) -> Iterator[Answered]:
        """All of them, batch by batch as they end."""
        entries = self._under_way()
        entries += self._sent({key for entry in entries for key in entry.keys})
        seconds = _SHORTEST_PAUSE
        while entries:
            for entry in list(entries):
                state = self._api.state(entry.batch, self._ledger.path)
                self._tell(entry, state)
                if state.ended:
                    entries.remove(entry)
                    yield from self._taken(entry, state)
                    seconds = _SHORTEST_PAUSE
            if entries:
                self._model.wait(seconds)
                seconds = min(seconds * 1.5, _LONGEST_PAUSE)

    def _under_way(self) -> list[Entry]:
        """The batches of an earlier run; one that was killed while it began a batch may not have learned its id."""
        entries = []
        for entry in self._ledger.of(self._model.identity, self._places):
            if not entry.batch:
                found = self._api.find(entry.file)
                if found is None:
                    self._ledger.close(entry)
                    continue
                entry.batch = found.batch
                self._ledger.save()
            entries.append(entry)
            for key in entry.keys:
                if key in self._places:
                    # Sent already: whatever the meter says, it will have to be paid for.
                    self._meter.reserve(self._requests[self._places[key]])
        return entries

    def _sent(self, under_way: set[str]) -> list[Entry]:
        """Send what is not on its way, as far as the meter lets it."""
        entries = []
        for part in _parts(self._lines(under_way)):
            entry = Entry(self._model.identity, self._api.upload(part.content), "", part.keys)
            self._ledger.add(entry)
            entry.batch = self._api.create(entry.file).batch
            self._ledger.save()
            entries.append(entry)
        return entries

    def _lines(self, under_way: set[str]) -> Iterator[tuple[str, bytes]]:
        for key, place in self._places.items():
            if key in under_way:
                continue
            request = self._requests[place]
            if not self._meter.reserve(request):
                return
            yield key, self._model.line(key, request)

    def _tell(self, entry: Entry, state: State) -> None:
        if self._told.get(entry.batch) == state.status:
            return
        self._told[entry.batch] = state.status
        waiting = "" if state.ended else "; this may take a day, stop it at will and run again"
        status = state.status.replace("_", " ")
        self._model.note(f"{entry.batch}: {len(entry.keys):,} requests, {status}{waiting}")

    def _taken(self, entry: Entry, state: State) -> Iterator[Answered]:
        """The wanted results of a batch that has ended; the ledger keeps the others that it has.

        What has no result fails for the batch's reason. Whoever asks has kept a result when the next one is fetched.
        """
        wanted = {key: self._places[key] for key in entry.keys if key in self._places}
        left = dict.fromkeys(entry.keys)
        others: set[str] = set()
        refusal = ""
        try:
            for key, line in self._result_lines(entry, state):
                result = read_line(line)
                if key not in wanted:
                    others.update([key] * _paid(result))
                    continue
                if isinstance(result, Failure) and not refusal and (refusal := self._api.clean(_words(line))):
                    self._model.note(f"{entry.batch}: a request failed: {result.reason}: {refusal}")
                yield self._settled(wanted.pop(key), result)
                del left[key]
            for key, place in wanted.items():
                yield self._settled(place, Failure(self._reason(state)))
                del left[key]
            left = {key: None for key in left if key in others}
        finally:
            self._ledger.keep(entry, list(left))

    def _settled(self, place: int, result: Answer | Failure) -> Answered:
        self._meter.settle(self._requests[place], result)
        return Answered(place, result)

    def _result_lines(self, entry: Entry, state: State) -> Iterator[tuple[str, Json]]:
        """Key and line of each result; a line that is none leaves its request without a result.

        Raises:
            BenchError: A file is gone, or holds nothing but such lines.
        """
        unseen = set(entry.keys)
        for file in state.outputs:
            content = self._api.download(file, entry.batch, self._ledger.path)
            lines = [line for line in map(_object, content.split(b"\n")) if "custom_id" in line]
            if content.strip() and not lines:
                raise BenchError(f"{self._api.who}: the file {file} holds no results of a batch; run again to go on")
            for line in lines:
                if (key := str(line["custom_id"])) in unseen:
                    unseen.remove(key)
                    yield key, line

    def _reason(self, state: State) -> str:
        if state.status == "completed":
            return "no result in the batch"
        words = {"expired": "the batch expired", "cancelled": "the batch was cancelled"}.get(
            state.status, "the batch failed"
        )
        return words + (f": {self._api.clean(state.reason)}" if state.reason else "")


def _object(text: bytes) -> Json:
    """The JSON object in a line, or an empty one."""
    try:
        line = json.loads(text) if text.strip() else None
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}


def _paid(result: Answer | Failure) -> bool:
    return isinstance(result, Answer) or (result.input_tokens, result.output_tokens) != (0, 0)


def read_line(line: Mapping[str, Any]) -> Answer | Failure:
    """The result in a line of a batch's output.

    >>> read_line({"custom_id": "k", "response": None, "error": {"code": "batch_expired"}}).reason
    'batch expired'
    """
    response, error = line.get("response"), line.get("error")
    if isinstance(response, dict) and response.get("status_code") == 200:
        try:
            return read_completion(response.get("body"))
        except ValueError:
            return Failure("not an OpenAI-compatible answer")
    if isinstance(response, dict) and isinstance(response.get("status_code"), int):
        return Failure(f"HTTP {response['status_code']}")
    code = error.get("code") if isinstance(error, dict) else None
    return Failure(code.replace("_", " ")[:60] if isinstance(code, str) and code else "no result in the batch")


def _words(line: Mapping[str, Any]) -> str:
    """What the endpoint said about a request that failed."""
    response = line.get("response")
    body = response.get("body") if isinstance(response, dict) else None
    error = (body.get("error") if isinstance(body, dict) else None) or line.get("error")
    return str(error.get("message") or "") if isinstance(error, dict) else ""
