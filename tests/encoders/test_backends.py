"""ONNX and OpenVINO: what they give beside torch, what is kept of an export, and what ends in one line."""

import importlib.util
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from benchmark.console import SILENT
from benchmark.encoders import backends, onnx
from benchmark.encoders.adapter import open_encoder
from benchmark.encoders.backends import exported_folder, open_reranker
from benchmark.encoders.dense import DenseEncoder
from benchmark.encoders.pairs import is_regression, logits
from benchmark.encoders.runtime import parameter_count
from benchmark.errors import BenchError
from benchmark.hub.add import _standing
from benchmark.specs import BenchmarkSpec, ModelSpec, parse_spec
from benchmark.weights import model_fingerprint

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("onnx", "onnxruntime", "openvino")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
BACKENDS = ["onnx", "openvino"]
TEXTS = [
    "A mooring is let for one season.",
    "The berth holder pays the harbour office before the first of April, and a berth left empty may be let again. " * 4,
    "Rescue craft on a call are exempt.",
    "bees",
    "",
    "A colony swarms when the queen is old and the hive is crowded; give the colony a second box in spring.",
]
PAIRS = [(query, text) for query in ("Who pays?", "Why does a swarm leave?") for text in TEXTS]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


def spec(project, name, text):
    (project.specs_folder / f"{name}.yaml").write_text(text)


@pytest.fixture
def specs(project):
    """Specs `tiny-<backend>-<precision>` of the tiny bi-encoder, with a prompt; `prompted` is torch's."""
    base = 'path: weights/tiny\nmax_length: 96\nprompts: {query: "q: ", document: "p: "}\n'
    spec(project, "prompted", base)
    for backend in BACKENDS:
        for precision in ("float32", "int8"):
            spec(project, f"tiny-{backend}-{precision}", f"{base}backend: {backend}\nprecision: {precision}\n")
    return project


@pytest.fixture
def rerankers(project, cross_encoder):
    """Specs `ce-<backend>-<precision>` of the cross-encoder `ce`."""
    base = (project.specs_folder / "ce.yaml").read_text()
    for backend in BACKENDS:
        for precision in ("float32", "int8"):
            spec(project, f"ce-{backend}-{precision}", f"{base}backend: {backend}\nprecision: {precision}\n")
    return project


def manifest(project, name):
    folder = exported_folder(project, model_fingerprint(project, name))
    return json.loads((folder / "export.json").read_text())


def ranking(scores):
    return np.argsort(-scores, axis=-1, kind="stable").tolist()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_float32_bi_encoder_gives_torchs_vectors_and_ranking(specs, backend):
    torch, other = open_encoder(specs, "prompted"), open_encoder(specs, f"tiny-{backend}-float32")
    for role in ("query", "document"):
        assert np.abs(other.encode(TEXTS, role) - torch.encode(TEXTS, role)).max() < 1e-5
    queries = ["who pays for a berth", "q: bees", "why do colonies swarm"]
    expected = torch.encode(queries, "query") @ torch.encode(TEXTS, "document").T
    found = other.encode(queries, "query") @ other.encode(TEXTS, "document").T
    assert ranking(found) == ranking(expected)
    assert manifest(specs, f"tiny-{backend}-float32")["difference"] < 1e-5
    assert parameter_count(other.model) == parameter_count(torch.model) > 900_000


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_float32_cross_encoder_gives_torchs_scores_and_ranking(rerankers, backend):
    expected = logits(open_reranker(rerankers, "ce"), PAIRS, SILENT)
    model = open_reranker(rerankers, f"ce-{backend}-float32")
    found = logits(model, PAIRS, SILENT)
    assert np.ptp(expected) > 0.01
    assert np.abs(found - expected).max() < 1e-5
    assert ranking(found) == ranking(expected)
    assert not is_regression(model)
    assert parameter_count(model.model) == parameter_count(open_reranker(rerankers, "ce").model)


