"""Exact search in blocks: the same hits as a search in one piece, and as mteb's own, ties included."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark.encoders import search
from benchmark.encoders.search import top_k
from benchmark.runs import rank_row


def blocks(vectors, size, order=None):
    places = np.arange(len(vectors)) if order is None else order
    for start in range(0, len(places), size):
        some = places[start : start + size]
        yield some, vectors[some]


def whole(queries, vectors, depth, ids):
    return [rank_row(row, ids, depth) for row in queries @ vectors.T]


def grid(rng, rows, columns=6, values=3):
    """Small whole numbers: every product is exact, and many are equal."""
    return rng.integers(-values, values + 1, (rows, columns)).astype(np.float32)


@given(
    st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(0, 90), st.integers(1, 40), st.integers(0, 30),
    st.integers(1, 2),
)  # fmt: skip
def test_blocks_of_any_size_and_order_give_what_one_piece_gives(seed, asked, chunks, size, depth, values):
    rng = np.random.default_rng(seed)
    queries, vectors = grid(rng, asked, values=values), grid(rng, chunks, values=values)
    ids = [f"c{i}" for i in rng.permutation(chunks)]
    found = top_k(queries, blocks(vectors, size, rng.permutation(chunks)), depth, ids, "cpu")
    assert found == whole(queries, vectors, depth, ids)


def test_a_corpus_of_equal_chunks_is_decided_by_the_ids():
    vectors, queries = np.ones((5000, 4), dtype=np.float32), np.ones((3, 4), dtype=np.float32)
    ids = [f"c{i:04}" for i in np.random.default_rng(0).permutation(5000)]
    found = top_k(queries, blocks(vectors, 400), 7, ids, "cpu")
    assert [[hit.chunk for hit in hits] for hits in found] == 3 * [sorted(ids, reverse=True)[:7]]


def test_many_queries_are_scored_in_groups(monkeypatch):
    monkeypatch.setattr(search, "_QUERIES", 5)
    rng = np.random.default_rng(1)
    queries, vectors = grid(rng, 23), grid(rng, 200)
    ids = [f"c{i}" for i in range(200)]
    assert top_k(queries, blocks(vectors, 64), 10, ids, "cpu") == whole(queries, vectors, 10, ids)


def test_a_mapped_file_is_searched_as_it_lies(tmp_path, recwarn):
    rng = np.random.default_rng(2)
    queries, vectors = grid(rng, 4), grid(rng, 300)
    vectors.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", dtype="<f4", mode="r", shape=vectors.shape)
    ids = [f"c{i}" for i in range(300)]
    assert top_k(queries, blocks(mapped, 100), 20, ids, "cpu") == whole(queries, vectors, 20, ids)
    assert not recwarn.list


class Given:
    """A model of mteb's whose vectors are given: texts are numbers of rows."""

    mteb_model_meta = None

    def __init__(self, queries, vectors):
        self.sides = {"query": queries, "document": vectors}

    def encode(self, inputs, *, prompt_type, **settings):
        rows = [int(text) for batch in inputs for text in batch["text"]]
        return self.sides[prompt_type.value][rows]

    def similarity(self, queries, vectors):
        return torch.from_numpy(queries) @ torch.from_numpy(vectors).T


@pytest.mark.parametrize("ties", [False, True])
def test_the_hits_are_those_of_mtebs_own_search(ties):
    import mteb
    from datasets import Dataset
    from mteb.models.search_wrappers import SearchEncoderWrapper

    rng = np.random.default_rng(3)
    if ties:
        queries, vectors = grid(rng, 20), np.unique(grid(rng, 150), axis=0)
        vectors = np.concatenate([vectors, vectors[:40]])  # the same chunk twice
    else:
        queries, vectors = (rng.standard_normal((n, 16)).astype(np.float32) for n in (20, 190))
    ids = [f"c{i}" for i in rng.permutation(len(vectors))]
    corpus = Dataset.from_list([{"id": ids[i], "title": "", "text": str(i)} for i in range(len(ids))])
    asked = Dataset.from_list([{"id": f"q{i}", "text": str(i)} for i in range(len(queries))])
    theirs = SearchEncoderWrapper(Given(queries, vectors), corpus_chunk_size=70)
    words = {"task_metadata": mteb.get_task("NFCorpus").metadata, "hf_split": "test", "hf_subset": "default"}
    theirs.index(corpus, encode_kwargs={}, **words)
    depth = len(ids) if ties else 15  # at a depth below, mteb's choice among equals is torch.topk's: any of them
    wanted = theirs.search(asked, top_k=depth, encode_kwargs={}, **words)
    found = top_k(queries, blocks(vectors, 64), depth, ids, "cpu")
    for number, hits in enumerate(found):
        row = wanted[f"q{number}"]
        assert [hit.chunk for hit in hits] == sorted(row, key=lambda chunk: (row[chunk], chunk), reverse=True)
        assert [hit.score for hit in hits] == pytest.approx([row[hit.chunk] for hit in hits], abs=1e-5)
