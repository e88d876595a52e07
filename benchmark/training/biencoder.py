"""Bi-encoders: all weights of an encoder or low-rank updates of them, by any of the losses in `losses`."""

import contextlib
import io
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from benchmark.encoders.adapter import open_encoder
from benchmark.encoders.asymmetric import check_has_vectors
from benchmark.encoders.dense import DenseEncoder
from benchmark.errors import BenchError
from benchmark.files import Json, hash_json, write_bytes
from benchmark.project import Domain, Project
from benchmark.specs import BiEncoderRun
from benchmark.training.batches import GroupedBatches, RowShapes, sampler
from benchmark.training.cards import Card, write_card
from benchmark.training.data import at_most, passage_ids, read_table, write_trained
from benchmark.training.distributed import processes
from benchmark.training.emit import weights_spec
from benchmark.training.job import Job
from benchmark.training.loop import Cost, limits_told, peak_memory, plan, train, training_arguments
from benchmark.training.lora import add_lora, merge_lora
from benchmark.training.losses import CONTRASTIVE, DISTILLING, Known, make_loss
from benchmark.training.material import Material, development_quality, read_material
from benchmark.training.padding import in_sorted_parts
from benchmark.training.targets import distillation_targets, known_vectors
from benchmark.weights import folder_fingerprint, model_folder, needs_code


@dataclass(frozen=True)
class _Data:
    """What a loss reads.

    Attributes:
        rows: A `datasets.Dataset`: anchor, positive, negatives, and a label where the loss needs one.
        texts: Names of its columns of texts.
        shapes: What batches are made by.
        length: Tokens of the longest text, or where it is cut.
        guide: Of `gist`.
    """

    rows: Any
    texts: list[str]
    shapes: RowShapes
    length: int
    guide: Known | None


def train_bi_encoder(job: Job[BiEncoderRun], work: Path, target: Path) -> Json:
    """Fine-tune a bi-encoder and save it in sentence-transformers' format.

    The vectors of the corpus that the tuned model is judged by stay in the store, under the fingerprint that its spec
    will have.

    Args:
        job: The settings and the data.
        work: Where checkpoints are kept.
        target: The folder that the weights go to.

    Returns:
        Facts: pairs, steps, loss, what training took, and the development split's nDCG@10 and MRR@10 before and after.

    Raises:
        BenchError: Base, guide, teacher or data cannot be had or do not fit, or memory or disk do not suffice.
    """
    import torch

    run, reporter = job.run, job.reporter
    with limits_told(run, work):
        torch.manual_seed(job.seed)
        base = open_base(job.project, run)
        rows = training_rows(job.domain, run, job.seed)
        material = read_material(job.domain, run.max_pairs, job.seed)
        counted = material.counted
        before = development_quality(job.domain, base, material, reporter)
        mean = before.means(counted)["ndcg@10"]
        reporter.note(f"{run.name}: {len(rows)} pairs; development nDCG@10 of the base {mean:.4f}")
        data = _prepared(job, rows, base, material, work)
        trained = _train(job, base, data, work)
        _save(job, base, rows, target)
        spec = weights_spec(job, target)
        tuned = DenseEncoder(run.name, folder_fingerprint(spec, target), base.model, base.prompts)
        after = development_quality(job.domain, tuned, material, reporter)
        reporter.note(f"{run.name}: development nDCG@10 {mean:.4f} -> {after.means(counted)['ndcg@10']:.4f}")
        facts = {
            **trained,
            "development": {"queries": counted, "before": before.means(counted), "after": after.means(counted)},
        }
        card = Card(job.domain, run, job.seed, facts, before=before.ndcg[:counted], after=after.ndcg[:counted])
        write_card(job.project, target, card)
    return facts


def open_base(project: Project, run: BiEncoderRun) -> DenseEncoder:
    """The model that training starts from, in float32; of a spec that cuts vectors the whole one.

    Raises:
        BenchError: The spec is no bi-encoder with weights, or queries and documents go different ways through it.
    """
    check_has_vectors(project, run.base)
    spec = project.model_spec(run.base)
    base = DenseEncoder.load(project, spec.base if spec.truncate_dim is not None and spec.base else run.base)
    if base.routed:
        raise BenchError(
            f"{run.name}: base: {run.base} sends queries and documents different ways (a Router, as exported adapters "
            "have); train on the model below it"
        )
    # Steps of a usual learning rate are too small for weights in half precision.
    if any(weights.is_floating_point() and weights.itemsize < 4 for weights in base.model.parameters()):
        base.model.float()
        base.fingerprint = hash_json([base.fingerprint, "float32"])  # its vectors are others
    return base


# --- data -----------------------------------------------------------------------------------------------------------


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


