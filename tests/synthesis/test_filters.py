"""The rules, each with what it must drop and what it must leave; the round trip; near-duplicates."""

import numpy as np
import pytest

from benchmark.encoders.bm25 import BM25Index
from benchmark.records import Chunk
from benchmark.specs import BM25Settings
from benchmark.synthesis.draft import Draft
from benchmark.synthesis.filters import LeakCheck, apply_rules, longest_run
from benchmark.synthesis.generate import relaxed_k
from benchmark.synthesis.search import Corpus, near_duplicates, source_ranks

TEXT = "An advance facility repays the servicer for principal and interest that it has advanced to the trust in time."
CHUNK = Chunk("c0", "a.md", "Advances", (), 0, len(TEXT), TEXT)


def draft(text, source="llm", chunk=0):
    return Draft(text, chunk, source, TEXT)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Why?", "length"),
        ("How " + "very " * 33 + "long?", "length"),
        ("What does this document say about advances?", "deictic"),
        ("Why is the text about servicers?", "deictic"),
        ("Which of the following is an advance?", "deictic"),
        ("How does SmolLM help with servicer advances?", "deictic"),
        ("What is a ratio of a ratio of a ratio of a ratio?", "repetition"),
        ("How the servicer for principal and interest that it has advanced to the trust?", "copied_span"),
        ("how do I get back what my servicer advanced", "leak"),
        ("Please, how do I get back what I paid early?", "leak"),
        ("Who repays a servicer for its outlays?", None),
        ("Which document proves that the trust owes the servicer?", None),
        ("When does the offering document have to be filed?", None),
    ],
)
def test_each_rule_drops_its_own(text, rule):
    kept, dropped = apply_rules([draft(text)], [CHUNK], ["How do I get back what my servicer advanced?"])
    assert [item.rule for item in dropped] == ([rule] if rule else [])
    assert len(kept) == (0 if rule else 1)


def test_rules_for_written_questions_leave_pseudo_queries_alone():
    for source in ("sentence", "span", "heading"):
        kept, _ = apply_rules([draft("repays the servicer for principal and interest", source)], [CHUNK], [])
        assert len(kept) == 1
    kept, dropped = apply_rules([draft("how do I get back what my servicer advanced", "span")], [CHUNK],
                                ["How do I get back what my servicer advanced?"])  # fmt: skip
    assert not kept and dropped[0].rule == "leak" and dropped[0].score == 1.0


def test_the_same_query_twice_is_kept_once_whatever_the_source():
    twice = [draft("Who repays a servicer?"), draft("who repays a servicer", "span"), draft("Who repays the trust?")]
    kept, dropped = apply_rules(twice, [CHUNK], [])
    assert [item.text for item in kept] == ["Who repays a servicer?", "Who repays the trust?"]
    assert [item.rule for item in dropped] == ["duplicate"]


def test_leaks_are_seen_through_case_punctuation_and_width():
    leak = LeakCheck(["What is a “clean-up” call?", "Who holds the servicing rights after a sale?"])
    assert leak("what is a 'clean-up' call") == 1.0
    assert leak("Ｗhat is a clean-up call?") == 1.0
    assert leak("Who holds the servicing rights after all?") >= 0.5
    assert leak("Who pays the trustee after a sale of a loan?") is None
    assert LeakCheck([])("anything at all") is None


def test_longest_run_against_all_substrings():
    words, text = list("abcabde"), list("xabdeabcy")
    runs = [
        size for size in range(1, 8) for i in range(8 - size) for j in range(len(text) - size + 1)
        if words[i : i + size] == text[j : j + size]
    ]  # fmt: skip
    assert longest_run(words, text) == max(runs) == 4


def corpus(texts, vectors):
    chunks = [Chunk(f"c{i}", "a.md", "", (), 0, len(text), text) for i, text in enumerate(texts)]
    return Corpus(
        chunks, np.asarray(vectors, dtype=np.float32), BM25Index([c.id for c in chunks], texts, BM25Settings())
    )


def test_round_trip_takes_the_better_rank_and_counts_ties_against():
    space = corpus(["red apples", "green pears", "blue plums", "blue sloes"], np.eye(4))
    queries = np.array([[0.1, 0.9, 0.2, 0.3], [0.9, 0.1, 0.1, 0.2], [0.5, 0.5, 0.5, 0.5]], dtype=np.float32)
    ranks = source_ranks(space, ["pears", "sloes", "nothing known"], queries, [1, 3, 0])
    assert ranks.tolist() == [1, 1, 4]  # dense first; BM25 first although dense is second; all equal
    assert source_ranks(space, ["blue"], queries[1:2], [2]).tolist() == [2]


def test_near_duplicates_against_the_plain_double_loop():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(600, 8)).astype(np.float32)
    vectors[300:420] = vectors[:120] + rng.normal(size=(120, 8)).astype(np.float32) * 0.2
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    kept, expected = [], set()
    for row in range(len(vectors)):
        if kept and max(float(vectors[row] @ vectors[other]) for other in kept) >= 0.9:
            expected.add(row)
        else:
            kept.append(row)
    found = near_duplicates(vectors, 0.9)
    assert set(found) == expected and 60 < len(found) < 400
    assert all(score >= 0.9 for score in found.values())


def test_k_is_doubled_until_enough_survives():
    drafts = [draft(f"q{i}") for i in range(400)]
    half = np.array([1, 9] * 200)
    assert relaxed_k(half, drafts, 3) == 3
    assert relaxed_k(np.array([1] * 100 + [5] * 300), drafts, 3) == 6  # a quarter of the questions is too little
    assert relaxed_k(np.full(400, 999), drafts, 3) == 24  # not for ever
    assert relaxed_k(np.array([1] * 90 + [4] * 310), [draft(f"s{i}", "span") for i in range(400)], 3) == 6  # 90 pairs
    assert relaxed_k(np.array([1, 1, 9]), drafts[:3], 3) == 3  # a tiny corpus cannot give a hundred
