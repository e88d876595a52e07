"""What documents and questions hold is shown, not run: through a Markdown parser and a CSV reader."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from benchmark.escape import code, csv_cell, md, one_line
from benchmark.reporting.render import table

TEXTS = st.text(st.sampled_from("ab1 .|\\`*_{}[]()<>#~$!^&;:=+-@\n\t'\"%é\u202e\x00"), max_size=30)
QUICK = settings(max_examples=300, deadline=None, derandomize=True, database=None)
PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def shown(text: str) -> str:
    """What a reader sees of the Markdown, all of which must be plain text in one paragraph."""
    tokens = PARSER.parse(text)
    kinds = [token.type for token in tokens]
    if not kinds:
        return ""
    assert kinds == ["paragraph_open", "inline", "paragraph_close"], kinds
    children = tokens[1].children
    assert {child.type for child in children} <= {"text", "text_special"}, [child.type for child in children]
    return "".join(child.content for child in children)


@QUICK
@given(TEXTS)
def test_any_text_is_shown_as_it_is(text):
    assert shown(str(md(text))) == one_line(text)


@pytest.mark.parametrize("text", [
    "<script>alert(1)</script>", "a | b", "**bold** _i_ `c`", "[link](javascript:alert(1))", "![i](x.png)", "# head",
    "- item", "1. item", "12) item", "> quote", "=====", "---", "```", "~~~", "&lt;b&gt;", "&#60;b>", "\\", "a\\|b", "$x$",
    "{{ 7 * 7 }}", "{% for x in y %}", "line one\nline two\n\n# three", "+ a", "* a", "    code", "http://a.example/?a=1&b=2",
])  # fmt: skip
def test_known_tricks(text):
    assert shown(str(md(text))) == one_line(text)


@QUICK
@given(st.lists(TEXTS, min_size=3, max_size=3))
def test_a_table_keeps_its_cells(cells):
    tokens = PARSER.parse(str(table(["a", "b", "c"], [cells])))
    inline = [token for token in tokens if token.type == "inline"]
    assert sum(token.type == "tr_open" for token in tokens) == 2
    assert len(inline) == 6
    seen = ["".join(child.content for child in token.children) for token in inline[3:]]
    assert seen == [one_line(cell) for cell in cells]


def test_figures_stay_readable():
    for figure in ("0.551 ▲", "+0.070", "-0.012 to +0.030", "12", "0.5", "3.11.7"):
        assert str(md(figure)) == figure


def test_what_is_markdown_already_is_not_escaped_twice():
    assert str(table(["a"], [[code("x_y*")]])) == "| a |\n| :-- |\n| `x_y*` |"
    assert str(code("a`b|c")) == "`a'b/c`"


def test_text_is_cut_with_a_sign():
    assert one_line("word " * 30, 12) == "word word w…"
    assert len(one_line("x" * 100, 44)) == 44
    assert one_line("abc", 3) == "abc"


@pytest.mark.parametrize(
    "text", ["=cmd()", "+cmd", "-cmd()", "@SUM(A1)", "\t=1+1", " =1", "\r\n=1", "＝1+1", "-1+cmd()", "=", "--1"]
)
def test_formulas_are_neutralised_in_csv(text):
    stream = io.StringIO()
    csv.writer(stream).writerow([csv_cell(text)])
    (cell,) = next(csv.reader(io.StringIO(stream.getvalue())))
    assert cell.startswith("'")
    assert cell[1:] == one_line(text)


@pytest.mark.parametrize("text", ["-0.5", "+3", "-1e-05", "12", "a=b", "core", "", "-.5"])
def test_numbers_and_plain_words_stay_as_they_are_in_csv(text):
    assert csv_cell(text) == text
