"""How many pairs of query and passage a unit leaves to a cross-encoder to score."""

from typing import TYPE_CHECKING

from benchmark.encoders.scores import missing_pairs
from benchmark.encoders.store import known_prompts
from benchmark.evaluation.needs import NeedsReader, Reranking
from benchmark.runs import read_run

if TYPE_CHECKING:
    from benchmark.evaluation.evaluate import Evaluator

Pair = tuple[str, str]


def pairs_to_score(evaluator: "Evaluator", kind: str, reranking: Reranking, reader: NeedsReader) -> int:
    """How many pairs are not kept, at most: which they are, an unfinished first stage will tell.

    Args:
        evaluator: The domain's.
        kind: `reranking`, where each query's candidates are scored, or else `retrieval`.
        reranking: What scores, and how deep.
        reader: Fingerprints of specs.
    """
    chunks = evaluator.texts("corpus")
    asked = len(evaluator.texts("queries"))
    if kind == "retrieval" and evaluator.has_candidates:
        asked += len(evaluator.texts("unanswerable"))
    most = asked * min(reranking.depth, len(chunks))
    # Where nothing was scored yet there is no need to know which pairs these are.
    some = known_prompts(evaluator.project, reranking.model.fingerprint) is not None
    if kind == "reranking":
        pairs = _of_candidates(evaluator)
    else:
        pairs = _of_first_stage(evaluator, reranking, reader) if some else None
    if pairs is None:
        return most
    return missing_pairs(evaluator.project, reranking.model.fingerprint, list(pairs)) if some else len(pairs)


def _of_candidates(evaluator: "Evaluator") -> set[Pair] | None:
    """Of the reranking task; None where its candidates are not made yet."""
    if evaluator.kept_candidates() is None:
        return None
    data = evaluator.data("reranking")
    passages = {chunk.id: chunk.full_text for chunk in data.chunks}
    queries = {query.id: query.text for query in data.testset.queries}
    return {(queries[query], passages[chunk]) for query, found in (data.candidates or {}).items() for chunk in found}


def _of_first_stage(evaluator: "Evaluator", reranking: Reranking, reader: NeedsReader) -> set[Pair] | None:
    """Of the best hits of the first stage, where it was evaluated itself, and deep enough."""
    kept = evaluator.kept(reranking.first, "retrieval", reader.fingerprint(reranking.first))
    if kept is None or evaluator.top_k < reranking.depth:
        return None
    data = evaluator.data("retrieval")
    passages = {chunk.id: chunk.full_text for chunk in data.chunks}
    queries = {query.id: query.text for query in (*data.testset.queries, *data.testset.unanswerable)}
    paths = [path for name in ("run.trec", "unanswerable.trec") if (path := kept.folder / name).is_file()]
    return {
        (queries[query], passages[hit.chunk])
        for path in paths
        for query, hits in read_run(path).items()
        for hit in hits[: reranking.depth]
    }
