"""What a linear adapter on all-MiniLM-L6-v2 is worth, and how long it takes; some minutes on two cores, mostly encoding.

    python scripts/bench_adapter.py [folder ...] [--keep DIR]

Each folder holds corpus.jsonl, queries.jsonl and qrels.tsv (BEIR). Where queries.jsonl marks queries for training
(`"split": "train"`), a query-only adapter learns from these alone and is measured on the others: hit@10 and MRR@10,
as in the linear-adapter notebook, with the default settings and nothing held out. Anywhere else the generate stage cuts
pseudo-queries from the passages, without a language model, and adapters on one side and on both are trained on them:
nDCG@10 on people's questions with 95 % intervals. `--keep` holds vectors and data for the next time.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from bench_common import BASE, CUTOFF, SHARED, against, interval, make_project, question_scores
from numpy.typing import NDArray

from benchmark.cli.screen import Screen
from benchmark.encoders.adapter import LinearMaps, open_encoder
from benchmark.encoders.store import document_vectors, query_vectors
from benchmark.evaluation.evaluate import Evaluator
from benchmark.files import iter_jsonl
from benchmark.pipeline import Pipeline
from benchmark.project import Domain, Project
from benchmark.records import Chunk
from benchmark.specs import AdapterSettings, BenchmarkSpec, parse_spec
from benchmark.training.lexical import lexical_targets
from benchmark.training.linear import Pairs, fit
from benchmark.training.ranks import ranks


def main() -> None:
    """Measure every folder."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument(
        "folders", nargs="*", type=Path, default=[SHARED / n for n in ("apple_report", "covidqa", "aws")]
    )
    words.add_argument("--keep", type=Path, help="a folder for vectors and training data")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = given.keep or Path(scratch)
        for folder in given.folders:
            project, domain = make_project(root.resolve(), folder.resolve())
            rows = list(iter_jsonl(folder / "queries.jsonl"))
            if any(row.get("split") == "train" for row in rows):
                split_by_question(project, domain, folder, rows)
            else:
                peoples_questions(project, domain)


# --- the notebook's split by question -------------------------------------------------------------------------------


def split_by_question(project: Project, domain: Domain, folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Train on the questions that are marked for it, measure on the others; every passage has questions of both."""
    encoder = open_encoder(project, BASE)
    chunks = [
        Chunk(row["id"], row["id"], row["title"], (), -1, -1, row["text"])
        for row in iter_jsonl(folder / "corpus.jsonl")
    ]
    place = {chunk.id: number for number, chunk in enumerate(chunks)}
    lines = (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]
    answers = {query: place[chunk] for query, chunk, _ in (line.split("\t") for line in lines)}
    documents = document_vectors(domain, encoder, chunks, Screen())
    queries = query_vectors(domain, encoder, [row["text"] for row in rows], Screen())
    owners = np.array([answers[row["id"]] for row in rows], dtype=np.int64)
    train = np.array([row["split"] == "train" for row in rows])

    nothing = np.zeros(len(documents), dtype=bool)
    plain = Pairs(queries[train], documents, owners[train], [()] * int(train.sum()), nothing)
    settings = AdapterSettings()
    started = time.perf_counter()
    # Written questions have a third of the lexical share, as in the training stage.
    shares = np.full(len(plain.queries), settings.lexical / 3, dtype=np.float32)
    texts = [row["text"] for row in rows if row["split"] == "train"]
    pairs = replace(plain, targets=lexical_targets(plain, texts, chunks, shares))
    maps = fit(pairs, settings, 0, lambda done, text: None).maps
    seconds = time.perf_counter() - started
    print(f"{domain.name}: {len(chunks)} passages, {train.sum()} questions to learn from, {(~train).sum()} to measure")
    ids = [chunk.id for chunk in chunks]
    for name, found in (("base", LinearMaps.identity(maps.dimensions, both=False)), ("adapter", maps)):
        first = first_ranks(found.apply(queries[~train], "query"), documents, owners[~train], ids)
        hit, reciprocal = first <= CUTOFF, np.where(first <= CUTOFF, 1 / first, 0.0)
        print(f"  {name:8} hit@10 {interval(hit.astype(float))}  MRR@10 {interval(reciprocal)}")
    print(f"  {seconds:.1f} s of training")


def first_ranks(
    queries: NDArray[np.float32], documents: NDArray[np.float32], owners: NDArray[np.int64], ids: Sequence[str]
) -> NDArray[np.int64]:
    """The rank of each query's passage, shape (n_queries,)."""
    return np.concatenate(ranks(queries, documents, [[int(owner)] for owner in owners], ids))


# --- pseudo-queries against people's questions ----------------------------------------------------------------------


def peoples_questions(project: Project, domain: Domain) -> None:
    """Pseudo-queries, adapters on one and on both sides, and nDCG@10 on the questions of the folder."""
    names = {f"{domain.name}-{sides}": sides for sides in ("query", "both")}
    spec = parse_spec(
        BenchmarkSpec,
        {
            "domains": [domain.name],
            "generate": {"retriever": BASE, "questions_per_chunk": 0},
            "finetune": [
                {"name": name, "kind": "adapter", "base": BASE, "sides": sides} for name, sides in names.items()
            ],
            "baseline": BASE,
            "models": list(names),
        },
        "bench_adapter",
    )
    pipeline = Pipeline(project, domain, spec, Screen())
    outcomes = pipeline.finetune()
    inputs = {"chunks": pipeline.chunks(), "testset": pipeline.testset()}
    evaluator = Evaluator(project, domain, inputs, 100, Screen())
    scores = {}
    for name in (BASE, *names):
        evaluator.evaluate(name, ["retrieval"])
        scores[name] = question_scores(domain, name)
    print(f"{domain.name}: nDCG@10 on {len(scores[BASE])} questions of people")
    for name, row in scores.items():
        print(f"  {name:24} {interval(row)}  {'' if name == BASE else against(row, scores[BASE])}")
    for outcome in outcomes:
        choice = outcome.facts["choice"]
        print(f"  {outcome.folder.name}: {choice['chosen']} ({outcome.manifest['seconds']:.0f} s): {choice['why']}")


if __name__ == "__main__":
    main()
