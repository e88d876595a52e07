"""The command as a user meets it: exit codes, one line for a mistake, everything documented."""

import re
import shutil
from pathlib import Path

import pytest
import typer.main

from benchmark.cli.main import app, run_app
from benchmark.device import device_name
from benchmark.pipeline import hold, release
from benchmark.project import Project

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = typer.main.get_command(app).commands


def run(capsys, *words):
    code = run_app([str(word) for word in words])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    return code, captured.out, captured.err


@pytest.fixture
def bench(project):
    path = project.root / "benchmark.yaml"
    path.write_text("domains: [village]\nbaseline: tiny\nmodels: [bm25]\n")
    return project, path


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_and_stands_in_the_documentation(name):
    assert COMMANDS[name].help
    assert all(parameter.help for parameter in COMMANDS[name].params if getattr(parameter, "name", "") != "help")
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert f"domainbench {name}" in text


def test_documentation_names_no_command_that_is_not_there():
    pattern = r"domainbench (?:--project \S+ )?([a-z]+)"
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = path.read_text(encoding="utf-8")
        code = "\n".join([*re.findall(r"```\n(.*?)```", text, re.DOTALL), *re.findall(r"`([^`\n]+)`", text)])
        for name in re.findall(rf"^{pattern}", code, re.MULTILINE):
            assert name in COMMANDS, f"{path.name}: domainbench {name}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluat"], "Did you mean 'evaluate'?"),
        (["run", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["--project", "nowhere", "check"], "nowhere: no such folder"),
        (["run", "--frsh"], "No such option"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_code_2(bench, capsys, monkeypatch, words, said):
    project, _ = bench
    monkeypatch.chdir(project.root)
    code, _, err = run(capsys, *words)
    assert code == 2
    assert said in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("domains: [village]\nbaseline: tiny\nmodels: [bm25]\nmodles: []\n", ["unknown key 'modles'; did you mean 'models'?"]),
        ("domains: [village\n", ["broken YAML"]),
        ("domains: [town]\nbaseline: tny\nmodels: [bm26]\n", ["town", "did you mean 'tiny'", "did you mean 'bm25'"]),
        ("domains: [village]\nbaseline: tiny\nmodels: [bm25]\nseed: 1\nseed: 2\n", [":5: broken YAML: the key 'seed'"]),
    ],
)  # fmt: skip
def test_mistakes_in_the_benchmark_file(bench, capsys, text, said):
    project, path = bench
    path.write_text(text)
    code, out, err = run(capsys, "--project", project.root, "run")
    assert code == 2
    assert out == ""
    assert all(part in err for part in said), err
    assert all(line.startswith("error: ") for line in err.strip().splitlines())
    assert not (project.root / "results").exists()


def test_check_tells_all_mistakes_and_writes_nothing(bench, capsys):
    project, path = bench
    (project.specs_folder / "bad.yaml").write_text("pth: x\n")
    path.write_text("domains: [village]\nbaseline: tiny\nmodels: [bm26]\n")
    questions = project.root / "tasks" / "village" / "questions.jsonl"
    text = questions.read_text().replace("no boat goes faster than three knots", "no boat goes faster than four knots")
    questions.write_text(text + '{"id": "q1", "question": "twice?", "answer": "", "evidence": []}\n')
    before = sorted(path.as_posix() for path in project.root.rglob("*"))
    code, out, err = run(capsys, "--project", project.root, "check")
    assert code == 2
    assert "did you mean 'path'" in err
    assert "did you mean 'bm25'" in err
    assert "q2" in err
    assert "harbour.md" in err
    assert "three knots" in err, "the nearest text is shown"
    assert re.search(r"questions.jsonl:10: .*q1", err)
    assert re.search(r"[5-9] mistake\(s\)", out)
    assert sorted(path.as_posix() for path in project.root.rglob("*")) == before


def test_check_of_a_project_in_order(bench, capsys):
    project, _ = bench
    code, out, _ = run(capsys, "--project", project.root, "check")
    assert code == 0
    assert "0 mistake(s)" in out


def test_a_second_process_on_the_same_results_is_told_to_wait(bench, capsys):
    project, _ = bench
    hold(project.domain("village"))
    try:
        code, _, err = run(capsys, "--project", project.root, "ingest")
    finally:
        release()
    assert code == 2
    assert "another domainbench is at work here" in err


def test_a_full_disk_is_one_line(bench, capsys, monkeypatch):
    import errno

    from benchmark import files

    project, _ = bench

    def fail(_):
        raise OSError(errno.ENOSPC, "No space left on device", "chunks.jsonl")

    monkeypatch.setattr(files.os, "fsync", fail)
    code, _, err = run(capsys, "--project", project.root, "ingest")
    assert code == 2
    assert err.strip().splitlines()[-1] == "error: chunks.jsonl: No space left on device; nothing was half-written"
    assert not (project.root / "results" / "village" / "chunks").exists()


