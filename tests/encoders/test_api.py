"""Embeddings of an API, against a real HTTP server: what is sent, kept, paid, refused, and built on top of it."""

import base64
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
import traceback
import zlib
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest

from benchmark.cli.main import run_app
from benchmark.console import Notes
from benchmark.encoders.adapter import AdaptedEncoder, CutEncoder, LinearMaps, open_encoder
from benchmark.encoders.api import ApiEncoder, model_of
from benchmark.encoders.embeddings import read_embeddings
from benchmark.encoders.kept import kept_file, open_kept
from benchmark.encoders.retrieve import open_retriever
from benchmark.encoders.store import document_vectors, query_vectors
from benchmark.errors import BenchError
from benchmark.files import dump_yaml
from benchmark.llm import limits
from benchmark.llm.budget import Paid, Spent
from benchmark.llm.connection import Connection
from benchmark.llm.model import Failure
from benchmark.project import Project
from benchmark.records import Chunk
from benchmark.specs import ModelSpec, parse_spec
from benchmark.weights import ADAPTER_FILE, model_fingerprint

KEY = "sk-very-secret-0123456789"
DIMENSIONS = 24
WORDS = [
    "mooring", "berth", "queen", "hive", "rye", "flour", "starter", "clock", "draw", "move", "harbour", "mite", "acid",
    "loaf", "steam", "season",
]  # fmt: skip
TEXTS = [f"{WORDS[i % 16]} {WORDS[i * 7 % 16]} {WORDS[(i * 3 + 1) % 16]} {i}" for i in range(30)]


def bag(text, dimensions=DIMENSIONS):
    """A bag of words, each a fixed random direction."""
    total = np.zeros(dimensions)
    for word in text.lower().split():
        total += np.random.default_rng(zlib.crc32(word.encode())).normal(size=dimensions)
    return total if text.strip() else np.ones(dimensions)


def reply(body, change=lambda rows: rows):
    """What a well-behaved endpoint answers; four tokens a text."""
    packed = body.get("encoding_format") == "base64"
    rows = []
    for place, text in enumerate(body["input"]):
        vector = bag(text, body.get("dimensions", DIMENSIONS))
        given = base64.b64encode(vector.astype("<f4").tobytes()).decode() if packed else vector.tolist()
        rows.append({"object": "embedding", "index": place, "embedding": given})
    usage = {"prompt_tokens": 4 * len(rows), "total_tokens": 4 * len(rows)}
    return 200, {}, {"object": "list", "data": change(rows), "model": body["model"], "usage": usage}


def error(status, message, **more):
    return status, {}, {"error": {"message": message, "type": "x", "param": None, "code": None, **more}}


def sent(server):
    """How often each text was sent."""
    return Counter(text for body in server.bodies for text in body["input"])


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    """Tries follow each other quickly."""
    monkeypatch.setattr(limits, "_FIRST_PAUSE", 0.01)


@pytest.fixture
def place(tmp_path):
    """A project with nothing but model specs."""
    (tmp_path / "model_specs").mkdir()
    return Project(tmp_path)


def write(project, name, url, prompts=None, **settings):
    api = {"base_url": url, "model": "embedder", "batch_size": 8, "retries": 2, "timeout": 5.0, **settings}
    spec = {"api": api} | ({"prompts": prompts} if prompts else {})
    (project.specs_folder / f"{name}.yaml").write_text(dump_yaml(spec))


def encoder_at(project, url, name="far", **settings):
    write(project, name, url, **settings)
    return open_encoder(project, name)


def kept_count(project):
    with sqlite3.connect(kept_file(project)) as connection:
        return connection.execute("SELECT count(*) FROM vectors").fetchone()[0]


# --- what is sent and what comes back -------------------------------------------------------------------------------


