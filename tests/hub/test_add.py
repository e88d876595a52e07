"""Models on the Hub become specs: from the files that describe them, at their commit, with nothing guessed."""

import importlib.util
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmark.cli.main import run_app
from benchmark.console import Notes
from benchmark.encoders.dense import DenseEncoder, own_prompts
from benchmark.errors import BenchError
from benchmark.hub.add import add_model, next_steps
from benchmark.hub.add_request import AddRequest
from benchmark.pipeline import release
from benchmark.weights import model_folder

_spec = importlib.util.spec_from_file_location("repositories", Path(__file__).with_name("repositories.py"))
hub = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(hub)


@pytest.fixture
def server(monkeypatch, tmp_path):
    """The Hub on loopback in place of the real one, with a cache of its own."""
    from huggingface_hub import constants

    started = hub.ReadServer(*hub.ALL)
    monkeypatch.setattr(constants, "ENDPOINT", started.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", started.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    yield started
    started.close()


@pytest.fixture
def bench(project):
    (project.root / "benchmark.yaml").write_text("domains: [village]\nbaseline: tiny\nmodels: [bm25]\n")
    return project


def add(project, repository, **options):
    reporter = Notes()
    added = add_model(project, AddRequest(repository, **options), reporter)
    return added, project.model_spec(added.name), (project.specs_folder / f"{added.name}.yaml").read_text(), reporter


def refused(project, repository, **options):
    before = sorted(path.name for path in project.specs_folder.iterdir())
    with pytest.raises(BenchError) as error:
        add_model(project, AddRequest(repository, **options), Notes())
    assert sorted(path.name for path in project.specs_folder.iterdir()) == before
    assert all("\n" not in line for line in error.value.problems)
    return str(error.value)


# --- specs ----------------------------------------------------------------------------------------------------------


def test_a_spec_holds_what_the_model_and_the_registry_declare(bench, server):
    added, spec, text, notes = add(bench, "BAAI/bge-small-en-v1.5")
    assert [path.name for path in added.written] == ["bge-small-en-v1.5.yaml"]
    assert (spec.hub, spec.revision) == ("BAAI/bge-small-en-v1.5", hub.NEW)
    assert spec.prompts.query == "Represent this sentence for searching relevant passages: "
    assert spec.prompts.document == ""
    assert (spec.max_length, spec.dimensions, spec.parameters, spec.licence) == (512, 384, 33_360_000, "mit")
    assert (spec.kind, spec.compare, spec.pickled, spec.trust_remote_code) == ("bi-encoder", True, False, False)
    assert re.fullmatch(r"mteb \d+\.\d+\.\d+, registry of models", spec.provenance["prompts"])
    assert "NQ" in spec.provenance["training_data"] and spec.provenance["languages"] == ["en"]
    assert text.startswith("# Written by `domainbench add BAAI/bge-small-en-v1.5`; yours to edit.\ndescription: ")
    assert "UNKNOWN" not in text
    assert "some seconds" in notes.lines[0]
    # Only small files: no weights, no tokenizer, no other formats.
    assert set(server.fetched) == {
        "modules.json", "config.json", "config_sentence_transformers.json", "sentence_bert_config.json",
        "1_Pooling/config.json", "tokenizer_config.json",
    }  # fmt: skip
    assert bench.benchmark(bench.root / "benchmark.yaml").models == ["bm25", "bge-small-en-v1.5"]
    assert list(next_steps(bench, added))[-1] == "next: domainbench run (only what is new is computed)"


@pytest.mark.parametrize(
    ("repository", "query", "document", "source"),
    [
        ("intfloat/multilingual-e5-small", "query: ", "passage: ", "mteb"),
        (
            "intfloat/multilingual-e5-large-instruct",
            "Instruct: Retrieve text based on user query.\nQuery: ",
            "",
            "mteb",
        ),
        (
            "Qwen/Qwen3-Embedding-0.6B",
            "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
            "",
            "config_sentence_transformers.json",
        ),
        (
            "org/like-jina",
            "Represent the query for retrieving evidence documents: ",
            "Represent the document for retrieval: ",
            "config_sentence_transformers.json",
        ),
    ],
)
def test_prompts_are_the_models_own_or_the_registrys(bench, server, repository, query, document, source):
    added, spec, text, _ = add(bench, repository)
    assert (spec.prompts.query, spec.prompts.document) == (query, document)
    assert spec.provenance["prompts"].startswith(source)
    general = any("mteb's general one" in line for line in added.lines)
    assert general == (repository == "intfloat/multilingual-e5-large-instruct")
    assert "is UNKNOWN" not in text


def test_the_registrys_prompts_of_models_with_their_own_meaning_of_them_are_not_taken():
    from benchmark.hub.registry import registered

    assert registered("nomic-ai/nomic-embed-text-v1.5").prompts.model_dump() == {
        "query": "search_query: ", "document": "search_document: ",
    }  # fmt: skip
    assert registered("Alibaba-NLP/gte-modernbert-base").prompts.model_dump() == {"query": "", "document": ""}
    # Jina's `model_prompts` are names of tasks, such as "retrieval.query".
    assert registered("jinaai/jina-embeddings-v3").prompts is None
    assert registered("org/nobody") is None


def test_what_a_loaded_model_puts_in_front_agrees_with_what_was_added(project):
    """The spec's prompts come from one function, whether they were added or are read from the model when it is loaded."""
    path = project.root / "weights" / "tiny" / "config_sentence_transformers.json"
    config = json.loads(path.read_text())
    for prompts, expected in (
        ({"query": "q: ", "passage": "p: "}, {"query": "q: ", "document": "p: "}),
        ({"retrieval.query": "Q: ", "retrieval.passage": "P: "}, {"query": "Q: ", "document": "P: "}),
        ({"classification": "c: "}, {"query": "", "document": ""}),
    ):
        path.write_text(json.dumps({**config, "prompts": prompts}))
        assert DenseEncoder.load(project, "tiny").prompts == own_prompts(prompts) == expected
    # A default prompt of the model's is for those who say nothing; a spec says what goes in front of each side.
    path.write_text(
        json.dumps({**config, "prompts": {"classification": "c: "}, "default_prompt_name": "classification"})
    )
    encoder = DenseEncoder.load(project, "tiny")
    plain = encoder.model.encode(["a mooring"], prompt="", normalize_embeddings=True)
    assert abs(encoder.encode(["a mooring"], "document") - plain).max() < 1e-6
    assert abs(encoder.model.encode(["a mooring"], normalize_embeddings=True) - plain).max() > 1e-3


def test_what_nobody_declares_is_unknown_and_asked_for(bench, server):
    added, spec, text, _ = add(bench, "org/silent_model")
    assert added.name == "silent_model"
    assert (spec.licence, spec.parameters, spec.dimensions, spec.max_length) == ("unknown", None, None, None)
    assert spec.provenance == {"prompts": "unknown", "training_data": "unknown", "languages": "unknown"}
    unknown = (
        "prompts, maximum length (the model's own is taken), dimensions, parameters, licence, training data, languages"
    )
    assert f"unknown: {unknown}, how token vectors become one" in added.lines[-1]
    assert re.search(r"# UNKNOWN, since nobody declares it: prompts, maximum length", text)
    assert '# prompts:\n#   query: "..."\n#   document: "..."\n' in text
    # The block works as it stands once it is filled in.
    path = bench.specs_folder / "silent_model.yaml"
    filled = text.replace(
        '# prompts:\n#   query: "..."\n#   document: "..."', 'prompts:\n  query: "q: "\n  document: "d: "'
    )
    path.write_text(filled)
    assert bench.model_spec("silent_model").prompts.model_dump() == {"query": "q: ", "document": "d: "}


def test_prompts_for_something_else_are_named_and_not_taken(bench, server):
    _, spec, text, _ = add(bench, "org/pickled", pickled=True)
    assert spec.prompts.model_dump() == {"query": "", "document": ""}
    assert "# (Its configuration has prompts named classification; none says that it is for search.)" in text


def test_a_licence_that_the_hub_does_not_know_has_its_name(bench, server):
    assert add(bench, "org/like-jina")[1].licence == "my-licence"


def test_declared_training_data_that_name_a_domain_are_a_warning(bench, server):
    added, _, text, _ = add(bench, "org/like-jina")
    (warning,) = added.warnings
    assert "'org/Village'" in warning and "domain 'village'" in warning
    assert "# CAUTION: its declared training data name 'org/Village'" in text
    folder = bench.root / "tasks" / "questions-of-nq"
    folder.mkdir()
    (folder / "domain.yaml").write_text(
        f"title: Questions\nhub: {{repository: zeta-alpha-ai/NanoNQ, revision: {'a' * 40}}}\nreranking: {{base: tiny}}\n"
    )
    project = type(bench)(bench.root)
    assert [re.search(r"name '(.*?)'", line)[1] for line in add(project, "org/like-jina", name="two")[0].warnings] == [
        "zeta-alpha-ai/NanoNQ", "org/Village",
    ]  # fmt: skip
    # The registry says that bge has seen NQ, of which NanoNQ is a part.
    assert "'NQ'" in add(project, "BAAI/bge-small-en-v1.5")[0].warnings[0]


def test_the_registry_is_asked_for_training_data_that_the_card_leaves_out(bench, server):
    folder = bench.root / "tasks" / "questions-of-nq"
    folder.mkdir()
    (folder / "domain.yaml").write_text(
        f"title: Questions\nhub: {{repository: zeta-alpha-ai/NanoNQ, revision: {'a' * 40}}}\nreranking: {{base: tiny}}\n"
    )
    card = {"license": "mit", "language": ["en"], "datasets": ["org/something"]}
    server.models[hub.BGE.id] = hub.encoder(
        hub.BGE.id, hub.bert(), card=card, prompts={"query": "q: ", "document": "d: "}
    )
    added, spec, _, notes = add(type(bench)(bench.root), hub.BGE.id)
    assert spec.prompts.query == "q: " and {"org/something", "NQ"} <= set(spec.provenance["training_data"])
    assert len(added.warnings) == 1 and "'NQ'" in added.warnings[0]
    assert any("mteb's registry, which takes some seconds" in line for line in notes.lines)


def test_no_word_of_a_card_becomes_a_key_of_the_spec(bench, server):
    """YAML ends lines, and with them comments, at characters that look like nothing."""
    for sign in ("\u2028", "\x85", "\n"):
        card = {"license": f"mit{sign}pickled: true", "datasets": [f"x{sign}trust_remote_code: true{sign}#/Village"]}
        server.models["org/sly"] = hub.encoder("org/sly", hub.bert(), card=card, prompts={f"a{sign}b: c": "x"})
        added, spec, text, _ = add(bench, "org/sly", force=True)
        assert len(added.warnings) == 1 and "# CAUTION: " in text and "none says that it is for search" in text
        assert not spec.trust_remote_code and not spec.pickled and spec.licence == "mit pickled: true"


# --- kinds ----------------------------------------------------------------------------------------------------------


def test_a_reranker_gets_a_pipeline_behind_the_baseline(bench, server):
    added, spec, _, _ = add(bench, "cross-encoder/ms-marco-MiniLM-L6-v2")
    assert added.name == "tiny+ms-marco-MiniLM-L6-v2"
    assert (spec.retriever, spec.reranker, spec.depth, spec.compare) == ("tiny", "ms-marco-MiniLM-L6-v2", 50, True)
    reranker = bench.model_spec("ms-marco-MiniLM-L6-v2")
    assert (reranker.kind, reranker.compare, reranker.max_length) == ("cross-encoder", False, 512)
    assert reranker.dimensions is None and not reranker.pickled
    assert bench.benchmark(bench.root / "benchmark.yaml").models == ["bm25", "tiny+ms-marco-MiniLM-L6-v2"]
    # Another first stage is another pipeline around the same file.
    again, other, _, _ = add(bench, "cross-encoder/ms-marco-MiniLM-L6-v2", retriever="bm25", compare=False)
    assert [path.name for path in again.written] == ["bm25+ms-marco-MiniLM-L6-v2.yaml"]
    assert (other.retriever, other.compare) == ("bm25", False)
    assert "no such model spec to put before" in refused(bench, "org/finance-reranker", retriever="tny")
    (bench.root / "benchmark.yaml").unlink()
    assert "name a --retriever" in refused(bench, "org/finance-reranker")


def test_sparse_and_late_interaction_models_are_known_by_their_files(bench, server):
    _, sparse, _, _ = add(bench, "naver/splade-v3")
    assert (sparse.kind, sparse.dimensions, sparse.max_length, sparse.licence) == (
        "sparse",
        30522,
        512,
        "cc-by-nc-sa-4.0",
    )
    _, late, text, _ = add(bench, "lightonai/GTE-ModernColBERT-v1")
    assert (late.kind, late.dimensions, late.max_length) == ("late-interaction", 128, 300)
    # Its markers are the library's business.
    assert late.prompts.model_dump() == {"query": "", "document": ""} and "is UNKNOWN" not in text
    assert late.provenance["training_data"][0] == "lightonai/ms-marco-en-bge-gemma"


def test_what_the_library_itself_saves_is_recognised(bench, server, tiny_model, cross_encoder, tmp_path):
    """As models are on the Hub that are saved today, with the settings that this version writes."""
    from sentence_transformers import CrossEncoder, MultiVectorEncoder, SparseEncoder
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=30522, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=128,
    )  # fmt: skip
    BertForMaskedLM(config).save_pretrained(tmp_path / "mlm")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "mlm")
    for kind, saved, expected in (
        ("sparse", SparseEncoder(str(tmp_path / "mlm"), device="cpu"), (30522, 128)),
        ("late-interaction", MultiVectorEncoder(str(tmp_path / "mlm"), device="cpu"), (128, None)),
        ("cross-encoder", CrossEncoder(str(cross_encoder), device="cpu"), (None, 128)),
    ):
        saved.save_pretrained(str(tmp_path / kind), create_model_card=False)
        server.models[f"org/{kind}"] = hub.of_folder(f"org/{kind}", tmp_path / kind)
        add(bench, f"org/{kind}")
        spec = bench.model_spec(kind)
        assert (spec.kind, (spec.dimensions, spec.max_length)) == (kind, expected)
    server.models["org/tiny"] = hub.of_folder("org/tiny", tiny_model)
    spec = add(bench, "org/tiny", name="from-hub")[1]
    assert (spec.kind, spec.dimensions, spec.max_length) == ("bi-encoder", 32, 128)


