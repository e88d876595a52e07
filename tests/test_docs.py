"""The snippets of the documentation work as they stand."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

import benchmark
from benchmark.cli.main import run_app
from benchmark.pipeline import release
from benchmark.specs import (
    AdapterRun,
    AdapterSettings,
    ApiSettings,
    BenchmarkSpec,
    BiEncoderRun,
    CrossEncoderRun,
    DomainSpec,
    HybridRun,
    ModelSpec,
    Run,
    WeightsRun,
    parse_spec,
)
from benchmark.specs.finetune import BiEncoderLoss, CrossEncoderLoss, Lora, Sweep

ROOT = Path(__file__).resolve().parent.parent


def snippets(name, language):
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_mteb_snippets_run(project, monkeypatch, capsys):
    code, reading = snippets("docs/mteb.md", "python")
    assert "benchmark.register_tasks()" in code
    monkeypatch.chdir(project.root)
    code = code.replace("results/structured_finance/models/sf-biencoder", "weights/tiny")
    code = code.replace("StructuredFinanceRetrieval", "VillageRetrieval")
    exec(compile(code, "docs/mteb.md", "exec"), {})
    assert 0 <= float(capsys.readouterr().out.strip().splitlines()[-1]) <= 1

    (project.root / "benchmark.yaml").write_text("domains: [village]\nbaseline: tiny\nmodels: [bm25]\nfinetune: []\n")
    assert run_app(["evaluate"]) == 0
    release()
    capsys.readouterr()
    exec(compile(reading.replace("structured_finance", "village"), "docs/mteb.md", "exec"), {})
    assert "VillageRetrieval" in capsys.readouterr().out


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


FINETUNING = "docs/finetuning.md"
KINDS = (AdapterRun, BiEncoderRun, CrossEncoderRun, HybridRun)
TABLES = {  # section of docs/finetuning.md -> the part whose keys it has, those of the parts behind it left out
    "Every run": (Run,),
    "Adapter": (AdapterSettings,),
    "Runs that change weights": (WeightsRun, Run),
    "Bi-encoder": (BiEncoderRun, WeightsRun),
    "Cross-encoder": (CrossEncoderRun, WeightsRun),
    "Hybrid": (HybridRun, Run),
    "LoRA": (Lora,),
    "Sweep": (Sweep,),
}


def documented(section):
    """Key -> what stands in its column `default`."""
    text = (ROOT / FINETUNING).read_text(encoding="utf-8")
    (part,) = re.findall(rf"^### {section}\n(.*?)(?=^##)", text, re.DOTALL | re.MULTILINE)
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", part, re.MULTILINE))


def own_fields(section):
    first, *others = TABLES[section]
    fields = {name: field for name, field in first.model_fields.items() if name != "kind"}
    return {name: field for name, field in fields.items() if not any(name in other.model_fields for other in others)}


@pytest.mark.parametrize("section", TABLES)
def test_the_training_keys_in_the_documentation_are_the_real_ones(section):
    found, fields = documented(section), own_fields(section)
    assert found.keys() == fields.keys()
    for name, cell in found.items():
        stated = [yaml.safe_load(text) for text in re.findall(r"`([^`]+)`", cell)]
        if fields[name].is_required():
            assert cell == "required", name
        elif fields[name].default is None:
            assert cell and not stated and cell != "required", name  # said in words what happens then
        else:
            assert stated[0] == fields[name].default, name
            assert type(stated[0]) is type(fields[name].default), name


def test_no_training_key_is_missing_from_the_documentation():
    known = {name for section in TABLES for name in documented(section)}
    for kind in KINDS:
        assert set(kind.model_fields) - {"kind"} <= known, kind.__name__


def test_the_documented_defaults_of_a_two_sided_adapter_are_the_real_ones():
    both = AdapterSettings(sides="both")
    cells = {name: re.findall(r"`([^`]+)`", cell) for name, cell in documented("Adapter").items()}
    for name, stated in cells.items():
        if name != "sides":
            assert yaml.safe_load(stated[-1]) == getattr(both, name), name


def test_the_documented_keys_of_an_api_are_the_real_ones():
    text = (ROOT / "docs/files.md").read_text(encoding="utf-8").split("### Models behind an API")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (.*?) ?\|", text, re.MULTILINE)
    found = {name: cell for names, cell in rows for name in re.findall(r"\w+", names)}
    assert found.keys() == ApiSettings.model_fields.keys()
    for name, cell in found.items():
        field = ApiSettings.model_fields[name]
        if field.is_required():
            assert cell == "", name
        else:
            assert (None if cell in {"none", "unknown"} else yaml.safe_load(cell)) == field.default, name


def test_every_loss_is_in_the_table():
    text = (ROOT / FINETUNING).read_text(encoding="utf-8").split("## Losses")[1].split("\n## ")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE) == [
        *get_args(BiEncoderLoss),
        *get_args(CrossEncoderLoss),
    ]


@pytest.mark.parametrize("name", ["docs/files.md", FINETUNING])
def test_the_training_runs_in_the_documentation_are_valid(name):
    checked = 0
    for text in snippets(name, "yaml"):
        value = yaml.safe_load(text)
        if "finetune" in value:
            more = {
                "domains": ["d"],
                "baseline": "b",
                "models": ["b"],
                "generate": {"retriever": "b", "questions_per_chunk": 0},
            }
            spec = parse_spec(BenchmarkSpec, {**more, **value}, name)
            assert all(run.trials() for run in spec.finetune if not isinstance(run, HybridRun))
            checked += len(spec.finetune)
        elif {"general", "models"} & value.keys():
            parse_spec(BenchmarkSpec, {"domains": ["d"], "baseline": "b", "models": ["b"], **value}, name)
        elif "retriever" in value:
            parse_spec(ModelSpec, value, name)
    assert checked >= 4


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
