"""The store of what is several entries a text, with an encoder that needs no model and counts what it is asked."""

import errno

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmark.console import SILENT, Notes
from benchmark.encoders.ragged import PARTS, Ragged, missing_ragged, stored_ragged
from benchmark.encoders.shelf import Shelf
from benchmark.errors import BenchError

FINGERPRINT = "ab" * 32


class Letters:
    """A text's entries are its letters: their codes, and pairs of numbers that depend on the prompt as well."""

    name, fingerprint = "letters", FINGERPRINT

    def __init__(self, prompt=""):
        self.prompts = {"query": "ask", "document": prompt}
        self.asked = []

    def encode(self, texts, role):
        self.asked += texts
        return [(text, self.prompts[role]) for text in texts]

    def pack(self, encoded):
        codes = [np.array([ord(letter) for letter in text], dtype=np.int32) for text, _ in encoded]
        pairs = [np.stack([code, code + len(prompt)], axis=1) for code, (_, prompt) in zip(codes, encoded, strict=True)]
        offsets = np.cumsum([0, *map(len, codes)])
        if not codes:
            return Ragged(offsets, {"codes": np.zeros(0, np.int32), "pairs": np.zeros((0, 2), np.float32)})
        return Ragged(offsets, {"codes": np.concatenate(codes), "pairs": np.concatenate(pairs).astype(np.float32)})

    def unpack(self, ragged):
        return ragged


@pytest.fixture
def domain(project):
    return project.domain("village")


def assert_is(ragged, encoder, texts, role="document"):
    expected = encoder.pack([(text, encoder.prompts[role]) for text in texts])
    np.testing.assert_array_equal(ragged.offsets, expected.offsets)
    assert ragged.entries.keys() == expected.entries.keys()
    for name, array in expected.entries.items():
        np.testing.assert_array_equal(ragged.entries[name], array)
        assert ragged.entries[name].dtype == array.dtype


def test_only_what_is_new_is_encoded_and_everything_comes_in_the_order_of_the_texts(domain, project):
    encoder = Letters()
    first = stored_ragged(domain, encoder, ["bee", "", "mooring", "bee"], "document")
    assert_is(first.encoded, encoder, ["bee", "", "mooring", "bee"])
    assert sorted(encoder.asked) == ["", "bee", "mooring"] and first.seconds > 0
    encoder.asked.clear()
    texts = ["rye", "mooring", "bee", "rye", ""]
    assert missing_ragged(project, FINGERPRINT, "document", "", texts) == 1
    grown = stored_ragged(domain, encoder, texts, "document")
    assert_is(grown.encoded, encoder, texts)
    assert encoder.asked == ["rye"] and grown.seconds is None
    assert missing_ragged(project, FINGERPRINT, "document", "", texts) == 0
    again = stored_ragged(domain, encoder, texts[::-1], "document")
    assert_is(again.encoded, encoder, texts[::-1])
    assert encoder.asked == ["rye"] and again.seconds is None


def test_another_role_or_prompt_has_entries_of_its_own(domain, project):
    stored_ragged(domain, Letters(), ["bee"], "document")
    for encoder, role in ((Letters(), "query"), (Letters("passage: "), "document")):
        prompt = encoder.prompts[role]
        assert missing_ragged(project, FINGERPRINT, role, prompt, ["bee"]) == 1
        assert_is(stored_ragged(domain, encoder, ["bee"], role).encoded, encoder, ["bee"], role)
        assert encoder.asked == ["bee"] and missing_ragged(project, FINGERPRINT, role, prompt, ["bee"]) == 0


def test_nothing_is_asked_for_no_texts_and_nothing_written(domain):
    found = stored_ragged(domain, Letters(), [], "document")
    assert found.encoded == [] and found.seconds is None
    assert not Shelf.of(domain, FINGERPRINT).folder.exists()


def parts(domain):
    return sorted(Shelf.of(domain, FINGERPRINT).folder.glob(f"*{PARTS}/*.npz"))


def test_a_broken_part_is_told_once_and_its_texts_are_encoded_again(domain, project, monkeypatch):
    monkeypatch.setattr("benchmark.encoders.shelf.SLICE", 2)
    texts = ["one", "two", "three", "four", "five", "six"]
    encoder = Letters()
    stored_ragged(domain, encoder, texts, "document")
    assert len(parts(domain)) == 3
    path = parts(domain)[1]
    whole = path.read_bytes()
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path.parent / "odd.npz", **{**arrays, "codes": arrays["codes"][:-1]})
    odd = (path.parent / "odd.npz").read_bytes()
    (path.parent / "odd.npz").unlink()
    flipped = bytearray(whole)
    flipped[whole.index(arrays["pairs"].tobytes()) + 5] ^= 255
    for broken in (whole[:200], b"", b"\x80\x04K\x01.", odd, bytes(flipped)):
        path.write_bytes(broken)
        encoder.asked.clear()
        # A plan looks at the keys alone.
        assert missing_ragged(project, FINGERPRINT, "document", "", texts) in (0, 2)
        assert path.read_bytes() == broken, "a plan changes nothing"
        notes = Notes()
        found = stored_ragged(domain, encoder, texts, "document", notes)
        assert_is(found.encoded, encoder, texts)
        assert len(encoder.asked) == 2 and found.seconds is None
        assert len([line for line in notes.lines if f"{path.name}: broken, encoded again" in line]) == 1
        notes = Notes()
        stored_ragged(domain, encoder, texts, "document", notes)
        assert notes.lines == [] and len(encoder.asked) == 2


