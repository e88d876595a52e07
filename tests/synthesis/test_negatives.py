"""Mined negatives: what is never one, the margins, the miners, the draw, the memory, and what is told of shortfalls."""

import tracemalloc

import numpy as np
import pytest

from benchmark.console import SILENT
from benchmark.encoders.bm25 import BM25Index
from benchmark.encoders.pairs import PairScorer
from benchmark.records import Chunk
from benchmark.specs import BM25Settings, Negatives
from benchmark.specs.generate import Relabel
from benchmark.synthesis import search
from benchmark.synthesis.draft import Draft
from benchmark.synthesis.negatives import mine
from benchmark.synthesis.search import Corpus


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


def mined_from(space, drafts, held_out=(), seed=0, also=None, near_duplicate=0.9, rescorer=None, **settings):
    """Negatives of queries whose vectors all lie at angle 0."""
    vectors = np.array([at(0.0)] * len(drafts), dtype=np.float32)
    held = np.zeros(len(space.chunks), dtype=bool)
    held[list(held_out)] = True
    return mine(space, drafts, vectors, held, also or {}, Negatives(**settings), near_duplicate, seed, rescorer)


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
    mined = mined_from(corpus(ROWS), [draft], held_out=[6], count=8, pool=9)
    assert sorted(mined.negatives[0]) == [2, 7, 8]
    assert mined.excluded == {
        "own_chunk": 1, "same_text": 1, "same_section": 1, "held_out": 1, "near_duplicate": 2,
    }  # fmt: skip
    facts = mined.facts()
    assert facts["queries_short_of_negatives"] == 1 and facts["short_because_of"] == {"near_duplicate": 1}


def test_queries_of_held_out_documents_may_use_any_chunk():
    mined = mined_from(corpus(ROWS), [Draft("query", 0, "llm", "")], held_out=[0, 6], count=8, pool=9)
    assert 6 in mined.negatives[0]


def test_the_margin_is_a_share_of_the_positives_score():
    rows = [("a.md", "One", "positive", 0.5), ("b.md", "One", "closer", 1.2), ("c.md", "One", "far", 1.4)]
    rows += [("x.md", "One", "at ninety-nine percent", -0.515)]
    draft = [Draft("query", 0, "llm", "")]
    strict = mined_from(corpus(rows), draft, margin=0.95, near_duplicate=1.0)
    loose = mined_from(corpus(rows), draft, margin=1.0, near_duplicate=1.0)
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
    one, same, other = (mined_from(space, drafts, seed=seed, pool=10, near_duplicate=1.0) for seed in (0, 0, 1))
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
    mined = mined_from(corpus(rows), [Draft("query", 0, "llm", "")], count=4)
    assert sorted(mined.negatives[0]) == [2, 3]  # the neighbour is left out


def many(count=60):
    """A positive at .3, `count` passages that follow by angle, and one far passage with a rare word."""
    rows = [("p.md", "One", "positive exotic", 0.3)]
    rows += [(f"{i}.md", "One", f"passage number {i}", 0.7 + i * 0.01) for i in range(count)]
    return [*rows, ("z.md", "One", "exotic word", 1.5), ("y.md", "One", "another exotic word", 1.4)]


def test_other_chunks_that_answer_the_query_are_never_its_negatives():
    space = corpus(many())
    drafts = [Draft("exotic one", 0, "llm", ""), Draft("exotic two", 0, "llm", "")]
    mined = mined_from(space, drafts, also={1: frozenset({1, 3, 61, 62})}, pool=4, near_duplicate=1.0)
    assert {1, 2, 3} & set(mined.negatives[0])
    assert not {1, 3, 61, 62} & set(mined.negatives[1])
    # Own chunk, 1, 2, 3 are the closest four of the second query.
    assert mined.excluded == {"own_chunk": 2, "other_gold": 2}
    short = mined_from(corpus(many(2)), drafts[:1], also={0: frozenset({1, 2, 3})}, near_duplicate=1.0)
    assert short.negatives == [[4]] and short.facts()["short_because_of"] == {"other_gold": 1}


def test_each_miner_draws_from_its_own_pool():
    space = corpus(many())
    drafts = [Draft(f"exotic query{i}", 0, "llm", "") for i in range(30)]
    options = {"pool": 6, "near_duplicate": 1.0}
    dense = mined_from(space, drafts, miner="dense", count=3, **options)
    assert {place for row in dense.negatives for place in row} == set(range(1, 7))
    lexical = mined_from(space, drafts, miner="bm25", count=2, **options)
    assert all(sorted(row) == [61, 62] for row in lexical.negatives)
    assert lexical.short == {} and lexical.excluded == {"own_chunk": 30}
    both = mined_from(space, drafts, miner="both", count=4, lexical_share=0.5, **options)
    assert all(len([place for place in row if place > 60]) == 2 for row in both.negatives)
    alone = mined_from(space, drafts, miner="both", count=4, lexical_share=0.0, **options)
    assert not any(place > 60 for row in alone.negatives for place in row)


