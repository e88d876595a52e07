"""`report.html`: the report as one file that needs no network, made from `report.md` with the author's words in it."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup, escape

from benchmark.files import read_text
from benchmark.reporting.report_text import PICTURES, headings, parse, picture, title, words_of

if TYPE_CHECKING:
    from jinja2 import Environment
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

NAME: Final = "report.html"
_TEMPLATES: Final = Path(__file__).parent / "templates"


def report_html(report: Path) -> str:
    """A report as HTML; pictures that lie beside it are inside, others are told by their words.

    Args:
        report: Its `report.md`.

    Raises:
        BenchError: It is missing or no text.
    """
    tokens = parse(read_text(report))
    style = _style()
    policy = "; ".join(
        ["default-src 'none'", f"style-src '{_hash(style)}'", "img-src data:", "base-uri 'none'", "form-action 'none'"]
    )
    return _templates().get_template("report.html.jinja").render(
        title=title(tokens),
        contents=headings(tokens),
        policy=policy,
        style=Markup(style),  # noqa: S704 (our own file)
        body=Markup(_body(tokens, report.parent)),  # noqa: S704 (markdown-it escapes what is text)
    )  # fmt: skip


def _body(tokens: "Sequence[Token]", folder: Path) -> str:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    _set_rules(parser, folder)
    return str(parser.renderer.render(tokens, parser.options, {}))


def _set_rules(parser: "MarkdownIt", folder: Path) -> None:
    """Cells without style attributes (the policy allows none), tables that scroll by themselves, pictures inside."""

    def cell(_: Any, tokens: "Sequence[Token]", place: int, options: Any, env: Any) -> str:
        token = tokens[place]
        right = "right" in str(token.attrGet("style") or "")
        return f'<{token.tag} class="r">' if right else f"<{token.tag}>"

    def image(_: Any, tokens: "Sequence[Token]", place: int, options: Any, env: Any) -> str:
        token = tokens[place]
        words = escape(words_of(token.children or []))
        found = picture(folder, str(token.attrGet("src") or ""))
        if found is None:
            return f"<em>[{words}]</em>"
        data = base64.b64encode(found.read_bytes()).decode()
        return f'<img src="data:{PICTURES[found.suffix.lower()]};base64,{data}" alt="{words}">'

    def opens(*_: Any) -> str:
        return '<div class="wide" tabindex="0"><table>\n'

    def closes(*_: Any) -> str:
        return "</table></div>\n"

    rules = {"th_open": cell, "td_open": cell, "image": image, "table_open": opens, "table_close": closes}
    for name, rule in rules.items():
        parser.add_render_rule(name, rule)


@cache
def _style() -> str:
    return (_TEMPLATES / "report.css").read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
