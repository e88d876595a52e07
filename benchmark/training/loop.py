"""What both trainers share: progress with loss and time left, checkpoints, and clear words when memory runs out."""

import contextlib
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from benchmark.console import Reporter, Update
from benchmark.device import device_name, fast_bfloat16
from benchmark.errors import BenchError
from benchmark.specs import WeightsRun

_CHECKPOINTS = 5


R = TypeVar("R", bound=WeightsRun)


def plan(run: R, rows: int) -> tuple[R, int]:
    """A run whose batch is no larger than its data, and how many optimizer steps it takes.

    >>> spec = WeightsRun(name="x", base="b", batch_size=64, epochs=2.0)
    >>> plan(spec, 100)[1], plan(spec, 10)[0].batch_size
    (4, 10)
    """
    batch = min(run.batch_size, rows)
    return run.model_copy(update={"batch_size": batch}), math.ceil(rows / batch * run.epochs)


def training_arguments(kind: type[Any], run: WeightsRun, folder: Path, steps: int, seed: int, **more: Any) -> Any:
    """Arguments that sentence-transformers' two trainers share.

    Args:
        kind: `SentenceTransformerTrainingArguments` or `CrossEncoderTrainingArguments`.
        run: The settings as the user gave them.
        folder: Where checkpoints go.
        steps: Optimizer steps of the whole training.
        seed: For the order of the rows and for dropout.
        more: Arguments of the one trainer.
    """
    cuda = device_name() == "cuda"
    return kind(
        output_dir=str(folder),
        num_train_epochs=run.epochs,
        per_device_train_batch_size=run.batch_size,
        learning_rate=run.learning_rate,
        warmup_steps=round(steps * run.warmup_ratio),
        seed=seed,
        data_seed=seed,
        bf16=fast_bfloat16(),
        use_cpu=device_name() == "cpu",
        save_strategy="steps",
        save_steps=max(1, steps // _CHECKPOINTS),
        save_total_limit=1,
        logging_strategy="steps",
        logging_steps=1,
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=cuda,
        **more,
    )


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


def last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint in a folder, by its step, or None."""
    found = [path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    return str(max(found, key=lambda path: int(path.name.rsplit("-", 1)[1]))) if found else None


@contextlib.contextmanager
def checkpoints(folder: Path, fingerprint: str) -> Iterator[Path]:
    """A folder for checkpoints that outlives a kill; one left by other data or settings is emptied first."""
    mark = folder / "fingerprint"
    if folder.is_dir() and not (mark.is_file() and mark.read_text(encoding="utf-8") == fingerprint):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(fingerprint, encoding="utf-8")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def train(trainer: Any, run: WeightsRun, folder: Path, steps: int, label: str, reporter: Reporter) -> float:
    """Run a trainer to its end, from the last checkpoint where there is one; returns the mean loss of the last tenth.

    Raises:
        BenchError: Memory did not suffice; says what to lower.
    """
    import torch

    checkpoint = last_checkpoint(folder)
    if checkpoint:
        reporter.note(f"{run.name}: goes on from step {checkpoint.rsplit('-', 1)[1]} of {steps}")
    try:
        with reporter.progress(total=steps, label=label) as update:
            trainer.add_callback(progress_callback(update))
            without_printer(trainer).train(resume_from_checkpoint=checkpoint)
    except (MemoryError, torch.OutOfMemoryError):
        raise BenchError(_memory_line(run)) from None
    except RuntimeError as error:
        if "allocate memory" not in str(error):
            raise
        raise BenchError(_memory_line(run)) from None
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    tail = losses[-max(1, len(losses) // 10) :]
    return float(sum(tail) / len(tail)) if tail else 0.0


def _memory_line(run: WeightsRun) -> str:
    return (
        f"{run.name}: memory does not suffice; lower mini_batch_size (now {run.mini_batch_size}), "
        f"batch_size (now {run.batch_size}) or max_length (now {run.max_length})"
    )
