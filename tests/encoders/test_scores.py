"""Scores of pairs: each is computed once for all pipelines, tasks and purposes, and survives a kill."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from benchmark.console import SILENT, Notes
from benchmark.encoders.backends import open_reranker
from benchmark.encoders.pairs import PairScorer, logits
from benchmark.encoders.retrieve import open_retriever
from benchmark.encoders.scores import kept_logits, missing_pairs
from benchmark.encoders.shelf import Shelf, vectors_folder
from benchmark.encoders.store import rate
from benchmark.project import Project
from benchmark.records import Chunk
from benchmark.runs import write_run
from benchmark.weights import model_fingerprint

TEXTS = [
    f"{word} and {other} {i}" for i, word in enumerate(["mooring", "queen", "rye"]) for other in ("steam", "clock")
]
CHUNKS = [Chunk(f"d#{i}", "d", "", (), -1, -1, text) for i, text in enumerate(TEXTS)]
QUERIES = {"q1": "is a mooring let", "q2": "rye and the queen"}
PAIRS = [(query, text) for query in QUERIES.values() for text in TEXTS]


def spec(project, name, text):
    (project.specs_folder / f"{name}.yaml").write_text(text)


@pytest.fixture
def asked(project, cross_encoder, monkeypatch):
    """Pairs that cross-encoders were given."""
    from sentence_transformers import CrossEncoder

    pairs = []
    predict = CrossEncoder.predict

    def listening(self, some, **more):
        pairs.extend(some)
        return predict(self, some, **more)

    monkeypatch.setattr(CrossEncoder, "predict", listening)
    return pairs


def test_pipelines_tasks_and_filters_share_their_scores(project, asked):
    spec(project, "one", "retriever: bm25\nreranker: ce\ndepth: 6\n")
    spec(project, "two", "retriever: tiny\nreranker: ce\ndepth: 4\nweights: [0.5, 0.5]\n")
    domain = project.domain("village")
    first = open_retriever(project, domain, "one", CHUNKS).run(QUERIES, 6)
    assert sorted(asked) == sorted(PAIRS)
    asked.clear()
    candidates = {query: ["d#5", "d#0"] for query in QUERIES}
    open_retriever(project, domain, "two", CHUNKS).run(QUERIES, 6)
    again = open_retriever(project, domain, "one", CHUNKS)
    again.run(QUERIES, 6, candidates)
    assert again.run(QUERIES, 6) == first
    scorer = PairScorer(project, "ce", SILENT, "scoring")
    own = logits(scorer._model, PAIRS, SILENT)
    asked.clear()
    np.testing.assert_allclose(scorer(PAIRS), 1 / (1 + np.exp(-own)), atol=1e-6)
    assert not asked
    for query, hits in first.items():
        known = dict(zip(PAIRS, own.tolist(), strict=True))
        np.testing.assert_allclose(
            [hit.score for hit in hits], [known[QUERIES[query], TEXTS[int(hit.chunk[2:])]] for hit in hits], atol=1e-5
        )
    # What is measured as for new questions asks the model.
    again.afresh().run(QUERIES, 6)
    assert sorted(asked) == sorted(PAIRS)


def test_other_weights_or_another_length_share_nothing(project, cross_encoder, asked):
    from safetensors.torch import load_file, save_file

    other = cross_encoder.with_name("other")
    shutil.copytree(cross_encoder, other)
    weights = load_file(other / "model.safetensors")
    weights[sorted(weights)[0]].view(-1)[0] += 1e-3
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    spec(project, "other", "path: weights/other\nkind: cross-encoder\nmax_length: 96\n")
    spec(project, "short", "path: weights/ce\nkind: cross-encoder\nmax_length: 95\n")
    for name in ("ce", "other", "short"):
        asked.clear()
        PairScorer(project, name, SILENT, "")(PAIRS)
        assert sorted(asked) == sorted(PAIRS)


def test_what_is_missing_is_told_and_only_that_is_scored(project, asked):
    fingerprint = model_fingerprint(project, "ce")
    assert missing_pairs(project, fingerprint, [*PAIRS, PAIRS[0]]) == len(PAIRS)
    assert rate(project, fingerprint, "pair") is None and not vectors_folder(project).exists()
    model, shelf = open_reranker(project, "ce"), Shelf.of(project, fingerprint)

    def score(pairs):
        return logits(model, pairs, SILENT)

    first = kept_logits(shelf, "ce", PAIRS[:5], score, SILENT)
    assert missing_pairs(project, fingerprint, PAIRS) == len(PAIRS) - 5 and rate(project, fingerprint, "pair") > 0
    asked.clear()
    found = kept_logits(shelf, "ce", [*PAIRS, PAIRS[2]], score, SILENT)
    assert sorted(asked) == sorted(PAIRS[5:])
    np.testing.assert_array_equal(found[:5], first)
    assert found[-1] == found[2] and kept_logits(shelf, "ce", [], score, SILENT).shape == (0,)
    # Query and passage are not interchangeable, and no two pairs run together.
    assert missing_pairs(project, fingerprint, [(text, query) for query, text in PAIRS]) == len(PAIRS)


def test_a_flipped_byte_is_told_and_its_pair_scored_again(project, asked):
    first = PairScorer(project, "ce", SILENT, "")(PAIRS)
    (path,) = vectors_folder(project).rglob("pair-*.rows")
    content = bytearray(path.read_bytes())
    content[9] ^= 1
    path.write_bytes(content)
    asked.clear()
    notes = Notes()
    np.testing.assert_allclose(PairScorer(project, "ce", notes, "")(PAIRS), first, atol=1e-6)
    assert len(asked) == 1 and any("1 broken row(s)" in line for line in notes.lines)


KILLED = """
import sys, time
from pathlib import Path
import benchmark.encoders.shelf as shelf
from benchmark.encoders.retrieve import open_retriever
from benchmark.project import Project
from benchmark.records import Chunk
shelf.SLICE = 4
project = Project(Path(sys.argv[1]))
chunks = [Chunk(f"d#{{i}}", "d", "", (), -1, -1, text) for i, text in enumerate({texts!r})]
retriever = open_retriever(project, project.domain("village"), "two", chunks)
predict, calls = retriever.cross_encoder.predict, []
def stopping(pairs, **more):
    calls.append(pairs)
    if len(calls) == 3:
        print("there", flush=True)
        time.sleep(60)
    return predict(pairs, **more)
retriever.cross_encoder.predict = stopping
retriever.run({queries!r}, 6)
"""


def test_killed_while_it_reranks_and_started_again_it_ends_with_the_same_bytes(project, asked, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.encoders.shelf.SLICE", 4)
    spec(project, "two", "retriever: bm25\nreranker: ce\ndepth: 6\n")
    other = Project(tmp_path / "other")
    shutil.copytree(project.root, other.root)
    code = textwrap.dedent(KILLED).format(texts=TEXTS, queries=QUERIES)
    process = subprocess.Popen([sys.executable, "-c", code, str(project.root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "there\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    written, counts = [], []
    for one in (project, other):
        asked.clear()
        retriever = open_retriever(one, one.domain("village"), "two", CHUNKS)
        write_run(tmp_path / "run.trec", retriever.run(QUERIES, 6), "two", QUERIES)
        counts.append(len(asked))
        (rows,) = vectors_folder(one).rglob("pair-*.rows")
        written.append(((tmp_path / "run.trec").read_bytes(), rows.read_bytes(), Path(rows).name))
    assert counts == [len(PAIRS) - 8, len(PAIRS)] and written[0] == written[1]