def test_init_makes_a_project_that_is_in_order(tmp_path, capsys):
    code, out, _ = run(capsys, "init", tmp_path / "mine")
    assert code == 0
    assert "documents" in out
    assert not [p for p in (tmp_path / "mine" / "model_specs").glob("*") if p.name.startswith("sf-")]
    ignored = (tmp_path / "mine" / ".gitignore").read_text().splitlines()[1:]
    own = (Path(__file__).parent.parent / ".gitignore").read_text().splitlines()
    assert ignored == [line for line in own if line.startswith("results/")]
    code, out, err = run(capsys, "--project", tmp_path / "mine", "check")
    assert (code, err.count("error:")) == (0, 0), err
    code, _, err = run(capsys, "init", tmp_path / "mine")
    assert code == 2
    assert "is not empty" in err
    shutil.rmtree(tmp_path / "mine")


def test_finetune_without_a_section_makes_an_adapter_and_says_how_to_compare_it(bench, capsys):
    """No language model, no training runs, no `generate`: documents and a baseline are enough."""
    project, path = bench
    path.write_text("domains: [village]\nbaseline: all-minilm-l6-v2\nmodels: [bm25]\nbootstrap: 1000\n")
    if device_name() != "cpu":
        pytest.skip("on a GPU it makes a bi-encoder as well (tests/training/test_defaults.py)")
    code, out, _ = run(capsys, "--project", project.root, "finetune")
    assert code == 0
    assert re.search(r"village-adapter: development nDCG@10 [01]\.\d{4} -> [01]\.\d{4}\n", out)
    assert re.search(r"village-adapter: (tuned|mixed|base): \w", out)
    assert out.endswith(
        "to compare them, add under 'models:' in the benchmark file:\n  - village-adapter\n"
        "then: domainbench evaluate village-adapter, or domainbench run for all of it\n"
    )
    spec = project.model_spec("village-adapter")
    assert spec.base == "all-minilm-l6-v2" and spec.provenance["run"] == "village-adapter"

    code, out, _ = run(capsys, "--project", project.root, "evaluate", "village-adapter")
    assert code == 0 and "VillageRetrieval village-adapter: nDCG@10 0." in out
    path.write_text(path.read_text().replace("models: [bm25]", "models:\n  - bm25\n  - village-adapter"))
    code, out, _ = run(capsys, "--project", project.root, "run")
    assert code == 0 and "village-adapter" in out
    code, out, _ = run(capsys, "--project", project.root, "finetune")
    assert code == 0 and "to compare" not in out, "it is compared already"
    code, _, err = run(capsys, "--project", project.root, "finetune", "village-adpter")
    assert code == 2 and "no run 'village-adpter'" in err and "there are: village-adapter" in err


def test_an_empty_list_of_runs_trains_nothing(bench, capsys):
    project, path = bench
    path.write_text("domains: [village]\nbaseline: tiny\nmodels: [bm25]\nfinetune: []\n")
    code, out, _ = run(capsys, "--project", project.root, "finetune")
    assert (code, out) == (0, "'finetune' is empty in the benchmark file: nothing to train\n")
    assert not (project.root / "results" / "village" / "synthetic").exists()


def test_a_baseline_without_vectors_is_no_start(bench, capsys):
    project, path = bench
    generate = "generate: {retriever: tiny, questions_per_chunk: 0, filters: {off: all}}\n"
    path.write_text(f"domains: [village]\nbaseline: bm25\nmodels: [tiny]\n{generate}")
    code, _, err = run(capsys, "--project", project.root, "finetune")
    assert code == 2 and "the baseline 'bm25' gives no vectors that could be tuned" in err


def test_one_run_that_needs_another_says_which_comes_first(bench, capsys):
    project, path = bench
    path.write_text(
        "domains: [village]\nbaseline: tiny\nmodels: [bm25]\ngenerate: {retriever: tiny, questions_per_chunk: 0}\n"
        "finetune:\n  - {name: one, kind: adapter, base: tiny}\n  - {name: two, kind: hybrid, sides: [bm25, one]}\n"
    )
    code, _, err = run(capsys, "--project", project.root, "finetune", "two")
    assert code == 2 and "'two' needs 'one'; make it first with: domainbench finetune one" in err


def test_the_template_of_a_new_project_trains_an_adapter_and_shows_a_bi_encoder(tmp_path, capsys):
    assert run(capsys, "init", tmp_path / "mine")[0] == 0
    path = tmp_path / "mine" / "benchmark.yaml"
    runs = Project(tmp_path / "mine").benchmark(path).finetune
    assert [found.kind for found in runs] == ["adapter", "hybrid"]
    before, _, after = path.read_text().partition("  # - name: my-biencoder\n")
    shown = re.sub(r"(?m)^  #   ", "    ", after)
    shown = re.sub(r"(?m)^  # - my-", "  - my-", shown)
    path.write_text(f"{before}  - name: my-biencoder\n{shown}")
    spec = Project(tmp_path / "mine").benchmark(path)
    assert [found.kind for found in spec.finetune] == ["adapter", "bi-encoder", "hybrid"]
    assert spec.finetune[1].sweep is not None and set(spec.models) >= set(spec.finetune[1].emits)
