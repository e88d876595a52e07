"""Mixtures of a tuned bi-encoder with its base, and the choice between base, mixtures and tuned model.

LM-Cocktail (Xiao et al., arXiv 2311.13534): the mean of two models' weights keeps most of what tuning gained and most
of what it cost elsewhere is repaired. Each share of the tuned weights is judged on the development split, beside the
base and the tuned model, by the rules of `benchmark/training/choice.py`.

A large corpus is not encoded for every mixture: all candidates, base and tuned model included, are then judged on one
pool of passages, those that are relevant and the best hits of base and tuned model. What a mixture alone would find
is not in the pool; since its vectors lie between those of the two, that is little, and it is little for every share.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.console import Reporter
from benchmark.device import device_name
from benchmark.encoders.dense import DenseEncoder
from benchmark.encoders.store import keep
from benchmark.errors import BenchError
from benchmark.files import Json
from benchmark.provenance import Outcome, Stage, run_stage
from benchmark.specs import BiEncoderRun
from benchmark.training.biencoder import open_base
from benchmark.training.cards import Card, write_card
from benchmark.training.choice import Choice, choose
from benchmark.training.emit import emit_spec, provenance, weights_spec
from benchmark.training.job import Job
from benchmark.training.loop import limits_told
from benchmark.training.material import Material, drawn, judged, kinds_of, read_material
from benchmark.training.ranks import Judged, Quality, best_hits, quality
from benchmark.weights import TRAINED_CHUNKS, folder_fingerprint, model_fingerprint

STAGE: Final = Stage("mix", 1)
MOST_PASSAGES: Final = 1500
"""Passages that candidates are judged on; of a larger corpus, a pool of so many."""
MOST_QUERIES: Final = 600
"""Development queries that candidates are judged by."""

State = Mapping[str, Any]
"""Name -> tensor, as `torch.nn.Module.state_dict` gives them."""


def mix(job: Job[BiEncoderRun], tuned: Outcome) -> Outcome:
    """Mix a tuned model with its base, choose between all of them, and emit the best mixture as `<name>-mixed`.

    Args:
        job: The run that made the model, with shares in `mix`; the tuned model's spec is written already.
        tuned: What training left.

    Returns:
        The folder of the best mixture. Facts: `pairs` of the training, `saved_share`, `judged_on`, `distance` (mean
        cosine of base and tuned vectors), `development` (nDCG@10 and MRR@10: before, tuned, after, which is the saved
        mixture) and `choice` between base, mixed and tuned.

    Raises:
        BenchError: Base, tuned model or data cannot be had, the two models' weights do not match, or memory or disk do
            not suffice.
    """
    run, name = job.run, f"{job.run.name}-mixed"
    base_fingerprint = model_fingerprint(job.project, run.base)

    def build(target: Path) -> Json:
        with limits_told(run, target):
            return _build(job, tuned, target)

    outcome = run_stage(
        STAGE,
        job.domain.model(name),
        inputs={"synthetic": job.synthetic, "base": base_fingerprint, "tuned": tuned.outputs_hash},
        settings={"mix": run.mix, "seed": job.seed},
        build=build,
        reporter=job.reporter,
        label=f"{job.domain.name}: mix {run.name} with {run.base}",
        device=device_name,
    )
    made = provenance(job, outcome, base=run.base, base_fingerprint=base_fingerprint, tuned=run.name)
    share, weights = outcome.facts["saved_share"], weights_spec(job, outcome.folder)
    own = {
        "description": f"{run.base} mixed with {run.name}: {share:.0%} of the tuned weights",
        "path": weights.path,
        "code_hash": weights.code_hash,
        "provenance": made,
    }
    emit_spec(job, name, job.project.model_spec(run.name).model_copy(update=own))
    return outcome


def _build(job: Job[BiEncoderRun], tuned: Outcome, target: Path) -> Json:
    run, reporter = job.run, job.reporter
    material = read_material(job.domain, None, job.seed)
    base = open_base(job.project, run)
    theirs, before = _weights(base), judged(job.domain, base, material, reporter)
    del base  # its place in a GPU's memory is needed for the others
    model = DenseEncoder.load(job.project, run.name)
    ours = _weights(model)
    _check_same(run.name, theirs, ours)
    after = judged(job.domain, model, material, reporter)
    ground = Ground.of(material, before, after, job.seed)
    reporter.note(f"{run.name}: base, mixtures and tuned model are judged on {ground.told}")
    scores = {0.0: ground.known(before), 1.0: ground.known(after)}
    encoded: dict[float, Encoded] = {}
    for share in sorted(run.mix):
        model.model.load_state_dict(mixed_weights(theirs, ours, share))
        encoded[share] = ground.encoded(model, reporter, f"{run.name}: share {share:g}")
        scores[share] = ground.quality(encoded[share])
    choice = ground.choice(scores, job.seed)
    reporter.note(f"{run.name}: {choice.word}: {choice.why}")

    # Of equal means the one closest to the base.
    share = choice.share if choice.share in run.mix else max(sorted(run.mix), key=lambda share: choice.scores[share])
    model.model.load_state_dict(mixed_weights(theirs, ours, share))
    _save(model, tuned.folder, target)
    if len(ground.passages) == len(material.chunks):
        spec = weights_spec(job, target)
        saved = DenseEncoder(f"{run.name}-mixed", folder_fingerprint(spec, target), model.model, model.prompts)
        # So that the evaluation need not encode them once more.
        keep(job.domain, saved, "document", [chunk.full_text for chunk in material.chunks], encoded[share].documents)
    counted = ground.material.counted
    means = {kept: found.means(counted) for kept, found in scores.items()}
    facts = {
        "pairs": tuned.facts["pairs"],
        "saved_share": share,
        "judged_on": ground.told,
        "distance": {
            "documents": mean_cosine(before.documents, after.documents),
            "queries": mean_cosine(before.queries, after.queries),
        },
        "development": {"queries": counted, "before": means[0.0], "tuned": means[1.0], "after": means[share]},
        "choice": choice.to_json(),
    }
    ndcg = {kept: found.ndcg[:counted] for kept, found in scores.items()}
    card = Card(job.domain, run, job.seed, facts, mixed=True, before=ndcg[0.0], after=ndcg[share])
    write_card(job.project, target, card)
    return facts


def _save(model: DenseEncoder, tuned: Path, target: Path) -> None:
    """The mixture as a whole sentence-transformers folder, with the code and the list of chunks of the tuned model."""
    # A tokenizer saves the padding and truncation of its last call: always the same one.
    model.encode([""], "document")
    model.model.save_pretrained(str(target), create_model_card=False, safe_serialization=True)
    for path in [*tuned.glob("*.py"), *tuned.glob(TRAINED_CHUNKS)]:
        if not (target / path.name).exists():
            shutil.copyfile(path, target / path.name)


# --- weights --------------------------------------------------------------------------------------------------------
# A few lines of our own: sentence-transformers merges through mergekit, whose pins of transformers, peft and pydantic
# leave little room for those of anything else.


def mixed_weights(base: State, tuned: State, share: float) -> dict[str, Any]:
    """A weighted mean of two models, tensor by tensor in float32; integers (positions, counters) are the tuned model's.

    Tied weights stand under each of their names and come out equal under all of them.

    Args:
        base: The base's weights.
        tuned: The tuned model's; the result has its types.
        share: Of the tuned model.
    """
    import torch

    return {
        name: torch.lerp(base[name].float(), tensor.float(), share).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in tuned.items()
    }


def _weights(encoder: DenseEncoder) -> dict[str, Any]:
    """A copy outside of any GPU, which stays as it is when the model is given other weights."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in encoder.model.state_dict().items()}


