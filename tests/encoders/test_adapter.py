"""Adapters as encoders: the same vectors as plain sentence-transformers, from the base's that are kept."""

import json
import shutil

import numpy as np
import pytest

from benchmark.encoders.adapter import AdaptedEncoder, LinearMaps, open_encoder
from benchmark.encoders.dense import DenseEncoder
from benchmark.encoders.retrieve import open_retriever
from benchmark.encoders.shelf import vectors_folder
from benchmark.encoders.store import document_vectors, query_vectors
from benchmark.errors import BenchError
from benchmark.evaluation.model import MtebSearch
from benchmark.project import Project
from benchmark.records import Chunk
from benchmark.training.export import save_sentence_transformer
from benchmark.weights import ADAPTER_FILE, model_fingerprint

TEXTS = ["a mooring is let", "the queen is old and the hive is crowded " * 5, "rye flour", "ninety minutes"]
CHUNKS = [Chunk(f"d#{i}", "d", "Title", (), -1, -1, text) for i, text in enumerate(TEXTS)]
BASES = {
    "tiny": "path: weights/tiny\nmax_length: 96\n",
    "prompted": 'path: weights/tiny\nmax_length: 20\nprompts: {query: "search_query: ", document: "d: "}\n',
    "cut": "base: tiny\ntruncate_dim: 16\n",
}


def spec(project, name, text):
    (project.specs_folder / f"{name}.yaml").write_text(text)


def maps_of(dimensions, *, both, seed=0):
    rng = np.random.default_rng(seed)

    def matrix():
        return (np.eye(dimensions) + rng.normal(scale=0.3, size=(dimensions, dimensions))).astype(np.float32)

    return LinearMaps(matrix(), matrix() if both else None)


