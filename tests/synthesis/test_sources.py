"""Passages from elsewhere: data sets of every kind that is read, questions that come with them, passages written."""

import json
import os
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmark.console import SILENT, Notes
from benchmark.domain.ingest import ingest
from benchmark.errors import BenchError
from benchmark.files import hash_text, iter_jsonl
from benchmark.project import Domain, Project
from benchmark.records import read_chunks
from benchmark.specs import Endpoint, GenerateSpec, LLMSpec
from benchmark.specs.generate import DatasetSource, PromptSource, Source
from benchmark.synthesis.sources import make_source, read_imported

TEXTS = [
    "A mooring is let for one season, and paid before April.",
    "",
    "No boat goes faster than three knots.",
    None,
    "  \n ",
    "The starter is fed every twelve hours.",
]


def spec_of(llm=None, prompts=None, **source):
    return GenerateSpec(
        source=Source(**source), retriever="tiny", questions_per_chunk=0, llm=llm, prompts=prompts,
    )  # fmt: skip


def table(**columns):
    from datasets import Dataset

    return Dataset.from_dict(columns)


def made(project, told=SILENT, **options):
    return make_source(project, project.domain("village"), spec_of(dataset=DatasetSource(**options)), 0, told)


def documents(outcome):
    folder = outcome.folder / "documents"
    return {p.relative_to(folder).as_posix(): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def ingested(project, outcome):
    """What the ingest stage makes of a source's documents."""
    domain = project.domain("village")
    other = Domain(
        domain.name, domain.spec.model_copy(update={"documents": "documents"}), outcome.folder, project.results / "x"
    )
    return read_chunks(ingest(project, other, SILENT).folder / "chunks.jsonl")


# --- texts ----------------------------------------------------------------------------------------------------------


def write_parquet(folder):
    table(text=TEXTS).to_parquet(folder / "data.parquet")


def write_csv(folder):
    table(text=[text or "" for text in TEXTS]).to_csv(folder / "data.csv")


def write_json(folder):
    (folder / "data.json").write_text(json.dumps([{"text": text} for text in TEXTS]))


def write_jsonl(folder):
    (folder / "data.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))


def write_saved(folder):
    table(text=TEXTS).save_to_disk(folder / "data.saved")


def write_saved_dict(folder):
    from datasets import DatasetDict

    DatasetDict({"train": table(text=TEXTS), "test": table(text=["x"])}).save_to_disk(folder / "data.dict")


def write_repository(folder):
    (folder / "data.repo").mkdir()
    table(text=TEXTS).to_parquet(folder / "data.repo" / "rows.parquet")
    table(text=["other"]).to_parquet(folder / "data.repo" / "more.parquet")
    (folder / "data.repo" / "README.md").write_text(
        textwrap.dedent("""\
        ---
        configs:
        - config_name: first
          data_files: [{split: train, path: rows.parquet}]
        - config_name: second
          data_files: [{split: train, path: more.parquet}]
        ---
        """)
    )


@pytest.mark.parametrize(
    ("write", "options"),
    [
        (write_parquet, {"path": "data.parquet"}),
        (write_csv, {"path": "data.csv"}),
        (write_json, {"path": "data.json"}),
        (write_jsonl, {"path": "data.jsonl"}),
        (write_saved, {"path": "data.saved"}),
        (write_saved_dict, {"path": "data.dict", "split": "train"}),
        (write_repository, {"path": "data.repo", "config": "first"}),
    ],
)
def test_a_column_of_texts_becomes_documents(project, write, options):
    write(project.root)
    outcome = made(project, **options)
    assert outcome.facts == {
        "data": options["path"], "holds": "documents", "rows": 6, "documents": 3, "empty": 3,
    }  # fmt: skip
    assert list(documents(outcome)) == ["00000000.md", "00000002.md", "00000005.md"]
    chunks = ingested(project, outcome)
    assert [chunk.text for chunk in chunks] == [text for text in TEXTS if text and text.strip()]


def test_titles_and_markdown_reach_the_chunks_and_other_text_survives_as_it_is(project):
    script = "# fetch the rows\nfetch rows\n# sort them\nsort rows by name and keep the first of them only"
    rows = [
        ("C# <b> & *stars* [x] 1.", "Plain words about a language that has a strange name, and nothing else."),
        ("", "# Own heading\n\nText below the heading of the page.\n\n## Part\n\nMore text in a part of the page."),
        ("Title", "Begins with words.\n\n## Section one\n\nThe words of section one are these."),
        ("Scripts: a/b", script),
        ("", "Underlined words\n-----\nand a plain text that goes on below them for a while."),
        ("", "---\nkey: value\n---\nA text behind front matter, which is no Markdown otherwise."),
        ("Same", "# Same\n\nThe heading already says it, so that nothing is added here."),
        ("Bells\x00", "bell \x00 text\r\nwith Windows line ends in it"),
        ("", "1. A first step that is done before the others are begun at all"),
        ("Only", "# Only a heading"),
    ]
    table(name=[row[0] for row in rows], body=[row[1] for row in rows]).to_parquet(project.root / "d.parquet")
    outcome = made(project, path="d.parquet", text="body", title="name")
    assert outcome.facts["empty"] == 1 and outcome.facts["documents"] == 9
    chunks = {}
    for chunk in ingested(project, outcome):
        chunks.setdefault(int(chunk.document[:8]), []).append(chunk)
    assert [chunk[0].title for chunk in chunks.values()] == [
        "C# <b> & *stars* [x] 1.", "Own heading", "Title", "Scripts a b", "Underlined words",
        "A text behind front matter, which is no", "Same", "Bells", "1. A first step that is done before",
    ]  # fmt: skip
    assert chunks[3][0].text == script and chunks[4][0].text == rows[4][1] and chunks[5][0].text == rows[5][1]
    assert chunks[0][0].text == rows[0][1] and chunks[8][0].text == rows[8][1]
    assert "\n\n".join(documents(outcome)["00000006.md"].split("\n\n")) == rows[6][1]
    text = " ".join(chunk.full_text for place in (1, 2) for chunk in chunks[place])
    for words in ("Text below the heading", "More text in a part", "Begins with words", "words of section one"):
        assert words in text
    assert chunks[7][0].text == "bell  text\nwith Windows line ends in it"


def test_the_stage_is_skipped_until_the_data_change(project):
    path = project.root / "d.jsonl"
    path.write_text('{"text": "one text"}\n{"text": "two texts"}\n')
    first = made(project, path="d.jsonl")
    assert not first.skipped and made(project, path="d.jsonl").skipped
    assert not made(project, path="d.jsonl", max_rows=1).skipped
    assert len(documents(made(project, path="d.jsonl", max_rows=1))) == 1
    stamp = path.stat()
    path.write_text('{"text": "one text"}\n{"text": "new texts"}\n')
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    again = made(project, path="d.jsonl")
    assert not again.skipped and "new texts" in documents(again)["00000001.md"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"path": "none.parquet"}, "none.parquet: no such file or folder"),
        ({"path": "d.parquet", "text": "bodi"}, "no column 'bodi'; did you mean 'body'"),
        ({"path": "d.parquet", "text": "body", "title": "head"}, "no column 'head'; known: body, number"),
        ({"path": "d.parquet", "text": "number"}, "the column 'number' (int64) holds no text in any of its 2 rows"),
        ({"path": "d.parquet", "text": "body", "split": "tset"}, "no split 'tset'; known: train"),
        ({"path": "d.parquet", "text": "body", "split": "train[x]"}, "split 'train[x]' is none"),
        ({"path": "d.parquet", "text": "body", "config": "x"}, "remove 'config'"),
        ({"path": "saved", "text": "body", "split": "trian"}, "no split 'trian'; did you mean 'train'"),
        ({"path": "repo", "text": "body", "config": "frist"}, "no configuration 'frist'; known: default"),
        ({"path": "scripted", "text": "body"}, "holds a loading script, which is never run"),
        ({"path": "empty", "text": "body"}, "no data file of a supported kind"),
        ({"path": "broken.jsonl", "text": "body"}, "broken.jsonl: cannot be read: JSON parse error"),
        ({"path": "broken.parquet", "text": "body"}, "broken.parquet: cannot be read: Parquet magic bytes"),
        ({"path": "d.xlsx"}, "not of a kind that is read (.parquet, .csv, .json, .jsonl)"),
        ({"path": "d.parquet", "columns": "rag"}, "no column 'context'"),
    ],
)
def test_mistakes_are_told_in_one_line(project, options, told):
    root = project.root
    rows = table(body=["a text", "b text"], number=[1, 2])
    rows.to_parquet(root / "d.parquet")
    rows.save_to_disk(root / "saved")
    for name in ("repo", "scripted", "empty"):
        (root / name).mkdir()
    rows.to_parquet(root / "repo" / "train.parquet")
    (root / "scripted" / "scripted.py").write_text(f"open({str(root / 'ran')!r}, 'w')\n")
    (root / "broken.jsonl").write_text('{"body": "a"\n{"b')
    (root / "broken.parquet").write_bytes(b"PAR1 nothing")
    (root / "d.xlsx").write_bytes(b"x")
    with pytest.raises(BenchError) as caught:
        made(project, **options)
    assert any(told in line for line in caught.value.problems), caught.value.problems
    assert all("\n" not in line and line.startswith("source.dataset: ") for line in caught.value.problems)
    assert not (root / "ran").exists() and not (project.domain("village").results / "source").exists()


