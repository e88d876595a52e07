"""One try at any OpenAI-compatible endpoint: the key, the client, and what each kind of trouble means."""

import asyncio
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from benchmark.errors import BenchError
from benchmark.files import Json
from benchmark.llm.completions import Refusal, read_refusals
from benchmark.llm.limits import asked_wait
from benchmark.llm.model import A, Failure, Q
from benchmark.specs import Remote

if TYPE_CHECKING:
    from httpx2 import Response
    from openai import APIConnectionError, APIStatusError, AsyncOpenAI

_CONNECT_SECONDS: Final = 10.0
_KEEPALIVE_SECONDS: Final = 30.0
_OVERLOADED: Final = {429, 503, 529}
ABOUT_THE_REQUEST: Final = frozenset({400, 413, 422})
"""HTTP statuses that may lie with what one request holds."""
_SETTINGS: Final = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
T = TypeVar("T")


class TroubleError(Exception):
    """A try brought no answer.

    Attributes:
        reason: As in `Failure`.
        detail: The same with what the endpoint said, for a message about the whole run.
        passing: Whether another try may do better.
        decisive: Whether it concerns the endpoint as a whole, so that it ends the run when a first request meets it.
        throttled: Whether the endpoint is there and only wants to be asked later.
        overloaded: Whether the endpoint has too much to do.
        wait: Seconds that the endpoint asks to wait, or None.
        unknown: Whether tokens may have been paid for.
    """

    def __init__(self, reason: str, detail: str = "", **more: Any) -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail or reason
        self.passing: bool = more.get("passing", True)
        self.decisive: bool = more.get("decisive", False)
        self.throttled: bool = more.get("throttled", False)
        self.overloaded: bool = more.get("overloaded", False)
        self.wait: float | None = more.get("wait")
        self.unknown: bool = more.get("unknown", False)