def _prepared(job: Job[BiEncoderRun], rows: Any, base: DenseEncoder, material: Material, work: Path) -> _Data:
    """Give the rows their labels, and measure them; what guide and teacher say outlives a kill."""
    from datasets import Dataset

    run, chunks = job.run, material.chunks
    texts = list(rows.column_names)
    guide = None
    if run.loss in DISTILLING:
        said = kept_arrays(work / "teacher.npz", lambda: {"scores": distillation_targets(job, rows, base, chunks)})
    elif run.loss == "gist":

        def look() -> dict[str, NDArray[Any]]:
            encoder = open_encoder(job.project, run.guide) if run.guide else base
            return asdict(known_vectors(job.domain, encoder, rows, chunks, job.reporter))

        guide = Known(**kept_arrays(work / "guide.npz", look))
    lengths = token_lengths(base, rows, run.max_length)
    passages = [frozenset[str]()] * len(rows)
    if run.loss in CONTRASTIVE:
        ids = passage_ids(job.domain, rows)
        passages = [frozenset(row) for row in zip(*(ids[name] for name in ids.column_names), strict=True)]
    shapes = RowShapes(lengths.sum(axis=1), passages)
    labels: list[Any] = said["scores"].tolist() if run.loss in DISTILLING else list(range(len(rows)))
    if run.loss in DISTILLING or run.loss == "gist":
        rows = Dataset.from_dict({**{name: list(rows[name]) for name in texts}, "label": labels})
    return _Data(rows, texts, shapes, int(lengths.max()), guide)


def kept_arrays(path: Path, make: Callable[[], dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Arrays by name from a file; they are made and written where it is missing or broken."""
    try:
        with np.load(path, allow_pickle=False) as found:
            return dict(found)
    except (OSError, ValueError, EOFError, BadZipFile):
        made = make()
    buffer = io.BytesIO()
    np.savez(buffer, **made)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())
    return made


def token_lengths(encoder: DenseEncoder, rows: Any, longest: int) -> NDArray[np.int64]:
    """Tokens of every text with its prompt, shape (n_rows, n_columns), none over `longest`.

    Characters stand for tokens where the model's tokenizer is none of transformers'.
    """
    tokenizer, columns = encoder.model.tokenizer, []
    own = encoder.model.max_seq_length
    longest = int(min(longest, own)) if own else longest
    for name in rows.column_names:
        prompt = encoder.prompts["query" if name == "anchor" else "document"]
        texts = [prompt + text for text in rows[name]]
        if callable(tokenizer):
            found = tokenizer(texts, truncation=True, max_length=longest, return_attention_mask=False)["input_ids"]
        else:
            found = texts
        columns.append([min(longest, len(tokens)) for tokens in found])
    return np.array(columns, dtype=np.int64).T


# --- training -------------------------------------------------------------------------------------------------------


def _train(job: Job[BiEncoderRun], base: DenseEncoder, data: _Data, work: Path) -> Json:
    """Train the base's model; low-rank updates are part of its weights when this is over."""
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

    model, world = base.model, processes()
    run, _ = plan(job.run, len(data.rows))
    device_rows = run.batch_size // world
    parts = 1 if run.loss in CONTRASTIVE else math.ceil(device_rows / run.mini_batch_size)
    device_rows = math.ceil(device_rows / parts)
    batches = GroupedBatches(data.shapes, device_rows, job.seed, world)
    steps = math.ceil(math.ceil(len(batches) / world / parts) * run.epochs)
    arguments = training_arguments(
        SentenceTransformerTrainingArguments,
        run,
        work,
        steps,
        job.seed,
        per_device_train_batch_size=device_rows,
        gradient_accumulation_steps=parts,
        prompts={name: base.prompts["query" if name == "anchor" else "document"] for name in data.texts},
    )
    kept_length = model.max_seq_length
    _read_at_most(model, data.length)
    # Without an example the trainer makes some for the Hub's widget, with a progress bar of its own.
    model.model_card_data.widget = [{"text": ""}]
    if run.lora is not None:
        add_lora(model, run.lora, run.name)
    loss = make_loss(model, run, device_rows, data.guide, gather=world > 1)
    trainer = SentenceTransformerTrainer(model=model, args=arguments, train_dataset=data.rows, loss=loss)
    # Not by the arguments, which every checkpoint holds a pickle of.
    trainer.get_batch_sampler = sampler(data.shapes, world)
    cost = Cost()
    with in_sorted_parts(model):
        final = train(trainer, run, work, steps, f"{run.name}: training", job.reporter, [cost.callback()])
    if run.lora is not None:
        merge_lora(model)
    _read_at_most(model, kept_length)
    model.eval()
    seen = len(data.rows) * run.epochs * cost.steps / steps
    return {
        "pairs": len(data.rows),
        "steps": steps,
        "loss": run.loss,
        **({"teacher": run.teacher or "scores of the generate stage"} if run.loss in DISTILLING else {}),
        **({"guide": run.guide or run.base} if run.loss == "gist" else {}),
        "final_loss": final,
        "max_length": data.length,
        "seconds_per_1000_pairs": round(1000 * cost.seconds / seen, 3) if seen else None,
        "peak_memory_mib": peak_memory(),
    }


def _read_at_most(model: Any, length: float | None) -> None:
    # A table of word vectors reads everything and takes no length.
    with contextlib.suppress(AttributeError):
        model.max_seq_length = length


def _save(job: Job[BiEncoderRun], base: DenseEncoder, rows: Any, target: Path) -> None:
    """Write a folder that plain sentence-transformers loads, prompts included."""
    model = base.model
    model.prompts = {**(model.prompts or {}), **base.prompts}
    # A tokenizer saves the padding and truncation of its last call: always the same one.
    base.encode([""], "document")
    model.save_pretrained(str(target), create_model_card=False, safe_serialization=True)
    if needs_code(target):
        spec = job.project.model_spec(job.run.base)
        source = model_folder(job.project, spec.base or job.run.base)
        for path in source.glob("*.py"):
            if not (target / path.name).exists():
                shutil.copyfile(path, target / path.name)
    write_trained(job.domain, rows, target)
