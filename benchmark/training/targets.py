"""What a frozen model says of training rows: a guide's vectors, a teacher's scores."""

import functools
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmark.console import SILENT, Reporter
from benchmark.encoders.backends import open_reranker
from benchmark.encoders.dense import Encoder
from benchmark.encoders.pairs import logits
from benchmark.encoders.retrieve import open_scorer
from benchmark.encoders.scores import kept_logits
from benchmark.encoders.shelf import Shelf
from benchmark.encoders.store import document_vectors, query_vectors, stored_vectors
from benchmark.errors import BenchError
from benchmark.files import shown
from benchmark.project import Domain
from benchmark.records import Chunk
from benchmark.specs import BiEncoderRun
from benchmark.training.data import passage_ids, read_table
from benchmark.training.job import Job
from benchmark.training.losses import Known
from benchmark.weights import model_fingerprint

_SAMPLE: Final = 1000
"""Rows by which a teacher's spread is measured."""


def known_vectors(domain: Domain, encoder: Encoder, rows: Any, chunks: Sequence[Chunk], reporter: Reporter) -> Known:
    """Vectors of every text of the rows, each text once; they come from the store.

    Args:
        domain: Whose store.
        encoder: The frozen model.
        rows: A `datasets.Dataset`, anchors in the first column.
        chunks: The domain's passages.
        reporter: Shows progress.
    """
    anchors, *others = (list(rows[name]) for name in rows.column_names)
    stored = {chunk.full_text: number for number, chunk in enumerate(chunks)}
    new = [text for text in dict.fromkeys(text for column in others for text in column) if text not in stored]
    queries = list(dict.fromkeys(anchors))
    parts = [
        document_vectors(domain, encoder, chunks, reporter),
        stored_vectors(domain, encoder, new, "document", reporter, "training texts").array(),
        query_vectors(domain, encoder, queries, reporter),
    ]
    passage = {**stored, **{text: len(chunks) + number for number, text in enumerate(new)}}
    query = {text: len(chunks) + len(new) + number for number, text in enumerate(queries)}
    places = [[query[text] for text in anchors], *([passage[text] for text in column] for column in others)]
    return Known(np.concatenate([part for part in parts if len(part)]), np.array(places, dtype=np.int64).T)


def distillation_targets(job: Job[BiEncoderRun], rows: Any, base: Encoder, chunks: Sequence[Chunk]) -> NDArray[Any]:
    """A teacher's scores of each row's passages, in the unit that the student's similarities have.

    Teachers count in units of their own: logits, BM25 points, grades. Only differences within a row are learnt, so
    each row is taken from its mean, and all are multiplied with one factor: their root mean square becomes that of the
    base's cosine similarities on a sample of the same rows, times `scale`. At the start the student then is as sure
    of its order as the teacher is of another one, and learns the order rather than a spread. Student similarities are
    multiplied with `scale` as well (see `losses`).

    Args:
        job: The run; its teacher.
        rows: A `datasets.Dataset`: anchors, positives, negatives.
        base: What training starts from.
        chunks: The domain's passages.

    Returns:
        Shape (n_rows, n_passages), float32.

    Raises:
        BenchError: The teacher cannot be had, has no score for a pair, or tells no two passages apart.
    """
    raw = _raw_scores(job, rows, chunks)
    raw = raw - raw.mean(axis=1, keepdims=True)
    spread = _root_mean_square(raw)
    if spread == 0:
        raise BenchError(f"{job.run.name}: the teacher gives all passages of each query the same score")
    some = rows.select(np.random.default_rng(job.seed).permutation(len(rows))[:_SAMPLE])
    known = known_vectors(job.domain, base, some, chunks, job.reporter)
    vectors = known.vectors[known.places]
    cosines = np.einsum("rd,rpd->rp", vectors[:, 0], vectors[:, 1:])
    wanted = _root_mean_square(cosines - cosines.mean(axis=1, keepdims=True)) * job.run.scale
    return np.asarray(raw * (wanted / spread), dtype=np.float32)