def _check_same(name: str, base: State, tuned: State) -> None:
    """See to it that two models can be mixed.

    Raises:
        BenchError: They have other tensors, or tensors of other shapes.
    """
    shapes = [{key: tuple(tensor.shape) for key, tensor in state.items()} for state in (base, tuned)]
    if shapes[0] != shapes[1]:
        differ = sorted(key for key in shapes[0].keys() | shapes[1].keys() if shapes[0].get(key) != shapes[1].get(key))
        raise BenchError(
            f"{name}: cannot be mixed with its base: {len(differ)} of their tensors differ in shape or name "
            f"({differ[0]}); set 'mix: []'"
        )


# --- judging --------------------------------------------------------------------------------------------------------


def mean_cosine(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    """Of vectors of unit length, row by row."""
    return float((left * right).sum(axis=1).mean())


class Encoded(NamedTuple):
    """Unit vectors of queries and of passages, shape (n_texts, n_dimensions) each."""

    queries: NDArray[np.float32]
    documents: NDArray[np.float32]


@dataclass(frozen=True)
class Ground:
    """Queries and passages that all candidates are judged on.

    Attributes:
        material: With the queries that were drawn.
        rows: Which of all queries these are, shape (n_queries,).
        passages: Rows of the passages in the corpus, ascending.
        asked_of: How many development queries they were drawn from.
    """

    material: Material
    rows: NDArray[np.int64]
    passages: NDArray[np.int64]
    asked_of: int

    @classmethod
    def of(cls, material: Material, base: Judged, tuned: Judged, seed: int) -> "Ground":
        """Draw the queries, and pool the passages where there are too many."""
        rows = drawn(material, MOST_QUERIES, seed)
        some = material.only(rows)
        if len(material.chunks) <= MOST_PASSAGES:
            return cls(some, rows, np.arange(len(material.chunks)), material.counted)
        wanted = {place for asked in some.judged for place in asked.relevant}
        hits = [best_hits(found.queries[rows], found.documents, MOST_PASSAGES) for found in (base, tuned)]
        return cls(some, rows, pooled(wanted, hits, MOST_PASSAGES), material.counted)

    @property
    def told(self) -> str:
        """How much is judged on, in words."""
        return (
            f"{len(self.passages)} of {len(self.material.chunks)} passages by {self.material.counted} of "
            f"{self.asked_of} development queries"
        )

    def known(self, found: Judged) -> Quality:
        """How good a model is whose vectors of everything are known."""
        return self.quality(Encoded(found.queries[self.rows], found.documents[self.passages]))

    def encoded(self, encoder: DenseEncoder, reporter: Reporter, label: str) -> Encoded:
        """What a model makes of these queries and passages, which it sees for the first time."""
        texts = [asked.text for asked in self.material.judged]
        passages = [self.material.chunks[place].full_text for place in self.passages]
        queries = encoder.encode(texts, "query", reporter, f"{label}: encoding {len(texts)} queries")
        documents = encoder.encode(passages, "document", reporter, f"{label}: encoding {len(passages)} chunks")
        return Encoded(queries, documents)

    def quality(self, found: Encoded) -> Quality:
        """How well these queries find their passages."""
        place = {row: number for number, row in enumerate(self.passages.tolist())}
        relevant = [[place[row] for row in asked.relevant] for asked in self.material.judged]
        ids = self.material.ids
        return quality(found.queries, found.documents, relevant, [ids[row] for row in self.passages])

    def choice(self, scores: Mapping[float, Quality], seed: int) -> Choice:
        """Between the base (share 0) and the others."""
        return choose(
            scores[0.0].ndcg,
            {share: found.ndcg for share, found in scores.items() if share},
            kinds_of(self.material),
            self.material.counted,
            seed,
            self.material.written,
        )


def pooled(wanted: set[int], hits: Sequence[NDArray[np.int64]], most: int) -> NDArray[np.int64]:
    """Passages to judge on: the wanted ones, then every query's best hit of each model, every second best, and so on.

    Args:
        wanted: Rows that must be among them, however many.
        hits: For each model, rows by falling similarity, shape (n_queries, n_hits).
        most: When to stop.

    Returns:
        Rows, ascending.
    """
    found = set(wanted)
    # Shape (n_hits, n_queries, n_models), flattened: the order in which they are taken.
    for row in np.stack(hits, axis=-1).transpose(1, 0, 2).ravel().tolist():
        if len(found) >= most:
            break
        found.add(row)
    return np.array(sorted(found), dtype=np.int64)