def test_bm25_alone_still_keeps_the_margin_of_the_similarities_and_tells_why_it_is_short():
    rows = [*many(20), ("n.md", "One", "exotic neighbour of the query", 0.0)]
    for query, cause, found in (("exotic", "margin", {21, 22}), ("unknown", "unmatched", set())):
        drafts = [Draft(query, 0, "llm", "")]
        mined = mined_from(corpus(rows), drafts, miner="bm25", count=4, near_duplicate=1.0)
        assert 23 not in mined.negatives[0] and found <= set(mined.negatives[0])
        assert mined.facts()["short_because_of"] == {cause: 1}
        assert mined.afar == 4 - len(found) and len(mined.negatives[0]) == 4
        own = np.cos(0.3)
        assert all(similarity <= 0.95 * own for similarity in mined.similarities[0])


def test_the_pool_is_widened_past_what_the_rules_bar():
    # Three hundred chunks of the query's own section are closer than the first that may be a negative.
    rows = [("p.md", "One", f"sibling {i}", 0.5 + i * 0.001) for i in range(300)]
    rows += [(f"{i}.md", "One", f"passage {i}", 1.0 + i * 0.01) for i in range(10)]
    mined = mined_from(corpus(rows), [Draft("query", 0, "llm", "")], pool=5, count=5, near_duplicate=1.0)
    assert mined.negatives == [[300, 301, 302, 303, 304]] and mined.short == {}


def test_a_chunk_no_better_than_its_positive_is_taken_where_similarities_are_negative():
    rows = [("p.md", "One", "positive", 1.8), ("a.md", "One", "a", 1.79), ("b.md", "One", "b", 1.81)]
    rows += [("c.md", "One", "c", 2.5)]
    mined = mined_from(corpus(rows), [Draft("query", 0, "llm", "")], near_duplicate=1.0, margin=0.99)
    assert mined.negatives[0] == [2, 3]  # less similar than the positive by a hundredth, not more


def scripted(scores, asked):
    """A rescorer that looks scores up by the passage's first word."""

    def rescore(pairs):
        asked.append(list(pairs))
        return np.array([scores.get(passage.split()[-1], 0.1) for _, passage in pairs], dtype=np.float32)

    return rescore


def test_the_cross_encoders_margin_takes_the_place_of_the_similarities():
    rows = [("p.md", "One", "the positive", 0.5), ("a.md", "One", "close answer", 0.0)]
    rows += [("b.md", "One", "near question", 0.1), ("c.md", "One", "far answer", 1.2)]
    rows += [(f"{i}.md", "One", f"other {i}", 1.3 + i * 0.01) for i in range(4)]
    asked = []
    rescorer = scripted({"positive": 0.8, "answer": 0.77, "question": 0.75}, asked)
    drafts = [Draft("which one", 0, "llm", "a cut positive"), Draft("which other", 0, "llm", "")]
    options = {"pool": 5, "count": 3, "miner": "dense", "near_duplicate": 1.0}
    mined = mined_from(corpus(rows), drafts, rescorer=rescorer, **options)
    for row in mined.negatives:  # 95 % of .8 is .76: what answers is out, what is merely close stays
        assert not {1, 3} & set(row) and len(row) == 3
        assert set(row) <= {2, 4, 5}
    assert len(asked) == 1 and len(asked[0]) == 2 * (1 + 5) == mined.facts()["rescored_by_cross_encoder"]
    assert asked[0][0] == ("which one", "One the positive")  # the whole chunk, as the negatives are whole
    # Among each query's closest five: itself, 1, 2, 3 and 4.
    assert mined.excluded == {"own_chunk": 2, "cross_encoder_margin": 4}
    by_cosine = mined_from(corpus(rows), drafts, **options)
    assert all(not {1, 2} & set(row) for row in by_cosine.negatives)


def test_a_pool_that_the_cross_encoder_empties_is_told_and_filled_from_afar():
    asked = []
    rescorer = scripted({str(i): 0.9 for i in range(12)} | {"positive": 0.5}, asked)
    rows = [("p.md", "One", "the positive", 0.3)]
    rows += [(f"{i}.md", "One", f"passage number {i}", 0.7 + i * 0.01) for i in range(60)]
    mined = mined_from(
        corpus(rows), [Draft("query", 0, "llm", "")], rescorer=rescorer, pool=10, count=4, near_duplicate=1.0
    )
    assert mined.facts()["short_because_of"] == {"cross_encoder_margin": 1}
    assert len(mined.negatives[0]) == 4 == mined.afar and min(mined.negatives[0]) > 30


