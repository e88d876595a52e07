"""Quantised vectors: their scores, what is scored anew, what an index takes, and that nothing is encoded again."""

import json

import numpy as np
import pytest

from benchmark.console import SILENT
from benchmark.encoders.adapter import LinearMaps, QuantizedEncoder, open_encoder
from benchmark.encoders.dense import DenseEncoder
from benchmark.encoders.quantized import CODES, BinaryCodes, Int8Codes
from benchmark.encoders.rescored import open_quantized_scorer
from benchmark.encoders.store import document_vectors, stored_documents
from benchmark.records import Chunk
from benchmark.runs import rank_row
from benchmark.weights import ADAPTER_FILE, model_fingerprint


def spec(project, name, text):
    (project.specs_folder / f"{name}.yaml").write_text(text)


def units(count, dimensions, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["int8", "binary"])
@pytest.mark.parametrize("dimensions", [1, 32, 64, 100, 384])
def test_scores_are_cosines_of_what_the_codes_stand_for(kind, dimensions):
    documents, queries = units(5000, dimensions), units(7, dimensions, seed=1)
    codes, asked = CODES[kind].of(documents), CODES[kind].of(queries)
    found = codes.scores(asked)
    assert found.shape == (7, 5000) and found.dtype == np.float32
    assert np.allclose(found, asked.vectors() @ codes.vectors().T, atol=2e-6)
    assert np.allclose(np.linalg.norm(codes.vectors(), axis=1), 1, atol=1e-6)


def test_int8_is_close_and_binary_is_signs():
    vectors = units(200, 96)
    assert (Int8Codes.of(vectors).vectors() * vectors).sum(axis=1).min() > 0.9998
    assert (np.sign(vectors) == np.sign(BinaryCodes.of(vectors).vectors())).all()
    integers = Int8Codes.of(vectors)._integers
    assert (np.abs(integers.astype(int)).max(axis=1) == 127).all()
    # Not of the vectors' length, and not of their neighbours.
    assert (Int8Codes.of(3 * vectors[5:6])._integers == integers[5]).all()


@pytest.mark.parametrize("kind", ["int8", "binary"])
def test_codes_are_put_and_taken(kind):
    vectors = units(30, 70)
    whole, pieces = CODES[kind].of(vectors), CODES[kind].empty(30, 70)
    order = np.random.default_rng(3).permutation(30)
    for part in (order[:11], order[11:]):
        pieces.put(part, CODES[kind].of(vectors[part]))
    asked = CODES[kind].of(units(2, 70, seed=4))
    assert (pieces.scores(asked) == whole.scores(asked)).all()
    assert (whole.take(order).scores(asked) == whole.scores(asked)[:, order]).all()
    assert whole.bytes_each == {"int8": 70 + 4, "binary": 16}[kind]


@pytest.mark.parametrize("kind", ["int8", "binary"])
def test_a_vector_of_zeros_and_none_at_all(kind):
    codes = CODES[kind].of(np.zeros((2, 8), dtype=np.float32))
    assert np.isfinite(codes.scores(codes)).all() and np.isfinite(codes.vectors()).all()
    assert CODES[kind].of(np.zeros((0, 8), dtype=np.float32)).scores(codes).shape == (2, 0)


# --- search ---------------------------------------------------------------------------------------------------------

WORDS = [
    "harbour",
    "berth",
    "bees",
    "queen",
    "hive",
    "honey",
    "bread",
    "flour",
    "rye",
    "chess",
    "clock",
    "draw",
    "move",
    "steam",
    "crust",
    "loaf",
    "mite",
    "acid",
    "box",
]


@pytest.fixture
def corpus():
    draws = np.random.default_rng(7)
    texts = [" ".join(draws.choice(WORDS, 8)) for _ in range(90)]
    return [Chunk(f"c{number:02}", "d.md", "", (), 0, len(text), text) for number, text in enumerate(texts)]


QUERIES = ["why do bees leave the hive", "how long does a loaf bake", "may I offer a draw"]


def scorer(project, corpus, text, name="q"):
    spec(project, name, text)
    return open_quantized_scorer(project.domain("village"), open_encoder(project, name), corpus, SILENT)


