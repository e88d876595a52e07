import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys
import textwrap

import pytest

from benchmark import files
from benchmark.errors import BenchError, Problems, did_you_mean
from benchmark.files import hash_tree, read_jsonl, read_text, read_yaml, replacing, write_jsonl, write_text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2\n", ":2: broken YAML: the key 'a' stands here a second time"),
        ("a: [1\n", "broken YAML"),
        ("- 1\n", "a mapping (key: value) is expected"),
        ("", "is empty"),
        ("1: x\n", "is not a text"),
        ("a: !!python/object/apply:os.system [ls]\n", "broken YAML"),
    ],
)
def test_yaml_mistakes_are_told_with_the_line(tmp_path, text, said):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(BenchError) as error:
        read_yaml(path)
    assert said in str(error.value)
    assert len(error.value.problems) == 1


def test_yaml_does_not_turn_words_and_ids_into_other_things(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("country: no\nid: 0123456\nrate: 2e-5\nflag: true\ncount: 12\nday: 2020-01-01\nclock: 12:30\n")
    assert read_yaml(path) == {
        "country": "no", "id": "0123456", "rate": 2e-5, "flag": True, "count": 12, "day": "2020-01-01",
        "clock": "12:30",
    }  # fmt: skip


def test_text_that_is_not_utf8_names_the_line(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes("eins\nzwei\nfünf\n".encode("latin-1"))
    with pytest.raises(BenchError, match=r"x.txt:3: not UTF-8 \(byte 0xfc\)"):
        read_text(path)
    path.write_bytes(b"a\0b")
    with pytest.raises(BenchError, match="NUL"):
        read_text(path)
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree")
    assert read_text(path) == "one\ntwo\nthree"


def test_jsonl_tells_every_bad_line_at_once(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n\n[1]\n{"a": \n{"b": 2}\n')
    with pytest.raises(BenchError) as error:
        read_jsonl(path)
    assert [line.rsplit("x.jsonl:", 1)[1].split(":")[0] for line in error.value.problems] == ["3", "4"]
    problems = Problems()
    assert [line.number for line in read_jsonl(path, problems)] == [1, 5]


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_text(path, "old")

    def rows():
        yield {"a": 1}
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_jsonl(path, rows())
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "out"
    with replacing(folder) as new:
        (new / "a").write_text("1")
    with pytest.raises(RuntimeError), replacing(folder) as new:
        (new / "a").write_text("2")
        raise RuntimeError
    assert (folder / "a").read_text() == "1"
    with replacing(folder) as new:
        (new / "b").write_text("3")
    assert [p.name for p in folder.iterdir()] == ["b"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_kill_in_the_middle_leaves_the_old_folder(tmp_path):
    code = f"""
    import os, signal
    from pathlib import Path
    from benchmark.files import replacing
    with replacing(Path({str(tmp_path / "out")!r})) as new:
        (new / "a").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("whole")
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "out" / "a").read_text() == "whole"
    with replacing(tmp_path / "out") as new:
        (new / "a").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_tree_hash_sees_content_and_names_but_not_times(tmp_path):
    (tmp_path / "a").write_text("1")
    first = hash_tree(tmp_path)
    os.utime(tmp_path / "a", (1, 1))
    assert hash_tree(tmp_path) == first
    (tmp_path / ".hidden").write_text("x")
    assert hash_tree(tmp_path) == first
    (tmp_path / "a").rename(tmp_path / "b")
    assert hash_tree(tmp_path) != first


def test_hint():
    assert did_you_mean("ndcg@1", ["ndcg@10", "map"]) == "did you mean 'ndcg@10'?"


def test_a_large_file_is_hashed_again_only_after_a_change(tmp_path, monkeypatch):
    read = []
    real = files._hashed
    monkeypatch.setattr(files, "_hashed", lambda path: (read.append(path.name), real(path))[1])
    path = tmp_path / "weights"
    path.write_bytes(b"a" * (2**20 + 1))
    first = files.hash_file(path)
    assert files.hash_file(path) == first and len(read) == 2, "just written: read each time"
    monkeypatch.setattr(files, "_SETTLED", -1e9)
    assert files.hash_file(path) == files.hash_file(path) == first and len(read) == 3
    path.write_bytes(b"b" * (2**20 + 2))
    second = files.hash_file(path)
    assert second == hashlib.sha256(path.read_bytes()).hexdigest() != first
    small = tmp_path / "small"
    small.write_text("x")
    assert files.hash_file(small) == files.hash_file(small) and read[-2:] == ["small", "small"]


@pytest.mark.parametrize(
    "write", [lambda path: write_text(path, "x" * 9000), lambda path: write_jsonl(path, [{"x": "y" * 9000}] * 3)]
)
def test_a_write_that_fails_names_the_file_and_leaves_nothing(tmp_path, write):
    """The system itself names no file where a stream is full."""
    path = tmp_path / "folder" / "file"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as error:
            write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.value.filename == str(path)
    assert list(path.parent.iterdir()) == []


def test_a_folder_that_cannot_be_filled_is_named(tmp_path):
    with pytest.raises(OSError, match="No space left") as error, replacing(tmp_path / "folder") as folder:
        (folder / "half").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert error.value.filename == str(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []
