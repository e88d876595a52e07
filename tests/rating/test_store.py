"""A rater's file outlives kills, power cuts, full disks and second tabs; what was acknowledged is there."""

import json
import signal
import subprocess
import sys

import pytest

from benchmark.errors import BenchError
from benchmark.rating.store import Rating, Store, checked_rater, raters_of, read_ratings

SCORES = {
    "a": {"accuracy": 1, "relevance": 2, "completeness": 3},
    "b": {"accuracy": 5, "relevance": 4, "completeness": 3},
}


def a_rating(question="q1", note="", **more) -> Rating:
    return Rating(question, "a", "b", SCORES, "b", note, "2026-01-02T03:04:05+00:00", "hash", **more)


def open_store(folder) -> Store:
    return Store(folder / "ratings" / "ann.jsonl", folder / ".drafts" / "ann.json")


def test_rows_are_appended_and_the_last_counts(tmp_path):
    with open_store(tmp_path) as store:
        assert store.append(a_rating(note="first"))
        assert store.append(a_rating(note="second"))
        assert not store.append(a_rating(note="second")), "the same again is no new row"
        assert store.append(a_rating("q2"))
    kept = read_ratings(tmp_path / "ratings" / "ann.jsonl")
    assert [row.note for row in kept.rows] == ["first", "second", ""]
    assert kept.last[a_rating().key].note == "second" and len(kept.last) == 2
    with open_store(tmp_path) as store:
        assert store.last == kept.last


def test_a_torn_last_row_is_told_and_left_out_and_the_next_one_is_whole(tmp_path):
    with open_store(tmp_path) as store:
        for i in range(3):
            store.append(a_rating(f"q{i}"))
    path = tmp_path / "ratings" / "ann.jsonl"
    whole = path.read_bytes()
    length = len(whole.splitlines()[-1])
    for cut in range(1, length + 1):
        path.write_bytes(whole[:-cut])
        kept = read_ratings(path)
        assert len(kept.rows) == 2 and kept.torn == length + 1 - cut
        assert path.read_bytes() == whole[:-cut], "reading changes nothing"
    with open_store(tmp_path) as store:
        assert store.torn == 1
        store.append(a_rating("q9", note="ü"))
    assert [row.question for row in read_ratings(path).rows] == ["q0", "q1", "q9"]


def test_a_broken_row_in_the_middle_is_a_mistake_with_its_line(tmp_path):
    folder = tmp_path / "ratings"
    folder.mkdir()
    good = json.dumps(a_rating().__dict__)
    wrong = json.dumps(a_rating().__dict__ | {"scores": {"a": {"accuracy": 6}, "b": {}}})
    (folder / "ann.jsonl").write_text(f"{good}\n<<<<<<< ours\n{good}\n{wrong}\n[1]\n")
    (folder / "bob.jsonl").write_text(f"{good}\n{{}}\n")
    with pytest.raises(BenchError) as caught:
        raters_of(folder)
    assert [line.split(": ")[0].rpartition("/")[2] for line in caught.value.problems] == [
        "ann.jsonl:2", "ann.jsonl:4", "ann.jsonl:5", "bob.jsonl:2",
    ]  # fmt: skip
    with pytest.raises(BenchError):
        open_store(tmp_path)
    (folder / "ann.jsonl").write_text(f"{good}\n")
    open_store(tmp_path).close()  # the refusal let go of its lock


WRITER = """
import sys
from pathlib import Path
from benchmark.rating.store import Rating, Store
folder = Path(sys.argv[1])
scores = {name: {"accuracy": 1, "relevance": 2, "completeness": 3} for name in "ab"}
with Store(folder / "ratings" / "ann.jsonl", folder / "drafts.json") as store:
    for i in range(1_000_000):
        store.append(Rating(f"q{i}", "a", "b", scores, "a", "x" * 3000, "2026-01-02T03:04:05+00:00", "h"))
        print(i, flush=True)
"""


