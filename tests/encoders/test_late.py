"""Late interaction, checked against sentence-transformers' own vectors and similarity."""

import json
import shutil

import numpy as np
import pytest

from benchmark.console import SILENT, Notes
from benchmark.encoders.adapter import open_encoder
from benchmark.encoders.late import LateInteractionModel, TokenVectors, maxsim
from benchmark.encoders.retrieve import open_retriever, open_scorer
from benchmark.encoders.shelf import vectors_folder
from benchmark.errors import BenchError
from benchmark.evaluation.evaluate import Evaluator
from benchmark.pipeline import Pipeline
from benchmark.records import Chunk
from benchmark.runs import read_run
from benchmark.weights import model_fingerprint

TEXTS = ["a mooring, is let!", "the queen is old, and the hive is crowded. " * 9, "rye", "ninety; minutes", "...", "x"]
CHUNKS = [Chunk(f"d#{i}", "d", "", (), -1, -1, text) for i, text in enumerate(TEXTS)]
QUERIES = ["queen, of the hive?", "", "rye bread " * 20]


def spec(project, name, text):
    (project.specs_folder / f"{name}.yaml").write_text(text)


def library_model(folder):
    from sentence_transformers import MultiVectorEncoder

    return MultiVectorEncoder(str(folder), device="cpu")


def rows(project, name, queries=QUERIES, chunks=CHUNKS):
    return np.stack(list(open_scorer(project, project.domain("village"), name, chunks).score_rows(queries)))


def random_vectors(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((length, 8)).astype(np.float32) for length in lengths]


def joined(vectors):
    return TokenVectors(np.concatenate(vectors), np.cumsum([0, *map(len, vectors)]))


