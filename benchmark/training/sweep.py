"""Sweeps: several settings of one run, compared on the development split within a budget of minutes.

A trial is a training like any other, in a folder of its own under `results/<domain>/sweeps/<run>/`. When it is done,
only its manifest and its scores are needed: weights are kept for the best trial so far, and become the run's model at
the end. So a sweep that was killed goes on with the trial that was cut, and one that is done costs nothing when it is
run again.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmark.encoders.shelf import Shelf
from benchmark.errors import BenchError
from benchmark.files import Json, dump_json, read_json, replacing, write_text
from benchmark.project import Domain
from benchmark.provenance import MANIFEST, kept
from benchmark.stats import SAME, bootstrap_interval, differences
from benchmark.training.job import Job
from benchmark.training.sweep_pages import Page, Row, write_pages
from benchmark.training.sweep_scores import Judge
from benchmark.training.train import STAGE, train_run, training_fingerprint

_SHORT: Final = 12
"""Letters of a trial's fingerprint in the name of its folder."""


@dataclass(frozen=True)
class Trial:
    """One combination of settings.

    Attributes:
        job: With the settings of this trial.
        settings: Those that the sweep sets, in words by name.
        fingerprint: Of its training.
        folder: Where it is trained; what it scored stands beside it.
    """

    job: Job[Any]
    settings: dict[str, str]
    fingerprint: str
    folder: Path

    @property
    def scores_file(self) -> Path:
        """What it scored, and how long it took."""
        return self.folder.with_name(f"{self.folder.name}.json")

    @property
    def finished(self) -> Json | None:
        """What it scored, if it was trained and judged; its weights may be gone."""
        if not self.scores_file.is_file():
            return None
        found = read_json(self.scores_file)
        return found if found["fingerprint"] == self.fingerprint else None

    @property
    def words(self) -> str:
        """The settings in a line."""
        return ", ".join(f"{name} {value}" for name, value in self.settings.items())


@dataclass(frozen=True)
class Swept:
    """What a sweep found.

    Attributes:
        job: With the settings that won.
        facts: For the emitted spec: which settings won, and how many trials were made and left out.
    """

    job: Job[Any]
    facts: Json


def sweep(job: Job[Any]) -> Swept:
    """Try the settings of a run's sweep, and put the best trial's model where the run's model belongs.

    The winner has the highest nDCG@10 on the development split, of equal ones the first. Nothing but the synthetic
    data and the passages is read.

    Args:
        job: A run with a `sweep`.

    Returns:
        The job with the settings that won. `train_run` then finds its model done.

    Raises:
        BenchError: A trial cannot be trained; says which.
    """
    run = job.run
    folder = job.domain.results / "sweeps" / run.name
    trials = _trials(job, folder)
    done = _work_through(job, trials)
    winner = _best(trials, done)
    _put_in_place(winner, job.domain.model(run.name))
    for trial in trials:
        _drop_weights(trial.folder)
    _remove_others(folder, trials)
    write_pages(folder, _page(job, trials, done, winner))
    left_out = len(trials) - len(done)
    why = ", the others left out for lack of time" if left_out else ""
    job.reporter.note(f"{run.name}: sweep: {len(done)} of {len(trials)} trials{why}; best: {winner.words}")
    won_with = {name: winner.job.run.effective[name] for name in run.sweep.grid}
    return Swept(winner.job, {"won_with": won_with, "trials": len(done), "left_out": left_out})


def _trials(job: Job[Any], folder: Path) -> list[Trial]:
    found = []
    for run in job.run.trials():
        trial = job.with_run(run)
        fingerprint = training_fingerprint(trial)
        settings = {name: _word(run.effective[name]) for name in job.run.sweep.grid}
        found.append(Trial(trial, settings, fingerprint, folder / fingerprint[:_SHORT]))
    return found


