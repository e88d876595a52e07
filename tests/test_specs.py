import pytest

from benchmark.errors import BenchError
from benchmark.project import Project, builtin_root
from benchmark.specs import AdapterSettings, BenchmarkSpec, DomainSpec, ModelSpec, parse_spec


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
        ({"base": "a", "quantize": "int4"}, "'quantize': Input should be 'int8' or 'binary'"),
        ({"quantize": "int8"}, "'quantize' goes with 'base'"),
        ({"base": "a", "quantize": "int8", "truncate_dim": 8}, "two sources: truncate_dim, quantize"),
        ({"base": "a", "quantize": "int8", "max_length": 8}, "'max_length' is the base's where there is a 'quantize'"),
        (
            {"base": "a", "quantize": "binary", "kind": "sparse"},
            "'quantize' goes with a bi-encoder, not with kind: sparse",
        ),
        ({"base": "a", "truncate_dim": 8, "rescore": 4}, "'rescore' goes with 'quantize'"),
        ({"base": "a", "quantize": "int8", "rescore": -1}, "'rescore'"),
        ({"path": "x", "backend": "onnxx"}, "'backend': Input should be 'torch', 'onnx' or 'openvino'"),
        ({"path": "x", "precision": "int8"}, "'precision: int8' needs 'backend: onnx' or 'backend: openvino'"),
        (
            {"base": "a", "truncate_dim": 8, "backend": "onnx"},
            "'backend' goes with hub, path, package, not with 'truncate_dim'",
        ),
        ({"bm25": {}, "backend": "openvino"}, "'backend' goes with hub, path, package, not with 'bm25'"),
        (
            {"path": "x", "kind": "sparse", "backend": "onnx"},
            "'backend: onnx' goes with a bi-encoder or a cross-encoder",
        ),
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
        "finetune": [{"name": "x", "kind": "biencoder", "bas": "a"}, {"name": "y", "kind": "bi-encoder", "bas": "a"}],
    }
    with pytest.raises(BenchError) as error:
        parse_spec(BenchmarkSpec, value, "b.yaml")
    told = "\n".join(error.value.problems)
    assert "did you mean 'baseline'?" in told
    assert "unknown key 'finetune.1.bas'; did you mean 'base'?" in told
    assert "'finetune.0.kind'" in told
    assert len(error.value.problems) == 6


