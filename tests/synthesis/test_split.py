"""The split: the draws that kept results rest on, and that no text stands on both sides."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.console import SILENT
from benchmark.domain.ingest import ingest
from benchmark.encoders.bm25 import BM25Index
from benchmark.errors import BenchError
from benchmark.project import Project
from benchmark.records import Chunk, read_chunks
from benchmark.specs import BM25Settings, Negatives
from benchmark.synthesis.draft import Draft
from benchmark.synthesis.negatives import mine
from benchmark.synthesis.search import Corpus
from benchmark.synthesis.split import split_chunks, text_keys

ROOT = Path(__file__).resolve().parents[2]


def chunk(document, number, text, heading="Section"):
    return Chunk(f"{document}#{number}", document, f"Title of {document}", (heading,), 0, 9, text)


def written(*documents):
    """A corpus of documents d00, d01, ..., each given by its chunks' texts."""
    return [chunk(f"d{i:02d}", j, text) for i, texts in enumerate(documents) for j, text in enumerate(texts)]


def grid(documents, sections, chunks):
    """A corpus whose texts all differ."""
    places = [(d, s, c) for d in range(documents) for s in range(sections) for c in range(chunks + (d + s) % 3)]
    return [chunk(f"d{d}", f"{s}.{c}", f"Text {d} {s} {c}", f"Section {s}") for d, s, c in places]


def plain(chunks):
    return [" ".join(one.text.split()).casefold() for one in chunks]


def sides(chunks, split):
    """Texts of training and of development."""
    out = split.held_out.tolist()
    return ({text for text, held in zip(plain(chunks), out, strict=True) if held is side} for side in (False, True))


def digest(chunks, split):
    ids = [one.id for one, held in zip(chunks, split.held_out, strict=True) if held]
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


# --- the draw -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "unit", "drawn"),
    [
        ((30, 1, 3), "document", ["be195cbefb62ed90", "3464223e6698a7c5"]),
        ((3, 6, 4), "section", ["b398eb9d9212e785", "4182309c535865de"]),
        ((2, 2, 20), "run of chunks", ["941c633802a1e8fc", "b4c46e56b6e16d18"]),
    ],
)
def test_without_copies_the_draw_stays_what_it_was(shape, unit, drawn):
    chunks = grid(*shape)
    splits = [split_chunks(chunks, share, seed) for share, seed in ((0.12, 0), (0.3, 5))]
    assert [digest(chunks, split)[:16] for split in splits] == drawn
    assert {(split.unit, split.common) for split in splits} == {(unit, 0)}


@pytest.mark.parametrize(
    ("seed", "held", "drawn"),
    [
        (0, 67, "df830618c05d4bfa6e52fb068dd8d9c3d10bb3d6c399d66e6065e39d0d8a23e8"),
        (1, 73, "eedf89d788383a9691a6536371ff841c17af731e279f4ec27c66e099079b4e2c"),
    ],
)
def test_the_draw_of_the_domain_that_comes_with_the_project_stays(built_in, seed, held, drawn):
    split = split_chunks(built_in, 0.12, seed)
    assert (len(built_in), split.held_out.sum(), split.unit) == (547, held, "document")
    assert digest(built_in, split) == drawn


@pytest.fixture(scope="module")
def built_in(tmp_path_factory):
    """The chunks of tasks/structured_finance."""
    root = tmp_path_factory.mktemp("built-in")
    for name in ("model_specs", "tasks/structured_finance"):
        shutil.copytree(ROOT / name, root / name)
    project = Project(root)
    outcome = ingest(project, project.domain("structured_finance"), SILENT)
    return read_chunks(outcome.folder / "chunks.jsonl")


@pytest.mark.parametrize(("count", "drawn"), [(40, "5f757f5aaf7afd44"), (7, "d50f0e7d1c401ae6")])
def test_passages_that_are_documents_of_their_own_are_called_so(count, drawn):
    chunks = [Chunk(f"p{i}", f"p{i}", "", (), 0, 9, f"t {i}") for i in range(count)]
    split = split_chunks(chunks, 0.12 if count == 40 else 0.2, 0)
    assert split.unit == "passage" and digest(chunks, split)[:16] == drawn


