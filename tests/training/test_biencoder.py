"""Training of bi-encoders on a tiny model: losses, bases, low-rank updates, kills, and what lies in the store."""

import json
import shutil
import sys
import textwrap

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark.console import SILENT, Notes
from benchmark.encoders.dense import DenseEncoder
from benchmark.encoders.store import document_vectors
from benchmark.errors import BenchError
from benchmark.files import files_below, hash_file, write_jsonl, write_text
from benchmark.pipeline import Pipeline
from benchmark.records import read_chunks
from benchmark.specs import BiEncoderRun
from benchmark.training.biencoder import open_base, token_lengths, train_bi_encoder, training_rows
from benchmark.training.emit import weights_spec
from benchmark.training.job import Job
from benchmark.training.loop import checkpoints, last_checkpoint
from benchmark.training.targets import distillation_targets, known_vectors
from benchmark.weights import TRAINED_CHUNKS, code_hash, folder_fingerprint, model_fingerprint

ROWS = 40


def settings(**more):
    given = {
        "name": "tuned", "base": "tiny", "epochs": 1.0, "batch_size": 8, "mini_batch_size": 4, "learning_rate": 1e-3,
        "max_length": 48,
    }  # fmt: skip
    return BiEncoderRun.model_validate({**given, **more})


def write_synthetic(domain):
    """Training tables in the generate stage's format, from the domain's own chunks: spans of them as queries."""
    chunks = read_chunks(domain.chunks / "chunks.jsonl")
    texts = [chunk.full_text for chunk in chunks]
    rows = []
    for i in range(ROWS):
        words = texts[i % len(texts)].split()
        start = 3 + 2 * (i // len(texts))
        rows.append({"anchor": " ".join(words[start : start + 5]), "positive": texts[i % len(texts)],
                     **{f"negative_{k}": texts[(i + k) % len(texts)] for k in (1, 2)}})  # fmt: skip
    domain.synthetic.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), domain.synthetic / "ntuples_train.parquet")
    pairs = [
        {"anchor": row["anchor"], "positive": text, "label": float(name == "positive"),
         "score": {"positive": 0.9, "negative_1": 0.4, "negative_2": 0.1}[name]}
        for row in rows for name, text in row.items() if name != "anchor"
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(pairs), domain.synthetic / "pairs_train.parquet")
    queries = [
        {"text": row["anchor"], "positive_text": row["positive"], "chunk": chunks[i % len(chunks)].id,
         "origin": "span", "split": "train"}
        for i, row in enumerate(rows)
    ]  # fmt: skip
    write_jsonl(domain.synthetic / "queries.jsonl", queries)
    held_out = [{"id": f"d{i}", "text": f"{queries[i]['text']} now", "origin": "span"} for i in range(4)]
    write_jsonl(domain.synthetic / "dev_queries.jsonl", held_out)
    lines = [f"d{i}\t{chunks[i].id}\t1\n" for i in range(4)]
    write_text(domain.synthetic / "dev_qrels.tsv", "query-id\tcorpus-id\tscore\n" + "".join(lines))


@pytest.fixture
def ready(project):
    pipeline = Pipeline(project, project.domain("village"), None, SILENT)
    pipeline.chunks()
    write_synthetic(pipeline.domain)
    return project, pipeline.domain


def trained(project, domain, run, folder="out", reporter=SILENT, work=None):
    """Train into a folder of the project; returns facts and folder."""
    target = project.root / folder
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    job = Job(project, domain, run, 0, "synthetic", reporter)
    with checkpoints(work or project.root / "work", "f") as kept:
        return train_bi_encoder(job, kept, target), target


