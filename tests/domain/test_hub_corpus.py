"""Retrieval data sets on the Hub: read in their revision from a real server, later without it, mistakes told at once."""

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark.files import hash_text

FIRST, SECOND = "a" * 40, "b" * 40
TEXTS = {
    "d1": "A mooring is let for one season, and paid before April.",
    "d2": "No boat goes faster than three knots inside the breakwater.",
    "d3": "The starter is fed with rye flour every twelve hours.",
    "d4": "  ",
}


def parquet(**columns) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


def card(*configurations: str, split: str = "train") -> bytes:
    rows = [
        f"- config_name: {name}\n  data_files:\n  - split: {split}\n    path: {name}/{split}-*"
        for name in configurations
    ]
    return ("---\nconfigs:\n" + "\n".join(rows) + "\n---\n# A set\n").encode()


def nano(**changes: bytes) -> dict[str, bytes]:
    """As NanoBEIR: no titles, no scores, two files of one configuration, a passage without text."""
    ids, texts = list(TEXTS), list(TEXTS.values())
    return {
        "README.md": card("corpus", "queries", "qrels"),
        "corpus/train-00000-of-00002.parquet": parquet(_id=ids[:2], text=texts[:2]),
        "corpus/train-00001-of-00002.parquet": parquet(_id=ids[2:], text=texts[2:]),
        "queries/train-00000-of-00001.parquet": parquet(_id=["q1", "q2"], text=["When is it paid?", "How fast?"]),
        "qrels/train-00000-of-00001.parquet": parquet(
            **{"query-id": ["q1", "q2", "q2"], "corpus-id": ["d1", "d2", "d4"]}
        ),
        "extra/huge.bin": b"not asked for",
    } | {name.replace("__", "/") + "/train-00000-of-00001.parquet": body for name, body in changes.items()}


NUMBERS = {
    "README.md": card("corpus", "queries", "qrels", split="test"),
    "corpus/test-0.jsonl": b'{"id": 1, "title": "Knots", "text": "Three."}\n{"id": 2, "title": "", "text": "Rye."}\n',
    "queries/test-0.parquet": parquet(id=[7], text=["How fast?"], split=["train"]),
    "qrels/test-0.parquet": parquet(**{"query-id": [7, 7], "corpus-id": [1, 2], "score": [2.0, 0.0]}),
}
BROKEN = nano(
    queries=parquet(_id=["q1", "q 2", "q3"], text=["When?", "How fast?", ""]),
    qrels=parquet(**{"query-id": ["q1", "q9", None], "corpus-id": ["d1", "d1", "d2"], "score": [0.5, 1.0, 1.0]}),
)
SETS = {
    ("org/nano", FIRST): nano(),
    ("org/nano", SECOND): nano(qrels=parquet(**{"query-id": ["q1", "q2"], "corpus-id": ["d2", "d1"]})),
    ("org/numbers", FIRST): NUMBERS,
    ("org/broken", FIRST): BROKEN,
    ("org/partial", FIRST): {**nano(), "README.md": card("corpus", "question", "qrels")},
    ("org/bare", FIRST): {name: body for name, body in nano().items() if name != "README.md"},
    ("org/odd", FIRST): {**nano(), "corpus/train-2.bin": b"x"},
    ("org/torn", FIRST): nano(qrels=b"PAR1 nothing"),
}


