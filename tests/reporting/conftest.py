"""A domain with kept runs, made through the real floor: stages, manifests, TREC files. No model is loaded."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytrec_eval

from benchmark.console import SILENT
from benchmark.files import hash_json, hash_text, read_json, write_jsonl, write_text
from benchmark.project import Domain, Project
from benchmark.provenance import Outcome, Stage, run_stage
from benchmark.records import Chunk, Hit
from benchmark.reporting.leaderboard import make_leaderboard, write_page
from benchmark.reporting.report import make_report
from benchmark.runs import rank, write_run
from benchmark.specs import BenchmarkSpec, BiEncoderRun, Endpoint, GenerateSpec, LLMSpec

BASE, TUNED, DOTTED, LEXICAL, FUSED = "base", "village-tuned", "bge-small-en-v1.5", "bm25", "bm25+tuned"
SYSTEMS = {BASE: 1.2, TUNED: 1.9, DOTTED: 1.2, LEXICAL: 1.0, FUSED: 2.0}
SPECS = {
    BASE: "package: some_package/model\ndescription: a small encoder\nlicence: Apache-2.0\nparameters: 22713216\n",
    TUNED: f"path: results/village/models/{TUNED}\nprovenance: {{base: {BASE}}}\n",
    DOTTED: "hub: BAAI/bge-small-en-v1.5\ndimensions: 384\n",
    LEXICAL: "bm25: {k1: 1.2}\n",
    FUSED: f"hybrid: [{LEXICAL}, {TUNED}]\nweights: [0.6, 0.4]\n",
}
CATEGORIES = {"core": 70, "jargon": 65, "edge": 25}
HOSTILE = "<script>alert(1)</script> | a *b* [c](http://d.example) `e` {{ 7 * 7 }} {% raw %} =cmd()!A1 $5 and $6"
TOP_K = 100
METRICS = {"ndcg_cut.10", "map_cut.100", "recall.10,100", "success.1,3,5,10", "recip_rank"}


@dataclass
class Lab:
    """A project with one domain, its benchmark and the means to make runs."""

    project: Project
    domain: Domain
    benchmark: BenchmarkSpec
    testset: Outcome
    chunks: list[str]
    qrels: dict[str, dict[str, int]]

    def scores(self, skill: float, seed: int) -> dict[str, dict[str, float]]:
        """Noise plus `skill` on what is relevant; noise on a question is shared, so that systems are correlated."""
        found = {}
        for place, (query, relevant) in enumerate(self.qrels.items()):
            shared = np.random.default_rng([1, place]).normal(size=len(self.chunks))
            noise = 0.8 * shared + 0.6 * np.random.default_rng([seed, place]).normal(size=len(self.chunks))
            values = noise + skill * np.isin(self.chunks, list(relevant))
            found[query] = dict(zip(self.chunks, map(float, values.astype(np.float32)), strict=True))
        return found

    def evaluate(
        self,
        spec: str,
        task: str,
        scores: dict[str, dict[str, float]],
        *,
        edit: Callable[[dict], dict] = lambda facts: facts,
        model: str | None = None,
        ghost: str = "",
        **over: str,
    ) -> None:
        """Keep a run as the evaluate stage does, with pytrec_eval's means as mteb reports them; `over` are inputs."""
        run = {query: rank(row, TOP_K) for query, row in scores.items()}

        def build(folder: Path) -> dict:
            write_run(folder / "run.trec", run, spec, self.qrels)
            if ghost:  # a query that the test set lacks
                write_run(folder / "run.trec", {**run, ghost: run["q0"]}, spec, [*self.qrels, ghost])
            facts = {
                "spec": spec,
                "task": self.domain.task_name + task.capitalize(),
                "queries": len(self.qrels),
                "model": model or f"fingerprint of {spec}",
                "testset": self.testset.outputs_hash,
                "scores": reported(self.qrels, run),
            }
            return edit(facts)

        wanted = [self.domain.chunks, self.domain.testset, *([self.domain.candidates] if task == "reranking" else [])]
        inputs = {folder.name: hash_json(read_json(folder / "manifest.json")["outputs"]) for folder in wanted}
        run_stage(
            Stage("evaluate", 1), self.domain.run(task, spec), inputs={**inputs, "model": hash_text(str(run)), **over},
            settings={"spec": spec, "task": task, "top_k": TOP_K}, build=build, reporter=SILENT,
        )  # fmt: skip

    def with_benchmark(self, **changes: object) -> "Lab":
        """The same lab under another benchmark file."""
        return replace(self, benchmark=self.benchmark.model_copy(update=changes))


