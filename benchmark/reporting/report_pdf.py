"""`report.pdf`: the report on A4 pages, set by Typst from `report.md`. Text goes there as data, never as its source."""

import importlib.util
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmark.errors import BenchError
from benchmark.files import Json, read_text, shown
from benchmark.reporting.report_text import parse, picture, title, words_of

if TYPE_CHECKING:
    from markdown_it.tree import SyntaxTreeNode

NAME: Final = "report.pdf"
_SOURCE: Final = Path(__file__).parent / "templates" / "report.typ"
_LINE: Final = 112
"""Characters of a line of a table at its largest size."""
_LARGEST, _SMALLEST = 9.0, 6.5  # points
_NARROWEST, _WIDEST = 4, 34  # characters of a column
_SHORT: Final = 27
"""A column whose cells are no longer is never broken into lines."""
_PROSE: Final = 40
"""A column with a longer cell is aligned left, whatever else stands in it."""
_LONG_WORD: Final = re.compile(r"\S{40,}")
_CONTAINERS: Final = {"strong": "strong", "em": "em", "s": "s"}


def report_pdf(report: Path) -> bytes:
    """A report as PDF; the same report and pictures give the same bytes where the same fonts are.

    Args:
        report: Its `report.md`.

    Raises:
        BenchError: It is missing or no text, or Typst is not installed.
    """
    check_installed()
    import typst
    from markdown_it.tree import SyntaxTreeNode

    tokens = parse(read_text(report))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        nodes = _Nodes(report.parent, folder).blocks(SyntaxTreeNode(tokens).children)
        content = {"title": title(tokens), "nodes": list(nodes)}
        (folder / "report.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        shutil.copy(_SOURCE, folder / "report.typ")
        try:
            return bytes(typst.compile(folder / "report.typ", root=folder, font_paths=[_fonts()], format="pdf"))
        except RuntimeError as error:
            first = (str(error).strip() or "no reason given").splitlines()[0][:200]
            raise BenchError(f"{shown(report)}: cannot be set as PDF: {first}") from None


def check_installed() -> None:
    """See to it that Typst is there.

    Raises:
        BenchError: It is not.
    """
    if importlib.util.find_spec("typst") is None:
        raise BenchError("report.pdf: needs the package typst; install it with: pip install 'domainbench[pdf]'")


def _fonts() -> Path:
    """The fonts that come with matplotlib: they have the signs that a book font lacks."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


class _Nodes:
    """From Markdown's tree to the parts that `report.typ` shows.

    Args:
        source: The report's folder.
        target: Where its pictures are copied to.
    """

    def __init__(self, source: Path, target: Path) -> None:
        self._source, self._target = source, target
        self._pictures: dict[Path, str] = {}

    def blocks(self, nodes: "Sequence[SyntaxTreeNode]") -> Iterator[Json]:
        """Headings, paragraphs, lists, tables..."""
        for node in nodes:
            found = self._block(node)
            if found is not None:
                yield found

    def _block(self, node: "SyntaxTreeNode") -> Json | None:
        kind = node.type
        if kind == "heading":
            return {"kind": "heading", "level": int(node.tag[1:]), "parts": self._line(node)}
        if kind == "paragraph":
            parts = self._line(node)
            alone = len(parts) == 1 and parts[0]["kind"] == "image"
            return parts[0] if alone else {"kind": "paragraph", "parts": parts}
        if kind in {"bullet_list", "ordered_list"}:
            items = [list(self.blocks(item.children)) for item in node.children]
            start = int(str(node.attrs.get("start", 1)))
            return {"kind": "bullets" if kind == "bullet_list" else "numbers", "items": items, "start": start}
        if kind == "blockquote":
            return {"kind": "quote", "nodes": list(self.blocks(node.children))}
        if kind in {"fence", "code_block"}:
            return {"kind": "code", "text": node.content}
        if kind == "table":
            return self._table(node)
        return {"kind": "rule"} if kind == "hr" else None

    # --- lines ------------------------------------------------------------------------------------------------------

    def _line(self, node: "SyntaxTreeNode") -> list[Json]:
        """The parts of a heading, paragraph or cell."""
        return [part for inline in node.children for part in self._parts(inline.children)]

    def _parts(self, nodes: "Sequence[SyntaxTreeNode]") -> Iterator[Json]:
        for node in nodes:
            kind = node.type
            if kind == "text":
                yield {"kind": "text", "text": _breakable(node.content)}
            elif kind == "code_inline":
                yield {"kind": "code", "text": _breakable(node.content)}
            elif kind in _CONTAINERS:
                yield {"kind": _CONTAINERS[kind], "parts": list(self._parts(node.children))}
            elif kind == "link":
                yield {"kind": "link", "to": _address(node), "parts": list(self._parts(node.children))}
            elif kind == "image":
                yield self._image(node)
            elif kind in {"softbreak", "hardbreak"}:
                yield {"kind": "space" if kind == "softbreak" else "break"}

    def _image(self, node: "SyntaxTreeNode") -> Json:
        words = words_of(node.token.children or []) if node.token else ""
        found = picture(self._source, str(node.attrs.get("src", "")))
        if found is None:
            return {"kind": "em", "parts": [{"kind": "text", "text": f"[{words}]"}]}
        if found not in self._pictures:
            self._pictures[found] = f"picture-{len(self._pictures)}{found.suffix.lower()}"
            shutil.copy(found, self._target / self._pictures[found])
        return {"kind": "image", "file": self._pictures[found], "alt": words}

    # --- tables -----------------------------------------------------------------------------------------------------

    def _table(self, node: "SyntaxTreeNode") -> Json:
        """A table whose type is smaller and whose columns are as wide as what stands in them asks for."""
        lines = [row.children for part in node.children for row in part.children]
        lengths = [max(_length(row[place]) for row in lines) for place in range(len(lines[0]))]
        widths = [min(max(length, _NARROWEST), _WIDEST) for length in lengths]
        total = sum(widths) + 2 * len(widths)
        fits = total <= _LINE and max(lengths) <= _WIDEST
        cells = [[self._line(cell) for cell in row] for row in lines]
        return {
            "kind": "table",
            "head": cells[0],
            "rows": cells[1:],
            "right": [
                "right" in str(cell.attrs.get("style", "")) and length <= _PROSE
                for cell, length in zip(lines[0], lengths, strict=True)
            ],
            # 0: as wide as its widest cell; otherwise its share of what is left.
            "widths": [0 if fits or length <= _SHORT else width for length, width in zip(lengths, widths, strict=True)],
            "size": max(_SMALLEST, min(_LARGEST, _LARGEST * _LINE / total)),
        }


def _breakable(text: str) -> str:
    """A text whose very long words may be broken anywhere: hashes and paths would run over the edge."""
    return _LONG_WORD.sub(lambda found: "\u200b".join(found[0]), text)


def _length(cell: "SyntaxTreeNode") -> int:
    tokens: list[Any] = [inline.token for inline in cell.children if inline.token]
    return len(words_of(tokens))


def _address(node: "SyntaxTreeNode") -> str:
    """Where a link leads; those within the report and to files beside it lead nowhere from a PDF."""
    to = str(node.attrs.get("href", ""))
    return to if to.startswith(("https://", "http://", "mailto:")) else ""