# --- copies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_copies_stand_on_one_side(seed):
    pairs = [
        ([f"Rule {i} says so.", f"And {i} it ends."], [f"AND {i}\u00a0it\n ends. ", f"Other {i}."]) for i in range(10)
    ]
    chunks = written(*(texts for pair in pairs for texts in pair))
    split = split_chunks(chunks, 0.25, seed)
    held = split.held_out.reshape(10, 4)  # a pair of documents in each row
    assert (held.all(axis=1) | ~held.any(axis=1)).all() and 8 <= split.held_out.sum() <= 16
    assert split.unit == "document" and split.common == 0
    train, dev = sides(chunks, split)
    assert train and dev and not train & dev


def test_copies_of_copies_hang_together_also_within_a_document():
    texts = [f"Passage {i}." for i in range(60)]
    texts[10] = texts[20] = "First clause."
    texts[19] = texts[40] = "Second clause."  # in the same run of three as the twentieth
    chunks = written(texts)
    held = [split_chunks(chunks, 0.3, seed).held_out[[10, 20, 19, 40]].tolist() for seed in range(20)]
    assert [True] * 4 in held and [False] * 4 in held and all(len(set(row)) == 1 for row in held)


def test_a_text_that_stands_everywhere_is_left_to_training():
    """The merged documents would be the whole corpus."""
    documents = [["No warranty.", f"Article {i}.", f"Clause {i}."] for i in range(20)]
    documents[4][1] = documents[9][1] = "Twice."
    chunks = written(*documents)
    for seed in range(10):
        split = split_chunks(chunks, 0.3, seed)
        train, dev = sides(chunks, split)
        assert split.common == 20 and "no warranty." in train and not train & dev and len(dev) >= 8
        assert split.held_out[4 * 3 + 1] == split.held_out[9 * 3 + 1]  # what stands in few documents still merges


def test_a_chain_of_copies_through_the_corpus_is_left_to_training():
    chunks = written(*([f"Link {i}.", f"Own {i}.", f"Link {i + 1}."] for i in range(20)))
    split = split_chunks(chunks, 0.2, 0)
    train, dev = sides(chunks, split)
    assert split.common == 38 and dev and not train & dev
    assert all(f"link {i}." in train for i in range(1, 20))


def test_a_large_document_without_copies_is_no_lump():
    chunks = written([f"Long {i}." for i in range(100)], *([f"Short {i}.", f"Pair {i // 2}."] for i in range(12)))
    split = split_chunks(chunks, 0.1, 0)
    assert split.common == 0 and not split.held_out[:100].any() and split.held_out.any()


def test_nothing_but_copies_is_an_error():
    with pytest.raises(BenchError, match="nothing can be held out"):
        split_chunks(written(*[["The same."]] * 12), 0.2, 0)


@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=5), min_size=1, max_size=25), st.integers(0, 3))
def test_no_text_ever_stands_on_both_sides(documents, seed):
    chunks = written(*([f"Text {number}{' ' * (i % 2)}" for number in row] for i, row in enumerate(documents)))
    try:
        split = split_chunks(chunks, 0.2, seed)
    except BenchError:
        assert len(chunks) == 1 or len(set(plain(chunks))) < len(chunks)
    else:
        train, dev = sides(chunks, split)
        assert train and dev and not train & dev


def test_texts_of_development_are_no_negatives_of_training():
    """A mask by position knows nothing of a copy elsewhere."""
    texts = [f"Berth number {i} is let." for i in range(12)]
    texts[7] = "  BERTH number 3 is\nlet."
    chunks = written(*([text] for text in texts))
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(12, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    held = np.zeros(12, dtype=bool)
    held[3] = True
    index = BM25Index([one.id for one in chunks], [one.full_text for one in chunks], BM25Settings())
    mined = mine(
        Corpus(chunks, vectors, index), [Draft("berth", 0, "llm", ""), Draft("berth", 3, "llm", "")],
        vectors[[0, 3]], held, {}, Negatives(count=11, pool=11, margin=1.0), 1.0, 0,
    )  # fmt: skip
    training, development = mined.negatives
    assert not {3, 7} & set(training) and len(training) >= 8
    assert not {3, 7} & set(development)  # its own text


def test_equal_texts_have_equal_keys():
    keys = text_keys(written(["A  b", "a\nB ", "a c"]))
    assert keys[0] == keys[1] != keys[2]