@pytest.mark.parametrize(
    ("repository", "said"),
    [
        ("org/chat", "but a generative language model (Qwen2ForCausalLM)"),
        ("org/sentiment", "but a classifier with 3 labels (BertForSequenceClassification); a reranker has one"),
        ("org/plain-mlm", "domainbench add org/plain-mlm --kind sparse"),
        ("org/lora", "low-rank updates (PEFT) of org/base, without that model"),
        ("org/gguf", "neither config.json nor modules.json; the Hub says that gguf loads it"),
        ("org/onnx", "holds no weights that can be read"),
    ],
)
def test_what_is_no_embedding_model_is_refused_with_what_it_is(bench, server, repository, said):
    assert said in refused(bench, repository)


def test_a_peft_adapter_with_modules_is_one(bench, server):
    adapter = {"adapter_config.json": {"base_model_name_or_path": "org/base"}, "adapter_model.safetensors": hub.WEIGHTS}
    server.models["org/lora-st"] = hub.encoder("org/lora-st", hub.bert(), extra=adapter)
    assert "low-rank updates (PEFT) of org/base, without that model" in refused(bench, "org/lora-st")


def test_a_kind_that_the_files_leave_open_can_be_said_and_no_other(bench, server):
    assert add(bench, "org/plain-mlm", kind="sparse")[1].kind == "sparse"
    assert "its files say that it is of kind bi-encoder" in refused(bench, "org/silent_model", kind="cross-encoder")


