"""Sparse encoders, checked against sentence-transformers' own vectors and similarity."""

import json
import shutil

import numpy as np
import pytest

from benchmark.console import SILENT, Notes
from benchmark.encoders.adapter import open_encoder
from benchmark.encoders.retrieve import open_retriever, open_scorer
from benchmark.encoders.shelf import vectors_folder
from benchmark.encoders.sparse import SparseModel
from benchmark.errors import BenchError
from benchmark.pipeline import Pipeline
from benchmark.project import Project
from benchmark.records import Chunk, read_chunks
from benchmark.runs import read_run
from benchmark.specs import BiEncoderRun, CrossEncoderRun
from benchmark.training.biencoder import open_base
from benchmark.training.crossencoder import train_cross_encoder
from benchmark.training.job import Job
from benchmark.weights import model_fingerprint

TEXTS = ["a mooring is let", "the queen is old and the hive is crowded " * 5, "rye flour", "ninety", "steam, at first"]
CHUNKS = [Chunk(f"d#{i}", "d", "Title", (), -1, -1, text) for i, text in enumerate(TEXTS)]
QUERIES = ["queen of the hive", "", "rye bread"]


def spec(project, name, text):
    (project.specs_folder / f"{name}.yaml").write_text(text)


def library_model(folder, **settings):
    from sentence_transformers import SparseEncoder

    return SparseEncoder(str(folder), device="cpu", **settings)


def rows(project, name, queries=QUERIES, chunks=CHUNKS):
    return np.stack(list(open_scorer(project, project.domain("village"), name, chunks).score_rows(queries)))


def test_scores_are_the_librarys_own(project, splade):
    model = library_model(splade)
    documents = model.encode_document([chunk.full_text for chunk in CHUNKS])
    expected = model.similarity(model.encode_query(QUERIES), documents).numpy()
    found = rows(project, "splade")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert found.dtype == np.float32 and len(np.unique(found)) == found.size

    matrix = SparseModel.load(project, "splade").encode(TEXTS, "document")
    assert 0 < matrix.nnz < 0.9 * matrix.shape[0] * matrix.shape[1]
    np.testing.assert_allclose(matrix.toarray(), model.encode_document(TEXTS).to_dense().numpy(), atol=1e-5)
    assert SparseModel.load(project, "splade").encode([], "query").shape == (0, 30522)


def test_a_model_that_compares_by_cosine_does_so_here(project, splade):
    path = splade / "config_sentence_transformers.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "similarity_fn_name": "cosine"}))
    model = library_model(splade)
    assert model.similarity_fn_name == "cosine"
    documents = model.encode_document([chunk.full_text for chunk in CHUNKS])
    expected = model.similarity(model.encode_query(QUERIES), documents).to_dense().numpy()
    np.testing.assert_allclose(rows(project, "splade"), expected, atol=1e-5)

    path.write_text(json.dumps({**json.loads(path.read_text()), "similarity_fn_name": "euclidean"}))
    with pytest.raises(BenchError, match="compares by 'euclidean'; only dot and cosine"):
        open_retriever(project, project.domain("village"), "splade", CHUNKS)


def test_prompts_and_length_are_the_specs_or_the_models(project, splade):
    path = splade / "config_sentence_transformers.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "prompts": {"query": "find: ", "document": "text: "}}))
    plain = library_model(splade)
    plain.prompts = {"query": "", "document": ""}
    own = SparseModel.load(project, "splade")
    spec(project, "other", 'path: weights/splade\nkind: sparse\nmax_length: 6\nprompts: {document: "d: "}\n')
    other = SparseModel.load(project, "other")
    for model, role, prompt in ((own, "query", "find: "), (own, "document", "text: "), (other, "query", "")):
        plain.max_seq_length = model.model.max_seq_length
        expected = plain.encode([prompt + text for text in TEXTS]).to_dense().numpy()
        np.testing.assert_allclose(model.encode(TEXTS, role).toarray(), expected, atol=1e-5)
    cut, whole = (model.encode([TEXTS[1]], "query").toarray() for model in (other, own))
    assert other.model.max_seq_length == 6 and not np.allclose(cut, whole)
    assert model_fingerprint(project, "other") != model_fingerprint(project, "splade")


