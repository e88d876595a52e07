"""From documents to runs: no model sees a text, or a pair, for a second time, whatever it is needed for."""

from collections import Counter

import pytest

from benchmark.cli.main import run_app
from benchmark.encoders.dense import DenseEncoder
from benchmark.evaluation import evaluate, rates
from benchmark.project import Project
from benchmark.training import mixing
from benchmark.weights import model_fingerprint

BENCHMARK = """\
domains: [village]
generate:
  retriever: tiny
  questions_per_chunk: 0
  pseudo: {per_chunk: 6}
  development_share: 0.3
  negatives: {count: 1}
  filters: {off: [round_trip], near_duplicate: 1.0, leak_similarity: 1.0}
finetune:
  - {name: linear, kind: adapter, base: tiny, epochs: 2, learning_rate: 1.0e-3, batch_size: 16}
  - {name: tuned, kind: bi-encoder, base: tiny, epochs: 3, learning_rate: 1.0e-2, batch_size: 16, hard_negatives: 0, mix: [0.5]}
baseline: tiny
models: [bm25, linear, cut, fused, tuned, tuned-mixed, two, three]
"""


@pytest.fixture
def seen(monkeypatch):
    """How often each model saw each text (by fingerprint and role) and each pair, where no time was measured."""
    from sentence_transformers import CrossEncoder

    counts, passed = Counter(), []

    def elsewhere(function):
        def called(*given):
            passed.append(function)
            try:
                return function(*given)
            finally:
                passed.pop()

        return called

    # To be measured, an encoder has to work; while models are mixed, it has not the weights of its fingerprint.
    monkeypatch.setattr(evaluate, "measure_costs", elsewhere(evaluate.measure_costs))
    monkeypatch.setattr(rates, "_measured", elsewhere(rates._measured))
    monkeypatch.setattr(mixing.Ground, "encoded", elsewhere(mixing.Ground.encoded))
    encode, predict = DenseEncoder.encode, CrossEncoder.predict

    def encoding(self, texts, role, *more):
        # A model is made to see an empty text before it is saved.
        counts.update((self.fingerprint, role, text) for text in texts if text and not passed)
        return encode(self, texts, role, *more)

    def predicting(self, pairs, **more):
        counts.update(("pair", *pair) for pair in pairs if not passed)
        return predict(self, pairs, **more)

    monkeypatch.setattr(DenseEncoder, "encode", encoding)
    monkeypatch.setattr(CrossEncoder, "predict", predicting)
    return counts


def test_no_text_is_encoded_and_no_pair_scored_twice_in_a_whole_run(project, cross_encoder, seen, capsys):
    for name, text in {
        "cut": "base: tiny\ntruncate_dim: 16\n",
        "fused": "hybrid: [tiny, bm25]\n",
        "two": "retriever: tiny\nreranker: ce\ndepth: 3\n",
        "three": "retriever: linear\nreranker: ce\ndepth: 5\n",
    }.items():
        (project.specs_folder / f"{name}.yaml").write_text(text)
    (project.root / "benchmark.yaml").write_text(BENCHMARK)
    for words in (["finetune"], ["evaluate"]):
        assert run_app(["--project", str(project.root), *words]) == 0, capsys.readouterr().err
    project = Project(project.root)
    prints = [model_fingerprint(project, name) for name in ("tiny", "tuned", "tuned-mixed")]
    assert len(set(prints)) == 3
    documents = Counter(key[0] for key in seen if key[1] == "document")
    # The mixture's passages were encoded when it was chosen, and kept when it was saved.
    assert documents[prints[0]] == documents[prints[1]] > 4 and documents[prints[2]] == 0
    assert any(key[0] == "pair" for key in seen) and any(key[:2] == (prints[2], "query") for key in seen)
    assert {key: count for key, count in seen.items() if count > 1} == {}
    seen.clear()
    assert run_app(["--project", str(project.root), "evaluate"]) == 0
    assert not seen
