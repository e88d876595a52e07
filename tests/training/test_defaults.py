"""What is trained where the benchmark file does not say."""

import pytest

from benchmark.errors import BenchError
from benchmark.specs import BenchmarkSpec, parse_spec
from benchmark.training import defaults
from benchmark.training.defaults import bi_encoder_settings, default_runs, with_data


def spec(baseline="tiny", **more):
    return with_data(
        parse_spec(BenchmarkSpec, {"domains": ["village"], "baseline": baseline, "models": ["bm25"], **more}, "b")
    )


def runs(project, given, pairs=1500):
    return default_runs(project, project.domain("village"), given, pairs)


def test_without_a_section_queries_are_cut_from_the_text_alone():
    made = spec().generate
    assert made.llm is None and made.questions_per_chunk == 0 and made.retriever == "tiny"
    given = {"retriever": "tiny", "questions_per_chunk": 0, "pseudo": {"per_chunk": 2}}
    assert spec(generate=given).generate.pseudo.per_chunk == 2


@pytest.mark.parametrize(("device", "kinds"), [("cpu", ["adapter"]), ("cuda", ["adapter", "bi-encoder"])])
def test_an_adapter_everywhere_and_a_bi_encoder_on_a_gpu(project, monkeypatch, device, kinds):
    monkeypatch.setattr(defaults, "device_name", lambda: device)
    made = runs(project, spec())
    assert [run.kind for run in made] == kinds
    assert [run.name for run in made] == ["village-adapter", "village-tuned"][: len(kinds)]
    assert all(run.base == "tiny" for run in made)


def test_a_base_that_only_gives_vectors_gets_an_adapter(project, monkeypatch):
    monkeypatch.setattr(defaults, "device_name", lambda: "cuda")
    (project.specs_folder / "short.yaml").write_text("base: tiny\ntruncate_dim: 16\n")
    assert [run.kind for run in runs(project, spec("short"))] == ["adapter"]


@pytest.mark.parametrize("text", ["bm25: {}\n", "path: weights/tiny\nkind: cross-encoder\n", "hybrid: [bm25, tiny]\n"])
def test_a_baseline_without_vectors_is_told(project, text):
    (project.specs_folder / "odd.yaml").write_text(text)
    with pytest.raises(BenchError, match="the baseline 'odd' gives no vectors that could be tuned"):
        runs(project, spec("odd"))


@pytest.mark.parametrize(("pairs", "loss", "batch"), [(999, "mnrl", 32), (1000, "gist", 64), (10_001, "gist", 128)])
def test_settings_follow_the_number_of_queries(project, monkeypatch, pairs, loss, batch):
    monkeypatch.setattr(defaults, "device_name", lambda: "cuda")
    run = runs(project, spec(), pairs)[1]
    assert (run.loss, run.batch_size) == (loss, batch)
    assert run.hard_negatives == (0 if loss == "mnrl" else 2)
    few = {"retriever": "tiny", "questions_per_chunk": 0, "negatives": {"count": 1}}
    assert runs(project, spec(generate=few), pairs)[1].hard_negatives <= 1


def test_a_large_base_is_tuned_more_carefully():
    assert bi_encoder_settings(500, 4, 300_000_000)["learning_rate"] == 1e-5
    assert bi_encoder_settings(500, 4, None)["learning_rate"] == 2e-5
