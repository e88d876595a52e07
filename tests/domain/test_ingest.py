"""The ingest stage from files to files."""

import tracemalloc

import pytest

from benchmark.domain.documents import find_documents
from benchmark.domain.ingest import write_documents
from benchmark.errors import Problems
from benchmark.files import iter_jsonl

PASSAGE = "A cleanup call lets the servicer buy the last loans once the pool has shrunk to a tenth of its size."
OTHER = "A step-up coupon gives the issuer a reason to call the notes on the first date on which it may do so."


def test_outputs_and_facts(shop):
    shop.write("b.md", f"# Calls\n\n{PASSAGE}\n")
    shop.write("a b/é.txt", OTHER)
    outcome = shop.ingest()
    assert [c.id for c in shop.chunks()] == ["a%20b/%C3%A9.txt#0", "b.md#0"]
    rows = list(iter_jsonl(outcome.folder / "documents.jsonl"))
    assert [(row["document"], row["title"], row["text"]) for row in rows] == [
        ("a b/é.txt", "é", OTHER), ("b.md", "Calls", f"# Calls\n\n{PASSAGE}\n")
    ]  # fmt: skip
    assert rows[0]["characters"] == len(OTHER)
    tokens = sorted(shop.counter.count(c.full_text) for c in shop.chunks())
    assert outcome.facts == {
        "documents": 2, "chunks": 2, "exact_duplicates": 0, "near_duplicates": 0, "duplicate_documents": 0,
        "tokens": {"median": tokens[0], "p95": tokens[1], "max": tokens[1]},
    }  # fmt: skip


def test_skipped_when_nothing_changed_and_made_again_when_anything_did(shop, notebook):
    path = shop.write("a.md", PASSAGE)
    first = shop.ingest()
    before = (first.folder / "chunks.jsonl").read_bytes()
    path.touch()
    assert shop.ingest().skipped
    (first.folder / "chunks.jsonl").write_text("edited")
    assert not shop.ingest().skipped
    assert (first.folder / "chunks.jsonl").read_bytes() == before
    shop.configure((shop.folder / "domain.yaml").read_text().replace("max_tokens: 64", "max_tokens: 63"))
    assert not shop.ingest().skipped
    path.rename(path.with_name("b.md"))
    shop.ingest(notebook)
    assert "ingest demo: done again, changed: documents" in notebook.lines


def test_a_new_mistake_is_told_and_the_old_corpus_stays(shop):
    shop.write("a.md", PASSAGE)
    folder = shop.ingest().folder
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    shop.write("b.md", b"\xff")
    [line] = shop.refusal(shop.ingest)
    assert "b.md:1: not UTF-8" in line
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["chunks"]


def test_the_same_passage_under_the_same_heading_is_dropped(shop):
    shop.write("a.md", f"# Calls\n\n{PASSAGE}\n\n## More\n\n{OTHER}\n")
    shop.write("b.md", f"# Calls\n\n{PASSAGE.replace(' ', '  ')}\n\n## Elsewhere\n\n{OTHER}\n")
    assert [c.id for c in shop.chunks()] == ["a.md#0", "a.md#1", "b.md#1"]
    exact, near = shop.duplicates()
    assert exact == {
        "kind": "exact", "chunk": "b.md#0", "of": "a.md#0", "similarity": 1.0, "document": "b.md", "start": 9,
        "end": 9 + len(PASSAGE.replace(" ", "  ")),
    }  # fmt: skip
    assert (near["kind"], near["chunk"], near["of"], near["similarity"]) == ("near", "b.md#1", "a.md#1", 1.0)


def test_a_copied_document_is_noted_and_its_chunks_dropped(shop):
    shop.write("first.txt", f"{PASSAGE}\n\n{OTHER}\n")
    shop.write("second_copy_with_a_longer_name.txt", f"{PASSAGE}\n\n{OTHER}\n")
    facts = shop.ingest().facts
    assert (facts["chunks"], facts["exact_duplicates"], facts["duplicate_documents"]) == (1, 1, 1)
    assert {c.document for c in shop.chunks()} == {"first.txt"}
    assert {
        "kind": "document",
        "document": "second_copy_with_a_longer_name.txt",
        "of": "first.txt",
    } in shop.duplicates()


def test_nearly_the_same_passages_are_kept_and_listed(shop):
    words = [f"word{number}" for number in range(20)]
    shop.write("a.txt", " ".join(words))
    shop.write("b.txt", " ".join([*words, "more"]))
    assert [c.id for c in shop.chunks()] == ["a.txt#0", "b.txt#0"]
    [row] = shop.duplicates()
    assert (row["kind"], row["chunk"], row["of"]) == ("near", "b.txt#0", "a.txt#0")
    assert 0.9 <= row["similarity"] <= 1