# --- what is not allowed by itself ----------------------------------------------------------------------------------


def test_own_code_is_refused_with_the_line_that_allows_it(bench, server):
    line = refused(bench, "org/own-code", name="mine")
    assert line == (
        "org/own-code: runs code of its own (configuration_new.py, modeling_new.py); if you trust it: "
        "domainbench add org/own-code --name mine --trust-remote-code"
    )
    assert "(custom_st.py)" in refused(bench, "org/own-module")
    spec = add(bench, "org/own-code", code=True)[1]
    assert (spec.trust_remote_code, spec.revision) == (True, hub.NEW)
    # Nothing is allowed that is not needed.
    assert not add(bench, "BAAI/bge-small-en-v1.5", code=True, pickled=True)[1].trust_remote_code


def test_code_in_another_repository_cannot_be_allowed(bench, server):
    for options in ({}, {"code": True}):
        line = refused(bench, "nomic-ai/nomic-embed-text-v1.5", **options)
        assert "lies in another repository (nomic-ai/nomic-bert-2048)" in line and "cannot be added" in line


def test_pickled_weights_are_refused_with_the_line_that_allows_it(bench, server):
    assert refused(bench, "org/pickled") == (
        "org/pickled: has only pickled weights (pytorch_model.bin), which can run code; if you trust it: "
        "domainbench add org/pickled --pickled"
    )
    assert "(2_Dense/pytorch_model.bin)" in refused(bench, "org/half-pickled")
    assert add(bench, "org/pickled", pickled=True)[1].pickled


