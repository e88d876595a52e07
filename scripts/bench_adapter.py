"""What a linear adapter on all-MiniLM-L6-v2 is worth, and how long it takes; some minutes on two cores, mostly encoding.

    python scripts/bench_adapter.py [folder ...] [--keep DIR] [--tuned]

Each folder holds corpus.jsonl, queries.jsonl and qrels.tsv (BEIR). Where queries.jsonl marks queries for training
(`"split": "train"`), a query-only adapter learns from these alone and is measured on the others: hit@10 and MRR@10,
as in the linear-adapter notebook, with the default settings and nothing held out. Anywhere else the generate stage cuts
pseudo-queries from the passages, without a language model, and adapters on one side and on both are trained on them:
nDCG@10 on people's questions with 95 % intervals. `--tuned` also tunes the whole encoder on such a split (one epoch,
batches of 64, 1e-4, 128 tokens; some minutes), with a twentieth of the training questions held out. `--keep` holds vectors and data for the next time.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from bench_common import BASE, CUTOFF, SHARED, against, interval, make_project, question_scores
from numpy.typing import NDArray

from benchmark.cli.screen import Screen
from benchmark.encoders.adapter import LinearMaps, open_encoder
from benchmark.encoders.store import document_vectors, query_vectors
from benchmark.evaluation.evaluate import Evaluator
from benchmark.files import iter_jsonl, write_jsonl, write_text
from benchmark.pipeline import Pipeline
from benchmark.project import Domain, Project
from benchmark.records import Chunk
from benchmark.specs import AdapterSettings, BenchmarkSpec, BiEncoderRun, parse_spec
from benchmark.training.biencoder import train_bi_encoder
from benchmark.training.job import Job
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
    words.add_argument("--tuned", action="store_true", help="tune the encoder on a split by question as well")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = given.keep or Path(scratch)
        for folder in given.folders:
            project, domain = make_project(root.resolve(), folder.resolve())
            rows = list(iter_jsonl(folder / "queries.jsonl"))
            if any(row.get("split") == "train" for row in rows):
                split = read_split(folder, rows)
                split_by_question(project, domain, split)
                if given.tuned:
                    tuned_by_question(project, domain, split)
            else:
                peoples_questions(project, domain)


# --- the notebook's split by question -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Split:
    """Questions that are marked for training, or not, and the one passage that answers each.

    Attributes:
        chunks: The passages.
        texts: The questions.
        owners: Row of each one's passage, shape (n_questions,).
        train: Which of them are to learn from, shape (n_questions,).
    """

    chunks: list[Chunk]
    texts: list[str]
    owners: NDArray[np.int64]
    train: NDArray[np.bool_]

    @property
    def ids(self) -> list[str]:
        """One id for each passage."""
        return [chunk.id for chunk in self.chunks]


def read_split(folder: Path, rows: Sequence[dict[str, Any]]) -> Split:
    """A BEIR folder whose queries.jsonl marks queries with `"split": "train"`."""
    chunks = [
        Chunk(row["id"], row["id"], row["title"], (), -1, -1, row["text"])
        for row in iter_jsonl(folder / "corpus.jsonl")
    ]
    place = {chunk.id: number for number, chunk in enumerate(chunks)}
    lines = (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]
    answers = {query: place[chunk] for query, chunk, _ in (line.split("\t") for line in lines)}
    owners = np.array([answers[row["id"]] for row in rows], dtype=np.int64)
    return Split(chunks, [row["text"] for row in rows], owners, np.array([row["split"] == "train" for row in rows]))


def split_by_question(project: Project, domain: Domain, split: Split) -> None:
    """Train on the questions that are marked for it, measure on the others; every passage has questions of both."""
    encoder = open_encoder(project, BASE)
    documents = document_vectors(domain, encoder, split.chunks, Screen())
    queries = query_vectors(domain, encoder, split.texts, Screen())
    train = split.train
    nothing = np.zeros(len(documents), dtype=bool)
    plain = Pairs(queries[train], documents, split.owners[train], [()] * int(train.sum()), nothing)
    settings = AdapterSettings()
    started = time.perf_counter()
    # Written questions have a third of the lexical share, as in the training stage.
    shares = np.full(len(plain.queries), settings.lexical / 3, dtype=np.float32)
    texts = [split.texts[row] for row in np.flatnonzero(train)]
    pairs = replace(plain, targets=lexical_targets(plain, texts, split.chunks, shares))
    maps = fit(pairs, settings, 0, lambda done, text: None).maps
    seconds = time.perf_counter() - started
    print(
        f"{domain.name}: {len(documents)} passages, {train.sum()} questions to learn from, {(~train).sum()} to measure"
    )
    for name, found in (("base", LinearMaps.identity(maps.dimensions, both=False)), ("adapter", maps)):
        show_ranks(name, split, found.apply(queries[~train], "query"), documents)
    print(f"  {seconds:.1f} s of training")


def show_ranks(name: str, split: Split, queries: NDArray[np.float32], documents: NDArray[np.float32]) -> None:
    """hit@10 and MRR@10 on the questions that are not for training."""
    first = first_ranks(queries, documents, split.owners[~split.train], split.ids)
    hit, reciprocal = first <= CUTOFF, np.where(first <= CUTOFF, 1 / first, 0.0)
    print(f"  {name:8} hit@10 {interval(hit.astype(float))}  MRR@10 {interval(reciprocal)}")


def tuned_by_question(project: Project, domain: Domain, split: Split) -> None:
    """As `split_by_question`, for all weights of the encoder."""
    import pyarrow
    from pyarrow import parquet

    learnt = np.random.default_rng(0).permutation(np.flatnonzero(split.train))
    held_out, used = learnt[: len(learnt) // 20], learnt[len(learnt) // 20 :]
    pairs = [
        {"anchor": split.texts[row], "positive": split.chunks[split.owners[row]].full_text, "label": 1.0}
        for row in used
    ]
    with tempfile.TemporaryDirectory() as scratch:
        inner = Project(Path(scratch))
        inner.specs_folder.mkdir()
        shutil.copytree(project.root / "tasks", inner.root / "tasks")
        shutil.copy(project.specs_folder / f"{BASE}.yaml", inner.specs_folder)
        domain = inner.domain(domain.name)
        Pipeline(inner, domain, None, Screen()).chunks()
        domain.synthetic.mkdir(parents=True)
        parquet.write_table(pyarrow.Table.from_pylist(pairs), domain.synthetic / "pairs_train.parquet")
        write_jsonl(
            domain.synthetic / "queries.jsonl",
            [
                {"text": pair["anchor"], "positive_text": pair["positive"], "chunk": split.chunks[split.owners[row]].id,
                 "origin": "imported", "split": "train"}
                for pair, row in zip(pairs, used, strict=True)
            ],
        )  # fmt: skip
        asked = [{"id": f"d{row}", "text": split.texts[row], "origin": "imported"} for row in held_out]
        write_jsonl(domain.synthetic / "dev_queries.jsonl", asked)
        lines = [f"d{row}\t{split.chunks[split.owners[row]].id}\t1\n" for row in held_out]
        write_text(domain.synthetic / "dev_qrels.tsv", "query-id\tcorpus-id\tscore\n" + "".join(lines))
        run = BiEncoderRun(name="tuned", base=BASE, learning_rate=1e-4, max_length=128, mix=[])
        work, target = inner.root / "work", inner.root / "tuned"
        work.mkdir()
        target.mkdir()
        facts = train_bi_encoder(Job(inner, domain, run, 0, "", Screen()), work, target)
        write_text(inner.specs_folder / "tuned.yaml", "path: tuned\n")
        encoder = open_encoder(inner, "tuned")
        documents = encoder.encode([chunk.full_text for chunk in split.chunks], "document")
        questions = [split.texts[row] for row in np.flatnonzero(~split.train)]
        show_ranks("tuned", split, encoder.encode(questions, "query"), documents)
        print(f"  {facts['seconds_per_1000_pairs']:.0f} s per 1,000 pairs and epoch")


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
