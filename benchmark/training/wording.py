"""Losses in words, with their papers, and the lines of code that use a model: parts of a model card."""

import json
from pathlib import Path
from typing import Final

from markupsafe import Markup

from benchmark.escape import one_line
from benchmark.files import Json, read_json
from benchmark.specs import AdapterRun, BiEncoderRun, CrossEncoderRun, ModelSpec
from benchmark.weights import ADAPTER_FILE

FOLDER: Final = "path/of/this/folder"
"""What stands for the model's folder in a card."""
_LOSSES: Final = {
    "mnrl": "Multiple negatives ranking (InfoNCE; van den Oord et al., arXiv 1807.03748), scale {scale:g}",
    "gist": "GIST (multiple negatives ranking without what a guide takes for false negatives; Solatorio, arXiv "
    "2402.16829), scale {scale:g}, guide {guide}",
    "triplet": "Triplet loss (Schroff et al., arXiv 1503.03832)",
    "margin-mse": "MarginMSE (Hofstätter et al., arXiv 2010.02666), teacher {teacher}",
    "kl": "KL divergence from a teacher's scores (Lin et al., arXiv 2010.11386), scale {scale:g}, teacher {teacher}",
    "bce": "Binary cross-entropy on labelled pairs, weight of relevant pairs: {pos_weight}",
    "mse": "Mean squared error to the scores kept with the pairs",
    "lambda": "LambdaLoss (Wang et al., CIKM 2018) on labels",
}


def loss_in_words(run: AdapterRun | BiEncoderRun | CrossEncoderRun, facts: Json) -> str:
    """The loss of a run in a sentence, with what stands around it."""
    if isinstance(run, AdapterRun):
        return (
            f"InfoNCE, scale {run.scale:g}, with {facts.get('candidates', 'all')} passages as candidates; penalty "
            f"{run.shrinkage:g} on the distance from the identity. AdamW, best of {facts.get('epochs', run.epochs)} "
            f"epochs on the development split: {facts.get('best_epoch', 'not recorded')}."
        )
    if isinstance(run, BiEncoderRun):
        words = _LOSSES[run.loss].format(
            scale=run.scale, guide=run.guide or f"{run.base} (the base)", teacher=run.teacher or "of the synthetic data"
        )
        if run.matryoshka:
            cuts = ", ".join(map(str, run.matryoshka))
            words += f"; at dimensions {cuts} as well (Matryoshka; Kusupati et al., arXiv 2205.13147)"
    else:
        words = _LOSSES[run.loss].format(pos_weight=run.pos_weight or "the number of irrelevant ones for each")
    if run.lora:
        words += "; low-rank updates (LoRA; Hu et al., arXiv 2106.09685), merged into the weights"
    return words + "."


def usage(run: AdapterRun | BiEncoderRun | CrossEncoderRun, source: ModelSpec, target: Path) -> Markup:
    """How to use the folder, as Markdown: code that runs, and a word on it.

    Args:
        run: What was trained.
        source: The spec whose weights stand below it.
        target: The folder, with its weights.
    """
    more = ", trust_remote_code=True" if source.trust_remote_code else ""
    if run.kind == "cross-encoder":
        return _fenced(
            "from sentence_transformers import CrossEncoder\n\n"
            f'model = CrossEncoder("{FOLDER}"{more})\n'
            'print(model.rank("a question", ["a passage", "another passage"]))',
            "Give it the best hits of a search; it orders them anew.",
        )
    if not (target / "modules.json").is_file():
        return _fenced(_MATRICES, "The base's weights are not in this folder; its vectors have to come from elsewhere.")
    prompts = _missing_prompts(source, target)
    if prompts:
        # JSON of strings is Python too, and a line break in a prompt ends no fence.
        more += f", prompts={json.dumps(prompts)}"
    words = "Queries and passages are encoded differently: use `encode_query` and `encode_document`, not `encode`."
    if isinstance(run, BiEncoderRun) and run.matryoshka:
        words += f" Vectors may be cut: `SentenceTransformer(..., truncate_dim={min(run.matryoshka)})`."
    return _fenced(
        "from sentence_transformers import SentenceTransformer\n\n"
        f'model = SentenceTransformer("{FOLDER}"{more})\n'
        'queries = model.encode_query(["a question"], normalize_embeddings=True)\n'
        'passages = model.encode_document(["a passage", "another passage"], normalize_embeddings=True)\n'
        "print(model.similarity(queries, passages))",
        words,
    )


_MATRICES: Final = f"""\
import numpy as np
from safetensors.numpy import load_file

matrices = load_file("{FOLDER}/{ADAPTER_FILE}")


def adapt(vectors, side):
    \"\"\"The base's vectors of one side ("query" or "document"), shape (n, dimensions), adapted.\"\"\"
    turned = vectors @ matrices[side].T if side in matrices else vectors
    return turned / np.linalg.norm(turned, axis=1, keepdims=True)


dimensions = len(matrices["query"])
print(adapt(np.ones((1, dimensions), dtype=np.float32), "query"))"""


def _missing_prompts(source: ModelSpec, target: Path) -> dict[str, str]:
    """The prompts of the base's spec, where the folder's own configuration has others."""
    wanted = source.prompts.model_dump()
    if not any(wanted.values()):
        return {}
    path = target / "config_sentence_transformers.json"
    own = (read_json(path).get("prompts") if path.is_file() else None) or {}
    return {} if all(own.get(role, "") == text for role, text in wanted.items()) else wanted


def _fenced(lines: str, words: str) -> Markup:
    return Markup(f"```python\n{lines}\n```\n\n{one_line(words)}\n")  # noqa: S704 (our own words and JSON)