def reported(qrels: dict[str, dict[str, int]], run: dict[str, list[Hit]]) -> dict[str, float]:
    """mteb's scores: pytrec_eval's means over the scored queries, rounded to five digits."""
    oracle = by_pytrec(qrels, run)
    names = {name for row in oracle.values() for name in row}
    return {name: round(sum(row[name] for row in oracle.values()) / len(oracle), 5) for name in sorted(names)}


def by_pytrec(qrels: dict[str, dict[str, int]], run: dict[str, list[Hit]]) -> dict[str, dict[str, float]]:
    """Per-query scores under mteb's names; queries that the run lacks are absent."""
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, METRICS)
    found = evaluator.evaluate({query: {hit.chunk: hit.score for hit in hits} for query, hits in run.items()})
    short = {"ndcg_cut": "ndcg", "map_cut": "map", "success": "hit_rate"}
    rows = {}
    for query, row in found.items():
        first = row.pop("recip_rank")
        rows[query] = {"mrr_at_10": first if first >= 0.1 else 0.0}
        for name, value in row.items():
            measure, _, cutoff = name.rpartition("_")
            rows[query][f"{short.get(measure, measure)}_at_{cutoff}"] = value
    return rows


def make_lab(root: Path, categories: dict[str, int] = CATEGORIES, n_chunks: int = 60) -> Lab:
    """A project without runs."""
    write_text(root / "tasks" / "village" / "domain.yaml", "title: Village | rules\nlicence: CC0-1.0\n"
               "chunking: {tokenizer: base}\nreranking: {base: base}\n")  # fmt: skip
    for name, text in SPECS.items():
        write_text(root / "model_specs" / f"{name}.yaml", text)
    project = Project(root)
    domain = project.domain("village")
    chunks = [
        Chunk(f"doc-{i // 5}.md#{i}", f"doc-{i // 5}.md", f"Title | {i // 5}", ("<b>Part</b>",), 0, 1, f"Passage {i}. {HOSTILE}")
        for i in range(n_chunks)
    ]  # fmt: skip
    names = [category for category, n in categories.items() for _ in range(n)]
    rng = np.random.default_rng(5)
    qrels = {
        f"q{place}": {chunks[int(i)].id: 1 for i in rng.choice(n_chunks, 1 + place % 3, replace=False)}
        for place in range(len(names))
    }
    run_stage(
        Stage("ingest", 1), domain.chunks, inputs={}, settings={}, reporter=SILENT,
        build=lambda folder: {"chunks": write_jsonl(folder / "chunks.jsonl", [chunk.to_json() for chunk in chunks])},
    )  # fmt: skip
    testset = run_stage(
        Stage("testset", 1), domain.testset, inputs={}, settings={}, reporter=SILENT,
        build=lambda folder: _write_testset(folder, names, qrels),
    )  # fmt: skip
    pools = [{"query": query, "chunks": [chunk.id for chunk in chunks]} for query in qrels]
    run_stage(
        Stage("candidates", 1), domain.candidates, inputs={}, settings={}, reporter=SILENT,
        build=lambda folder: {"queries": write_jsonl(folder / "candidates.jsonl", pools)},
    )  # fmt: skip
    rivals = [name for name in SYSTEMS if name != BASE]
    benchmark = BenchmarkSpec(domains=["village"], baseline=BASE, models=rivals, permutations=2000, bootstrap=1000)
    return Lab(project, domain, benchmark, testset, [chunk.id for chunk in chunks], qrels)


def _write_testset(folder: Path, names: list[str], qrels: dict[str, dict[str, int]]) -> dict:
    rows = [
        {"id": query, "text": HOSTILE if place % 7 == 0 else f"Question {place}?", "category": category, "answer": "",
         "answerable": True}
        for place, (query, category) in enumerate(zip(qrels, names, strict=True))
    ]  # fmt: skip
    rows.append({"id": "u1", "text": "Who won?", "category": "core", "answer": "", "answerable": False})
    write_jsonl(folder / "queries.jsonl", rows)
    lines = [f"{query}\t{chunk}\t{score}\n" for query, row in qrels.items() for chunk, score in row.items()]
    write_text(folder / "qrels.tsv", "query-id\tcorpus-id\tscore\n" + "".join(lines))
    return {"queries": len(qrels)}


def evaluate_all(lab: Lab, systems: dict[str, float] = SYSTEMS) -> None:
    """Runs of every system for both tasks."""
    for seed, (name, skill) in enumerate(systems.items(), start=10):
        lab.evaluate(name, "retrieval", lab.scores(skill, seed))
        pool = {query: set(list(row)[::3]) | set(list(relevant)[:2])
                for (query, relevant), row in zip(lab.qrels.items(), lab.scores(0, 0).values(), strict=True)}  # fmt: skip
        full = lab.scores(skill + 0.2, seed)
        lab.evaluate(name, "reranking", {q: {c: s for c, s in row.items() if c in pool[q]} for q, row in full.items()})


