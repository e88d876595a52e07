"""What both trainers share: arguments, progress with loss and time left, checkpoints, clear words when memory or disk run out."""

import contextlib
import errno
import json
import math
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from zipfile import is_zipfile

from benchmark.console import Reporter, Update
from benchmark.device import device_name, fast_bfloat16
from benchmark.errors import BenchError
from benchmark.files import shown
from benchmark.specs import WeightsRun
from benchmark.training.distributed import processes, together

_CHECKPOINTS: Final = 5
_FULL: Final = {
    errno.ENOSPC: "no space is left on the disk",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "a file would become larger than is allowed here",
}
# torch's writer of zip files tells no cause.
_CUT_SHORT: Final = "a file could not be written to its end"
_FULL_WORDS: Final = {
    "no space left on device": _FULL[errno.ENOSPC],
    "os error 28": _FULL[errno.ENOSPC],
    "os error 122": _FULL[errno.EDQUOT],
    "os error 27": _FULL[errno.EFBIG],
    "pytorchstreamwriter failed writing": _CUT_SHORT,
    "file write failed": _CUT_SHORT,
    "unexpected pos": _CUT_SHORT,
}
_MEMORY_WORDS: Final = ("allocate memory", "out of memory", "alloc_failed", "unable to mmap")

R = TypeVar("R", bound=WeightsRun)


def plan(run: R, rows: int) -> tuple[R, int]:
    """A run whose batch is no larger than its data, and how many optimizer steps it takes.

    A batch is shared equally by all GPUs.

    >>> spec = WeightsRun(name="x", base="b", batch_size=64, epochs=2.0)
    >>> plan(spec, 100)[1], plan(spec, 10)[0].batch_size
    (4, 10)

    Raises:
        BenchError: There are fewer rows than GPUs.
    """
    world = processes()
    if rows < world:
        raise BenchError(f"{run.name}: {rows} training rows are too few for {world} GPUs")
    batch = min(max(run.batch_size, world), rows) // world * world
    return run.model_copy(update={"batch_size": batch}), math.ceil(math.ceil(rows / batch) * run.epochs)


