"""`domainbench prune`: what no spec and no kept run has goes, everything else stays."""

import json
import shutil

import numpy as np
import pytest

from benchmark.cli import prune as command
from benchmark.cli.state import set_project_folder
from benchmark.console import SILENT
from benchmark.encoders.backends import exported_folder
from benchmark.encoders.dense import DenseEncoder
from benchmark.encoders.pairs import PairScorer
from benchmark.encoders.pruning import prune
from benchmark.encoders.shelf import Shelf, vectors_folder
from benchmark.encoders.store import document_vectors, missing
from benchmark.files import write_text
from benchmark.project import Project
from benchmark.records import Chunk
from benchmark.weights import folder_fingerprint, model_fingerprint

TEXTS = ["a mooring is let", "rye flour and water", "ninety minutes"]
CHUNKS = [Chunk(f"d#{i}", "d", "", (), -1, -1, text) for i, text in enumerate(TEXTS)]


def spec(project, name, text):
    (project.specs_folder / f"{name}.yaml").write_text(text)


def encode(project, name):
    document_vectors(project.domain("village"), DenseEncoder.load(project, name), CHUNKS)
    return model_fingerprint(project, name)


def unseen(project, fingerprint):
    return missing(project, fingerprint, "document", "", TEXTS)


@pytest.fixture
def several(project, cross_encoder):
    """Three encoders and a cross-encoder with something in the store; fingerprint by name."""
    spec(project, "gone", "path: weights/tiny\nmax_length: 50\n")
    spec(project, "part", "path: weights/tiny\nmax_length: 60\n")
    spec(project, "cut", "base: part\ntruncate_dim: 8\n")
    prints = {name: encode(project, name) for name in ("tiny", "gone", "part")}
    PairScorer(project, "ce", SILENT, "")([("a", "b")])
    prints["ce"] = model_fingerprint(project, "ce")
    return prints


def test_only_what_no_spec_names_is_deleted(project, several):
    assert prune(project) == []
    (project.specs_folder / "gone.yaml").unlink()
    again = Project(project.root)
    folder = Shelf.of(again, several["gone"]).folder
    size = sum(path.stat().st_size for path in folder.iterdir())
    (told,) = prune(again, dry_run=True)
    assert (told.path, told.size) == (folder, size) and size > 0 and "gone" in told.what
    assert unseen(again, several["gone"]) == 0
    assert prune(again) == [told]
    assert not folder.exists() and prune(again) == []
    assert [unseen(again, several[name]) for name in ("tiny", "part", "gone")] == [0, 0, 3]
    assert len([path for path in vectors_folder(again).iterdir() if path.is_dir()]) == 3
    # It is made again as ever.
    spec(again, "gone", "path: weights/tiny\nmax_length: 50\n")
    assert encode(Project(project.root), "gone") == several["gone"] and unseen(again, several["gone"]) == 0


def test_what_another_process_uses_stays(project, several):
    (project.specs_folder / "gone.yaml").unlink()
    again = Project(project.root)
    with Shelf.of(again, several["gone"]).in_use():
        (told,) = prune(again)
        assert "in use by another process" in told.stays and unseen(again, several["gone"]) == 0
    (told,) = prune(again)
    assert told.size > 0 and not told.stays and unseen(again, several["gone"]) == 3


def test_what_is_mapped_outlives_its_file(project, several):
    from benchmark.encoders.store import stored_documents

    encoder = DenseEncoder.load(project, "gone")
    vectors = stored_documents(project.domain("village"), encoder, CHUNKS)
    (project.specs_folder / "gone.yaml").unlink()
    assert len(prune(Project(project.root))) == 1
    np.testing.assert_allclose(vectors.array(), encoder.encode(TEXTS, "document"), atol=1e-6)


def test_a_model_whose_weights_are_not_there_now_keeps_its_vectors(project, several):
    weights = project.root / "weights"
    weights.rename(project.root / "away")
    assert prune(project) == []
    (project.root / "away").rename(weights)
    spec(project, "gone", "path: [broken\n")
    assert prune(Project(project.root)) == []


def test_a_kept_run_keeps_the_vectors_of_its_model(project, several):
    facts = {"spec": "gone", "model": several["gone"]}
    path = project.domain("village").run("retrieval", "gone") / "manifest.json"
    write_text(path, json.dumps({"facts": facts}))
    assert prune(Project(project.root)) == [], "of a model that has a spec nothing is told"
    (project.specs_folder / "gone.yaml").unlink()
    (told,) = prune(Project(project.root))
    assert "stays for the runs" in told.stays and told.stays.endswith("runs/retrieval/gone")
    assert unseen(project, several["gone"]) == 0 and told.size > 0
    # Another model by now, whose run stands for neither.
    spec(project, "gone", "path: weights/tiny\nmax_length: 51\n")
    assert [one.stays for one in prune(Project(project.root))] == [told.stays]
    write_text(path, json.dumps({"facts": {**facts, "model": "0" * 64}}))
    assert [one.path.name for one in prune(Project(project.root))] == [several["gone"][:20]]
    path.write_text("{broken")
    assert prune(Project(project.root)) == []


