"""Bi-encoders: multiple negatives ranking loss (InfoNCE; van den Oord et al., arXiv 1807.03748) with mined negatives.

Where a batch is larger than `mini_batch_size`, its gradients are cached (GradCache; Gao et al., arXiv 2101.06983), so
that the number of negatives does not depend on memory.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.encoders.dense import DenseEncoder
from benchmark.encoders.store import document_vectors
from benchmark.errors import BenchError
from benchmark.files import Json
from benchmark.project import Domain
from benchmark.records import read_chunks
from benchmark.specs import BiEncoderRun
from benchmark.training.data import Development, at_most, passage_ids, read_development, read_table, write_trained
from benchmark.training.job import Job
from benchmark.training.loop import plan, train, training_arguments


def train_bi_encoder(job: Job[BiEncoderRun], work: Path, target: Path) -> Json:
    """Fine-tune a bi-encoder and save it in sentence-transformers' format.

    Args:
        job: The settings and the data.
        work: Where checkpoints are kept.
        target: The folder that the weights go to.

    Returns:
        Facts: pairs, steps, loss, and the development split's nDCG@10 and MRR@10 before and after.

    Raises:
        BenchError: The base or the data cannot be had, or memory does not suffice.
    """
    import torch
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

    project, domain, run, seed, reporter = job.project, job.domain, job.run, job.seed, job.reporter
    torch.manual_seed(seed)
    base = DenseEncoder.load(project, run.base)
    model, prompts = base.model, base.prompts
    rows = training_rows(domain, run, seed)
    development = read_development(domain)
    known = document_vectors(domain, base, read_chunks(domain.passages), reporter)
    before = development_scores(model, development, prompts, known)
    reporter.note(f"{run.name}: {len(rows)} pairs; development nDCG@10 of the base {before['ndcg@10']:.4f}")

    run, steps = plan(run, len(rows))
    arguments = training_arguments(
        SentenceTransformerTrainingArguments,
        run,
        work,
        steps,
        seed,
        batch_sampler=partial(_apart, passages=passage_ids(domain, rows)),
        prompts={name: prompts["query" if name == "anchor" else "document"] for name in rows.column_names},
    )
    kept_length = model.max_seq_length
    model.max_seq_length = min(run.max_length, kept_length or run.max_length)
    # Without an example the trainer makes some for the Hub's widget, with a progress bar of its own.
    model.model_card_data.widget = [{"text": ""}]
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=rows, loss=_loss(model, run)
    )  # fmt: skip
    loss = train(trainer, run, work, steps, f"{run.name}: training", reporter)
    model.max_seq_length = kept_length
    model.eval()
    after = development_scores(model, development, prompts)
    reporter.note(f"{run.name}: development nDCG@10 {before['ndcg@10']:.4f} -> {after['ndcg@10']:.4f}")
    model.save_pretrained(str(target), create_model_card=False, safe_serialization=True)
    write_trained(domain, rows, target)
    return {
        "pairs": len(rows),
        "steps": steps,
        "final_loss": loss,
        "development": {"queries": len(development.queries), "before": before, "after": after},
    }


def training_rows(domain: Domain, run: BiEncoderRun, seed: int) -> Any:
    """Anchors, positives and as many mined negatives as the run asks for, shuffled; at most `max_pairs` rows.

    Without mined negatives every kept query is used, also one for which none was found.

    Raises:
        BenchError: There are no rows, or fewer negatives than asked for.
    """
    if run.hard_negatives == 0:
        rows = read_table(domain.synthetic / "pairs_train.parquet", seed)
        rows = rows.select([i for i, label in enumerate(rows["label"]) if label == 1.0])
        return at_most(rows, run.max_pairs).select_columns(["anchor", "positive"])
    rows = read_table(domain.synthetic / "ntuples_train.parquet", seed, run.max_pairs)
    wanted = [f"negative_{i}" for i in range(1, run.hard_negatives + 1)]
    if wanted[-1] not in rows.column_names:
        raise BenchError(
            f"{run.name}: hard_negatives is {run.hard_negatives}, but 'negatives' under 'generate' is "
            f"{len(rows.column_names) - 2}; raise the one or lower the other"
        )
    return rows.select_columns(["anchor", "positive", *wanted])


def _apart(dataset: Any, *, passages: Any, **settings: Any) -> Any:
    """Batches in which no passage stands twice, as a positive or as a negative."""
    from sentence_transformers.base.sampler import NoDuplicatesBatchSampler

    return NoDuplicatesBatchSampler(passages, **settings)


def _loss(model: Any, run: BiEncoderRun) -> Any:
    from sentence_transformers.sentence_transformer import losses

    if run.batch_size <= run.mini_batch_size:
        return losses.MultipleNegativesRankingLoss(model)
    return losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=run.mini_batch_size)


def development_scores(
    model: Any, development: Development, prompts: dict[str, str], vectors: NDArray[np.float32] | None = None
) -> dict[str, float]:
    """nDCG@10 and MRR@10 on the development split, over the whole corpus.

    Args:
        model: The bi-encoder.
        development: Queries, corpus and what is relevant.
        prompts: Its prompts by role.
        vectors: The corpus's vectors where they are known, shape (n_chunks, n_dimensions).
    """
    import torch
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
    from sentence_transformers.util import cos_sim

    evaluator = InformationRetrievalEvaluator(
        development.queries,
        development.corpus,
        development.qrels,
        mrr_at_k=[10],
        ndcg_at_k=[10],
        accuracy_at_k=[10],
        precision_recall_at_k=[10],
        map_at_k=[10],
        batch_size=32,
        show_progress_bar=False,
        write_csv=False,
        name="development",
        score_functions={"cosine": cos_sim},
        main_score_function="cosine",
        query_prompt=prompts["query"] or None,
        corpus_prompt=prompts["document"] or None,
    )
    embeddings = None if vectors is None else torch.from_numpy(np.ascontiguousarray(vectors))
    scores = evaluator.compute_metrices(model, corpus_embeddings=embeddings)["cosine"]
    return {f"{key}@10": float(scores[f"{key}@k"][10]) for key in ("ndcg", "mrr")}
