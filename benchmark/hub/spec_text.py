"""A model spec as a file that people read and edit."""

import re
import textwrap
from collections.abc import Sequence

from benchmark.files import Json, dump_yaml

_WIDTH = 110
# What YAML takes for the end of a line, and so of a comment, and what a terminal obeys.
_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")


def spec_text(head: Sequence[str], value: Json, asked: Sequence[str] = (), after: str = "revision") -> str:
    """YAML with a comment at its head, and one in place of what is to be filled in.

    Args:
        head: Paragraphs of the comment.
        value: The spec's keys in their order.
        asked: Lines of the comment that stands in place of a missing key.
        after: The key that it stands behind.
    """
    lines = [line for paragraph in head for line in textwrap.wrap(paragraph, _WIDTH - 2, break_on_hyphens=False)]
    before, behind = {}, dict(value)
    if asked:
        keys = list(value)
        split = keys.index(after) + 1
        before, behind = {key: value[key] for key in keys[:split]}, {key: value[key] for key in keys[split:]}
    parts = [_comment(lines), dump_yaml(before) if before else "", _comment(asked), dump_yaml(behind)]
    return "".join(parts)


def _comment(lines: Sequence[str]) -> str:
    return "".join(f"# {_BREAKS.sub(' ', line)}".rstrip() + "\n" for line in lines)
