"""The exported pipeline, loaded by Haystack itself: the same passages, the same prompt, nothing of the user's lost."""

import importlib.util
import json

import numpy as np
import pytest
import yaml

from benchmark.answers.prompt import Prompter, read_prompts
from benchmark.console import SILENT
from benchmark.encoders.adapter import LinearMaps
from benchmark.encoders.dense import DenseEncoder
from benchmark.encoders.retrieve import open_retriever
from benchmark.errors import BenchError
from benchmark.export.haystack import export_haystack
from benchmark.pipeline import Pipeline
from benchmark.records import read_chunks, read_testset
from benchmark.specs import BenchmarkSpec
from benchmark.training.export import save_sentence_transformer

TOP_K = 3


def answers(url, **more):
    return {
        "llm": {"endpoint": {"base_url": url, "model": "scripted", **more}, "temperature": 0.0, "max_tokens": 64},
        "top_k": TOP_K,
    }


@pytest.fixture
def village(project, cross_encoder):
    """The village with chunks and test set, and specs of every kind that can be exported."""
    specs = project.specs_folder
    (specs / "prompted.yaml").write_text(
        "path: weights/tiny\nmax_length: 48\nprompts: {query: 'ask: ', document: 'tell: '}\n"
    )
    (specs / "reranked.yaml").write_text("retriever: tiny\nreranker: ce\ndepth: 6\n")
    (specs / "fused.yaml").write_text("retriever: tiny\nreranker: ce\ndepth: 6\nweights: [0.5, 0.5]\n")
    (specs / "both.yaml").write_text("hybrid: [tiny, bm25]\nweights: [0.7, 0.3]\n")
    (specs / "cut.yaml").write_text("base: tiny\ntruncate_dim: 16\n")
    (specs / "adapted.yaml").write_text("base: prompted\nadapter: weights/adapted\n")
    (specs / "spoken.yaml").write_text("api: {base_url: 'http://localhost:1/v1', model: m}\n")
    noise = np.random.default_rng(3).normal(size=(2, 32, 32)).astype(np.float32) * 0.2
    maps = LinearMaps(np.eye(32, dtype=np.float32) + noise[0], np.eye(32, dtype=np.float32) + noise[1])
    base = DenseEncoder.load(project, "prompted")
    save_sentence_transformer(project.root / "weights" / "adapted", base, maps)
    maps.save(project.root / "weights" / "adapted" / "linear_adapter.safetensors")
    domain = project.domain("village")
    pipeline = Pipeline(project, domain, None, SILENT)
    pipeline.testset()
    return project, domain


def spec_of(**more):
    models = ["prompted", "reranked", "adapted", "both", "bm25", "cut", "fused", "spoken"]
    return BenchmarkSpec(domains=["village"], baseline="tiny", models=models, **more)


@pytest.fixture
def script(monkeypatch, tmp_path):
    """Load the script of an export as a user's own program would."""
    pytest.importorskip("haystack")
    pytest.importorskip("haystack_integrations.components.embedders.sentence_transformers")
    monkeypatch.chdir(tmp_path)  # the script changes the working directory; this puts it back
    monkeypatch.setenv("HAYSTACK_TELEMETRY_ENABLED", "false")
    for name in ("HF_HUB_OFFLINE", "NO_API_KEY"):
        monkeypatch.setenv(name, "")  # so that what the script sets is put back
        monkeypatch.delenv(name)

    def load(folder):
        found = importlib.util.spec_from_file_location("answer", folder / "answer.py")
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        return module

    return load


def ours(project, domain, name):
    chunks = read_chunks(domain.chunks / "chunks.jsonl")
    queries = {query.id: query.text for query in read_testset(domain.testset).queries}
    run = open_retriever(project, domain, name, chunks).run(queries, TOP_K)
    return queries, {query: [hit.chunk for hit in hits] for query, hits in run.items()}


@pytest.mark.parametrize(
    ("letter", "name", "last"),
    [("A", "tiny", "retriever"), ("B", "prompted", "retriever"), ("C", "reranked", "ranker"),
     ("D", "adapted", "retriever"), ("cut", "cut", "retriever")],
)  # fmt: skip
def test_every_question_gets_the_passages_that_were_measured(village, script, serve, tmp_path, letter, name, last):
    project, domain = village
    server = serve(lambda body: '{"answer": "so", "citations": [], "answerable": true}')
    list(export_haystack(project, domain, spec_of(answers=answers(server.url)), letter, tmp_path / "out"))
    module = script(tmp_path / "out")
    pipeline = module.load()
    queries, expected = ours(project, domain, name)
    assert len(queries) == 8
    orders = set()
    for query, text in queries.items():
        found = module.ask(pipeline, text)
        ids = [document.id for document in found[last]["documents"][:TOP_K]]
        assert ids == expected[query], query
        assert found["generator"]["replies"][0].text == '{"answer": "so", "citations": [], "answerable": true}'
        orders.add(tuple(ids))
    assert len(orders) > 1, "a test in which every question gets the same passages shows nothing"