def _word(value: Any) -> str:
    """A setting's value as it would stand in the benchmark file.

    >>> _word(2e-5), _word(1.0), _word([0.5]), _word(None), _word({"r": 8})
    ('2e-05', '1', '[0.5]', 'none', 'r: 8')
    """
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_word(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return f"[{', '.join(_word(inner) for inner in value)}]"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _work_through(job: Job[Any], trials: Sequence[Trial]) -> dict[str, Json]:
    """Train one trial after the other while the mean time of those so far fits; fingerprint -> what it scored."""
    budget, judge = 60 * job.run.sweep.minutes, Judge(job)
    done: dict[str, Json] = {}
    for number, trial in enumerate(trials, start=1):
        found = trial.finished
        if found is None:
            spent = sum(known["seconds"] for known in done.values())
            if done and spent + spent / len(done) > budget:
                continue
            job.reporter.note(f"{job.run.name}: trial {number} of {len(trials)}: {trial.words}")
            found = _train(trial, judge)
        done[trial.fingerprint] = found
        best = _best(trials, done)
        for other in trials:
            if other.fingerprint in done and other is not best:
                _drop_weights(other.folder)
                _drop_vectors(job.domain, done[other.fingerprint], done[best.fingerprint])
    return done


def _train(trial: Trial, judge: Judge) -> Json:
    try:
        outcome = train_run(trial.job, trial.folder)
    except BenchError as error:
        raise BenchError(*(f"{line} (a trial of its sweep: {trial.words})" for line in error.problems)) from None
    scores = judge.scores(trial.job.run, trial.folder, outcome.facts["development"])
    found = {
        "fingerprint": trial.fingerprint,
        "settings": trial.job.settings,
        "seconds": outcome.manifest["seconds"],
        **scores,
    }
    write_text(trial.scores_file, dump_json(found))
    return found


def _best(trials: Sequence[Trial], done: Mapping[str, Json]) -> Trial:
    """The trial with the highest score, of equal ones the first."""
    finished = [trial for trial in trials if trial.fingerprint in done]
    best = finished[0]
    for trial in finished[1:]:
        if done[trial.fingerprint]["after"] - done[best.fingerprint]["after"] > SAME:
            best = trial
    return best


def _put_in_place(winner: Trial, folder: Path) -> None:
    """Make the winner's model the run's; where its weights are gone and the model is not there, it is trained anew."""
    in_place = kept(STAGE, folder, winner.fingerprint) is not None
    if not in_place and kept(STAGE, winner.folder, winner.fingerprint) is not None:
        with replacing(folder) as target:
            shutil.copytree(winner.folder, target, dirs_exist_ok=True)


def _drop_weights(folder: Path) -> None:
    """Leave nothing of a trial's folder but its manifest."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != MANIFEST:
            path.unlink()


def _drop_vectors(domain: Domain, loser: Json, best: Json) -> None:
    """Vectors of a model that is not kept are of no use to anybody."""
    fingerprint = loser["vectors"]
    if fingerprint is not None and fingerprint != best["vectors"]:
        Shelf.of(domain, fingerprint).delete()


def _remove_others(folder: Path, trials: Sequence[Trial]) -> None:
    """Trials of other data or settings than today's."""
    known = {trial.folder.name for trial in trials}
    for path in folder.iterdir():
        name = path.name.removesuffix(".json").removeprefix(".").removesuffix(".checkpoints")
        if len(name) == _SHORT and name not in known:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _page(job: Job[Any], trials: Sequence[Trial], done: Mapping[str, Json], winner: Trial) -> Page:
    first = done[trials[0].fingerprint]

    def row(trial: Trial) -> Row:
        found = done.get(trial.fingerprint)
        if found is None:
            return Row(trial.settings, None, None, None, None, False)
        known = found is not first and found["by_query"] is not None and first["by_query"] is not None
        gaps = differences(found["by_query"], first["by_query"]) if known else None
        interval = None if gaps is None else bootstrap_interval(gaps, seed=job.seed)
        gap = None if found is first else found["after"] - first["after"]
        return Row(trial.settings, found["after"], gap, interval, found["seconds"], trial is winner)

    return Page(
        job.run.name, job.run.sweep.minutes, first["queries"], first["before"], [row(trial) for trial in trials]
    )
