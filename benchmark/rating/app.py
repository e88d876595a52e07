"""The server behind the rating page: four addresses, each request checked before anything else happens."""

import errno
import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmark.rating.page import done_page, entry_page, item_page, policy
from benchmark.rating.session import Form, FormError, Session
from benchmark.records import Chunk

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

MOST_BYTES: Final = 64_000  # of a request's body


@dataclass(frozen=True)
class Door:
    """Who may come in.

    Attributes:
        port: Where the server listens on 127.0.0.1.
        token: The secret that stands in the address that the terminal shows.
    """

    port: int
    token: str

    @classmethod
    def at(cls, port: int) -> "Door":
        """A door with a new token."""
        return cls(port, secrets.token_urlsafe(32))

    @property
    def cookie(self) -> str:
        """The cookie's name; cookies do not tell ports apart, and two raters may be at work on one machine."""
        return f"rate-{self.port}"

    @property
    def address(self) -> str:
        """What the rater opens."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The Host headers that are ours; another name that leads here is DNS rebinding."""
        return (f"127.0.0.1:{self.port}", f"localhost:{self.port}")

    def refusal(self, request: "Request") -> str | None:
        """Why a request is turned away, or None."""
        headers = request.headers
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or hosts[0] not in self.hosts:
            return "another host"
        if any(origin != f"http://{hosts[0]}" for origin in origins) or len(origins) > 1:
            return "another origin"
        if request.method == "POST" and not origins:
            return "no origin"
        if self.is_entry(request):
            return None
        if headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
            return "another site"
        if not secrets.compare_digest(request.cookies.get(self.cookie, "").encode(), self.token.encode()):
            return "no token"
        return None

    def is_entry(self, request: "Request") -> bool:
        """Whether the request is for the address with the token, from whatever page or terminal it was followed."""
        token = request.query_params.get("token", "").encode()
        return (
            request.method == "GET" and request.url.path == "/" and secrets.compare_digest(token, self.token.encode())
        )


class _Guard:
    """Stands before every address, the ones that do not exist included, and marks every answer."""

    def __init__(self, app: "ASGIApp", door: Door) -> None:
        self._app = app
        self._door = door
        self._headers = [
            (b"content-security-policy", policy().encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"x-frame-options", b"DENY"),
            (b"referrer-policy", b"same-origin"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"cache-control", b"no-store"),
        ]

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        from starlette.requests import Request
        from starlette.responses import PlainTextResponse

        async def marked(message: "Mapping[str, object]") -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self._headers]}  # type: ignore[misc]
            await send(message)  # type: ignore[arg-type]

        if scope["type"] != "http":
            return
        refused = self._door.refusal(Request(scope))
        if refused is None:
            await self._app(scope, receive, marked)
        else:
            text = f"Not allowed: {refused}. Open the address that domainbench rate shows in its terminal.\n"
            await PlainTextResponse(text, 403)(scope, receive, marked)


class _Handlers:
    """What each address does."""

    def __init__(
        self, session: Session, door: Door, title: str, chunks: Mapping[str, Chunk], say: Callable[[str], None]
    ) -> None:
        self._session = session
        self._door = door
        self._title = title
        self._chunks = chunks
        self._say = say

    async def page(self, request: "Request") -> "Response":
        """`/`: the item `n`, or the one where the rater goes on."""
        from starlette.responses import HTMLResponse

        if self._door.is_entry(request):
            response = HTMLResponse(entry_page())
            response.set_cookie(self._door.cookie, self._door.token, path="/", httponly=True, samesite="strict")
            return response
        if "n" not in request.query_params:
            return self._go_to(self._session.start())
        n = self._number(request.query_params["n"])
        if n is None:
            return self._go_to(self._session.start())
        return HTMLResponse(item_page(self._session, n, self._title, self._chunks))

    async def next_page(self, request: "Request") -> "Response":
        """`/next`: the open item after `n`."""
        return self._go_to(self._session.next_after(self._number(request.query_params.get("n", "")) or 0))

    async def done(self, request: "Request") -> "Response":
        """`/done`: that all is rated, as long as it is."""
        from starlette.responses import HTMLResponse

        if self._session.done < len(self._session):
            return self._go_to(self._session.start())
        return HTMLResponse(done_page(self._session, self._title))

    async def save(self, request: "Request") -> "Response":
        """`/save`: keeps what is filled in."""
        from starlette.responses import JSONResponse

        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return JSONResponse({"error": "JSON is expected"}, 415)
        body = await _body(request)
        if body is None:
            return JSONResponse({"error": f"more than {MOST_BYTES} bytes"}, 413)
        try:
            value = json.loads(body)
            n = self._number(str(value.get("n", ""))) if isinstance(value, dict) else None
            if n is None:
                raise FormError("no such item")
            complete = self._session.save(n, Form.parsed(value))
        except (FormError, ValueError, RecursionError) as error:
            return JSONResponse({"error": str(error)}, 400)
        except OSError as error:
            why = os.strerror(error.errno or errno.EIO)
            self._say(f"a rating could not be kept: {why}; what was kept before is untouched")
            return JSONResponse({"error": why}, 507)
        return JSONResponse({"rated": complete, "done": self._session.done})

    async def reference(self, request: "Request") -> "Response":
        """`/reference`: the reference answer of `n`, once it is rated."""
        from starlette.responses import JSONResponse

        n = self._number(request.query_params.get("n", ""))
        text = self._session.reference(n) if n is not None else None
        if text is None:
            return JSONResponse({"error": "rate both answers first"}, 409)
        return JSONResponse({"reference": text})

    def _number(self, text: str) -> int | None:
        n = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
        return n if 1 <= n <= len(self._session) else None

    def _go_to(self, n: int | None) -> "Response":
        from starlette.responses import RedirectResponse

        return RedirectResponse("/done" if n is None else f"/?n={n}", 303)


async def _body(request: "Request") -> bytes | None:
    """The body; None as soon as it is too long."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


def make_app(
    session: Session, door: Door, title: str, chunks: Mapping[str, Chunk], say: Callable[[str], None]
) -> "Starlette":
    """The application: no other address than these, no file is ever served, and no header lets other origins in.

    Args:
        session: The rater's.
        door: Who may come in.
        title: The domain's.
        chunks: Passages by id.
        say: Where a line goes that concerns whoever started the server.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.routing import Route

    handlers = _Handlers(session, door, title, chunks, say)
    return Starlette(
        routes=[
            Route("/", handlers.page, methods=["GET"]),
            Route("/next", handlers.next_page, methods=["GET"]),
            Route("/done", handlers.done, methods=["GET"]),
            Route("/reference", handlers.reference, methods=["GET"]),
            Route("/save", handlers.save, methods=["POST"]),
        ],
        middleware=[Middleware(_Guard, door=door)],
    )
