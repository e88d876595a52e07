"""Chunks keep to the budget, to the text and to the headings."""

import random
from itertools import pairwise

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from benchmark.domain.chunking import chunk_document, softened
from benchmark.domain.converted import Converted
from benchmark.domain.documents import Document
from benchmark.domain.markdown import headings
from benchmark.domain.tokens import TokenCounter
from benchmark.specs import Chunking

WORDS = [
    "coverage",
    "tests",
    "senior",
    "notes",
    "mezzanine",
    "tranche",
    "par",
    "waterfall",
    "coupon",
    "trustee",
    "reinvestment",
    "collateral",
    "ébène",
    "12.5%",
    "$500",
    "U.S.",
    "e.g.",
    "overcollateralization",
    "don't",
    "信用",
    "🙂",
    "x",
]


def cut(text, counter, title="Title", **settings):
    chunking = Chunking(tokenizer="t", **{"max_tokens": 64, "min_tokens": 12, **settings})
    document = Document("a b.md", title, Converted(text, headings(text)))
    return [sized.chunk for sized in chunk_document(document, counter, chunking)]


def made_up(seed):
    """A Markdown document of random headings, paragraphs, lists, tables and code."""
    rng = random.Random(seed)

    def words(low, high):
        return " ".join(rng.choices(WORDS, k=rng.randint(low, high)))

    def sentences():
        return " ".join(f"{words(3, 25).capitalize()}." for _ in range(rng.randint(1, 8)))

    blocks = ["# Title"]
    for _ in range(rng.randint(1, 25)):
        blocks.append(
            rng.choice(
                [
                    lambda: "#" * rng.randint(1, 4) + " " + words(1, 12),
                    sentences,
                    sentences,
                    lambda: sentences().replace(" ", "\n", 5),
                    lambda: "\n".join(f"- {words(1, 12)}" for _ in range(rng.randint(1, 9))),
                    lambda: "| a | b |\n|---|---|\n" + "\n".join(f"| {words(1, 4)} | x |" for _ in range(9)),
                    lambda: f"```\n# {words(1, 9)}\n\n{words(1, 9)}\n```",
                    lambda: "---",
                    lambda: "x" * rng.randint(1, 900),
                ]
            )()
        )
    return "\n\n".join(blocks) + "\n"


