"""What goes where: results, the test set, a tuned model, the page as a Space; looked through, listed, sent."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Final, Literal

from benchmark.console import Reporter
from benchmark.errors import Problems
from benchmark.hub.parcel import Parcel, listed
from benchmark.hub.private_places import private_places
from benchmark.hub.publish_dataset import dataset_parcel
from benchmark.hub.publish_model import model_parcel
from benchmark.hub.publish_request import Request
from benchmark.hub.publish_results import results_parcel, space_parcel
from benchmark.hub.repositories import Pushed, Target, address
from benchmark.hub.secrets import find_secrets, known_secrets
from benchmark.project import Domain, Project

What = Literal["results", "dataset", "model", "space"]
_AT_MOST: Final = 20
"""Findings told before the rest is only counted."""
_MEASURED: Final = frozenset({"results", "space"})
"""What names each compared model by its folder or by its API's address."""
_OUT: Final = "take it out of the file, or that model out of the comparison and make the leaderboard anew; "


def publish(
    what: What, project: Project, domain: Domain, request: Request, reporter: Reporter, say: Callable[[str], None]
) -> Pushed | None:
    """Pack, look through, list and send; nothing is sent before everything was looked through.

    Args:
        what: What to publish.
        project: Where it lies.
        domain: Whose.
        request: What the user asked for.
        reporter: Where notes go.
        say: Takes the lines that are the command's result: the files, what stays here, what was done, and last the
            repository's address.

    Returns:
        What the push did; None of a dry run.

    Raises:
        BenchError: Something is missing or must not be sent, a file holds a secret, or the Hub refuses.
    """
    with _scratch(domain) as scratch:
        with _asking_nobody():
            parcel = _PACK[what](project, domain, request, scratch)
        for line in parcel.notes:
            reporter.note(line)
        look_through(parcel, project, private_places(project.root) if what in _MEASURED else {})
        for line in listed(parcel):
            say(line)
        if request.dry_run:
            say("dry run: nothing was sent and nobody was asked")
            say(address(parcel.kind, request.to))
            return None
        message = request.message or f"domainbench: {parcel.subject}"
        pushed = Target(parcel.kind, request.to, reporter).push(parcel, message, public=request.public)
        say(_done(parcel, pushed))
    say(pushed.url)
    return pushed


def _done(parcel: Parcel, pushed: Pushed) -> str:
    """What a push did, in a line."""
    if not pushed.written and not pushed.deleted:
        return f"nothing has changed, no commit (the last one: {pushed.commit})"
    gone = f", {pushed.deleted} of an older state deleted" if pushed.deleted else ""
    same = len(parcel.items) - pushed.written
    return f"commit {pushed.commit}: {pushed.written} files written, {same} unchanged{gone}"


def look_through(parcel: Parcel, project: Project, places: Mapping[str, str]) -> None:
    """See to it that no file holds a secret, a path of this machine, or an address of this network.

    Args:
        parcel: The files.
        project: Whose specs name variables with secrets.
        places: As `private_places` gives them.

    Raises:
        BenchError: One line for each finding, with file and line and without the secret.
    """
    home = Path.home()
    paths = [project.root.resolve(), *([home] if home != Path(home.anchor) else [])]
    texts = [item for item in parcel.items if not item.path.endswith(".parquet")]
    tables = [item for item in parcel.items if item.path.endswith(".parquet")]
    known = known_secrets(project.root)
    # A table holds documents' own words, which may speak of any path.
    found = [*find_secrets(texts, known, paths, places), *find_secrets(tables, known)]
    own = frozenset(places.values())
    with Problems() as problems:
        for finding in found[:_AT_MOST]:
            problems.add(f"{finding}; {_OUT if finding.what in own else ''}nothing was sent")
        if len(found) > _AT_MOST:
            problems.add(f"{len(found) - _AT_MOST} more places like these; nothing was sent")


@contextmanager
def _asking_nobody() -> Iterator[None]:
    """What is packed lies here; a base whose weights do not is not fetched for its fingerprint."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def _scratch(domain: Domain) -> Iterator[Path]:
    """A hidden folder beside the results for files that are made to be sent; it is gone afterwards.

    Documents' text is not left in the system's temporary folder, even by a kill: the next one clears it away.
    """
    folder = domain.results / ".publish"
    rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        rmtree(folder, ignore_errors=True)


_PACK: Final[dict[What, Callable[[Project, Domain, Request, Path], Parcel]]] = {
    "results": results_parcel,
    "dataset": dataset_parcel,
    "model": model_parcel,
    "space": space_parcel,
}
