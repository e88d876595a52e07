"""Stages: functions from files to files, skipped when nothing that matters has changed.

A stage's fingerprint is a hash over the content of its inputs, the settings that change its output and its own
version. Its output folder is filled under a temporary name and renamed; `manifest.json` is written last and lists
every output with its hash, so that a folder that somebody edited is made anew as well.
"""

import functools
import importlib.metadata
import platform
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.console import Reporter
from benchmark.files import Json, dump_json, files_below, hash_file, hash_json, read_json, replacing, write_text

MANIFEST = "manifest.json"
_PACKAGES = (
    "domainbench", "mteb", "sentence-transformers", "transformers", "torch", "datasets", "pytrec-eval-terrier", "numpy",
    "scipy", "bm25s", "semantic-text-splitter", "openai",
)  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """A stage's name and the version of its code; raise the version when its output changes."""

    name: str
    version: int

    def fingerprint(self, inputs: Mapping[str, str], settings: Mapping[str, Any]) -> str:
        """sha256 over this stage, its inputs' hashes and its settings, in hex."""
        return hash_json([self.name, self.version, dict(inputs), dict(settings)])


@dataclass(frozen=True)
class Outcome:
    """What a stage did: its folder, whether it was skipped, and its manifest."""

    folder: Path
    skipped: bool
    manifest: Json

    @property
    def outputs_hash(self) -> str:
        """One hash over everything the stage wrote; the input hash of the stages that follow."""
        return hash_json(self.manifest["outputs"])

    def hash_without(self, names: Collection[str]) -> str:
        """As `outputs_hash`, for a stage that does not read these files."""
        return hash_json({name: sha for name, sha in self.manifest["outputs"].items() if name not in names})

    @property
    def facts(self) -> Json:
        """Counts and findings that the stage left in its manifest."""
        facts: Json = self.manifest["facts"]
        return facts


def kept(stage: Stage, folder: Path, fingerprint: str) -> Json | None:
    """The manifest of a finished, unchanged output folder with this fingerprint, or None."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    manifest = read_json(path)
    if manifest.get("stage") != stage.name or manifest.get("fingerprint") != fingerprint:
        return None
    outputs: dict[str, str] = manifest.get("outputs", {})
    intact = all((folder / name).is_file() and hash_file(folder / name) == sha for name, sha in outputs.items())
    return manifest if intact else None


def run_stage(
    stage: Stage,
    folder: Path,
    *,
    inputs: Mapping[str, str],
    settings: Mapping[str, Any],
    build: Callable[[Path], Json],
    reporter: Reporter,
    label: str = "",
    device: str | Callable[[], str] = "cpu",
) -> Outcome:
    """Make a stage's output folder, or skip it with a word on the screen.

    Args:
        stage: Name and version.
        folder: Where the output goes; replaced as a whole.
        inputs: Input name -> hash of its content.
        settings: Every setting that changes the output (JSON values; no secret).
        build: Fills the (temporary) folder it is given and returns facts for the manifest.
        reporter: Where the word goes.
        label: What to call this run on the screen; the stage's name by default.
        device: Recorded in the manifest; what has to be found out (by loading torch) is asked for after the work.

    Raises:
        BenchError: Whatever `build` raises; the old folder then stays as it was.
    """
    word = label or stage.name
    fingerprint = stage.fingerprint(inputs, settings)
    manifest = kept(stage, folder, fingerprint)
    if manifest is not None:
        reporter.note(f"{word}: nothing has changed, skipped")
        return Outcome(folder, True, manifest)
    reporter.note(f"{word}: {_why(folder, inputs, settings)}")
    started = time.perf_counter()
    with replacing(folder) as temporary:
        facts = build(temporary)
        manifest = {
            "stage": stage.name,
            "version": stage.version,
            "fingerprint": fingerprint,
            "inputs": dict(inputs),
            "settings": dict(settings),
            "outputs": {p.relative_to(temporary).as_posix(): hash_file(p) for p in files_below(temporary)},
            "facts": facts,
            "seconds": round(time.perf_counter() - started, 2),
            "device": device if isinstance(device, str) else device(),
            "python": platform.python_version(),
            "packages": package_versions(),
            "code": code_state(),
        }
        write_text(temporary / MANIFEST, dump_json(manifest))
    return Outcome(folder, False, manifest)


def _why(folder: Path, inputs: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    if not (folder / MANIFEST).is_file():
        return "not there yet, working"
    old = read_json(folder / MANIFEST)
    changed = [name for name, sha in inputs.items() if old.get("inputs", {}).get(name) != sha]
    changed += [name for name, value in settings.items() if old.get("settings", {}).get(name) != value]
    return (
        f"done again, changed: {', '.join(changed)}" if changed else "done again, its output was incomplete or edited"
    )


@functools.cache
def package_versions() -> dict[str, str]:
    """Versions of the packages that decide the figures, as far as they are installed."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


@functools.cache
def code_state() -> dict[str, Any]:
    """Commit and dirty flag of the code, where it runs from a git checkout; empty otherwise."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return {}

    def git(*words: str) -> str:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(root), *words],  # noqa: S607
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "-uno"))}
    except OSError:
        return {}