def test_document_text_is_data(shop):
    hostile = "Score {0} %s {chunk.__class__} {{ 7*7 }} $HOME `ls` <script>x</script> \u202e rule\u0007."
    shop.write("a.txt", hostile)
    [chunk] = shop.chunks()
    assert chunk.text == hostile


def peak(shop, tmp_path, count, text):
    """Peak of traced memory (bytes) while `count` documents are ingested, and their text's size."""
    for number in range(count):
        shop.write(f"{number:05}.md", text(number))
    problems = Problems()
    listing = find_documents(shop.domain, problems)
    counter = shop.counter
    folder = tmp_path / f"out{count}"
    folder.mkdir()
    tracemalloc.start()
    try:
        facts = write_documents(folder, shop.domain, listing, counter, _Quiet(), problems)
        return tracemalloc.get_traced_memory()[1], facts
    finally:
        tracemalloc.stop()


class _Quiet:
    def note(self, text):
        pass

    def track(self, items, *, total, label):
        return iter(items)


def test_documents_stream_through_memory(shop, tmp_path):
    """Four times the documents: only hashes and signatures may grow, 1.5 kB a chunk, not their text, 3.9 kB each."""
    body = "\n\n".join([PASSAGE, OTHER] * 19)

    def text(number):
        return f"# Report\n\n{body}\n\nLine {number}.\n"

    few, facts = peak(shop, tmp_path, 40, text)
    many, more = peak(shop, tmp_path, 160, text)
    assert more["documents"] == 160
    new_chunks = more["chunks"] - facts["chunks"]
    assert many - few < 120 * 500 + 2_000 * new_chunks < 120 * len(text(0))


def test_a_corpus_in_the_beir_layout_comes_as_given(shop, beir):
    beir(
        [
            {"_id": "d1", "title": "T", "text": " spaced \n"},
            {"id": "d2", "title": "", "text": "other", "doc_id": "D", "metadata": {}},
            {"_id": "d3", "title": "Title alone", "text": ""},
            {"_id": "d4", "title": "T", "text": "spaced"},
        ],
        [],
        [],
    )
    facts = shop.ingest().facts
    assert (facts["documents"], facts["chunks"], facts["exact_duplicates"], facts["tokens"]) == (4, 4, 1, None)
    chunks = shop.chunks()
    assert [(c.id, c.document, c.title, c.text, c.start, c.end, c.headings) for c in chunks[:3]] == [
        ("d1", "d1", "T", " spaced \n", -1, -1, ()), ("d2", "D", "", "other", -1, -1, ()),
        ("d3", "d3", "", "Title alone", -1, -1, ()),
    ]  # fmt: skip
    assert list(iter_jsonl(shop.domain.chunks / "documents.jsonl")) == []


def test_mistakes_of_a_beir_corpus(shop, beir):
    folder = beir(
        [
            {"_id": "a b", "text": "x"}, {"text": "x"}, {"_id": "c", "text": "x"}, {"_id": "c", "text": "y"},
            {"_id": "d", "title": "", "text": " "}, {"_id": "e", "text": 5}, {"_id": 6, "text": "x"},
        ],
        [],
        [],
    )  # fmt: skip
    with (folder / "corpus.jsonl").open("ab") as stream:
        stream.write(b'{"_id": \n["list"]\n{"_id": "\xff", "text": "x"}\n')
    told = [line.split("corpus.jsonl:")[1] for line in shop.refusal(shop.ingest)]
    parts = [
        "1: the id 'a b' holds white space", "2: no '_id'", "4: the id c stands here a second time",
        "5: neither title nor text", "6: 'text' is not a text but int", "6: neither title nor text", "7: no '_id'",
        "8: not JSON", "9: not a JSON object but list", "10: not UTF-8 (byte 0xff)",
    ]  # fmt: skip
    assert len(told) == len(parts)
    for line, part in zip(told, parts, strict=True):
        assert line.startswith(part), line


@pytest.mark.parametrize("rows", [None, []])
def test_a_beir_corpus_that_is_not_there_or_empty(shop, beir, rows):
    folder = beir([], [], [])
    if rows is None:
        (folder / "corpus.jsonl").unlink()
    [line] = shop.refusal(shop.ingest)
    assert "no such file" in line if rows is None else "no passages" in line
