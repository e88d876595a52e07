"""Whether leaderboard, report and page are still what they would be if they were made again.

They are no stage with a manifest beside them, since they are committed, and the same on every machine. What they were
made from and what came of it stands in a hidden file, as hashes.
"""

import functools
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmark.errors import BenchError
from benchmark.files import Json, dump_json, files_below, hash_file, hash_json, read_json, write_text
from benchmark.project import Domain, Project
from benchmark.provenance import MANIFEST
from benchmark.reporting.board import TASKS
from benchmark.reporting.inputs import RUN
from benchmark.reporting.report_files import FORMS
from benchmark.reporting.systems import declared
from benchmark.specs import BenchmarkSpec
from benchmark.weights import TRAINED_CHUNKS

RECORD: Final = ".leaderboard.json"
_OUTPUTS: Final = (*(f"leaderboard.{suffix}" for suffix in ("json", "md", "csv", "tex", "html")), "report.md", *FORMS)
_PLOTS: Final = "plots"
_LIBRARIES: Final = ("numpy", "matplotlib", "pyarrow", "jinja2", "markdown-it-py", "domainbench")


def is_unchanged(domain: Domain, fingerprint: str) -> bool:
    """Whether everything is there as it was made from inputs of this fingerprint."""
    path = domain.results / RECORD
    try:
        known: Json = read_json(path) if path.is_file() else {}
    except BenchError:
        return False
    return bool(known.get("fingerprint") == fingerprint and known.get("outputs") == _outputs(domain))


def keep(domain: Domain, fingerprint: str) -> None:
    """Note what was made from inputs of this fingerprint."""
    write_text(domain.results / RECORD, dump_json({"fingerprint": fingerprint, "outputs": _outputs(domain)}))


def _outputs(domain: Domain) -> dict[str, str]:
    found = [domain.results / name for name in _OUTPUTS if (domain.results / name).is_file()]
    found += files_below(domain.results / _PLOTS) if (domain.results / _PLOTS).is_dir() else []
    return {path.relative_to(domain.results).as_posix(): hash_file(path) for path in found}


def fingerprint_of(project: Project, domain: Domain, benchmark: BenchmarkSpec) -> str:
    """A hash over all that leaderboard, report and page are made from: files, settings, and this program.

    Raises:
        BenchError: A general set or a spec is missing or has mistakes.
    """
    general = [project.domain(name) for name in benchmark.general]
    files = [*_read(domain, benchmark), *(path for one in general for path in _read_of_general(one, benchmark))]
    return hash_json(
        {
            "benchmark": benchmark.model_dump(mode="json"),
            "domains": [one.spec.model_dump(mode="json") for one in (domain, *general)],
            "specs": [project.model_spec(name).model_dump(mode="json") for name in benchmark.compared],
            "declared": [list(declared(project, project.model_spec(name))) for name in benchmark.compared],
            "files": [[path.relative_to(project.results).as_posix(), hash_file(path)] for path in files],
            "program": _program(),
        }
    )


def _read(domain: Domain, benchmark: BenchmarkSpec) -> Iterator[Path]:
    """Files of the domain that are read, as far as they are there."""
    for folder in (domain.chunks, domain.testset, domain.answers, domain.judged):
        yield from files_below(folder) if folder.is_dir() else ()
    models = [domain.model(name) for name in benchmark.compared]
    models += [domain.model(name) for run in benchmark.finetune for name in run.emits]
    wanted = [folder / name for folder in models for name in (MANIFEST, TRAINED_CHUNKS)]
    wanted += [folder / MANIFEST for folder in (domain.candidates, domain.synthetic)]
    runs = [domain.run(task, name) for task in TASKS for name in benchmark.compared]
    wanted += [folder / name for folder in runs for name in (MANIFEST, RUN)]
    # What was found of answers and of ratings stands beside the leaderboard.
    wanted += [path for path in sorted(domain.results.glob("[!.]*.json")) if path.name not in _OUTPUTS]
    yield from (path for path in wanted if path.is_file())


def _read_of_general(general: Domain, benchmark: BenchmarkSpec) -> Iterator[Path]:
    folders = [general.run(TASKS[0], name) for name in benchmark.compared]
    wanted = [general.chunks / MANIFEST, *(folder / name for folder in folders for name in (MANIFEST, RUN))]
    yield from files_below(general.testset) if general.testset.is_dir() else ()
    yield from (path for path in wanted if path.is_file())


@functools.cache
def _program() -> list[str]:
    """This package's files, and the versions of what calculates, draws and writes for it."""
    package = Path(__file__).resolve().parent.parent
    files = [path for path in files_below(package) if "__pycache__" not in path.parts]
    hashes = [[path.relative_to(package).as_posix(), hash_file(path)] for path in files]
    return [hash_json(hashes), *(f"{name} {_version(name)}" for name in _LIBRARIES)]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
