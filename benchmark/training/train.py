"""The training stage: a run's settings to a model folder."""

import logging
import tempfile
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.console import SILENT
from benchmark.device import device_name
from benchmark.files import Json
from benchmark.provenance import Outcome, Stage, run_stage
from benchmark.specs import AdapterRun, BiEncoderRun
from benchmark.training import distributed
from benchmark.training.adapter import train_adapter
from benchmark.training.biencoder import train_bi_encoder
from benchmark.training.crossencoder import train_cross_encoder
from benchmark.training.job import Job
from benchmark.training.loop import checkpoints
from benchmark.weights import model_fingerprint

STAGE = Stage("finetune", 3)


def train_run(job: Job[Any], folder: Path) -> Outcome:
    """Train into a folder, or skip it when data, base and settings are the same.

    Killed in the middle, it goes on from the last of five checkpoints (an adapter, a matter of seconds, starts again).

    Args:
        job: An adapter, a bi-encoder or a cross-encoder.
        folder: Where the model goes; replaced as a whole.

    Raises:
        BenchError: The base or the data cannot be had, or memory does not suffice.
    """

    def build(target: Path) -> Json:
        if isinstance(job.run, AdapterRun):
            return train_adapter(job, target)
        work = folder.parent / f".{folder.name}.checkpoints"
        with checkpoints(work, training_fingerprint(job)) as kept:
            return _train_weights(job, kept, target)

    return run_stage(
        STAGE,
        folder,
        inputs=_inputs(job),
        settings=job.settings,
        build=build,
        reporter=job.reporter,
        label=f"{job.domain.name}: finetune {job.run.name}",
        device=lambda: _devices(job),
    )


def training_fingerprint(job: Job[Any]) -> str:
    """What `train_run` tells one training from another by: data, base, settings."""
    return STAGE.fingerprint(_inputs(job), job.settings)


def _inputs(job: Job[Any]) -> dict[str, str]:
    return {"synthetic": job.synthetic, **{name: model_fingerprint(job.project, name) for name in job.run.needs}}


def _devices(job: Job[Any]) -> str:
    count = 1 if isinstance(job.run, AdapterRun) else distributed.processes()
    return device_name() if count == 1 else f"{device_name()}, {count} processes"


class _Order(NamedTuple):
    """What the other processes are told: which training, and where its checkpoints are."""

    job: Job[Any]
    work: Path


def _train_weights(job: Job[Any], work: Path, target: Path) -> Json:
    distributed.prepare(_Order(replace(job, reporter=SILENT), work))
    if isinstance(job.run, BiEncoderRun):
        return train_bi_encoder(job, work, target)
    return train_cross_encoder(job, work, target)


def take_part() -> int:
    """What every process but the first does under `torchrun`: its share of each training; returns the exit code.

    Raises:
        BenchError: Memory does not suffice here.
    """
    # The first process says the same.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for order in distributed.orders():
        with tempfile.TemporaryDirectory() as scratch, suppress(distributed.TakenPart):
            _train_weights(order.job, order.work, Path(scratch))
    return distributed.exit_code()