def make(project, base="tiny", *, both=False, name="adapted", seed=0):
    """A saved adapter with its exported model, and specs for both: `adapted` and `exported`."""
    spec(project, base, BASES[base])
    encoder = DenseEncoder.load(project, base)
    maps = maps_of(encoder.encode(["x"], "query").shape[1], both=both, seed=seed)
    folder = project.root / "weights" / name
    folder.mkdir()
    maps.save(folder / ADAPTER_FILE)
    save_sentence_transformer(folder, encoder, maps)
    spec(project, name, f"base: {base}\nadapter: weights/{name}\n")
    spec(project, "exported", f"path: weights/{name}\n")
    return maps


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("base", list(BASES))
def test_the_saved_model_gives_the_same_vectors_in_plain_sentence_transformers(project, base, both):
    from sentence_transformers import SentenceTransformer

    make(project, base, both=both)
    adapted, exported = open_encoder(project, "adapted"), open_encoder(project, "exported")
    plain = SentenceTransformer(str(project.root / "weights" / "adapted"), device="cpu")
    own = {"query": plain.encode_query(TEXTS), "document": plain.encode_document(TEXTS)}
    bare = open_encoder(project, base)
    for role in ("query", "document"):
        vectors = adapted.encode(TEXTS, role)
        np.testing.assert_allclose(vectors, own[role], atol=1e-5)
        np.testing.assert_allclose(vectors, exported.encode(TEXTS, role), atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        same = np.allclose(vectors, bare.encode(TEXTS, role), atol=1e-4)
        assert same == (role == "document" and not both)
    assert plain.similarity_fn_name == "cosine"
    assert not np.allclose(own["query"], own["document"], atol=1e-2)


def test_prompts_and_length_travel_with_the_model(project):
    from sentence_transformers import SentenceTransformer

    make(project, "prompted")
    plain = SentenceTransformer(str(project.root / "weights" / "adapted"), device="cpu")
    assert plain.prompts["query"] == "search_query: "
    assert plain.prompts["document"] == "d: "
    assert plain.max_seq_length == 20


def test_a_base_that_normalises_by_itself_is_saved_right_as_well(project):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize

    folder = project.root / "weights" / "tiny"
    bare = SentenceTransformer(str(folder), device="cpu")
    unit = SentenceTransformer(modules=[*bare.children(), Normalize()], device="cpu")
    shutil.rmtree(folder)
    unit.save_pretrained(str(folder), create_model_card=False)
    make(project, both=True)
    plain = SentenceTransformer(str(project.root / "weights" / "adapted"), device="cpu")
    adapted = open_encoder(project, "adapted")
    np.testing.assert_allclose(adapted.encode(TEXTS, "query"), plain.encode_query(TEXTS), atol=1e-5)
    np.testing.assert_allclose(adapted.encode(TEXTS, "document"), plain.encode_document(TEXTS), atol=1e-5)


@pytest.mark.parametrize("both", [False, True])
def test_the_bases_document_vectors_are_taken_from_the_store(project, monkeypatch, both):
    maps = make(project, both=both)
    domain = project.domain("village")
    kept = document_vectors(domain, open_encoder(project, "tiny"), CHUNKS)
    adapted = open_encoder(project, "adapted")
    expected = adapted.encode([chunk.full_text for chunk in CHUNKS], "document")
    monkeypatch.setattr(DenseEncoder, "encode", lambda *_, **__: pytest.fail("encoded again"))
    found = document_vectors(domain, adapted, CHUNKS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.array_equal(found, kept) == (not both)
    assert len(list(vectors_folder(domain).rglob("*.rows"))) == 1
    np.testing.assert_array_equal(found, maps.apply(kept, "document"))


def test_query_vectors_are_kept_apart_from_documents(project, monkeypatch):
    spec(project, "prompted", BASES["prompted"])
    domain, encoder = project.domain("village"), open_encoder(project, "prompted")
    first = query_vectors(domain, encoder, TEXTS)
    np.testing.assert_array_equal(first, encoder.encode(TEXTS, "query"))
    chunks = [Chunk(str(i), "d", "", (), -1, -1, text) for i, text in enumerate(TEXTS)]
    assert not np.allclose(document_vectors(domain, encoder, chunks), first)
    monkeypatch.setattr(encoder, "encode", lambda *_: pytest.fail("encoded again"))
    np.testing.assert_array_equal(query_vectors(domain, encoder, TEXTS), first)


def test_an_adapter_ranks_and_works_on_an_adapter_and_in_a_hybrid(project):
    first = make(project, both=True)
    spec(project, "twice", "base: adapted\nadapter: weights/adapted\n")
    spec(project, "fused", "hybrid: [bm25, adapted]\n")
    domain = project.domain("village")
    for name in ("adapted", "twice", "fused"):
        assert len(open_retriever(project, domain, name, CHUNKS).run({"q": "queen"}, 3)["q"]) == 3
    bare = open_encoder(project, "tiny").encode(TEXTS, "query")
    twice = open_encoder(project, "twice").encode(TEXTS, "query")
    np.testing.assert_allclose(twice, first.apply(first.apply(bare, "query"), "query"), atol=1e-5)


def test_the_fingerprint_covers_base_and_matrices_and_is_mtebs_revision(project):
    make(project)
    prints = [model_fingerprint(project, "tiny"), model_fingerprint(project, "adapted")]
    again = project.root / "weights" / "again"
    shutil.copytree(project.root / "weights" / "adapted", again)
    spec(project, "again", "description: the same elsewhere\nbase: tiny\nadapter: weights/again\n")
    assert model_fingerprint(project, "again") == prints[1]
    maps = LinearMaps.load(again / ADAPTER_FILE, "test")
    maps.query[0, 0] += 1e-4
    maps.save(again / ADAPTER_FILE)
    prints.append(model_fingerprint(project, "again"))
    spec(project, "tiny", "path: weights/tiny\nmax_length: 97\n")
    prints.append(model_fingerprint(project, "adapted"))
    assert len(set(prints)) == 4
    encoder = open_encoder(project, "adapted")
    assert encoder.fingerprint == prints[-1]
    meta = MtebSearch("adapted", encoder.fingerprint, None).mteb_model_meta
    assert (meta.name, meta.revision) == ("local/adapted", prints[-1])


def test_half_way_to_the_identity_is_half_the_way(project):
    maps = maps_of(8, both=True)
    same = np.eye(8, dtype=np.float32)
    np.testing.assert_array_equal(maps.mixed(0.0).query, same)
    np.testing.assert_allclose(maps.mixed(1.0).document, maps.document, atol=1e-6)
    np.testing.assert_allclose(maps.mixed(0.5).query - same, (maps.query - same) / 2, atol=1e-6)
    assert maps.mixed(0.5).distance == pytest.approx(maps.distance / 2, rel=1e-4)
    assert LinearMaps.identity(8, both=True).distance == 0


def test_equal_maps_are_saved_as_equal_bytes_and_read_back(tmp_path):
    for both in (False, True):
        for name in ("a", "b"):
            maps_of(6, both=both).save(tmp_path / name)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
        loaded = LinearMaps.load(tmp_path / "a", "test")
        np.testing.assert_array_equal(loaded.query, maps_of(6, both=both).query)
        assert (loaded.document is None) == (not both)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("base: tiny\nadapter: nowhere\n", "adapter: nowhere: no such folder (train it with: domainbench finetune)"),
        ("base: tiny\nadapter: weights/tiny\n", f"has no {ADAPTER_FILE}"),
        ("base: tiny\nadapter: weights/torn\n", "cannot be read"),
        ("base: tiny\nadapter: weights/odd\n", "is no linear adapter"),
        ("base: tiny\nadapter: weights/wide\n", "was trained on 48 dimensions, tiny has 32"),
        ("base: bm25\nadapter: weights/wide\n", "model_specs/bm25.yaml: is no bi-encoder"),
        ("base: tiny\npath: weights/tiny\n", "'base' goes with 'truncate_dim', 'adapter' or 'quantize'"),
        ("adapter: weights/wide\n", "'adapter' goes with 'base'"),
        ("base: tiny\nadapter: x\ntruncate_dim: 16\n", "two sources: truncate_dim, adapter"),
        ("base: tiny\nadapter: x\nkind: cross-encoder\n", "'adapter' goes with a bi-encoder"),
        ("base: tiny\nadapter: x\nmax_length: 9\n", "'max_length' is the base's"),
        ('base: tiny\nadapter: x\nprompts: {query: "q"}\n', "'prompts' is the base's"),
    ],
)
def test_an_adapter_that_cannot_be_had_is_one_clear_line(project, text, said):
    from safetensors.numpy import save_file

    weights = project.root / "weights"
    for name in ("torn", "odd", "wide"):
        (weights / name).mkdir()
    maps_of(48, both=False).save(weights / "wide" / ADAPTER_FILE)
    (weights / "torn" / ADAPTER_FILE).write_bytes((weights / "wide" / ADAPTER_FILE).read_bytes()[:500])
    save_file({"query": np.zeros((4, 3), dtype=np.float32)}, weights / "odd" / ADAPTER_FILE)
    spec(project, "bad", text)
    with pytest.raises(BenchError) as error:
        open_retriever(project, project.domain("village"), "bad", CHUNKS).run({"q": "x"}, 1)
    assert said in str(error.value)
    assert len(error.value.problems) == 1
    assert "\n" not in str(error.value)


def test_an_adapter_has_no_weights_to_tune(project):
    make(project)
    with pytest.raises(BenchError, match=r"adapted\.yaml: is an adapter on tiny and has no weights of its own"):
        DenseEncoder.load(project, "adapted")
    assert isinstance(open_encoder(Project(project.root), "adapted"), AdaptedEncoder)


def test_other_prompts_of_the_model_are_kept(project):
    from sentence_transformers import SentenceTransformer

    path = project.root / "weights" / "tiny" / "config_sentence_transformers.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "prompts": {"classification": "c: ", "passage": "p: "}})
    )
    make(project)
    plain = SentenceTransformer(str(project.root / "weights" / "adapted"), device="cpu")
    assert plain.prompts["classification"] == "c: "
    np.testing.assert_allclose(
        open_encoder(project, "adapted").encode(TEXTS, "document"), plain.encode_document(TEXTS), atol=1e-5
    )