def test_vectors_are_kept_and_a_broken_file_is_made_again(project, splade, monkeypatch):
    domain = project.domain("village")
    first = open_scorer(project, domain, "splade", CHUNKS)
    assert first.footprint.seconds > 0
    expected = np.stack(list(first.score_rows(QUERIES)))
    documents, queries = sorted(vectors_folder(domain).rglob("*.npz"))
    assert documents.parent.name.startswith("document-") and queries.parent.name.startswith("query-")
    assert documents.parent.parent.name == model_fingerprint(project, "splade")[:20]
    monkeypatch.setattr(SparseModel, "encode", lambda *_: pytest.fail("all of it is kept"))
    again = open_scorer(project, domain, "splade", CHUNKS)
    assert again.footprint.seconds is None
    np.testing.assert_array_equal(np.stack(list(again.score_rows(QUERIES))), expected)
    with pytest.raises(pytest.fail.Exception, match="all of it is kept"):
        list(again.afresh().score_rows(QUERIES))
    monkeypatch.undo()

    documents.write_bytes(documents.read_bytes()[:200])
    notes = Notes()
    again = open_scorer(project, domain, "splade", CHUNKS, notes)
    assert [line for line in notes.lines if line.endswith(f"{documents.name}: broken, encoded again")]
    np.testing.assert_array_equal(np.stack(list(again.score_rows(QUERIES))), expected)

    more = [*CHUNKS, Chunk("d#9", "d", "Title", (), -1, -1, "a passage that came later")]
    notes = Notes()
    grown = np.stack(list(open_scorer(project, domain, "splade", more, notes).score_rows(QUERIES)))
    assert grown.shape == (3, 6)
    np.testing.assert_array_equal(grown[:, :5], expected)


def test_vectors_of_other_prompts_are_not_taken(project, splade):
    domain = project.domain("village")
    open_scorer(project, domain, "splade", CHUNKS)
    model = SparseModel.load(project, "splade")
    assert model.prompts["document"] == ""
    kept = list(vectors_folder(domain).rglob("*.npz"))
    load = SparseModel.load.__func__

    def prompted(cls, *args):
        found = load(cls, *args)
        found.prompts = {"query": "", "document": "passage: "}
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SparseModel, "load", classmethod(prompted))
        assert open_scorer(project, domain, "splade", CHUNKS).footprint.seconds is not None
    assert len(list(vectors_folder(domain).rglob("*.npz"))) == len(kept) + 1


def test_weights_that_are_no_numbers_are_refused_and_not_kept(project, splade):
    from safetensors.torch import load_file, save_file

    (path,) = splade.rglob("model.safetensors")
    weights = load_file(path)
    # Infinity and not NaN: that the library's relu and max hand NaN on was not so in every process that ran this.
    weights["cls.predictions.bias"][7] = float("inf")
    save_file(weights, path, metadata={"format": "pt"})
    loaded = SparseModel.load(project, "splade").model.state_dict()
    assert sum(int((~tensor.isfinite()).sum()) for name, tensor in loaded.items() if name.endswith("bias")), list(
        loaded
    )
    said = rf"splade.yaml: gives values that are no numbers .* {len(CHUNKS)} of {len(CHUNKS)} texts"
    with pytest.raises(BenchError, match=said):
        open_scorer(project, project.domain("village"), "splade", CHUNKS)
    assert not list(vectors_folder(project).rglob("*.npz"))


def test_many_queries_are_scored_in_blocks(project, splade, monkeypatch):
    queries = [f"{text} {i}" for i, text in enumerate(TEXTS)]
    expected = rows(project, "splade", queries)
    monkeypatch.setattr("benchmark.encoders.sparse._BLOCK", 2)
    monkeypatch.setattr("benchmark.encoders.asymmetric._SLICE", 3)
    np.testing.assert_allclose(rows(project, "splade", queries), expected, rtol=1e-5)


def test_it_is_a_retriever_and_a_side_of_a_hybrid(project, splade, cross_encoder):
    domain = project.domain("village")
    spec(project, "fused", "hybrid: [bm25, splade]\n")
    spec(project, "two", "retriever: splade\nreranker: ce\ndepth: 2\n")
    alone = open_retriever(project, domain, "splade", CHUNKS).run({"q": "rye"}, 5)["q"]
    piped = open_retriever(project, domain, "two", CHUNKS).run({"q": "rye"}, 5)["q"]
    assert {hit.chunk for hit in piped[:2]} == {hit.chunk for hit in alone[:2]}
    assert [hit.chunk for hit in piped[2:]] == [hit.chunk for hit in alone[2:]]
    fused = open_retriever(project, domain, "fused", CHUNKS).run({"q": "rye"}, 5)["q"]
    assert len(fused) == 5 and [hit.score for hit in fused] != [hit.score for hit in alone]


