"""How long texts a model takes and how long its vectors are, as its configuration says; None is undeclared."""

from typing import Any, Final

from benchmark.files import Json
from benchmark.hub.remote import RemoteModel
from benchmark.specs.models import Kind

_UNLIMITED: Final = 10**9
"""Tokenizers without a limit say 10 to the power of 30."""
# transformers' names for the same figure, by architecture.
_WIDTHS: Final = ("hidden_size", "d_model", "dim", "n_embd", "hidden_dim")


def dimensions(model: RemoteModel, kind: Kind) -> int | None:
    """Of a vector: of a text, of a token with late interaction, of the vocabulary with sparse encoders."""
    if kind == "cross-encoder":
        return None
    if kind == "sparse":
        return _whole(model.config.get("vocab_size"))
    for row in reversed(model.modules):
        found = _after(str(row.get("type", "")).rpartition(".")[2], model.json(f"{row.get('path', '')}/config.json"))
        if found is not None:
            return found
    if kind == "late-interaction":
        return _whole(model.json("artifact.metadata").get("dim"))
    return next((width for width in map(_whole, map(model.config.get, _WIDTHS)) if width), None)


def _after(kind: str, config: Json) -> int | None:
    """Of a vector behind a module of sentence-transformers'; None where the module says nothing of it."""
    if kind == "Dense":
        return _whole(config.get("out_features"))
    if kind != "Pooling":
        return None
    width = _whole(config.get("embedding_dimension", config.get("word_embedding_dimension")))
    # Several ways of pooling stand one behind the other in the vector.
    named = config.get("pooling_mode")
    ways = (
        len(named)
        if isinstance(named, list)
        else sum(config[key] is True for key in config if key.startswith("pooling_mode_"))
    )
    return width * max(1, ways) if width else None


def max_length(model: RemoteModel, kind: Kind) -> int | None:
    """Tokens of a text; with late interaction those of a passage, where its model limits them."""
    if kind == "late-interaction":
        settings = (model.own, _of_transformer(model, "sentence_bert_config.json"))
        found = next((said["document_length"] for said in settings if said.get("document_length")), None)
        return _whole(found or model.json("artifact.metadata").get("doc_maxlen"))
    own = _of_transformer(model, "sentence_bert_config.json")
    tokenizer = _of_transformer(model, "tokenizer_config.json")
    given = own.get("processor_kwargs", own.get("tokenizer_args"))
    for said in (given.get("model_max_length") if isinstance(given, dict) else None, own.get("max_seq_length")):
        if _whole(said):
            return _whole(said)
    # As sentence-transformers' Transformer does it.
    limits = [_whole(tokenizer.get("model_max_length")), _whole(model.config.get("max_position_embeddings"))]
    return min((limit for limit in limits if limit), default=None)


def _of_transformer(model: RemoteModel, name: str) -> Json:
    """A file that lies beside the transformer's config.json."""
    first = next((str(row.get("path", "")) for row in model.modules), "")
    return model.json(f"{first}/{name}" if first else name) or model.json(name)


def _whole(value: Any) -> int | None:
    """A figure that can be one."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _UNLIMITED:
        return None
    return int(value)