@pytest.mark.parametrize("takes_base64", [True, False])
def test_vectors_have_the_order_of_the_texts_whatever_the_order_of_the_reply(serve, place, takes_base64):
    def answer(body):
        if not takes_base64 and "encoding_format" in body:
            return error(400, "Unknown parameter: 'encoding_format'.", param="encoding_format")
        return reply(body, lambda rows: rows[::-1])

    server = serve(answer)
    prompts = {"query": "query: ", "document": "passage: "}
    encoder = encoder_at(place, server.url, prompts=prompts)
    for role, prompt in (("query", "query: "), ("document", "passage: ")):
        vectors = encoder.encode(TEXTS, role)
        assert vectors.shape == (30, DIMENSIONS) and vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, unit(np.stack([bag(prompt + text) for text in TEXTS])), atol=1e-6)
    assert set(server.paths) == {"/v1/embeddings"}
    assert {body["model"] for body in server.bodies} == {"embedder"}
    assert not any("dimensions" in body for body in server.bodies)
    assert sum("encoding_format" in body for body in server.bodies) == (8 if takes_base64 else 1)  # refused once
    assert max(len(body["input"]) for body in server.bodies) == 8
    assert "authorization" not in server.headers[0] or KEY not in server.headers[0]["authorization"]


def test_dimensions_are_asked_for_and_no_texts_are_nothing(serve, place):
    server = serve(reply)
    encoder = encoder_at(place, server.url, dimensions=6)
    assert encoder.encode([], "query").shape == (0, 6) and not server.bodies
    assert encoder.encode(TEXTS[:3], "query").shape == (3, 6)
    assert server.bodies[0]["dimensions"] == 6
    plain = encoder_at(place, server.url, "plain")
    assert plain.encode(TEXTS[:3], "query").shape == (3, DIMENSIONS)
    assert plain.encode([], "query").shape == (0, DIMENSIONS)


def test_no_text_is_sent_twice(serve, place):
    server = serve(reply)
    first = encoder_at(place, server.url).encode([*TEXTS, *TEXTS[:5]], "document")
    np.testing.assert_array_equal(first[:5], first[30:])
    write(place, "other", server.url, concurrency=1, timeout=9.0, batch_size=3, usd_per_million_input=1.0)
    second = open_encoder(Project(place.root), "other").encode(TEXTS, "query")  # no prompts: the same text
    np.testing.assert_array_equal(first[:30], second)
    assert sent(server) == dict.fromkeys(TEXTS, 1)
    asked_anew = [{"model": "embedder-2"}, {"dimensions": 8}, {"prompts": {"query": "q: "}}]
    for number, settings in enumerate(asked_anew):
        encoder_at(place, server.url, f"n{number}", **settings).encode(TEXTS[:2], "query")
    assert sum(sent(server).values()) == 30 + 6
    assert (kept_file(place).parent / ".gitignore").read_text() == "*\n"


def test_the_fingerprint_tells_models_apart_and_nothing_else(serve, place):
    def printed(**settings):
        write(place, "far", "http://h/v1", **settings)
        return model_fingerprint(place, "far")

    same = {printed(), printed(concurrency=2), printed(timeout=1.0), printed(usd_per_million_input=2.0)}
    same |= {printed(api_key_env="KEY"), printed(budget={"calls": 9}), printed(batch_size=1, retries=0)}
    assert len(same) == 1
    others = {printed(model="x"), printed(dimensions=9), printed(prompts={"query": "q "})}
    write(place, "far", "http://other/v1")
    assert len(same | others | {model_fingerprint(place, "far")}) == 5


def test_what_no_vector_looks_like_is_neither_used_nor_kept(serve, place):
    def with_first(value):
        return lambda rows: [{**rows[0], "embedding": value}, *rows[1:]]

    numbers = bag("x").tolist()
    cases = [
        (lambda rows: rows[:-1], "7 vectors for 8 texts"),
        (lambda rows: [{**row, "index": 0} for row in rows], "indices are not those of the texts"),
        (with_first([float("nan"), *numbers[1:]]), "values that are no numbers"),
        (with_first([1e300, *numbers[1:]]), "values that are no numbers"),
        (with_first([0.0] * DIMENSIONS), "a vector of zeros"),
        (with_first(numbers[:-1]), "something else than vectors of equal dimensions"),
        (with_first("no base64!"), "something else than vectors of equal dimensions"),
        (with_first(None), "something else than vectors of equal dimensions"),
        (lambda rows: [{**row, "embedding": []} for row in rows], "empty vectors"),
    ]
    server = serve()
    encoder = encoder_at(place, server.url)
    for number, (change, said) in enumerate(cases, start=1):
        server.reply = lambda body, change=change: reply(body, change)
        with pytest.raises(BenchError, match=said) as caught:
            encoder.encode(TEXTS, "query")
        assert len(caught.value.problems) == 1
        assert kept_count(place) == 0 and len(server.bodies) == number  # asked once: it was paid for all the same
    server.reply = reply
    wrong = encoder_at(place, server.url, "short", dimensions=9)
    server.reply = lambda body: reply({**body, "dimensions": 12})
    with pytest.raises(BenchError, match="vectors of 12 dimensions in place of 9"):
        wrong.encode(TEXTS, "query")
    server.reply = lambda body: (200, {}, {"unexpected": True})
    with pytest.raises(BenchError, match="does not answer like an OpenAI-compatible endpoint"):
        encoder.encode(TEXTS, "query")
    with open_kept(kept_file(place)) as kept:
        assert kept.spent(model_of(place.model_spec("far").api)).input_tokens >= 9 * 32


