"""The store of vectors: nothing is encoded twice, and nothing wrong comes out, with a real encoder."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from benchmark.console import Notes
from benchmark.encoders import store
from benchmark.encoders.adapter import LinearMaps, open_encoder
from benchmark.encoders.dense import DenseEncoder
from benchmark.encoders.retrieve import open_retriever
from benchmark.encoders.shelf import Shelf, vectors_folder
from benchmark.encoders.store import (
    KeptEncoder,
    document_vectors,
    keep,
    known_prompts,
    missing,
    missing_slices,
    query_vectors,
    rate,
    stored_documents,
    stored_vectors,
)
from benchmark.errors import BenchError
from benchmark.project import Project
from benchmark.records import Chunk
from benchmark.runs import write_run
from benchmark.weights import ADAPTER_FILE, model_fingerprint

WORDS = [
    "mooring", "season", "queen", "hive", "mite", "acid", "starter", "rye", "loaf", "steam", "clock", "draw", "harbour",
    "visitor", "spring", "honey",
]  # fmt: skip
TEXTS = [f"{' '.join(WORDS[: 1 + number % 13])} {WORDS[number % 16]} {number}" for number in range(30)]


def chunks_of(texts):
    return [Chunk(f"d#{number}", "d", "", (), -1, -1, text) for number, text in enumerate(texts)]


def spec(project, name, text):
    (project.specs_folder / f"{name}.yaml").write_text(text)


@pytest.fixture
def encoded(monkeypatch):
    """What encoders were asked for: role and texts of each call."""
    asked = []
    encode = DenseEncoder.encode

    def listening(self, texts, role, *more):
        asked.append((role, list(texts)))
        return encode(self, texts, role, *more)

    monkeypatch.setattr(DenseEncoder, "encode", listening)
    return asked


def all_of(asked, role="document"):
    return [text for known, texts in asked for text in texts if known == role]


# --- once -----------------------------------------------------------------------------------------------------------


def test_a_corpus_that_grows_is_encoded_only_where_it_is_new(project, encoded):
    domain, encoder = project.domain("village"), DenseEncoder.load(project, "tiny")
    first = document_vectors(domain, encoder, chunks_of(TEXTS[:20]))
    assert sorted(all_of(encoded)) == sorted(TEXTS[:20])
    encoded.clear()
    grown = document_vectors(domain, encoder, chunks_of([*TEXTS[25:], *TEXTS[:20]]))
    assert sorted(all_of(encoded)) == sorted(TEXTS[25:])
    np.testing.assert_array_equal(grown[5:], first)
    np.testing.assert_allclose(grown[:5], encoder.encode(TEXTS[25:], "document"), atol=1e-6)
    encoded.clear()
    np.testing.assert_array_equal(document_vectors(domain, encoder, chunks_of(TEXTS[10:20])), first[10:])
    assert not encoded


def test_a_text_is_encoded_once_whatever_domain_it_stands_in_and_however_often(project, encoded):
    shutil.copytree(project.root / "tasks" / "village", project.root / "tasks" / "town")
    project = Project(project.root)
    encoder = DenseEncoder.load(project, "tiny")
    twice = document_vectors(project.domain("village"), encoder, chunks_of([TEXTS[0], TEXTS[1], TEXTS[0]]))
    assert sorted(all_of(encoded)) == sorted(TEXTS[:2])
    np.testing.assert_array_equal(twice[0], twice[2])
    np.testing.assert_array_equal(document_vectors(project.domain("town"), encoder, chunks_of(TEXTS[:2])), twice[:2])
    query_vectors(project.domain("town"), encoder, [TEXTS[0]])
    assert len(encoded) == 2 and all_of(encoded, "query") == [TEXTS[0]]


def test_both_specs_of_equal_weights_share_and_other_weights_or_prompts_share_nothing(project, encoded):
    from safetensors.torch import load_file, save_file

    shutil.copytree(project.root / "weights" / "tiny", project.root / "weights" / "copy")
    spec(project, "copy", "path: weights/copy\nmax_length: 96\n")
    domain, chunks = project.domain("village"), chunks_of(TEXTS)
    first = document_vectors(domain, DenseEncoder.load(project, "tiny"), chunks)
    encoded.clear()
    np.testing.assert_array_equal(document_vectors(domain, DenseEncoder.load(project, "copy"), chunks), first)
    assert not encoded
    path = next((project.root / "weights" / "copy").rglob("model.safetensors"))
    weights = load_file(path)
    weights[sorted(weights)[0]].view(-1)[0] += 1e-3
    save_file(weights, path, metadata={"format": "pt"})
    spec(project, "asked", 'path: weights/tiny\nmax_length: 96\nprompts: {document: "d: "}\n')
    for name in ("copy", "asked"):
        encoded.clear()
        document_vectors(domain, DenseEncoder.load(project, name), chunks)
        assert sorted(all_of(encoded)) == sorted(TEXTS)
    # A prompt that the fingerprint does not know of (it stood in the model's own configuration) shares nothing either.
    encoder = DenseEncoder.load(project, "tiny")
    encoder.prompts = {"query": "", "document": "passage: "}
    encoded.clear()
    assert not np.allclose(document_vectors(domain, encoder, chunks), first)
    assert sorted(all_of(encoded)) == sorted(TEXTS)


def test_the_test_sets_queries_are_encoded_once_for_all_tasks_and_afresh_where_time_is_measured(project, encoded):
    spec(project, "cut", "base: tiny\ntruncate_dim: 16\n")
    spec(project, "fused", "hybrid: [tiny, bm25]\n")
    domain, chunks = project.domain("village"), chunks_of(TEXTS)
    queries = {"q1": "queen of the hive", "q2": "rye"}
    candidates = {"q1": ["d#3", "d#1"], "q2": ["d#0"]}
    runs = {}
    for name in ("tiny", "cut", "fused"):
        retriever = open_retriever(project, domain, name, chunks)
        runs[name] = retriever.run(queries, 30)
        some = retriever.run(queries, 30, candidates)
        assert {query: {hit.chunk for hit in hits} for query, hits in some.items()} == {
            query: set(wanted) for query, wanted in candidates.items()
        }
        for query, hits in some.items():
            every = {hit.chunk: hit.score for hit in runs[name][query]}
            np.testing.assert_allclose([hit.score for hit in hits], [every[hit.chunk] for hit in hits], atol=1e-6)
    assert all_of(encoded, "query") == ["queen of the hive", "rye"]
    for name in ("tiny", "cut", "fused"):
        encoded.clear()
        retriever = open_retriever(project, domain, name, chunks)
        again = retriever.afresh().run(queries, 30)
        assert all_of(encoded, "query") == ["queen of the hive", "rye"]
        assert [hit.chunk for hit in again["q1"]] == [hit.chunk for hit in runs[name]["q1"]]


def test_an_encoder_in_the_hands_of_others_keeps_what_it_encodes(project, encoded, monkeypatch):
    domain, encoder = project.domain("village"), DenseEncoder.load(project, "tiny")
    kept = KeptEncoder(domain, encoder)
    first = kept.encode(TEXTS[:4], "query")
    np.testing.assert_array_equal(query_vectors(domain, encoder, TEXTS[:4]), first)
    assert len(encoded) == 1 and (kept.name, kept.fingerprint) == (encoder.name, encoder.fingerprint)
    vectors = encoder.encode(TEXTS[:6], "document")
    encoded.clear()
    monkeypatch.setattr("benchmark.encoders.shelf.SLICE", 4)
    keep(domain, encoder, "document", TEXTS[:6], vectors)
    np.testing.assert_array_equal(document_vectors(domain, encoder, chunks_of(TEXTS[:6])), vectors)
    keep(domain, encoder, "document", TEXTS[:6], -vectors)
    np.testing.assert_array_equal(document_vectors(domain, encoder, chunks_of(TEXTS[:6])), vectors)
    assert not encoded
    # In the groups in which they would have been encoded: the files are the same whoever encoded them.
    (path,) = vectors_folder(project).rglob("document-*.keys")
    left = np.frombuffer(path.read_bytes(), dtype="<u4").reshape(-1, 10)[1:, -1]
    assert left.tolist() == [3, 2, 1, 0, 1, 0]
    with pytest.raises(BenchError, match="no numbers"):
        keep(domain, encoder, "document", TEXTS[6:8], np.full((2, 32), np.nan, dtype=np.float32))


# --- what is there --------------------------------------------------------------------------------------------------


def test_what_is_missing_is_told_without_a_model(project):
    fingerprint = model_fingerprint(project, "tiny")
    assert missing(project, fingerprint, "document", "", [*TEXTS, TEXTS[0]]) == len(TEXTS)
    assert rate(project, fingerprint) is None and known_prompts(project, fingerprint) is None
    assert not vectors_folder(project).exists()
    document_vectors(project.domain("village"), DenseEncoder.load(project, "tiny"), chunks_of(TEXTS[:20]))
    code = f"""
    import sys
    from pathlib import Path
    from benchmark.encoders.store import known_prompts, missing, rate
    from benchmark.project import Project
    project, texts = Project(Path({str(project.root)!r})), {TEXTS!r}
    prompts = known_prompts(project, {fingerprint!r})
    print(missing(project, {fingerprint!r}, "document", prompts["document"], texts))
    print(missing(project, {fingerprint!r}, "query", prompts["query"], texts))
    print(rate(project, {fingerprint!r}) > 0, rate(project, {fingerprint!r}, "query"))
    print({{"torch", "transformers", "mteb"}} & set(sys.modules))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["10", "30", "True None", "set()", ""]
    assert missing(project, fingerprint, "document", "passage: ", TEXTS) == len(TEXTS)
    assert (vectors_folder(project) / ".gitignore").read_text() == "*\n"


