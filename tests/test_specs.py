import pytest

from benchmark.errors import BenchError
from benchmark.project import Project, builtin_root
from benchmark.specs import BenchmarkSpec, DomainSpec, ModelSpec, parse_spec


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "no source; exactly one of hub, path"),
        ({"path": "x", "hub": "a/b"}, "two sources: hub, path"),
        ({"path": "x", "max_lenght": 3}, "unknown key 'max_lenght'; did you mean 'max_length'?"),
        ({"path": "x", "prompts": {"qery": "a"}}, "unknown key 'prompts.qery'; did you mean 'query'?"),
        ({"path": "x", "max_length": "12"}, "'max_length'"),
        ({"path": "x", "revision": "main"}, "'revision' goes with 'hub'"),
        ({"hub": "no-slash"}, "organisation/model"),
        ({"hub": "a/b", "trust_remote_code": True}, "40 hex digits"),
        ({"hub": "a/b", "revision": "main", "trust_remote_code": True}, "40 hex digits"),
        ({"retriever": "a"}, "'retriever' goes with 'reranker'"),
        ({"hybrid": ["a", "b"], "weights": [0.0, 0.0]}, "'weights' are both 0"),
        ({"base": "a", "path": "x"}, "'base' goes with 'truncate_dim'"),
    ],
)
def test_mistakes_in_a_model_spec(value, said):
    with pytest.raises(BenchError) as error:
        parse_spec(ModelSpec, value, "x.yaml")
    assert any(said in line for line in error.value.problems), error.value.problems
    assert all(line.startswith("x.yaml: ") for line in error.value.problems)


def test_all_mistakes_of_a_file_are_told_at_once():
    value = {
        "domains": [],
        "baselin": "a",
        "models": ["a"],
        "finetune": [{"name": "x", "kind": "biencoder", "bas": "a"}],
    }
    with pytest.raises(BenchError) as error:
        parse_spec(BenchmarkSpec, value, "b.yaml")
    told = "\n".join(error.value.problems)
    assert "did you mean 'baseline'?" in told
    assert "unknown key 'finetune.0.bas'; did you mean 'base'?" in told
    assert "'finetune.0.kind'" in told
    assert len(error.value.problems) >= 5


def test_own_code_is_allowed_only_with_a_pinned_commit():
    spec = parse_spec(ModelSpec, {"hub": "a/b", "revision": "0" * 40, "trust_remote_code": True}, "x")
    assert spec.source == "hub"
    assert not parse_spec(ModelSpec, {"hub": "a/b"}, "x").trust_remote_code


def test_a_domain_needs_chunking_unless_it_is_ready_made():
    with pytest.raises(BenchError, match="'chunking' is missing"):
        parse_spec(DomainSpec, {"title": "x", "reranking": {"base": "a"}}, "d")
    assert parse_spec(DomainSpec, {"title": "x", "beir": ".", "reranking": {"base": "a"}}, "d").chunking is None


def write(project: Project, name: str, text: str) -> None:
    (project.specs_folder / f"{name}.yaml").write_text(text)


def test_a_spec_name_keeps_its_dots(project):
    write(project, "bge-small-en-v1.5", "hub: BAAI/bge-small-en-v1.5\n")
    assert "bge-small-en-v1.5" in project.spec_names
    assert project.model_spec("bge-small-en-v1.5").hub == "BAAI/bge-small-en-v1.5"
    with pytest.raises(BenchError, match=r"did you mean 'bge-small-en-v1.5'"):
        project.model_spec("bge-small-en-v1")


def test_a_benchmark_file_is_checked_down_to_the_last_name(project):
    write(project, "loop", "hybrid: [loop, bm25]\n")
    write(project, "broken", "pth: x\n")
    path = project.root / "benchmark.yaml"
    path.write_text("domains: [villag]\nbaseline: tinny\nmodels: [loop, broken, bm25]\n")
    with pytest.raises(BenchError) as error:
        project.benchmark(path)
    told = "\n".join(error.value.problems)
    assert "did you mean 'village'" in told
    assert "did you mean 'tiny'" in told
    assert "composed of itself" in told
    assert "did you mean 'path'" in told


def test_a_name_that_training_will_emit_is_no_mistake(project):
    path = project.root / "benchmark.yaml"
    path.write_text(
        "domains: [village]\nbaseline: tiny\nmodels: [tuned]\n"
        "generate: {retriever: tiny, questions_per_chunk: 0}\n"
        "finetune: [{name: tuned, kind: bi-encoder, base: tiny}]\n"
    )
    assert project.benchmark(path).compared == ("tiny", "tuned")


def test_the_built_in_project_is_in_order():
    project = Project(builtin_root())
    spec = project.benchmark(project.root / "benchmark.yaml")
    assert spec.baseline == "all-minilm-l6-v2"
    assert project.model_spec("modernbert-embed-base").prompts.query == "search_query: "


def test_no_project_says_what_to_do(tmp_path):
    with pytest.raises(BenchError, match="domainbench init"):
        Project.find(tmp_path)
