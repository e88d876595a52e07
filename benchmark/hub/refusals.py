"""What the Hub's refusals and a broken connection mean for who publishes: one line, and never the token."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from typing import Any, Final, NoReturn

from benchmark.downloads import endpoint
from benchmark.errors import BenchError
from benchmark.escape import one_line

_AGAIN: Final = "what was uploaded stays there, so run the command again"


def refuse(line: str) -> NoReturn:
    """Raise `BenchError`; for use in an expression."""
    raise BenchError(line)


def asked_pause(error: Any) -> float | None:
    """The seconds that the Hub asks to wait for with a refusal (an `HfHubHTTPError`), if it does."""
    said = str(error.response.headers.get("Retry-After", ""))
    return float(said) if said.isdigit() else None


@contextmanager
def in_words(where: str) -> Iterator[None]:
    """Whatever the client raises becomes one line.

    Raises:
        BenchError: In its place.
    """
    from httpx2 import HTTPError, InvalidURL
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except BenchError as error:
        raise BenchError(*(f"{where}: {line}" for line in error.problems)) from None
    # A RuntimeError tells which file could not be uploaded, a ValueError what is wrong with a card. The last ones are
    # what the client makes of an answer that is no JSON, or of another form than the Hub's.
    except (HTTPError, InvalidURL, HFValidationError, OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise BenchError(f"{where}: {one_line(clean(told(error)), 500)}") from None


def told(error: BaseException) -> str:
    """What an error of huggingface_hub's means for who publishes, and what to do."""
    from httpx2 import HTTPError, InvalidURL
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    chain = list(_chain(error))
    if isinstance(error, JSONDecodeError | TypeError | KeyError):
        return f"{endpoint()} does not answer as a Hub does; is HF_ENDPOINT a Hub's address?"
    if isinstance(error, ValueError) and not isinstance(error, (HFValidationError, HfHubHTTPError)):
        return str(error)  # the client's own words on a card
    refusal = next((found for found in chain if isinstance(found, HfHubHTTPError)), None)
    if refusal is not None:
        return _refusal(refusal)
    if any(isinstance(found, OfflineModeIsEnabled) for found in chain):
        return "HF_HUB_OFFLINE is set; unset it to publish"
    if isinstance(error, InvalidURL):
        return f"HF_ENDPOINT is no address: {endpoint()}"
    broken = next((found for found in chain if isinstance(found, (HTTPError, ConnectionError))), None)
    if broken is not None:
        return f"{endpoint()} cannot be reached, or the connection broke ({type(broken).__name__}); {_AGAIN}"
    if isinstance(error, HFValidationError):
        return "is no id of the Hub; one like organisation/name is expected"
    return f"{type(error).__name__}: {error}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _refusal(error: Any) -> str:
    """The meaning of an answer that is an error (an `HfHubHTTPError`)."""
    status, said = error.response.status_code, error.server_message or ""
    more = f" ({one_line(said, 200)})" if said else ""
    if status == 401:
        return f"HTTP 401: the Hub does not take the token; set HF_TOKEN to a valid one, or: hf auth login{more}"
    if status == 403:
        return (
            f"HTTP 403: this token may not write here; it needs the right to write, and the account a place in it{more}"
        )
    if status == 404:
        return f"HTTP 404: no such repository or organisation, or it is not open to this token{more}"
    if status in {409, 412}:
        return (
            f"HTTP {status}: somebody else has changed it meanwhile; nothing was committed, run the command again{more}"
        )
    if status == 429:
        pause = asked_pause(error)
        return f"HTTP 429: too many requests; {_AGAIN} {'later' if pause is None else f'in {pause:.0f} s'}"
    if status >= 500:
        return f"HTTP {status}: the Hub is out of order; {_AGAIN} later"
    return f"HTTP {status}{more}"


def clean(text: str) -> str:
    """A message without a token in it, and without the queries of addresses, which may hold signatures and keys."""
    from huggingface_hub import get_token

    known = [value for value in (get_token(), os.environ.get("HF_TOKEN", "").strip()) if value]
    for value in known:
        text = text.replace(value, "***")
    text = re.sub(r"(\w+://[^\s?\"'<>]*\?)[^\s\"'<>]+", r"\1***", text)
    return re.sub(r"\bhf_\w+|(?<=\?)X-Amz-\S+", "***", text)
