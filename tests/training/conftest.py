"""What several tests of training share: a training that is killed where the test says, however fast the machine is."""

import textwrap

import pytest

# Every trainer of the process gets this callback: kill -9 one step after the first checkpoint of the n-th training.
DOOM = """
import os, signal
from transformers import TrainerCallback, trainer

class Doom(TrainerCallback):
    trainings = 0

    def on_train_begin(self, args, state, control, **rest):
        Doom.trainings += 1

    def on_step_end(self, args, state, control, **rest):
        if Doom.trainings == {training} and state.global_step > args.save_steps and os.environ.get("RANK") in {ranks}:
            os.kill(os.getpid(), signal.SIGKILL)

trainer.DEFAULT_CALLBACKS.append(Doom)
"""


@pytest.fixture
def doom():
    """Code that has a training killed one step after its first checkpoint; of several processes the second one."""
    return DOOM.format(training=1, ranks=(None, "1"))


@pytest.fixture
def start_doomed(start):
    """Run code in a process of its own until it is killed, one step after the first checkpoint of its n-th training."""

    def begin(code: str, training: int = 1) -> None:
        process = start(DOOM.format(training=training, ranks=(None,)) + textwrap.dedent(code))
        assert process.wait() == -9, process.stderr

    return begin
