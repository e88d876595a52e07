"""The files of the generate stage: every table loads, they agree with each other, and the notebook's steps run."""

from dataclasses import dataclass

import numpy as np
import pytest

from benchmark.console import SILENT
from benchmark.files import iter_jsonl, write_jsonl
from benchmark.records import Chunk, read_chunks
from benchmark.specs import GenerateSpec
from benchmark.specs.generate import DatasetSource, Source
from benchmark.synthesis.draft import Draft, Dropped
from benchmark.synthesis.formats import Data, write_all
from benchmark.synthesis.negatives import Mined
from benchmark.synthesis.rag_columns import COLUMNS, Rag, RagRow
from benchmark.synthesis.sources import make_source, read_imported
from benchmark.synthesis.split import Split
from benchmark.training.material import read_material

CHUNKS = [Chunk(f"d{i}.md#0", f"d{i}.md", f"Title {i}", ("Part",), 0, 9, f"Text {i} =SUM(1)\n'x'") for i in range(6)]
KEPT = [
    Draft("Who is it?", 0, "llm", CHUNKS[0].full_text, "question", "a newcomer", "easy", "Nobody, \"sir\"."),
    Draft("the words of one", 1, "span", "shortened"),
    Draft("Who else?", 2, "imported", CHUNKS[2].full_text, answer="Somebody."),
    Draft("When is it?", 4, "llm", CHUNKS[4].full_text, "edge", "", "hard"),
    Draft("alone", 5, "heading", CHUNKS[5].text),
]  # fmt: skip
MINED = Mined(negatives=[[1, 2], [3], [0, 3], [5, 3], []])


@dataclass(frozen=True)
class Scores:
    own: list[float]
    negatives: list[list[float]]


SCORES = Scores([0.9, 0.8, 0.7, 1.0, 0.5], [[0.1, 0.2], [0.0], [0.3, 0.4], [0.5, 0.25], []])


def rag_row(number):
    question = KEPT[number].text
    return RagRow(CHUNKS[KEPT[number].chunk].full_text, question, f"Response {number}", question, f"Other {number}?",
                  f"Alike {number}.", f"Unlike {number}.")  # fmt: skip


RAG = Rag([rag_row(number) for number in (0, 2, 3)])


def data(rag=RAG, held_out=(3, 4, 5), **more):
    split = Split(np.array([place in held_out for place in range(6)]), "document")
    dropped = [Dropped(Draft("What?", 3, "llm", "p", "edge"), "round_trip", 7.0), Dropped(KEPT[0], "unread")]
    return Data(CHUNKS, KEPT, dropped, MINED, split, 3, SCORES, rag, **more)


@pytest.fixture
def load(tmp_path):
    from datasets import load_dataset

    def load(name):
        return load_dataset("parquet", data_files=str(tmp_path / name), split="train", cache_dir=str(tmp_path / "c"))

    return load


def test_tables_load_and_hold_what_the_queries_say(tmp_path, load):
    assert write_all(tmp_path, data()) == {
        "train": {"queries": 3, "ntuples": 3, "triplets": 5, "pairs": 8},
        "dev": {"queries": 2, "ntuples": 1, "triplets": 2, "pairs": 4},
        "rag": 3,
    }
    ntuples = load("ntuples_train.parquet")
    assert ntuples.column_names == ["anchor", "positive", "negative_1", "negative_2", "negative_3"]
    full = [chunk.full_text for chunk in CHUNKS]
    assert list(ntuples[0].values()) == ["Who is it?", full[0], full[1], full[2], full[1]]
    assert ntuples[1]["positive"] == "shortened" and ntuples[1]["negative_3"] == full[3]
    triplets = load("triplets_dev.parquet")
    assert [list(row.values()) for row in triplets] == [
        ["When is it?", full[4], full[5]], ["When is it?", full[4], full[3]],
    ]  # fmt: skip
    pairs = load("pairs_train.parquet")
    assert pairs.column_names == ["anchor", "positive", "label", "score"]
    assert [list(row.values())[1:] for row in pairs][:3] == [
        [full[0], 1.0, 0.9],
        [full[1], 0.0, 0.1],
        [full[2], 0.0, 0.2],
    ]
    assert {str(pairs.features[name].dtype) for name in ("label", "score")} == {"float64"}
    alone = [row for row in load("pairs_dev.parquet") if row["anchor"] == "alone"]
    assert [(row["label"], row["score"]) for row in alone] == [(1.0, 0.5)]


