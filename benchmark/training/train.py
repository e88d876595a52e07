"""The training stage: a run's settings to a model folder."""

from pathlib import Path
from typing import Any

from benchmark.device import device_name
from benchmark.files import Json
from benchmark.provenance import Outcome, Stage, run_stage
from benchmark.specs import AdapterRun, BiEncoderRun
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
    run = job.run
    inputs = {"synthetic": job.synthetic, **{name: model_fingerprint(job.project, name) for name in run.needs}}

    def build(target: Path) -> Json:
        if isinstance(run, AdapterRun):
            return train_adapter(job, target)
        work = folder.parent / f".{folder.name}.checkpoints"
        with checkpoints(work, STAGE.fingerprint(inputs, job.settings)) as kept:
            return (
                train_bi_encoder(job, kept, target)
                if isinstance(run, BiEncoderRun)
                else train_cross_encoder(job, kept, target)
            )

    return run_stage(
        STAGE,
        folder,
        inputs=inputs,
        settings=job.settings,
        build=build,
        reporter=job.reporter,
        label=f"{job.domain.name}: finetune {run.name}",
        device=device_name(),
    )
