"""A process with the heavy libraries loaded, from which tests fork others that they can kill; see `start` in conftest.

Each line on standard input is a JSON object: `code`, run as a program of its own; `errors`, a file that its standard
error goes to; `environment`, what is set in it. The answer to each is a line with the process's number, and when it has
ended one with its exit status, as `subprocess` counts it.
"""

import json
import os
import sys
import traceback


def load() -> None:
    """What nearly every command that trains or evaluates has to load.

    mteb is left out: it loads polars, whose threads do not survive a fork.
    """
    import datasets  # noqa: F401
    import sentence_transformers  # noqa: F401
    from transformers import Trainer  # noqa: F401


def run(order: dict) -> None:
    """In the forked process: as if `python -c` had been started, but for what is loaded."""
    status = 1
    try:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        errors = os.open(order["errors"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(errors, 2)
        os.environ.update(order["environment"])
        exec(compile(order["code"], "<code>", "exec"), {"__name__": "__main__"})
        status = 0
    except SystemExit as leave:
        status = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Fork for each line until there are no more."""
    load()
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            run(order)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
