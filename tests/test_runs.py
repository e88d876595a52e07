import random

import numpy as np
import pytest

from benchmark import runs
from benchmark.errors import BenchError
from benchmark.records import Hit
from benchmark.runs import Ranking, rank, rank_row, read_ranking, read_run, write_run


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


def made_run(seed: int) -> dict[str, list[Hit]]:
    """A run with ties, of many lengths."""
    rng = np.random.default_rng(seed)
    rows = {}
    for query in range(40):
        chosen = rng.choice(200, int(rng.integers(1, 60)), replace=False)
        scores = rng.integers(0, 9, len(chosen)) / 8 if query % 2 else rng.normal(size=len(chosen))
        rows[f"q{query}"] = rank({f"d{i}#ä": float(s) for i, s in zip(chosen, scores, strict=True)}, 50)
    return rows


def test_columns_hold_the_same_run_as_its_lines(tmp_path):
    run = made_run(1)
    write_run(tmp_path / "r.trec", run, "spec", run)
    ranking = runs._as_written(tmp_path / "r.trec")
    assert ranking is not None, "the file is as this program writes it"
    assert dict(ranking) == runs._line_by_line(tmp_path / "r.trec") == run
    assert list(ranking) == list(run) and len(ranking) == 40 and ranking.depth == max(map(len, run.values()))
    assert "q3" in ranking and "q99" not in ranking and ranking.get("q99") is None
    assert ranking.heads("q3", 2) == [hit.chunk for hit in run["q3"][:2]] and ranking.heads("q99", 2) == []
    assert dict(Ranking.of({**run, "none": []})) == run


@pytest.mark.parametrize("edit", [
    lambda lines: lines[::-1],
    lambda lines: [line.replace(" ", "\t") for line in lines],
    lambda lines: [line.replace(" Q0 ", "  0 ") for line in lines],
    lambda lines: [line.replace(" Q0 ", " \"Q0 ") for line in lines],
    lambda lines: lines[1::2] + lines[::2],
])  # fmt: skip
def test_a_file_in_another_order_or_form_is_the_same_run(tmp_path, edit):
    run = made_run(2)
    write_run(tmp_path / "r.trec", run, "spec", run)
    lines = (tmp_path / "r.trec").read_text().splitlines()
    (tmp_path / "r.trec").write_text("\n".join(edit(lines)) + "\n")
    assert dict(read_ranking(tmp_path / "r.trec")) == read_run(tmp_path / "r.trec") == run


def test_a_chunk_twice_in_a_long_file_is_told_with_its_line(tmp_path):
    run = made_run(3)
    write_run(tmp_path / "r.trec", run, "spec", run)
    lines = (tmp_path / "r.trec").read_text().splitlines()
    chunk = lines[0].split()[2]
    last = len(run["q0"])
    (tmp_path / "r.trec").write_text(
        "\n".join([*lines[:last], f"q0 Q0 {chunk} {last + 1} -99.0 spec", *lines[last:]]) + "\n"
    )
    with pytest.raises(BenchError, match=rf"r.trec:{last + 1}: chunk {chunk} a second time for query q0"):
        read_ranking(tmp_path / "r.trec")


def test_an_empty_file_is_an_empty_run(tmp_path):
    (tmp_path / "r.trec").write_text("")
    assert read_run(tmp_path / "r.trec") == {} and read_ranking(tmp_path / "r.trec").depth == 0