class Connection(ABC, Generic[Q, A]):
    """Speaks to one endpoint, in whatever way a kind of request wants it.

    Args:
        spec: Where the endpoint is.
        who: The endpoint, for messages.

    Attributes:
        who: As given.
        proven: Whether it has answered at all, so that no request need go ahead of the others any more.
    """

    def __init__(self, spec: Remote, who: str) -> None:
        self.who = who
        self.proven = False
        self._remote = spec
        self._key = ""

    @abstractmethod
    async def ask(self, client: "AsyncOpenAI", request: Q) -> A | Failure:
        """One try.

        Raises:
            TroubleError: There is no answer.
            BenchError: No request will do better.
        """

    def read_key(self) -> None:
        """Read the key from the environment.

        Raises:
            BenchError: The variable is not set, or holds no key.
        """
        name = self._remote.api_key_env
        self._key = os.environ.get(name, "").strip() if name else ""
        if name and not self._key:
            raise BenchError(f"{self.who}: the environment variable {name} is not set; it must hold the key")
        if not (self._key.isascii() and self._key.isprintable()):
            raise BenchError(f"{self.who}: the environment variable {name} holds characters that no key has")

    def client(self) -> "AsyncOpenAI":
        """A client with a connection for each request that may be under way; an asynchronous context manager.

        Raises:
            BenchError: The address is none, or the environment's proxy or certificates cannot be used.
        """
        from httpx2 import Limits
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout

        limits = Limits(
            max_connections=self._remote.concurrency,
            max_keepalive_connections=self._remote.concurrency,
            keepalive_expiry=_KEEPALIVE_SECONDS,
        )
        # A try as a whole is timed in `ask`: an endpoint that sends a byte now and then would never be late otherwise.
        timeout = Timeout(None, connect=min(_CONNECT_SECONDS, self._remote.timeout))
        http_client = self._with_settings(lambda: DefaultAsyncHttpxClient(limits=limits, timeout=timeout))
        return self._with_address(
            lambda: AsyncOpenAI(
                base_url=self._remote.base_url,
                api_key=self._key or "none",  # local servers want no key, the client wants one all the same
                timeout=timeout,
                max_retries=0,
                http_client=http_client,
            )
        )

    def _with_settings(self, make: Callable[[], T]) -> T:
        """Make what reads proxies and certificates from the environment.

        Raises:
            BenchError: They cannot be used. Their values are not told: an address may hold a password.
        """
        from httpx2 import InvalidURL

        try:
            return make()
        except (ImportError, OSError, ValueError, InvalidURL) as error:
            said = self._clean(str(error)) if isinstance(error, ImportError | OSError) else "not understood"
        names = [name for name in _SETTINGS if os.environ.get(name) or os.environ.get(name.lower())]
        raise BenchError(
            f"{self.who}: the environment's settings for proxies and certificates ({', '.join(names) or 'none found'}) "
            f"cannot be used: {said}"
        )

    def _with_address(self, make: Callable[[], T]) -> T:
        """Make what takes the endpoint's address.

        Raises:
            BenchError: It is none.
        """
        from httpx2 import InvalidURL

        try:
            return make()
        except (InvalidURL, ValueError) as error:
            raise BenchError(f"{self.who}: 'base_url' is no address ({error})") from None

    async def _post(self, client: "AsyncOpenAI", path: str, body: Json) -> "Response | Exception":
        """Send once. Errors are returned: raised from within, ours would carry them along, and the key with them."""
        import httpx2
        import openai

        try:
            async with asyncio.timeout(self._remote.timeout):
                return await client.post(path, body=body, cast_to=httpx2.Response)
        except (TimeoutError, openai.APIConnectionError, openai.APIStatusError) as error:
            return error

    def _read(self, response: "Response", read: Callable[[Any], T]) -> T:
        """What `read` finds in the JSON of a reply; it raises ValueError where that is no such thing at all.

        Raises:
            TroubleError: There is no answer.
        """
        try:
            return read(json.loads(response.content))
        except (json.JSONDecodeError, UnicodeDecodeError):
            what = "its reply is no JSON"
            broken = response.text.strip()[:1] in {"", "{"}
        except ValueError as error:
            what, broken = str(error), False
        if broken:
            raise TroubleError("broken JSON", unknown=True)
        odd = f"does not answer like an OpenAI-compatible endpoint: {what}"
        raise TroubleError("not an OpenAI-compatible answer", odd, decisive=True, unknown=True)

    def _trouble(self, error: Exception) -> TroubleError:
        """What an error means.

        Raises:
            BenchError: No request will do better.
        """
        import openai

        if isinstance(error, openai.APIStatusError):
            return self._refused(error)
        if isinstance(error, openai.APIConnectionError):
            return self._unconnected(error)
        return TroubleError(f"no answer within {self._remote.timeout:g} s", unknown=True)

    def _unconnected(self, error: "APIConnectionError") -> TroubleError:
        """Nobody there, or somebody who hung up."""
        import httpx2

        cause = error.__cause__
        if isinstance(cause, httpx2.ReadError | httpx2.WriteError | httpx2.CloseError | httpx2.RemoteProtocolError):
            return TroubleError("connection lost", unknown=True)
        text = f"no connection within {_CONNECT_SECONDS:g} s" if isinstance(cause, httpx2.TimeoutException) else ""
        detail = f"cannot be reached ({self._clean(text or str(cause or error))})"
        return TroubleError("cannot be reached", detail, decisive=True)

    def _refused(self, error: "APIStatusError") -> TroubleError:
        """Sort out an HTTP status.

        Raises:
            BenchError: No request will do better.
        """
        status, said = error.status_code, self._clean(words_of(error))
        if status in {401, 403}:
            name = self._remote.api_key_env
            hint = f"check the key in {name}" if name else "it wants a key: name its variable in 'api_key_env'"
            raise BenchError(f"{self.who}: refused (HTTP {status}): {said}; {hint}")
        if status == 404:
            raise BenchError(
                f"{self.who}: HTTP 404: no model '{self._remote.model}' there, or 'base_url' is not the API's root "
                f"(often it ends in /v1): {said}"
            )
        if status == 402 or (status == 429 and "insufficient_quota" in {error.code, error.type}):
            raise BenchError(f"{self.who}: the account's quota is used up (HTTP {status})")
        passing = status in {408, 409, 425, 429} or status >= 500
        return TroubleError(
            f"HTTP {status}",
            f"HTTP {status}: {said}",
            passing=passing,
            decisive=not passing and status not in ABOUT_THE_REQUEST,
            throttled=status == 429,
            overloaded=status in _OVERLOADED,
            wait=asked_wait(error.response.headers) if passing else None,
        )

    def _clean(self, text: str) -> str:
        """An error's text in one short line, without the key."""
        if self._key:
            text = text.replace(self._key, "***")
        return " ".join(text.split())[:200]


def refusals_of(error: "APIStatusError") -> list[Refusal]:
    """What an endpoint said about a request that it refused."""
    try:
        return read_refusals(json.loads(error.response.content))
    except ValueError:
        return []


def words_of(error: "APIStatusError") -> str:
    """What the endpoint said; never the whole reply, which may echo what was sent."""
    told = [
        words if parameter in words else f"{parameter}: {words}"
        for parameter, words in refusals_of(error)
        if words.strip()
    ]
    return "; ".join(told) or "no reason given"