def test_a_gated_model_says_what_to_do(bench, server, monkeypatch):
    line = refused(bench, "org/gated")
    assert line == (
        f"org/gated@{hub.NEW[:12]}: the Hub says: the model is gated; accept its licence on {server.address}/org/gated "
        "and set HF_TOKEN to a token of that account"
    )
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecretsecret")
    added, _, text, notes = add(bench, "org/gated")
    assert server.tokens == {"Bearer hf_secretsecretsecret"}
    assert "hf_secret" not in "".join([text, *added.lines, *notes.lines])


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "or it is not open to you (accept its licence on"),
        (403, "or it is not open to you (accept its licence on"),
        (404, "no such model or revision, or it is not open to you"),
        (429, "too many requests (HTTP 429); try again in 30 s"),
        (500, "HTTP 500; try again later"),
    ],
)
def test_what_the_hub_says_is_one_line(bench, server, monkeypatch, status, said):
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecretsecret")
    server.failing, server.retry_after = status, "30"
    line = refused(bench, "BAAI/bge-small-en-v1.5")
    assert line.startswith("BAAI/bge-small-en-v1.5@main: the Hub says: ") and said in line
    assert "hf_secret" not in line


def test_what_is_not_there_or_cannot_be_asked(bench, server, monkeypatch):
    from huggingface_hub import constants

    assert "org/nobody@main: the Hub says: no such model or revision" in refused(bench, "org/nobody")
    assert "no such revision of the model" in refused(bench, "BAAI/bge-small-en-v1.5", revision="v9")
    assert "is no id of a model on the Hub" in refused(bench, "bge")
    assert "is no id of a model on the Hub" in refused(bench, "../../etc")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    assert refused(bench, "org/x") == "org/x@main: http://127.0.0.1:1 cannot be reached (ConnectError)"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert refused(bench, "org/x") == "org/x@main: http://127.0.0.1:1 cannot be reached (HF_HUB_OFFLINE is set)"


