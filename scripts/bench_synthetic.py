"""What the local model's questions are worth on a domain with people's questions; about half an hour on two cores.

    python scripts/bench_synthetic.py [folder] [--chunks 300] [--pairs 1500]

The folder holds corpus.jsonl, queries.jsonl and qrels.tsv (BEIR). Prints the yield of the built-in language model by
question type (written, kept by the rules, found again by the round trip), and nDCG@10 on the people's questions of
all-MiniLM-L6-v2 as it is and tuned on: everything that was written, what the filters kept, the same with mined
negatives. Equal numbers of pairs, one epoch, the same seed.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from benchmark.cli.screen import Screen
from benchmark.evaluation.evaluate import Evaluator
from benchmark.pipeline import Pipeline
from benchmark.project import Project, builtin_root
from benchmark.specs import BenchmarkSpec, parse_spec

BASE = "all-minilm-l6-v2"
VARIANTS = {
    "unfiltered": ({"off": "all"}, 0),
    "filtered": ({}, 0),
    "filtered-mined": ({}, 1),
}
"""Name -> settings of the filters, hard negatives a query."""


def main() -> None:
    """Run one variant after the other in a project of their own."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("folder", nargs="?", type=Path, default=builtin_root().parent / "shared" / "data" / "aws")
    words.add_argument("--chunks", type=int, default=300, help="passages that questions are written about")
    words.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    words.add_argument("--pairs", type=int, default=1500, help="pairs that each variant is trained on")
    words.add_argument("--journal", type=Path, help="keep the language model's answers in this file for the next time")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), given.folder.resolve(), given.chunks, given.pairs, given.journal)
        for name in given.variants:
            bench.run(name)
        bench.report()


class Bench:
    """A project with one domain, evaluated once for each variant of the training data."""

    def __init__(self, root: Path, folder: Path, chunks: int, pairs: int, journal: Path | None) -> None:
        self._root, self._chunks, self._pairs = root, chunks, pairs
        self._journal = journal
        self._scores: dict[str, float] = {}
        self._funnels: dict[str, dict[str, dict[str, int]]] = {}
        shutil.copytree(builtin_root() / "model_specs", root / "model_specs")
        domain = root / "tasks" / "field"
        domain.mkdir(parents=True)
        (domain / "domain.yaml").write_text(
            f"title: {folder.name}\nbeir: {folder}\nreranking: {{base: {BASE}, depth: 10}}\n", encoding="utf-8"
        )

    def run(self, variant: str) -> None:
        """Make the data (in the place of the last variant's), tune, and evaluate on people's questions."""
        filters, negatives = VARIANTS[variant]
        spec = self._benchmark(variant, filters, negatives)
        project = Project(self._root)
        pipeline = Pipeline(project, project.domain("field"), spec, Screen())
        pipeline.domain.results.mkdir(parents=True, exist_ok=True)
        if self._journal is not None and self._journal.is_file() and not pipeline.domain.journal.is_file():
            shutil.copy(self._journal, pipeline.domain.journal)
        made = pipeline.synthetic()
        if self._journal is not None:
            shutil.copy(pipeline.domain.journal, self._journal)
        self._funnels[variant] = made.facts["by_type"]
        pipeline.finetune()
        inputs = {"chunks": pipeline.chunks(), "testset": pipeline.testset()}
        evaluator = Evaluator(project, pipeline.domain, inputs, 100, Screen())
        for name in (BASE, variant):
            (outcome,) = evaluator.evaluate(name, ["retrieval"])
            self._scores[name] = outcome.facts["scores"]["ndcg_at_10"]
        print(f"{variant}: nDCG@10 {self._scores[variant]:.4f}, base {self._scores[BASE]:.4f}", flush=True)

    def _benchmark(self, variant: str, filters: dict[str, str], negatives: int) -> BenchmarkSpec:
        builtin = Project(builtin_root())
        own = builtin.benchmark(builtin.root / "benchmark.yaml").generate
        assert own is not None and own.llm is not None  # noqa: S101 (the built-in benchmark has both)
        return parse_spec(
            BenchmarkSpec,
            {
                "domains": ["field"],
                "generate": {
                    "llm": own.llm.model_dump(exclude_none=True),
                    "retriever": BASE,
                    "question_chunks": self._chunks,
                    "filters": filters,
                },
                "finetune": [
                    {
                        "name": variant, "kind": "bi-encoder", "base": BASE, "learning_rate": 5e-5, "max_length": 128,
                        "hard_negatives": negatives, "max_pairs": self._pairs, "batch_size": 64, "mini_batch_size": 64,
                    }
                ],
                "baseline": BASE,
                "models": [variant],
            },
            "bench_synthetic",
        )  # fmt: skip

    def report(self) -> None:
        """Print the figures."""
        print("type         written  after rules  found again      kept")
        for kind, row in next((row for name, row in self._funnels.items() if name != "unfiltered"), {}).items():
            share = row["round_trip_passed"] / max(1, row["round_trip_asked"])
            print(
                f"{kind:12} {row['written']:7d}  {row['round_trip_asked']:11d}  "
                f"{row['round_trip_passed']:5d} ({share:.2f})  {row['kept']:8d}"
            )
        for name, score in self._scores.items():
            print(f"{name:20} nDCG@10 {score:.4f}  {score - self._scores[BASE]:+.4f}")


if __name__ == "__main__":
    main()
