"""A project: a folder with `tasks/`, `model_specs/` and `results/`; this repository is the first one."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmark.errors import BenchError, Problems, did_you_mean
from benchmark.files import hash_json, hash_tree, shown
from benchmark.specs import BenchmarkSpec, DomainSpec, ModelSpec, read_spec


def builtin_root() -> Path:
    """The folder of the project that comes with the package (in a checkout: the repository)."""
    here = Path(__file__).resolve().parent
    packed = here / "_builtin"
    return packed if packed.is_dir() else here.parent


@dataclass(frozen=True)
class Domain:
    """A domain's specification and its folders."""

    name: str
    spec: DomainSpec
    folder: Path
    results: Path

    @property
    def task_name(self) -> str:
        """The stem of its MTEB tasks: `structured_finance` -> `StructuredFinance`."""
        words = self.name.replace("-", "_").replace(".", "_").split("_")
        return self.spec.task_name or "".join(word[:1].upper() + word[1:] for word in words)

    @property
    def documents(self) -> Path:
        """The folder of source documents."""
        return self.folder / self.spec.documents

    @property
    def questions(self) -> Path:
        """The file of hand-made questions."""
        return self.folder / self.spec.questions

    @property
    def chunks(self) -> Path:
        """Where the ingest stage writes."""
        return self.results / "chunks"

    @property
    def testset(self) -> Path:
        """Where the testset stage writes."""
        return self.results / "testset"

    @property
    def candidates(self) -> Path:
        """Where the candidates of the reranking task are kept."""
        return self.results / "candidates"

    @property
    def source(self) -> Path:
        """Where passages from elsewhere than the domain's documents are kept, for training data."""
        return self.results / "source"

    @property
    def of_source(self) -> "Domain":
        """The domain as it would be with those passages for its documents."""
        spec = self.spec.model_copy(update={"beir": None, "hub": None, "documents": "documents"})
        return Domain(self.name, spec, self.source, self.source)

    @property
    def has_questions(self) -> bool:
        """Whether there is a test set at all; training data can be made without one."""
        return self.spec.beir is not None or self.spec.hub is not None or self.questions.is_file()

    @property
    def passages(self) -> Path:
        """The passages that the training data were made from; a file of their own where they are not the corpus."""
        own = self.synthetic / "passages.jsonl"
        return own if own.is_file() else self.chunks / "chunks.jsonl"

    @property
    def synthetic(self) -> Path:
        """Where the generate stage writes."""
        return self.results / "synthetic"

    @property
    def journal(self) -> Path:
        """Every answer that a language model gave for this domain, in SQLite."""
        return self.results / "journal.sqlite"

    @property
    def batches(self) -> Path:
        """Ids of the batches that were sent to an endpoint for this domain."""
        return self.results / "batches.json"

    @property
    def replay(self) -> Path:
        """Answers that ride with the project so that its demonstration needs no language model."""
        return self.folder / "journal.jsonl"

    @property
    def answers(self) -> Path:
        """Where a language model's answers with each pipeline's passages are kept."""
        return self.results / "answers"

    @property
    def judged(self) -> Path:
        """Where what judges said of the answers is kept."""
        return self.results / "judged"

    @property
    def ratings(self) -> Path:
        """What people said of the answers, a file for each rater; made by hand, so never thrown away."""
        return self.results / "ratings"

    def model(self, name: str) -> Path:
        """Where a training run of this name writes its weights."""
        return self.results / "models" / name

    def run(self, task: str, spec: str) -> Path:
        """Where the ranking of a spec for a task (`retrieval` or `reranking`) is kept."""
        return self.results / "runs" / task / spec