SHA = "a" * 40
HUB_FILES = {
    "data/train-0.jsonl": b'{"text": "one text"}\n{"text": "two texts"}\n',
    "data/test-0.jsonl": b'{"text": "three"}\n',
}


class Hub(BaseHTTPRequestHandler):
    """As much of the Hugging Face Hub as it takes to serve one data set, `org/set`, in one revision."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *words):
        pass

    def send(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "X-Repo-Commit": SHA, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def do_GET(self):
        path = self.path.split("?")[0]
        rows = [{"type": "file", "path": name, "size": len(body), "oid": SHA} for name, body in HUB_FILES.items()]
        served = {f"/datasets/org/set/resolve/{SHA}/{name}": body for name, body in HUB_FILES.items()}
        if path == f"/api/datasets/org/set/revision/{SHA}":
            siblings = [{"rfilename": name} for name in HUB_FILES]
            self.send(200, json.dumps({"id": "org/set", "sha": SHA, "siblings": siblings}).encode())
        elif path == f"/api/datasets/org/set/tree/{SHA}/data":
            self.send(200, json.dumps(rows).encode())
        elif path == f"/api/datasets/org/set/tree/{SHA}":
            self.send(200, json.dumps([{"type": "directory", "path": "data", "oid": SHA}]).encode())
        elif path in served:
            self.send(200, served[path], ETag=f'"{hash_text(path)}"')
        elif path.startswith("/datasets/org/set/"):
            self.send(404, X_Error_Code="EntryNotFound")
        else:
            self.send(404, X_Error_Code="RepoNotFound")

    do_HEAD = do_GET  # noqa: N815


READ_HUB = """\
import json, sys
from pathlib import Path
from benchmark.errors import BenchError
from benchmark.project import Project
from benchmark.specs.generate import DatasetSource
from benchmark.synthesis.tables import open_table
for options in json.loads(sys.argv[1]):
    try:
        with open_table(Project(Path()), DatasetSource(**{"revision": "a" * 40, **options})) as table:
            print(json.dumps([row["text"] for row in table]))
    except BenchError as error:
        print(*error.problems, sep="\\n")
