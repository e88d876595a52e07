"""Real files of every kind become text with headings; bad ones are told all at once."""

import os
import zipfile

import docx
import pytest
from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph, SimpleDocTemplate

from benchmark.domain.documents import find_documents, read_document
from benchmark.errors import Problems

WATERFALL = (
    "Interest proceeds pay the senior fees first, and then the coupons of each class in the order of its rank. "
    "Where a coverage test fails, what would have gone to the equity holders repays the senior notes instead. "
)


def read(shop, name):
    listing = find_documents(shop.domain, Problems())
    return read_document(next(source for source in listing.sources if source.name == name))


def write_pdf(path, story, title=None, footer="Draft"):
    styles = getSampleStyleSheet()

    def edge(canvas, _template):
        canvas.setFont("Helvetica", 9)
        canvas.drawString(72, 30, f"{footer}, page {canvas.getPageNumber()}")

    template = SimpleDocTemplate(str(path), pagesize=A4, title=title)
    template.build([Paragraph(text, styles[style]) for style, text in story], onFirstPage=edge, onLaterPages=edge)


def write_docx(path):
    document = docx.Document()
    document.core_properties.title = "Metadata title"
    document.add_heading("Priority of payments", 0)
    document.add_paragraph("The trustee pays.")
    document.add_heading("Fees", 1)
    document.add_paragraph(WATERFALL)
    document.add_paragraph("first item", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip([c for row in table.rows for c in row.cells], ["Class", "Coupon", "A", "5 %"], strict=True):
        cell.text = text
    document.save(str(path))


def test_markdown_stays_as_it_is(shop):
    text = "---\ntitle: Front\ntags: [a]\n---\nIntro.\n\n## One *two* [three](http://x)\n\nText.\n\n```\n# no heading\n```\n"
    shop.write("a.md", b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    document = read(shop, "a.md")
    assert document.text == text
    assert document.title == "Front"
    [heading] = document.content.headings
    assert (heading.level, heading.text) == (2, "One two three")
    assert text[heading.start : heading.end] == "## One *two* [three](http://x)\n"


def test_setext_headings_and_the_first_h1_as_title(shop):
    shop.write("a.md", "Preface.\n\nThe Title\nin two lines\n=====\n\nBody.\n\nLater\n-----\n\nMore.\n\n> # quoted\n")
    document = read(shop, "a.md")
    assert document.title == "The Title in two lines"
    assert [(h.level, h.text) for h in document.content.headings] == [(1, "The Title in two lines"), (2, "Later")]


def test_text_has_its_name_in_words_as_title(shop):
    shop.write("sub/loan_terms-2024.txt", "# not a heading here\n")
    document = read(shop, "sub/loan_terms-2024.txt")
    assert document.title == "loan terms 2024"
    assert document.content.headings == ()


def test_html_without_page_furniture(shop):
    shop.write(
        "a.html",
        "<html><head><title>Tab title</title><style>p{}</style></head><body><nav>Home | About</nav>"
        "<script>alert('x')</script><main><h2>Fees &amp; costs</h2><p>Pay <b>first</b> <a href='u'>the\n fees</a>.</p>"
        "<ul><li>one</li><li>two_three*</li></ul><p hidden>secret</p><pre># shell\nls</pre></main>"
        "<footer>Imprint</footer></body></html>",
    )
    document = read(shop, "a.html")
    assert document.title == "Tab title"
    assert "Pay first the fees." in " ".join(document.text.split())
    assert "- two_three*" in document.text
    assert [h.text for h in document.content.headings] == ["Fees & costs"]
    for junk in ("Home", "alert", "p{}", "secret", "Imprint", "Tab title", "http", "**"):
        assert junk not in document.text


def test_docx(shop):
    write_docx(shop.documents / "a.docx")
    document = read(shop, "a.docx")
    assert document.title == "Priority of payments"
    assert [(h.level, h.text) for h in document.content.headings] == [(1, "Priority of payments"), (1, "Fees")]
    assert WATERFALL.strip() in document.text
    assert "- first item" in document.text
    assert "| A | 5 % |" in document.text


def test_docx_without_headings_takes_its_metadata_title(shop):
    document = docx.Document()
    document.core_properties.title = "Fees & waivers"
    document.add_paragraph("Only text.")
    document.save(str(shop.documents / "a.docx"))
    assert read(shop, "a.docx").title == "Fees & waivers"


def test_pdf_lines_become_paragraphs_and_large_lines_headings(shop):
    story = [("Title", "Priority of payments"), ("Heading2", "Interest proceeds"), ("BodyText", WATERFALL * 8)]
    story += [("Heading2", "Principal proceeds"), *[("BodyText", WATERFALL * 6)] * 9]
    write_pdf(shop.documents / "a.pdf", story)
    document = read(shop, "a.pdf")
    assert document.title == "Priority of payments"
    headings = document.content.headings
    assert [(h.level, h.text) for h in headings] == [
        (1, "Priority of payments"), (2, "Interest proceeds"), (2, "Principal proceeds")
    ]  # fmt: skip
    assert all(document.text[h.start : h.end] == h.text for h in headings)
    assert (WATERFALL * 8).strip() in document.text
    assert "Draft, page" not in document.text


def test_pdf_of_chapters_has_its_metadata_title(shop):
    story = [("Heading1", "One"), ("BodyText", WATERFALL), ("Heading1", "Two"), ("BodyText", WATERFALL)]
    write_pdf(shop.documents / "a.pdf", story, title="The manual")
    write_pdf(shop.documents / "raw_scan.pdf", story, title="untitled")
    assert read(shop, "a.pdf").title == "The manual"
    assert read(shop, "raw_scan.pdf").title == "raw scan"


def test_hyphens_at_the_end_of_a_line(shop):
    canvas = Canvas(str(shop.documents / "a.pdf"))
    canvas.drawString(72, 700, "The senior notes are repaid in full before the mezza-")
    canvas.drawString(72, 685, "nine notes receive any principal at all from the pool.")
    canvas.save()
    assert "before the mezzanine notes receive" in read(shop, "a.pdf").text


def test_mistakes_of_documents_are_told_all_at_once(shop):
    shop.configure((shop.folder / "domain.yaml").read_text() + "max_file_mb: 0.5\n")
    shop.write("good.md", "# Good\n\nA document that can be read.\n")
    shop.write("empty.txt", "")
    shop.write("blank.md", " \n\n***\n")
    shop.write("headings.md", "# Only\n\n## Headings\n")
    shop.write("latin.txt", "fine\ncaf\xe9\n".encode("latin-1"))
    shop.write("nul.md", b"a\0b")
    shop.write("big.txt", b"\0" * 600_000)
    shop.write("broken.pdf", b"%PDF-1.4 nonsense")
    shop.write("cut.pdf", b"")
    shop.write("broken.docx", b"no zip")
    shop.write("old.docx", b"\xd0\xcf\x11\xe0rest")
    with zipfile.ZipFile(shop.documents / "hollow.docx", "w") as archive:
        archive.writestr("word/other.xml", "<a/>")
    with zipfile.ZipFile(shop.documents / "bomb.docx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"0" * 30_000_000)
    shop.write("deep.html", "<div>" * 5000 + "x" + "</div>" * 5000)
    scan = Canvas(str(shop.documents / "scan.pdf"))
    scan.rect(72, 600, 200, 100, fill=1)
    scan.save()
    locked = Canvas(str(shop.documents / "locked.pdf"), encrypt=StandardEncryption("secret"))
    locked.drawString(72, 700, "hidden words")
    locked.save()
    told = dict(line.split(": ", 1) for line in shop.refusal(shop.ingest))
    said = {name.rsplit("/", 1)[-1]: text for name, text in told.items()}
    expected = {
        "empty.txt": "holds no text",
        "blank.md": "holds no text",
        "headings.md": "headings alone",
        "latin.txt:2": "not UTF-8 (byte 0xe9)",
        "nul.md": "NUL",
        "big.txt": "0.6 MB, more than max_file_mb (0.5)",
        "broken.pdf": "broken PDF",
        "cut.pdf": "broken PDF",
        "broken.docx": "no zip archive",
        "old.docx": "encrypted or an old .doc",
        "hollow.docx": "broken Word document",
        "bomb.docx": "when unpacked",
        "deep.html": "nested too deeply",
        "scan.pdf": "no text on its 1 pages",
        "locked.pdf": "encrypted",
    }
    assert said.keys() == expected.keys()
    for name, part in expected.items():
        assert part in said[name], said[name]
    assert not shop.domain.chunks.exists()


def test_pdf_with_an_empty_password_is_read(shop):
    canvas = Canvas(str(shop.documents / "a.pdf"), encrypt=StandardEncryption("", ownerPassword="owner"))
    canvas.drawString(72, 700, "Printing is forbidden, reading is not.")
    canvas.save()
    assert "reading is not" in read(shop, "a.pdf").text


def test_pages_without_text_are_noted(shop, notebook):
    canvas = Canvas(str(shop.documents / "a.pdf"))
    canvas.drawString(72, 700, "The first page holds this sentence and nothing else.")
    canvas.showPage()
    canvas.showPage()
    canvas.save()
    shop.ingest(notebook)
    assert any("1 of 2 pages hold no text" in line for line in notebook.lines)


@pytest.mark.parametrize(
    ("files", "part"),
    [
        (None, "no such folder"),
        ([], "no documents in it"),
        (["a.png", "b.png", "c"], "left out: 2 × .png, 1 × without"),
    ],
)
def test_nothing_to_read(shop, files, part):
    if files is None:
        shop.documents.rmdir()
    for name in files or []:
        shop.write(name, "x")
    [line] = shop.refusal(shop.ingest)
    assert part in line


def test_other_kinds_are_noted_and_hidden_files_passed_over(shop, notebook):
    shop.write("a.md", "Text enough.")
    shop.write("logo.png", b"\0")
    shop.write(".hidden.md", b"\0")
    shop.write(".git/x.md", b"\0")
    shop.write("~$lock.docx", b"\0")
    assert shop.ingest(notebook).facts["documents"] == 1
    assert [line for line in notebook.lines if "1 × .png" in line]


def test_links_do_not_lead_out_or_in_circles(shop, notebook, tmp_path):
    shop.write("a.md", "The only document.")
    outside = tmp_path / "outside.md"
    outside.write_text("Not for the corpus.")
    for link, target in [
        ("out.md", outside), ("circle.md", "circle.md"), ("gone.md", "nowhere.md"), ("up", shop.documents), ("etc", "/etc")
    ]:  # fmt: skip
        (shop.documents / link).symlink_to(target)
    assert shop.ingest(notebook).facts["documents"] == 1
    for name in ("out.md", "circle.md", "gone.md", "up", "etc"):
        assert any(f"documents/{name}: a link" in line for line in notebook.lines), name


def test_a_name_that_cannot_be_written_is_refused(shop):
    shop.write("a.md", "Text enough.")
    shop.ingest()
    try:
        (shop.documents / os.fsdecode(b"caf\xe9.md")).write_text("x y z")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    [line] = shop.refusal(shop.ingest)
    assert "not UTF-8; rename" in line


def test_long_lists_of_mistakes_are_cut(shop):
    for number in range(60):
        shop.write(f"{number:02}.txt", "")
    lines = shop.refusal(shop.ingest)
    assert len(lines) == 51
    assert lines[-1] == "and 10 more"
