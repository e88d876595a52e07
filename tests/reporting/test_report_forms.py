"""The report as HTML and as PDF: everything inside, nothing run, the author's words too."""

import base64
import hashlib
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from pypdf import PdfReader

from benchmark.console import SILENT, Notes
from benchmark.errors import BenchError
from benchmark.files import write_text
from benchmark.reporting.author import place
from benchmark.reporting.leaderboard import make_leaderboard, read_leaderboard
from benchmark.reporting.report import make_report
from benchmark.reporting.report_files import write_report_files
from benchmark.reporting.report_html import report_html
from benchmark.reporting.report_pdf import report_pdf
from benchmark.reporting.whole import make_all

MINE = """
My **own** words with <script>alert(1)</script>, <img src=x onerror=alert(2)>, [a link](javascript:alert(3)),
![far](https://far.example/x.png), ![secret](../../../../etc/passwd), ![up](../leaderboard.png) and `code`.

> A quote.

1. one
2. two

```
fence <b>
```
"""


class Tags(HTMLParser):
    """Every start tag with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.fixture
def report(made):
    path = made.domain.results / "report.md"
    text = path.read_text()
    write_text(path, text.replace(place("discussion", {}), place("discussion", {"discussion": MINE})))
    make_report(made.project, made.domain, made.benchmark, read_leaderboard(made.domain), SILENT)
    return path


def test_the_page_holds_everything_and_runs_nothing(report, kit):
    text = report_html(report)
    tags = Tags(text).found
    names = {tag for tag, _ in tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "form", "base"}
    assert all(not key.startswith("on") and key != "style" for _, found in tags for key in found)
    pictures = [found["src"] for tag, found in tags if tag == "img"]
    assert len(pictures) == report.read_text().count("](plots/") > 3
    assert all(source.startswith("data:image/png;base64,") for source in pictures)
    first = base64.b64decode(pictures[0].split(",", 1)[1])
    assert first == (report.parent / "plots" / "scores.png").read_bytes()
    links = {found["href"] for tag, found in tags if tag == "a"}
    assert all(link.startswith("#") or link.startswith("leaderboard.") for link in links), links
    ids = {found["id"] for _, found in tags if "id" in found}
    assert {link[1:] for link in links if link.startswith("#")} <= ids
    assert "far.example" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "My <strong>own</strong> words" in text
    assert "<!-- " not in text.split("<body>")[1]


def test_the_policy_names_the_style_and_nothing_else(report):
    text = report_html(report)
    style = re.search(r"<style>(.*?)</style>", text, flags=re.DOTALL)[1]
    (policy,) = (found["content"] for tag, found in Tags(text).found if tag == "meta" and "http-equiv" in found)
    wanted = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{wanted}'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def test_the_page_has_the_same_bytes_again(report):
    assert report_html(report) == report_html(report)


def test_the_pdf_tells_the_same(report):
    pytest.importorskip("typst")
    raw = report_pdf(report)
    assert raw == report_pdf(report)
    path = report.with_name("report.pdf")
    path.write_bytes(raw)
    pages = PdfReader(path).pages
    text = " ".join(" ".join(page.extract_text() for page in pages).split())
    for words in ("Report: Village", "Every model against every other", "My own words with <script>alert(1)</script>",
                  "A quote.", "Would BM25 alone do?", "{{ 7 * 7 }}", "fence <b>"):  # fmt: skip
        assert words in text, words
    assert "root:" not in text
    # A picture may serve several times in a PDF, but each plot is there.
    assert sum(len(page.images) for page in pages) == report.read_text().count("](plots/")


def test_text_is_no_typst(report):
    pytest.importorskip("typst")
    hostile = '#read("/etc/passwd") $x^2$ #panic("no") @ref <label> = heading // comment \\ " \u202e end'
    write_text(report, "# R\n\n" + hostile.replace("<", "&lt;") + "\n\n| a | b |\n|--|--|\n| #panic() | $1 |\n")
    path = report.with_name("x.pdf")
    path.write_bytes(report_pdf(report))
    text = PdfReader(path).pages[0].extract_text()
    assert '#read("/etc/passwd")' in text.replace("“", '"').replace("”", '"')
    assert "#panic()" in text


def test_without_typst_the_way_to_get_it_is_told_and_nothing_is_written(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "typst", None)
    before = {path: path.read_bytes() for path in made.domain.results.glob("report*")}
    with pytest.raises(BenchError) as error:
        list(write_report_files(made.project, made.domain, made.benchmark, SILENT, html=True, pdf=True))
    assert list(error.value.problems) == [
        "report.pdf: needs the package typst; install it with: pip install 'domainbench[pdf]'"
    ]
    assert {path: path.read_bytes() for path in made.domain.results.glob("report*")} == before


def test_all_forms_come_from_the_kept_leaderboard(made):
    pytest.importorskip("typst")
    paths = list(write_report_files(made.project, made.domain, made.benchmark, SILENT, html=True, pdf=True))
    assert [path.name for path in paths] == ["report.md", "report.html", "report.pdf"]
    assert paths[1].read_text() == report_html(paths[0])
    assert paths[2].read_bytes()[:5] == b"%PDF-"


def test_a_leaderboard_of_other_settings_is_no_source(made, kit):
    with pytest.raises(BenchError, match="domainbench leaderboard"):
        list(
            write_report_files(
                made.project, made.domain, made.with_benchmark(seed=9).benchmark, SILENT, html=False, pdf=False
            )
        )
    for task in ("retrieval", "reranking"):
        made.evaluate(kit.TUNED, task, made.scores(0.1, 99), model="tuned anew")
    with pytest.raises(BenchError, match="is not the run"):
        list(write_report_files(made.project, made.domain, made.benchmark, SILENT, html=False, pdf=False))
    make_leaderboard(made.project, made.domain, made.benchmark, SILENT)
    assert list(write_report_files(made.project, made.domain, made.benchmark, SILENT, html=False, pdf=False))


def test_reading_a_report_loads_no_model(report):
    code = (
        "import sys; from pathlib import Path; from benchmark.reporting.report_html import report_html; "
        "report_html(Path(sys.argv[1])); assert not {'torch', 'matplotlib', 'mteb'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(report)], check=True)


def test_forms_that_are_there_never_tell_of_an_earlier_report(made, monkeypatch):
    results = made.domain.results
    shown, printed = results / "report.html", results / "report.pdf"
    make_all(made.project, made.domain, made.benchmark, SILENT)
    assert not shown.exists() and not printed.exists(), "nobody asked for them"
    parts = made.project, made.domain, made.benchmark, SILENT
    list(write_report_files(*parts, html=True, pdf=True))
    before = shown.read_bytes(), printed.read_bytes()

    other = made.with_benchmark(seed=made.benchmark.seed + 1)
    notes = Notes()
    make_all(other.project, other.domain, other.benchmark, notes)
    report = results / "report.md"
    assert shown.read_text() == report_html(report) and printed.read_bytes() == report_pdf(report)
    assert shown.read_bytes() != before[0] and printed.read_bytes() != before[1]
    assert sum("as there was one" in line for line in notes.lines) == 2
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', shown.read_text())
    drawn = {path.read_bytes() for path in (results / "plots").glob("*.png")}
    assert pictures and {base64.b64decode(one) for one in pictures} <= drawn, "the plots that belong to it"

    # Without Typst the PDF stays, and that is said; asked for, it is an error.
    monkeypatch.setattr("benchmark.reporting.report_pdf.importlib.util.find_spec", lambda name: None)
    kept, notes = printed.read_bytes(), Notes()
    make_all(made.project, made.domain, made.benchmark, notes)
    assert shown.read_bytes() == before[0] and printed.read_bytes() == kept
    assert [
        line for line in notes.lines if "report.pdf: is still that of an earlier report" in line and "typst" in line
    ]
    with pytest.raises(BenchError, match="typst"):
        list(write_report_files(*parts, html=False, pdf=True))

    # Once Typst is back it is made up for, although nothing else has changed.
    monkeypatch.undo()
    make_all(made.project, made.domain, made.benchmark, SILENT)
    assert printed.read_bytes() == before[1]
    notes = Notes()
    make_all(made.project, made.domain, made.benchmark, notes)
    assert "nothing has changed, skipped" in notes.lines[-1]
    shown.write_text("of another time")
    make_all(made.project, made.domain, made.benchmark, SILENT)
    assert shown.read_bytes() == before[0]
