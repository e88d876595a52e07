"""What trainers share: plans, arguments, checkpoints, and what is said when memory or disk do not suffice."""

import json
import os
import resource
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmark.console import SILENT, Notes
from benchmark.errors import BenchError
from benchmark.specs.finetune import WeightsRun
from benchmark.training import loop
from benchmark.training.loop import (
    checkpoints,
    last_checkpoint,
    limits_told,
    peak_memory,
    plan,
    train,
    training_arguments,
)

RUN = WeightsRun(name="tuned", base="b", batch_size=64, epochs=2.0)


def of_processes(monkeypatch, count):
    given = {"WORLD_SIZE": str(count), "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "here", "MASTER_PORT": "1"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("rows", "epochs", "batch", "steps"), [(100, 2.0, 64, 4), (65, 3.0, 64, 6), (10, 2.0, 10, 2), (100, 0.5, 64, 1)]
)
def test_a_plan_counts_the_steps_that_the_trainer_takes(rows, epochs, batch, steps):
    planned, found = plan(RUN.model_copy(update={"epochs": epochs}), rows)
    assert (planned.batch_size, found) == (batch, steps)


def test_a_batch_is_shared_by_all_processes(monkeypatch, tmp_path):
    from sentence_transformers import SentenceTransformerTrainingArguments

    of_processes(monkeypatch, 4)
    assert plan(RUN, 1000)[0].batch_size == 64
    assert plan(RUN, 47)[0].batch_size == 44
    assert plan(RUN.model_copy(update={"batch_size": 2}), 100)[0].batch_size == 4
    with pytest.raises(BenchError, match="3 training rows are too few for 4 GPUs"):
        plan(RUN, 3)
    monkeypatch.setattr(loop, "processes", lambda: 4)
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):  # the arguments would look for the others
        monkeypatch.delenv(name)
    arguments = training_arguments(SentenceTransformerTrainingArguments, RUN, tmp_path, 10, 0, save_steps=7)
    assert arguments.per_device_train_batch_size == 16
    assert (arguments.warmup_steps, arguments.save_steps) == (1, 7)


# --- checkpoints ----------------------------------------------------------------------------------------------------


def checkpoint(folder, step, state='{"global_step": 1}'):
    made = folder / f"checkpoint-{step}"
    made.mkdir(parents=True)
    if state is not None:
        (made / "trainer_state.json").write_text(state)
    return made


def test_a_checkpoint_counts_when_it_was_written_to_its_end(tmp_path):
    assert last_checkpoint(tmp_path) is None
    checkpoint(tmp_path, 9)
    checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 11, None)
    checkpoint(tmp_path, 12, '{"global_st')
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")


def test_checkpoints_of_other_settings_are_removed_and_those_of_a_finished_run_too(tmp_path):
    folder = tmp_path / "kept"
    with pytest.raises(KeyError), checkpoints(folder, "one") as kept:
        checkpoint(kept, 3)
        raise KeyError
    with pytest.raises(KeyError), checkpoints(folder, "one") as kept:
        assert last_checkpoint(kept)
        raise KeyError
    with checkpoints(folder, "two") as kept:
        assert last_checkpoint(kept) is None
    assert not folder.exists()


# --- limits ---------------------------------------------------------------------------------------------------------


def take_too_much():
    import torch

    torch.empty(2**52, dtype=torch.uint8)


def gpu_is_full():
    import torch

    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize("fail", [take_too_much, gpu_is_full, lambda: np.zeros(2**52)])
def test_too_little_memory_says_what_to_lower(tmp_path, fail):
    said = r"tuned: memory does not suffice; lower mini_batch_size \(now 64\), batch_size \(now 64\) or max_length"
    with pytest.raises(BenchError, match=said) as error, limits_told(RUN, tmp_path):
        fail()
    assert "gradient_checkpointing: true" in str(error.value)
    with (
        pytest.raises(BenchError) as error,
        limits_told(RUN.model_copy(update={"gradient_checkpointing": True}), tmp_path),
    ):
        fail()
    assert "gradient_checkpointing" not in str(error.value)


def by_python():
    with Path("/dev/full").open("w") as stream:
        stream.write("x" * 100_000)


