"""A Ray cluster that is there: joined, looked at, and found fit for a project or not."""

import os
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, Final

import benchmark
from benchmark.errors import BenchError
from benchmark.evaluation.ray_tasks import sees
from benchmark.files import shown, write_text
from benchmark.project import Project

RETRIES: Final = 3
"""Of a task whose worker or node was lost."""
_PATIENCE: Final = 10.0
"""Seconds until a head must answer."""
_PASSED_ON: Final = ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_HOME", "OMP_WAIT_POLICY", "TOKENIZERS_PARALLELISM")
"""Variables of this process that the workers get as well."""


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process has joined.

    Attributes:
        ray: The library.
        nodes: How many machines it has.
        threads: Processor cores of a task.
        gpus: Of all nodes; where there are some, a task that loads a model takes one.
        slots: How many tasks run at once.
    """

    ray: Any
    nodes: int
    threads: int
    gpus: int
    slots: int

    def task(self, function: Any, *, model: bool) -> Any:
        """A function as a task for any node, done again where its worker is lost.

        Args:
            function: Importable on every node.
            model: Whether it loads a model.
        """
        gpus = 1 if model and self.gpus else 0
        return self.ray.remote(
            num_cpus=self.threads, num_gpus=gpus, max_retries=RETRIES, scheduling_strategy="SPREAD"
        )(function)  # fmt: skip

    def __str__(self) -> str:
        """In words."""
        cores = f"{self.threads} core{'' if self.threads == 1 else 's'}"
        return (
            f"Ray: {self.nodes} node{'' if self.nodes == 1 else 's'}, {self.slots} tasks at once, "
            f"{'a GPU' if self.gpus else cores} each"
        )


@contextmanager
def joined(project: Project, address: str | None, threads: int | None) -> Iterator[Cluster]:
    """Join a cluster for a while, and see to it that every node can do a project's work.

    Args:
        project: What it shall work on.
        address: HOST:PORT of its head; None for the one that is found here.
        threads: Cores of a task; None for as many as torch uses here, but no more than the smallest node has.

    Raises:
        BenchError: ray is not installed, there is no cluster, or a node of it is not fit.
    """
    ray = _imported()
    wanted = threads or _own_threads()
    _connect(ray, address, wanted)
    # Ray prints what it says of lost workers; results alone belong on standard output.
    with redirect_stdout(sys.stderr):
        try:
            yield _looked_at(ray, project, wanted, threads)
        finally:
            ray.shutdown()


def _looked_at(ray: Any, project: Project, wanted: int, threads: int | None) -> Cluster:
    """The cluster as it is now.

    Raises:
        BenchError: A node of it is not fit.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    cores = [count for node in nodes if (count := int(node["Resources"].get("CPU", 0)))]
    smallest = min(cores, default=0)
    if smallest < (threads or 1):
        raise BenchError(f"--executor ray: a task takes {threads or 1} cores, and a node of the cluster has {smallest}")
    _check(ray, nodes, project)
    each = min(wanted, smallest)
    gpus = sum(int(node["Resources"].get("GPU", 0)) for node in nodes)
    return Cluster(ray, len(nodes), each, gpus, gpus or sum(count // each for count in cores))


def _imported() -> Any:
    # Read when ray is imported: nothing is told to anybody.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError:
        raise BenchError("--executor ray needs ray; install it with: pip install 'domainbench[ray]'") from None
    return ray


def _own_threads() -> int:
    import torch

    return int(torch.get_num_threads())


def _connect(ray: Any, address: str | None, threads: int) -> None:
    """Become a driver of a cluster.

    Raises:
        BenchError: There is none, or it does not take this process.
    """
    if address is not None:
        _check_address(address)
    variables = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    variables |= {"OMP_NUM_THREADS": str(threads)}
    settings = {"runtime_env": {"env_vars": variables}, "log_to_driver": False, "configure_logging": False}
    try:
        ray.init(address=address or "auto", **settings)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise _no_cluster(f" at {address}" if address else "", first_line(error)) from None


def _no_cluster(where: str, why: str) -> BenchError:
    return BenchError(
        f"--executor ray: no Ray cluster can be joined{where} ({why}); start one with: ray start --head, and on every "
        "other machine: ray start --address HOST:PORT"
    )


def _check_address(address: str) -> None:
    """See to it that somebody answers there: Ray itself would try for minutes.

    Raises:
        BenchError: It is no HOST:PORT, or nobody does.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise BenchError(f"--address {address}: HOST:PORT of the cluster's head is expected, as 'ray start' says it")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(f" at {address}", first_line(error)) from None


def _check(ray: Any, nodes: list[dict[str, Any]], project: Project) -> None:
    """See to it that every node has the project's folder, not only one like it, and this version of the package.

    Raises:
        BenchError: Names each that has not.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    word = uuid.uuid4().hex
    path = project.results / f".ray-{word}"
    write_text(path, word)
    try:
        task = ray.remote(num_cpus=0, max_retries=RETRIES)(sees)
        asked = []
        for node in nodes:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked.append((node["NodeManagerAddress"], task.options(scheduling_strategy=there).remote(path)))
        problems = [
            f"--executor ray: {host}: {why}" for host, one in asked if (why := _why_not(ray, one, word, project))
        ]
    finally:
        path.unlink(missing_ok=True)
    if problems:
        raise BenchError(*problems)


def _why_not(ray: Any, asked: Any, word: str, project: Project) -> str:
    """Why a node cannot be used; empty where it can."""
    try:
        content, version = ray.get(asked)
    except (ray.exceptions.NodeDiedError, ray.exceptions.LocalRayletDiedError) as error:
        return f"was lost while it was tried; look at the cluster, and run the command again ({first_line(error)})"
    except ray.exceptions.RayError as error:
        return f"cannot run domainbench; install it on every node ({first_line(error)})"
    if version != benchmark.__version__:
        return f"has domainbench {version}, this machine {benchmark.__version__}; install the same one on every node"
    if content != word:
        return (
            f"does not see {shown(project.root)} of this machine; the project must lie on a file system that all nodes "
            "share, at the same path"
        )
    return ""


def first_line(error: BaseException) -> str:
    """The type of an error and the first line of its words."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
