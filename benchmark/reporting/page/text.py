"""Text from documents, specs and questions is data: what makes it harmless in a page."""

import json
import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

# Controls but for tabs and line ends, signs that reverse the reading direction, and halves of surrogate pairs.
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def plain(text: object) -> str:
    r"""Text without characters that hide something or reverse the reading direction; its lines stay.

    >>> plain("a" + chr(0x202E) + "b\n c" + chr(7))
    'ab\n c'
    """
    return _HIDDEN.sub("", str(text).replace("\r\n", "\n"))


def json_for_html(value: Any) -> str:
    r"""JSON that can stand in a `<script>` element whatever it holds; parsed, it is the same value.

    >>> json_for_html({"a": "</script><!--"})
    '{"a":"\\u003c/script>\\u003c!--"}'

    Raises:
        ValueError: A number is NaN or infinite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Only strings hold any of these, since the output is compact: an escape is the same character.
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text).replace("<", "\\u003c")


def html_of(markdown: Markup | Sequence[Markup]) -> Markup:
    r"""Our own Markdown, in which data is escaped already, as HTML; tables stand in a box of their own to scroll in.

    >>> print(html_of(Markup("`a<b`: **better** &lt;i&gt;")))
    <p><code>a&lt;b</code>: <strong>better</strong> &lt;i&gt;</p>

    Args:
        markdown: What the functions of `render` and `verdicts` gave; several are paragraphs.
    """
    text = markdown if isinstance(markdown, str) else "\n\n".join(markdown)
    html = str(_parser().render(plain(text))).strip()
    box = '<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>'
    # The page's policy lets no style stand in an element.
    html = html.replace(' style="text-align:left"', "").replace(' style="text-align:right"', ' class="figure"')
    html = html.replace("<table>", box).replace("</table>", "</table></div>")
    return Markup(html)  # noqa: S704 (the parser lets no HTML through)


@cache
def _parser() -> "MarkdownIt":
    """A parser that makes no link, no picture and no HTML of what it reads."""
    from markdown_it import MarkdownIt

    return (
        MarkdownIt("commonmark", {"html": False})
        .enable("table")
        .disable(["autolink", "html_inline", "html_block", "image", "link"])
    )