class Hub(BaseHTTPRequestHandler):
    """As much of the Hugging Face Hub as huggingface_hub asks of it for a snapshot of a data set."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the head and the body of a reply are two packets
    asked: list[str] = []  # noqa: RUF012

    def log_message(self, *words):
        pass

    def send(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def do_GET(self):
        path = self.path.split("?")[0]
        self.asked.append(path)
        for (repository, revision), files in SETS.items():
            if path == f"/api/datasets/{repository}/tree/{revision}":
                rows = [
                    {"type": "file", "path": name, "size": len(body), "oid": hash_text(name)[:40]}
                    for name, body in files.items()
                ]
                return self.send(200, json.dumps(rows).encode())
            start = f"/datasets/{repository}/resolve/{revision}/"
            if path.startswith(start) and path.removeprefix(start) in files:
                body = files[path.removeprefix(start)]
                return self.send(200, body, X_Repo_Commit=revision, ETag=f'"{hash_text(path)}"')
        return self.send(404, X_Error_Code="RepoNotFound")

    do_HEAD = do_GET  # noqa: N815


@contextlib.contextmanager
def serving():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def hub():
    Hub.asked.clear()
    with serving() as address:
        yield address


READ = """\
import json, sys
from pathlib import Path
from benchmark.console import Notes
from benchmark.domain.ingest import ingest
from benchmark.domain.testset import build_testset
from benchmark.errors import BenchError
from benchmark.project import Project
from benchmark.records import read_chunks, read_testset
project = Project(Path(sys.argv[1]))
for name in sys.argv[2:]:
    notes = Notes()
    try:
        domain = project.domain(name)
        chunks = ingest(project, domain, notes)
        truth = build_testset(domain, chunks, notes)
        test = read_testset(truth.folder)
        found = {"chunks": [chunk.to_json() for chunk in read_chunks(chunks.folder / "chunks.jsonl")],
                 "queries": {query.id: query.text for query in test.queries}, "qrels": test.qrels,
                 "skipped": [chunks.skipped, truth.skipped], "notes": notes.lines}
        print(json.dumps(found))
    except BenchError as error:
        print(json.dumps(list(error.problems)))
"""


def write_domain(project, name, repository, revision=FIRST, split="train"):
    folder = project.root / "tasks" / name
    folder.mkdir()
    (folder / "domain.yaml").write_text(
        f"title: {name}\nhub: {{repository: {repository}, revision: {revision}, split: {split}}}\n"
        "reranking: {base: tiny, depth: 2}\n"
    )


def read(project, *names, cache, hub, offline="0"):
    """In a process of its own, since the address of the Hub is read once."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(project.root), *names], capture_output=True, text=True, check=True,
        env={**os.environ, "HF_HOME": str(cache), "HF_ENDPOINT": hub, "HF_HUB_OFFLINE": offline},
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_data_sets_are_read_in_their_revision(project, tmp_path, hub):
    write_domain(project, "nano", "org/nano")
    write_domain(project, "numbers", "org/numbers", split="test")
    nano_set, numbers = read(project, "nano", "numbers", cache=tmp_path / "hf", hub=hub)
    assert [(chunk["id"], chunk["text"]) for chunk in nano_set["chunks"]] == list(TEXTS.items())[:3]
    assert nano_set["queries"] == {"q1": "When is it paid?", "q2": "How fast?"}
    assert nano_set["qrels"] == {"q1": {"d1": 1}, "q2": {"d2": 1}}
    assert "org/nano@aaaaaaaaaaaa/corpus: 1 passages without text, left out" in nano_set["notes"]
    assert [(chunk["id"], chunk["title"]) for chunk in numbers["chunks"]] == [("1", "Knots"), ("2", "")]
    assert (numbers["queries"], numbers["qrels"]) == ({"7": "How fast?"}, {"7": {"1": 2}})
    assert not [path for path in Hub.asked if "huge.bin" in path]


