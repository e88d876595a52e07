"""Tables of rows: whatever happens to a process or to a file, no wrong row is served, and the next append mends it."""

import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from benchmark.encoders.locks import locked
from benchmark.encoders.rows import Table, as_keys
from benchmark.errors import BenchError

DIMENSIONS = 4


def key_of(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def keys_of(*numbers):
    return as_keys([key_of(number) for number in numbers])


def rows_of(*numbers):
    return np.array([[number, number / 7, -number, 1] for number in numbers], dtype=np.float32)


def add(path, *numbers):
    Table(path).append(keys_of(*numbers), rows_of(*numbers))


def served(path, *numbers):
    """Which of the numbers have a row; it must be the right one."""
    table = Table(path)
    places = table.find(keys_of(*numbers)).places
    for number, place in zip(numbers, places.tolist(), strict=True):
        if place >= 0:
            np.testing.assert_array_equal(table.rows()[place], rows_of(number)[0])
    return [number for number, place in zip(numbers, places.tolist(), strict=True) if place >= 0]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "table"


def test_rows_are_found_by_key_and_mapped(path):
    assert len(Table(path)) == 0 and served(path, 1, 2) == []
    assert Table(path).rows().shape == (0, 0)
    table = Table(path)
    table.append(keys_of(5, 3), rows_of(5, 3))
    table.append(keys_of(9), rows_of(9))
    assert table.find(keys_of(9, 4, 5, 5)).places.tolist() == [2, -1, 0, 0]
    again = Table(path)
    assert len(again) == 3 and again.dimensions == DIMENSIONS
    assert again.find(keys_of(9, 4, 5, 5)).places.tolist() == [2, -1, 0, 0]
    assert again.has(keys_of(9, 4)).tolist() == [True, False]
    assert isinstance(again.rows(), np.memmap) and not again.rows().flags.writeable
    assert (path.parent / "table.rows").read_bytes() == rows_of(5, 3, 9).astype("<f4").tobytes()
    assert again.find(keys_of()).places.shape == (0,)


def test_what_came_meanwhile_is_not_added_again(path):
    ours, theirs = Table(path), Table(path)
    theirs.append(keys_of(1, 2, 3), rows_of(1, 2, 3))
    assert not ours.came_meanwhile(keys_of(2, 4)) and ours.came_meanwhile(keys_of(3, 2))
    ours.append(keys_of(2, 4, 3), rows_of(2, 4, 3))
    assert len(ours) == len(Table(path)) == 4 and ours.dimensions == DIMENSIONS
    assert served(path, 1, 2, 3, 4) == [1, 2, 3, 4]


def test_keys_that_begin_alike_are_told_apart(path):
    digests = [b"same 8 b" + bytes([i]) * 24 for i in range(5)]
    table = Table(path)
    table.append(as_keys(digests[:4]), rows_of(0, 1, 2, 3))
    for known in (table, Table(path)):
        assert known.find(as_keys(digests)).places.tolist() == [0, 1, 2, 3, -1]


def test_wherever_a_file_is_cut_whole_appends_are_served_and_the_next_one_mends_it(path):
    add(path, 1, 2)
    add(path, 3, 4, 5)
    whole = {ending: (path.parent / f"table.{ending}").read_bytes() for ending in ("rows", "keys")}
    for ending, content in whole.items():
        seen = set()
        for length in range(len(content)):
            for name, other in whole.items():
                (path.parent / f"table.{name}").write_bytes(content[:length] if name == ending else other)
            found = served(path, 1, 2, 3, 4, 5)
            seen.add(tuple(found))
            missing = [number for number in (1, 2, 3, 4, 5) if number not in found]
            add(path, *missing)
            assert served(path, 1, 2, 3, 4, 5) == [1, 2, 3, 4, 5] and len(Table(path)) == 5
            # Cut off and written again in the same groups, they are the same bytes.
            assert len(missing) == 5 or {e: (path.parent / f"table.{e}").read_bytes() for e in whole} == whole
        assert seen == {(), (1, 2)}  # all of an append, or nothing


def test_a_file_that_is_gone_is_begun_again(path):
    for ending in ("rows", "keys"):
        add(path, 1, 2)
        (path.parent / f"table.{ending}").unlink()
        assert served(path, 1, 2) == []
        add(path, 1, 2)
        assert served(path, 1, 2) == [1, 2] and len(Table(path)) == 2


def test_no_flipped_byte_is_served(path):
    add(path, 1, 2)
    add(path, 3, 4, 5)
    for ending in ("rows", "keys"):
        file = path.parent / f"table.{ending}"
        whole = file.read_bytes()
        both = {name: (path.parent / f"table.{name}").read_bytes() for name in ("rows", "keys")}
        for place in range(len(whole)):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
            found = served(path, 1, 2, 3, 4, 5)
            assert len(found) < 5
            if ending == "rows":
                assert len(found) == 4 and Table(path).find(keys_of(1, 2, 3, 4, 5)).broken == 1
            add(path, *(number for number in (1, 2, 3, 4, 5) if number not in found))
            assert served(path, 1, 2, 3, 4, 5) == [1, 2, 3, 4, 5]
            for name, content in both.items():
                (path.parent / f"table.{name}").write_bytes(content)


def test_rows_that_were_mapped_stay_when_the_table_is_begun_again(path):
    add(path, 1, 2)
    mapped = Table(path).rows()
    (path.parent / "table.keys").write_bytes(b"something else")
    add(path, 7)
    np.testing.assert_array_equal(mapped, rows_of(1, 2))
    assert served(path, 1, 2, 7) == [7]


def test_a_full_disk_leaves_the_table_as_it_was(path):
    add(path, 1, 2)
    before = {name: (path.parent / f"table.{name}").read_bytes() for name in ("rows", "keys")}
    numbers = list(range(10, 200))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Too little for the rows, and then enough for these but not for the keys.
    for limit in (1000, 16 * 192 + 8):
        table = Table(path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(OSError) as caught:
                table.append(keys_of(*numbers), rows_of(*numbers))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path.parent / "table.rows"))
        assert {name: (path.parent / f"table.{name}").read_bytes() for name in before} == before
        assert served(path, 1, 2, 10) == [1, 2]
    table.append(keys_of(*numbers), rows_of(*numbers))
    assert served(path, *numbers) == numbers


