"""Text from documents and questions is data: what makes it harmless in Markdown and in CSV."""

import re

from markupsafe import Markup

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_SPECIAL = re.compile(r"[\\`*_{}\[\]|#~$!^]")
_BLOCK_START = re.compile(r"[-+=:](?=[-+=:\s]|$)|\d{1,9}(?=[.)](?:\s|$))")
# Controls, signs that reverse the reading direction, and halves of surrogate pairs.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def one_line(text: str, limit: int | None = None) -> str:
    r"""Folded to one line without control characters (those that reverse the reading direction too), cut at `limit`.

    >>> one_line("a\n b\tc" + chr(0x202E), 4)
    'a b…'
    """
    folded = " ".join(_HIDDEN.sub("", " ".join(text.split())).split())
    if limit is None or len(folded) <= limit:
        return folded
    return folded[: limit - 1].rstrip() + "…"


def md(text: object, limit: int | None = None) -> Markup:
    r"""Text as Markdown that shows it literally, also inside a table cell; HTML in it stays text.

    >>> print(md("a|b <i>*x*</i>"))
    a\|b &lt;i&gt;\*x\*&lt;/i&gt;
    """
    plain = one_line(str(text), limit)
    lead = _BLOCK_START.match(plain)
    escaped = _SPECIAL.sub(r"\\\g<0>", plain)
    escaped = re.sub("[&<>]", lambda found: _ENTITIES[found[0]], escaped)
    if lead:
        # A list item or a rule: the sign itself is escaped, or the dot after a number.
        at = len(lead[0]) if lead[0][0].isdigit() else 0
        escaped = escaped[:at] + "\\" + escaped[at:]
    return Markup(escaped)  # noqa: S704 (escaped just above)


def code(name: str) -> Markup:
    """A spec's or package's name as a code span (their pattern leaves no room for a back-tick)."""
    safe = one_line(name).replace("`", "'").replace("|", "/")
    return Markup(f"`{safe}`")  # noqa: S704 (no back-tick is left)


def csv_cell(text: str) -> str:
    """Text that no spreadsheet runs as a formula; numbers stay as they are.

    >>> csv_cell("=cmd()"), csv_cell("-0.5"), csv_cell("-a")
    ("'=cmd()", '-0.5', "'-a")
    """
    plain = one_line(text)
    if plain.startswith(_FORMULA) and not _NUMBER.fullmatch(plain):
        return "'" + plain
    return plain


# What every font encoding has: \textquotedbl needs T1, and not every engine knows the dagger as a sign.
_TEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''", "†": r"\dag{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip


def tex(text: object) -> str:
    r"""Text as LaTeX that shows it literally, whatever its font encoding; a double quote is two apostrophes.

    >>> print(tex("50 % of a_b & {c}"))
    50 \% of a\_b \& \{c\}
    """
    return "".join(_TEX.get(sign, sign) for sign in one_line(str(text)))