def test_the_language_model_gets_the_prompt_that_was_measured(village, script, serve, tmp_path):
    project, domain = village
    (project.root / "mine").mkdir()
    (project.root / "mine" / "answer_task.txt").write_text("Say {{ it }} {% raw %} as {# it #} is, {one} of them.")
    server = serve(lambda body: "so")
    spec = spec_of(answers={**answers(server.url), "prompts": "mine", "max_characters": 120})
    list(export_haystack(project, domain, spec, "A", tmp_path / "out"))
    module = script(tmp_path / "out")
    module.ask(module.load(), "How  quickly {{ 7 * 7 }}\n may a dinghy travel?")
    chunks = {chunk.id: chunk for chunk in read_chunks(domain.chunks / "chunks.jsonl")}
    prompter = Prompter(read_prompts(project, "mine"), spec.answers.llm, 120)
    (body,) = server.bodies
    ids = [line.removeprefix("id: ") for line in body["messages"][1]["content"].split("\n") if line.startswith("id: ")]
    assert len(ids) == TOP_K
    wanted = prompter.request("How  quickly {{ 7 * 7 }}\n may a dinghy travel?", [chunks[i] for i in ids])
    assert [(row["role"], row["content"]) for row in body["messages"]] == [tuple(row) for row in wanted.messages]
    assert body["model"] == "scripted"
    assert body["temperature"] == 0.0
    assert body["response_format"]["json_schema"]["name"] == "grounded_answer"


def test_a_hybrid_says_where_it_differs(village, script, tmp_path):
    project, domain = village
    lines = list(export_haystack(project, domain, spec_of(), "both", tmp_path / "out"))
    assert any("reciprocal rank fusion" in line and "0.7 and 0.3" in line for line in lines)
    assert any("idf" in line and "stemmer" in line for line in lines)
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "reciprocal rank fusion" in readme
    found = yaml.safe_load((tmp_path / "out" / "pipeline.yaml").read_text())["components"]
    assert found["joiner"]["init_parameters"]["weights"] == [0.7, 0.3]
    module = script(tmp_path / "out")
    documents = module.ask(module.load(), "no boat goes faster than three knots")["joiner"]["documents"]
    assert documents[0].id.startswith("harbour.md")


def test_the_folder_needs_nothing_else(village, tmp_path):
    project, domain = village
    (project.root / "weights" / "tiny" / "manifest.json").write_text("{}")
    spec = spec_of(answers=answers("http://localhost:1/v1", api_key_env="MY_KEY"))
    lines = list(export_haystack(project, domain, spec, "C", tmp_path / "out"))
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {"pipeline.yaml", "index.yaml", "documents.jsonl", "answer.py", "README.md", "requirements.txt"} <= files
    assert {"models/tiny/model.safetensors", "models/ce/model.safetensors"} <= files
    assert "models/tiny/manifest.json" not in files
    size = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert f"{size / 1e6:,.1f} MB in all" in lines[0]
    for name in files - {path for path in files if path.startswith("models/")}:
        text = (tmp_path / "out" / name).read_text()
        assert str(project.root) not in text
        assert str(tmp_path) not in text
    assert "export MY_KEY=..." in (tmp_path / "out" / "README.md").read_text()
    key = yaml.safe_load((tmp_path / "out" / "pipeline.yaml").read_text())["components"]["generator"]
    assert key["init_parameters"]["api_key"] == {"type": "env_var", "env_vars": ["MY_KEY"], "strict": True}
    compile((tmp_path / "out" / "answer.py").read_text(), "answer.py", "exec")


def test_the_same_project_gives_the_same_bytes(village, tmp_path):
    project, domain = village

    def written(folder):
        list(export_haystack(project, domain, spec_of(), "D", tmp_path / folder))
        return {p.relative_to(tmp_path / folder): p.read_bytes() for p in (tmp_path / folder).rglob("*") if p.is_file()}

    assert written("one") == written("two")
    assert written("one") == written("two")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("fused", "for which Haystack has no component"),
        ("spoken", "come from an API"),
        ("rounded", "its vectors are quantised; export tiny"),
        ("integers", "its weights are run in int8"),
    ],
)
def test_what_haystack_cannot_do_is_refused_in_a_line(village, tmp_path, name, why):
    project, domain = village
    (project.specs_folder / "rounded.yaml").write_text("base: tiny\nquantize: binary\n")
    (project.specs_folder / "integers.yaml").write_text("path: weights/tiny\nbackend: onnx\nprecision: int8\n")
    with pytest.raises(BenchError) as error:
        list(export_haystack(project, domain, spec_of(), name, tmp_path / "out"))
    (line,) = error.value.problems
    assert line.startswith(f"model_specs/{name}.yaml: cannot be exported: ")
    assert why in line
    assert not (tmp_path / "out").exists()


def test_a_user_s_folder_is_not_overwritten(village, tmp_path):
    project, domain = village
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(BenchError, match="not empty"):
        list(export_haystack(project, domain, spec_of(), "A", tmp_path / "mine"))
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    with pytest.raises(BenchError):
        list(export_haystack(project, domain, spec_of(), "Q", tmp_path / "out"))


def test_without_a_language_model_it_finds_passages(village, script, tmp_path):
    project, domain = village
    lines = list(export_haystack(project, domain, spec_of(), "bm25", tmp_path / "out"))
    assert any("finds passages" in line for line in lines)
    assert not (tmp_path / "out" / "models").exists()
    row = json.loads((tmp_path / "out" / "documents.jsonl").read_text().splitlines()[0])
    assert set(row["meta"]) == {"document", "title", "heading"}
    module = script(tmp_path / "out")
    found = module.ask(module.load(), "how often is rye flour fed to the starter")
    assert found["bm25"]["documents"][0].id.startswith("bread.md")