def _root_mean_square(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _raw_scores(job: Job[BiEncoderRun], rows: Any, chunks: Sequence[Chunk]) -> NDArray[np.float64]:
    project, teacher = job.project, job.run.teacher
    if teacher is None:
        return _kept_scores(job.domain, rows, job.run.name)
    spec = project.model_spec(teacher)
    if spec.kind == "cross-encoder":
        return _by_cross_encoder(job, teacher, rows)
    if spec.retriever is not None:
        raise BenchError(
            f"{job.run.name}: teacher: {teacher} is a pipeline of two stages, which scores its best hits only; name "
            f"its reranker ({spec.reranker}) or a one-stage spec"
        )
    return _by_scorer(job, teacher, rows, chunks)


def _pairs(rows: Any) -> list[list[tuple[str, str]]]:
    anchors, *others = (list(rows[name]) for name in rows.column_names)
    return [[(anchor, text) for text in texts] for anchor, *texts in zip(anchors, *others, strict=True)]


def _kept_scores(domain: Domain, rows: Any, name: str) -> NDArray[np.float64]:
    path = domain.synthetic / "pairs_train.parquet"
    table = read_table(path, 0)
    if "score" not in table.column_names:
        raise BenchError(f"{shown(path)}: has no column 'score'; set 'teacher' of {name}, or run: domainbench generate")
    pairs = zip(table["anchor"], table["positive"], strict=True)
    known = dict(zip(pairs, table["score"], strict=True))
    try:
        return np.array([[known[pair] for pair in row] for row in _pairs(rows)], dtype=np.float64)
    except KeyError as error:
        raise BenchError(
            f"{shown(path)}: has no score for the query {error.args[0][0]!r} and one of its passages"
        ) from None


def _by_cross_encoder(job: Job[BiEncoderRun], teacher: str, rows: Any) -> NDArray[np.float64]:
    shelf = Shelf.of(job.project, model_fingerprint(job.project, teacher))

    @functools.cache
    def opened() -> Any:
        return open_reranker(job.project, teacher)

    def score(pairs: list[tuple[str, str]]) -> NDArray[np.float32]:
        return logits(opened(), pairs, SILENT, name=teacher)

    wanted = _pairs(rows)
    unique = list(dict.fromkeys(pair for row in wanted for pair in row))
    scores = kept_logits(shelf, teacher, unique, score, job.reporter, f"{teacher}: scoring {len(unique)} pairs")
    known = dict(zip(unique, scores.tolist(), strict=True))
    return np.array([[known[pair] for pair in row] for row in wanted], dtype=np.float64)


def _by_scorer(job: Job[BiEncoderRun], teacher: str, rows: Any, chunks: Sequence[Chunk]) -> NDArray[np.float64]:
    """A spec that scores the whole corpus: a positive whose sentence was removed counts as the passage it is from."""
    place = {chunk.id: number for number, chunk in enumerate(chunks)}
    ids = passage_ids(job.domain, rows)
    columns = [list(ids[name]) for name in ids.column_names]
    missing = next((text for column in columns for text in column if text not in place), None)
    if missing is not None:
        raise BenchError(
            f"{shown(job.domain.synthetic)}: holds a passage that the domain does not have ({missing[:60]!r}); run: "
            "domainbench generate"
        )
    asked: dict[str, list[int]] = {}
    for number, text in enumerate(rows["anchor"]):
        asked.setdefault(text, []).append(number)
    found = np.zeros((len(rows), len(columns)), dtype=np.float64)
    scorer = open_scorer(job.project, job.domain, teacher, chunks, job.reporter)
    scored = job.reporter.track(
        zip(asked.values(), scorer.score_rows(list(asked)), strict=True), total=len(asked), label=f"{teacher}: scoring"
    )
    for numbers, scores in scored:
        for number in numbers:
            found[number] = [scores[place[column[number]]] for column in columns]
    return found