def test_queries_are_rescored_in_batches(monkeypatch):
    monkeypatch.setattr("benchmark.synthesis.negatives._RESCORED", 3)
    space, asked = corpus(many()), []
    drafts = [Draft(f"exotic {i}", 0, "llm", "") for i in range(8)]
    rescorer = scripted({"exotic": 0.9}, asked)
    parts = mined_from(space, drafts, rescorer=rescorer, pool=5)
    assert [len({query for query, _ in pairs}) for pairs in asked] == [3, 3, 2]
    monkeypatch.undo()
    whole = mined_from(space, drafts, rescorer=rescorer, pool=5)
    assert parts.negatives == whole.negatives and parts.similarities == whole.similarities


def test_a_real_cross_encoder_keeps_its_margin(project, cross_encoder):
    rescorer = PairScorer(project, "ce", SILENT, "scoring")
    words = ["queen", "mooring", "rye", "clock", "mite", "basin", "oven", "draw"]
    rows = [("p.md", "One", "the positive", 0.3)]
    rows += [(f"{i}.md", "One", f"{words[i % 8]} and {words[i // 8]}", 0.7 + i * 0.01) for i in range(20)]
    space = corpus(rows)
    scores = rescorer([("query", chunk.full_text) for chunk in space.chunks])
    own = int(np.argsort(scores)[12])
    drafts = [Draft("query", own, "llm", "")]
    mined = mined_from(space, drafts, rescorer=rescorer, count=20, pool=20, margin=1.0, near_duplicate=1.0)
    refused = {place for place, score in enumerate(scores) if score > scores[own]}
    assert len(refused) == 8
    assert set(mined.negatives[0]) == set(range(21)) - refused - {own}


def test_the_rest_of_the_pool_is_kept_where_relabelling_needs_it():
    space, drafts = corpus(many()), [Draft("exotic", 0, "llm", "")]
    mined = mined_from(space, drafts, pool=10, near_duplicate=1.0, relabel=Relabel())
    assert sorted(mined.negatives[0] + mined.rest[0]) == [*range(1, 11), 61, 62]
    assert mined.rest_similarities[0] == sorted(mined.rest_similarities[0], reverse=True)
    assert mined_from(space, drafts, pool=10, near_duplicate=1.0).rest == []


def test_the_same_negatives_whatever_the_blocks_and_the_other_queries(monkeypatch):
    space = corpus(many())
    drafts = [Draft(f"exotic {i}", 0, "llm", "") for i in range(9)]
    whole = mined_from(space, drafts)
    assert mined_from(space, drafts[4:5]).negatives == whole.negatives[4:5]
    monkeypatch.setattr(search, "BLOCK_BYTES", len(space.chunks) * 4 * 2)
    assert mined_from(space, drafts).negatives == whole.negatives
    assert mined_from(space, []).facts()["mined"] == 0


@pytest.mark.parametrize("alike", [False, True], ids=["clustered", "all alike"])
def test_memory_is_one_block_and_a_few_rows(monkeypatch, alike):
    """The vectors are there before; what mining adds is one block, even where every query looks at every chunk."""
    count, dimensions, queries = 20_000, 96, 150
    draws = np.random.default_rng(0)
    centres = np.ones((1, dimensions)) if alike else draws.normal(size=(50, dimensions))
    vectors = centres[draws.integers(0, len(centres), count)] + draws.normal(size=(count, dimensions)) / 4
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    chunks = [Chunk(f"c{i}", f"d{i // 5}", "", (), 0, 1, f"text {i}") for i in range(count)]
    sources = draws.integers(0, count, queries).tolist()
    drafts = [Draft(f"query {number}", source, "llm", "") for number, source in enumerate(sources)]
    asked = np.ascontiguousarray(vectors[sources[::-1]] if alike else vectors[sources])
    block = 50 * count * 4
    monkeypatch.setattr(search, "BLOCK_BYTES", block)
    held, spec = np.zeros(count, dtype=bool), Negatives(miner="dense")
    space = Corpus(chunks, vectors, None)  # this miner needs no index
    mine(space, drafts[:1], asked[:1], held, {}, spec, 0.95, 0)  # imports and caches
    tracemalloc.start()
    mined = mine(space, drafts, asked, held, {}, spec, 0.95, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(mined.negatives) == queries and (mined.afar > 0) == alike
    a_few_rows = 30 * count * 4
    assert block < peak < block + a_few_rows, f"{(peak - block) / (count * 4):.1f} rows beside the block"
    assert a_few_rows < min(block, vectors.nbytes)  # neither a second block nor a copy of the matrix would pass
