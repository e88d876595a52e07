"""A Hub on loopback, and commands that talk to it in processes of their own."""

import contextlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

HERE = Path(__file__).resolve().parent


def _load():
    spec = importlib.util.spec_from_file_location("hub_server", HERE / "hub_server.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def hub_module():
    """The module of the server; under importlib's import mode a test cannot import its neighbours."""
    return _load()


@pytest.fixture
def start_hub(hub_module):
    """Starts Hubs that end with the test; the arguments are `HubServer`'s."""
    hubs = []

    def start(**options):
        hubs.append(hub_module.HubServer(**options))
        return hubs[-1]

    yield start
    for hub in hubs:
        hub.close()


@pytest.fixture
def hub(start_hub):
    """A Hub with nothing on it."""
    return start_hub()


@pytest.fixture(scope="session")
def hub_environment(hub_module, tmp_path_factory):
    """Environment variables for a process that is to reach a Hub, by its address; each has a cache of its own."""

    def environment(address, token=hub_module.TOKEN, **more):
        kept = {key: value for key, value in os.environ.items() if key not in {"HF_TOKEN", "HF_HUB_OFFLINE"}}
        return {
            **kept, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path_factory.mktemp("hf")), "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1",
            **({"HF_TOKEN": token} if token else {}), **more,
        }  # fmt: skip

    return environment


@pytest.fixture(scope="session")
def on_hub(hub_environment):
    """Runs Python code in a process that sees a Hub: `on_hub(hub, code, *arguments)` returns the finished process."""

    def run(hub, code, *words, token=None, check=True, **more):
        given = {} if token is None else {"token": token}
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=check,
            env=hub_environment(hub.address, **given, **more), timeout=120,
        )  # fmt: skip

    return run


@pytest.fixture(scope="session")
def command(on_hub):
    """Runs `domainbench ...` in a process that sees a Hub: exit code, lines of stdout, and stderr."""

    def run(hub, project, *words, **more):
        code = "import sys; from benchmark.cli.main import run_app; sys.exit(run_app(sys.argv[1:]))"
        done = on_hub(hub, code, "--project", project.root, *words, check=False, **more)
        return SimpleNamespace(code=done.returncode, out=done.stdout.splitlines(), err=done.stderr, all=done.stdout + done.stderr)  # fmt: skip

    return run


@pytest.fixture(scope="session")
def reaching(hub_module, tmp_path_factory):
    """Lets this process reach a Hub by its address, whatever the environment said when huggingface_hub was loaded."""

    @contextlib.contextmanager
    def begin():
        from huggingface_hub import constants

        def to(hub):
            patch.setattr(constants, "ENDPOINT", hub.address)
            return hub.address

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(constants, "HF_HUB_OFFLINE", False)
            patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
            patch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
            patch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path_factory.mktemp("home") / "no-token"))
            patch.setenv("HF_TOKEN", hub_module.TOKEN)
            yield to

    return begin


@pytest.fixture
def reach(reaching):
    """As `reaching`, for a test."""
    with reaching() as to:
        yield to
