"""Sample questions of the user: every mistake at once, nothing that leaks, at most eight in a request."""

import json

import pytest

from benchmark.errors import BenchError
from benchmark.synthesis.examples import Example, drawn_examples, read_examples


@pytest.fixture
def write(tmp_path):
    def made(*rows):
        path = tmp_path / "examples.jsonl"
        lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return path

    return made


def test_examples_are_read_as_they_stand(write):
    path = write(
        {"question": " What is a berth? ", "passage": "A {berth} is a place.", "type": "question"},
        {"question": "berth fee due date"},
    )
    assert read_examples(path, ["Who won the cup?"]) == [
        Example("What is a berth?", "A {berth} is a place.", "question"), Example("berth fee due date", "", ""),
    ]  # fmt: skip


def test_all_mistakes_are_told_at_once(write):
    path = write(
        {"question": "What is a berth?"},
        {"qestion": "What is a mooring?"},
        {"question": "  "},
        {"question": "what is a BERTH"},
        {"question": "When is the fee due?", "type": "keyword"},
        {"question": 3},
        "no json",
        {"question": "Who won, the cup?"},
        {"question": "Fine?", "passage": None},
    )
    with pytest.raises(BenchError) as caught:
        read_examples(path, ["Who won the cup?"])
    lines = [line.partition("examples.jsonl:")[2] for line in caught.value.problems]
    assert sorted(line[0] for line in lines) == ["2", "2", "3", "4", "5", "6", "7", "8", "9"]
    told = "\n".join(lines)
    assert "2: unknown key 'qestion'; did you mean 'question'?" in told
    assert "2: the key 'question' is missing" in told and "3: 'question' is empty" in told
    assert "4: the question of line 1 once more" in told
    assert "5: unknown type 'keyword'; did you mean 'keywords'?" in told
    assert "6: 'question' is not a text" in told and "9: 'passage' is not a text" in told
    assert "8: is also a test question, word for word: it would leak" in told


def test_a_file_without_examples_is_a_mistake(write, tmp_path):
    with pytest.raises(BenchError, match="holds no example"):
        read_examples(write(""), [])
    with pytest.raises(BenchError, match="no such file"):
        read_examples(tmp_path / "none.jsonl", [])


def test_up_to_eight_are_all_shown_in_the_files_order():
    few = [Example(f"Question {i}?", "", "") for i in range(8)]
    assert drawn_examples(few, ["edge"], 0, "c1") == few


def test_of_more_eight_are_drawn_for_each_chunk_those_of_the_wanted_types_first():
    kinds = ["edge"] * 5 + ["keywords"] * 30
    many = [Example(f"Question {i}?", "", kind) for i, kind in enumerate(kinds)]
    draws = [drawn_examples(many, ["edge"], 0, f"c{i}") for i in range(20)]
    for shown in draws:
        assert len(shown) == 8 and shown[:5] == many[:5] and shown == sorted(shown, key=many.index)
    assert len({tuple(shown) for shown in draws}) > 15
    assert drawn_examples(many, ["edge"], 0, "c3") == draws[3] != drawn_examples(many, ["edge"], 1, "c3")