BENCHMARK = {
    "domains": ["a"],
    "baseline": "b",
    "models": ["b"],
    "generate": {"retriever": "b", "questions_per_chunk": 0},
}
KINDS = "adapter, bi-encoder, cross-encoder, hybrid"


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"kind": "bi-encoder", "base": "b", "epoch": 1.0}, "unknown key 'finetune.0.epoch'; did you mean 'epochs'?"),
        ({"kind": "bi-encoder"}, "the key 'finetune.0.base' is missing"),
        ({"base": "b"}, f"the key 'finetune.0.kind' is missing; it is one of: {KINDS}"),
        ({"kind": "biencoder", "base": "b"},
         f"'finetune.0.kind': 'biencoder' is none of: {KINDS}; did you mean 'bi-encoder'?"),
        ({"kind": "lexical", "base": "b"}, f"'finetune.0.kind': 'lexical' is none of: {KINDS}"),
        ({"kind": "hybrid", "sides": ["b", "c"], "epochs": 3},
         "unknown key 'finetune.0.epochs'; it goes with adapter or bi-encoder or cross-encoder, not with hybrid, which "
         "has: kind, name, sides"),
        ({"kind": "bi-encoder", "base": "b", "lora": {"rank": 3}},
         "unknown key 'finetune.0.lora.rank'; known: alpha, dropout, r, targets"),
        ({"kind": "bi-encoder", "base": "b", "guide": "c"},
         "'finetune.0': 'guide' goes with loss: gist, not with loss: mnrl"),
        ({"kind": "adapter", "base": "b", "epochs": 1.5}, "'finetune.0.epochs': Input should be a valid integer"),
        ({"kind": "adapter", "base": "b", "sweep": {"minutes": 1.0, "grid": {"learning_rate": [2.0]}}},
         "'finetune.0': 'sweep' with {'learning_rate': 2.0}: Input should be less than 1"),
        ({"kind": "adapter", "base": "b", "sweep": {"minutes": 1.0, "grid": {"loss": ["mnrl"]}}},
         "'finetune.0': 'sweep' names loss; this kind of run has batch_size, epochs"),
        ({"kind": "adapter", "base": "b", "sweep": {"minute": 1.0, "minutes": 1.0, "grid": {"epochs": [3]}}},
         "unknown key 'finetune.0.sweep.minute'; did you mean 'minutes'?"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_training_run_is_one_line_without_the_parser_s_words(run, said):
    with pytest.raises(BenchError) as error:
        parse_spec(BenchmarkSpec, {**BENCHMARK, "finetune": [{"name": "x", **run}]}, "b.yaml")
    (line,) = error.value.problems
    assert line.startswith(f"b.yaml: {said}")


def test_nothing_said_about_training_is_no_empty_list():
    assert parse_spec(BenchmarkSpec, BENCHMARK, "b").trains_by_default
    assert not parse_spec(BenchmarkSpec, {**BENCHMARK, "finetune": []}, "b").trains_by_default


def test_trials_are_the_run_as_it_stands_and_every_other_combination():
    run = {"name": "x", "kind": "adapter", "base": "b", "epochs": 30}
    grid = {"epochs": [30, 60], "sides": ["query", "both"]}
    given = {**BENCHMARK, "finetune": [{**run, "sweep": {"minutes": 1.0, "grid": grid}}]}
    trials = parse_spec(BenchmarkSpec, given, "b").finetune[0].trials()
    assert [(trial.epochs, trial.sides) for trial in trials] == [
        (30, "query"),
        (30, "both"),
        (60, "query"),
        (60, "both"),
    ]
    assert all(trial.sweep is None for trial in trials)
    # What the run does not say follows the sides.
    one, two = (parse_spec(AdapterSettings, {"sides": sides}, "x").learning_rate for sides in ("query", "both"))
    assert [trial.learning_rate for trial in trials] == [one, two, one, two] and one != two


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


def test_a_spec_that_takes_part_unnamed_is_checked_as_a_named_one(project):
    path = project.root / "benchmark.yaml"
    start = "domains: [village]\nbaseline: tiny\nmodels: [bm25, sound]\n"
    path.write_text(start)
    write(project, "sound", "hybrid: [bm25, broken]\n")
    write(project, "broken", "pth: x\n")
    write(project, "loop", "hybrid: [bm25, loop]\ncompare: true\n")
    write(project, "parts", "hybrid: [bm25, tinny]\ncompare: true\n")
    with pytest.raises(BenchError) as error:
        project.benchmark(path)
    assert sorted(line for line in error.value.problems if "broken" not in line) == [
        "model_specs/loop.yaml: is composed of itself (loop -> loop)",
        "model_specs/tinny.yaml: no such model spec; did you mean 'tiny'?",
    ]
    # A mistake is told once, whether its spec is a part or might take part itself.
    assert len({line for line in error.value.problems if "broken" in line}) == len(error.value.problems) - 2
    for name in ("loop", "parts", "broken"):
        write(project, name, "hybrid: [bm25, tiny]\n" + ("compare: true\n" if name == "loop" else ""))
    assert project.benchmark(path).compared == ("tiny", "bm25", "sound", "loop")


def test_a_name_that_training_will_emit_is_no_mistake(project):
    path = project.root / "benchmark.yaml"
    path.write_text(
        "domains: [village]\nbaseline: tiny\nmodels: [tuned]\n"
        "generate: {retriever: tiny, questions_per_chunk: 0}\n"
        "finetune: [{name: tuned, kind: bi-encoder, base: tiny}]\n"
    )
    assert project.benchmark(path).compared == ("tiny", "tuned")


ADAPTER = "{name: linear, kind: adapter, base: tiny}"


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (["{name: both, kind: hybrid, sides: [bm25, linear]}", ADAPTER],
         "'finetune.0': 'both' needs 'linear', which 'linear' makes only after it; change their order"),
        (["{name: ce, kind: cross-encoder, base: tiny, first_stage: piped}", ADAPTER],
         "'finetune.0': 'ce' needs 'linear', which 'linear' makes only after it; change their order"),
        (["{name: x, kind: bi-encoder, base: x-mixed}"],
         "'finetune.0': 'x' needs 'x-mixed', which it makes itself"),
        (["{name: both, kind: hybrid, sides: [bm25, linea]}", ADAPTER],
         "model_specs/linea.yaml: no such model spec; did you mean 'linear'?"),
    ],
)  # fmt: skip
def test_a_run_that_needs_a_later_one_is_told_in_one_line(project, runs, said):
    write(project, "piped", "hybrid: [bm25, linear]\n")
    path = project.root / "benchmark.yaml"
    start = "domains: [village]\nbaseline: tiny\nmodels: [bm25]\ngenerate: {retriever: tiny, questions_per_chunk: 0}\n"
    path.write_text(start + "finetune:\n" + "".join(f"  - {run}\n" for run in runs))
    with pytest.raises(BenchError) as error:
        project.benchmark(path)
    (line,) = error.value.problems
    assert said in line
    path.write_text(start + f"finetune:\n  - {ADAPTER}\n  - {{name: both, kind: hybrid, sides: [piped, linear]}}\n")
    assert [run.name for run in project.benchmark(path).finetune] == ["linear", "both"]


def test_the_built_in_project_is_in_order():
    project = Project(builtin_root())
    spec = project.benchmark(project.root / "benchmark.yaml")
    assert spec.baseline == "all-minilm-l6-v2"
    assert project.model_spec("modernbert-embed-base").prompts.query == "search_query: "


def test_no_project_says_what_to_do(tmp_path):
    with pytest.raises(BenchError, match="domainbench init"):
        Project.find(tmp_path)
