"""Labelled pairs for a cross-encoder: those of the generate stage, or a first stage's hits as negatives."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmark.encoders.retrieve import Retriever
from benchmark.errors import BenchError
from benchmark.files import Json, iter_jsonl, shown
from benchmark.project import Domain
from benchmark.specs import CrossEncoderRun
from benchmark.training.data import at_most, read_table
from benchmark.training.job import Job
from benchmark.training.material import Material, further_positives

NEGATIVES: Final = 4
"""Of each query, drawn from a first stage's hits where the run says 0."""


def training_rows(domain: Domain, run: CrossEncoderRun, seed: int) -> Any:
    """The generate stage's pairs, shuffled.

    At most `hard_negatives` of each query's negatives are among them (0: all), and at most `max_pairs` rows in all.

    Raises:
        BenchError: There are no rows, or no scores where the loss learns these.
    """
    path = domain.synthetic / "pairs_train.parquet"
    rows = read_table(path, seed)
    if run.loss == "mse" and "score" not in rows.column_names:
        raise BenchError(f"{shown(path)}: has no column 'score', which loss: mse learns; run domainbench generate anew")
    if run.hard_negatives:
        taken: Counter[str] = Counter()
        wanted = []
        for i, (anchor, label) in enumerate(zip(rows["anchor"], rows["label"], strict=True)):
            if label < 0.5:
                taken[anchor] += 1
            if label >= 0.5 or taken[anchor] <= run.hard_negatives:
                wanted.append(i)
        rows = rows.select(wanted)
    return at_most(rows, run.max_pairs)


def first_stage_rows(job: Job[CrossEncoderRun], material: Material, retriever: Retriever) -> tuple[Any, Json]:
    """Each training query with its passage, and with some of a first stage's best hits as negatives; shuffled.

    Args:
        job: How deep to search, how many negatives, at most how many pairs.
        material: The queries and the passages.
        retriever: The first stage.

    Returns:
        A `datasets.Dataset` (anchor, positive, label), and facts: negatives and queries short of them.

    Raises:
        BenchError: No query has a negative.
    """
    from datasets import Dataset

    run, wanted = job.run, job.run.hard_negatives or NEGATIVES
    positives = [
        row["positive_text"] for row in iter_jsonl(job.domain.synthetic / "queries.jsonl") if row["split"] == "train"
    ]
    numbers = list(range(len(material.training)))
    if run.max_pairs is not None:
        most = max(1, run.max_pairs // (1 + wanted))
        numbers = sorted(np.random.default_rng(job.seed).permutation(numbers)[:most].tolist())
    job.reporter.note(f"{run.name}: {run.first_stage} searches negatives for {len(numbers)} queries")
    found = retriever.run({str(number): material.training[number].text for number in numbers}, run.depth)
    place = {chunk.id: row for row, chunk in enumerate(material.chunks)}
    barred = Barred(material)
    columns: dict[str, list[Any]] = {"anchor": [], "positive": [], "label": []}
    short = 0
    for number in numbers:
        never = barred.of(number)
        pool = [row for hit in found[str(number)] if (row := place[hit.chunk]) not in never]
        drawn = np.random.default_rng([job.seed, number]).permutation(len(pool))[:wanted]
        short += len(drawn) < wanted
        texts = [positives[number], *(material.chunks[pool[i]].full_text for i in sorted(drawn.tolist()))]
        columns["anchor"] += [material.training[number].text] * len(texts)
        columns["positive"] += texts
        columns["label"] += [1.0, *([0.0] * len(drawn))]
    negatives = len(columns["label"]) - len(numbers)
    if not negatives:
        raise BenchError(
            f"{run.name}: none of the first {run.depth} hits of {run.first_stage} may be a negative; raise 'depth'"
        )
    facts = {"queries": len(numbers), "negatives": negatives, "queries_short_of_negatives": short}
    return Dataset.from_dict(columns).shuffle(seed=job.seed), facts


class Barred:
    """Which passages are never a training query's negatives.

    Its own and whatever answers it; what stands beside its own in the same document or under the same heading, which
    may repeat it; and what development queries alone ask for: as everybody's negatives these would be pushed down,
    and the development split would show a harm that is not there.
    """

    def __init__(self, material: Material) -> None:
        self._material = material
        self._further = further_positives(material)
        self._sections: dict[tuple[str, ...], set[int]] = defaultdict(set)
        for row, chunk in enumerate(material.chunks):
            # Without headings the document is no section: a ready-made corpus would lose all its close negatives.
            if chunk.headings:
                self._sections[chunk.document, *chunk.headings].add(row)
        asked = {row for item in material.training for row in item.relevant}
        self._held_out = {row for item in material.development for row in item.relevant} - asked

    def of(self, number: int) -> set[int]:
        """Rows of the passages that are no negatives of a training query."""
        chunks = self._material.chunks
        own = self._material.training[number].relevant[0]
        chunk = chunks[own]
        beside = {
            row for row in (own - 1, own + 1) if 0 <= row < len(chunks) and chunks[row].document == chunk.document
        }
        section = self._sections.get((chunk.document, *chunk.headings), set()) if chunk.headings else set()
        return {own, *self._further[number], *beside, *section, *self._held_out}


def training_table(rows: Any, run: CrossEncoderRun) -> Any:
    """Labelled pairs as the run's loss reads them: (anchor, positive, label), or (query, docs, labels) for `lambda`.

    Raises:
        BenchError: No query has both a relevant and an irrelevant passage, where lists are needed.
    """
    from datasets import Dataset

    if run.loss == "mse":
        return rows.select_columns(["anchor", "positive", "score"]).rename_column("score", "label")
    if run.loss == "bce":
        return rows.select_columns(["anchor", "positive", "label"])
    lists = list(_lists(rows))
    if not lists:
        raise BenchError(
            f"{run.name}: loss: lambda needs queries with a relevant and an irrelevant passage; raise 'max_pairs' or "
            "'negatives' under 'generate'"
        )
    return Dataset.from_list(lists)


def text_lengths(table: Any) -> NDArray[np.int64]:
    """Characters of each row of a `training_table`, shape (n_rows,): what batches of like lengths are made by."""
    query, passages = [name for name in table.column_names if name not in {"label", "labels"}]
    found = [
        len(asked) + (len(read) if isinstance(read, str) else max(map(len, read)))
        for asked, read in zip(table[query], table[passages], strict=True)
    ]
    return np.array(found, dtype=np.int64)


def _lists(rows: Any) -> Iterator[Json]:
    """A list for each query, in the order in which the queries come, without those that teach no order."""
    docs: dict[str, list[str]] = defaultdict(list)
    labels: dict[str, list[float]] = defaultdict(list)
    for anchor, passage, label in zip(rows["anchor"], rows["positive"], rows["label"], strict=True):
        docs[anchor].append(passage)
        labels[anchor].append(label)
    for query, row in docs.items():
        if min(labels[query]) < 0.5 <= max(labels[query]):
            yield {"query": query, "docs": row, "labels": labels[query]}
