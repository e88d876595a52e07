"""What the benchmarks of training share: a project around one folder of people's questions, and figures with intervals."""

import shutil
from pathlib import Path

import numpy as np

from benchmark.project import Domain, Project, builtin_root
from benchmark.records import read_testset
from benchmark.runs import read_run
from benchmark.stats import bootstrap_interval, sign_flip_test
from benchmark.training.ranks import Floats

BASE = "all-minilm-l6-v2"
SHARED = builtin_root().parent / "shared" / "data"
CUTOFF = 10


def make_project(root: Path, folder: Path, *specs: str) -> tuple[Project, Domain]:
    """A project around one BEIR folder, with the base's model spec and those named."""
    domain = root / "tasks" / folder.name
    domain.mkdir(parents=True, exist_ok=True)
    (root / "model_specs").mkdir(exist_ok=True)
    for name in (BASE, *specs):
        shutil.copy(builtin_root() / "model_specs" / f"{name}.yaml", root / "model_specs")
    (domain / "domain.yaml").write_text(
        f"title: {folder.name}\nbeir: {folder}\nreranking: {{base: {BASE}, depth: 10}}\n", encoding="utf-8"
    )
    project = Project(root)
    return project, project.domain(folder.name)


def question_scores(domain: Domain, name: str) -> Floats:
    """nDCG@10 of each question, from the kept run, with the graded gains of trec_eval."""
    testset = read_testset(domain.testset)
    run = read_run(domain.run("retrieval", name) / "run.trec")
    weights = 1 / np.log2(np.arange(2, CUTOFF + 2))
    found = []
    for query in testset.queries:
        judged = testset.qrels[query.id]
        gains = np.array([judged.get(hit.chunk, 0) for hit in run.get(query.id, [])[:CUTOFF]], dtype=float)
        ideal = np.array(sorted(judged.values(), reverse=True)[:CUTOFF], dtype=float)
        found.append((gains * weights[: len(gains)]).sum() / (ideal * weights[: len(ideal)]).sum())
    return np.array(found)


def interval(scores: Floats) -> str:
    """The mean and its 95 % interval."""
    found = bootstrap_interval(scores)
    assert found is not None  # noqa: S101 (more than one question)
    return f"{scores.mean():.4f} [{found.low:.4f}, {found.high:.4f}]"


def against(scores: Floats, base: Floats) -> str:
    """The difference to another system with its interval and the p of the paired sign-flip test, not corrected."""
    found = bootstrap_interval(scores - base)
    assert found is not None  # noqa: S101
    mean = scores.mean() - base.mean()
    return f"{mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}] p {sign_flip_test(scores, base):.2g}"
