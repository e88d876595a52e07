"""BM25 and all-MiniLM-L6-v2 on corpora with known figures; run as: python scripts/bench_reference.py [folder ...].

Each folder holds corpus.jsonl, queries.jsonl and qrels.tsv (BEIR); by default the sample data beside the repository.
Prints nDCG@10 by mteb, and the largest difference of our leaderboard's metrics to pytrec_eval on the same runs.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmark.cli.screen import Screen
from benchmark.evaluation.evaluate import Evaluator
from benchmark.pipeline import Pipeline
from benchmark.project import Project, builtin_root
from benchmark.records import read_testset
from benchmark.reporting.metrics import Metric, score_run
from benchmark.runs import read_run

SPECS = ("bm25", "all-minilm-l6-v2")
# Our names and pytrec_eval's; MRR@10 is its recip_rank over a ranking cut at 10.
MEASURES = {"ndcg@10": "ndcg_cut.10", "mrr@10": "recip_rank", "recall@10": "recall.10"}


def main(folders: list[Path]) -> None:
    """Evaluate both specs on every folder in a project of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        shutil.copytree(builtin_root() / "model_specs", root / "model_specs")
        for folder in folders:
            domain = root / "tasks" / folder.name
            domain.mkdir(parents=True)
            (domain / "domain.yaml").write_text(
                f"title: {folder.name}\nbeir: {folder}\nreranking: {{base: all-minilm-l6-v2, depth: 10}}\n"
            )
        project = Project(root)
        for folder in folders:
            report(project, folder.name)


def report(project: Project, name: str) -> None:
    """Print the figures of one domain."""
    pipeline = Pipeline(project, project.domain(name), None, Screen())
    inputs = {"chunks": pipeline.chunks(), "testset": pipeline.testset()}
    evaluator = Evaluator(project, pipeline.domain, inputs, 100, Screen())
    for spec in SPECS:
        started = time.perf_counter()
        (outcome,) = evaluator.evaluate(spec, ["retrieval"])
        seconds = time.perf_counter() - started
        score = outcome.facts["scores"]["ndcg_at_10"]
        gap = largest_gap(pipeline, spec)
        print(f"{name:10} {spec:18} nDCG@10 {score:.4f}  gap to pytrec_eval {gap:.1e}  {seconds:6.1f} s")


def largest_gap(pipeline: Pipeline, spec: str) -> float:
    """The largest difference of a query's nDCG@10, MRR@10 or recall@10 to pytrec_eval's."""
    import pytrec_eval

    testset = read_testset(pipeline.domain.testset)
    run = read_run(pipeline.domain.run("retrieval", spec) / "run.trec")
    theirs = pytrec_eval.RelevanceEvaluator(testset.qrels, set(MEASURES.values())).evaluate(
        {query: {hit.chunk: hit.score for hit in hits[:10]} for query, hits in run.items()}
    )
    ours = score_run(run, testset.qrels, [Metric.parse(name) for name in MEASURES], top_k=100)
    gaps = [
        abs(score - theirs.get(query, {}).get(MEASURES[str(metric)].replace(".", "_"), 0.0))
        for metric, column in ours.items()
        for query, score in zip(testset.qrels, column.tolist(), strict=True)
    ]
    return float(max(gaps))


if __name__ == "__main__":
    given = [Path(word).resolve() for word in sys.argv[1:]]
    beside = builtin_root().parent / "shared" / "data"
    main(given or [path for path in (beside / "aws", beside / "covidqa") if path.is_dir()])