def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path):
    for stop_after in (1, 7, 20):
        folder = tmp_path / str(stop_after)
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True)
        last = 0
        for line in process.stdout:
            last = int(line)
            if last >= stop_after:
                process.send_signal(signal.SIGKILL)
                break
        rest = [int(line) for line in process.stdout.read().splitlines() if line]
        process.wait()
        acknowledged = max([last, *rest])
        kept = read_ratings(folder / "ratings" / "ann.jsonl")
        questions = [row.question for row in kept.rows]
        assert questions == [f"q{i}" for i in range(len(questions))] and len(questions) > acknowledged
        with Store(folder / "ratings" / "ann.jsonl", folder / "drafts.json") as store:
            store.append(a_rating("after"))
        assert read_ratings(folder / "ratings" / "ann.jsonl").rows[-1].question == "after"


FULL = """
import resource, sys
from pathlib import Path
from benchmark.rating.store import Rating, Store
folder = Path(sys.argv[1])
scores = {name: {"accuracy": 1, "relevance": 2, "completeness": 3} for name in "ab"}
row = lambda i: Rating(f"q{i}", "a", "b", scores, "a", "x" * 500, "2026-01-02T03:04:05+00:00", "h")
with Store(folder / "ratings" / "ann.jsonl", folder / "drafts.json") as store:
    store.append(row(0))
    size = store.path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
    for i in (1, 2):
        try:
            store.append(row(i))
        except OSError as error:
            print("refused", error.errno, store.path.stat().st_size == size, len(store.last))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    store.append(row(3))
"""


def test_a_disk_that_is_full_leaves_the_file_as_it_was(tmp_path):
    """A limit on the file's size stops the write in the middle of the row, as a full disk does."""
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and all(line.startswith("refused") and line.endswith("True 1") for line in lines)
    kept = read_ratings(tmp_path / "ratings" / "ann.jsonl")
    assert [row.question for row in kept.rows] == ["q0", "q3"] and kept.torn == 0


def test_one_process_rates_under_a_name_and_others_under_theirs(tmp_path):
    with open_store(tmp_path) as store:
        with pytest.raises(BenchError, match="'ann' is rating already"):
            open_store(tmp_path)
        with Store(tmp_path / "ratings" / "bob.jsonl", tmp_path / ".drafts" / "bob.json") as other:
            other.append(a_rating(note="bob's"))
        store.append(a_rating(note="ann's"))
    assert {name: kept.rows[0].note for name, kept in raters_of(tmp_path / "ratings").items()} == {
        "ann": "ann's", "bob": "bob's",
    }  # fmt: skip


def test_a_file_in_which_nothing_was_kept_is_taken_away(tmp_path):
    open_store(tmp_path).close()
    assert list((tmp_path / "ratings").iterdir()) == []


def test_drafts_come_back_and_a_broken_file_of_them_harms_nothing(tmp_path):
    with open_store(tmp_path) as store:
        store.keep_draft("one", {"note": "half"})
        store.keep_draft("two", {"note": "other"})
        store.keep_draft("two", None)
    with open_store(tmp_path) as store:
        assert store.draft("one") == {"note": "half"} and store.draft("two") is None and store.place == "two"
    for text in ("{", '{"drafts": 3, "place": 4}', '{"drafts": {"one": 5}}'):
        (tmp_path / ".drafts" / "ann.json").write_text(text)
        with open_store(tmp_path) as store:
            assert store.draft("one") is None and store.place is None


@pytest.mark.parametrize("name", ["", "Ann", "../ann", ".ann", "a/b", "a\nb", "a" * 65, "ä", "-x"])
def test_a_name_that_can_be_no_file_is_refused(name):
    with pytest.raises(BenchError, match="--rater"):
        checked_rater(name)


def test_names_that_can_be_files():
    assert [checked_rater(name) for name in ("ann", "rater-1", "a.b_c", "7")] == ["ann", "rater-1", "a.b_c", "7"]