@dataclass(frozen=True)
class Project:
    """A folder with `tasks/`, `model_specs/` and `results/`.

    Attributes:
        root: The folder.
        results_root: Where results go, if not to `results/` in the folder.
    """

    root: Path
    results_root: Path | None = None

    @classmethod
    def builtin(cls) -> "Project":
        """The project that comes with the package; results go to it in a checkout, to the user's cache otherwise."""
        root = builtin_root()
        if root.name != "_builtin":
            return cls(root)
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cls(root, cache / "domainbench" / "results")

    @classmethod
    def find(cls, start: Path | None = None) -> "Project":
        """The project at `start` or in the nearest folder above it.

        Raises:
            BenchError: No folder with `tasks/` and `model_specs/` there.
        """
        here = (start or Path.cwd()).resolve()
        if start is not None and not here.is_dir():
            raise BenchError(f"{shown(start)}: no such folder")
        for folder in (here, *here.parents):
            if (folder / "tasks").is_dir() and (folder / "model_specs").is_dir():
                return cls(folder)
        raise BenchError(
            f"{shown(here)}: not a project (no tasks/ and model_specs/ here or above); "
            "make one with: domainbench init FOLDER"
        )

    @property
    def results(self) -> Path:
        """Where results go."""
        return self.results_root or self.root / "results"

    @property
    def specs_folder(self) -> Path:
        """Where model specs stand."""
        return self.root / "model_specs"

    @cached_property
    def domain_names(self) -> tuple[str, ...]:
        """Names of all domains (folders with a domain.yaml), sorted."""
        return tuple(sorted(path.parent.name for path in (self.root / "tasks").glob("*/domain.yaml")))

    def domain(self, name: str) -> Domain:
        """Read a domain's specification.

        Raises:
            BenchError: No such domain, or mistakes in its domain.yaml.
        """
        if name not in self.domain_names:
            raise BenchError(f"tasks/{name}/domain.yaml: no such domain; {did_you_mean(name, self.domain_names)}")
        folder = self.root / "tasks" / name
        return Domain(name, read_spec(DomainSpec, folder / "domain.yaml"), folder, self.results / name)

    @property
    def spec_names(self) -> tuple[str, ...]:
        """Names of all model specs, sorted; a name keeps its dots (bge-small-en-v1.5)."""
        return tuple(sorted(path.name.removesuffix(".yaml") for path in self.specs_folder.glob("*.yaml")))

    def model_spec(self, name: str) -> ModelSpec:
        """Read a model spec.

        Raises:
            BenchError: No such spec, or mistakes in it.
        """
        if name not in self.spec_names:
            raise BenchError(f"model_specs/{name}.yaml: no such model spec; {did_you_mean(name, self.spec_names)}")
        return read_spec(ModelSpec, self.specs_folder / f"{name}.yaml")

    def benchmark(self, path: Path) -> BenchmarkSpec:
        """Read a benchmark file and check that every name in it leads somewhere; all mistakes at once.

        Returns:
            As written, but with the specs that say `compare: true` at the end of `models`, in the order of their names.

        Raises:
            BenchError: One line for each mistake.
        """
        spec = read_spec(BenchmarkSpec, path)
        problems = Problems()
        emitted = {name for run in spec.finetune for name in run.emits}
        if len(spec.domains) > 1 and spec.finetune:
            problems.add(
                f"{shown(path)}: 'finetune' with several domains would write one name twice; use a file per domain"
            )
        for name in (*spec.domains, *spec.general):
            try:
                self.domain(name)
            except BenchError as error:
                problems.absorb(error)
        found, unread = self._added(spec) if spec.added else ([], [])
        wanted = {spec.baseline, *spec.models, *found, *unread}
        wanted |= {name for run in spec.finetune for name in run.needs}
        if spec.generate:
            wanted.add(spec.generate.retriever)
        self._check_names(wanted - emitted, emitted, problems)
        self._check_order(spec, path, problems)
        models = [*spec.models, *found]
        for name in spec.answers.pipelines if spec.answers else ():
            if name not in (spec.baseline, *models):
                problems.add(
                    f"{shown(path)}: 'answers.pipelines' names '{name}', which is not compared; add it to 'models'"
                )
        problems.raise_if_any()
        return spec.model_copy(update={"models": models}) if found else spec

    def _added(self, spec: BenchmarkSpec) -> tuple[list[str], list[str]]:
        """Specs that take part without being named, and those with mistakes, which might be meant to.

        Those that training is about to write are none.
        """
        named = {spec.baseline, *spec.models, *(name for run in spec.finetune for name in run.emits)}
        found, unread = [], []
        for name in (name for name in self.spec_names if name not in named):
            try:
                if self.model_spec(name).compare:
                    found.append(name)
            except BenchError:
                unread.append(name)
        return found, unread

    def _check_order(self, spec: BenchmarkSpec, path: Path, problems: Problems) -> None:
        """Runs are done in the file's order: one that needs what a later one makes would get nothing, or old weights."""
        maker = {name: number for number, run in enumerate(spec.finetune) for name in run.emits}
        for number, run in enumerate(spec.finetune):
            for name in sorted(self._parts_of(run.needs, set(maker))):
                if maker.get(name, -1) < number:
                    continue
                later = spec.finetune[maker[name]]
                why = "it makes itself" if later is run else f"'{later.name}' makes only after it; change their order"
                problems.add(f"{shown(path)}: 'finetune.{number}': '{run.name}' needs '{name}', which {why}")

    def _parts_of(self, names: Iterable[str], emitted: set[str]) -> set[str]:
        """Model specs and those that they are composed of, down to what training emits; missing ones are passed over."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            found.add(name)
            if name not in emitted and name in self.spec_names:
                with suppress(BenchError):  # told elsewhere
                    waiting += self.model_spec(name).parts
        return found

    def _check_names(self, wanted: Iterable[str], emitted: set[str], problems: Problems) -> None:
        """Follow compositions down; each missing name is told once, a circle as well."""
        seen: set[str] = set()

        def visit(name: str, above: tuple[str, ...]) -> None:
            if name in above:
                problems.add(f"model_specs/{name}.yaml: is composed of itself ({' -> '.join((*above, name))})")
                return
            if name in seen or name in emitted:
                return
            seen.add(name)
            if name not in self.spec_names:
                known = (*self.spec_names, *emitted)
                problems.add(f"model_specs/{name}.yaml: no such model spec; {did_you_mean(name, known)}")
                return
            try:
                for part in self.model_spec(name).parts:
                    visit(part, (*above, name))
            except BenchError as error:
                problems.absorb(error)

        for name in sorted(wanted):
            visit(name, ())


def source_hash(domain: Domain) -> str:
    """sha256 over everything a person wrote for a domain: its specification, documents and questions."""
    parts = [domain.spec.model_dump_json()]
    sources = [domain.folder / domain.spec.beir] if domain.spec.beir else [domain.documents, domain.questions]
    parts += [hash_tree(path) for path in sources if path.exists()]
    return hash_json(parts)
