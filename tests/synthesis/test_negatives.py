"""Mined negatives: what is never one, the margin, the draw, and what is told about shortfalls."""

import numpy as np

from benchmark.encoders.bm25 import BM25Index
from benchmark.records import Chunk
from benchmark.specs import BM25Settings, GenerateSpec
from benchmark.synthesis.draft import Draft
from benchmark.synthesis.negatives import mine
from benchmark.synthesis.search import Corpus


def spec(**settings):
    return GenerateSpec(questions_per_chunk=0, retriever="tiny", **settings)


def at(angle):
    return [np.cos(angle), np.sin(angle)]


def corpus(rows):
    """Chunks from (document, heading, text, angle of the vector)."""
    chunks = [
        Chunk(f"c{i}", document, "", (heading,) if heading else (), 0, len(text), text)
        for i, (document, heading, text, _) in enumerate(rows)
    ]
    vectors = np.array([at(angle) for *_, angle in rows], dtype=np.float32)
    texts = [chunk.full_text for chunk in chunks]
    return Corpus(chunks, vectors, BM25Index([chunk.id for chunk in chunks], texts, BM25Settings()))


def mined_from(space, drafts, held_out=(), seed=0, **settings):
    vectors = np.array([at(0.0)] * len(drafts), dtype=np.float32)
    held = np.zeros(len(space.chunks), dtype=bool)
    held[list(held_out)] = True
    return mine(space, drafts, vectors, held, spec(**settings), seed)


ROWS = [
    ("a.md", "One", "the positive", 0.1),  # 0
    ("a.md", "One", "same section", 1.0),  # 1, and a neighbour
    ("a.md", "Two", "far in the same document", 1.0),  # 2
    ("b.md", "One", "the  positive", 1.0),  # 3: its text once more
    ("b.md", "One", "twin", 0.15),  # 4: nearly the same vector
    ("b.md", "Two", "too close to the query", 0.0),  # 5: beats the margin, and a twin
    ("c.md", "One", "held out", 1.0),  # 6
    ("d.md", "One", "fine", 1.1),  # 7
    ("d.md", "Two", "fine as well", 1.2),  # 8
]


def test_what_may_never_be_a_negative_is_none_and_is_counted():
    draft = Draft("query", 0, "llm", "the positive")
    mined = mined_from(corpus(ROWS), [draft], held_out=[6], negatives=8, negative_pool=9)
    assert sorted(mined.negatives[0]) == [2, 7, 8]
    assert mined.excluded == {
        "own_chunk": 1, "same_text": 1, "same_section": 1, "held_out": 1, "near_duplicate": 2,
    }  # fmt: skip
    facts = mined.facts()
    assert facts["queries_short_of_negatives"] == 1 and facts["short_because_of"] == {"near_duplicate": 1}


def test_queries_of_held_out_documents_may_use_any_chunk():
    mined = mined_from(corpus(ROWS), [Draft("query", 0, "llm", "")], held_out=[0, 6], negatives=8, negative_pool=9)
    assert 6 in mined.negatives[0]


def test_the_margin_is_a_share_of_the_positives_score():
    rows = [("a.md", "One", "positive", 0.5), ("b.md", "One", "closer", 1.2), ("c.md", "One", "far", 1.4)]
    rows += [("x.md", "One", "at ninety-nine percent", -0.515)]
    draft = [Draft("query", 0, "llm", "")]
    strict = mined_from(corpus(rows), draft, negative_margin=0.95, near_duplicate=1.0)
    loose = mined_from(corpus(rows), draft, negative_margin=1.0, near_duplicate=1.0)
    assert sorted(strict.negatives[0]) == [1, 2] and sorted(loose.negatives[0]) == [1, 2, 3]
    assert strict.excluded["margin"] == 1
    for own, row in zip(strict.own, strict.similarities, strict=True):
        assert all(similarity <= 0.95 * own for similarity in row)
        assert row == sorted(row, reverse=True)


def test_the_draw_is_seeded_stays_in_the_pool_and_mixes_in_bm25():
    rows = [("p.md", "One", "positive", 0.3)]
    rows += [(f"{i}.md", "One", f"passage number {i}", 0.7 + i * 0.01) for i in range(60)]
    rows += [("z.md", "One", "exotic word", 1.5)]
    space = corpus(rows)
    drafts = [Draft(f"exotic {i}", 0, "llm", "") for i in range(20)]
    one, same, other = (
        mined_from(space, drafts, seed=seed, negative_pool=10, near_duplicate=1.0) for seed in (0, 0, 1)
    )
    assert one.negatives == same.negatives != other.negatives
    for row in one.negatives:
        assert len(row) == len(set(row)) == 4
        lexical = [place for place in row if not 1 <= place <= 10]
        assert len(lexical) <= 1
    assert any(61 in row for row in one.negatives)  # only BM25 finds it
    assert len({tuple(row) for row in one.negatives}) > 5


def test_an_encoder_that_finds_all_alike_still_gets_far_negatives():
    rows = [("p.md", "One", "positive", 0.10)] + [(f"{i}.md", "One", f"text {i}", 0.11 + i * 0.001) for i in range(40)]
    mined = mined_from(corpus(rows), [Draft("query", 0, "llm", "")], near_duplicate=1.0)
    assert len(mined.negatives[0]) == 4 and min(mined.negatives[0]) > 20
    facts = mined.facts()
    assert facts["short_because_of"] == {"margin": 1} and facts["filled_up_from_afar"] == 4


def test_a_ready_made_corpus_without_headings_keeps_its_own_documents_chunks():
    rows = [("a.md", "", f"text {i}", 0.3 + 0.4 * i) for i in range(4)]
    mined = mined_from(corpus(rows), [Draft("query", 0, "llm", "")], negatives=4)
    assert sorted(mined.negatives[0]) == [2, 3]  # the neighbour is left out
