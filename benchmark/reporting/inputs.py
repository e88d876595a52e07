"""What the leaderboard is made from: finished runs of the present test set, refused where they are anything else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmark.errors import BenchError, Problems
from benchmark.files import Json, hash_file, hash_json, read_json, shown
from benchmark.project import Domain, Project
from benchmark.provenance import MANIFEST
from benchmark.records import TestSet, read_testset
from benchmark.reporting.board import TASKS, Scores
from benchmark.reporting.general import METRIC, General, GeneralSet
from benchmark.reporting.measures import Relevance
from benchmark.reporting.metrics import Metric, score_run
from benchmark.reporting.systems import System, choice_of, declared, kind_of, tuned_from
from benchmark.reporting.threads import in_threads
from benchmark.runs import Ranking, read_ranking
from benchmark.specs import BenchmarkSpec

RUN = "run.trec"
TOLERANCE = 1e-5  # mteb rounds its scores to five digits
_AGAIN = "run again: domainbench evaluate"
_ANEW = "make it anew with: domainbench evaluate"


@dataclass(frozen=True)
class Evaluated:
    """The test set and the finished runs on it, with their manifests, by task and system."""

    testset: TestSet
    testset_hash: str
    runs: Mapping[str, Mapping[str, Ranking]]
    manifests: Mapping[str, Mapping[str, Json]]

    @cached_property
    def qrels(self) -> Relevance:
        """Relevance of the answerable queries, in the test set's order."""
        return Relevance({query.id: self.testset.qrels[query.id] for query in self.testset.queries})


def read_evaluated(domain: Domain, benchmark: BenchmarkSpec, tasks: Sequence[str] = TASKS) -> Evaluated:
    """Read the test set and every compared spec's runs.

    Args:
        domain: Whose.
        benchmark: Names the specs and the depth.
        tasks: Which tasks there must be runs of.

    Raises:
        BenchError: The test set or a run is missing, unfinished, edited, or was made on another test set, over other
            passages or candidates, with another depth or with another model than its sister run; all of them at once.
    """
    manifest = _testset_manifest(domain, benchmark)
    testset = read_testset(domain.testset)
    if not testset.queries:
        raise BenchError(f"{shown(domain.testset)}: has no answerable question, so there is nothing to measure")
    with Problems() as problems:
        manifests = {
            task: dict(_manifests(domain, task, benchmark, problems)) for task in tasks
        }  # fmt: skip
    same = (hash_json(manifest["outputs"]), manifest["fingerprint"])
    with Problems() as problems:
        for task, rows in manifests.items():
            for spec, row in rows.items():
                _check_manifest(domain, task, spec, row, same, benchmark.top_k, problems)
            # A changed test set is reason enough: its runs are told once.
            current = {spec: row for spec, row in rows.items() if row.get("facts", {}).get("testset") in same}
            check_passages(domain, task, current, problems)
        _check_sisters(domain, manifests, problems)
    runs = _runs(domain, manifests, {query.id for query in testset.queries})
    return Evaluated(testset, same[0], runs, manifests)


def read_general(project: Project, domain: Domain, benchmark: BenchmarkSpec, evaluated: Evaluated) -> General | None:
    """Read the retrieval runs on the benchmark's general sets, and score them.

    Args:
        project: Has the general domains.
        domain: The domain that they stand beside.
        benchmark: Names them, and the margin.
        evaluated: The domain's own runs; the models must be the same.

    Returns:
        Scores without statistics; None where the benchmark file names no general set.

    Raises:
        BenchError: As `read_evaluated`, or a run was made with another model than the domain's.
    """
    if not benchmark.general:
        return None
    sets: list[GeneralSet] = []
    with Problems() as problems:
        for name in benchmark.general:
            try:
                sets.append(_general_set(project.domain(name), domain, benchmark, evaluated))
            except BenchError as error:
                problems.absorb(error)
    return General(benchmark.margin, tuple(sets))


