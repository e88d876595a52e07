"""A village whose answers were planted: two or three pipelines with names that stand nowhere else, and hostile texts."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmark.answer_records import Answered, Asked, write_answers
from benchmark.files import write_jsonl
from benchmark.project import Domain, Project
from benchmark.rating.app import Door, make_app
from benchmark.rating.pairs import Material, chosen_pairs, passages_of, read_material
from benchmark.rating.serve import listening, make_server
from benchmark.rating.session import Session
from benchmark.rating.store import Store
from benchmark.records import Chunk

ROOT = Path(__file__).resolve().parents[2]
PIPELINES = ("zq-plain", "zq-tuned", "zq-third")
SECRET = "</script><script>window.hacked = 1</script><img src=x onerror=alert(1)>"
BENCHMARK = """\
domains: [village]
baseline: zq-plain
models: [zq-plain, zq-tuned, zq-third]
bootstrap: 1000
seed: 3
"""
QUESTIONS = [
    ("q1", "By when must I settle what I owe for my place on the quay?", "Before the first of April."),
    ("q2", "How quickly may a dinghy travel behind the sea wall?", "Three knots."),
    ("q3", "Why does a bee family leave its home?", "The queen is old and the hive is crowded."),
    ("q4", "When may I use acid against parasites?", "After the last harvest."),
    ("q5", f"What does {SECRET} mean?", f"Nothing: {SECRET}"),
    ("q6", "Why is there vapour at the start of baking?", "So that the crust stays supple."),
    ("q7", "Who won the cup?", ""),
    ("q8", "When can I propose to split the point?", "After making a move, before pressing the clock."),
]
ANSWERS = {
    "zq-plain": [
        "The harbour rules ask the berth holder to pay the office before the first of April.",
        "Inside the breakwater no boat goes faster than three knots.",
        "A colony swarms when the queen is old.",
        "After the last harvest, when no honey for sale is in the hive. Before that it must not be used.",
        f"It means {SECRET}",
        "The same words.",
        "",
        "",
    ],
    "zq-tuned": [
        "Before the first of April. A berth that is left empty for six weeks may be let to a visitor.",
        "Three knots; rescue craft on a call are exempt. " + "The rule holds for every boat, by day and by night. " * 6,
        "When the queen is old and the hive is crowded, the colony swarms:\n\n- give it a second box in spring\n- look again",
        "In spring.",
        f"Nobody knows. {SECRET}\u202etxet",
        "The same words.",
        "The tournament's winner is not in these passages.",
        "After a move and before the clock is pressed.",
    ],
}


def chunks() -> list[Chunk]:
    rows = [
        ("harbour.md", "Harbour rules", "A mooring is let for one season. The berth holder pays the harbour office before the first of April."),
        ("harbour.md", "Harbour rules", "Inside the breakwater no boat goes faster than three knots. Rescue craft on a call are exempt."),
        ("bees.md", "Keeping bees", "A colony swarms when the queen is old and the hive is crowded. Give the colony a second box in spring."),
        ("bees.md", "Keeping bees", f"The mite is treated with formic acid after the last harvest. {SECRET}"),
        ("chess.md", "Club chess", "A draw may be offered only after making a move and before pressing the clock."),
    ]  # fmt: skip
    return [Chunk(f"{name}#{i}", name, title, (), 0, len(text), text) for i, (name, title, text) in enumerate(rows)]


def planted(pipelines=PIPELINES[:2]) -> tuple[list[Asked], list[Answered]]:
    """Eight questions: six to rate, one with identical answers, one with a failure; one answer declines without a word."""
    asked = [Asked(i, text, "core", reference, i != "q7") for i, text, reference in QUESTIONS]
    ids = [chunk.id for chunk in chunks()]
    rows = []
    for place, pipeline in enumerate(pipelines):
        texts = ANSWERS.get(pipeline, [f"Third words on {i}." for i, *_ in QUESTIONS])
        for number, (question, text) in enumerate(zip(QUESTIONS, texts, strict=True)):
            passages = tuple(ids[(number + place + i) % len(ids)] for i in range(3))
            failed = question[0] == "q8" and pipeline == "zq-plain"
            declined = question[0] == "q7"
            rows.append(
                Answered(
                    question[0], pipeline, passages, text, cited=passages[:1] if text else (), declined=declined,
                    failure="no answer in the form" if failed else "",
                )
            )  # fmt: skip
    return asked, rows


def write_village(root: Path, pipelines=PIPELINES[:2]) -> Project:
    """A project with the answers of these pipelines."""
    spec = importlib.util.spec_from_file_location("village_kit", ROOT / "tests" / "conftest.py")
    kit = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kit)
    kit.write_domain(root / "tasks" / "village")
    (root / "model_specs").mkdir()
    for name in PIPELINES:
        shutil.copy(ROOT / "model_specs" / "bm25.yaml", root / "model_specs" / f"{name}.yaml")
    (root / "benchmark.yaml").write_text(
        BENCHMARK.replace("[zq-plain, zq-tuned, zq-third]", f"[{', '.join(pipelines)}]")
    )
    project = Project(root)
    domain = project.domain("village")
    write_jsonl(domain.chunks / "chunks.jsonl", (chunk.to_json() for chunk in chunks()))
    domain.answers.mkdir(parents=True, exist_ok=True)
    write_answers(domain.answers, *planted(pipelines))
    return project


@pytest.fixture
def village(tmp_path) -> Domain:
    return write_village(tmp_path / "project").domain("village")


def material(domain: Domain, seed: int = 3, pipelines=PIPELINES[:2]) -> Material:
    return read_material(domain, chosen_pairs(pipelines), seed)


@dataclass
class Server:
    """A server of the rating page in a thread of this process."""

    domain: Domain
    session: Session
    store: Store
    door: Door
    stop: object
    said: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.door.address

    @property
    def root(self) -> str:
        return self.address.partition("/?")[0]

    def rows(self) -> list[dict]:
        path = self.store.path
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


@pytest.fixture
def rating():
    """Start servers of the rating page; they end with the test."""
    running = []

    def start(domain: Domain, rater: str = "ann", pipelines=PIPELINES[:2], always_reference: bool = False) -> Server:
        found = material(domain, pipelines=pipelines)
        listener = listening(0)
        store = Store(domain.ratings / f"{rater}.jsonl", domain.results / ".drafts" / f"{rater}.json")
        session = Session(found.items, store, rater, 3, always_reference)
        door = Door.at(listener.getsockname()[1])
        server = Server(domain, session, store, door, None)
        inner = make_server(make_app(session, door, "Village", passages_of(domain, found.items), server.said.append))
        thread = threading.Thread(target=inner.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        until = time.monotonic() + 20
        while not inner.started and time.monotonic() < until:
            time.sleep(0.01)

        def stop() -> None:
            if thread.is_alive():
                inner.should_exit = True
                thread.join(10)
                listener.close()
                store.close()

        server.stop = stop
        running.append(stop)
        return server

    yield start
    for stop in running:
        stop()


@pytest.fixture
def command():
    """Run `domainbench rate` in a process of its own until its address is shown; killed with the test."""
    running = []

    def start(root: Path, *words: str) -> tuple[subprocess.Popen, str]:
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "BROWSER": "false"}
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, "--project", str(root), *words],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
        )  # fmt: skip
        running.append(process)
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("open "):
                process.said = said
                return process, line.split()[1]
        raise AssertionError("".join(said))

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


RUN = """
import sys, typer
from pathlib import Path
from benchmark.cli.rate import rate
from benchmark.cli.state import set_project_folder
from benchmark.errors import BenchError
set_project_folder(Path(sys.argv[2]))
app = typer.Typer(pretty_exceptions_enable=False)
app.command()(rate)
try:
    app(sys.argv[3:])
except BenchError as error:
    print(*(f"error: {line}" for line in error.problems), sep="\\n", file=sys.stderr)
    sys.exit(2)
"""


def token_of(address: str) -> str:
    return urllib.parse.parse_qs(urllib.parse.urlparse(address).query)["token"][0]
