"""Cross-encoders: binary cross-entropy on labelled pairs."""

from collections import Counter
from pathlib import Path
from typing import Any

from benchmark.encoders.dense import open_cross_encoder
from benchmark.files import Json
from benchmark.project import Domain
from benchmark.specs import CrossEncoderRun
from benchmark.training.data import at_most, read_table, write_trained
from benchmark.training.job import Job
from benchmark.training.loop import plan, train, training_arguments
from benchmark.weights import model_folder

# Scoring pairs is slow on a CPU, and this figure is for orientation only.
_DEVELOPMENT_PAIRS = 300


def train_cross_encoder(job: Job[CrossEncoderRun], work: Path, target: Path) -> Json:
    """Fine-tune a cross-encoder and save it in sentence-transformers' format.

    The base may be a bi-encoder: its transformer is then the start and the scoring head is new.

    Args:
        job: The settings and the data.
        work: Where checkpoints are kept.
        target: The folder that the weights go to.

    Returns:
        Facts: pairs, steps, loss, and average precision on the development split (there is none before: a new head
        scores at random).

    Raises:
        BenchError: The base or the data cannot be had, or memory does not suffice.
    """
    import torch
    from sentence_transformers.base.sampler import BatchSamplers
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    project, domain, run, seed, reporter = job.project, job.domain, job.run, job.seed, job.reporter
    spec = project.model_spec(run.base).model_copy(update={"max_length": run.max_length})
    torch.manual_seed(seed)
    model = open_cross_encoder(model_folder(project, run.base, spec), spec, f"model_specs/{run.base}.yaml")
    columns = ["anchor", "positive", "label"]
    rows = training_rows(domain, run, seed).select_columns(columns)
    held_out = read_table(domain.synthetic / "pairs_dev.parquet", seed, _DEVELOPMENT_PAIRS).select_columns(columns)
    reporter.note(f"{run.name}: {len(rows)} pairs")

    run, steps = plan(run, len(rows))
    arguments = training_arguments(
        CrossEncoderTrainingArguments, run, work, steps, seed, batch_sampler=BatchSamplers.BATCH_SAMPLER
    )
    relevant = sum(label >= 0.5 for label in rows["label"])
    weight = torch.tensor((len(rows) - relevant) / max(1, relevant))
    trainer = CrossEncoderTrainer(
        model=model, args=arguments, train_dataset=rows, loss=BinaryCrossEntropyLoss(model, pos_weight=weight)
    )
    loss = train(trainer, run, work, steps, f"{run.name}: training", reporter)
    model.eval()
    precision = average_precision(model, held_out)
    reporter.note(f"{run.name}: development average precision {precision:.4f}")
    model.save_pretrained(str(target), create_model_card=False, safe_serialization=True)
    write_trained(domain, rows, target)
    return {
        "pairs": len(rows),
        "steps": steps,
        "final_loss": loss,
        "development": {"pairs": len(held_out), "after": {"average_precision": precision}},
    }


def training_rows(domain: Domain, run: CrossEncoderRun, seed: int) -> Any:
    """Labelled pairs, shuffled; at most `hard_negatives` of each query's negatives (0: all), at most `max_pairs` rows."""
    rows = read_table(domain.synthetic / "pairs_train.parquet", seed)
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


def average_precision(model: Any, rows: Any) -> float:
    """Average precision of the pairs that are labelled relevant, over all pairs."""
    from sklearn.metrics import average_precision_score

    scores = model.predict(
        list(zip(rows["anchor"], rows["positive"], strict=True)), batch_size=32, show_progress_bar=False
    )
    return float(average_precision_score([label >= 0.5 for label in rows["label"]], scores))