# --- files that stand there -----------------------------------------------------------------------------------------


def test_adding_again_changes_nothing_and_another_model_is_not_overwritten(bench, server):
    add(bench, "org/silent_model")
    path = bench.specs_folder / "silent_model.yaml"
    path.write_text(path.read_text() + "# my own words\n")
    before = path.read_text()
    added, _, _, _ = add(bench, f"{server.address}/org/silent_model")
    assert (added.written, path.read_text()) == ((), before)
    assert "stands there already, at this commit; nothing was changed" in next(next_steps(bench, added))
    assert "pins " + hub.NEW in refused(bench, "org/silent_model", revision=hub.OLD)
    assert "is another model's (org/silent_model); choose a --name" in refused(
        bench, "org/like-jina", name="silent_model"
    )
    assert "is another model's (bm25 spec)" in refused(bench, "org/like-jina", name="bm25")
    assert path.read_text() == before
    _, spec, _, _ = add(bench, "org/silent_model", revision=hub.OLD, force=True)
    assert spec.revision == hub.OLD and "my own words" not in path.read_text()


def test_a_model_that_stands_there_under_another_name_is_not_added_twice(bench, server):
    add(bench, "org/silent_model", name="quiet")
    added, _, _, _ = add(bench, "org/silent_model")
    assert (added.name, added.written) == ("quiet", ())
    assert add(bench, "org/silent_model", name="twin")[0].written


