"""The snippets of the documentation work as they stand."""

import json
import re
from pathlib import Path

import pytest
import yaml

import benchmark
from benchmark.specs import DomainSpec, FinetuneSpec, ModelSpec, parse_spec

ROOT = Path(__file__).resolve().parent.parent


def snippets(name, language):
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_mteb_snippet_runs(project, monkeypatch, capsys):
    (code,) = snippets("docs/mteb.md", "python")
    assert "benchmark.register_tasks()" in code
    monkeypatch.chdir(project.root)
    code = code.replace("results/structured_finance/models/sf-biencoder", "weights/tiny")
    code = code.replace("StructuredFinanceRetrieval", "VillageRetrieval")
    exec(compile(code, "docs/mteb.md", "exec"), {})
    assert 0 <= float(capsys.readouterr().out.strip().splitlines()[-1]) <= 1


def test_the_built_in_task_is_known_to_mteb_by_its_name(monkeypatch, tmp_path):
    import mteb

    monkeypatch.chdir(tmp_path)
    assert "StructuredFinanceRetrieval" in benchmark.register_tasks()
    task = mteb.get_task("StructuredFinanceRetrieval")
    assert task.metadata.main_score == "ndcg_at_10"
    assert mteb.get_task("StructuredFinanceReranking").metadata.type == "Reranking"


def test_the_yaml_snippets_are_valid():
    kinds = {"title:": DomainSpec, "# a model": ModelSpec}
    checked = 0
    for text in snippets("docs/files.md", "yaml"):
        for start, kind in kinds.items():
            if text.startswith(start):
                parse_spec(kind, yaml.safe_load(text), "docs/files.md")
                checked += 1
    assert checked >= 3


def test_the_training_runs_in_the_documentation_state_the_defaults():
    (text,) = [text for text in snippets("docs/files.md", "yaml") if text.startswith("finetune:")]
    (run,) = yaml.safe_load(text)["finetune"]
    spec = parse_spec(FinetuneSpec, run, "docs/files.md")
    plain = parse_spec(FinetuneSpec, {name: run[name] for name in ("name", "kind", "base")}, "docs/files.md")
    assert spec.linear == plain.linear
    assert set(run["adapter"]) == set(spec.linear.model_dump())


@pytest.mark.parametrize("name", ["README.md", "docs/files.md"])
def test_the_questions_in_the_documentation_are_json(name):
    for text in snippets(name, "json"):
        for line in text.strip().splitlines():
            assert {"id", "question", "evidence"} <= json.loads(line).keys()


def test_links_lead_somewhere():
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\(([^)#]+?)\)", path.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (path.parent / target).exists(), f"{path.name}: {target}"
