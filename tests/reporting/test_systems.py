"""What a leaderboard says of the models, from their specs."""

from benchmark.reporting.systems import Declared, declared


def test_a_spec_that_stands_on_others_has_what_they_say(project):
    for name, text in {
        "base": "path: weights/tiny\nlicence: Apache-2.0\nparameters: 1000\ndimensions: 32\n",
        "bits": "base: base\nquantize: binary\n",
        "cut": "base: base\ntruncate_dim: 8\n",
        "own": "base: base\ntruncate_dim: 8\nlicence: MIT\n",
        "bare": "path: weights/tiny\n",
        "fused": "hybrid: [bm25, base]\n",
        "mixed": "hybrid: [bare, base]\n",
        "two": "retriever: fused\nreranker: judge\n",
        "judge": "path: weights/ce\nkind: cross-encoder\nlicence: MIT\nparameters: 500\n",
    }.items():
        (project.specs_folder / f"{name}.yaml").write_text(text)
    found = {name: declared(project, project.model_spec(name)) for name in project.spec_names}
    assert found["base"] == found["bits"] == Declared("Apache-2.0", 1000, 32)
    assert found["cut"] == Declared("Apache-2.0", 1000, 8) and found["own"].licence == "MIT"
    assert found["bm25"].licence == "" and found["bare"] == Declared("unknown", None, None)
    assert found["fused"] == Declared("Apache-2.0", None, None)
    assert found["mixed"].licence == "unknown, Apache-2.0"
    assert found["two"] == Declared("Apache-2.0, MIT", None, None)
