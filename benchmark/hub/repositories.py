"""A repository on the Hugging Face Hub to write to: made private, compared by hash, changed in one commit.

Large files are sent first, by the client, which asks the Hub what it has already: what arrived before a broken
connection or a kill is not sent again. The commit follows and brings everything at once, on the state that was
compared; if somebody else committed meanwhile, the Hub refuses it.
"""

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from benchmark.console import Reporter
from benchmark.downloads import endpoint, quietly
from benchmark.escape import one_line
from benchmark.hub.parcel import Item, Parcel, RepositoryKind
from benchmark.hub.refusals import asked_pause, clean, in_words, refuse

T = TypeVar("T")
_PREFIX: Final = {"model": "", "dataset": "datasets/", "space": "spaces/"}
_WAITS: Final = (1.0, 2.0, 4.0, 8.0)
"""Seconds before asking again. The client itself asks again for uploads and listings, but not for these: a look at a
repository, making one, the commit."""
_LONGEST: Final = 120.0
"""Seconds that the Hub may ask to wait for before the command gives up."""
_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})


class Pushed(NamedTuple):
    """What a push did.

    Attributes:
        url: The repository's address.
        commit: Its head now.
        written: Files that were new or had changed; 0 where there was nothing to commit.
        deleted: Files of an older state.
    """

    url: str
    commit: str
    written: int
    deleted: int


class _Changes(NamedTuple):
    """What a commit has to bring."""

    items: list[Item]
    gone: list[str]


def address(kind: RepositoryKind, name: str) -> str:
    """Where a repository is found in a browser."""
    return f"{endpoint()}/{_PREFIX[kind]}{name}"


