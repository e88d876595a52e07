"""The passages of each pipeline, from kept runs: no model is loaded again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmark.errors import BenchError, Problems
from benchmark.files import hash_file, read_json, shown
from benchmark.project import Domain
from benchmark.provenance import MANIFEST
from benchmark.records import Run
from benchmark.runs import read_run

RUN: Final = "run.trec"
UNANSWERABLE: Final = "unanswerable.trec"
_AGAIN: Final = "run again: domainbench evaluate"


@dataclass(frozen=True)
class Kept:
    """The kept retrieval runs.

    Attributes:
        runs: Pipeline -> question -> hits, unanswerable questions among them.
        hashes: Pipeline -> hash of its files.
    """

    runs: Mapping[str, Run]
    hashes: Mapping[str, str]

    def passages(self, pipeline: str, question: str, count: int) -> tuple[str, ...]:
        """Ids of the best chunks of a pipeline for a question."""
        return tuple(hit.chunk for hit in self.runs[pipeline].get(question, [])[:count])


def read_kept(
    domain: Domain, pipelines: Sequence[str], testset_hash: str, chunks: frozenset[str], unanswerable: bool
) -> Kept:
    """Read the kept retrieval runs of some pipelines.

    Args:
        domain: Whose.
        pipelines: Names of model specs.
        testset_hash: Of the present test set.
        chunks: Ids of the present chunks.
        unanswerable: Whether the ranking of the unanswerable questions is needed as well.

    Raises:
        BenchError: A run is missing, unfinished, edited, or was made on another test set; all of them at once.
    """
    runs: dict[str, Run] = {}
    hashes: dict[str, str] = {}
    with Problems() as problems:
        for pipeline in pipelines:
            folder = domain.run("retrieval", pipeline)
            files = [folder / RUN, *([folder / UNANSWERABLE] if unanswerable else [])]
            try:
                _check(folder, pipeline, testset_hash, files)
                runs[pipeline] = {query: row for path in files for query, row in read_run(path).items()}
                _check_chunks(folder, runs[pipeline], chunks)
                hashes[pipeline] = ",".join(hash_file(path) for path in files)
            except BenchError as error:
                problems.absorb(error)
    return Kept(runs, hashes)


def _check(folder: Path, pipeline: str, testset_hash: str, files: Sequence[Path]) -> None:
    if not (folder / MANIFEST).is_file() or not (folder / RUN).is_file():
        raise BenchError(f"{shown(folder)}: no finished run of '{pipeline}'; make it with: domainbench evaluate")
    manifest = read_json(folder / MANIFEST)
    if manifest.get("facts", {}).get("testset") != testset_hash:
        raise BenchError(f"{shown(folder)}: was made on another test set than the present one; {_AGAIN}")
    for path in files:
        if not path.is_file():
            raise BenchError(
                f"{shown(path)}: the run has no ranking for the unanswerable questions; make it with: domainbench evaluate"
            )
        if manifest.get("outputs", {}).get(path.name) != hash_file(path):
            raise BenchError(f"{shown(path)}: was edited after its evaluation; {_AGAIN}")


def _check_chunks(folder: Path, run: Run, chunks: frozenset[str]) -> None:
    unknown = next((hit.chunk for row in run.values() for hit in row if hit.chunk not in chunks), None)
    if unknown is not None:
        raise BenchError(f"{shown(folder)}: ranks a passage that is not there ({unknown}); {_AGAIN}")