def test_exports_old_vectors_and_tables_of_other_versions_go_as_well(project, several, monkeypatch):
    kept, left = exported_folder(project, several["tiny"]), exported_folder(project, "e" * 64)
    broken = left.with_name(f".{'f' * 20}.new")  # of an export that was killed
    going = kept.with_name(f".{kept.name}.new")
    old = project.domain("village").results / "vectors"
    for folder in (kept, left, broken, going, old):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x" * 100)
    monkeypatch.setattr("benchmark.encoders.shelf.VERSION", -1)
    encode(project, "tiny")
    monkeypatch.undo()
    encode(project, "tiny")
    shelf = Shelf.of(project, several["tiny"])
    wanted = shelf.path("document", "")
    now, other = (wanted.with_name(f"{name}.parts") for name in (wanted.name, "document-other"))
    for folder in (now, other):
        folder.mkdir()
        (folder / "part.npz").write_bytes(b"x" * 50)
    whole = shelf.folder / "document-of-a-corpus.npz"  # as earlier versions kept them
    whole.write_bytes(b"x" * 70)
    assert sum(one.size for one in prune(project, dry_run=True) if one.path in (other, whole)) == 120
    found = {one.path: one.size for one in prune(project)}
    assert {left: 100, broken: 100, old: 100, other: 50, whole: 70}.items() <= found.items() and len(found) == 6
    assert (now / "part.npz").exists() and not other.exists() and not whole.exists()
    assert not left.exists() and not broken.exists() and not old.exists()
    assert (kept / "file").exists() and (going / "file").exists()
    assert unseen(project, several["tiny"]) == 0
    assert len(list(Shelf.of(project, several["tiny"]).folder.glob("*.rows"))) == 1
    assert (project.results / ".vectors" / ".gitignore").exists()


def test_nothing_is_fetched_for_a_model_of_the_hub(project, several, monkeypatch):
    spec(project, "remote", f"hub: organisation/name\nrevision: {'a' * 40}\n")
    monkeypatch.setattr("benchmark.weights.snapshot", lambda *_, **__: pytest.fail("the Hub was asked"))
    shelf = Shelf.of(project, "d" * 64)
    with shelf.in_use():
        shelf.tell("remote", {}, {})
    assert prune(Project(project.root)) == []
    (project.specs_folder / "remote.yaml").unlink()
    assert [one.path for one in prune(Project(project.root))] == [shelf.folder]


def test_a_model_of_the_hub_is_known_by_its_files_in_the_cache(project, several, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "models--organisation--name" / "snapshots" / ("a" * 40)
    shutil.copytree(project.root / "weights" / "tiny", folder)
    spec(project, "remote", f"hub: organisation/name\nrevision: {'a' * 40}\nmax_length: 77\n")
    fingerprint = folder_fingerprint(project.model_spec("remote"), folder)
    shelf = Shelf.of(project, fingerprint)
    with shelf.in_use():
        shelf.tell("under another name", {}, {})
    assert prune(Project(project.root)) == []
    spec(project, "remote", f"hub: organisation/name\nrevision: {'a' * 40}\nmax_length: 78\n")
    assert [one.path for one in prune(Project(project.root))] == [shelf.folder]


def test_the_command_tells_what_it_frees(project, several, capsys):
    (project.specs_folder / "gone.yaml").unlink()
    shutil.rmtree(project.root / "results" / ".backends", ignore_errors=True)
    set_project_folder(project.root)
    try:
        command.prune(dry_run=True)
        command.prune(dry_run=False)
        command.prune(dry_run=False)
    finally:
        set_project_folder(None)
    first, would, second, did, nothing = capsys.readouterr().out.splitlines()
    assert first == second and f"{several['gone'][:20]} (vectors and scores of gone): " in first
    assert would == did.replace(" freed", " would be freed") and nothing == "0 bytes freed"


def test_half_files_of_a_kill_go_and_sizes_are_told_while_others_write(project, several):
    folder = Shelf.of(project, several["tiny"]).folder
    parts = folder / "document-x.parts"
    wanted = Shelf.of(project, several["tiny"]).path("document", "").name
    for path in (folder / ".header.json.12.tmp", folder / f"{wanted}.parts" / ".y.npz.12.tmp", parts / ".z.npz.12.tmp"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 10)
    (folder / "link").symlink_to(folder / "nowhere")
    with Shelf.of(project, several["tiny"]).in_use():
        assert {one.stays for one in prune(project)} == {"in use by another process, stays"}
    found = {one.path.name: one.size for one in prune(project)}
    assert found == {".header.json.12.tmp": 10, ".y.npz.12.tmp": 10, "document-x.parts": 10}
    assert not list(folder.rglob("*.tmp")) and unseen(project, several["tiny"]) == 0
    assert prune(project) == []