def by_torch():
    import torch

    torch.save({"x": torch.zeros(100_000)}, "/dev/full")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    ("write", "said"),
    [(by_python, "no space is left on the disk"), (by_torch, "a file could not be written to its end")],
)
def test_a_full_disk_says_what_to_free_and_leaves_no_half_checkpoint(tmp_path, write, said):
    folder = tmp_path / "work"
    checkpoint(folder, 5)
    checkpoint(folder, 6, None)
    told = rf"{said} \(\d+ MiB are free\).*free space, or"
    with pytest.raises(BenchError, match=told) as error, limits_told(RUN, folder):
        write()
    assert "\n" not in str(error.value)
    assert [path.name for path in folder.iterdir()] == ["checkpoint-5"]


def test_other_failures_stay_what_they_are(tmp_path):
    for error in (RuntimeError("shapes cannot be multiplied"), FileNotFoundError("x"), BenchError("x"), KeyError("x")):
        with pytest.raises(type(error)) as raised, limits_told(RUN, tmp_path):
            raise error
        assert raised.value is error


# --- a real training that meets its limits --------------------------------------------------------------------------


def trainer(model_folder, work, steps):
    import torch
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    torch.manual_seed(0)
    model = SentenceTransformer(str(model_folder), device="cpu")
    rows = Dataset.from_dict({"anchor": [f"a {i}" for i in range(40)], "positive": [f"b {i}" for i in range(40)]})
    run = RUN.model_copy(update={"batch_size": 4, "epochs": steps / 10})
    arguments = training_arguments(SentenceTransformerTrainingArguments, run, work, steps, 0, save_steps=2)
    model.model_card_data.widget = [{"text": ""}]
    loss = MultipleNegativesRankingLoss(model)
    return SentenceTransformerTrainer(model=model, args=arguments, train_dataset=rows, loss=loss), run


def steps_of(work):
    return sorted(path.name for path in work.glob("checkpoint-*"))


def test_a_file_that_may_not_grow_ends_training_with_a_line(tiny_model, tmp_path):
    """4 MB of weights may be written, the optimizer's 8 MB may not."""
    work = tmp_path / "work"
    made, run = trainer(tiny_model, work, 4)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6 * 2**20, hard))
    try:
        with pytest.raises(BenchError, match=r"cannot write to .*: (a file|no space).*: free space, or train"):
            train(made, run, work, 4, "x", SILENT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert steps_of(work) == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 18 MB: room for one checkpoint of the tiny model, not for two."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=18m", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root")
def test_on_a_full_disk_the_last_checkpoint_stays_and_training_goes_on_when_there_is_room(tiny_model, small_disk):
    work = small_disk / "work"
    made, run = trainer(tiny_model, work, 8)
    with pytest.raises(BenchError, match=r"\(\d MiB are free\); a checkpoint holds"):
        train(made, run, work, 8, "x", SILENT)
    assert steps_of(work) == ["checkpoint-2"]
    assert json.loads((work / "checkpoint-2" / "trainer_state.json").read_text())["global_step"] == 2
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    heard = Notes()
    again, run = trainer(tiny_model, work, 8)
    assert train(again, run, work, 8, "x", heard) > 0
    assert heard.lines == ["tuned: goes on from step 2 of 8"]
    assert steps_of(work) == ["checkpoint-8"]


def test_after_training_the_model_calculates_exactly_again_and_its_cost_is_known(tiny_model, tmp_path, monkeypatch):
    """Mixed precision that stays around the model would give other scores than the saved weights do."""
    from sentence_transformers import SentenceTransformer

    monkeypatch.setattr(loop, "fast_bfloat16", lambda: True)
    made, run = trainer(tiny_model, tmp_path / "work", 4)
    assert made.args.bf16
    cost = loop.Cost()
    train(made, run, tmp_path / "work", 4, "x", SILENT, [cost.callback()])
    assert cost.steps == 4 and cost.seconds > 0
    made.model.eval().save_pretrained(str(tmp_path / "out"), create_model_card=False)
    plain = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    np.testing.assert_array_equal(made.model.encode(["a 1", "b 2"]), plain.encode(["a 1", "b 2"]))
    assert peak_memory()["process"] > 100


def test_a_checkpoint_with_a_torn_part_of_another_process_is_passed_over(tmp_path):
    import torch

    for step in (4, 8):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
        for rank in (0, 1):
            torch.save({"python": rank}, tmp_path / f"checkpoint-{step}" / f"rng_state_{rank}.pth")
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-8")
    torn = tmp_path / "checkpoint-8" / "rng_state_1.pth"
    torn.write_bytes(torn.read_bytes()[:100])
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
