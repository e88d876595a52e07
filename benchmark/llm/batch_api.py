"""OpenAI's Batch API as far as it is needed here, and the ledger of the batches that are on their way."""

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from benchmark.errors import BenchError
from benchmark.files import dump_json, read_json, shown, write_text
from benchmark.llm.transport import Transport

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types import Batch

T = TypeVar("T")
_CONNECT_SECONDS: Final = 10.0
_FILE_SECONDS: Final = 600.0
_ENDED: Final = {"completed", "failed", "expired", "cancelled"}


class State(NamedTuple):
    """How far a batch has come.

    Attributes:
        batch: Its id.
        status: The endpoint's word, e.g. "in_progress".
        outputs: Ids of the files that hold its results.
        reason: Why it failed, or "".
    """

    batch: str
    status: str
    outputs: tuple[str, ...]
    reason: str

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.status in _ENDED


class BatchApi(Transport):
    """The files and batches of one endpoint; what may pass is tried again as often as the specification says."""

    _client: "OpenAI"

    def open(self) -> None:
        """Read the key and make a client.

        Raises:
            BenchError: The key's variable is not set, the address is none, or the environment's proxy or certificates
                cannot be used.
        """
        from openai import DefaultHttpxClient, OpenAI, Timeout

        self.read_key()
        timeout = Timeout(self._spec.timeout, connect=min(_CONNECT_SECONDS, self._spec.timeout))
        http_client = self._with_settings(lambda: DefaultHttpxClient(timeout=timeout))
        self._client = self._with_address(
            lambda: OpenAI(
                base_url=self._spec.base_url,
                api_key=self._key or "none",
                timeout=timeout,
                max_retries=self._spec.retries,
                http_client=http_client,
            )
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def upload(self, content: bytes) -> str:
        """Send a file of requests; returns its id.

        Raises:
            BenchError: It cannot be sent, as for all methods here.
        """
        client = self._client.with_options(timeout=_FILE_SECONDS)
        return self._call(
            lambda: _text(client.files.create(file=("requests.jsonl", content), purpose="batch").id),
            "it has no Batch API; take 'batch' out of the benchmark file",
        )

    def create(self, file: str) -> State:
        """Begin a batch; sent once, since a second try might begin a second one."""
        client = self._client.with_options(max_retries=0)
        return self._call(
            lambda: _state(
                client.batches.create(input_file_id=file, endpoint="/v1/chat/completions", completion_window="24h")
            ),
            "it has no Batch API; take 'batch' out of the benchmark file",
        )

    def find(self, file: str) -> State | None:
        """The batch that was begun with a file, if it is among the latest hundred."""
        return self._call(
            lambda: next(
                (_state(batch) for batch in self._client.batches.list(limit=100).data if batch.input_file_id == file),
                None,
            ),
            "it does not list its batches",
        )

    def state(self, batch: str, ledger: Path) -> State:
        """How far a batch has come; `ledger` is named where the endpoint does not know it."""
        return self._call(
            lambda: _state(self._client.batches.retrieve(batch)),
            f"it does not know {batch}; is the key another one? If the batch is gone, {_forget(batch, ledger)}",
        )

    def download(self, file: str, batch: str, ledger: Path) -> bytes:
        """The content of a file of results of a batch; `ledger` is named where it is gone."""
        client = self._client.with_options(timeout=_FILE_SECONDS)
        return self._call(
            lambda: client.files.content(file).content,
            f"the file {file}, which held results of {batch}, is gone; {_forget(batch, ledger)}",
        )

    def clean(self, text: str) -> str:
        """The endpoint's words in one short line, without the key."""
        return self._clean(text)

    def _call(self, call: Callable[[], T], absent: str) -> T:
        """Do it.

        Raises:
            BenchError: It cannot be done; `absent` says what HTTP 404 means.
        """
        import openai

        try:
            return call()
        except (openai.OpenAIError, AttributeError, TypeError, ValueError) as error:
            caught = error  # a reply of another form becomes an object without the fields that are read here
        # Raised outside of the handler, so that the library's error, and the key in it, is not carried along.
        raise self._told(caught, absent)

    def _told(self, error: Exception, absent: str) -> BenchError:
        import openai

        if isinstance(error, openai.NotFoundError):
            return BenchError(f"{self.who}: HTTP 404: {absent}")
        if isinstance(error, openai.APITimeoutError):
            return BenchError(f"{self.who}: no answer within {self._spec.timeout:g} s; run again to go on")
        if isinstance(error, openai.APIStatusError | openai.APIConnectionError):
            try:
                detail = self._trouble(error).detail
            except BenchError as fatal:
                return fatal
            return BenchError(f"{self.who}: {detail}; run again to go on")
        return BenchError(f"{self.who}: does not answer like OpenAI's Batch API; is 'base_url' the API's root?")


def _forget(batch: str, ledger: Path) -> str:
    return f"take {batch} out of {shown(ledger)} (or delete that file), and its requests are sent once more"


def _text(value: Any) -> str:
    """A text that a reply must hold.

    Raises:
        ValueError: It does not.
    """
    if not (isinstance(value, str) and value):
        raise ValueError("no text")
    return value


def _state(batch: "Batch") -> State:
    outputs = tuple(file for file in (batch.output_file_id, batch.error_file_id) if file)
    errors = batch.errors.data if batch.errors and batch.errors.data else []
    reason = next((str(error.message or error.code) for error in errors if error.message or error.code), "")
    return State(_text(batch.id), _text(batch.status), outputs, reason)


@dataclass
class Entry:
    """A batch whose results have not been taken yet.

    Attributes:
        model: Identity of the model that it asks.
        file: Id of the uploaded requests.
        batch: Its id; "" while it is being begun.
        keys: Keys of its requests.
    """

    model: str
    file: str
    batch: str
    keys: list[str]


class Ledger:
    """The batches that are on their way, in a JSON file that is replaced in one step.

    Raises:
        BenchError: The file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries = [self._read(value) for value in self._values()]

    def of(self, model: str, keys: Collection[str]) -> list[Entry]:
        """The batches of a model that hold any of these keys."""
        wanted = set(keys)
        return [entry for entry in self._entries if entry.model == model and not wanted.isdisjoint(entry.keys)]

    def add(self, entry: Entry) -> None:
        """Remember a batch."""
        self._entries.append(entry)
        self.save()

    def keep(self, entry: Entry, keys: list[str]) -> None:
        """Keep a batch for these results alone; without any, forget it."""
        if keys == entry.keys:
            return
        entry.keys = keys
        if not keys:
            self._entries.remove(entry)
        self.save()

    def close(self, entry: Entry) -> None:
        """Forget a batch: there will be no results."""
        self.keep(entry, [])

    def save(self) -> None:
        """Write it; needed after a change of an entry."""
        write_text(self.path, dump_json({"batches": [asdict(entry) for entry in self._entries]}))

    def _values(self) -> list[Any]:
        values = read_json(self.path).get("batches") if self.path.is_file() else []
        return values if isinstance(values, list) else [None]

    def _read(self, value: Any) -> Entry:
        try:
            entry = Entry(**value)
            fine = all(isinstance(text, str) for text in (entry.model, entry.file, entry.batch, *entry.keys))
        except TypeError:
            fine = False
        if not fine:
            raise BenchError(
                f"{shown(self.path)}: is not a list of batches; delete it, and what is on its way is sent once more"
            )
        return entry