@dataclass
class Target:
    """A repository, there or not yet.

    Attributes:
        kind: Model, data set or Space.
        name: `organisation/name`.
        reporter: Where notes go.
    """

    kind: RepositoryKind
    name: str
    reporter: Reporter

    def push(self, parcel: Parcel, message: str, *, public: bool) -> Pushed:
        """Bring the repository to the parcel's state in one commit; none where it is there already.

        Args:
            parcel: What is to be there.
            message: The commit's.
            public: Whether anybody may see it: a new repository is then public, and a public one may be written to.

        Raises:
            BenchError: No token, no right, no connection, a public repository without `public`, or a commit of
                somebody else's in between; the repository is then as it was.
        """
        with in_words(f"{_PREFIX[self.kind]}{self.name}"), _calmly(self.reporter):
            head = self._open(public)
            changes = self._compare(parcel, head)
            if changes.items or changes.gone:
                self.reporter.note(f"sending {len(changes.items)} files")
                head = self._commit(parcel, changes, head, message)
        return Pushed(address(self.kind, self.name), head, len(changes.items), len(changes.gone))

    # --- the repository -----------------------------------------------------------------------------------------------

    @property
    def _api(self) -> Any:
        from huggingface_hub import HfApi

        import benchmark

        return HfApi(
            endpoint=endpoint(), token=_token(), library_name="domainbench", library_version=benchmark.__version__
        )

    def _open(self, public: bool) -> str:
        """Its head; it is made where it is not there.

        Raises:
            BenchError: It is public and must not be.
        """
        info = self._info()
        if info is None:
            sdk = {"space_sdk": "static"} if self.kind == "space" else {}
            # It may be there by now: an answer that got lost, or somebody else. What it is then is looked at below.
            _patiently(
                lambda: self._api.create_repo(self.name, repo_type=self.kind, private=not public, exist_ok=True, **sdk)
            )
            self.reporter.note(f"made {self.name}, {'public' if public else 'private'}")
            info = self._info() or refuse(f"{self.name} was made and cannot be found; run the command again")
        if not info.private and not public:
            refuse("is public, and everybody would see this; say --public if that is meant, or name another one")
        if info.private and public:
            self.reporter.note(f"{self.name} is private and stays so; the Hub's settings page changes that")
        return str(info.sha)

    def _info(self) -> Any:
        """What the Hub says of it; None where there is none, or none that this token may see."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            return _patiently(lambda: self._api.repo_info(self.name, repo_type=self.kind), there=False)
        except RepositoryNotFoundError as error:
            if error.response.status_code in {401, 404}:
                return None
            raise

    def _compare(self, parcel: Parcel, head: str) -> _Changes:
        """What differs from a commit, by the hashes that the Hub lists."""
        from huggingface_hub.hf_api import RepoFile

        rows = self._api.list_repo_tree(self.name, recursive=True, revision=head, repo_type=self.kind)
        there = {row.path: row for row in rows if isinstance(row, RepoFile)}
        ours = {item.path for item in parcel.items}
        return _Changes(
            [item for item in parcel.items if not _is_same(item, there.get(item.path))],
            [path for path in there if path not in ours and parcel.owns(path)],
        )

    def _commit(self, parcel: Parcel, changes: _Changes, head: str, message: str) -> str:
        """Send the files and commit them; the new head."""
        from httpx2 import TransportError
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete
        from huggingface_hub.errors import HfHubHTTPError

        api = self._api
        additions = [CommitOperationAdd(item.path, item.source) for item in changes.items]
        api.preupload_lfs_files(self.name, additions, repo_type=self.kind, free_memory=False)
        operations = [*additions, *(CommitOperationDelete(path) for path in changes.gone)]
        try:
            made = _patiently(
                lambda: api.create_commit(
                    self.name, operations, commit_message=message, repo_type=self.kind, parent_commit=head
                )
            )
        except (HfHubHTTPError, TransportError):
            # The commit may be there and only its answer lost: the next try was then refused as the second one.
            now = self._info()
            if now is not None and now.sha != head and not any(self._compare(parcel, now.sha)):
                return str(now.sha)
            raise
        return str(made.oid)


def _is_same(item: Item, there: Any) -> bool:
    """Whether a file is what the Hub has at its place (a `RepoFile`, or None)."""
    if there is None or there.size != item.size:
        return False
    return bool(item.sha256() == there.lfs.sha256 if there.lfs else item.git_sha() == there.blob_id)


# --- asking ---------------------------------------------------------------------------------------------------------


def _token() -> str:
    """HF_TOKEN, or that of the stored login.

    Raises:
        BenchError: There is neither.
    """
    from huggingface_hub import get_token

    token: str | None = get_token()
    return token or refuse(
        "no token: set HF_TOKEN to one that may write (https://huggingface.co/settings/tokens), or: hf auth login"
    )


def _patiently(ask: Callable[[], T], *, there: bool = True) -> T:
    """Ask, and ask again after a while where the Hub is out of order or asks for a pause.

    Args:
        ask: The question; asking twice must do no more than asking once.
        there: Whether the Hub has answered before; an address that nobody has answered at is not tried again.
    """
    from httpx2 import ConnectError, LocalProtocolError, ProxyError, TransportError, UnsupportedProtocol
    from huggingface_hub.errors import HfHubHTTPError

    for wait in _WAITS:
        try:
            return ask()
        except HfHubHTTPError as error:
            if error.response.status_code not in _PASSING:
                raise
            pause = asked_pause(error)
            if pause is not None and pause > _LONGEST:
                raise
            time.sleep(wait if pause is None else pause)
        except TransportError as error:
            hopeless = isinstance(error, (LocalProtocolError, ProxyError, UnsupportedProtocol))
            if hopeless or (isinstance(error, ConnectError) and not there):
                raise
            time.sleep(wait)
    return ask()


@contextmanager
def _calmly(reporter: Reporter) -> Iterator[None]:
    """The client's log is left out, since it holds signed addresses; its warnings become notes."""
    with quietly(bars=sys.stderr.isatty(), reporter=reporter), warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", DeprecationWarning)  # for who writes the client, not for who uses it
        yield
    for line in dict.fromkeys(one_line(clean(str(row.message)), 300) for row in found):
        reporter.note(line)
