"""A plan on a real Ray cluster of two nodes: the same bytes as in one process, whatever is killed in the middle."""

import json
import math
import os
import shutil
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from benchmark.cli.main import run_app
from benchmark.pipeline import release
from benchmark.project import Project

ray = pytest.importorskip("ray", reason="domainbench[ray] is not installed")
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="workers are found in /proc")

BENCHMARK = """\
domains: [village]
general: [notes]
finetune: []
baseline: tiny
models: [cut, two, deep, remote, broken]
top_k: 20
"""
NOTES = 600
"""Passages of the general set: three slices of an encoding."""


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with a core each, on this machine."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    settings = {"num_cpus": 1, "object_store_memory": 10**8, "include_log_monitor": False}
    # Nothing reads logs, adds nodes or looks at pages here, and each is a process to start.
    found = Cluster(initialize_head=True, head_node_args={**settings, "include_dashboard": False, "no_monitor": True})
    found.add_node(**settings)
    yield found
    found.shutdown()


def embeddings(body):
    """What an endpoint answers: a vector for each text, as its length has it."""
    data = [
        {"object": "embedding", "index": place, "embedding": [float(len(text)), 1.0, math.sin(len(text))]}
        for place, text in enumerate(body["input"])
    ]
    usage = {"prompt_tokens": len(data), "total_tokens": len(data)}
    return 200, {}, {"object": "list", "data": data, "model": body["model"], "usage": usage}


@pytest.fixture
def endpoint(serve):
    """Of the spec `remote`."""
    return serve(embeddings)


@pytest.fixture
def bench(project, cross_encoder, endpoint) -> Project:
    """Two domains, and specs that share vectors, share a reranker, ask an API, or break."""
    folder = project.root / "tasks" / "notes"
    folder.mkdir()
    (folder / "domain.yaml").write_text("title: Notes\nbeir: .\nreranking: {base: tiny, depth: 3}\n")
    corpus = [
        {"_id": f"d{i}", "text": f"Note {i} is about boat {i * 7 % 600}" + " and a berth" * (i % 9)}
        for i in range(NOTES)
    ]
    queries = [{"_id": f"q{i}", "text": f"Which note is about boat {i}?"} for i in range(20)]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"q{i}\td{i}\t1\n" for i in range(20)))
    specs = {
        "cut": "base: tiny\ntruncate_dim: 16\n",
        "two": "retriever: bm25\nreranker: ce\ndepth: 4\n",
        "deep": "retriever: tiny\nreranker: ce\ndepth: 6\nweights: [0.5, 0.5]\n",
        "remote": f"api: {{base_url: '{endpoint.url}', model: m}}\n",
        "broken": "base: tiny\ntruncate_dim: 64\n",
    }
    for name, text in specs.items():
        (project.specs_folder / f"{name}.yaml").write_text(text)
    (project.root / "benchmark.yaml").write_text(BENCHMARK)
    return Project(project.root)


def evaluate(project, *words) -> int:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return run_app(["--project", str(project.root), "evaluate", *words])
    finally:
        release()
        torch.set_num_threads(before)


def content(project) -> dict[str, bytes]:
    """Runs, candidates and stored rows, by their paths."""
    kept = [path for kind in ("*.trec", "candidates.jsonl", "*.rows", "*.keys") for path in project.results.rglob(kind)]
    return {path.relative_to(project.results).as_posix(): path.read_bytes() for path in kept}


