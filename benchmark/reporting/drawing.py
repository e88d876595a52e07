"""Plots drawn by a second process, while the first one scores runs and writes pages.

Half of the time goes to loading matplotlib, which can begin before there is anything to draw.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmark.reporting.board import Leaderboard
from benchmark.reporting.page.costs import Costs
from benchmark.reporting.plots import Plot, planned_plots, warm_up, write_plots
from benchmark.reporting.threads import cores

_CHILD = "import sys; sys.path[:] = sys.argv[1:]; from benchmark.reporting.drawing import take_part; take_part()"


class Drawing:
    """A process that draws what it is given; used as a context manager, it has drawn everything on leaving.

    Where there is a single core, or where matplotlib is loaded here already, nothing is started and `draw` draws.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._given: tuple[Leaderboard, Path, Mapping[str, Costs]] | None = None

    def __enter__(self) -> Self:
        if cores() > 1 and "matplotlib.figure" not in sys.modules:
            command = [sys.executable, "-c", _CHILD, *sys.path]
            pipe = subprocess.PIPE
            self._child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)  # noqa: S603
        return self

    def draw(self, board: Leaderboard, folder: Path, costs: Mapping[str, Costs]) -> list[Plot]:
        """As `write_plots`, but the files may only be there on leaving."""
        if self._child is None or self._given is not None:
            return write_plots(board, folder, costs)
        self._given = (board, folder.absolute(), costs)
        assert self._child.stdin is not None  # noqa: S101 (a pipe was asked for)
        try:
            self._child.stdin.write(pickle.dumps(self._given))
            self._child.stdin.close()
        except OSError:  # it has died; on leaving, that is seen to
            pass
        return planned_plots(board, costs)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is None:
            return
        with self._child as child:
            if error is not None or self._given is None:
                child.kill()
                return
            assert child.stdout is not None  # noqa: S101
            said = child.stdout.read()
        if child.returncode != 0:  # it could not be loaded, or was killed: its work is done here
            write_plots(*self._given)
            return
        problem: Exception | None = pickle.loads(said)  # noqa: S301 (our own child wrote it)
        if problem is not None:
            raise problem


def take_part() -> None:
    """What the second process does: load matplotlib, wait for something to draw, draw it, say how it went."""
    warm_up()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process is told, and ends this one
    try:
        given: Any = pickle.load(sys.stdin.buffer)  # noqa: S301 (our own parent wrote it)
    except EOFError:
        os._exit(0)
    problem: Exception | None = None
    try:
        write_plots(*given)
    except Exception as error:  # told, and raised by the first process
        problem = error
    sys.stdout.buffer.write(pickle.dumps(problem))