def test_people_can_read_where_each_query_comes_from_and_why_others_went(tmp_path):
    write_all(tmp_path, data())
    rows = list(iter_jsonl(tmp_path / "queries.jsonl"))
    assert {key: value for key, value in rows[0].items() if key != "id"} == {
        "text": "Who is it?", "chunk": "d0.md#0", "document": "d0.md", "origin": "llm", "type": "question",
        "persona": "a newcomer", "difficulty": "easy", "answer": 'Nobody, "sir".', "split": "train",
        "positive_text": CHUNKS[0].full_text,
    }  # fmt: skip
    assert len({row["id"] for row in rows}) == 5 and rows[0]["id"].startswith("llm-")
    assert [row["split"] for row in rows] == ["train", "train", "train", "dev", "dev"]
    gone = list(iter_jsonl(tmp_path / "dropped.jsonl"))
    assert [(row["rule"], row["score"], row["type"]) for row in gone] == [
        ("round_trip", 7.0, "edge"), ("unread", None, "question"),
    ]  # fmt: skip
    dev = list(iter_jsonl(tmp_path / "dev_queries.jsonl"))
    assert [(row["text"], row["origin"], row["type"]) for row in dev] == [
        ("When is it?", "llm", "edge"), ("alone", "heading", ""),
    ]  # fmt: skip
    lines = (tmp_path / "dev_qrels.tsv").read_text().splitlines()
    assert lines == [
        "query-id\tcorpus-id\tscore",
        *(f"{row['id']}\td{n}.md#0\t1" for row, n in zip(dev, (4, 5), strict=True)),
    ]


def test_further_passages_that_answer_a_development_query_are_relevant(project):
    domain = project.domain("village")
    domain.synthetic.mkdir(parents=True)
    write_jsonl(domain.chunks / "chunks.jsonl", [chunk.to_json() for chunk in CHUNKS])
    write_all(domain.synthetic, data(also={0: frozenset({5}), 3: frozenset({5, 1, 4})}))
    lines = [line.split("\t") for line in (domain.synthetic / "dev_qrels.tsv").read_text().splitlines()[1:]]
    first, second = (row["id"] for row in iter_jsonl(domain.synthetic / "dev_queries.jsonl"))
    assert lines == [[first, f"d{n}.md#0", "1"] for n in (4, 1, 5)] + [[second, "d5.md#0", "1"]]
    assert [asked.relevant for asked in read_material(domain, None, 0).development] == [(1, 4, 5), (5,)]


def test_the_same_data_give_the_same_bytes(tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        write_all(folder, data())
    one, two = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert one == two and len(one) == 11


def test_the_seven_columns_run_through_the_steps_of_the_notebook(tmp_path, load, tiny_model):
    """fine-tune-modernbert-rag.ipynb of argilla-io/synthetic-data-generator: filter, rename, split, evaluate."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import TripletEvaluator

    write_all(tmp_path, data(Rag([rag_row(number) for number in (0, 2, 3)] * 4)))
    rows = load("rag.parquet")
    assert rows.column_names == list(COLUMNS) and len(rows) == 12
    whole = rows.filter(lambda row: all(value is not None and str(value).strip() != "" for value in row.values()))
    assert len(whole) == 12
    renamed = whole.shuffle(seed=42)
    for old, new in {"context": "anchor", "positive_retrieval": "positive", "negative_retrieval": "negative"}.items():
        renamed = renamed.rename_column(old, new)
    parts = renamed.select_columns(["anchor", "positive", "negative"]).train_test_split(test_size=0.2, seed=42)
    evaluator = TripletEvaluator(
        anchors=parts["test"]["anchor"], positives=parts["test"]["positive"], negatives=parts["test"]["negative"],
        write_csv=False,
    )  # fmt: skip
    figures = evaluator(SentenceTransformer(str(tiny_model), device="cpu"))
    assert 0 <= figures["cosine_accuracy"] <= 1 and len(parts["train"]) == 9


def test_the_seven_columns_can_be_read_again_as_a_source(project):
    write_all(project.root, data())
    source = Source(dataset=DatasetSource(path="rag.parquet", columns="rag"))
    spec = GenerateSpec(source=source, retriever="tiny", questions_per_chunk=0)
    outcome = make_source(project, project.domain("village"), spec, 0, SILENT)
    assert outcome.facts["dropped_rows"] == outcome.facts["duplicates"] == 0
    chunks = read_chunks(outcome.folder / "chunks.jsonl")
    assert [chunk.text for chunk in chunks] == [row.context for row in RAG.rows]
    drafts = read_imported(outcome.folder, chunks)
    assert [(d.text, d.answer) for d in drafts] == [(row.question, row.response) for row in RAG.rows]


def test_no_rows_for_the_seven_columns_no_file(tmp_path):
    assert write_all(tmp_path, data(Rag()))["rag"] == 0
    assert not (tmp_path / "rag.parquet").exists()


def test_a_split_without_queries_still_has_its_tables(tmp_path):
    rows = write_all(tmp_path, data(held_out=()))
    assert rows["dev"] == {"queries": 0, "ntuples": 0, "triplets": 0, "pairs": 0}
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(tmp_path / "pairs_dev.parquet")
    assert table.num_rows == 0 and table.column_names == ["anchor", "positive", "label", "score"]
    assert (tmp_path / "dev_qrels.tsv").read_text() == "query-id\tcorpus-id\tscore\n"