@pytest.mark.parametrize("backend", BACKENDS)
def test_int8_differs_and_says_by_how_much(specs, backend):
    name = f"tiny-{backend}-int8"
    exact, rough = open_encoder(specs, "prompted"), open_encoder(specs, name)
    expected, found = exact.encode(TEXTS, "document"), rough.encode(TEXTS, "document")
    difference = np.abs(found - expected).max()
    assert 1e-4 < difference < 0.1
    assert (found * expected).sum(axis=1).min() > 0.98
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert 1e-4 < manifest(specs, name)["difference"] < 0.1
    files = exported_folder(specs, model_fingerprint(specs, name)).iterdir()
    float32 = exported_folder(specs, model_fingerprint(specs, f"tiny-{backend}-float32"))
    open_encoder(specs, f"tiny-{backend}-float32")
    assert sum(path.stat().st_size for path in files) < sum(path.stat().st_size for path in float32.iterdir())


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_int8_vector_does_not_depend_on_its_neighbours(specs, backend):
    encoder = open_encoder(specs, f"tiny-{backend}-int8")
    together = encoder.encode(TEXTS, "document")
    alone = np.concatenate([encoder.encode([text], "document") for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-6


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_int8_cross_encoder_differs(rerankers, backend):
    exact = logits(open_reranker(rerankers, "ce"), PAIRS, SILENT)
    model = open_reranker(rerankers, f"ce-{backend}-int8")
    rough = logits(model, PAIRS, SILENT)
    assert 0 < np.abs(rough - exact).max() < 0.2 * np.ptp(exact)
    assert np.abs(np.concatenate([logits(model, [pair], SILENT) for pair in PAIRS]) - rough).max() < 1e-5


def test_fingerprints(specs):
    names = ["prompted", *(f"tiny-{backend}-{precision}" for backend in BACKENDS for precision in ("float32", "int8"))]
    assert len({model_fingerprint(specs, name) for name in names}) == 5
    text = (specs.specs_folder / "prompted.yaml").read_text()
    spec(specs, "said", f"{text}backend: torch\nprecision: float32\n")
    assert model_fingerprint(specs, "said") == model_fingerprint(specs, "prompted")
    spec(specs, "twin", (specs.specs_folder / "tiny-onnx-int8.yaml").read_text() + "description: the same\n")
    assert model_fingerprint(specs, "twin") == model_fingerprint(specs, "tiny-onnx-int8")


def test_what_has_no_weights_of_its_own_to_tune_is_refused(specs):
    spec(specs, "rounded", "base: tiny\nquantize: int8\n")
    with pytest.raises(BenchError, match=r"rounded.yaml: quantises the vectors of tiny .* name that one"):
        DenseEncoder.load(specs, "rounded")
    with pytest.raises(BenchError, match="runs on onnx, which cannot be tuned; name a spec of the same weights"):
        DenseEncoder.load(specs, "tiny-onnx-int8")


def test_an_export_is_made_once_and_anew_where_it_is_broken(specs, monkeypatch):
    name, made = "tiny-onnx-float32", []
    export = backends.export_onnx
    monkeypatch.setattr(backends, "export_onnx", lambda *args: made.append(1) or export(*args))
    first = open_encoder(specs, name).encode(TEXTS, "query")
    assert (open_encoder(specs, name).encode(TEXTS, "query") == first).all()
    assert len(made) == 1
    folder = exported_folder(specs, model_fingerprint(specs, name))
    assert sorted(path.name for path in folder.iterdir()) == ["export.json", "model.onnx"]
    assert (folder.parent / ".gitignore").read_text() == "*\n"
    torn = (folder / "model.onnx").read_bytes()[:-10]
    (folder / "model.onnx").write_bytes(torn)
    assert (open_encoder(specs, name).encode(TEXTS, "query") == first).all()
    (folder / "export.json").write_text("{")
    open_encoder(specs, name)
    assert len(made) == 3


def test_weights_beside_the_graph(specs, monkeypatch):
    """As it has to be above 2 GiB."""
    expected = open_encoder(specs, "tiny-onnx-int8").encode(TEXTS, "query")
    folder = exported_folder(specs, model_fingerprint(specs, "tiny-onnx-int8"))
    shutil.rmtree(folder)
    monkeypatch.setattr(onnx, "_LARGE", 0)
    assert (open_encoder(specs, "tiny-onnx-int8").encode(TEXTS, "query") == expected).all()
    assert len(list(folder.iterdir())) == 3
    assert open_encoder(specs, "tiny-onnx-int8").encode(TEXTS, "query").shape == expected.shape


def test_an_export_leaves_no_handler_that_prints_what_others_log(specs, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])
    open_encoder(specs, "tiny-onnx-int8")
    assert logging.root.handlers == []


def test_two_at_once_export_once(specs, monkeypatch):
    made, found = [], []
    export = backends.export_onnx
    monkeypatch.setattr(backends, "export_onnx", lambda *args: made.append(1) or export(*args))
    both = threading.Barrier(2)
    whole = backends._is_whole

    def meet(asked):
        if not getattr(arrived, "yes", False):
            arrived.yes = True
            both.wait(60)
        return whole(asked)

    arrived = threading.local()
    monkeypatch.setattr(backends, "_is_whole", meet)
    threads = [
        threading.Thread(target=lambda: found.append(open_encoder(specs, "tiny-onnx-float32").encode(TEXTS, "query")))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len(found) == 2
    assert (found[0] == found[1]).all()


def test_a_missing_extra_is_one_line(specs, rerankers, monkeypatch):
    monkeypatch.setattr(backends, "_NEEDED", {"onnx": ("onnx", "no_such_library"), "openvino": ("no_such_library",)})
    opened = {
        "tiny-onnx-int8": lambda: open_encoder(specs, "tiny-onnx-int8"),
        "ce-openvino-float32": lambda: open_reranker(rerankers, "ce-openvino-float32"),
    }
    for name, call in opened.items():
        backend = name.split("-")[1]
        with pytest.raises(BenchError) as error:
            call()
        assert error.value.problems == (
            f"model_specs/{name}.yaml: backend: {backend} needs no_such_library; install with: "
            f"pip install domainbench[{backend}]",
        )


def nothing_left(project):
    folder = project.results / ".backends"
    return [path.name for path in folder.glob("*") if path.is_dir()] + list(folder.glob(".*.new"))


def test_a_model_without_a_transformer(project):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(project.root / "weights" / "tiny")
    model = SentenceTransformer(modules=[StaticEmbedding(words.backend_tokenizer, embedding_dim=8)], device="cpu")
    model.save_pretrained(str(project.root / "weights" / "static"), create_model_card=False)
    spec(project, "static", "path: weights/static\nbackend: onnx\n")
    with pytest.raises(BenchError) as error:
        open_encoder(project, "static")
    assert error.value.problems == (
        "model_specs/static.yaml: backend: onnx: only a model with one transformer can be exported (none); use "
        "backend: torch",
    )


def test_an_exporter_that_fails_is_one_line(specs, monkeypatch):
    import torch
    from transformers import BertModel

    forward = BertModel.forward

    def stubborn(self, *args, **given):
        if torch.jit.is_tracing():
            raise RuntimeError("Unsupported: prim::Odd\nand much more")
        return forward(self, *args, **given)

    monkeypatch.setattr(BertModel, "forward", stubborn)
    with pytest.raises(BenchError) as error:
        open_encoder(specs, "tiny-openvino-float32")
    assert error.value.problems == (
        "model_specs/tiny-openvino-float32.yaml: backend: openvino: the model cannot be exported (use backend: torch): "
        "RuntimeError: Unsupported: prim::Odd",
    )
    assert nothing_left(specs) == []


def test_an_export_that_gives_something_else_is_refused(specs, monkeypatch):
    from transformers import BertModel

    forward = BertModel.forward

    def by_length(self, input_ids=None, **given):
        found = forward(self, input_ids=input_ids, **given)
        if input_ids.shape[1] > 50:  # what tracing with short texts does not see
            found.last_hidden_state = found.last_hidden_state.flip(-1)
        return found

    monkeypatch.setattr(BertModel, "forward", by_length)
    with pytest.raises(BenchError) as error:
        open_encoder(specs, "tiny-onnx-int8")
    (line,) = error.value.problems
    assert line.startswith(
        "model_specs/tiny-onnx-int8.yaml: backend: onnx: the exported model gives something else than the original (by "
    )
    assert nothing_left(specs) == []


KILLED = """
import signal, sys
from pathlib import Path
from benchmark.encoders import backends, onnx
from benchmark.encoders.adapter import open_encoder
from benchmark.project import Project

quantize = backends.quantize_onnx

def stuck(folder):
    quantize(folder)
    print(*sorted(path.name for path in folder.iterdir()), flush=True)
    signal.pause()

backends.quantize_onnx = stuck
open_encoder(Project(Path(sys.argv[1])), "tiny-onnx-int8")
"""


def test_a_killed_export_leaves_nothing_half_written(specs):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(specs.root)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert child.stdout.readline() == "model.onnx\n"  # in the middle: quantised, not compared, no manifest
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    folder = exported_folder(specs, model_fingerprint(specs, "tiny-onnx-int8"))
    assert not folder.exists()
    assert [path.name for path in folder.parent.glob(".*.new")] == [f".{folder.name}.new"]
    assert open_encoder(specs, "tiny-onnx-int8").encode(TEXTS, "query").shape == (len(TEXTS), 32)
    assert folder.is_dir() and not list(folder.parent.glob(".*.new"))


def test_openvino_reports_to_nobody(tmp_path):
    code = (
        "import sys; from benchmark.encoders.openvino import _library; print(_library().__name__, "
        "*(name for name in sys.modules if name.startswith('openvino_telemetry')))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    environment.pop("CI", None)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
    )
    assert done.stdout.split() == ["openvino"]
    assert list(tmp_path.iterdir()) == []


def test_weights_of_half_the_precision_are_exported_in_float32(specs):
    import torch
    from sentence_transformers import SentenceTransformer

    folder = specs.root / "weights" / "half"
    model = SentenceTransformer(str(specs.root / "weights" / "tiny"), device="cpu").to(torch.bfloat16)
    model.save_pretrained(str(folder), create_model_card=False)
    spec(specs, "half", "path: weights/half\nmax_length: 96\nbackend: onnx\n")
    spec(specs, "half-openvino", "path: weights/half\nmax_length: 96\nbackend: openvino\n")
    exact = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    exact.max_seq_length = 96
    expected = exact.encode(TEXTS, normalize_embeddings=True)
    for name in ("half", "half-openvino"):
        assert np.abs(open_encoder(specs, name).encode(TEXTS, "query") - expected).max() < 1e-5


def test_a_reranking_pipeline_and_its_costs(specs, rerankers):
    from benchmark.evaluation.evaluate import Evaluator
    from benchmark.pipeline import Pipeline

    spec(specs, "piped", "retriever: tiny-onnx-float32\nreranker: ce-onnx-float32\ndepth: 4\n")
    spec(specs, "plain", "retriever: prompted\nreranker: ce\ndepth: 4\n")
    pipeline = Pipeline(specs, specs.domain("village"), None, SILENT)
    inputs = {"chunks": pipeline.chunks(), "testset": pipeline.testset()}
    evaluator = Evaluator(specs, pipeline.domain, inputs, 100, SILENT)
    found = {}
    for name in ("piped", "plain"):
        (outcome,) = evaluator.evaluate(name, ["retrieval"])
        found[name] = outcome.folder
    costs = [json.loads((folder / "manifest.json").read_text())["facts"]["costs"] for folder in found.values()]
    assert costs[0]["parameters"] == costs[1]["parameters"]
    lines = [(folder / "run.trec").read_text().splitlines() for folder in found.values()]
    assert [line.split()[:4] for line in lines[0]] == [line.split()[:4] for line in lines[1]]
    for name in ("tiny-onnx-float32", "ce-onnx-float32"):
        assert manifest(specs, name)["backend"] == "onnx"


def test_the_snippets_of_the_documentation_are_valid():
    text = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8")
    kinds = [ModelSpec if "model_specs/" in snippet else BenchmarkSpec for snippet in snippets(text)]
    parsed = [
        parse_spec(kind, yaml.safe_load(snippet), "x.yaml") for kind, snippet in zip(kinds, snippets(text), strict=True)
    ]
    assert [type(one).__name__ for one in parsed] == ["ModelSpec", "BenchmarkSpec", "ModelSpec"]


def snippets(text):
    return re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)


def test_a_variant_does_not_stand_for_the_model_of_the_hub(project):
    commit = "5" * 40
    found = SimpleNamespace(model=SimpleNamespace(id="acme/model", commit=commit))
    spec(project, "variant", f"hub: acme/model\nrevision: '{commit}'\nbackend: onnx\n")
    assert _standing(project, found) is None
    spec(project, "whole", f"hub: acme/model\nrevision: '{commit}'\n")
    assert _standing(project, found) == "whole"