def test_force_replaces_the_file_of_its_name_and_no_other(bench, server):
    add(bench, "org/silent_model", name="quiet")
    quiet = bench.specs_folder / "quiet.yaml"
    quiet.write_text(quiet.read_text() + "# my own words\n")
    before = quiet.read_text()
    added, *_ = add(bench, "org/silent_model", force=True)
    assert [path.name for path in added.written] == ["silent_model.yaml"] and quiet.read_text() == before


@pytest.mark.parametrize("force", [False, True])
def test_a_pipeline_that_stands_there_stays_as_it_was_edited(bench, server, force):
    add(bench, "org/finance-reranker")
    pipeline, reranker = (bench.specs_folder / f"{name}finance-reranker.yaml" for name in ("tiny+", ""))
    pipeline.write_text(re.sub("depth: .*", "depth: 7", pipeline.read_text()))
    before = pipeline.read_text()
    if not force:
        reranker.unlink()
    project = type(bench)(bench.root)
    added, spec, _, _ = add(project, "org/finance-reranker", force=force)
    assert [path.name for path in added.written] == ["finance-reranker.yaml"]
    assert (pipeline.read_text(), spec.depth) == (before, 7)


def test_a_name_that_no_spec_can_have_is_refused(bench, server):
    assert "'a/b' is no name for a model spec" in refused(bench, "org/silent_model", name="a/b")


# --- pickled weights ------------------------------------------------------------------------------------------------


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.fixture
def pickled_model(tiny_model, tmp_path):
    """The tiny model with its weights pickled."""
    from safetensors.torch import load_file

    folder = tmp_path / "pickled"
    shutil.copytree(tiny_model, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    (folder / "training_args.bin").write_bytes(pickle.dumps("never fetched"))
    return folder


def spec_of(project, name, more=""):
    (project.specs_folder / f"{name}.yaml").write_text(f"hub: org/{name}\nrevision: {hub.NEW}\nmax_length: 96\n{more}")


def test_pickled_weights_are_fetched_and_read_only_where_the_spec_says_so(project, server, pickled_model):
    server.models["org/bin"] = hub.of_folder("org/bin", pickled_model)
    spec_of(project, "bin")
    with pytest.raises(BenchError, match=r"no weights; a .*safetensors file is needed"):
        DenseEncoder.load(project, "bin")
    assert not [name for name in server.fetched if name.endswith(".bin")]
    spec_of(project, "bin", "pickled: true\n")
    vectors = DenseEncoder.load(project, "bin").encode(["a mooring"], "query")
    assert [name for name in server.fetched if name.endswith(".bin")] == ["pytorch_model.bin"]
    assert abs(vectors - DenseEncoder.load(project, "tiny").encode(["a mooring"], "query")).max() < 1e-6
    # What another program left in the shared cache does not count either.
    spec_of(project, "bin")
    with pytest.raises(BenchError, match=r"only pickled weights \(pytorch_model.bin\).*if you trust it: pickled: true"):
        model_folder(project, "bin")


def asking_for_free_unpickling(folder):
    """A configuration with which transformers unpickles freely, to learn the weights' type."""
    settings = {"max_seq_length": 128, "model_args": {"weights_only": False, "dtype": "auto"}}
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if key != "dtype"}))


@pytest.mark.parametrize("form", ["plain", "asking", "hidden"])
def test_a_pickle_that_would_run_code_is_never_unpickled(project, server, pickled_model, tmp_path, form):
    """Not where the model's own configuration asks for it, and not where it is called safetensors."""
    mark = tmp_path / "it-ran"
    bomb = pickled_model / ("weights.txt" if form == "hidden" else "pytorch_model.bin")
    torch.save({"weight": Bomb(mark)}, bomb)
    if form != "plain":
        asking_for_free_unpickling(pickled_model)
    if form == "hidden":
        (pickled_model / "pytorch_model.bin").unlink()
        (pickled_model / "other.safetensors").write_bytes(b"")
        index = {"metadata": {}, "weight_map": {"embeddings.word_embeddings.weight": "weights.txt"}}
        (pickled_model / "model.safetensors.index.json").write_text(json.dumps(index))
    server.models["org/bomb"] = hub.of_folder("org/bomb", pickled_model)
    spec_of(project, "bomb", "" if form == "hidden" else "pickled: true\n")
    with pytest.raises(BenchError, match=r"bomb.yaml: cannot be loaded: its pickled weights hold more than tensors"):
        DenseEncoder.load(project, "bomb")
    assert not mark.exists()
    torch.load(bomb, weights_only=False)
    assert mark.exists(), "the pickle works where nobody is careful"


