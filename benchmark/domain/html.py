"""HTML and DOCX: both become Markdown without links, emphasis and page furniture."""

import re
import warnings
import zipfile
from html import unescape
from pathlib import Path
from typing import Any

from benchmark.domain.converted import Converted, clean, first_title, one_line
from benchmark.domain.markdown import headings
from benchmark.errors import BenchError
from benchmark.files import read_text, shown

# No reader sees these, or they are the same on each page of a site.
_DROPPED = (
    "script", "style", "nav", "template", "noscript", "head", "svg", "math > annotation", "iframe", "object", "audio",
    "video", "canvas", "button", "input", "select", "textarea", "img", "[hidden]", "[role=navigation]",
    "[aria-hidden=true]",
)  # fmt: skip
# Marks within a line mean nothing to an encoder and keep a quote from matching.
_UNMARKED = ["a", "abbr", "b", "cite", "code", "del", "em", "i", "ins", "kbd", "mark", "s", "samp", "small", "span",
             "strong", "sub", "sup", "u", "var"]  # fmt: skip
_WORD_STYLES = """
p[style-name='Title'] => h1:fresh
p[style-name='Subtitle'] => p:fresh
p[style-name='Code'] => pre:separator('\n')
"""
_NOTE_ARROW = re.compile(r'<a href="#(?:foot|end)note-ref-[^"]*">[^<]*</a>')
_CORE_TITLE = re.compile(r"<dc:title[^>]*>(?P<title>[^<]*)</dc:title>")
_EXPANSION = 20
"""How many times its size a DOCX may take up unpacked: text shrinks about tenfold, a zip bomb a thousandfold."""


def convert_html(path: Path) -> Converted:
    """An HTML page as Markdown; of a page with one `<main>` only that.

    Raises:
        BenchError: Not UTF-8, NUL bytes, or elements nested too deeply.
    """
    return _from_html(read_text(path), path)


def convert_docx(path: Path) -> Converted:
    """A Word document as Markdown: headings, lists, tables; without pictures.

    Raises:
        BenchError: Encrypted, an old .doc, broken, or far larger unpacked than packed.
    """
    with path.open("rb") as stream:
        if stream.read(4) == b"\xd0\xcf\x11\xe0":
            raise BenchError(f"{shown(path)}: is encrypted or an old .doc file; save it as .docx without a password")
    try:
        metadata = _core_properties(path)
        html = _word_html(path)
    except BenchError:
        raise
    except zipfile.BadZipFile:
        raise BenchError(f"{shown(path)}: not a Word document (no zip archive); save it anew as .docx") from None
    except Exception as error:  # a parser of foreign files: what it raises depends on what is broken
        raise BenchError(
            f"{shown(path)}: broken Word document ({type(error).__name__}: {error}); save it anew"
        ) from None
    title = _CORE_TITLE.search(metadata)
    return _from_html(_NOTE_ARROW.sub("", html), path, one_line(unescape(title["title"])) if title else None)


def _core_properties(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        if sum(part.file_size for part in archive.infolist()) > _EXPANSION * max(path.stat().st_size, 1_000_000):
            raise BenchError(f"{shown(path)}: takes up over {_EXPANSION} times its size when unpacked; refused")
        if "docProps/core.xml" not in archive.namelist():
            return ""
        return archive.read("docProps/core.xml").decode("utf-8", "replace")


def _word_html(path: Path) -> str:
    import mammoth

    with path.open("rb") as stream:
        result = mammoth.convert_to_html(stream, style_map=_WORD_STYLES, convert_image=lambda _image: [])
    return str(result.value)


def _from_html(html: str, path: Path, metadata_title: str | None = None) -> Converted:
    from bs4 import BeautifulSoup, XMLParsedAsHTMLWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)
            soup = BeautifulSoup(html, "html.parser")
        page_title = one_line(soup.title.get_text()) if soup.title else None
        text = clean(_markdown(soup))
    except RecursionError:
        raise BenchError(f"{shown(path)}: its elements are nested too deeply to be read") from None
    found = headings(text)
    return Converted(text, found, first_title(found) or page_title or metadata_title)


def _markdown(soup: Any) -> str:
    from markdownify import MarkdownConverter

    for selector in _DROPPED:
        for element in soup.select(selector):
            element.decompose()
    mains = soup.find_all("main")
    converter = MarkdownConverter(
        heading_style="atx", bullets="-", strip=_UNMARKED, table_infer_header=True,
        escape_asterisks=False, escape_underscores=False, escape_misc=False,
    )  # fmt: skip
    markdown: str = converter.convert_soup(mains[0] if len(mains) == 1 else soup)
    return markdown