def _general_set(general: Domain, domain: Domain, benchmark: BenchmarkSpec, evaluated: Evaluated) -> GeneralSet:
    task = TASKS[0]
    found = read_evaluated(general, benchmark, [task])
    own = evaluated.manifests[task]
    with Problems() as problems:
        for spec, manifest in found.manifests[task].items():
            if manifest["facts"].get("model") != own[spec]["facts"].get("model"):
                problems.add(
                    f"{shown(general.run(task, spec))}: was made with another model than {domain.name}'s; {_AGAIN}"
                )
    scores = {
        spec: {METRIC: score_run(run, found.qrels, [METRIC], top_k=benchmark.top_k)[METRIC].tolist()}
        for spec, run in found.runs[task].items()
    }
    check_agreement(general, found, {task: scores}, benchmark.top_k)
    return GeneralSet(
        name=general.name,
        title=general.spec.title,
        testset=found.testset_hash,
        queries=tuple(query.id for query in found.testset.queries),
        scores={spec: columns[METRIC] for spec, columns in scores.items()},
    )


def _testset_manifest(domain: Domain, benchmark: BenchmarkSpec) -> Json:
    path = domain.testset / MANIFEST
    if not path.is_file():
        command = "ingest" if domain.name in benchmark.domains else "evaluate"
        raise BenchError(f"{shown(domain.testset)}: no test set; make it with: domainbench {command}")
    return read_json(path)


def _manifests(domain: Domain, task: str, benchmark: BenchmarkSpec, problems: Problems) -> Iterator[tuple[str, Json]]:
    for spec in benchmark.compared:
        folder = domain.run(task, spec)
        if (folder / MANIFEST).is_file() and (folder / RUN).is_file():
            yield spec, read_json(folder / MANIFEST)
        else:
            problems.add(f"{shown(folder)}: no finished {task} run of '{spec}'; make it with: domainbench evaluate")


def _check_manifest(
    domain: Domain, task: str, spec: str, manifest: Json, testset: tuple[str, str], top_k: int, problems: Problems
) -> None:
    folder, facts = domain.run(task, spec), manifest.get("facts", {})
    where = f"{shown(folder)}"
    if facts.get("spec") != spec:
        problems.add(f"{where}: is a run of '{facts.get('spec')}', not of '{spec}'; {_AGAIN}")
    if facts.get("testset") not in testset:
        problems.add(f"{where}: was made on another test set than the present one; {_AGAIN}")
    if manifest.get("outputs", {}).get(RUN) != hash_file(folder / RUN):
        problems.add(f"{where}/{RUN}: was edited after its evaluation; {_AGAIN}")
    depth = manifest.get("settings", {}).get("top_k", top_k)
    if depth != top_k:
        problems.add(f"{where}: holds the first {depth} passages, the benchmark asks for {top_k}; {_AGAIN}")


def check_passages(domain: Domain, task: str, manifests: Mapping[str, Json], problems: Problems) -> None:
    """See to it that all runs of a task ranked the present passages: the same question is harder among more of them.

    The test set's hash does not tell, since queries and judgements stay as they are when passages are added elsewhere.

    Args:
        domain: Whose runs.
        task: Of the runs; in reranking the candidates must be the present ones, too.
        manifests: Of the runs, by spec.
        problems: Where a line for each stale run goes.
    """
    passages = _outputs_hash(domain.chunks)
    candidates = _outputs_hash(domain.candidates) if task == "reranking" else None
    for spec, manifest in manifests.items():
        inputs = manifest.get("inputs", {})
        if passages is None or inputs.get("chunks") != passages:
            problems.add(f"{shown(domain.run(task, spec))}: was made over other passages; {_ANEW}")
        elif task == "reranking" and (candidates is None or inputs.get("candidates") != candidates):
            problems.add(f"{shown(domain.run(task, spec))}: was made over other candidates; {_ANEW}")


def _outputs_hash(folder: Path) -> str | None:
    """Of a stage's present output, as the stages that follow have it among their inputs; None where there is none."""
    path = folder / MANIFEST
    return hash_json(read_json(path)["outputs"]) if path.is_file() else None