"""


def read_hub(folder, options, **surroundings):
    """In a process of its own, since the address of the Hub is read once."""
    return subprocess.run(
        [sys.executable, "-c", READ_HUB, json.dumps(options)], capture_output=True, text=True, check=True,
        env={**os.environ, "HF_HOME": str(folder), **surroundings},
    ).stdout.splitlines()  # fmt: skip


def test_hub_data_sets_are_read_in_their_revision_and_later_without_the_hub(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        lines = read_hub(
            tmp_path,
            [
                {"hub": "org/set"}, {"hub": "org/set", "max_rows": 1}, {"hub": "org/set", "split": "test"},
                {"hub": "org/set", "split": "tset"}, {"hub": "org/set", "config": "none"}, {"hub": "org/none"},
            ],
            HF_ENDPOINT=address, HF_HUB_OFFLINE="0",
        )  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()
    where = "source.dataset: org/set@aaaaaaaaaaaa: "
    assert lines[:3] == ['["one text", "two texts"]', '["one text"]', '["three"]']
    assert lines[3] == where + "no split 'tset'; did you mean 'test'?"
    assert lines[4] == where + "no configuration 'none'; known: default"
    assert len(lines) == 6 and "the Hub has no such data set or revision" in lines[5]
    asked = [{"hub": "org/set"}, {"hub": "org/none"}, {"hub": "org/set", "revision": "b" * 40}]
    lines = read_hub(tmp_path, asked, HF_ENDPOINT=address, HF_HUB_OFFLINE="1")
    assert lines[0] == '["one text", "two texts"]'
    assert len(lines) == 3 and "is not in the local cache and the Hub cannot be reached" in lines[1]
    assert lines[2] == (
        f"source.dataset: org/set@bbbbbbbbbbbb: is not in the local cache (another revision is), and {address} cannot be "
        "reached"
    )


# --- questions ------------------------------------------------------------------------------------------------------

RAG = {
    "context": ["Moorings are let for a season."] * 3 + ["Three knots is the limit.", "Bees swarm.", "Bread bakes."],
    "question": ["How long?", "How long?", "For what time?", "How fast?", None, "How?"],
    "response": ["A season.", "One season.", "A season.", "Three knots.", "Yes.", " "],
    "positive_retrieval": ["How long?", "How long?", "For what time?", "How fast?", "Do bees swarm?", "How?"],
    "negative_retrieval": ["Who pays?", "Who pays?", "Who pays?", "Why so slow?", "When?", ""],
}


def test_questions_that_come_with_a_data_set_are_imported(project):
    table(**RAG, extra=[1] * 6).to_parquet(project.root / "rag.parquet")
    outcome = made(project, path="rag.parquet", columns="rag")
    assert outcome.facts == {
        "data": "rag.parquet", "holds": "chunks", "rows": 6, "passages": 2, "questions": 3, "dropped_rows": 2,
        "empty_by_column": {"context": 0, "question": 1, "response": 1, "positive_retrieval": 0,
                            "negative_retrieval": 1},
        "duplicates": 1, "columns": list(RAG),
    }  # fmt: skip
    chunks = read_chunks(outcome.folder / "chunks.jsonl")
    assert [chunk.text for chunk in chunks] == ["Moorings are let for a season.", "Three knots is the limit."]
    assert all(chunk.id == chunk.document and chunk.start == chunk.end == -1 for chunk in chunks)
    assert next(iter_jsonl(outcome.folder / "imported.jsonl")) == {
        "chunk": chunks[0].id, "question": "How long?", "response": "A season.", "negative_retrieval": "Who pays?",
        "positive_reranking": "", "negative_reranking": "",
    }  # fmt: skip
    drafts = read_imported(outcome.folder, chunks)
    assert [(draft.text, draft.chunk, draft.answer) for draft in drafts] == [
        ("How long?", 0, "A season."), ("For what time?", 0, "A season."), ("How fast?", 1, "Three knots."),
    ]  # fmt: skip
    assert {(draft.origin, draft.type) for draft in drafts} == {("imported", "")}
    assert drafts[2].positive == chunks[1].full_text
    assert [draft.text for draft in read_imported(outcome.folder, chunks[1:])] == ["How fast?"]
    assert read_imported(project.root, chunks) == []


def test_a_data_set_without_a_whole_row_is_refused_with_the_empty_columns(project):
    table(context=["a", "b"], question=["c?", None], positive_reranking=[None, None]).to_json(project.root / "r.jsonl")
    with pytest.raises(
        BenchError, match=r"no row has text in every column \(empty: question: 1, positive_reranking: 2"
    ):
        made(project, path="r.jsonl", columns="rag")


# --- a description --------------------------------------------------------------------------------------------------


def writer(body):
    """Lists of topics, each with a near-equal one and one that all lists share; a passage for each topic."""
    asked = body["messages"][-1]["content"]
    if "Topic: " not in asked:
        number = asked.split("list number ")[1].split(".")[0]
        topics = [f"Rules for berth {number}x{place}" for place in range(18)]
        return json.dumps({"topics": [*topics, f"berths {number}x0: the rule", "Speed limits in the basin"]})
    topic = asked.split("Topic: ")[1].split("\n")[0]
    if topic.endswith("1x7"):
        return json.dumps({"title": "No words", "text": " \n"})
    return "```json\n" + json.dumps({"title": f"On {topic}", "text": f"{topic}: a season {{x}} %s."}) + "\n```"


@pytest.fixture
def written(serve, project):
    server = serve(writer)
    endpoint = Endpoint(base_url=server.url, model="m", api_key_env=None)

    def make(passages, seed=0, told=SILENT, **options):
        source = PromptSource(description="Rules of a small harbour for boats", passages=passages, words=60)
        spec = spec_of(LLMSpec(endpoint=endpoint.model_copy(update=options.pop("endpoint", {}))), prompt=source)
        return make_source(project, project.domain("village"), spec, seed, told, **options)

    make.server = server
    return make


def test_passages_are_written_from_a_description(written):
    outcome = written(30)
    facts = outcome.facts
    assert facts["holds"] == "chunks" and facts["wanted"] == facts["topics"] == 30 and facts["rounds"] == 1
    assert facts["passages"] == 29 and facts["failed"] == 1 and facts["duplicates"] == 0
    assert facts["llm"]["topics"]["asked"] == 2 and facts["llm"]["passages"]["asked"] == 30
    assert facts["llm"]["passages"]["output_tokens"] == 150
    chunks = read_chunks(outcome.folder / "chunks.jsonl")
    assert len({chunk.id for chunk in chunks}) == len({chunk.document for chunk in chunks}) == 29
    assert chunks[0].title == "On Rules for berth 1x0" and chunks[0].text == "Rules for berth 1x0: a season {x} %s."
    assert chunks[0].id.startswith("on-rules-for-berth-1x0-") and not any(" " in chunk.id for chunk in chunks)
    topics = [text.split("Topic: ")[1].split("\n")[0] for text in written.server.asked if "Topic: " in text]
    assert topics.count("Speed limits in the basin") == 1 and not any("the rule" in topic for topic in topics)
    assert all("about 60 words" in text for text in written.server.asked if "Topic: " in text)


def test_too_few_topics_are_asked_for_again_with_those_that_are_taken(written):
    told = Notes()
    outcome = written(58, told=told)  # three lists bring 55 topics, a fourth the rest
    assert outcome.facts["rounds"] == 2 and outcome.facts["topics"] == 58
    later = [text for text in written.server.asked if "taken already" in text]
    assert len(later) == 1 and later[0].count("\n- ") == 55 and "list number 4" in later[0]
    assert {"topics", "topics, round 2", "passages"} == set(outcome.facts["llm"])


def test_a_model_that_runs_out_of_topics_is_asked_three_times_and_told(serve, project):
    same = json.dumps({"topics": ["Mooring rules"] * 10 + ["rules of the moorings"] * 10})
    server = serve(lambda body: same if "Topic: " not in body["messages"][-1]["content"] else writer(body))
    llm = LLMSpec(endpoint=Endpoint(base_url=server.url, model="m"))
    told = Notes()
    spec = spec_of(llm, prompt=PromptSource(description="Rules of a small harbour for boats", passages=5))
    outcome = make_source(project, project.domain("village"), spec, 0, told)
    assert outcome.facts["rounds"] == 3 and outcome.facts["topics"] == outcome.facts["passages"] == 1
    assert any("only 1 different topics in 3 rounds for 5 passages" in line for line in told.lines)


def test_written_passages_are_kept_paid_for_once_and_made_anew_on_demand(written, project):
    first = (written(20).folder / "chunks.jsonl").read_bytes()
    asked = len(written.server.bodies)
    assert written(20).skipped
    assert written(20, endpoint={"concurrency": 2, "timeout": 9.0}).skipped
    more = written(25)  # the first list's requests stay as they were
    assert not more.skipped and len(written.server.bodies) - asked <= 1 + 5 + 1
    again = written(20)
    assert not again.skipped and (again.folder / "chunks.jsonl").read_bytes() == first
    before = len(written.server.bodies)
    assert not written(20, fresh=True).skipped and len(written.server.bodies) == before + asked


def test_an_edited_prompt_is_used_and_makes_the_stage_run_again(written, project, serve):
    (project.root / "words").mkdir()
    (project.root / "words" / "topics.txt").write_text("Name topics. {not} %s a template.")
    source = PromptSource(description="Rules of a small harbour for boats", passages=20)
    llm = LLMSpec(endpoint=Endpoint(base_url=written.server.url, model="m"))
    domain = project.domain("village")
    make_source(project, domain, spec_of(llm, prompt=source), 0, SILENT)
    written.server.forget()
    outcome = make_source(project, domain, spec_of(llm, "words", prompt=source), 0, SILENT)
    assert not outcome.skipped
    systems = {body["messages"][0]["content"] for body in written.server.bodies}
    assert systems == {"Name topics. {not} %s a template."}  # the passages come from the journal


def test_a_specification_without_a_source_is_a_mistake_of_the_caller(project: Project):
    with pytest.raises(ValueError, match="no source"):
        make_source(
            project, project.domain("village"), GenerateSpec(retriever="tiny", questions_per_chunk=0), 0, SILENT
        )
