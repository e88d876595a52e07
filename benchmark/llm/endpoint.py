"""Any OpenAI-compatible chat endpoint, through the `openai` package: concurrent, patient, quick to say what is wrong."""

import os
import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from benchmark.errors import BenchError
from benchmark.llm.model import Answer, Answered, ChatRequest, Failure, Price
from benchmark.specs import Endpoint

if TYPE_CHECKING:
    from openai import APIStatusError, OpenAI

_LONGEST_WAIT: Final = 60.0
_CONNECT_SECONDS: Final = 10.0


class _RetryError(Exception):
    """A request that may do better later."""

    def __init__(self, reason: str, wait: float | None = None, dead: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.wait, self.dead = reason, wait, dead


class EndpointLanguageModel:
    """An endpoint; the key is read from the environment when the first answer is needed, and told to nobody.

    The first request goes alone and decides: an endpoint that is not there, refuses the key or does not know the
    model ends the run at once with one line. Later on, what may pass (timeouts, 429, 5xx) is tried again with growing
    pauses, as `Retry-After` says where it is sent; what stays wrong is a `Failure` of that request alone.
    """

    def __init__(self, spec: Endpoint) -> None:
        self._spec = spec
        self._who = f"the language model at {spec.base_url}"
        self._key = ""
        self._limit = "max_tokens"
        self._stop = threading.Event()
        self._jitter = random.Random()  # noqa: S311 (it only spreads retries over time)

    @property
    def identity(self) -> str:
        """Endpoint and model."""
        return f"{self._spec.base_url.rstrip('/')}#{self._spec.model}"

    @property
    def price(self) -> Price:
        """As the configuration says; not known where it does not."""
        return Price(self._spec.usd_per_million_input, self._spec.usd_per_million_output)

    def answers(self, requests: Sequence[ChatRequest]) -> Iterator[Answered]:
        """Ask, the first request alone, the others concurrently.

        Raises:
            BenchError: The key is not set; the endpoint cannot be reached; it refuses the key or the model.
        """
        if not requests:
            return
        client = self._open()
        self._stop.clear()
        yield Answered(0, self._ask(client, requests[0], first=True))
        pool = ThreadPoolExecutor(self._spec.concurrency, thread_name_prefix="llm")
        try:
            futures = {pool.submit(self._ask, client, requests[i]): i for i in range(1, len(requests))}
            yield from self._collect(futures)
        finally:
            self._stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            client.close()

    def _collect(self, futures: dict["Future[Answer | Failure]", int]) -> Iterator[Answered]:
        """Results as they come; after a fatal one those under way are still handed on, since they were paid for."""
        fatal: BenchError | None = None
        for future in as_completed(futures):
            if future.cancelled():
                continue
            error = future.exception()
            if error is None:
                yield Answered(futures[future], future.result())
            elif not isinstance(error, BenchError):
                raise error
            elif fatal is None:
                fatal = error
                self._stop.set()
                for other in futures:
                    other.cancel()
        if fatal is not None:
            raise fatal

    def _open(self) -> "OpenAI":
        from openai import OpenAI, Timeout

        name = self._spec.api_key_env
        self._key = os.environ.get(name, "").strip() if name else ""
        if name and not self._key:
            raise BenchError(f"{self._who}: the environment variable {name} is not set; it must hold the key")
        timeout = Timeout(self._spec.timeout, connect=min(_CONNECT_SECONDS, self._spec.timeout))
        # Local servers want no key, the client wants one all the same.
        return OpenAI(base_url=self._spec.base_url, api_key=self._key or "none", timeout=timeout, max_retries=0)

    def _ask(self, client: "OpenAI", request: ChatRequest, first: bool = False) -> Answer | Failure:
        reason = ""
        for attempt in range(self._spec.retries + 1):
            try:
                return self._once(client, request, first)
            except _RetryError as again:
                reason = again.reason
                if first and again.dead:
                    raise BenchError(f"{self._who}: {reason}") from None
                wait = again.wait if again.wait is not None else 0.5 * 2.0**attempt
                if wait > _LONGEST_WAIT and again.wait is not None:
                    raise BenchError(f"{self._who}: {reason}, and asks to wait {wait:.0f} s; run again later") from None
            if attempt < self._spec.retries and self._stop.wait(
                min(wait, _LONGEST_WAIT) * self._jitter.uniform(1.0, 1.5)
            ):
                return Failure("stopped")
        if first:
            raise BenchError(f"{self._who}: {reason}, {self._spec.retries + 1} times in a row")
        return Failure(reason)

    def _once(self, client: "OpenAI", request: ChatRequest, first: bool) -> Answer | Failure:
        """One try.

        Raises:
            _RetryError: It may do better later.
            BenchError: No request will do better.
        """
        import openai

        try:
            completion = client.chat.completions.create(**self._parameters(request))
        except openai.APITimeoutError:
            raise _RetryError(f"no answer within {self._spec.timeout:g} s ('timeout')", dead=True) from None
        except openai.APIConnectionError as error:
            cause = self._clean(str(error.__cause__ or error))
            raise _RetryError(f"cannot be reached ({cause})", dead=True) from None
        except openai.APIStatusError as error:
            return self._refused(error, first)
        except (openai.OpenAIError, ValueError) as error:
            return self._odd(first, self._clean(str(error)))
        try:
            text = completion.choices[0].message.content
            usage = completion.usage
        except (AttributeError, IndexError, TypeError):
            return self._odd(first, "its reply holds no choices")
        if not isinstance(text, str) or not text.strip():
            return Failure("empty answer")
        return Answer(text, usage.prompt_tokens if usage else None, usage.completion_tokens if usage else None)

    def _parameters(self, request: ChatRequest) -> dict[str, Any]:
        """What is sent; a prefilled assistant's turn is not, since endpoints do not continue it."""
        parameters: dict[str, Any] = {
            "model": self._spec.model,
            "messages": [message._asdict() for message in request.messages],
            "temperature": request.temperature,
            self._limit: request.max_tokens,
        }
        return parameters | ({"stop": list(request.stop)} if request.stop else {})

    def _refused(self, error: "APIStatusError", first: bool) -> Failure:
        """Sort out an HTTP status; the endpoint's own words are left out where they may repeat the key."""
        status, said = error.status_code, self._clean(str(error.message))
        if status in {401, 403}:
            name = self._spec.api_key_env
            hint = f"check the key in {name}" if name else "it wants a key: name its variable in 'api_key_env'"
            raise BenchError(f"{self._who}: refused (HTTP {status}); {hint}") from None
        if status == 404:
            raise BenchError(
                f"{self._who}: HTTP 404: no model '{self._spec.model}' there, or 'base_url' is not the API's root "
                f"(often it ends in /v1): {said}"
            ) from None
        if status == 429 and error.code == "insufficient_quota":
            raise BenchError(f"{self._who}: the account's quota is used up") from None
        if status == 400 and self._limit == "max_tokens" and "max_completion_tokens" in said:
            self._limit = "max_completion_tokens"
            raise _RetryError(f"HTTP {status}: {said}", wait=0.0) from None
        if status in {408, 409, 425, 429} or status >= 500:
            raise _RetryError(f"HTTP {status}", wait=_retry_after(error.response.headers)) from None
        if first:
            raise BenchError(f"{self._who}: HTTP {status}: {said}") from None
        return Failure(f"HTTP {status}")

    def _odd(self, first: bool, what: str) -> Failure:
        if first:
            raise BenchError(f"{self._who}: does not answer like an OpenAI-compatible endpoint: {what}") from None
        return Failure("not an OpenAI-compatible answer")

    def _clean(self, text: str) -> str:
        """An error's text in one short line, without the key."""
        if self._key:
            text = text.replace(self._key, "***")
        return " ".join(text.split())[:200]


def _retry_after(headers: Any) -> float | None:
    """Seconds that the endpoint asks to wait, or None; a date counts from now."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