def _check_sisters(domain: Domain, manifests: Mapping[str, Mapping[str, Json]], problems: Problems) -> None:
    """A model that was tuned anew between its two runs would stand in the tables as one system."""
    first, *others = manifests
    for spec, manifest in manifests[first].items():
        for task in others:
            if manifests[task][spec].get("facts", {}).get("model") != manifest.get("facts", {}).get("model"):
                problems.add(f"{shown(domain.run(task, spec))}: was made with another model than {first}'s; {_AGAIN}")


def _runs(
    domain: Domain, manifests: Mapping[str, Mapping[str, Json]], queries: set[str]
) -> dict[str, dict[str, Ranking]]:
    """All runs, by task and spec; every mistake at once."""
    places = [(task, spec) for task, rows in manifests.items() for spec in rows]
    found: dict[str, dict[str, Ranking]] = {task: {} for task in manifests}
    with Problems() as problems:
        for (task, spec), run in zip(
            places, in_threads(lambda place: _run(domain, *place, queries), places), strict=True
        ):
            if isinstance(run, BenchError):
                problems.absorb(run)
            else:
                found[task][spec] = run
    return found


def _run(domain: Domain, task: str, spec: str, queries: set[str]) -> Ranking | BenchError:
    path = domain.run(task, spec) / RUN
    try:
        run = read_ranking(path)
    except BenchError as error:
        return error
    unknown = [query for query in run.queries if query not in queries]
    if unknown:
        where = f"{shown(path)}: {len(unknown)} queries not in the test set"
        return BenchError(f"{where} (the first: {unknown[0]}); {_AGAIN}")
    return run


# --- agreement with mteb --------------------------------------------------------------------------------------------


def check_agreement(domain: Domain, evaluated: Evaluated, scores: Scores, top_k: int) -> None:
    """Every score that mteb reported must be the one that the kept run gives.

    mteb's means leave out queries for which nothing was retrieved, ours do not: where a run lacks queries either
    mean is accepted.

    Raises:
        BenchError: A score differs by more than the rounding; all of them at once.
    """
    with Problems() as problems:
        for task, manifests in evaluated.manifests.items():
            for spec, manifest in manifests.items():
                reported = manifest["facts"].get("scores", {})
                run = evaluated.runs[task][spec]
                answered = [query in run for query in evaluated.qrels]
                for metric, row in scores[task][spec].items():
                    said = reported.get(metric.mteb_key(top_k))
                    if said is not None and not _agrees(float(said), row, answered):
                        problems.add(_disagreement(domain, task, spec, metric, float(said), row))


def _agrees(said: float, row: list[float], answered: list[bool]) -> bool:
    ours = [sum(row) / len(row)]
    if any(answered) and not all(answered):
        ours.append(sum(row) / sum(answered))
    return any(abs(said - value) <= TOLERANCE for value in ours)


def _disagreement(domain: Domain, task: str, spec: str, metric: Metric, said: float, row: list[float]) -> str:
    return (
        f"{shown(domain.run(task, spec))}: mteb reported {metric} {said:.5f}, the kept run gives "
        f"{sum(row) / len(row):.5f}; the run was edited or belongs to another test set; {_AGAIN}"
    )


# --- systems --------------------------------------------------------------------------------------------------------


def read_systems(project: Project, benchmark: BenchmarkSpec, evaluated: Evaluated) -> tuple[System, ...]:
    """What each compared spec is, the baseline first.

    Raises:
        BenchError: A spec is missing or has mistakes; all of them at once.
    """
    systems: list[System] = []
    with Problems() as problems:
        for name in benchmark.compared:
            try:
                spec = project.model_spec(name)
            except BenchError as error:
                problems.absorb(error)
                continue
            origin = tuned_from(name, spec, benchmark)
            systems.append(
                System(
                    name=name,
                    kind=kind_of(spec, origin),
                    description=spec.description,
                    **declared(project, spec)._asdict(),
                    tuned_from=origin,
                    fingerprint=str(evaluated.manifests[TASKS[0]][name]["facts"].get("model", "")),
                    choice=choice_of(name, spec),
                )
            )
    return tuple(systems)