def test_missing_texts_come_in_the_groups_in_which_they_are_encoded(project, encoded, monkeypatch):
    monkeypatch.setattr("benchmark.encoders.shelf.SLICE", 4)
    domain, encoder = project.domain("village"), DenseEncoder.load(project, "tiny")
    document_vectors(domain, encoder, chunks_of(TEXTS[:3]))
    encoded.clear()
    groups = missing_slices(project, encoder.fingerprint, "document", "", [*TEXTS, *TEXTS])
    document_vectors(domain, encoder, chunks_of([*TEXTS, *TEXTS]))
    assert [texts for _, texts in encoded] == groups and len(groups) == 7
    assert missing_slices(project, encoder.fingerprint, "document", "", TEXTS) == []


def test_seconds_are_those_of_the_whole_corpus_or_unknown(project):
    domain, encoder = project.domain("village"), DenseEncoder.load(project, "tiny")
    assert stored_documents(domain, encoder, chunks_of(TEXTS[:20])).seconds > 0
    assert stored_documents(domain, encoder, chunks_of(TEXTS[:20])).seconds is None
    assert stored_documents(domain, encoder, chunks_of(TEXTS)).seconds is None


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [0, 2**30])
@pytest.mark.parametrize("name", ["tiny", "cut", "adapted"])
def test_blocks_hold_every_text_once(project, monkeypatch, name, held):
    spec(project, "cut", "base: tiny\ntruncate_dim: 16\n")
    maps = np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32)
    (project.root / "weights" / "maps").mkdir()
    LinearMaps(maps, maps).save(project.root / "weights" / "maps" / ADAPTER_FILE)
    spec(project, "adapted", "base: tiny\nadapter: weights/maps\n")
    monkeypatch.setattr(store, "_HELD", held)
    domain, encoder = project.domain("village"), open_encoder(project, name)
    document_vectors(domain, encoder, chunks_of(TEXTS[10:20]))
    vectors = stored_documents(domain, encoder, chunks_of([*TEXTS, TEXTS[0]]))
    assert vectors.shape == (31, 16 if name == "cut" else 32) and vectors.positions[0] == vectors.positions[30]
    every = vectors.array()
    np.testing.assert_allclose(every, encoder.encode([*TEXTS, TEXTS[0]], "document"), atol=1e-5)
    blocks = list(vectors.blocks(7))
    assert [len(numbers) for numbers, _ in blocks] == [7, 7, 7, 7, 3]
    numbers = np.concatenate([part for part, _ in blocks])
    assert sorted(numbers.tolist()) == list(range(31))
    np.testing.assert_allclose(np.concatenate([part for _, part in blocks]), every[numbers], atol=1e-6)
    if held:
        assert numbers.tolist() == list(range(31))
    else:
        assert (np.diff(vectors.positions[numbers]) >= 0).all() and vectors._all is None
    np.testing.assert_allclose(vectors.take(np.array([4, 4, 0])), every[[4, 4, 0]], atol=1e-6)
    if name == "tiny":
        assert every.flags.writeable
        every[:] = 0
        assert vectors.array().any()