def full(project, corpus, base="tiny"):
    encoder = open_encoder(project, base)
    return encoder.encode(QUERIES, "query") @ document_vectors(project.domain("village"), encoder, corpus).T


@pytest.mark.parametrize("kind", ["int8", "binary"])
def test_the_best_get_their_full_scores_and_come_first(project, corpus, kind):
    ids = [chunk.id for chunk in corpus]
    found = scorer(project, corpus, f"base: tiny\nquantize: {kind}\nrescore: 2\n")
    rough = scorer(project, corpus, f"base: tiny\nquantize: {kind}\nrescore: 0\n", "rough")
    exact = full(project, corpus)
    for row, plain, expected in zip(found.score_rows(QUERIES), rough.score_rows(QUERIES), exact, strict=True):
        first = [hit.chunk for hit in rank_row(plain, ids, 20)]
        kept = [hit.chunk for hit in rank_row(row, ids, len(ids))]
        assert set(kept[:20]) == set(first)
        places = [ids.index(chunk) for chunk in kept[:20]]
        assert np.allclose(row[places], expected[places], atol=1e-6)
        # The others as they were among themselves.
        assert kept[20:] == [hit.chunk for hit in rank_row(plain, ids, len(ids))][20:]
    assert np.abs(np.stack(list(rough.score_rows(QUERIES))) - exact).max() > 1e-4


@pytest.mark.parametrize("kind", ["int8", "binary"])
def test_all_ways_to_ask_agree(project, corpus, kind):
    ids = [chunk.id for chunk in corpus]
    found = scorer(project, corpus, f"base: tiny\nquantize: {kind}\nrescore: 1\n")
    rows = list(found.score_rows(QUERIES))
    assert found.best(QUERIES, 15) == [rank_row(row, ids, 15) for row in rows]
    assert found.afresh().best(QUERIES, 15) == found.best(QUERIES, 15)
    everything = [np.arange(len(ids))] * len(QUERIES)
    assert all((one == other).all() for one, other in zip(found.score_some(QUERIES, everything), rows, strict=True))
    some = [np.array([3, 50, 8])] * len(QUERIES)
    exact = full(project, corpus)
    for row, expected in zip(found.score_some(QUERIES, some), exact, strict=True):
        assert np.allclose(row, expected[[3, 50, 8]], atol=1e-6)


def test_enough_rescoring_is_the_base(project, corpus):
    found = scorer(project, corpus, "base: tiny\nquantize: binary\nrescore: 9\n")
    assert np.allclose(np.stack(list(found.score_rows(QUERIES))), full(project, corpus), atol=1e-6)


def test_equal_bits_stand_in_the_order_of_ids(project):
    text = "bees leave the hive"
    twins = [Chunk(f"t{number:02}", "d.md", "", (), 0, len(text), text) for number in range(25)]
    found = scorer(project, twins, "base: tiny\nquantize: binary\nrescore: 1\n")
    ((hits),) = found.best(QUERIES[:1], 25)
    assert [hit.chunk for hit in hits] == [f"t{number:02}" for number in range(24, -1, -1)]
    assert len({hit.score for hit in hits[:10]}) == 1 and hits[9].score > hits[10].score


@pytest.mark.parametrize(("kind", "each"), [("int8", 32 + 4), ("binary", 8)])
def test_what_the_index_takes(project, corpus, kind, each):
    footprint = scorer(project, corpus, f"base: tiny\nquantize: {kind}\n").footprint
    assert (footprint.bytes_per_chunk, footprint.fixed_bytes, footprint.dimensions) == (each, 0, 32)
    assert footprint.seconds is not None and footprint.seconds > 0
    assert scorer(project, corpus, f"base: tiny\nquantize: {kind}\n").footprint.seconds is None


