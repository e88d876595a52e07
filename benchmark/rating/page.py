"""The rating page: one item at a time, its words escaped, its style and script inside and named in its policy."""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from benchmark.files import hash_text
from benchmark.rating.pairs import POINTS, SCALES
from benchmark.rating.session import MOST_NOTE, SIDES, Session
from benchmark.records import Chunk

if TYPE_CHECKING:
    from jinja2 import Environment

ASKED_OF: Final = {
    "accuracy": "Is what it says right?",
    "relevance": "Does it answer what was asked?",
    "completeness": "Does it say all that was asked for?",
}
_STATIC = Path(__file__).parent / "static"
# Controls but for line ends and tabs, signs that reverse the reading direction, and halves of surrogate pairs.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)  # fmt: skip


def item_page(session: Session, n: int, title: str, chunks: Mapping[str, Chunk]) -> str:
    """The page of an item, counted from 1.

    Nothing in it tells whose an answer is: the sides differ in their words alone, and passages stand in an order of
    their own.

    Args:
        session: The rater's.
        n: The item.
        title: The domain's.
        chunks: Passages by id.
    """
    return _render(
        "item.html.jinja",
        session=session,
        n=n,
        title=title,
        question=session.items[n - 1].asked.text,
        texts=session.texts(n),
        form=session.form(n),
        rated=session.rating(n) is not None,
        stale=session.is_stale(n),
        passages=_passages(session, n, chunks),
        sides=dict(zip(SIDES, ("Answer 1", "Answer 2"), strict=True)),
        scales={scale: ASKED_OF[scale] for scale in SCALES},
        points=POINTS,
        most_note=MOST_NOTE,
    )


def done_page(session: Session, title: str) -> str:
    """What stands there when everything is rated."""
    return _render("done.html.jinja", session=session, title=title)


def entry_page() -> str:
    """What the address with the token shows for a moment: it goes on to the page, this time with the cookie."""
    return _render("entry.html.jinja", title="Rating")


def policy() -> str:
    """The Content-Security-Policy: our own style and script by hash, requests to this server, and nothing else."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(_file('rate.js'))}'",
            f"style-src '{_hash(_file('rate.css'))}'",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _passages(session: Session, n: int, chunks: Mapping[str, Chunk]) -> list[dict[str, Any]]:
    """Every passage that either answer was made from, once: cited ones first, the rest in an order that tells nothing."""
    item = session.items[n - 1]
    cited = session.cited(n)
    ids = {chunk: None for answer in (item.first, item.second) for chunk in answer.passages}
    rows = []
    for chunk in sorted(ids, key=lambda name: hash_text(f"passages\n{item.asked.id}\n{name}")):
        by = [place for place, side in enumerate(SIDES, start=1) if chunk in cited[side]]
        found = chunks.get(chunk)
        rows.append(
            {
                "by": " and ".join(f"answer {place}" for place in by),
                "where": found.heading or found.document if found else "",
                "text": found.text if found else "This passage is no longer among the documents.",
            }
        )
    return sorted(rows, key=lambda row: not row["by"])


def plain(value: object) -> str:
    """Text without controls and without signs that reverse the reading direction."""
    return _HIDDEN.sub("", str(value))


def _render(name: str, **context: Any) -> str:
    style, script = Markup(_file("rate.css")), Markup(_file("rate.js"))  # noqa: S704 (our own files)
    return _templates().get_template(name).render(**context, style=style, script=script)


@cache
def _file(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_STATIC),
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else plain(value),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