def test_a_corpus_that_is_read_in_blocks_is_ranked_as_one_that_is_held(project, monkeypatch):
    domain, chunks, queries = project.domain("village"), chunks_of([*TEXTS, *TEXTS[:5]]), {"q": "queen", "r": "rye 3"}
    expected = open_retriever(project, domain, "tiny", chunks).run(queries, 12)
    monkeypatch.setattr(store, "_HELD", 0)
    monkeypatch.setattr("benchmark.encoders.store.StoredVectors.blocks.__defaults__", (4,))
    found = open_retriever(project, domain, "tiny", chunks).run(queries, 12)
    for query, hits in expected.items():
        np.testing.assert_allclose([hit.score for hit in found[query]], [hit.score for hit in hits], atol=1e-6)
        assert {hit.chunk for hit in found[query]} == {hit.chunk for hit in hits}


def test_nothing_is_asked_for_nothing(project, encoded):
    domain, encoder = project.domain("village"), DenseEncoder.load(project, "tiny")
    assert query_vectors(domain, encoder, []).shape == (0, 32)
    assert list(stored_vectors(domain, encoder, [], "query").blocks()) == []
    assert all(texts == [] for _, texts in encoded)


# --- what can go wrong ----------------------------------------------------------------------------------------------


def test_a_flipped_byte_is_told_and_its_text_alone_is_encoded_again(project, encoded):
    domain, encoder = project.domain("village"), DenseEncoder.load(project, "tiny")
    first = document_vectors(domain, encoder, chunks_of(TEXTS))
    (path,) = vectors_folder(project).rglob("document-*.rows")
    content = bytearray(path.read_bytes())
    content[3 * 128 + 17] ^= 1
    path.write_bytes(content)
    encoded.clear()
    notes = Notes()
    again = document_vectors(domain, encoder, chunks_of(TEXTS), notes)
    np.testing.assert_allclose(again, first, atol=1e-6)
    assert len(all_of(encoded)) == 1
    assert [line for line in notes.lines if "1 broken row(s), made again" in line]
    encoded.clear()
    notes = Notes()
    np.testing.assert_array_equal(document_vectors(domain, encoder, chunks_of(TEXTS), notes), again)
    assert not encoded and not notes.lines