def test_indices_may_be_missing_and_strange_counts_are_none():
    body = {"data": [{"embedding": [1.0]}, {"embedding": [2.0]}], "usage": {"prompt_tokens": "many"}}
    read = read_embeddings(body, 2)
    assert read.rows.tolist() == [[1.0], [2.0]] and read.input_tokens is None
    assert isinstance(read_embeddings({"data": [{"embedding": [1.0], "index": True}]}, 1), Failure)
    for nothing in ([], {"data": [1]}, {"data": [{}]}, {"data": None}, "x"):
        with pytest.raises(ValueError, match="no embeddings"):
            read_embeddings(nothing, 1)


# --- trouble --------------------------------------------------------------------------------------------------------


def test_trouble_that_passes_is_overcome_and_nothing_that_came_is_asked_again(serve, place):
    trouble = [
        lambda body: (429, {"Retry-After": "0.2"}, {"error": {"message": "slow down"}}),
        lambda body: error(500, "oops"),
        lambda body: error(503, "overloaded"),
        lambda body: cut(body),
        lambda body: (200, {}, b'{"data": ['),
        lambda body: time.sleep(20) or reply(body),
    ]
    answered = Counter()

    def answer(body):
        if len(answered) >= 8 and trouble:
            return trouble.pop()(body)
        answered.update(body["input"])
        return reply(body)

    server = serve(answer)
    kind = type(server.cut({"model": "m"}))

    def cut(body):
        return kind(json.dumps(reply(body)[2]).encode())

    encoder = encoder_at(place, server.url, timeout=0.5, concurrency=3, retries=6)
    vectors = encoder.encode(TEXTS, "query")
    np.testing.assert_allclose(vectors, unit(np.stack([bag(text) for text in TEXTS])), atol=1e-6)
    assert not trouble and set(answered.values()) == {1}


def test_what_stays_broken_leaves_the_rest_kept(serve, place):
    bad = [TEXTS[20]]
    server = serve(lambda body: error(500, "oops") if set(bad) & set(body["input"]) else reply(body))
    encoder = encoder_at(place, server.url, batch_size=3, retries=1)
    with pytest.raises(BenchError, match=r"no vectors for 3 texts \(of 3: HTTP 500\); 27 of 30 .* run again"):
        encoder.encode(TEXTS, "query")
    server.forget()
    bad.clear()
    assert encoder.encode(TEXTS, "query").shape == (30, DIMENSIONS)
    assert sum(sent(server).values()) == 3


def test_the_key_is_read_from_the_environment_and_told_to_nobody(serve, place, monkeypatch):
    monkeypatch.delenv("TEST_KEY", raising=False)
    server = serve(reply)
    encoder = encoder_at(place, server.url, api_key_env="TEST_KEY")
    with pytest.raises(BenchError, match="the environment variable TEST_KEY is not set"):
        encoder.encode(TEXTS, "query")
    assert not server.bodies
    monkeypatch.setenv("TEST_KEY", KEY)
    for said in (error(401, f"wrong key {KEY}"), error(400, f"no {KEY}"), error(500, KEY), error(404, KEY)):
        server.reply = lambda body, said=said: said
        with pytest.raises(BenchError) as caught:
            encoder.encode(TEXTS, "query")
        told = "".join(traceback.format_exception(caught.value))
        assert KEY not in told and len(caught.value.problems) == 1 and "\n" not in str(caught.value)
    server.forget()
    server.reply = lambda body: error(401, "wrong key")
    with pytest.raises(BenchError, match=r"refused \(HTTP 401\): wrong key; check the key in TEST_KEY"):
        encoder.encode(TEXTS, "query")
    assert len(server.bodies) == 1 and server.headers[0]["authorization"] == f"Bearer {KEY}"
    server.reply = reply
    encoder.encode(TEXTS, "query")
    for path in kept_file(place).parent.iterdir():
        assert KEY.encode() not in path.read_bytes()