def test_without_the_hub_the_kept_revision_serves_and_no_other(project, tmp_path, hub):
    write_domain(project, "old", "org/nano", FIRST)
    write_domain(project, "new", "org/nano", SECOND)
    write_domain(project, "never", "org/nano", "c" * 40)
    old, new = read(project, "old", "new", cache=tmp_path / "hf", hub=hub)
    assert new["qrels"] == {"q1": {"d2": 1}, "q2": {"d1": 1}}
    assert read(project, "old", cache=tmp_path / "none", hub="http://127.0.0.1:1")[0]["skipped"] == [True, True]
    # The later one was cached last; an address where nobody answers is tried for long where the cache does not serve.
    for names, unreachable in (
        (["old", "new"], {"hub": "http://127.0.0.1:1"}),
        (["old", "new", "never"], {"hub": hub, "offline": "1"}),
    ):
        for name in ("old", "new"):
            project.domain(name).chunks.joinpath("manifest.json").unlink()
            project.domain(name).testset.joinpath("manifest.json").unlink()
        again = read(project, *names, cache=tmp_path / "hf", **unreachable)
        assert [row["qrels"] for row in again[:2]] == [old["qrels"], new["qrels"]]
    (line,) = again[2]
    assert f"hub: org/nano@{'c' * 12}: is not in the local cache and {hub} cannot be reached" in line


def test_half_a_download_is_not_taken_for_the_whole(project, tmp_path, hub):
    write_domain(project, "nano", "org/nano")
    read(project, "nano", cache=tmp_path / "hf", hub=hub)
    (part,) = (tmp_path / "hf").rglob("snapshots/*/corpus/train-00001-of-00002.parquet")
    part.unlink()
    project.domain("nano").chunks.joinpath("manifest.json").unlink()
    ((line,),) = read(project, "nano", cache=tmp_path / "hf", hub=hub, offline="1")
    assert f"hub: org/nano@aaaaaaaaaaaa: is not in the local cache and {hub} cannot be reached" in line


WRONG = [
    ("org/none", "train", ["tasks/d0/domain.yaml: hub: org/none@aaaaaaaaaaaa: the Hub says: no such data set or revision, or it "
                           "is not open to you (set HF_TOKEN)"]),
    ("org/partial", "train", ["hub: org/partial@aaaaaaaaaaaa: no configuration 'queries'; known: corpus, qrels, question"]),
    ("org/nano", "tran", [f"no split 'tran' in '{name}'; did you mean 'train'?" for name in ("corpus", "queries", "qrels")]),
    ("org/bare", "train", [f"no configuration '{name}'; known: none" for name in ("corpus", "queries", "qrels")]),
    ("org/odd", "train", ["configuration 'corpus': corpus/train-2.bin: not of a kind that is read (.parquet, .jsonl)"]),
    ("org/torn", "train", ["org/torn@aaaaaaaaaaaa/qrels/train-00000-of-00001.parquet: cannot be read: ", "q1: no relevant",
                           "q2: no relevant"]),
    ("org/broken", "train", [
        "org/broken@aaaaaaaaaaaa/queries/train-00000-of-00001.parquet:2: the id 'q 2' holds white space",
        "queries/train-00000-of-00001.parquet:3: query q3: is empty",
        "qrels/train-00000-of-00001.parquet:1: the relevance '0.5' is not a whole number",
        "qrels/train-00000-of-00001.parquet:2: query q9 is not in queries",
        "qrels/train-00000-of-00001.parquet:3: no 'query-id'",
        "queries/train-00000-of-00001.parquet:1: query q1: no relevant passage",
        "queries/train-00000-of-00001.parquet:3: query q3: no relevant passage",
    ]),
]  # fmt: skip


@pytest.fixture(scope="module")
def read_wrong(tmp_path_factory, new_project):
    """What is said of each that is wrong, by one process, which loads the libraries once."""
    project = new_project(tmp_path_factory.mktemp("wrong") / "project")
    for place, (repository, split, _) in enumerate(WRONG):
        write_domain(project, f"d{place}", repository, split=split)
    with serving() as address:
        names = [f"d{place}" for place in range(len(WRONG))]
        return read(project, *names, cache=tmp_path_factory.mktemp("hf"), hub=address)


@pytest.mark.parametrize("place", range(len(WRONG)), ids=[repository for repository, *_ in WRONG])
def test_what_is_wrong_is_told_at_once(read_wrong, place):
    lines, told = read_wrong[place], WRONG[place][2]
    assert isinstance(lines, list) and len(lines) == len(told), lines
    for line, part in zip(lines, told, strict=True):
        assert part in line