def workers(task: str) -> list[int]:
    """Processes of this test's cluster that are at a task; Ray gives a worker its task's name."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and f"ray::{task}" in _command(folder) and os.getpid() in _ancestors(int(folder.name)):
            found.append(int(folder.name))
    return found


def _command(folder: Path) -> str:
    try:
        return (folder / "cmdline").read_text(errors="replace")
    except OSError:
        return ""


def _ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            break
        found.append(pid)
    return found


class Killer(threading.Thread):
    """Kills the first worker that it sees at each of some tasks."""

    def __init__(self, *tasks: str) -> None:
        super().__init__(daemon=True)
        self.killed: dict[str, int] = {}
        self.over = threading.Event()
        self._tasks = tasks

    def run(self) -> None:
        while not self.over.is_set() and len(self.killed) < len(self._tasks):
            for task in set(self._tasks) - set(self.killed):
                for pid in workers(task)[:1]:
                    os.kill(pid, signal.SIGKILL)
                    self.killed[task] = pid
            time.sleep(0.02)


def test_two_nodes_make_the_same_bytes_though_workers_are_killed(bench, cluster, endpoint, tmp_path, capsys):
    shutil.copytree(bench.root, tmp_path / "alone")
    alone = Project(tmp_path / "alone")
    assert evaluate(alone) == 1
    told = capsys.readouterr()
    killer = Killer("encode_texts", "do_unit")
    killer.start()
    code = evaluate(bench, "--executor", "ray", "--address", cluster.address, "--threads", "1")
    killer.over.set()
    killer.join()
    assert set(killer.killed) == {"encode_texts", "do_unit"}, "each in the middle of its work"
    assert not any(Path(f"/proc/{pid}").exists() for pid in killer.killed.values())
    said = capsys.readouterr()
    assert code == 1
    errors = [[line for line in text.splitlines() if line.startswith("error: ")] for text in (told.err, said.err)]
    assert errors[0] == errors[1] and "truncate_dim: 64" in errors[0][0]
    assert "Ray: 2 nodes, 2 tasks at once, 1 core each" in said.err
    assert "A worker died or was killed" in said.err
    assert told.out == said.out and "NotesRetrieval deep: nDCG@10" in said.out
    asked = Counter(text for body in endpoint.bodies for text in body["input"])
    assert len(asked) > NOTES and set(asked.values()) == {2}, "once in either project"
    assert content(bench) == content(alone) and len(content(bench)) > 15
    assert not list(bench.results.glob(".ray-*"))

    # What is kept needs no cluster, and what is left is done alone or together.
    capsys.readouterr()
    (bench.root / "benchmark.yaml").write_text(BENCHMARK.replace(", broken", ""))
    assert evaluate(bench, "--executor", "ray", "--address", "127.0.0.1:1") == 0
    assert "nothing to do: everything is kept" in capsys.readouterr().err


def test_what_kills_every_worker_is_told_and_ends(bench, cluster, monkeypatch, capsys):
    from benchmark.evaluation import ray_cluster, ray_executor

    for path in bench.root.glob("tasks/*/domain.yaml"):
        path.write_text(path.read_text().replace("base: tiny", "base: bm25"))

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(ray_executor, "do_unit", die)
    monkeypatch.setattr(ray_cluster, "RETRIES", 1)
    assert evaluate(bench, "bm25", "--executor", "ray", "--address", cluster.address) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    lost = "lost on the Ray cluster with its worker, "
    kinds = ["candidates on village", "retrieval on village", "retrieval on notes"]
    assert len(errors) == 3 and all(lost in line for line in errors)
    assert sorted(line.split(": ")[2] for line in errors) == sorted(kinds), "no candidates, no reranking"
    assert not (bench.results / "village" / "runs").exists()


def test_nodes_without_the_project_are_told(bench, cluster, monkeypatch, capsys):
    from benchmark.evaluation import ray_cluster

    # As on a node where another folder is mounted at this place.
    monkeypatch.setattr(ray_cluster, "write_text", lambda path, text: path.write_text("something else"))
    assert evaluate(bench, "bm25", "--executor", "ray", "--address", cluster.address) == 2
    err = capsys.readouterr().err
    assert err.count("the project must lie on a file system that all nodes share") == 2
    assert not list(bench.results.glob(".ray-*"))
    monkeypatch.undo()
    assert evaluate(bench, "bm25", "--executor", "ray", "--address", cluster.address, "--threads", "3") == 2
    assert "a task takes 3 cores, and a node of the cluster has 1" in capsys.readouterr().err
    assert not ray.is_initialized()


def test_no_cluster_is_one_line(bench, capsys):
    assert evaluate(bench, "bm25", "--executor", "ray", "--address", "127.0.0.1:1") == 2
    err = capsys.readouterr().err
    assert "no Ray cluster can be joined at 127.0.0.1:1" in err and "ray start --head" in err
    assert "Traceback" not in err
    assert evaluate(bench, "bm25", "--executor", "ray", "--address", "ray://head:1") == 2
    assert "HOST:PORT of the cluster's head is expected" in capsys.readouterr().err
