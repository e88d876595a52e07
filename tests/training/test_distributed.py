"""Several processes started by `torchrun`, on two CPU processes with a tiny model."""

import json
import os
import subprocess
import sys
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


def torchrun(project, *words):
    """`torchrun --nproc-per-node 2 $(which domainbench) WORDS`, as users start it: exit code, output, errors."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(COMMAND)]
    environment = {name: value for name, value in os.environ.items() if name not in distributed._GIVEN}
    process = subprocess.run(
        [*command, "--project", str(project.root), *words], env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    return process.returncode, process.stdout, process.stderr


# What torchrun does with the line that it is given, but that its processes are forked: they need not load torch anew.
FORKED = """
import os, resource, runpy, signal, sys
import torch
import torch.distributed.run as torchrun

def work(_, script, *words):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)  # the launcher's own, which a program that is started does not inherit
    torch.set_num_threads(1)
    sys.argv = [script, *words]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise

def forked(args):
    config, _, words = plain(args)
    config.start_method = "fork"
    return config, work, words

os.dup2(os.open({output!r}, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
for name in {given!r}:
    os.environ.pop(name, None)
plain, torchrun.config_from_args = torchrun.config_from_args, forked
{before}
torchrun.main({line!r})
"""


@pytest.fixture
def run(start, tmp_path):
    """What `torchrun` does, but that a warm process forks the two; `before` is done before they are.

    Called, it returns exit code, output and errors.
    """

    def whole(project, *words, before=""):
        line = ["--nproc-per-node", "2", str(COMMAND), "--project", str(project.root), *words]
        output = tmp_path / "output"
        code = FORKED.format(given=distributed._GIVEN, output=str(output), before=before, line=line)
        process = start(code, OMP_NUM_THREADS="1")
        return process.wait(), output.read_text(), process.stderr

    return whole


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
    code, out, err = torchrun(plain, "finetune")
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


def test_a_mistake_ends_all_processes_with_one_line(plain, run):
    write(plain, base="tinny")
    code, _, err = run(plain, "finetune")
    assert code != 0 and err.count("error: ") == 1 and "did you mean 'tiny'" in err, err
    assert "exitcode  : 2" in err, "torchrun tells what the command ended with"


def test_a_failure_in_the_middle_of_training_ends_all_processes_with_one_line(plain, run):
    """The first process cannot write its checkpoint while the other one waits for it."""
    no_large_files = "resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, 2**21))"
    code, _, err = run(plain, "finetune", "tuned", before=no_large_files)
    assert code != 0 and err.count("error: ") == 1 and "error: tuned: cannot write to" in err, err
    assert run_app(["--project", str(plain.root), "finetune", "tuned"]) == 0


def test_what_is_no_training_is_done_by_one_process(plain, run):
    code, out, err = run(plain, "ingest")
    assert code == 0 and out.count("village: ") == 1
    assert "2 processes were started; ingest is done by one" in err


def test_one_process_killed_ends_the_other_and_training_goes_on_later(plain, run, doom):
    write(plain, epochs=2)
    work = plain.root / "results" / "village" / "models" / ".tuned.checkpoints"
    code, _, err = run(plain, "finetune", "tuned", before=doom)
    # Whichever of the two the launcher sees end first.
    assert code != 0 and ("exitcode  : -9" in err or "another process of this training has ended" in err), err
    assert last_checkpoint(work) is not None and not (plain.specs_folder / "tuned.yaml").exists()
    code, _, err = run(plain, "finetune", "tuned")
    assert code == 0 and "goes on from step 2 of 10" in err, err
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