def test_nothing_is_encoded_again(project, corpus, monkeypatch):
    domain = project.domain("village")
    stored_documents(domain, open_encoder(project, "tiny"), corpus)
    scorer(project, corpus, "base: tiny\nquantize: int8\n").best(QUERIES, 5)
    monkeypatch.setattr(DenseEncoder, "encode", lambda *_, **__: pytest.fail("encoded again"))
    for name, text in {
        "a": "base: tiny\nquantize: int8\nrescore: 0\n", "b": "base: tiny\nquantize: binary\n",
        "cut": "base: tiny\ntruncate_dim: 16\n", "c": "base: cut\nquantize: binary\nrescore: 1\n",
    }.items():  # fmt: skip
        spec(project, name, text)
    for name in "abc":
        encoder = open_encoder(project, name)
        assert len(open_quantized_scorer(domain, encoder, corpus).best(QUERIES, 5)) == len(QUERIES)


def test_on_an_adapter_and_on_what_was_cut(project, corpus):
    draws = np.random.default_rng(5)
    maps = LinearMaps(draws.normal(size=(32, 32)).astype(np.float32), None)
    maps.save(project.root / "adapted" / ADAPTER_FILE)
    spec(project, "adapted", "base: tiny\nadapter: adapted\n")
    spec(project, "cut", "base: tiny\ntruncate_dim: 16\n")
    for base in ("adapted", "cut"):
        found = scorer(project, corpus, f"base: {base}\nquantize: int8\nrescore: 9\n")
        assert np.allclose(np.stack(list(found.score_rows(QUERIES))), full(project, corpus, base), atol=1e-6)


def test_as_an_encoder_it_gives_what_its_codes_stand_for(project, corpus):
    spec(project, "q", "base: tiny\nquantize: int8\n")
    encoder, base = open_encoder(project, "q"), open_encoder(project, "tiny")
    assert isinstance(encoder, QuantizedEncoder) and encoder.rescore == 4
    texts = [chunk.full_text for chunk in corpus[:5]]
    expected = Int8Codes.of(base.encode(texts, "document")).vectors()
    assert np.allclose(encoder.encode(texts, "document"), expected, atol=1e-6)
    assert np.allclose(document_vectors(project.domain("village"), encoder, corpus[:5]), expected, atol=1e-6)


def test_fingerprints(project):
    for name, text in {
        "a": "quantize: int8", "b": "quantize: binary", "c": "quantize: int8\nrescore: 8", "d": "quantize: int8\nrescore: 4",
    }.items():  # fmt: skip
        spec(project, name, f"base: tiny\n{text}\n")
    found = {name: model_fingerprint(project, name) for name in ("tiny", "a", "b", "c", "d")}
    assert found["a"] == found["d"]
    assert len(set(found.values())) == 4


def test_a_spec_is_evaluated_with_what_its_index_takes(project):
    from benchmark.evaluation.evaluate import Evaluator
    from benchmark.pipeline import Pipeline

    pipeline = Pipeline(project, project.domain("village"), None, SILENT)
    inputs = {"chunks": pipeline.chunks(), "testset": pipeline.testset()}
    evaluator = Evaluator(project, pipeline.domain, inputs, 100, SILENT)
    spec(project, "bits", "base: tiny\nquantize: binary\n")
    spec(project, "mixed", "hybrid: [bits, bm25]\n")
    spec(project, "dense", "hybrid: [tiny, bm25]\n")
    found = {}
    for name in ("tiny", "bits", "mixed", "dense"):
        (outcome,) = evaluator.evaluate(name, ["retrieval"])
        found[name] = json.loads((outcome.folder / "manifest.json").read_text())["facts"]["costs"]
    sizes = {name: costs["index_bytes_per_million_chunks"] for name, costs in found.items()}
    assert (sizes["tiny"], sizes["bits"]) == (128_000_000, 8_000_000)
    assert sizes["dense"] - sizes["mixed"] == 120_000_000
    assert found["bits"]["parameters"] == found["tiny"]["parameters"] and found["bits"]["dimensions"] == 32
    # So small a corpus is scored anew as a whole.
    runs = [(pipeline.domain.run("retrieval", name) / "run.trec").read_text() for name in ("bits", "tiny")]
    assert [line.split()[:4] for line in runs[0].splitlines()] == [line.split()[:4] for line in runs[1].splitlines()]
