"""Listening on this machine alone, and opening the page."""

import os
import socket
import threading
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from benchmark.errors import BenchError
from benchmark.project import Domain
from benchmark.rating.app import Door, make_app
from benchmark.rating.pairs import Material, passages_of
from benchmark.rating.session import Session
from benchmark.rating.store import Store

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from uvicorn import Server

HOST = "127.0.0.1"


def rate(
    domain: Domain,
    material: Material,
    rater: str,
    seed: int,
    say: Callable[[str], None],
    *,
    port: int = 0,
    browser: bool = True,
    always_reference: bool = False,
) -> None:
    """Serve the rating page until it is stopped.

    Args:
        domain: Whose answers are rated.
        material: What is to be rated.
        rater: The name of the rater's file.
        seed: Decides with that name which answer stands where.
        say: Where lines for the terminal go.
        port: Of 127.0.0.1; 0 for any free one.
        browser: Whether to open the page.
        always_reference: Whether the reference answer may be read before rating.

    Raises:
        BenchError: Nothing to rate, the rater is at work already, or the port is taken.
    """
    if not material.items:
        raise BenchError(
            f"{domain.name}: nothing to rate: {len(material.identical)} pairs of answers are identical, "
            f"in {len(material.failed)} an answer failed"
        )
    chunks = passages_of(domain, material.items)
    drafts = domain.results / ".drafts" / f"{rater}.json"
    with listening(port) as listener, Store(domain.ratings / f"{rater}.jsonl", drafts) as store:
        session = Session(material.items, store, rater, seed, always_reference)
        door = Door.at(listener.getsockname()[1])
        for line in _opening_lines(domain, material, session, store):
            say(line)
        say(f"open {door.address}")
        say("stop with Ctrl-C; everything is kept as you go")
        if browser:
            _open(door.address)
        with suppress(KeyboardInterrupt):
            make_server(make_app(session, door, domain.spec.title, chunks, say)).run(sockets=[listener])
        say(f"{rater}: {session.done} of {len(session)} rated")


def _opening_lines(domain: Domain, material: Material, session: Session, store: Store) -> list[str]:
    lines = [f"{domain.name}: {session.rater} has rated {session.done} of {len(session)}"]
    if material.identical:
        lines.append(f"{len(material.identical)} pairs of identical answers count as ties and are not asked")
    if material.failed:
        lines.append(f"{len(material.failed)} pairs in which an answer failed are left out")
    if session.stale:
        lines.append(f"{session.stale} ratings are of answers that have changed since; they are asked again")
    if store.torn:
        lines.append("the last rating had been cut off while it was written; it is left out and asked again")
    return lines


def listening(port: int) -> socket.socket:
    """A socket on 127.0.0.1 that listens already, so that the page may be opened before the server is up.

    Raises:
        BenchError: The port is taken, not allowed, or none.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(64)
    except (OSError, OverflowError) as error:
        listener.close()
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "no such port"
        raise BenchError(f"--port {port}: {why}; name another, or 0 for any free one") from None
    return listener


def make_server(app: "Starlette") -> "Server":
    """A server for the application that says nothing by itself and is in no hurry to take much in."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=64,
            h11_max_incomplete_event_size=16_384,
            timeout_graceful_shutdown=2,
        )
    )


def _open(address: str) -> None:
    """Open the page in a browser with windows; one that lives in this terminal would take it over and run no script."""
    with suppress(webbrowser.Error):
        if type(webbrowser.get()) is not webbrowser.GenericBrowser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