@pytest.fixture(scope="module")
def bytewise():
    """A byte-level BPE tokenizer, as RoBERTa's: it counts spaces, so tokens merge across boundaries."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(WORDS * 5, trainer)
    return TokenCounter(tokenizer)


@pytest.mark.parametrize("kind", ["wordpiece", "bytewise"])
@pytest.mark.parametrize("overlap", [0, 10])
def test_every_chunk_is_a_span_within_the_budget(shop, bytewise, kind, overlap):
    counter = bytewise if kind == "bytewise" else shop.counter
    for seed in range(25):
        text = made_up(seed)
        chunks = cut(text, counter, overlap=overlap)
        heading_lines = {h.text for h in headings(text)}
        covered = set()
        for number, chunk in enumerate(chunks):
            assert chunk.id == f"a%20b.md#{number}"
            assert text[chunk.start : chunk.end] == chunk.text
            assert chunk.text == chunk.text.strip()
            assert counter.count(chunk.full_text) <= 64
            assert chunk.text.lstrip("# ") not in heading_lines
            covered.update(range(chunk.start, chunk.end))
        assert [c.start for c in chunks] == sorted(c.start for c in chunks)
        if not overlap:
            assert all(a.end <= b.start for a, b in pairwise(chunks))
        lost = [i for i, letter in enumerate(text) if letter.isalnum() and i not in covered]
        spans = [(h.start, h.end) for h in headings(text)]
        assert all(any(start <= i < end for start, end in spans) for i in lost)


def test_chunks_know_their_headings(shop):
    text = (
        "# Title\n\nThis introduction is long enough to stand on its own in the corpus.\n\n"
        "## Fees\n\n### Senior fee\n\nThe senior fee is paid before all interest on the rated notes of the deal.\n\n"
        "## Tests\n\nThe coverage tests compare the collateral with the notes on each determination date.\n"
    )
    assert [(c.title, c.headings, c.text[:10]) for c in cut(text, shop.counter)] == [
        ("Title", (), "This intro"),
        ("Title", ("Fees", "Senior fee"), "The senior"),
        ("Title", ("Tests",), "The covera"),
    ]


def test_a_short_section_joins_its_neighbour_under_the_same_heading(shop):
    long = "Here a paragraph follows that holds enough words to be a chunk of its own."
    text = f"# Title\n\n## A\n\n{long}\n\n### A1\n\nTiny.\n\n## B\n\n{long}\n\n## C\n\nTiny too.\n"
    chunks = cut(text, shop.counter)
    assert [c.headings for c in chunks] == [("A",), ("B",)]
    assert chunks[0].text == f"{long}\n\n### A1\n\nTiny."
    assert chunks[1].text == f"{long}\n\n## C\n\nTiny too."


def test_a_short_section_stays_alone_where_nothing_fits(shop):
    full = "Every one of these words costs a token, and they fill the budget to its very end. " * 3
    text = f"# T\n\n## A\n\n{full}\n\n## B\n\nTiny one.\n\n## C\n\n{full}\n"
    chunks = cut(text, shop.counter, title="T", max_tokens=60)
    assert [c.text for c in chunks if c.headings == ("B",)] == ["Tiny one."]


def test_no_orphan_at_the_end_of_a_section(shop):
    sentence = "The trustee pays the notes in order of rank on each date. "
    chunks = cut(
        "# Title\n\n" + sentence * 4 + "\n\nAnd then there are all the other holders of its notes.\n",
        shop.counter,
        min_tokens=16,
    )
    assert len(chunks) == 2
    assert all(shop.counter.count(c.text) >= 16 for c in chunks)


def test_cuts_fall_between_sentences(shop):
    sentence = "The borrower's rate isn't fixed; it *floats* with the index. "
    for chunk in cut("# Title\n\n" + sentence * 12, shop.counter):
        assert chunk.text.startswith("The borrower's rate")
        assert chunk.text.endswith("with the index.")


def test_line_breaks_of_the_margin_are_no_boundaries(shop):
    paragraph = "The borrower pays a rate that floats with the index and resets on each of the payment dates.\n"
    lines = (paragraph.replace("\n", " ") * 9).split()
    wrapped = "\n".join(" ".join(lines[i : i + 11]) for i in range(0, len(lines), 11))
    assert all(c.text.endswith("payment dates.") for c in cut(wrapped, shop.counter))


def test_softened_text_is_as_long():
    for seed in range(25):
        text = made_up(seed)
        assert len(softened(text)) == len(text)
    assert softened("| a table row that is longer than any of them |\n| b |").count("\n") == 1
    assert softened("```\nthis line of code is longer than forty-five signs\nnext\n```").count("\n") == 3


def test_a_long_title_leaves_half_the_budget_to_the_text(shop):
    long = "An Exceedingly Long Title That Goes On And On " * 6
    text = f"# T\n\n## {long}\n\n### {long}\n\n#### Short\n\n" + "A sentence for the reader. " * 20
    for chunk in cut(text, shop.counter, title=long.strip()):
        assert shop.counter.count(chunk.heading) <= 32
        assert chunk.title.startswith("An Exceedingly")
        assert shop.counter.count(chunk.full_text) <= 64
    assert cut(text, shop.counter, title="T")[0].headings == ("Short",)


def test_a_section_longer_than_a_block_is_cut_whole(shop):
    text = "A sentence that says nothing new to the reader. " * 5000
    chunks = cut(text, shop.counter, max_tokens=200)
    assert "".join("".join(c.text.split()) for c in chunks) == "".join(text.split())


def test_the_budget_must_fit_into_the_model(shop):
    shop.write("a.md", "Text enough.")
    shop.configure((shop.folder / "domain.yaml").read_text().replace("max_tokens: 64", "max_tokens: 255"))
    [line] = shop.refusal(shop.ingest)
    assert "at most 254" in line


def test_a_tokenizer_must_be_there(shop):
    shop.write("a.md", "Text enough.")
    (shop.project.root / "model_specs" / "lexical.yaml").write_text("bm25: {}\n")
    shop.configure(
        (shop.folder / "domain.yaml").read_text().replace("tokenizer: all-minilm-l6-v2", "tokenizer: lexical")
    )
    [line] = shop.refusal(shop.ingest)
    assert "no weights of its own" in line
