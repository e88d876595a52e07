"""Files of the Hugging Face Hub, and what its client's errors mean: the one place that asks for either.

What was fetched lies in huggingface_hub's cache, which keeps revisions apart. Where the Hub cannot be reached the cache
serves, but only the revision that was asked for, and only if it is whole.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmark.console import Reporter
from benchmark.errors import BenchError

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Repository:
    """A repository of the Hub in one revision.

    Attributes:
        id: `organisation/name`.
        revision: A commit, branch or tag; None is the branch `main`.
        kind: What it holds.
    """

    id: str
    revision: str | None = None
    kind: Literal["model", "dataset"] = "model"

    @property
    def name(self) -> str:
        """As messages call it.

        >>> Repository("org/model").name, Repository("org/model", "0123456789" * 4).name
        ('org/model@main', 'org/model@012345678901')
        """
        revision = self.revision or "main"
        return f"{self.id}@{revision[:12] if _COMMIT.fullmatch(revision) else revision}"

    @property
    def noun(self) -> str:
        """What it holds, in words."""
        return "data set" if self.kind == "dataset" else "model"

    @property
    def page(self) -> str:
        """Where a person reads about it."""
        return f"{endpoint()}/{'datasets/' if self.kind == 'dataset' else ''}{self.id}"


def endpoint() -> str:
    """The Hub's address: HF_ENDPOINT, as huggingface_hub read it when it was imported."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def snapshot(asked: Repository, patterns: Sequence[str], where: str, *, bars: bool = False) -> Path:
    """The folder with a repository's files of these patterns, from the cache or the Hub.

    Args:
        asked: What to fetch.
        patterns: As in a shell; a star passes slashes.
        where: Which file or option asks for it, for messages.
        bars: Whether huggingface_hub may draw its progress bars.

    Raises:
        BenchError: They are not in the cache and the Hub cannot be reached or does not give them.
    """
    from huggingface_hub import snapshot_download

    with hub_errors(asked, where), quietly(bars=bars):
        folder = snapshot_download(
            asked.id, repo_type=asked.kind, revision=asked.revision, allow_patterns=list(patterns)
        )
    return Path(folder)


def cached(asked: Repository) -> Path | None:
    """The folder with what was fetched of a repository before; None where nothing was. The Hub is not asked."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(asked.id, repo_type=asked.kind, revision=asked.revision, local_files_only=True)
    except LocalEntryNotFoundError:
        return None
    return Path(folder)


@contextmanager
def hub_errors(asked: Repository | None, where: str = "") -> Iterator[None]:
    """Whatever huggingface_hub raises becomes one line.

    Args:
        asked: The repository in question; None for a search.
        where: Which file or option asks for it.

    Raises:
        BenchError: In place of what was raised.
    """
    from httpx2 import HTTPError
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    # The last ones are what the client makes of an answer that is no JSON, or of another form than the Hub's.
    except (HTTPError, HFValidationError, OSError, ValueError, TypeError, KeyError) as error:
        parts = (where, asked.name if asked else "", why(error, asked))
        raise BenchError(": ".join(part for part in parts if part)) from None


def why(error: Exception, asked: Repository | None = None) -> str:
    """What an error of huggingface_hub means, in a few words that hold nothing of request or answer."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import (
        FileMetadataError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    # Where a download fails, the client looks into its cache first; the cause tells what the Hub said.
    cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else error
    offline = " (HF_HUB_OFFLINE is set)" if isinstance(cause, OfflineModeIsEnabled) else ""
    if isinstance(cause, HfHubHTTPError):
        return f"the Hub says: {_said(cause, asked)}"
    if isinstance(cause, FileMetadataError):
        return f"{endpoint()} does not answer as a Hub does"
    if isinstance(error, LocalEntryNotFoundError):
        return f"is not in the local cache and {endpoint()} cannot be reached{offline}"
    if isinstance(error, HTTPError | ConnectionError):
        return f"{endpoint()} cannot be reached{offline or f' ({type(error).__name__})'}"
    if isinstance(error, HFValidationError):
        return "is no id of the Hub; one like organisation/name is expected"
    if isinstance(error, OSError):
        return f"cannot be downloaded: {error}"
    return f"{endpoint()} does not answer as a Hub does"


def _said(error: Any, asked: Repository | None) -> str:
    """The meaning of an answer that is an error (an `HfHubHTTPError`)."""
    from huggingface_hub.errors import GatedRepoError, RevisionNotFoundError

    status = getattr(error.response, "status_code", 0)
    noun = asked.noun if asked else "page"
    if asked is not None and isinstance(error, GatedRepoError):
        return f"the {noun} is gated; accept its licence on {asked.page} and set HF_TOKEN to a token of that account"
    if isinstance(error, RevisionNotFoundError):
        return f"no such revision of the {noun}"
    if status == 429:
        pause = str(error.response.headers.get("Retry-After", ""))
        when = f"in {pause} s" if pause.isdigit() else "later"
        return f"too many requests (HTTP 429); try again {when}"
    if status not in {401, 403, 404}:
        return f"HTTP {status}; try again later" if status >= 500 else f"HTTP {status}"
    if asked is None:
        return f"HTTP {status}" + ("" if status == 404 else "; is HF_TOKEN a valid token?")
    if asked.kind == "model":
        way = f"accept its licence on {asked.page}, where it has one to accept, and set HF_TOKEN"
    else:
        way = "set HF_TOKEN"
    return f"no such {noun} or revision, or it is not open to you ({way})"


@contextmanager
def quietly(*, bars: bool = False, reporter: Reporter | None = None) -> Iterator[None]:
    """No bars and no log of huggingface_hub's own while it is asked for something.

    Args:
        bars: Whether its progress bars stay.
        reporter: Is told, once, when an answer failed and the client asks again.
    """
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    again = _Again(reporter)
    loggers = [logging.getLogger(f"huggingface_hub.{name}") for name in ("utils._http", "_snapshot_download")]
    hide = not bars and not are_progress_bars_disabled()
    if hide:
        disable_progress_bars()
    for logger in loggers:
        logger.addFilter(again)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(again)
        if hide:
            enable_progress_bars()


class _Again(logging.Filter):
    """Drops the client's warnings, each of several lines; the first becomes a note."""

    def __init__(self, reporter: Reporter | None) -> None:
        super().__init__()
        self._reporter = reporter

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        if self._reporter is not None and record.name.endswith("_http"):
            self._reporter.note("the Hub does not answer as it should; trying again, for half a minute at most")
            self._reporter = None
        return False
