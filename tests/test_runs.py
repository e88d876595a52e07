import random

import numpy as np
import pytest

from benchmark.errors import BenchError
from benchmark.records import Hit
from benchmark.runs import rank, rank_row, read_run, write_run


def test_ties_go_by_id_descending_as_in_trec_eval():
    import pytrec_eval

    rng = random.Random(0)
    for _ in range(50):
        scores = {f"d{i}": rng.choice([0.0, 0.5, 0.5 + 1e-9, 1.0]) for i in range(12)}
        qrels = {"q": {f"d{rng.randrange(12)}": 1}}
        ranked = rank(scores, 12)
        position = next(i for i, hit in enumerate(ranked, start=1) if hit.chunk in qrels["q"])
        found = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate({"q": scores})
        assert found["q"]["recip_rank"] == pytest.approx(1 / position)


def test_row_and_mapping_agree_even_where_the_edge_is_tied():
    rng = np.random.default_rng(0)
    ids = [f"d{i}" for i in range(40)]
    for depth in (1, 5, 39, 40, 100):
        row = rng.integers(0, 4, 40).astype(np.float32)
        expected = rank({chunk: float(score) for chunk, score in zip(ids, row, strict=True)}, depth)
        assert rank_row(row, ids, depth) == expected
    assert rank_row(np.zeros(0, dtype=np.float32), [], 5) == []


def test_a_run_reads_back_equal_and_in_the_given_order_of_queries(tmp_path):
    run = {"b": [Hit("x#1", 0.1 + 0.2), Hit("x#0", -3.0)], "a": [Hit("y", 1e-8)], "none": []}
    run = {query: rank({hit.chunk: hit.score for hit in hits}, 10) for query, hits in run.items()}
    write_run(tmp_path / "r.trec", run, "spec-v1.5", ["b", "none", "a"])
    assert read_run(tmp_path / "r.trec") == {"b": run["b"], "a": run["a"]}
    assert (tmp_path / "r.trec").read_text().splitlines()[0].split()[0] == "b"


def test_broken_run_files_name_the_line(tmp_path):
    path = tmp_path / "r.trec"
    path.write_text("q Q0 a 1 0.5 t\nq Q0 a 2 0.4 t\n")
    with pytest.raises(BenchError, match=r"r.trec:2: chunk a a second time"):
        read_run(path)
    path.write_text("q Q0 a 1 high t\n")
    with pytest.raises(BenchError, match=r"r.trec:1: not a TREC run line"):
        read_run(path)
    with pytest.raises(BenchError, match="domainbench evaluate"):
        read_run(tmp_path / "none.trec")
