import os

import pytest

from benchmark.console import SILENT, Notes
from benchmark.errors import BenchError
from benchmark.provenance import Outcome, Stage, run_stage

STAGE = Stage("sample", 1)


def run(folder, *, data="a", k=1, stage=STAGE, fail=False):
    heard = Notes()
    built = []

    def build(new):
        built.append(new)
        (new / "out.txt").write_text(f"{data}{k}")
        if fail:
            raise BenchError("no")
        return {"n": k}

    outcome = run_stage(stage, folder, inputs={"data": data}, settings={"k": k}, build=build, reporter=heard)
    return outcome, bool(built), heard.lines[0]


def test_skipped_only_when_nothing_that_matters_has_changed(tmp_path):
    folder = tmp_path / "out"
    first, built, said = run(folder)
    assert built
    assert "not there yet" in said
    assert first.facts == {"n": 1}
    again, built, said = run(folder)
    assert not built
    assert "skipped" in said
    assert again.outputs_hash == first.outputs_hash
    assert run(folder, data="b")[1:] == (True, "sample: done again, changed: data")
    assert run(folder, data="b", k=2)[1:] == (True, "sample: done again, changed: k")
    assert run(folder, data="b", k=2, stage=Stage("sample", 2))[1]


def test_file_times_do_not_matter_but_content_does(tmp_path):
    folder = tmp_path / "out"
    run(folder)
    os.utime(folder / "out.txt", (1, 1))
    os.utime(folder / "manifest.json", (1, 1))
    assert not run(folder)[1]
    (folder / "out.txt").write_text("edited")
    assert run(folder)[1:] == (True, "sample: done again, its output was incomplete or edited")
    (folder / "out.txt").unlink()
    assert run(folder)[1]


def test_a_stage_that_fails_leaves_what_was_there(tmp_path):
    folder = tmp_path / "out"
    run(folder)
    with pytest.raises(BenchError):
        run(folder, data="b", fail=True)
    assert (folder / "out.txt").read_text() == "a1"
    assert not run(folder)[1]


def test_a_manifest_holds_no_path_outside_the_project(tmp_path):
    outcome, *_ = run(tmp_path / "out")
    assert str(tmp_path) not in (tmp_path / "out" / "manifest.json").read_text()
    assert outcome.manifest["packages"]["torch"]


def test_files_that_a_stage_does_not_read_change_nothing_for_it(tmp_path):
    def outcome(card):
        def build(folder):
            (folder / "data.txt").write_text("rows")
            (folder / "README.md").write_text(card)
            return {}

        return run_stage(
            STAGE, tmp_path / "out", inputs={"card": card}, settings={}, build=build, reporter=Notes(), label=card
        )

    one, other = outcome("CC0"), outcome("CC-BY")
    assert one.outputs_hash != other.outputs_hash
    assert one.hash_without(["README.md"]) == other.hash_without(["README.md"]) != other.hash_without(["data.txt"])


def test_the_device_is_only_asked_for_where_there_was_work(tmp_path):
    asked = []

    def make() -> Outcome:
        return run_stage(
            Stage("s", 1), tmp_path / "out", inputs={}, settings={}, build=lambda folder: {}, reporter=SILENT,
            device=lambda: asked.append("asked") or "cuda",
        )  # fmt: skip

    assert make().manifest["device"] == make().manifest["device"] == "cuda"
    assert asked == ["asked"]