def test_a_dead_endpoint_is_one_line_after_one_try(place, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    tries, post = [], Connection._post
    monkeypatch.setattr(Connection, "_post", lambda *args: tries.append(1) or post(*args))
    with pytest.raises(BenchError, match=r"the embeddings of embedder at http\S+: cannot be reached"):
        encoder_at(place, url, retries=20).encode(TEXTS, "query")
    assert len(tries) == 1
    with pytest.raises(BenchError, match=r"no-such-host\.invalid.*cannot be reached"):
        encoder_at(place, "http://no-such-host.invalid/v1").encode(TEXTS, "query")


@pytest.mark.parametrize(
    "refusal",
    [
        error(400, "This model's maximum context length is 8192 tokens, however you requested 9000 tokens"),
        error(500, "input is too large to process. increase the physical batch size"),
        error(429, "Request too large for embedder on tokens per min (TPM): Limit 1000, Requested 1200."),
        (413, {}, {"error": "too many tokens", "error_type": "Validation"}),
    ],
)
def test_a_text_that_is_too_long_is_named_before_the_others_are_paid_for(serve, place, refusal):
    long = "Harbour rules in full " + "and so on " * 300
    server = serve(lambda body: refusal if long in body["input"] else reply(body))
    encoder = encoder_at(place, server.url)
    with pytest.raises(BenchError) as caught:
        encoder.encode([*TEXTS, long], "document")
    told = str(caught.value)
    assert "does not take the text that begins with 'Harbour rules in full and so on and so on ...'" in told
    assert f"({len(long):,} characters; HTTP {refusal[0]}: " in told
    assert "make smaller chunks: lower 'max_tokens' under 'chunking' in domain.yaml" in told and "\n" not in told
    assert [len(body["input"]) for body in server.bodies] == [8, 4, 2, 1]
    encoder.encode(TEXTS, "document")
    assert sent(server)[TEXTS[0]] <= 4


@pytest.mark.parametrize("concurrency", [1, 6])
def test_an_endpoint_that_takes_fewer_texts_at_once_is_asked_for_fewer(serve, place, concurrency):
    def answer(body):
        if len(body["input"]) > 4:
            return 422, {}, {"error": "batch size 16 > maximum allowed batch size 4", "error_type": "Validation"}
        return reply(body)

    server = serve(answer)
    encoder = encoder_at(place, server.url, batch_size=16, concurrency=concurrency)
    assert encoder.encode(TEXTS, "query").shape == (30, DIMENSIONS)
    assert [len(body["input"]) for body in server.bodies[:3]] == [16, 8, 4]
    assert all(len(body["input"]) <= 4 for body in server.bodies[2:]) and len(server.bodies) == 2 + 8
    server.forget()
    encoder.encode([f"{text} again" for text in TEXTS], "query")
    assert all(len(body["input"]) <= 4 for body in server.bodies)  # found out once


def test_too_much_in_the_middle_keeps_what_was_under_way(serve, place):
    """A limit on all the texts of a request together, which the first, though the longest, did not meet."""
    rare = sorted(TEXTS, key=lambda text: (-len(text), text))[9]  # in the second request

    def answer(body):
        time.sleep(0.02)
        return error(413, "too much") if rare in body["input"] and len(body["input"]) > 2 else reply(body)

    server = serve(answer)
    assert encoder_at(place, server.url, concurrency=3).encode(TEXTS, "query").shape == (30, DIMENSIONS)
    answered = Counter(text for body in server.bodies if rare not in body["input"] for text in body["input"])
    assert set(answered.values()) == {1} and kept_count(place) == 30
    assert [len(body["input"]) for body in server.bodies if rare in body["input"]] == [8, 4, 2]


def test_dimensions_that_the_model_does_not_take_are_said_to_be_that(serve, place):
    server = serve(lambda body: error(400, "This model does not support specifying dimensions.", param="dimensions"))
    with pytest.raises(BenchError, match=r"does not take dimensions: 8 .* 'base' and 'truncate_dim'"):
        encoder_at(place, server.url, dimensions=8).encode(TEXTS, "query")
    assert len(server.bodies) == 1


def test_another_model_behind_the_name_is_noticed_by_its_dimensions(serve, place):
    server = serve(reply)
    encoder = encoder_at(place, server.url)
    encoder.encode(TEXTS, "document")
    server.reply = lambda body: reply({**body, "dimensions": 12})
    with pytest.raises(BenchError, match=r"gives 12 dimensions now, and gave 24 before.*vectors\.sqlite away"):
        encoder.encode(["new"], "query")
    assert kept_count(place) == 30


def test_a_broken_file_is_said_to_be_that(serve, place):
    server = serve(reply)
    encoder = encoder_at(place, server.url)
    encoder.encode(TEXTS[:2], "query")
    for path in kept_file(place).parent.glob("vectors.sqlite*"):
        path.unlink()
    kept_file(place).write_bytes(b"this is no database at all" * 50)
    with pytest.raises(BenchError, match=r"vectors\.sqlite: the vectors of APIs cannot be kept: .*move it away"):
        encoder.encode(TEXTS[:2], "query")


# --- money and kills ------------------------------------------------------------------------------------------------


def test_tokens_and_money_are_counted_over_runs_and_told(serve, place):
    server, notes = serve(reply), Notes()
    encoder = encoder_at(place, server.url, usd_per_million_input=20.0)
    encoder.encode(TEXTS[:10], "query", notes)
    encoder.encode(TEXTS, "query", notes)
    encoder.encode(TEXTS, "query", notes)
    host = server.url.split("/")[2]
    assert notes.lines == [
        f"far: 10 texts sent to {host}: 40 tokens, $0.0008",
        f"far: 20 texts sent to {host}: 80 tokens, $0.0016; 10 were kept already",
    ]
    with open_kept(kept_file(place)) as kept:
        name = model_of(place.model_spec("far").api)
        assert kept.spent(name) == Spent(5, 120, 0, 0)
        assert kept.paid(name) == Paid(pytest.approx(0.0024), 120, 0)
    server.reply = lambda body: (200, {}, {**reply(body)[2], "usage": None})
    encoder_at(place, server.url, "unknown").encode(["another"], "query", notes)
    assert notes.lines[-1].endswith("about 2 tokens, money unknown")


def test_a_budget_stops_cleanly_and_a_higher_one_goes_on(serve, place):
    server = serve(reply)
    with pytest.raises(BenchError) as caught:
        encoder_at(place, server.url, batch_size=2, budget={"calls": 5}).encode(TEXTS, "query")
    assert "the budget is reached (5 of 5 calls spent); 10 of 30 vectors have come and are kept; raise 'budget'" in str(
        caught.value
    )
    assert len(server.bodies) == 5
    with pytest.raises(BenchError, match="the budget is reached"):  # spent is spent, over all runs
        encoder_at(place, server.url, batch_size=2, budget={"calls": 5}).encode(TEXTS, "query")
    assert len(server.bodies) == 5
    dear = {"usd_per_million_input": 1e6, "budget": {"usd": 60.0}}  # 40 spent at 0, 4 a text
    with pytest.raises(BenchError, match=r"of \$60\.00 spent"):
        encoder_at(place, server.url, batch_size=1, concurrency=1, **dear).encode(TEXTS, "query")
    assert encoder_at(place, server.url).encode(TEXTS, "query").shape == (30, DIMENSIONS)
    assert sent(server) == dict.fromkeys(TEXTS, 1)


def test_what_was_under_way_when_a_run_is_stopped_counts_as_spent(serve, place):
    class Impatient(Notes):
        @contextmanager
        def progress(self, *, total, label):
            def update(done, word):
                if done >= 8:
                    raise KeyboardInterrupt

            yield update

    server = serve(reply, delay=0.1)
    encoder = encoder_at(place, server.url, batch_size=4, concurrency=3)
    with pytest.raises(KeyboardInterrupt):
        encoder.encode(TEXTS, "query", Impatient(), "encoding")
    had = kept_count(place)
    assert 8 <= had < 30
    with open_kept(kept_file(place)) as kept:
        spent = kept.spent(model_of(place.model_spec("far").api))
    assert 1 <= spent.calls - had / 4 <= 3
    assert spent.calls >= len(server.bodies)


def killed_in_the_middle(project, server, answers, name="far"):
    """Encode all texts in another process, which is killed after so many answers."""
    code = f"""
    from pathlib import Path
    from benchmark.encoders.adapter import open_encoder
    from benchmark.project import Project
    open_encoder(Project(Path({str(project.root)!r})), {name!r}).encode({TEXTS!r}, "document")
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(server.bodies) < answers and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    running = process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return running


def test_a_killed_run_goes_on_without_asking_for_what_it_had(serve, place):
    server = serve(reply, delay=0.15)
    write(place, "far", server.url, batch_size=1, concurrency=2)
    assert killed_in_the_middle(place, server, 12)
    time.sleep(0.3)  # the server ends what was under way
    before, had = sent(server), kept_count(place)
    assert 8 <= had < 30
    server.delay = 0.0
    vectors = open_encoder(place, "far").encode(TEXTS, "document")
    np.testing.assert_allclose(vectors, unit(np.stack([bag(text) for text in TEXTS])), atol=1e-6)
    twice = [text for text, count in sent(server).items() if count > 1]
    assert len(twice) == sum(before.values()) - had <= 2  # no more than was under way
    assert set(sent(server)) == set(TEXTS)


# --- on top of it ---------------------------------------------------------------------------------------------------

CHUNKS = [Chunk(f"d#{i}", "d", "Title", (), -1, -1, text) for i, text in enumerate(TEXTS)]


def spec(project, name, text):
    (project.specs_folder / f"{name}.yaml").write_text(text)


def test_an_adapter_and_shorter_vectors_need_nothing_but_the_bases_vectors(serve, project):
    server = serve(reply)
    write(project, "far", server.url)
    spec(project, "short", "base: far\ntruncate_dim: 10\n")
    folder = project.root / "weights" / "maps"
    folder.mkdir()
    maps = LinearMaps(np.random.default_rng(0).normal(size=(10, 10)).astype(np.float32), None)
    maps.save(folder / ADAPTER_FILE)
    spec(project, "adapted", "base: short\nadapter: weights/maps\n")
    domain = project.domain("village")
    base = document_vectors(domain, open_encoder(project, "far"), CHUNKS)
    assert sum(sent(server).values()) == 30
    short, adapted = open_encoder(project, "short"), open_encoder(project, "adapted")
    assert isinstance(short, CutEncoder) and isinstance(adapted, AdaptedEncoder)
    np.testing.assert_allclose(document_vectors(domain, short, CHUNKS), unit(base[:, :10]), atol=1e-6)
    np.testing.assert_allclose(document_vectors(domain, adapted, CHUNKS), unit(base[:, :10]), atol=1e-6)
    asked = query_vectors(domain, adapted, ["queen hive"])
    np.testing.assert_allclose(asked, unit(unit(bag("queen hive")[None, :10]) @ maps.query.T), atol=1e-5)
    np.testing.assert_array_equal(adapted.encode(["queen hive"], "query"), asked)
    assert sum(sent(server).values()) == 31
    assert len({model_fingerprint(project, name) for name in ("far", "short", "adapted")}) == 3
    spec(project, "long", "base: far\ntruncate_dim: 25\n")
    with pytest.raises(BenchError, match=r"long\.yaml: truncate_dim: 25: the vectors of far have 24 dimensions"):
        open_encoder(project, "long").encode(["x"], "query")


def test_it_ranks_alone_in_a_hybrid_and_before_a_reranker(serve, project, cross_encoder):
    server = serve(reply)
    write(project, "far", server.url)
    spec(project, "fused", "hybrid: [far, bm25]\n")
    spec(project, "reranked", "retriever: far\nreranker: ce\ndepth: 3\n")
    domain = project.domain("village")
    runs = {name: open_retriever(project, domain, name, CHUNKS).run({"q": TEXTS[4]}, 5)["q"] for name in
            ("far", "fused", "reranked")}  # fmt: skip
    assert runs["far"][0].chunk == runs["fused"][0].chunk == "d#4"
    assert {hit.chunk for hit in runs["reranked"][:3]} == {hit.chunk for hit in runs["far"][:3]}
    assert max(sent(server).values()) == 1


BENCHMARK = """\
domains: [village]
generate:
  retriever: far
  questions_per_chunk: 0
  pseudo: {per_chunk: 6}
finetune:
  - {name: linear, kind: adapter, base: far, epochs: 5, learning_rate: 1.0e-3, batch_size: 16}
baseline: far
models: [bm25, linear]
bootstrap: 1000
permutations: 1000
"""


def test_from_documents_to_a_leaderboard_without_weights(serve, project, capsys):
    """Training data, an adapter and its evaluation; whatever is made anew, no text is sent for a second time."""
    server = serve(reply)
    write(project, "far", server.url, prompts={"query": "q: ", "document": "d: "})
    (project.root / "benchmark.yaml").write_text(BENCHMARK)
    assert run_app(["--project", str(project.root), "run"]) == 0
    folder = project.root / "results" / "village" / "models" / "linear"
    names = {path.name for path in folder.iterdir()}
    assert {ADAPTER_FILE, "README.md", "manifest.json"} <= names and "modules.json" not in names
    assert all(word in (folder / "README.md").read_text() for word in (ADAPTER_FILE, "`far`", "embedder"))
    emitted = project.model_spec("linear")
    assert (emitted.base, emitted.dimensions) == ("far", DIMENSIONS)
    board = json.loads((project.root / "results" / "village" / "leaderboard.json").read_text())
    assert all(name in json.dumps(board) for name in ("far", "linear", "bm25"))
    assert max(sent(server).values()) == 1
    texts = len(sent(server))
    for name in ("village/runs", ".vectors", "village/models"):
        shutil.rmtree(project.root / "results" / name)
    assert run_app(["--project", str(project.root), "run"]) == 0
    assert sum(sent(server).values()) == texts
    assert isinstance(open_encoder(project, "linear"), AdaptedEncoder)
    capsys.readouterr()


# --- specs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "more", "said"),
    [
        ({"base_url": "https://me:word@host/v1"}, {}, "'base_url' must hold no user"),
        ({"base_url": "https://host/v1?key=abc"}, {}, "'base_url' must hold no user"),
        ({"api_key": KEY}, {}, "unknown key 'api.api_key'; did you mean 'api_key_env'?"),
        ({"budget": {"usd": 1.0}}, {}, "'budget.usd' needs 'usd_per_million_input'"),
        ({"batch_size": 0}, {}, "'api.batch_size'"),
        ({}, {"kind": "cross-encoder"}, "'api' gives vectors, so it goes with a bi-encoder"),
        ({}, {"max_length": 512}, "'max_length' cannot be asked of an 'api'"),
        ({"dimensions": 8}, {"dimensions": 9}, "'dimensions' is 9, 'api.dimensions' 8"),
        ({}, {"path": "weights"}, "two sources: path, api"),
    ],
)
def test_a_spec_that_cannot_be_right_is_one_line(settings, more, said):
    with pytest.raises(BenchError) as caught:
        parse_spec(ModelSpec, {"api": {"base_url": "https://h/v1", "model": "m", **settings}, **more}, "far.yaml")
    assert said in str(caught.value) and len(caught.value.problems) == 1 and KEY not in str(caught.value)


def test_check_tells_of_keys_that_are_not_set(project, monkeypatch, capsys):
    write(project, "far", "http://h/v1", api_key_env="TEST_KEY")
    monkeypatch.delenv("TEST_KEY", raising=False)
    line = "note: model_specs/far.yaml: the environment variable TEST_KEY is not set; without it only kept vectors are"
    assert run_app(["--project", str(project.root), "check"]) == 0
    assert line in capsys.readouterr().out
    monkeypatch.setenv("TEST_KEY", KEY)
    assert run_app(["--project", str(project.root), "check"]) == 0
    told = "".join(capsys.readouterr())
    assert line not in told and KEY not in told


def test_only_an_api_is_opened_as_one(project):
    with pytest.raises(BenchError, match=r"tiny\.yaml: is reached by no API \(source: path\)"):
        ApiEncoder.open(project, "tiny")