@pytest.fixture
def empty_lab(tmp_path: Path) -> Lab:
    """A domain without runs."""
    return make_lab(tmp_path / "project")


def add_general(lab: Lab, name: str, skills: dict[str, float], n: int = 150) -> Lab:
    """A general set with retrieval runs, as the pipeline keeps them; a system's skill is how well it ranks there."""
    write_text(lab.project.root / "tasks" / name / "domain.yaml",
               f"title: Set {name}\nbeir: .\nreranking: {{base: {BASE}}}\n")  # fmt: skip
    project = Project(lab.project.root)
    domain = project.domain(name)
    chunks = [Chunk(f"{name}-{i}", f"{name}-{i}", "", (), -1, -1, f"Passage {i}.") for i in range(40)]
    rng = np.random.default_rng(n)
    qrels = {f"{name}-q{i}": {chunks[int(j)].id: 1 for j in rng.choice(40, 1 + i % 2, replace=False)} for i in range(n)}
    run_stage(
        Stage("ingest", 1), domain.chunks, inputs={}, settings={}, reporter=SILENT,
        build=lambda folder: {"chunks": write_jsonl(folder / "chunks.jsonl", [chunk.to_json() for chunk in chunks])},
    )  # fmt: skip
    testset = run_stage(
        Stage("testset", 1), domain.testset, inputs={}, settings={}, reporter=SILENT,
        build=lambda folder: _write_testset(folder, ["core"] * n, qrels),
    )  # fmt: skip
    general = replace(lab, project=project, domain=domain, testset=testset, chunks=[c.id for c in chunks], qrels=qrels)
    for seed, (system, skill) in enumerate(skills.items(), start=50):
        general.evaluate(system, "retrieval", general.scores(skill, seed))
    found = [*lab.benchmark.general, *([name] if name not in lab.benchmark.general else [])]
    return replace(lab.with_benchmark(general=found), project=project)


def add_training(lab: Lab) -> Lab:
    """Manifests of synthetic data and fine-tuning, as the report shows them."""
    funnel = [
        {"rule": "near_duplicate", "before": 1550, "dropped": 40, "kept": 1510},
        {"rule": "<i>round trip</i>", "before": 1510, "dropped": 310, "kept": 1200},
    ]
    facts = {"kept": {"llm": 600, "span": 600}, "funnel": funnel, "scores": {"teacher": "bi-encoder"}}
    run_stage(
        Stage("generate", 1), lab.domain.synthetic, inputs={}, settings={}, build=lambda _: facts, reporter=SILENT
    )
    development = {"before": {"ndcg@10": 0.5}, "after": {"ndcg@10": 0.6}}
    run_stage(
        Stage("finetune", 1), lab.domain.model(TUNED), inputs={}, settings={"name": TUNED, "epochs": 1.0},
        build=lambda _: {"pairs": 1200, "final_loss": 0.123456, "development": development}, reporter=SILENT,
    )  # fmt: skip
    llm = LLMSpec(endpoint=Endpoint(base_url="http://localhost:1", model="m"))
    return lab.with_benchmark(
        generate=GenerateSpec(llm=llm, retriever=BASE),
        finetune=[BiEncoderRun(name=TUNED, base=BASE, mix=[])],
    )


@pytest.fixture(scope="session")
def kept_lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A domain with everything, leaderboard and report too; made once, copied for each test."""
    lab = add_training(make_lab(tmp_path_factory.mktemp("kept") / "project"))
    evaluate_all(lab)
    board = make_leaderboard(lab.project, lab.domain, lab.benchmark, SILENT)
    make_report(lab.project, lab.domain, lab.benchmark, board, SILENT)
    write_page(lab.project, lab.domain, lab.benchmark, board)
    return lab


@pytest.fixture
def made(kept_lab: Lab, tmp_path: Path) -> Lab:
    """A domain with runs of five systems, its leaderboard and its report."""
    shutil.copytree(kept_lab.project.root, tmp_path / "project")
    project = Project(tmp_path / "project")
    return replace(kept_lab, project=project, domain=project.domain("village"))


@pytest.fixture
def lab(made: Lab) -> Lab:
    """A domain with runs of five systems, without a leaderboard."""
    for path in made.domain.results.glob("leaderboard.*"):
        path.unlink()
    return made


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """The functions and names above; under importlib's import mode a test cannot import its conftest."""
    return SimpleNamespace(**globals())