def test_what_was_encoded_before_a_failure_is_kept(domain, monkeypatch):
    monkeypatch.setattr("benchmark.encoders.shelf.SLICE", 2)
    texts = ["a" * length for length in range(1, 8)]

    class Failing(Letters):
        def encode(self, part, role):
            if len(self.asked) >= 4:
                raise BenchError("the weights are broken")
            return super().encode(part, role)

    with pytest.raises(BenchError, match="the weights are broken"):
        stored_ragged(domain, Failing(), texts, "document")
    encoder = Letters()
    assert_is(stored_ragged(domain, encoder, texts, "document").encoded, encoder, texts)
    # The longest come first, so the shortest were left.
    assert sorted(encoder.asked) == ["a", "aa", "aaa"]


def test_a_group_that_another_process_has_written_meanwhile_is_not_encoded_again(domain):
    other = Letters()

    class Racing(Letters):
        def track(self, items, *, total, label):
            stored_ragged(domain, other, ["bee", "rye"], "document")
            return iter(items)

    encoder = Racing()
    found = stored_ragged(domain, encoder, ["rye", "bee"][::-1], "document", encoder)
    assert_is(found.encoded, encoder, ["bee", "rye"])
    assert encoder.asked == [] and sorted(other.asked) == ["bee", "rye"] and found.seconds is None


def test_a_part_that_goes_while_it_is_read_is_one_clear_line(domain, monkeypatch):
    stored_ragged(domain, Letters(), ["bee"], "document")
    from benchmark.encoders import ragged

    gathered = ragged._gathered

    def without(*args):
        parts(domain)[0].unlink()
        return gathered(*args)

    monkeypatch.setattr(ragged, "_gathered", without)
    with pytest.raises(BenchError, match="was changed while it was in use; run the command again"):
        stored_ragged(domain, Letters(), ["bee"], "document")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.text("abc", max_size=4), max_size=12), max_size=5), st.integers(1, 5))
def test_any_sequence_of_corpora(domain, project, corpora, size):
    shelf = Shelf.of(domain, FINGERPRINT)
    if shelf.folder.exists():
        shelf.delete()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.encoders.shelf.SLICE", size)
        encoder, seen = Letters(), set()
        for texts in corpora:
            encoder.asked.clear()
            new = set(texts) - seen
            assert missing_ragged(project, FINGERPRINT, "document", "", texts) == len(new)
            assert_is_or_nothing(stored_ragged(domain, encoder, texts, "document", SILENT).encoded, encoder, texts)
            assert sorted(encoder.asked) == sorted(new)
            seen |= new


def assert_is_or_nothing(found, encoder, texts):
    assert found == [] if not texts else assert_is(found, encoder, texts) is None


def test_no_flipped_bit_gives_other_numbers(domain):
    """Zip's own fields have no checksum: one flipped bit can hide a whole array."""
    encoder, texts = Letters(), ["mooring", "rye", ""]
    stored_ragged(domain, encoder, texts, "document")
    (path,) = parts(domain)
    whole = path.read_bytes()
    said = 0
    for place in [*range(0, 8 * len(whole), 61), *range(8 * (len(whole) - 60), 8 * len(whole))]:
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        notes = Notes()
        assert_is(stored_ragged(domain, encoder, texts, "document", notes).encoded, encoder, texts)
        said += len(notes.lines)
        assert len(parts(domain)) == 1
    assert said > 50


def test_what_the_system_refuses_is_not_taken_for_broken(domain, monkeypatch):
    encoder = Letters()
    stored_ragged(domain, encoder, ["bee"], "document")
    before = {path: path.read_bytes() for path in parts(domain)}

    def refuse(path, **_):
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "load", refuse)
        with pytest.raises(OSError, match="Too many open files"):
            stored_ragged(domain, encoder, ["bee"], "document")
    assert {path: path.read_bytes() for path in parts(domain)} == before and encoder.asked == ["bee"]


def test_the_rate_is_of_what_this_process_has_encoded(domain, project, monkeypatch):
    monkeypatch.setattr("benchmark.encoders.shelf.SLICE", 1)
    clock = iter(range(1000))
    monkeypatch.setattr("benchmark.encoders.ragged.time.perf_counter", lambda: next(clock))

    class Racing(Letters):
        def track(self, items, *, total, label):
            for place, item in enumerate(items):
                if place == 2:
                    stored_ragged(domain, Letters(), ["bb", "a"], "document")
                yield item

    encoder = Racing()
    found = stored_ragged(domain, encoder, ["dddd", "ccc", "bb", "a"], "document", encoder)
    assert sorted(encoder.asked) == ["ccc", "dddd"] and found.seconds is None
    assert Shelf.of(project, FINGERPRINT).header["rates"]["document"] == 1.0