def plain_model(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def weights_of(folder):
    return hash_file(folder / "model.safetensors")


# --- every loss -----------------------------------------------------------------------------------------------------

KINDS = [
    {"loss": "mnrl"},
    {"loss": "mnrl", "hard_negatives": 2, "matryoshka": [16]},
    {"loss": "gist", "hard_negatives": 1},
    {"loss": "gist", "guide": "tiny", "batch_size": 4, "matryoshka": [8]},
    {"loss": "triplet", "hard_negatives": 2, "matryoshka": [16]},
    {"loss": "margin-mse", "hard_negatives": 2},
    {"loss": "margin-mse", "hard_negatives": 2, "teacher": "bm25", "matryoshka": [16]},
    {"loss": "kl", "hard_negatives": 2, "teacher": "bm25"},
    {"loss": "kl", "hard_negatives": 1, "gradient_checkpointing": True},
    {"loss": "mnrl", "hard_negatives": 1, "gradient_checkpointing": True},
    {"loss": "gist", "gradient_checkpointing": True, "lora": {"r": 4}},
    {"loss": "triplet", "hard_negatives": 1, "gradient_checkpointing": True, "lora": {"r": 4}},
]  # fmt: skip


@pytest.mark.parametrize("more", KINDS, ids=lambda more: "-".join(str(value) for value in more.values()))
def test_every_loss_trains_a_model_that_plain_sentence_transformers_loads(ready, more):
    project, domain = ready
    run = settings(**more)
    facts, folder = trained(project, domain, run)
    assert facts["pairs"] == ROWS and facts["loss"] == run.loss
    assert np.isfinite(facts["final_loss"]) and facts["final_loss"] >= 0
    assert facts["seconds_per_1000_pairs"] > 0 and facts["peak_memory_mib"]["process"] > 100
    assert set(facts["development"]["after"]) == {"ndcg@10", "mrr@10"}
    if run.loss in {"margin-mse", "kl"}:
        assert facts["teacher"] == (run.teacher or "scores of the generate stage")
    tuned, base = plain_model(folder), plain_model(project.root / "weights" / "tiny")
    assert set(tuned.state_dict()) == set(base.state_dict())
    assert not list(folder.rglob("adapter_*"))
    assert weights_of(folder) != weights_of(project.root / "weights" / "tiny")


def test_training_lowers_each_loss(ready):
    project, domain = ready
    for more in ({"loss": "gist"}, {"loss": "margin-mse", "hard_negatives": 2, "teacher": "bm25"}):
        still = trained(project, domain, settings(**more, learning_rate=1e-9))[0]["final_loss"]
        moved = trained(project, domain, settings(**more, epochs=4.0, learning_rate=3e-3))[0]["final_loss"]
        assert moved < 0.8 * still, more


def test_a_larger_batch_of_a_pairwise_loss_is_gone_through_in_parts(ready):
    """The same rows in one step, in one part or in four."""
    project, domain = ready
    more = {"loss": "margin-mse", "hard_negatives": 2, "batch_size": ROWS}
    whole, first = trained(project, domain, settings(**more, mini_batch_size=ROWS))
    parted, second = trained(project, domain, settings(**more, mini_batch_size=ROWS // 4), "parted")
    assert whole["steps"] == parted["steps"] == 1
    left, right = (plain_model(folder).state_dict() for folder in (first, second))
    # Dropout differs; the step is Adam's, of one size whatever the gradient: most signs agree.
    base = plain_model(project.root / "weights" / "tiny").state_dict()
    moves = [(left[key] - base[key]).sign() == (right[key] - base[key]).sign() for key in left if left[key].ndim == 2]
    assert np.mean([float(move.float().mean()) for move in moves]) > 0.5


# --- teachers and guides --------------------------------------------------------------------------------------------


def prepared(project, domain, run):
    job = Job(project, domain, run, 0, "", SILENT)
    rows = training_rows(domain, run, 0)
    return job, rows, open_base(project, run), read_chunks(domain.passages)


def root_mean_square(values):
    return float(np.sqrt(np.square(values).mean()))


@pytest.mark.parametrize("teacher", ["bm25", "tiny", "fused", "ce", None])
def test_a_teachers_scores_come_in_the_students_unit_and_in_its_own_order(ready, cross_encoder, teacher):
    from benchmark.encoders.retrieve import open_scorer

    project, domain = ready
    (project.specs_folder / "fused.yaml").write_text("hybrid: [bm25, tiny]\n")
    run = settings(loss="kl", hard_negatives=2, teacher=teacher, scale=10.0)
    job, rows, base, chunks = prepared(project, domain, run)
    found = distillation_targets(job, rows, base, chunks)
    assert found.shape == (ROWS, 3)
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-4)

    known = known_vectors(domain, base, rows, chunks, SILENT)
    vectors = known.vectors[known.places]
    cosines = np.einsum("rd,rpd->rp", vectors[:, 0], vectors[:, 1:])
    own = 10.0 * (cosines - cosines.mean(axis=1, keepdims=True))
    assert root_mean_square(found) == pytest.approx(root_mean_square(own), rel=1e-3)
    if teacher == "tiny":
        np.testing.assert_allclose(found, own, atol=1e-3)
    elif teacher == "ce":
        from sentence_transformers import CrossEncoder

        judge = CrossEncoder(str(cross_encoder), max_length=96, device="cpu", num_labels=1)
        raw = [judge.predict([(row["anchor"], row[name]) for row in rows.to_list()]) for name in rows.column_names[1:]]
        assert (np.stack(raw, axis=1).argsort() == found.argsort()).mean() > 0.95
    elif teacher is None:
        assert (found.argsort(axis=1) == [2, 1, 0]).all()
    else:
        places = {chunk.full_text: number for number, chunk in enumerate(chunks)}
        scores = open_scorer(project, domain, teacher, chunks).score_rows(rows["anchor"])
        for number, row in enumerate(scores):
            raw = np.array([row[places[rows[number][name]]] for name in rows.column_names[1:]])
            np.testing.assert_allclose(
                np.diff(found[number]) * np.ptp(raw), np.diff(raw) * np.ptp(found[number]), atol=1e-2
            )


def test_a_teacher_that_cannot_teach_is_told(ready, cross_encoder):
    project, domain = ready
    (project.specs_folder / "two.yaml").write_text("retriever: bm25\nreranker: ce\n")
    run = settings(loss="kl", hard_negatives=1, teacher="two")
    with pytest.raises(BenchError, match=r"teacher: two is a pipeline of two stages.*its reranker \(ce\)"):
        trained(project, domain, run)
    path = domain.synthetic / "pairs_train.parquet"
    table = pq.read_table(path)
    pq.write_table(table.filter(pa.compute.equal(table["label"], 1.0)), path)
    kept = settings(loss="kl", hard_negatives=1)
    with pytest.raises(BenchError, match="has no score for the query"):
        trained(project, domain, kept)
    pq.write_table(table.set_column(3, "score", pa.array([0.5] * len(table))), path)
    with pytest.raises(BenchError, match="the teacher gives all passages of each query the same score"):
        trained(project, domain, kept)
    pq.write_table(table.drop_columns(["score"]), path)
    with pytest.raises(BenchError, match="has no column 'score'; set 'teacher' of tuned"):
        trained(project, domain, kept)


def test_a_guide_reads_whole_texts_with_its_own_prompts(ready):
    project, domain = ready
    (project.specs_folder / "asked.yaml").write_text(
        'path: weights/tiny\nprompts: {query: "ask: ", document: "say: "}\n'
    )
    _, rows, _, chunks = prepared(project, domain, settings(hard_negatives=1))
    guide = DenseEncoder.load(project, "asked")
    known = known_vectors(domain, guide, rows, chunks, SILENT)
    model = plain_model(project.root / "weights" / "tiny")
    for column, name in enumerate(rows.column_names):
        prompt = "ask: " if column == 0 else "say: "
        expected = model.encode([prompt + text for text in rows[name]], normalize_embeddings=True)
        np.testing.assert_allclose(known.vectors[known.places[:, column]], expected, atol=1e-5)
    cut = [{**row, "positive": row["positive"].rsplit(" ", 2)[0]} for row in rows.to_list()]
    from datasets import Dataset

    other = known_vectors(domain, guide, Dataset.from_list(cut), chunks, SILENT)
    expected = model.encode(["say: " + row["positive"] for row in cut], normalize_embeddings=True)
    np.testing.assert_allclose(other.vectors[other.places[:, 1]], expected, atol=1e-5)


# --- the store ------------------------------------------------------------------------------------------------------


def test_the_tuned_models_vectors_stand_in_the_store_before_anybody_asks(ready, monkeypatch):
    project, domain = ready
    run = settings(hard_negatives=1)
    _, folder = trained(project, domain, run, "results/village/models/tuned")
    job = Job(project, domain, run, 0, "", SILENT)
    spec = weights_spec(job, folder)
    from benchmark.training.emit import emit_spec

    emit_spec(job, "tuned", spec.model_copy(update={"description": "x", "provenance": {"run": "tuned"}}))
    assert model_fingerprint(project, "tuned") == folder_fingerprint(spec, folder)
    encoder = DenseEncoder.load(project, "tuned")
    chunks = read_chunks(domain.passages)
    own = encoder.encode([chunk.full_text for chunk in chunks], "document")
    monkeypatch.setattr(encoder, "encode", lambda *_: pytest.fail("encoded again"))
    np.testing.assert_array_equal(document_vectors(domain, encoder, chunks), own)
    (folder / "LICENSE").write_text("words")
    (folder / "README.md").write_text("words")
    (folder / TRAINED_CHUNKS).unlink()
    assert model_fingerprint(project, "tuned") == encoder.fingerprint
    (folder / "config_sentence_transformers.json").write_text("{}")
    assert model_fingerprint(project, "tuned") != encoder.fingerprint


def test_a_base_in_half_precision_has_vectors_of_its_own_while_it_is_trained_on(project):
    from benchmark.training.biencoder import open_base

    plain = plain_model(project.root / "weights" / "tiny")
    plain.half().save_pretrained(str(project.root / "weights" / "half"), create_model_card=False)
    (project.specs_folder / "half.yaml").write_text("path: weights/half\nmax_length: 96\n")
    for name, same in (("half", False), ("tiny", True)):
        found = open_base(project, settings(base=name))
        assert {weights.itemsize for weights in found.model.parameters()} == {4}
        assert (found.fingerprint == model_fingerprint(project, name)) == same


# --- what is measured -----------------------------------------------------------------------------------------------


def test_lengths_are_tokens_with_prompts_and_training_is_cut_to_the_longest(ready):
    project, domain = ready
    (project.specs_folder / "asked.yaml").write_text(
        'path: weights/tiny\nmax_length: 96\nprompts: {query: "a long prompt for a query: "}\n'
    )
    _, rows, base, _ = prepared(project, domain, settings(base="asked"))
    found = token_lengths(base, rows, 500)
    tokens = plain_model(project.root / "weights" / "tiny").tokenizer
    for number, row in enumerate(rows):
        assert found[number, 0] == len(tokens("a long prompt for a query: " + row["anchor"])["input_ids"])
        assert found[number, 1] == min(96, len(tokens(row["positive"])["input_ids"]))
    assert token_lengths(base, rows, 12).max() == 12
    facts, _ = trained(project, domain, settings(base="asked", max_length=500))
    assert facts["max_length"] == found.max() < 96
    facts, folder = trained(project, domain, settings(base="asked", max_length=12))
    assert facts["max_length"] == 12
    # Training reads less; the model that it leaves does not.
    assert plain_model(folder).max_seq_length == 96


@pytest.mark.parametrize("negatives", [0, 2])
def test_the_rows_are_shuffled_and_at_most_so_many(ready, negatives):
    _, domain = ready
    run = settings(max_pairs=5, hard_negatives=negatives)
    rows = training_rows(domain, run, 0)
    assert len(rows) == 5 and len(rows.column_names) == 2 + negatives
    assert rows["anchor"] == training_rows(domain, run, 0)["anchor"] != training_rows(domain, run, 1)["anchor"]
    with pytest.raises(BenchError, match="hard_negatives is 3, but 'negatives' under 'generate' is 2"):
        training_rows(domain, settings(hard_negatives=3), 0)


# --- low-rank updates -----------------------------------------------------------------------------------------------


def test_low_rank_updates_end_in_the_weights(ready):
    """The merged model gives the vectors that the model with updates beside it gave."""
    import torch
    from sentence_transformers import SentenceTransformer

    from benchmark.specs.finetune import Lora
    from benchmark.training.lora import add_lora, merge_lora

    project, _ = ready
    model = SentenceTransformer(str(project.root / "weights" / "tiny"), device="cpu").eval()
    names = set(model.state_dict())
    before = model.encode(["rye flour", "queen"])
    torch.manual_seed(0)
    add_lora(model, Lora(r=4), "x")
    learnt = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert learnt and all("lora_" in name for name in learnt)
    np.testing.assert_allclose(model.encode(["rye flour", "queen"]), before, atol=1e-6)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    beside = model.encode(["rye flour", "queen"])
    merge_lora(model)
    assert set(model.state_dict()) == names
    assert np.abs(beside - before).max() > 1e-3
    np.testing.assert_allclose(model.encode(["rye flour", "queen"]), beside, atol=1e-5)
    model.save_pretrained(str(project.root / "merged"), create_model_card=False)
    np.testing.assert_allclose(plain_model(project.root / "merged").encode(["rye flour", "queen"]), beside, atol=1e-5)


def test_wrong_layers_and_a_missing_package_are_told(ready, monkeypatch):
    project, domain = ready
    with pytest.raises(BenchError, match=r"'lora.targets': no layer .* \['q_proj'\]; it has dense, key, query, value"):
        trained(project, domain, settings(lora={"targets": ["q_proj"]}))
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(BenchError, match=r'tuned: \'lora\' needs the package peft: pip install "domainbench\[lora\]"'):
        trained(project, domain, settings(lora={}))


# --- a kill ---------------------------------------------------------------------------------------------------------


def killed(start_doomed, project, run, work):
    code = f"""
    from pathlib import Path
    from benchmark.console import SILENT
    from benchmark.project import Project
    from benchmark.specs import BiEncoderRun
    from benchmark.training.biencoder import train_bi_encoder
    from benchmark.training.job import Job
    from benchmark.training.loop import checkpoints
    project = Project(Path({str(project.root)!r}))
    run = BiEncoderRun.model_validate_json({run.model_dump_json()!r})
    target = project.root / "killed"
    target.mkdir()
    with checkpoints(Path({str(work)!r}), "f") as kept:
        train_bi_encoder(Job(project, project.domain("village"), run, 0, "synthetic", SILENT), kept, target)
    """
    start_doomed(code)
    assert last_checkpoint(work) is not None


@pytest.mark.parametrize(
    "more",
    [
        {"lora": {"r": 4, "dropout": 0.1}, "loss": "gist"},
        {"loss": "margin-mse", "hard_negatives": 2, "teacher": "bm25"},
    ],
    ids=["gist with lora", "margin-mse in parts"],
)
def test_killed_in_the_middle_it_goes_on_and_ends_with_the_same_weights(ready, start_doomed, more):
    project, domain = ready
    run, work = settings(**more, epochs=2.0), project.root / "kept"
    killed(start_doomed, project, run, work)
    heard = Notes()
    resumed, first = trained(project, domain, run, "resumed", heard, work)
    assert any("goes on from step" in line for line in heard.lines)
    assert not work.exists()
    whole, second = trained(project, domain, run, "whole")
    assert weights_of(first) == weights_of(second)
    assert resumed["development"] == whole["development"] and resumed["steps"] == whole["steps"]
    assert resumed["final_loss"] == pytest.approx(whole["final_loss"])


# --- bases ----------------------------------------------------------------------------------------------------------


def save_as_model(transformer_folder, folder, length=64):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    transformer = Transformer(str(transformer_folder), max_seq_length=length)
    pooling = Pooling(transformer.get_embedding_dimension())
    SentenceTransformer(modules=[transformer, pooling], device="cpu").save_pretrained(
        str(folder), create_model_card=False
    )
    shutil.rmtree(transformer_folder)


@pytest.fixture
def modern(project):
    """A randomly initialised ModernBERT with prompts of its own and weights in bfloat16."""
    import torch
    from transformers import AutoTokenizer, ModernBertConfig, ModernBertModel

    torch.manual_seed(0)
    config = ModernBertConfig(
        vocab_size=30522, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=128, pad_token_id=0, cls_token_id=101, sep_token_id=102, global_attn_every_n_layers=2,
    )  # fmt: skip
    inner, folder = project.root / "inner", project.root / "weights" / "modern"
    ModernBertModel(config).to(torch.bfloat16).save_pretrained(inner)
    AutoTokenizer.from_pretrained(project.root / "weights" / "tiny").save_pretrained(inner)
    save_as_model(inner, folder)
    path = folder / "config_sentence_transformers.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "prompts": {"query": "search_query: ", "document": "d: "}})
    )
    (project.specs_folder / "modern.yaml").write_text("path: weights/modern\n")
    return folder


@pytest.mark.parametrize(
    "more", [{}, {"lora": {"r": 4}, "loss": "gist"}, {"gradient_checkpointing": True, "hard_negatives": 1}]
)
def test_a_modern_bert_with_prompts_and_half_precision_is_trained(ready, modern, more):
    import torch

    project, domain = ready
    facts, folder = trained(project, domain, settings(base="modern", **more))
    model = plain_model(folder)
    assert model.prompts["query"] == "search_query: " and model.prompts["document"] == "d: "
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert facts["pairs"] == ROWS


def test_prompts_of_the_spec_travel_with_the_model(ready):
    project, domain = ready
    (project.specs_folder / "asked.yaml").write_text(
        'path: weights/tiny\nprompts: {query: "ask: ", document: "say: "}\n'
    )
    _, folder = trained(project, domain, settings(base="asked"))
    assert {key: plain_model(folder).prompts[key] for key in ("query", "document")} == {
        "query": "ask: ",
        "document": "say: ",
    }
    spec = weights_spec(Job(project, domain, settings(base="asked"), 0, "", SILENT), folder)
    assert (spec.prompts.query, spec.path) == ("ask: ", "out")


def test_of_a_base_that_is_cut_the_whole_model_is_trained(ready):
    project, domain = ready
    (project.specs_folder / "cut.yaml").write_text("base: tiny\ntruncate_dim: 8\n")
    _, folder = trained(project, domain, settings(base="cut", matryoshka=[8]))
    assert plain_model(folder).encode(["x"]).shape == (1, 32)
    spec = weights_spec(Job(project, domain, settings(base="cut"), 0, "", SILENT), folder)
    assert (spec.max_length, spec.truncate_dim, spec.base) == (96, None, None)


def test_an_exported_adapter_is_no_base(ready):
    from benchmark.encoders.adapter import LinearMaps
    from benchmark.training.export import save_sentence_transformer

    project, domain = ready
    folder = project.root / "weights" / "routed"
    save_sentence_transformer(folder, DenseEncoder.load(project, "tiny"), LinearMaps.identity(32, both=True))
    (project.specs_folder / "routed.yaml").write_text("path: weights/routed\n")
    with pytest.raises(BenchError, match="base: routed sends queries and documents different ways"):
        trained(project, domain, settings(base="routed"))
    (project.specs_folder / "keyword.yaml").write_text("bm25: {}\n")
    with pytest.raises(BenchError, match="is no bi-encoder"):
        trained(project, domain, settings(base="keyword"))


def test_a_table_of_word_vectors_is_trained_too(ready):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    project, domain = ready
    words = Tokenizer.from_file(str(project.root / "weights" / "tiny" / "tokenizer.json"))
    words.no_padding()
    SentenceTransformer(modules=[StaticEmbedding(words, embedding_dim=16)], device="cpu").save_pretrained(
        str(project.root / "weights" / "static"), create_model_card=False
    )
    (project.specs_folder / "static.yaml").write_text("path: weights/static\n")
    facts, folder = trained(project, domain, settings(base="static"))
    assert facts["pairs"] == ROWS and plain_model(folder).encode(["x"]).shape == (1, 16)
    with pytest.raises(BenchError, match="'lora' needs a transformer"):
        trained(project, domain, settings(base="static", lora={}))


OWN_CODE = {
    "configuration_own.py": """\
        from transformers import BertConfig

        class OwnConfig(BertConfig):
            model_type = "own_bert"
        """,
    "modeling_own.py": """\
        from transformers import BertModel

        from .configuration_own import OwnConfig

        class OwnModel(BertModel):
            config_class = OwnConfig
        """,
}  # fmt: skip


@pytest.fixture
def own_code(project, monkeypatch, tmp_path):
    """A model whose classes stand in its own folder."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = project.root / "weights" / "own"
    shutil.copytree(project.root / "weights" / "tiny", folder)
    for name, text in OWN_CODE.items():
        (folder / name).write_text(textwrap.dedent(text))
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "own_bert", "architectures": ["OwnModel"],
        "auto_map": {"AutoConfig": "configuration_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_code_of_a_models_own_runs_only_where_it_is_pinned_and_travels_with_the_tuned_model(ready, own_code):
    project, domain = ready
    spec = project.specs_folder / "own.yaml"
    spec.write_text("path: weights/own\n")
    with pytest.raises(BenchError, match="the model needs code of its own, which is not run by default") as error:
        trained(project, domain, settings(base="own"))
    assert code_hash(own_code) in str(error.value) and "\n" not in str(error.value)
    spec.write_text(f"path: weights/own\ntrust_remote_code: true\ncode_hash: {code_hash(own_code)}\nmax_length: 96\n")
    run = settings(base="own")
    _, folder = trained(project, domain, run, "results/village/models/tuned")
    emitted = weights_spec(Job(project, domain, run, 0, "", SILENT), folder)
    assert emitted.trust_remote_code and emitted.code_hash == code_hash(folder)
    assert {path.name for path in files_below(folder)} >= set(OWN_CODE)
    from benchmark.training.emit import emit_spec

    emit_spec(Job(project, domain, run, 0, "", SILENT), "tuned", emitted)
    assert DenseEncoder.load(project, "tuned").encode(["x"], "query").shape == (1, 32)
    with (folder / "modeling_own.py").open("a") as stream:
        stream.write("raise SystemExit('ran')\n")
    with pytest.raises(BenchError, match="the code in it is not what 'code_hash' says"):
        DenseEncoder.load(project, "tuned")


def test_code_of_another_repository_is_not_pinned_and_refused(ready, own_code):
    project, domain = ready
    config = json.loads((own_code / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "someone/else--modeling_own.OwnModel"}
    (own_code / "config.json").write_text(json.dumps(config))
    (project.specs_folder / "own.yaml").write_text(
        f"path: weights/own\ntrust_remote_code: true\ncode_hash: {code_hash(own_code)}\n"
    )
    with pytest.raises(BenchError, match=r"lies in another repository \(someone/else\)"):
        trained(project, domain, settings(base="own"))