def training_arguments(kind: type[Any], run: WeightsRun, folder: Path, steps: int, seed: int, **more: Any) -> Any:
    """Arguments that sentence-transformers' two trainers share.

    Args:
        kind: `SentenceTransformerTrainingArguments` or `CrossEncoderTrainingArguments`.
        run: The settings, as `plan` returns them.
        folder: Where checkpoints go.
        steps: Optimizer steps of the whole training.
        seed: For the order of the rows and for dropout.
        more: Arguments of the one trainer, which may replace those here.
    """
    cuda = device_name() == "cuda"
    shared: dict[str, Any] = {
        "output_dir": str(folder),
        "num_train_epochs": run.epochs,
        "per_device_train_batch_size": max(1, run.batch_size // processes()),
        "learning_rate": run.learning_rate,
        "warmup_steps": round(steps * run.warmup_ratio),
        "seed": seed,
        "data_seed": seed,
        "bf16": fast_bfloat16(),
        "fp16": cuda and not fast_bfloat16(),
        "use_cpu": device_name() == "cpu",
        "save_strategy": "steps",
        "save_steps": max(1, steps // _CHECKPOINTS),
        "save_total_limit": 1,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "eval_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": cuda,
    }
    return kind(**{**shared, **more})


def progress_callback(update: Update) -> Any:
    """A `TrainerCallback` that passes step and loss on and prints nothing itself."""
    from transformers import TrainerCallback

    class Progress(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
            loss = (logs or {}).get("loss")
            update(state.global_step, "" if loss is None else f"loss {float(loss):.3f}")

    return Progress()


def without_printer(trainer: Any) -> Any:
    """Take away the callback that prints every log line as a dict."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    return trainer


class Cost:
    """What the training itself took, without loading, encoding and scoring; a `TrainerCallback` fills it.

    Attributes:
        seconds: From the first step to the last, checkpoints included.
        steps: Taken in these seconds; fewer than all where training went on from a checkpoint.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.steps = 0

    def callback(self) -> Any:
        """To be given to the trainer."""
        from transformers import TrainerCallback

        cost = self

        class Clock(TrainerCallback):  # type: ignore[misc]
            def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
                self.started, self.first = time.perf_counter(), state.global_step

            def on_train_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
                cost.seconds, cost.steps = time.perf_counter() - self.started, state.global_step - self.first

        return Clock()


def peak_memory() -> dict[str, int]:
    """The most that this process has held so far, in MiB: `process`, and `gpu` where there is one."""
    found = {}
    with contextlib.suppress(ImportError):
        import resource

        # Linux counts in KiB, macOS in bytes.
        unit = 2**20 if sys.platform == "darwin" else 2**10
        found["process"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)
    if device_name() == "cuda":
        import torch

        found["gpu"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return found


def last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint in a folder, by its step, or None."""
    found = [path for path in folder.glob("checkpoint-*") if _complete(path)]
    return str(max(found, key=lambda path: int(path.name.rsplit("-", 1)[1]))) if found else None


def _complete(checkpoint: Path) -> bool:
    """Whether it was written to its end: the trainer's state comes last, but other processes write their own part."""
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(state, dict) and all(map(is_zipfile, checkpoint.glob("rng_state*.pth")))


@contextlib.contextmanager
def checkpoints(folder: Path, fingerprint: str) -> Iterator[Path]:
    """A folder for checkpoints that outlives a kill; one left by other data or settings is emptied first."""
    mark = folder / "fingerprint"
    if folder.is_dir() and not (mark.is_file() and mark.read_text(encoding="utf-8") == fingerprint):
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(fingerprint, encoding="utf-8")
    except OSError as error:
        raise BenchError(f"{shown(folder)}: checkpoints cannot be kept there: {error.strerror}") from None
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def train(
    trainer: Any,
    run: WeightsRun,
    folder: Path,
    steps: int,
    label: str,
    reporter: Reporter,
    callbacks: Sequence[Any] = (),
) -> float:
    """Run a trainer to its end, from the last checkpoint where there is one; returns the mean loss of the last tenth.

    Args:
        trainer: sentence-transformers', its arguments made by `training_arguments`.
        run: The settings.
        folder: Where checkpoints are kept.
        steps: Optimizer steps of the whole training.
        label: What to call this work on the screen.
        reporter: Shows progress.
        callbacks: Further `TrainerCallback`s.

    Raises:
        BenchError: Memory or disk did not suffice; says what to lower or free.
    """
    checkpoint = last_checkpoint(folder)
    if checkpoint:
        reporter.note(f"{run.name}: goes on from step {checkpoint.rsplit('-', 1)[1]} of {steps}")
    if run.gradient_checkpointing:
        # The kind that needs no input with a gradient, which low-rank updates do not have.
        with warnings.catch_warnings():
            # sentence-transformers calls it by a name that transformers is about to change.
            warnings.simplefilter("ignore", FutureWarning)
            trainer.model.gradient_checkpointing_enable({"use_reentrant": False})
    with limits_told(run, folder), reporter.progress(total=steps, label=label) as update:
        for callback in (progress_callback(update), *callbacks):
            trainer.add_callback(callback)
        with together(), _without_cards(trainer.model):
            without_printer(trainer).train(resume_from_checkpoint=checkpoint)
    # Mixed precision is wrapped around the model's forward and would stay there: scores in half precision are not
    # those of the model that is saved.
    trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    tail = losses[-max(1, len(losses) // 10) :]
    return float(sum(tail) / len(tail)) if tail else 0.0


@contextlib.contextmanager
def _without_cards(model: Any) -> Iterator[None]:
    """Have a model saved without the page that describes it: a good tenth of a second each, read by nobody."""
    model.save_pretrained = partial(model.save_pretrained, create_model_card=False)
    try:
        yield
    finally:
        del model.save_pretrained


@contextlib.contextmanager
def limits_told(run: WeightsRun, folder: Path) -> Iterator[None]:
    """What memory, GPU or disk raise when they do not suffice becomes one line that says what to do.

    A checkpoint that was not written to its end is removed; the one before it stays, so that training goes on there.

    Args:
        run: The settings.
        folder: Where checkpoints are kept.

    Raises:
        BenchError: In place of what is raised within.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (MemoryError, OSError, RuntimeError, SafetensorError) as error:
        if _lacks_memory(error):
            raise BenchError(_memory_line(run)) from None
        cause = _lacks_space(error)
        if cause is None:
            raise
        for path in folder.glob("checkpoint-*"):
            if not _complete(path):
                shutil.rmtree(path, ignore_errors=True)
        raise BenchError(_disk_line(run, folder, cause)) from None


def _lacks_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in said for word in _MEMORY_WORDS)


def _lacks_space(error: BaseException) -> str | None:
    """Why a file could not be written, also where a library has wrapped the cause in an error of its own."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return _FULL[error.errno]
    said = str(error).lower()
    return next((cause for words, cause in _FULL_WORDS.items() if words in said), None)


def _disk_line(run: WeightsRun, folder: Path, cause: str) -> str:
    free = shutil.disk_usage(folder if folder.is_dir() else folder.parent).free / 2**20
    return (
        f"{run.name}: cannot write to {shown(folder.parent)}: {cause} ({free:.0f} MiB are free); a checkpoint "
        "holds the weights and twice their size for the optimizer, and two are there at once: free space, or train "
        "with 'lora', whose checkpoints are small; the next run goes on from the last checkpoint"
    )


def _memory_line(run: WeightsRun) -> str:
    return (
        f"{run.name}: memory does not suffice; lower mini_batch_size (now {run.mini_batch_size}), "
        f"batch_size (now {run.batch_size}) or max_length (now {run.max_length})"
        + ("" if run.gradient_checkpointing else ", or set gradient_checkpointing: true")
    )