def test_a_broken_header_costs_no_vector(project, encoded):
    domain, encoder = project.domain("village"), DenseEncoder.load(project, "tiny")
    first = document_vectors(domain, encoder, chunks_of(TEXTS[:4]))
    (path,) = vectors_folder(project).rglob("header.json")
    path.write_text("{broken")
    assert rate(project, encoder.fingerprint) is None
    encoded.clear()
    np.testing.assert_array_equal(document_vectors(domain, encoder, chunks_of(TEXTS[:4])), first)
    assert not encoded
    document_vectors(domain, encoder, chunks_of(TEXTS[:5]))
    assert rate(project, encoder.fingerprint) > 0 and known_prompts(project, encoder.fingerprint) == encoder.prompts


def test_what_was_encoded_before_a_failure_is_kept(project, encoded, monkeypatch):
    monkeypatch.setattr("benchmark.encoders.shelf.SLICE", 10)
    domain, encoder = project.domain("village"), DenseEncoder.load(project, "tiny")
    encode = encoder.model.encode

    def failing(texts, **more):
        if len(all_of(encoded)) > 20:
            raise IndexError("out of range")
        return encode(texts, **more)

    monkeypatch.setattr(encoder.model, "encode", failing)
    with pytest.raises(BenchError, match=r"tiny\.yaml: cannot encode: IndexError: out of range"):
        document_vectors(domain, encoder, chunks_of(TEXTS))
    monkeypatch.setattr(encoder.model, "encode", encode)
    assert missing(project, encoder.fingerprint, "document", "", TEXTS) == 10
    encoded.clear()
    document_vectors(domain, encoder, chunks_of(TEXTS))
    assert len(all_of(encoded)) == 10


