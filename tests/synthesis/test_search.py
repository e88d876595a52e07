"""The corpus in blocks: how large they are, that they hold the similarities, and ranks that do not depend on them."""

from dataclasses import replace

import numpy as np
import pytest

from benchmark.console import SILENT
from benchmark.encoders.bm25 import BM25Index
from benchmark.encoders.dense import DenseEncoder
from benchmark.records import Chunk
from benchmark.specs import BM25Settings
from benchmark.synthesis import search
from benchmark.synthesis.search import BLOCK_BYTES, Corpus, best, bm25_settings, source_ranks


def corpus(count, dimensions=8, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    chunks = [Chunk(f"c{i}", f"d{i}", "", (), 0, 9, f"text number{i} of {i % 7}") for i in range(count)]
    return Corpus(chunks, vectors, BM25Index([c.id for c in chunks], [c.text for c in chunks], BM25Settings()))


@pytest.mark.parametrize("count", [1, 10, 4097, 100_000, 50_000_000])
def test_a_block_holds_as_many_rows_as_fit_and_at_least_one(count):
    space = Corpus([], np.broadcast_to(np.float32(1), (count, 2)), None)
    rows = space.block_rows
    assert rows >= 1
    assert rows == 1 or rows * count * 4 <= BLOCK_BYTES < (rows + 1) * count * 4


def test_blocks_cover_every_query_once_and_share_one_buffer(monkeypatch):
    space = corpus(50)
    monkeypatch.setattr(search, "BLOCK_BYTES", 50 * 4 * 3)
    expected = space.vectors[:8] @ space.vectors.T
    starts, buffers = [], set()
    for start, block in space.similarity_blocks(space.vectors[:8]):
        np.testing.assert_allclose(block, expected[start : start + 3], atol=1e-6)
        starts.append((start, len(block)))
        buffers.add(block.__array_interface__["data"][0])
    assert starts == [(0, 3), (3, 3), (6, 2)] and len(buffers) == 1
    assert list(space.similarity_blocks(space.vectors[:0])) == []


def test_ranks_do_not_depend_on_the_size_of_the_blocks(monkeypatch):
    space = corpus(60)
    texts, sources = [f"number{i} nothing" for i in range(9)], list(range(9))
    queries = corpus(60, seed=1).vectors[:9]
    whole = source_ranks(space, texts, queries, sources)
    monkeypatch.setattr(search, "BLOCK_BYTES", 1)
    assert source_ranks(space, texts, queries, sources).tolist() == whole.tolist() == [1] * 9
    similarity = queries @ space.vectors.T
    dense = [int((row >= row[i]).sum()) for i, row in enumerate(similarity)]
    assert source_ranks(space, [""] * 9, queries, sources).tolist() == dense


def test_the_best_are_sorted_and_ties_are_broken_by_position():
    draws = np.random.default_rng(0)
    for _ in range(50):
        scores = draws.integers(0, 6, 30).astype(np.float32)
        for count in (1, 7, 30, 99):
            expected = sorted(range(30), key=lambda place: (-scores[place], place))[:count]
            assert best(scores, count).tolist() == expected
    assert best(scores, 0).tolist() == best(scores[:0], 5).tolist() == []


@pytest.mark.parametrize(
    ("language", "stemmer", "stopwords"),
    [
        ("eng-Latn", "english", "en"),
        ("deu-Latn", "german", "german"),
        ("rus-Cyrl", "russian", "russian"),
        ("fin-Latn", "finnish", None),  # a stemmer and no stop words
        ("zho-Hans", None, None),
        ("jpn-Jpan", None, None),
        ("kor-Hang", None, None),
        ("xyz-Latn", None, None),
    ],
)
def test_bm25_speaks_the_language_as_far_as_it_can(language, stemmer, stopwords):
    settings = bm25_settings(language)
    assert settings == BM25Settings(stemmer=stemmer, stopwords=stopwords)
    BM25Index(["a"], ["a text of words"], settings)  # which both libraries know
    assert bm25_settings("eng-Latn") == BM25Settings()


def test_the_corpus_is_indexed_in_the_language_of_its_domain(project):
    texts = ["Die Mitglieder zahlen die Beiträge im April.", "Der Hafen ist im Winter für Boote geschlossen."]
    chunks = [Chunk(f"c{i}", f"d{i}", "", (), 0, len(text), text) for i, text in enumerate(texts)]
    encoder = DenseEncoder.load(project, "tiny")

    def scores(language, query):
        domain = project.domain("village")
        domain = replace(domain, spec=domain.spec.model_copy(update={"language": language}))
        return Corpus.open(domain, encoder, chunks, SILENT).bm25.scores(query).tolist()

    assert scores("deu-Latn", "Beitrag eines Mitglieds")[0] > 0 == scores("eng-Latn", "Beitrag eines Mitglieds")[0]
    assert scores("deu-Latn", "die der im ist") == [0, 0] != scores("eng-Latn", "die der im ist")
    assert scores("zho-Hans", "停泊费用何时支付") == [0, 0]
