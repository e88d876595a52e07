"""Several processes started by `torchrun`, as a user starts them, on two CPU processes with a tiny model."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from benchmark.cli.main import run_app
from benchmark.training import distributed
from benchmark.training.loop import last_checkpoint

BENCHMARK = """\
domains: [village]
generate:
  retriever: tiny
  questions_per_chunk: 0
  pseudo: {per_chunk: 6}
  filters: {off: [round_trip], near_duplicate: 1.0, leak_similarity: 1.0}
  negatives: {margin: 1.0, near_duplicate: 1.0}
finetune:
  - {name: tuned, kind: bi-encoder, base: BASE, batch_size: 4, max_length: 48, learning_rate: 1.0e-3, epochs: EPOCHS,
     mix: [], max_pairs: 20}
  - {name: linear, kind: adapter, base: tuned, epochs: 2}
  - {name: cross, kind: cross-encoder, base: tiny, loss: lambda, first_stage: bm25, depth: 6, batch_size: 12,
     mini_batch_size: 6, lora: {r: 4}, gradient_checkpointing: true, max_length: 48}
baseline: tiny
models: [bm25, tuned]
"""
COMMAND = Path(sys.executable).with_name("domainbench")


def write(project, epochs=1, base="tiny"):
    text = BENCHMARK.replace("EPOCHS", str(epochs)).replace("BASE", base)
    (project.root / "benchmark.yaml").write_text(text)


def start(project, *words, **options):
    """`torchrun --nproc-per-node 2 $(which domainbench) WORDS`."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(COMMAND)]
    environment = {name: value for name, value in os.environ.items() if name not in distributed._GIVEN}
    return subprocess.Popen(
        [*command, "--project", str(project.root), *words], env={**environment, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def run(project, *words, **options):
    process = start(project, *words, **options)
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


@pytest.fixture
def plain(project):
    """The project with a base that has no dropout, so that two ways to train it can be compared."""
    path = project.root / "weights" / "tiny" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}))
    write(project)
    return project


def length(left, right):
    """Of the way from the one model's weights to the other's."""
    return np.sqrt(sum(np.square(left[name] - right[name]).sum() for name in left))


def test_two_processes_train_what_one_trains_and_say_it_once(plain):
    folder = plain.root / "results" / "village" / "models" / "tuned"
    code, out, err = run(plain, "finetune")
    assert code == 0, err
    assert out.count("tuned: development nDCG@10") == 1 and "linear: development" in out
    assert err.count("wrote model_specs/tuned.yaml") == 1 and "Warning" not in err and "Traceback" not in err
    assert json.loads((folder / "manifest.json").read_text())["device"] == "cpu, 2 processes"
    together = load_file(folder / "model.safetensors")

    # The cross-encoder's looks at the development split are shared, and one process writes.
    assert err.count("cross: best at step") == 1
    manifest = json.loads((plain.domain("village").model("cross") / "manifest.json").read_text())
    assert manifest["device"] == "cpu, 2 processes"
    assert manifest["facts"]["best_step"] in [look["step"] for look in manifest["facts"]["looks"]]
    assert plain.model_spec("cross-fused").reranker == "cross"

    (folder / "manifest.json").unlink()
    assert run_app(["--project", str(plain.root), "finetune", "tuned"]) == 0
    alone, base = load_file(folder / "model.safetensors"), load_file(plain.root / "weights/tiny/model.safetensors")
    # By length: where a gradient is nothing but rounding, Adam makes a whole step of it.
    assert length(alone, base) > 0.1 and length(alone, together) < length(alone, base) / 10


def test_a_mistake_ends_all_processes_with_one_line(plain):
    write(plain, base="tinny")
    code, _, err = run(plain, "finetune")
    assert code != 0 and err.count("error: ") == 1 and "did you mean 'tiny'" in err, err
    assert "exitcode  : 2" in err, "torchrun tells what the command ended with"


def test_a_failure_in_the_middle_of_training_ends_all_processes_with_one_line(plain):
    """The first process cannot write its checkpoint while the other one waits for it."""

    def no_large_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, 2**21))

    code, _, err = run(plain, "finetune", "tuned", preexec_fn=no_large_files)
    assert code != 0 and err.count("error: ") == 1 and "error: tuned: cannot write to" in err, err
    assert run_app(["--project", str(plain.root), "finetune", "tuned"]) == 0


def test_what_is_no_training_is_done_by_one_process(plain):
    code, out, err = run(plain, "ingest")
    assert code == 0 and out.count("village: ") == 1
    assert "2 processes were started; ingest is done by one" in err


def rank_of(process):
    """The pid of the second process that torchrun started."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            given = dict(line.split("=", 1) for line in path.read_text().split("\0") if "=" in line)
            parent = int((path.parent / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if parent == process.pid and given.get("RANK") == "1":
            return int(path.parent.name)
    raise AssertionError("no second process")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes by /proc")
def test_one_process_killed_ends_the_other_and_training_goes_on_later(plain):
    write(plain, epochs=12)
    work = plain.root / "results" / "village" / "models" / ".tuned.checkpoints"
    process = start(plain, "finetune", "tuned")
    deadline = time.monotonic() + 200
    while last_checkpoint(work) is None and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(rank_of(process), signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert not (plain.specs_folder / "tuned.yaml").exists()
    code, _, err = run(plain, "finetune", "tuned")
    assert code == 0 and "goes on from step" in err, err
    assert not work.exists()


def test_without_a_launcher_nothing_is_different():
    assert distributed.processes() == 1 and distributed.is_first() and distributed.is_to_tell()
    with distributed.together():
        pass
    distributed.join()
    distributed.dismiss(0)
    assert list(distributed.orders()) == [] and distributed.exit_code() == 0


def test_more_processes_than_gpus_are_refused(monkeypatch):
    import torch

    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(Exception, match=r"2 or more processes on a machine with 1 GPU\(s\); start one for each GPU"):
        distributed._take_gpu()
