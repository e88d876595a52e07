"""Candidates of the reranking task: the best hits of BM25 and of the base model, pooled."""

from pathlib import Path

from benchmark.console import Reporter
from benchmark.encoders.retrieve import BM25Scorer, ScoreRetriever, bm25_index, open_retriever
from benchmark.files import Json, write_jsonl
from benchmark.project import Domain, Project
from benchmark.provenance import Outcome, Stage, kept, run_stage
from benchmark.records import read_chunks, read_testset
from benchmark.specs import BM25Settings
from benchmark.weights import model_fingerprint

STAGE = Stage("candidates", 1)


def make_candidates(project: Project, domain: Domain, chunks: Outcome, testset: Outcome, reporter: Reporter) -> Outcome:
    """Write `candidates.jsonl` ({query, chunks}); facts say how many relevant chunks are among them.

    Gold chunks are not added by hand: candidate recall is the ceiling of every reranker, and it is reported.

    Raises:
        BenchError: The base model cannot be had.
    """
    settings = domain.spec.reranking

    def build(folder: Path) -> Json:
        corpus = read_chunks(domain.chunks / "chunks.jsonl")
        test = read_testset(domain.testset)
        queries = {query.id: query.text for query in test.queries}
        base = open_retriever(project, domain, settings.base, corpus, reporter).run(queries, settings.depth)
        lexical = ScoreRetriever(BM25Scorer(bm25_index(corpus, BM25Settings()))).run(queries, settings.depth)
        rows, found, relevant = [], 0, 0
        for query in queries:
            pool = {hit.chunk for hit in (*base[query], *lexical[query])}
            # By id: the order must not tell which side found a chunk, or how high.
            rows.append({"query": query, "chunks": sorted(pool)})
            found += len(pool & test.qrels[query].keys())
            relevant += len(test.qrels[query])
        write_jsonl(folder / "candidates.jsonl", rows)
        sizes = [len(row["chunks"]) for row in rows]
        return {
            "queries": len(rows),
            "candidates_per_query": sum(sizes) / len(sizes),
            "relevant_chunks": relevant,
            "relevant_among_candidates": found,
        }

    return run_stage(
        STAGE,
        domain.candidates,
        inputs=_inputs(project, domain, chunks, testset),
        settings=settings.model_dump(),
        build=build,
        reporter=reporter,
        label=f"{domain.name}: candidates for reranking",
    )


def kept_candidates(project: Project, domain: Domain, chunks: Outcome, testset: Outcome) -> Outcome | None:
    """What `make_candidates` would pass over because nothing has changed; None where it would work.

    Raises:
        BenchError: The base model cannot be had.
    """
    inputs = _inputs(project, domain, chunks, testset)
    manifest = kept(STAGE, domain.candidates, STAGE.fingerprint(inputs, domain.spec.reranking.model_dump()))
    return None if manifest is None else Outcome(domain.candidates, True, manifest)


def _inputs(project: Project, domain: Domain, chunks: Outcome, testset: Outcome) -> dict[str, str]:
    return {
        "chunks": chunks.outputs_hash,
        "testset": testset.outputs_hash,
        "base": model_fingerprint(project, domain.spec.reranking.base),
    }