# --- the command ----------------------------------------------------------------------------------------------------


def command(*words, address, cache, **more):
    """In a process of its own, as a user runs it."""
    environment = {key: value for key, value in os.environ.items() if key not in {"HF_TOKEN", "HF_HUB_OFFLINE"}}
    return subprocess.run(
        [sys.executable, "-c", "from benchmark.cli.main import run_command; run_command()", *map(str, words)],
        capture_output=True, text=True, timeout=240,
        env={**environment, "HF_HOME": str(cache), "HF_ENDPOINT": address, **more},
    )  # fmt: skip


def test_from_the_hub_to_an_evaluation_of_the_new_model_alone(bench, server, tiny_model, tmp_path, capsys):
    """A model is one file: adding it touches nothing else, and afterwards only it is computed."""
    server.models["org/tiny-embed"] = hub.of_folder(
        "org/tiny-embed", tiny_model, card={"license": "mit", "datasets": ["org/texts"]}, parameters=12_345
    )
    # The same number of threads here and there: the last bits of a vector can depend on it.
    threads = str(torch.get_num_threads())
    run = {"address": server.address, "cache": tmp_path / "home", "OMP_NUM_THREADS": threads}
    # What needs no process of its own saves the time to load the libraries.
    try:
        assert run_app(["--project", str(bench.root), "evaluate"]) == 0
    finally:
        release()
    assert not server.asked
    before = {path: path.read_bytes() for path in bench.root.rglob("*") if path.is_file()}

    done = command("--project", bench.root, "add", "org/tiny-embed", **run)
    assert done.returncode == 0, done.stderr
    spec = bench.specs_folder / "tiny-embed.yaml"
    after = {path: path.read_bytes() for path in bench.root.rglob("*") if path.is_file()}
    assert {path for path in after if after[path] != before.get(path)} == {spec}
    assert f"revision: {hub.NEW}" in spec.read_text() and "compare: true" in spec.read_text()
    assert "next: domainbench run" in done.stdout
    assert not [name for name in server.fetched if name.endswith(".safetensors")]

    done = command("--project", bench.root, "evaluate", **run)
    assert done.returncode == 0, done.stderr
    assert "VillageRetrieval tiny-embed: nDCG@10 " in done.stdout
    runs = bench.root / "results" / "village" / "runs"
    changed = {path for path in runs.rglob("*") if path.is_file() and before.get(path) != path.read_bytes()}
    assert {path.parent.name for path in changed} == {"tiny-embed"}
    assert len({path.parent for path in changed}) == 2
    # The same weights as the project's own `tiny`, by way of the Hub: at the same length the same figures.
    figures = dict(re.findall(r"VillageRetrieval (\S+): nDCG@10 (\S+)", done.stdout))
    assert figures["tiny-embed"] == figures["tiny"]

    capsys.readouterr()
    assert run_app(["--project", str(bench.root), "add", "org/tiny-embed"]) == 0
    assert "nothing was changed" in capsys.readouterr().out
    done = command("--project", bench.root, "add", "org/tiny-embed", **run, HF_HUB_OFFLINE="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"error: org/tiny-embed@main: {server.address} cannot be reached (HF_HUB_OFFLINE is set)"
    ]


def test_a_name_that_differs_only_in_case_is_refused(server, bench):
    (bench.specs_folder / "BGE-small-en-v1.5.yaml").write_text("path: weights/tiny\n")
    said = refused(bench, hub.BGE.id)
    assert "BGE-small-en-v1.5.yaml: its name differs only in case; choose a --name" in said
    added, *_ = add(bench, hub.BGE.id, name="bge")
    assert added.name == "bge"
