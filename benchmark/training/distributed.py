"""Several processes for one training, as `torchrun` and `accelerate launch` start them.

The first process runs the command as ever: it holds the lock, makes the data, prints and writes. The others wait for
orders. When the first one comes to a training loop, it sends them the job; they prepare the same rows and model, take
their share of every batch, and wait again. So a batch has the same rows as with one process, and everything around a
training is done once.
"""

import datetime
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from benchmark.errors import BenchError

_PATIENCE: Final = datetime.timedelta(days=30)
"""How long the others wait for an order: writing questions may take days."""
_GIVEN: Final = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class TakenPart(Exception):  # noqa: N818 (nothing went wrong)
    """Raised at the end of a training loop where this process has nothing more to do."""


def processes(environment: Mapping[str, str] = os.environ) -> int:
    """How many processes were started for this command; 1 without a launcher.

    >>> processes({"WORLD_SIZE": "4"})
    1
    >>> processes({"WORLD_SIZE": "4", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "here", "MASTER_PORT": "29500"})
    4
    """
    return int(environment["WORLD_SIZE"]) if all(name in environment for name in _GIVEN) else 1


def is_first() -> bool:
    """Whether this is the process that prints and writes; always so without a launcher."""
    return processes() == 1 or os.environ["RANK"] == "0"


class _Team:
    """The processes of one command.

    Attributes:
        order: What the others are to be told when the next training loop begins.
        busy: Whether a training loop is under way, in which nobody listens to orders.
        code: What this process, if it is not the first one, ends with.
    """

    def __init__(self) -> None:
        import torch
        import torch.distributed as dist

        cuda = torch.cuda.is_available()
        if cuda:
            _take_gpu()
        # The store of the launcher; the flag in it outlives a process that failed.
        self._store, rank, world = next(dist.rendezvous("env://"))
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if cuda else "gloo", store=dist.PrefixStore("team", self._store), rank=rank,
            world_size=world,
        )  # fmt: skip
        self._talk = dist.new_group(backend="gloo", timeout=_PATIENCE)
        self.order: object = None
        self.busy = False
        self.code = 0

    def send(self, message: object) -> None:
        """From the first process to all others."""
        import torch.distributed as dist

        dist.broadcast_object_list([message], src=0, group=self._talk)

    def receive(self) -> Any:
        """What the first process sends."""
        import torch.distributed as dist

        found: list[Any] = [None]
        dist.broadcast_object_list(found, src=0, group=self._talk)
        return found[0]

    def is_first_to_tell(self) -> bool:
        """Whether no other process has told of a failure; asking is telling."""
        try:
            return int(self._store.add("domainbench/failures", 1)) == 1
        except RuntimeError:  # the store went with the process that failed
            return False


class _Here:
    team: _Team | None = None


def _take_gpu() -> None:
    """Make this process's own GPU the one that "cuda" means.

    Raises:
        BenchError: There are fewer GPUs than processes.
    """
    import torch

    place, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if place >= count:
        raise BenchError(f"{place + 1} or more processes on a machine with {count} GPU(s); start one for each GPU")
    torch.cuda.set_device(place)


def join() -> None:
    """Meet the other processes of this command; each of them must call it once. Without a launcher nothing happens.

    Raises:
        BenchError: There are fewer GPUs than processes.
    """
    if processes() > 1 and _Here.team is None:
        _Here.team = _Team()


def orders() -> Iterator[Any]:
    """What the first process wants done, one order after the other, until it says stop; for the others."""
    team = _Here.team
    while team is not None:
        try:
            order, team.code = team.receive()
        except RuntimeError:  # the first process is gone, and has said why
            team.code = 2
            return
        if order is None:
            return
        yield order


def exit_code() -> int:
    """What a process that took part ends with: 0, or 2 where the command failed."""
    return 0 if _Here.team is None else _Here.team.code


def dismiss(code: int) -> None:
    """Send the others home at the end of a command; called by the first process, however the command ended.

    In a training loop nobody listens: the launcher ends the others there.
    """
    team, _Here.team = _Here.team, None
    if team is not None and is_first() and not team.busy:
        import torch.distributed as dist

        team.send((None, code))
        dist.destroy_process_group()


def is_to_tell() -> bool:
    """Whether a failure should be told by this process: one line is enough, also where several fail together."""
    return _Here.team is None or _Here.team.is_first_to_tell()


def prepare(order: object) -> None:
    """Say what the others have to do to take part in the training loop that comes next."""
    if _Here.team is not None:
        _Here.team.order = order


@contextmanager
def together() -> Iterator[None]:
    """Around a training loop: the others are called in, and leave after it with `TakenPart`.

    Raises:
        BenchError: Another process ended in the middle.
        TakenPart: In every process but the first.
    """
    team = _Here.team
    if team is None:
        yield
        return
    if is_first():
        team.send((team.order, 0))
    team.busy = True
    try:
        with warnings.catch_warnings():
            # What accelerate and sentence-transformers use of torch's collectives is on its way out: not our user's.
            warnings.simplefilter("ignore", FutureWarning)
            yield
    except RuntimeError as error:
        if not _is_desertion(error):
            raise
        raise BenchError("another process of this training has ended; what it said stands above") from None
    team.busy = False
    if not is_first():
        raise TakenPart


def _is_desertion(error: RuntimeError) -> bool:
    """Whether a collective operation failed because the process on the other side is gone."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or "gloo" in str(error).lower() or "closed by peer" in str(error)
