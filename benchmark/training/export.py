"""An adapter's folder: a complete sentence-transformers model where the base has weights, and a model card."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.encoders.adapter import LinearMaps
from benchmark.encoders.dense import DenseEncoder, Encoder
from benchmark.escape import code, md
from benchmark.files import Json, dump_yaml, write_text
from benchmark.project import Domain, Project
from benchmark.specs import AdapterRun, ModelSpec
from benchmark.weights import ADAPTER_FILE, model_folder

_LEGAL = ("LICENSE*", "LICENCE*", "NOTICE*", "COPYING*")


@dataclass(frozen=True)
class Card:
    """What the model card tells."""

    domain: Domain
    run: AdapterRun
    seed: int
    facts: Json


def write_model(target: Path, project: Project, base: Encoder, maps: LinearMaps, card: Card) -> None:
    """Fill an adapter's folder beside its matrices.

    A base that gives nothing but vectors, or one that needs code of its own, has no model folder; its adapter works
    through its model spec.

    Args:
        target: The folder.
        project: Where the base's spec stands.
        base: What the adapter was trained on.
        maps: The matrices.
        card: For README.md.
    """
    spec = project.model_spec(card.run.base)
    owner = spec.base or card.run.base
    source = project.model_spec(owner)
    whole = isinstance(base, DenseEncoder) and not source.trust_remote_code
    if isinstance(base, DenseEncoder) and whole:
        save_sentence_transformer(target, base, maps)
        for pattern in _LEGAL:
            for path in sorted(model_folder(project, owner, source).glob(pattern)):
                shutil.copyfile(path, target / path.name)
    write_text(target / "README.md", _readme(card, spec, source, whole))


def save_sentence_transformer(target: Path, base: DenseEncoder, maps: LinearMaps) -> None:
    """Save base and adapter so that `SentenceTransformer(folder)` encodes queries and documents each in its own way.

    The base's modules are followed by a Router, with a Dense module (no bias, no activation) on each side that has a
    matrix, and a Normalize module. A linear map does not mind whether its input was normalised, so that it makes no
    difference whether the base does that itself. Where the base's vectors are cut (Matryoshka), the matrices get
    columns of zeros for what is cut off.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Router

    model = base.model
    with model.truncate_embeddings(None):
        whole = int(model.get_embedding_dimension() or maps.dimensions)

    def side(matrix: NDArray[np.float32] | None) -> list[Any]:
        if matrix is None and whole == maps.dimensions:
            return [Normalize()]
        known = np.eye(maps.dimensions, dtype=np.float32) if matrix is None else matrix
        weight = np.zeros((maps.dimensions, whole), dtype=np.float32)
        weight[:, : maps.dimensions] = known
        return [_dense(Dense, weight), Normalize()]

    router = Router.for_query_document(side(maps.query), side(maps.document))
    adapted = SentenceTransformer(
        modules=[*model.children(), router],
        device="cpu",
        prompts={**(model.prompts or {}), **base.prompts},
        similarity_fn_name="cosine",
    )
    # A tokenizer saves the padding and truncation of its last call: without one, the bytes would tell whether the
    # vectors came from the store.
    base.encode([""], "document")
    adapted.save_pretrained(str(target), create_model_card=False, safe_serialization=True)


def _dense(kind: Any, weight: NDArray[np.float32]) -> Any:
    import torch

    return kind(
        weight.shape[1], weight.shape[0], bias=False, activation_function=torch.nn.Identity(),
        init_weight=torch.from_numpy(weight),
    )  # fmt: skip


def _readme(card: Card, spec: ModelSpec, source: ModelSpec, whole: bool) -> str:
    settings, facts, domain = card.run, card.facts, card.domain.spec
    development = facts["development"]
    front: Json = {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "tags": ["sentence-transformers", "feature-extraction", "linear-adapter"],
    }
    licence = spec.licence if spec.licence != "unknown" else source.licence
    if licence != "unknown":
        front["license"] = licence.lower()
    if source.hub is not None:
        front["base_model"] = source.hub
    matrices = "a matrix for queries; documents keep the vectors of the base"
    if settings.sides == "both":
        matrices = "a matrix for queries and one for documents"
    lines = [
        "---",
        dump_yaml(front).rstrip(),
        "---",
        "",
        f"# {md(card.run.name)}",
        "",
        f"A linear adapter on {code(card.run.base)}, trained on synthetic queries of the domain {md(domain.title)}: "
        f"{matrices}.",
        "",
        *_usage(whole),
        "## Training",
        "",
        f"- Data: {facts['pairs']} synthetic queries and their passages; hand-made test questions are not among them.",
        f"- Loss: InfoNCE, scale {settings.scale:g}, with {facts['candidates']} passages as candidates; penalty "
        f"{settings.shrinkage:g} on the distance from the identity.",
        f"- AdamW, learning rate {settings.learning_rate:g}, batches of {settings.batch_size}, best of "
        f"{facts['epochs']} epochs: {facts['best_epoch']}; seed {card.seed}.",
        f"- Kept: {facts['choice']['chosen']}, share {facts['choice']['share']:g} of the way from the identity: "
        f"{md(facts['choice']['why'])}.",
        "",
        "## Development split",
        "",
        f"{development['queries']} synthetic queries on documents that training never saw, over all passages.",
        "",
        "| metric | base | this model |",
        "|---|---|---|",
        *(
            f"| {name} | {development['before'][name]:.4f} | {development['after'][name]:.4f} |"
            for name in development["before"]
        ),
        "",
        "Figures on synthetic queries are no figures on people's questions; the leaderboard of the domain has those.",
        "",
        *_kinds(facts["choice"]),
        "## Provenance and licence",
        "",
        f"Base: {code(source.hub or source.package or source.path or card.run.base)}"
        f"{f' at revision {code(source.revision)}' if source.revision else ''}, licence: {md(licence)}. "
        f"Documents of the domain, licence: {md(domain.licence)}. Made by domainbench.",
        "",
    ]
    return "\n".join(str(line) for line in lines)


def _usage(whole: bool) -> list[str]:
    if not whole:
        return [
            f"The base's weights are not in this folder; `{ADAPTER_FILE}` holds the matrices. Multiply the base's "
            "vectors with them and bring the result to length 1.",
            "",
        ]
    return [
        "```python",
        "from sentence_transformers import SentenceTransformer",
        "",
        'model = SentenceTransformer("path/to/this/folder")',
        'scores = model.similarity(model.encode_query(["a question"]), model.encode_document(["a passage"]))',
        "```",
        "",
        "Queries and documents go different ways: use `encode_query` and `encode_document`, not `encode`.",
        "",
    ]


def _kinds(choice: Json) -> Sequence[str]:
    """How each kind of query fares under the mixture that was kept."""
    kept = next(row for row in choice["mixtures"] if row["share"] == choice["share"])
    if not kept["kinds"]:
        return []
    return [
        "nDCG@10 by kind of query (p: two-sided paired sign-flip test, not corrected):",
        "",
        "| kind | queries | base | this model | p |",
        "|---|---|---|---|---|",
        *(
            f"| {md(row['kind'])} | {row['queries']} | {row['base']:.4f} | {row['score']:.4f} | {row['p']:.3g} |"
            for row in kept["kinds"]
        ),
        "",
    ]