KILLED = """
import sys, time
from pathlib import Path
import benchmark.encoders.shelf as shelf
from benchmark.encoders.dense import DenseEncoder
from benchmark.encoders.store import document_vectors
from benchmark.project import Project
from benchmark.records import Chunk
shelf.SLICE = 4
project, texts = Project(Path(sys.argv[1])), {texts!r}
encoder, calls = DenseEncoder.load(project, "tiny"), []
encode = encoder.model.encode
def stopping(some, **more):
    calls.append(some)
    if len(calls) == 4:
        print("there", flush=True)
        time.sleep(60)
    return encode(some, **more)
encoder.model.encode = stopping
document_vectors(project.domain("village"), encoder, [Chunk(t, "d", "", (), -1, -1, t) for t in texts])
"""

TOGETHER = """
import hashlib, sys
from pathlib import Path
import numpy as np
import benchmark.encoders.shelf as shelf
from benchmark.encoders.store import stored_vectors
from benchmark.project import Project
class Encoder:
    name, fingerprint, prompts = "hashes", "f" * 64, {{"query": "", "document": ""}}
    def encode(self, texts, role, *more):
        digests = [hashlib.sha256(text.encode()).digest() for text in texts]
        vectors = np.array([list(digest) for digest in digests], dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
shelf.SLICE = 4
texts = [f"{{text}} {{i}}" for i in range(20) for text in {texts!r}]
domain = Project(Path(sys.argv[1])).domain("village")
print("ready", flush=True)
sys.stdin.readline()
vectors = stored_vectors(domain, Encoder(), texts, "document").array()
print(bool((vectors == Encoder().encode(texts, "document")).all()))
"""


def in_a_process(project, code):
    words = [sys.executable, "-c", code.format(texts=TEXTS), str(project.root)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_killed_while_it_encodes_and_started_again_it_ends_with_the_same_bytes(project, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.encoders.shelf.SLICE", 4)
    other = Project(tmp_path / "other")
    shutil.copytree(project.root, other.root)
    process = in_a_process(project, KILLED)
    assert process.stdout.readline() == "there\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert missing(project, model_fingerprint(project, "tiny"), "document", "", TEXTS) == len(TEXTS) - 12
    files = {}
    for one in (project, other):
        retriever = open_retriever(one, one.domain("village"), "tiny", chunks_of(TEXTS))
        write_run(tmp_path / "run.trec", retriever.run({"q": "queen", "r": "rye"}, 30), "tiny", ["q", "r"])
        found = {path.name: path.read_bytes() for path in vectors_folder(one).rglob("*.*") if path.suffix != ".json"}
        files[one.root] = (found, (tmp_path / "run.trec").read_bytes())
    assert files[project.root] == files[other.root]
    assert {name.rsplit(".", 1)[1] for name in files[project.root][0]} == {"rows", "keys", "lock", "gitignore"}


def test_two_processes_that_encode_the_same_texts_both_have_them_and_store_none_twice(project):
    both = [in_a_process(project, TOGETHER) for _ in range(2)]
    assert [process.stdout.readline() for process in both] == ["ready\n"] * 2
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[0] for process in both] == ["True\n"] * 2
    table = Shelf.of(project, "f" * 64).table("document", "")
    texts = [f"{text} {i}" for i in range(20) for text in TEXTS]
    assert len(table) == len(texts) and missing(project, "f" * 64, "document", "", texts) == 0


def test_a_folder_that_cannot_be_written_is_read(project, encoded, monkeypatch):
    domain, encoder = project.domain("village"), DenseEncoder.load(project, "tiny")
    first = document_vectors(domain, encoder, chunks_of(TEXTS[:4]))
    for path in vectors_folder(project).rglob("*.lock"):
        path.unlink()
    monkeypatch.setattr("benchmark.encoders.shelf.os.access", lambda *_: False)
    encoded.clear()
    np.testing.assert_array_equal(document_vectors(domain, encoder, chunks_of(TEXTS[:4])), first)
    assert not encoded and not list(vectors_folder(project).rglob("*.lock"))
