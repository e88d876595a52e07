"""Cross-encoders: on labels, on scores or listwise, with the negatives of the first stage that they will follow.

Cross-encoders peak in the middle of their training: the weights that are kept are those under which the first stage's
hits for development queries are in the best order.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.console import SILENT
from benchmark.encoders.asymmetric import check_has_vectors
from benchmark.encoders.dense import open_cross_encoder
from benchmark.encoders.pairs import logits
from benchmark.files import Json
from benchmark.specs import CrossEncoderRun
from benchmark.specs.finetune import Lora
from benchmark.training.batches import GroupedBatches, RowShapes, sampler
from benchmark.training.cards import Card, write_card
from benchmark.training.data import write_trained
from benchmark.training.distributed import processes
from benchmark.training.heads import Head
from benchmark.training.job import Job
from benchmark.training.labelled import first_stage_rows, text_lengths, training_rows, training_table
from benchmark.training.looks import Looks
from benchmark.training.loop import limits_told, plan, train, training_arguments
from benchmark.training.lora import add_lora, merge_lora
from benchmark.training.material import read_material
from benchmark.training.ranking import (
    Candidates,
    development_candidates,
    kept_scores,
    looks_an_epoch,
    open_first_stage,
    queries_of_a_look,
)
from benchmark.weights import model_folder


class _Data(NamedTuple):
    """What is there before the model is.

    Attributes:
        rows: Labelled pairs, a `datasets.Dataset`.
        facts: Counts of them.
        candidates: The development split.
    """

    rows: Any
    facts: Json
    candidates: Candidates


def train_cross_encoder(job: Job[CrossEncoderRun], work: Path, target: Path) -> Json:
    """Fine-tune a cross-encoder and save it in sentence-transformers' format.

    The base may be a bi-encoder: its transformer is then the start and the scoring head is new.

    Args:
        job: The settings and the data.
        work: Where checkpoints are kept.
        target: The folder that the weights go to.

    Returns:
        Facts: pairs, negatives, steps, loss, the looks at the development split, and there the first stage's own
        nDCG@10 and MRR@10 (before), those of its hits reranked (after), and candidate recall.

    Raises:
        BenchError: The base or the data cannot be had, or memory or disk do not suffice.
    """
    run, reporter = job.run, job.reporter
    check_has_vectors(job.project, run.base)
    with limits_told(run, work):
        data = _data(job)
        candidates = data.candidates
        before = candidates.before
        mean = before.means()["ndcg@10"]
        reporter.note(
            f"{run.name}: {len(data.rows)} pairs; development nDCG@10 of {candidates.first_stage} {mean:.4f}, recall "
            f"of its first {candidates.depth} {candidates.recall:.4f}"
        )
        model = _open_base(job)
        trained = _train(job, model, data, work)
        _save(job, model, data.rows, target)
        after = candidates.reranked(kept_scores(job, target, candidates, lambda: model))
        reporter.note(f"{run.name}: development nDCG@10 {mean:.4f} -> {after.means()['ndcg@10']:.4f}")
        development = {**candidates.facts, "before": before.means(), "after": after.means()}
        facts = {"pairs": len(data.rows), **data.facts, **trained, "development": development}
        card = Card(job.domain, run, job.seed, facts, before=before.ndcg, after=after.ndcg)
        write_card(job.project, target, card)
    return facts


def _open_base(job: Job[CrossEncoderRun]) -> Any:
    """The model that training starts from, in float32: usual steps are too small for weights in half precision."""
    import torch

    name = job.run.base
    spec = job.project.model_spec(name)
    folder = model_folder(job.project, name, spec)
    # A new head is random.
    torch.manual_seed(job.seed)
    return open_cross_encoder(folder, spec, f"model_specs/{name}.yaml").float()


def _data(job: Job[CrossEncoderRun]) -> _Data:
    """Training pairs and development candidates; the first stage is let go of before the model comes."""
    material = read_material(job.domain, None, job.seed)
    first = open_first_stage(job, material)
    candidates = development_candidates(material, first, job.run.depth, job.seed)
    if job.run.first_stage is None:
        return _Data(training_rows(job.domain, job.run, job.seed), {}, candidates)
    rows, facts = first_stage_rows(job, material, first.retriever)
    return _Data(rows, facts, candidates)


def _train(job: Job[CrossEncoderRun], model: Any, data: _Data, work: Path) -> Json:
    """Train with looks at the development split, and put the best weights into the model.

    Returns:
        Facts: steps, loss, looks, and the step of the best one.
    """
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments

    table, world = training_table(data.rows, job.run), processes()
    # A row of a listwise table holds several pairs.
    width = max(1, round(len(data.rows) / len(table)))
    run, _ = plan(job.run.model_copy(update={"batch_size": max(1, job.run.batch_size // width)}), len(table))
    parts = math.ceil(run.batch_size / world * width / run.mini_batch_size)
    at_once = math.ceil(run.batch_size / world / parts)
    shapes = RowShapes(text_lengths(table), [frozenset[str]()] * len(table))
    batches = len(GroupedBatches(shapes, at_once, job.seed, world)) // world
    steps = math.ceil(math.ceil(batches / parts) * run.epochs)
    arguments = training_arguments(
        CrossEncoderTrainingArguments,
        run,
        work,
        steps,
        job.seed,
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=parts,
        # With several GPUs: the losses' batches are of a type in which torch's search finds nothing that was used.
        ddp_find_unused_parameters=False,
    )
    kept_length = model.max_seq_length
    model.max_seq_length = min(run.max_length, kept_length or run.max_length)
    callbacks = [] if run.lora is None else [_low_rank(model, run.lora, run.name, work)]
    loss = _loss(model, run, data.rows)
    trainer = CrossEncoderTrainer(model=model, args=arguments, train_dataset=table, loss=loss)
    trainer.get_batch_sampler = sampler(shapes, world)
    looks = _looks(job, model, data, work, steps)
    if looks is not None:
        callbacks.append(looks.callback())
    final = train(trainer, run, work, steps, f"{run.name}: training", job.reporter, callbacks)
    facts: Json = {"steps": trainer.state.global_step, "loss": run.loss, "final_loss": final}
    if looks is not None:
        looks.restore()
        job.reporter.note(f"{run.name}: best at step {looks.best} of {trainer.state.global_step}")
        seen = [{"step": step, "ndcg@10": score} for step, score in sorted(looks.scores.items())]
        facts |= {"best_step": looks.best, "looks": seen}
    if run.lora is not None:
        merge_lora(model)
    model.max_seq_length = kept_length
    model.eval()
    return facts


def _save(job: Job[CrossEncoderRun], model: Any, rows: Any, target: Path) -> None:
    """Write a folder that plain sentence-transformers loads."""
    _set_activation(model, job.run)
    # A tokenizer saves the padding and truncation of its last call: always the same one.
    logits(model, [("", "")], SILENT)
    model.save_pretrained(str(target), create_model_card=False, safe_serialization=True)
    write_trained(job.domain, rows, target)


def _looks(job: Job[CrossEncoderRun], model: Any, data: _Data, work: Path, steps: int) -> Looks | None:
    """Looks at a sample of the development split; None where the first stage finds nothing that could be reranked."""
    run, count = job.run, len(data.rows)
    sample = data.candidates.looked_at(queries_of_a_look(count), job.seed)
    if not sample.queries:
        job.reporter.note(f"{run.name}: {sample.first_stage} finds no development query's passage; no early stopping")
        return None

    def score() -> float:
        return sample.reranked(logits(model, sample.pairs, SILENT)).means()["ndcg@10"]

    every = max(1, round(steps / (looks_an_epoch(count, len(sample.pairs)) * run.epochs)))
    new_head = job.project.model_spec(run.base).kind == "bi-encoder"
    return Looks(model, score, work, every, run.patience, new_head=new_head)


def _loss(model: Any, run: CrossEncoderRun, rows: Any) -> Any:
    """The run's loss, on logits: the trained model is given the activation that fits (`_set_activation`)."""
    import torch
    from sentence_transformers.cross_encoder import losses

    if run.loss == "mse":
        return losses.MSELoss(model, activation_fn=torch.nn.Identity())
    if run.loss == "lambda":
        # Wang et al., CIKM 2018; as many pairs at once as there are rows at once elsewhere.
        return losses.LambdaLoss(model, activation_fn=torch.nn.Identity(), mini_batch_size=run.mini_batch_size)
    relevant = sum(label >= 0.5 for label in rows["label"])
    weight = run.pos_weight if run.pos_weight is not None else (len(rows) - relevant) / max(1, relevant)
    return losses.BinaryCrossEntropyLoss(model, activation_fn=torch.nn.Identity(), pos_weight=torch.tensor(weight))


def _set_activation(model: Any, run: CrossEncoderRun) -> None:
    """Have the saved model give what it was trained for: probabilities, scores as they are, or differences that rank.

    Whoever wants scores from 0 to 1 has to know which (`benchmark/encoders/pairs.py`): transformers' `problem_type`
    tells a model of scores from one of logits.
    """
    import torch

    model.activation_fn = torch.nn.Sigmoid() if run.loss == "bce" else torch.nn.Identity()
    model.config.problem_type = "regression" if run.loss == "mse" else None


def _low_rank(model: Any, settings: Lora, name: str, work: Path) -> Any:
    """Give a model low-rank updates for its body; returns a callback that keeps its head with the checkpoints."""
    add_lora(model, settings, name)
    return Head(model.transformers_model, work).callback()
