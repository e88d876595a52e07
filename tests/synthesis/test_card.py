"""The data card: what the Hub reads, what people read, and that text of documents changes neither."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml
from markdown_it import MarkdownIt

from benchmark.files import iter_jsonl
from benchmark.records import Chunk
from benchmark.synthesis.card import CardInput, write_card
from benchmark.synthesis.draft import Draft, Dropped
from benchmark.synthesis.formats import Data, write_all
from benchmark.synthesis.negatives import Mined
from benchmark.synthesis.rag_columns import Rag, RagRow
from benchmark.synthesis.split import Split

NASTY = "<script>alert(1)</script> | {{ 7 * 1111 }} {% raw %} *bold* [x](http://a) `code`\n# heading\n---\n$x$ %s {0}"
CHUNKS = [Chunk(f"d{i}.md#0", f"d{i}.md", f"Title {i} | <b>", (NASTY,), 0, 9, f"{NASTY} text {i}") for i in range(12)]
TYPES = ("question", "keywords", "edge")


def llm(number):
    return Draft(
        f"What about number {number}?", number % 12, "llm", "p", TYPES[number % 3], "a newcomer", "easy", "So."
    )


KEPT = [*(llm(number) for number in range(30)), *(Draft(f"span {n} {NASTY}", n, "span", "p") for n in range(10))]
DROPPED = [
    *(Dropped(llm(number), "round_trip", 9.0) for number in range(40, 52)),
    *(Dropped(llm(number), "leak", 1.0) for number in range(60, 63)),
    Dropped(llm(70), "unread"),
    Dropped(Draft(NASTY, 3, "span", "p"), "length", 2.0),
]
ROWS = [RagRow("c", "q", "r", "q", "n", "p", "o")]


@pytest.fixture
def write(tmp_path):
    """Write tables and card; returns the folder."""
    held_out = np.array([place >= 10 for place in range(12)])
    mined = Mined(negatives=[[(draft.chunk + 1) % 12] for draft in KEPT])

    class Scores:
        own = [1.0] * len(KEPT)
        negatives = [[0.5]] * len(KEPT)

    def write(name="data", kept=KEPT, rag=ROWS, held_out=held_out, **changes):
        folder = tmp_path / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        data = Data(CHUNKS, kept, DROPPED, mined, Split(held_out, "document"), 1, Scores(), Rag(rag))
        card = CardInput(
            title="Village: <b> | {{ x }}", licence="CC0-1.0", language="eng-Latn",
            passages="The passages are the domain's own documents, cut into chunks.", chunks=CHUNKS, kept=kept,
            dropped=DROPPED, rows=write_all(folder, data),
            asked={"questions": {"model": "m of http://localhost", "asked": 40, "journal": 6, "replay": 0, "failed": 2,
                                 "failures": {"timed out": 2}, "input_tokens": 4600, "output_tokens": "unknown",
                                 "usd": "unknown"}},
            filters={"off": ["language"], "not_asked": ["judge"], "leak": {"test_questions": 8, "exact": 1, "ngram": 2},
                     "relaxed": [{"rule": "round_trip", "from": 3, "to": 8}]},
            negatives={"mined": 40, "short_because_of": {"margin": 4}}, rag={"rows": 1, "responses": {"written": 1}},
            facts={}, prompts={"question_system": "ab12", "rag_columns": "cd34"}, edited=["rag_columns"],
            retriever="tiny", teacher="the bi-encoder tiny", development_by="document",
            coverage=[{"term": f"TERM{n}", "kind": "acronym", "expansion": "", "chunks": 2, "questions": n % 2,
                       "queries": 1} for n in range(80)],
            seed=0,
        )  # fmt: skip
        write_card(folder, replace(card, **changes))
        return folder

    return write


def header_of(folder):
    return yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])


def test_the_hub_reads_the_header_and_each_table_loads_by_its_name(write, tmp_path):
    from datasets import get_dataset_config_names, load_dataset

    folder = write()
    header = header_of(folder)
    assert header["license"] == "cc0-1.0" and header["language"] == ["en"] and header["size_categories"] == ["n<1K"]
    assert header["pretty_name"] == "Synthetic queries: Village: <b> | {{ x }}"
    assert get_dataset_config_names(str(folder)) == ["triplets", "ntuples", "pairs", "rag"]
    pairs = load_dataset(str(folder), "pairs", cache_dir=str(tmp_path / "cache"))
    assert {name: len(part) for name, part in pairs.items()} == {"train": 72, "dev": 8}
    rag = load_dataset(str(folder), "rag", cache_dir=str(tmp_path / "cache"))
    assert {name: len(part) for name, part in rag.items()} == {"train": 1}


def test_what_is_not_there_is_not_promised(write, tmp_path):
    from datasets import load_dataset

    folder = write(rag=[], held_out=np.zeros(12, dtype=bool), licence="our own terms", language="gsw-Latn",
                   asked={}, filters={}, coverage=[], negatives={})  # fmt: skip
    header = header_of(folder)
    assert header["license"] == "other" and header["language"] == ["gsw"]
    assert [config["config_name"] for config in header["configs"]] == ["triplets", "ntuples", "pairs"]
    loaded = load_dataset(str(folder), "ntuples", cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"]
    text = (folder / "README.md").read_text()
    assert "No language model was asked." in text and "There was no test question to check against." in text
    assert "Licence of the documents: our own terms." in text and "No terms were found" in text


def test_the_card_tells_counts_funnel_generator_and_limits(write):
    text = (write() / "README.md").read_text()
    for line in (
        "40 queries on 12 passages",
        "| unread | 57 | 1 | 56 | 1.8 % |\n| length | 56 | 1 | 55 | 1.8 % |\n| leak | 55 | 3 | 52 | 5.3 % |\n"
        "| round\\_trip | 52 | 12 | 40 | 21.1 % |",
        "| llm | 46 | 30 | 65.2 % |\n| span | 11 | 10 | 90.9 % |",
        "| easy | 46 | 30 | 65.2 % |",
        "| questions | m of http://localhost | 46 | timed out: 2 | 4600 | unknown | unknown |",
        "Edited for this data set: `rag_columns`.",
        "| `question_system` | `ab12` |\n| `rag_columns` (edited) | `cd34` |",
        "Switched off: `language`.",
        "Not asked, as nothing was set for them: `judge`.",
        "- rule round\\_trip, from 3, to 8",
        "| test questions | 8 |\n| exact | 1 |\n| ngram | 2 |",
        "| short because of: margin | 4 |",
        "80 terms and acronyms were found in the passages; no question speaks of 40 of them. The first: TERM0; TERM2;",
        "Licence of the documents: CC0-1.0.",
        "## What it is not for",
        "drawn with seed 0",
    ):
        assert line in text, line
    assert "TERM58" in text and "TERM60" not in text  # the first thirty


def test_a_leak_check_that_was_switched_off_is_told(write):
    text = (write(filters={"off": ["leak"]}) / "README.md").read_text()
    assert "The check was switched off" in text and "no test question" not in text


def test_text_of_documents_stays_text(write):
    folder = write()
    shown = MarkdownIt("commonmark").enable("table").render((folder / "examples.md").read_text())
    card = (folder / "README.md").read_text().split("---\n", 2)[2]
    for page in (shown, MarkdownIt("commonmark").enable("table").render(card)):
        assert "<script>" not in page and "<b>" not in page and "<em>" not in page and 'href="http' not in page
        assert "{{ 7 * 1111 }}" in page or "{{ x }}" in page
        assert "7777" not in page
    assert shown.count("<h1>") == 1 and shown.count("<h2>") == 2


def test_the_examples_are_twenty_kept_and_ten_dropped_drawn_by_the_seed(write):
    text = (write() / "examples.md").read_text()
    kept, dropped = text.split("## Dropped")
    assert kept.count("\n### ") == 20 and dropped.count("\n### ") == 10
    assert dropped.count("- dropped by ") == 10 and "- dropped by round\\_trip (9)" in dropped
    assert "- llm, question, easy, a newcomer\n- answer: So.\n- passage: Title" in kept
    assert (write("other", seed=1) / "examples.md").read_text() != text
    few = (write("few", kept=KEPT[:3]) / "examples.md").read_text()
    assert few.split("## Dropped")[0].count("\n### ") == 3


def test_the_same_input_gives_the_same_bytes_wherever_answers_came_from(write):
    one = {path.name: path.read_bytes() for path in write().iterdir()}
    two = {path.name: path.read_bytes() for path in write("again").iterdir()}
    assert one == two and {"README.md", "examples.md", "picture.png", "terms.jsonl"} <= set(one)
    asked = {"questions": {"model": "m of http://localhost", "asked": 0, "journal": 46, "replay": 0, "failed": 2,
                           "failures": {"timed out": 2}, "input_tokens": 4600, "output_tokens": "unknown",
                           "usd": "unknown"}}  # fmt: skip
    assert (write(asked=asked) / "README.md").read_bytes() == one["README.md"]


def test_the_terms_are_written_row_by_row(write):
    rows = list(iter_jsonl(write() / "terms.jsonl"))
    assert len(rows) == 80 and rows[1] == {
        "term": "TERM1", "kind": "acronym", "expansion": "", "chunks": 2, "questions": 1, "queries": 1,
    }  # fmt: skip


def test_the_picture_is_a_thousand_pixels_wide_and_shows_what_there_is(write):
    from matplotlib.image import imread

    full = imread(write() / "picture.png")
    assert full.shape[1] == 1000
    import benchmark.synthesis.picture as picture

    folder = write("one")
    picture.write_picture(folder / "small.png", KEPT[:1], [], {})
    small = imread(folder / "small.png")
    assert small.shape[1] == 1000 and small.shape[0] < full.shape[0]
    blue = np.array([0, 0x72, 0xB2]) / 255
    orange = np.array([0xD5, 0x5E, 0]) / 255
    has = lambda image, colour: bool((np.abs(image[..., :3] - colour).max(axis=2) < 0.01).any())  # noqa: E731
    assert has(full, blue) and has(full, orange) and has(small, blue)
    # Nothing was dropped: orange is in the legend alone, above the middle of the picture.
    assert not has(small[small.shape[0] * 2 // 3 :], orange)