def test_both_tasks_and_a_general_set_are_evaluated_once(project, splade):
    (project.root / "tasks" / "other").mkdir()
    for path in (project.root / "tasks" / "village").iterdir():
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, project.root / "tasks" / "other" / path.name)
    (project.root / "benchmark.yaml").write_text(
        "domains: [village]\ngeneral: [other]\nfinetune: []\nbaseline: bm25\nmodels: [splade]\n"
    )
    project = Project(project.root)
    spec = project.benchmark(project.root / "benchmark.yaml")
    outcomes = Pipeline(project, project.domain("village"), spec, SILENT).evaluate("splade")
    assert [outcome.facts["task"] for outcome in outcomes] == ["VillageRetrieval", "VillageReranking", "OtherRetrieval"]
    assert all(outcome.facts["model"] == model_fingerprint(project, "splade") for outcome in outcomes)
    candidates = [len(hits) for hits in read_run(outcomes[1].folder / "run.trec").values()]
    assert max(candidates) <= 6 and all(0 <= outcome.facts["scores"]["ndcg_at_10"] <= 1 for outcome in outcomes)

    costs = outcomes[0].facts["costs"]
    model = library_model(splade)
    assert costs["parameters"] == sum(weights.numel() for weights in model.parameters())
    assert costs["dimensions"] == 30522
    chunks = read_chunks(project.domain("village").chunks / "chunks.jsonl")
    kept = SparseModel.load(project, "splade").encode([chunk.full_text for chunk in chunks], "document")
    size = kept.data.nbytes + kept.indices.nbytes + kept.indptr.nbytes
    assert costs["index_bytes_per_million_chunks"] == pytest.approx(1e6 * size / len(chunks), abs=1)
    again = Pipeline(project, project.domain("village"), spec, SILENT).evaluate("splade")
    assert all(outcome.skipped for outcome in again)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("base: splade\ntruncate_dim: 16\n", "splade.yaml: kind: sparse: there is not one vector for each text"),
        ("path: weights/splade\n", "the weights are those of a SparseEncoder; say so: kind: sparse"),
        ("base: splade\nadapter: weights/adapter\n", "splade.yaml: kind: sparse: there is not one vector"),
        ("path: weights/tiny\nkind: sparse\n", "another kind of model (SentenceTransformer)"),
        ("path: weights/ce\nkind: sparse\n", "another kind of model (BertForSequenceClassification)"),
        ("path: weights/nowhere\nkind: sparse\n", "no such folder"),
        ("path: weights/torn\nkind: sparse\n", "cannot be loaded"),
        ("path: weights/odd\nkind: sparse\n", "config_sentence_transformers.json: not a JSON object"),
        ("retriever: bm25\nreranker: splade\n", "splade is no cross-encoder"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(project, splade, cross_encoder, text, said):
    weights = project.root / "weights"
    (weights / "adapter").mkdir()
    from benchmark.encoders.adapter import LinearMaps
    from benchmark.weights import ADAPTER_FILE

    LinearMaps.identity(32, both=False).save(weights / "adapter" / ADAPTER_FILE)
    for name in ("torn", "odd"):
        shutil.copytree(splade, weights / name)
    torn = next((weights / "torn").rglob("model.safetensors"))
    torn.write_bytes(torn.read_bytes()[:1000])
    (weights / "odd" / "config_sentence_transformers.json").write_text("[]")
    spec(project, "bad", text)
    with pytest.raises(BenchError) as error:
        open_retriever(project, project.domain("village"), "bad", CHUNKS)
    assert said in str(error.value)
    assert len(error.value.problems) == 1 and "\n" not in str(error.value)


def test_it_searches_for_no_training_data_and_cannot_be_tuned(project, splade, tmp_path):
    job = Job(project, project.domain("village"), CrossEncoderRun(name="tuned", base="splade"), 0, "", SILENT)
    for use in (
        lambda: open_encoder(project, "splade"),
        lambda: open_base(project, BiEncoderRun(name="tuned", base="splade")),
        lambda: train_cross_encoder(job, tmp_path / "work", tmp_path / "target"),
    ):
        with pytest.raises(BenchError, match="it ranks alone, in a hybrid, or before a reranker"):
            use()


def test_a_masked_language_model_without_modules_is_taken(project):
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=30522, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=128,
    )  # fmt: skip
    folder = project.root / "weights" / "bare"
    BertForMaskedLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(project.root / "weights" / "tiny").save_pretrained(folder)
    spec(project, "bare", "path: weights/bare\nkind: sparse\n")
    model = library_model(folder)
    np.testing.assert_allclose(
        SparseModel.load(project, "bare").encode(TEXTS, "query").toarray(),
        model.encode_query(TEXTS).to_dense().numpy(),
        atol=1e-5,
    )