def test_other_dimensions_are_refused(path):
    add(path, 1)
    with pytest.raises(BenchError, match="holds rows of 4 numbers, and now there are 3"):
        Table(path).append(keys_of(2), np.zeros((1, 3), dtype=np.float32))
    assert served(path, 1) == [1]


WRITER = """
import hashlib, sys
from pathlib import Path
import numpy as np
from benchmark.encoders.rows import Table, as_keys
path, seed, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
random = np.random.default_rng(seed)
table, number = Table(path), 0
print("ready", flush=True)
sys.stdin.readline()
while number < last:
    numbers = list(range(number, number + int(random.integers(1, 60))))
    number = numbers[-1] + 1
    keys = as_keys([hashlib.sha256(str(one).encode()).digest() for one in numbers])
    if table.came_meanwhile(keys):
        continue
    new = [i for i, place in enumerate(table.find(keys).places) if place < 0]
    rows = np.array([[one, one / 7, -one, 1] for one in numbers], dtype=np.float32)
    table.append(keys[new], rows[new])
print(len(table))
"""


def writer(path, seed, last):
    words = [sys.executable, "-c", textwrap.dedent(WRITER), str(path), str(seed), str(last)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def go(process):
    process.stdin.write("go\n")
    process.stdin.flush()


def test_killed_in_the_middle_of_an_append_nothing_half_is_served(path):
    held = 0
    for seed in range(4):
        process = writer(path, seed, 10**9)
        go(process)
        keys = path.parent / "table.keys"
        wanted, deadline = (seed + 1) * 100_000, time.monotonic() + 60
        while (keys.stat().st_size if keys.exists() else 0) < wanted and time.monotonic() < deadline:
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        table = Table(path)
        numbers = list(range(len(table)))
        assert len(table) > held and served(path, *numbers) == numbers
        held = len(table)


def test_two_processes_store_no_row_twice(path):
    both = [writer(path, seed, 8000) for seed in (1, 2)]
    for process in both:
        go(process)
    assert [process.wait(60) for process in both] == [0, 0]
    numbers = list(range(8000))
    assert served(path, *numbers) == numbers
    digests = np.frombuffer((path.parent / "table.keys").read_bytes()[40:], dtype="u1").reshape(-1, 40)[:, :32]
    assert len(np.unique(digests, axis=0)) == len(digests) == len(Table(path))


def test_locks_exclude_and_survive_the_deletion_of_their_folder(tmp_path):
    path, held, done = tmp_path / "folder" / "lock", [], threading.Event()
    with locked(path, shared=True), locked(path, shared=True, wait=False) as second:
        assert second
        with locked(path, wait=False) as alone:
            assert not alone
    with locked(path, wait=False) as alone:
        assert alone

        def wait():
            with locked(path) as mine:
                held.append(mine and path.exists())
            done.set()

        thread = threading.Thread(target=wait)
        thread.start()
        path.unlink()
        path.parent.rmdir()
    assert done.wait(30) and held == [True]
    thread.join()
    with pytest.raises(FileNotFoundError, match="raised inside"), locked(path):
        raise FileNotFoundError("raised inside")