@pytest.mark.parametrize("tokens", [1, 2, 5, 7, 1000])
def test_maxsim_is_the_librarys_in_blocks_of_any_size(tokens, monkeypatch):
    from sentence_transformers.util.similarity import maxsim as library_maxsim

    queries, documents = random_vectors([3, 1, 7], 1), random_vectors([1, 4, 9, 1, 2, 5], 2)
    kept = joined(documents)
    blocks = kept.blocks(tokens)
    assert [i for start, end in blocks for i in range(start, end)] == list(range(6))
    assert all(end - start == 1 or kept.offsets[end] - kept.offsets[start] <= tokens for start, end in blocks)
    monkeypatch.setattr("benchmark.encoders.late._SIMILARITIES", 11 * tokens)
    found = maxsim(joined(queries), kept)
    np.testing.assert_allclose(found, library_maxsim(queries, documents).numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tokens", [1, 3, 1000])
def test_texts_without_tokens_are_scored_as_the_library_does(tokens, monkeypatch):
    from sentence_transformers.util.similarity import maxsim as library_maxsim

    queries, documents = random_vectors([2, 0, 3], 1), random_vectors([0, 2, 0, 0, 1, 0], 2)
    kept = joined(documents)
    monkeypatch.setattr("benchmark.encoders.late._SIMILARITIES", 5 * tokens)
    found = maxsim(joined(queries), kept)
    expected = library_maxsim(queries, documents).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert (found[:, [0, 2, 3, 5]] < -1e8).all() and (found[:, [1, 4]] > -1e8).all()


def test_scores_are_the_librarys_own(project, colbert):
    model = library_model(colbert)
    documents, queries = model.encode_document(TEXTS), model.encode_query(QUERIES)
    np.testing.assert_allclose(
        rows(project, "colbert"), model.similarity(queries, documents).numpy(), rtol=1e-4, atol=1e-4
    )

    ours = LateInteractionModel.load(project, "colbert")
    found = ours.encode(TEXTS, "document")
    # [CLS] and [SEP] stay, punctuation and padding do not; the longest text is cut.
    assert np.diff(found.offsets).tolist() == [len(vectors) for vectors in documents]
    assert np.diff(found.offsets).tolist()[2:] == [3, 4, 2, 3] and max(np.diff(found.offsets)) <= 64
    assert set(np.diff(ours.encode(QUERIES, "query").offsets)) == {12}
    empty = ours.encode([], "query")
    assert empty.vectors.shape == (0, 16) and empty.texts == 0


def test_the_mean_is_taken_where_the_model_takes_it(project, colbert):
    path = colbert / "config_sentence_transformers.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "similarity_fn_name": "meanmaxsim"}))
    model = library_model(colbert)
    expected = model.similarity(model.encode_query(QUERIES), model.encode_document(TEXTS)).numpy()
    found = rows(project, "colbert")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(found).max() <= 1 + 1e-5


def test_a_specs_length_cuts_passages_and_its_prompts_go_in_front(project, colbert):
    spec(
        project,
        "short",
        'path: weights/colbert\nkind: late-interaction\nmax_length: 5\nprompts: {query: "q ", document: "d "}\n',
    )
    ours, model = LateInteractionModel.load(project, "short"), library_model(colbert)
    model[0].document_length = 5
    for role, prompt, encode in (("query", "q ", model.encode_query), ("document", "d ", model.encode_document)):
        expected = encode([prompt + text for text in TEXTS], prompt="")
        found = ours.encode(TEXTS, role)
        assert np.diff(found.offsets).tolist() == [len(vectors) for vectors in expected]
        np.testing.assert_allclose(found.vectors, np.concatenate([v.numpy() for v in expected]), atol=1e-5)
    assert max(np.diff(ours.encode(TEXTS, "document").offsets)) == 5
    assert set(np.diff(ours.encode(TEXTS, "query").offsets)) == {12}
    assert model_fingerprint(project, "short") != model_fingerprint(project, "colbert")


def test_vectors_are_kept_and_a_broken_file_is_made_again(project, colbert, monkeypatch):
    domain = project.domain("village")
    first = open_scorer(project, domain, "colbert", CHUNKS)
    expected = np.stack(list(first.score_rows(QUERIES)))
    documents, _ = sorted(vectors_folder(domain).rglob("*.npz"))
    monkeypatch.setattr(LateInteractionModel, "encode", lambda *_: pytest.fail("all of it is kept"))
    again = open_scorer(project, domain, "colbert", CHUNKS)
    assert first.footprint.seconds > 0 and again.footprint.seconds is None
    np.testing.assert_array_equal(np.stack(list(again.score_rows(QUERIES))), expected)
    with pytest.raises(pytest.fail.Exception, match="all of it is kept"):
        list(again.afresh().score_rows(QUERIES))
    monkeypatch.undo()

    documents.write_bytes(documents.read_bytes()[:300])
    notes = Notes()
    again = open_scorer(project, domain, "colbert", CHUNKS, notes)
    assert [line for line in notes.lines if line.endswith(f"{documents.name}: broken, encoded again")]
    np.testing.assert_array_equal(np.stack(list(again.score_rows(QUERIES))), expected)

    more = [Chunk("d#9", "d", "", (), -1, -1, "a passage that came later"), *CHUNKS]
    grown = np.stack(list(open_scorer(project, domain, "colbert", more).score_rows(QUERIES)))
    assert grown.shape == (3, 7)
    np.testing.assert_array_equal(grown[:, 1:], expected)


def test_vectors_that_are_no_numbers_are_refused_and_not_kept(project, colbert, monkeypatch):
    import torch

    load = LateInteractionModel.load.__func__

    def broken(cls, *args):
        model = load(cls, *args)
        with torch.no_grad():
            model.model[1].linear.weight[3] = float("nan")
        return model

    monkeypatch.setattr(LateInteractionModel, "load", classmethod(broken))
    with pytest.raises(BenchError, match=r"colbert.yaml: gives values that are no numbers .* of \d+ texts"):
        open_scorer(project, project.domain("village"), "colbert", CHUNKS)
    assert not list(vectors_folder(project).rglob("*.npz"))


def test_blocks_change_no_score(project, colbert, monkeypatch):
    queries = [f"{text} {i}" for i, text in enumerate(TEXTS)]
    expected = rows(project, "colbert", queries)
    monkeypatch.setattr("benchmark.encoders.late._QUERIES", 2)
    monkeypatch.setattr("benchmark.encoders.late._SIMILARITIES", 240)
    monkeypatch.setattr("benchmark.encoders.asymmetric._SLICE", 2)
    np.testing.assert_allclose(rows(project, "colbert", queries), expected, rtol=1e-5)


def test_it_ranks_both_tasks_alone_in_a_hybrid_and_before_a_reranker(project, colbert, cross_encoder):
    spec(project, "fused", "hybrid: [bm25, colbert]\n")
    spec(project, "two", "retriever: colbert\nreranker: ce\ndepth: 2\n")
    pipeline = Pipeline(project, project.domain("village"), None, SILENT)
    inputs = {"chunks": pipeline.chunks(), "testset": pipeline.testset(), "candidates": pipeline.candidates()}
    evaluator = Evaluator(project, pipeline.domain, inputs, 100, SILENT)
    chunks = evaluator.data("retrieval").chunks
    candidates = evaluator.data("reranking").candidates
    runs = {}
    for name in ("colbert", "fused", "two"):
        retrieval, reranking = evaluator.evaluate(name)
        runs[name] = read_run(retrieval.folder / "run.trec")
        assert all(len(hits) == len(chunks) for hits in runs[name].values())
        found = read_run(reranking.folder / "run.trec")
        assert {q: {hit.chunk for hit in hits} for q, hits in found.items()} == {
            q: set(c) for q, c in candidates.items()
        }
        assert [outcome.skipped for outcome in evaluator.evaluate(name)] == [True, True]
    for query, hits in runs["two"].items():
        assert [hit.chunk for hit in hits[2:]] == [hit.chunk for hit in runs["colbert"][query][2:]]

    model = library_model(colbert)
    queries = evaluator.data("retrieval").testset.queries
    scores = model.similarity(
        model.encode_query([query.text for query in queries]), model.encode_document([c.full_text for c in chunks])
    ).numpy()
    for query, row in zip(queries, scores, strict=True):
        ours = {hit.chunk: hit.score for hit in runs["colbert"][query.id]}
        np.testing.assert_allclose([ours[chunk.id] for chunk in chunks], row, rtol=1e-4)

    costs = evaluator.evaluate("colbert", ["retrieval"])[0].facts["costs"]
    assert costs["dimensions"] == 16
    assert costs["parameters"] == sum(weights.numel() for weights in model.parameters())
    kept = LateInteractionModel.load(project, "colbert").encode([chunk.full_text for chunk in chunks], "document")
    size = kept.vectors.nbytes + kept.offsets.nbytes
    assert costs["index_bytes_per_million_chunks"] == pytest.approx(1e6 * size / len(chunks), abs=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("base: colbert\ntruncate_dim: 8\n", "colbert.yaml: kind: late-interaction: there is not one vector"),
        ("path: weights/colbert\n", "the weights are those of a MultiVectorEncoder; say so: kind: late-interaction"),
        ("path: weights/tiny\nkind: late-interaction\n", "another kind of model (SentenceTransformer)"),
        ("path: weights/ce\nkind: late-interaction\n", "another kind of model (BertForSequenceClassification)"),
        ("path: weights/torn\nkind: late-interaction\n", "cannot be loaded"),
        ("path: weights/headless\nkind: late-interaction\n", "cannot be loaded"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(project, colbert, cross_encoder, text, said):
    weights = project.root / "weights"
    for name in ("torn", "headless"):
        shutil.copytree(colbert, weights / name)
    torn = next((weights / "torn").rglob("model.safetensors"))
    torn.write_bytes(torn.read_bytes()[:1000])
    (weights / "headless" / "1_Dense" / "model.safetensors").unlink()
    spec(project, "bad", text)
    with pytest.raises(BenchError) as error:
        open_retriever(project, project.domain("village"), "bad", CHUNKS)
    assert said in str(error.value)
    assert len(error.value.problems) == 1 and "\n" not in str(error.value)


def test_it_searches_for_no_training_data_and_cannot_be_tuned(project, colbert):
    with pytest.raises(BenchError, match="it ranks alone, in a hybrid, or before a reranker"):
        open_encoder(project, "colbert")


def test_models_that_pylate_and_stanford_saved_are_taken(project, colbert, late_model):
    from safetensors.torch import load_file, save_file

    # Stanford's: one folder, the last layer's weights among the others.
    folder = project.root / "weights" / "stanford"
    shutil.copytree(late_model, folder)
    for name in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
        (folder / name).unlink(missing_ok=True)
    weights = load_file(folder / "model.safetensors")
    weights = {f"bert.{name}": tensor for name, tensor in weights.items()}
    weights["linear.weight"] = load_file(folder / "1_Dense" / "model.safetensors")["linear.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    shutil.rmtree(folder / "1_Dense")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["HF_ColBERT"]}))
    (folder / "artifact.metadata").write_text(json.dumps({"query_maxlen": 12, "doc_maxlen": 64}))
    spec(project, "stanford", "path: weights/stanford\nkind: late-interaction\n")
    model = library_model(folder)
    expected = model.similarity(model.encode_query(QUERIES), model.encode_document(TEXTS)).numpy()
    np.testing.assert_allclose(rows(project, "stanford"), expected, rtol=1e-4, atol=1e-4)
    assert LateInteractionModel.load(project, "stanford").prompts == {"query": "[unused0] ", "document": "[unused1] "}

    # PyLate's: a transformer and its own layer, which the library knows.
    folder = project.root / "weights" / "pylate"
    shutil.copytree(late_model, folder)
    modules = json.loads((folder / "modules.json").read_text())[:2]
    modules[1]["type"] = "pylate.models.Dense.Dense"
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "config_sentence_transformers.json").write_text(
        json.dumps({"query_prefix": "[Q] ", "document_prefix": "[D] ", "query_length": 12, "document_length": 64})
    )
    spec(project, "pylate", "path: weights/pylate\nkind: late-interaction\n")
    model = library_model(folder)
    expected = model.similarity(model.encode_query(QUERIES), model.encode_document(TEXTS)).numpy()
    np.testing.assert_allclose(rows(project, "pylate"), expected, rtol=1e-4, atol=1e-4)
    assert LateInteractionModel.load(project, "pylate").prompts == {"query": "[Q] ", "document": "[D] "}
