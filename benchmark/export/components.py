"""From a model spec to components of Haystack (https://docs.haystack.deepset.ai) and the models that they load."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmark.encoders.dense import own_prompts
from benchmark.encoders.fused import HYBRID_POOL, HYBRID_WEIGHTS
from benchmark.errors import BenchError
from benchmark.files import Json, read_json
from benchmark.project import Project
from benchmark.specs import BM25Settings, ModelSpec
from benchmark.weights import listed_modules, model_folder

_HAYSTACK: Final = "haystack.components"
_TRANSFORMERS: Final = "haystack_integrations.components"
_EMBEDDERS: Final = f"{_TRANSFORMERS}.embedders.sentence_transformers"
_RANKERS: Final = f"{_TRANSFORMERS}.rankers.sentence_transformers"


@dataclass
class Graph:
    """A pipeline that searches, as it grows.

    Attributes:
        components: By name, as Haystack writes them to YAML.
        connections: Sender and receiver.
        inputs: Component -> the input that takes the question.
        embedders: What encodes the documents before anything is searched; one at most.
        models: Name of a folder -> where its files are now.
        notes: Where the result may differ from what was measured.
        store: Where the documents are kept, for every component that needs it.
    """

    components: dict[str, Json] = field(default_factory=dict)
    connections: list[Json] = field(default_factory=list)
    inputs: dict[str, str] = field(default_factory=dict)
    embedders: dict[str, Json] = field(default_factory=dict)
    models: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    store: Json = field(default_factory=dict)

    def add(self, name: str, kind: str, **parameters: Any) -> str:
        """Add a component; returns its name."""
        self.components[name] = component(kind, **parameters)
        return name

    def connect(self, sender: str, receiver: str) -> None:
        """Connect an output with an input."""
        self.connections.append({"sender": sender, "receiver": receiver})


def component(kind: str, **parameters: Any) -> Json:
    """A component as Haystack writes it."""
    return {"type": kind, "init_parameters": parameters}


def search_graph(project: Project, name: str, top_k: int, index: str) -> tuple[Graph, str]:
    """The components that find passages, and the one that gives them.

    Args:
        project: Where the specs and weights are.
        name: A model spec.
        top_k: Passages that are found.
        index: Under this name the pipelines of an export share a store in memory; others in the process have another.

    Raises:
        BenchError: Haystack has no component for a part of the spec, or its weights cannot be had.
    """
    graph = Graph()
    lexical = _lexical(project, name)
    graph.store = component(
        "haystack.document_stores.in_memory.document_store.InMemoryDocumentStore",
        index=index,
        embedding_similarity_function="dot_product",
        # With a delta of 0 its term weights are Lucene's; its idf is not.
        bm25_algorithm="BM25Plus",
        bm25_parameters={"k1": lexical.k1, "b": lexical.b, "delta": 0.0},
    )
    return graph, _stage(graph, project, name, top_k)


def _lexical(project: Project, name: str) -> BM25Settings:
    """The settings of the BM25 in a spec; the usual ones where there is none."""
    spec = project.model_spec(name)
    if spec.retriever is not None:
        return _lexical(project, spec.retriever)
    found = [spec.bm25, *(project.model_spec(part).bm25 for part in spec.hybrid or ())]
    return next((settings for settings in found if settings is not None), BM25Settings())


def _stage(graph: Graph, project: Project, name: str, top_k: int) -> str:
    spec = project.model_spec(name)
    if spec.retriever is not None and spec.reranker is not None:
        return _reranked(graph, project, name, spec, top_k)
    if spec.hybrid is not None:
        return _hybrid(graph, project, name, spec, top_k)
    if spec.bm25 is not None:
        return _bm25(graph, spec.bm25, top_k)
    return _dense(graph, project, name, spec, top_k)


def _refuse(name: str, why: str) -> BenchError:
    return BenchError(f"model_specs/{name}.yaml: cannot be exported: {why}")


# --- one stage ------------------------------------------------------------------------------------------------------


def _bm25(graph: Graph, settings: BM25Settings, top_k: int) -> str:
    kind = f"{_HAYSTACK}.retrievers.in_memory.bm25_retriever.InMemoryBM25Retriever"
    name = graph.add("bm25", kind, document_store=graph.store, top_k=top_k, scale_score=False)
    graph.inputs[name] = "query"
    left = [word for word, value in (("stemmer", settings.stemmer), ("stop words", settings.stopwords)) if value]
    graph.notes.append(
        "BM25: k1 and b are those of the spec, but Haystack's in-memory BM25 (BM25Plus with delta 0) computes another "
        "idf than Lucene's" + (f" and knows no {' and no '.join(left)}" if left else "") + ": its order differs."
    )
    return name


def _dense(graph: Graph, project: Project, name: str, spec: ModelSpec, top_k: int) -> str:
    if graph.embedders:
        raise _refuse(name, "a second embedding model; a document of Haystack's holds one embedding")
    folder, parameters = _encoder(project, name, spec)
    graph.models[name] = folder
    text, document = parameters
    kind = f"{_EMBEDDERS}.sentence_transformers_document_embedder.SentenceTransformersDocumentEmbedder"
    graph.embedders["embedder"] = component(kind, model=f"models/{name}", **document)
    kind = f"{_EMBEDDERS}.sentence_transformers_text_embedder.SentenceTransformersTextEmbedder"
    embedder = graph.add("embedder", kind, model=f"models/{name}", **text)
    graph.inputs[embedder] = "text"
    kind = f"{_HAYSTACK}.retrievers.in_memory.embedding_retriever.InMemoryEmbeddingRetriever"
    retriever = graph.add("retriever", kind, document_store=graph.store, top_k=top_k)
    graph.connect(f"{embedder}.embedding", f"{retriever}.query_embedding")
    return retriever


def _encoder(project: Project, name: str, spec: ModelSpec) -> tuple[Path, tuple[Json, Json]]:
    """The model's folder, and the parameters that encode queries and documents as they were encoded here."""
    if spec.quantize is not None:
        raise _refuse(name, f"its vectors are quantised; export {spec.base}")
    source = project.model_spec(spec.base) if spec.base else spec
    if spec.adapter is not None:
        folder = project.root / spec.adapter
        if not (folder / "modules.json").is_file():
            raise _refuse(name, f"its adapter works on the vectors of {spec.base}, which has no weights to take along")
        _check(name, source)
        return folder, _parameters(folder, own_prompts(_configured(folder)), None, None)
    _check(name, source)
    folder = model_folder(project, spec.base or name, source)
    given = {"query": source.prompts.query, "document": source.prompts.document}
    prompts = given if any(given.values()) else own_prompts(_configured(folder))
    return folder, _parameters(folder, prompts, source.max_length, spec.truncate_dim)


def _check(name: str, source: ModelSpec) -> None:
    """See to it that a model is one that Haystack's embedders load.

    Raises:
        BenchError: It is not.
    """
    if source.api is not None:
        raise _refuse(name, "its vectors come from an API, there are no weights to take along")
    if source.kind != "bi-encoder":
        raise _refuse(name, f"Haystack's in-memory store cannot search with kind: {source.kind}")
    if source.precision == "int8":
        raise _refuse(name, "its weights are run in int8")
    if source.trust_remote_code:
        raise _refuse(name, "the model runs code of its own (trust_remote_code)")
    if source.pickled:
        raise _refuse(name, "its weights are pickled")


def _parameters(folder: Path, prompts: dict[str, str], length: int | None, cut: int | None) -> tuple[Json, Json]:
    """Parameters of the text embedder and of the document embedder."""
    routed = any("Router" in str(row.get("type", "")) for row in listed_modules(folder))
    shared: Json = {
        "normalize_embeddings": True,
        "local_files_only": True,
        "progress_bar": False,
        "model_kwargs": {"use_safetensors": True},
    }
    if length is not None:
        shared["tokenizer_kwargs"] = {"model_max_length": length}
    if cut is not None:
        shared["truncate_dim"] = cut

    def side(role: str) -> Json:
        task = {"task": role} if routed else {}
        return {**shared, "encode_kwargs": {"prompt": prompts[role], **task}}

    return side("query"), side("document")


def _configured(folder: Path) -> dict[str, str | None]:
    """The prompts of a model's own configuration."""
    path = folder / "config_sentence_transformers.json"
    found = read_json(path).get("prompts") if path.is_file() else None
    return {str(key): value for key, value in found.items()} if isinstance(found, dict) else {}


# --- two stages -----------------------------------------------------------------------------------------------------


def _hybrid(graph: Graph, project: Project, name: str, spec: ModelSpec, top_k: int) -> str:
    sides: Sequence[str] = spec.hybrid or ()
    kinds = [project.model_spec(side).bm25 is not None for side in sides]
    if kinds[0] == kinds[1]:
        raise _refuse(name, "a hybrid of BM25 and one embedding model is what Haystack's in-memory store can search")
    weights = list(spec.weights or HYBRID_WEIGHTS)
    ends = [_stage(graph, project, side, HYBRID_POOL) for side in sides]
    joiner = graph.add(
        "joiner", f"{_HAYSTACK}.joiners.document_joiner.DocumentJoiner",
        join_mode="reciprocal_rank_fusion", weights=weights, top_k=top_k,
    )  # fmt: skip
    for end in ends:
        graph.connect(f"{end}.documents", f"{joiner}.documents")
    graph.notes.append(
        f"Fusion: here both sides' scores were normalised and added with the weights {weights[0]:g} and {weights[1]:g}; "
        "Haystack weights scores only in its reciprocal rank fusion, so the ranks of the best "
        f"{HYBRID_POOL} of either side are fused with these weights. The order differs, and so may the quality."
    )
    return joiner


def _reranked(graph: Graph, project: Project, name: str, spec: ModelSpec, top_k: int) -> str:
    assert spec.retriever is not None and spec.reranker is not None  # noqa: S101 (asked by the caller)
    if spec.weights is not None:
        raise _refuse(
            name, "its 'weights' add the first stage's scores to the reranker's, for which Haystack has no component; "
            f"export its first stage ({spec.retriever}), or a spec without 'weights'",
        )  # fmt: skip
    if top_k > spec.depth:
        raise _refuse(name, f"top_k {top_k} is more than the {spec.depth} passages that it reranks")
    reranker = project.model_spec(spec.reranker)
    if reranker.kind != "cross-encoder" or reranker.trust_remote_code or reranker.pickled:
        raise _refuse(name, f"{spec.reranker} is no cross-encoder with safetensors weights and without code of its own")
    folder = model_folder(project, spec.reranker, reranker)
    if json.dumps(read_json(folder / "config.json").get("problem_type")) == '"regression"':
        graph.notes.append("Reranker: its scores are those that it was trained to give, from 0 to 1.")
    first = _stage(graph, project, spec.retriever, spec.depth)
    graph.models[spec.reranker] = folder
    limit = {"tokenizer_kwargs": {"model_max_length": reranker.max_length}} if reranker.max_length else {}
    ranker = graph.add(
        "ranker", f"{_RANKERS}.sentence_transformers_similarity.SentenceTransformersSimilarityRanker",
        model=f"models/{spec.reranker}", top_k=top_k, scale_score=False, batch_size=32,
        model_kwargs={"use_safetensors": True}, **limit,
    )  # fmt: skip
    graph.inputs[ranker] = "query"
    graph.connect(f"{first}.documents", f"{ranker}.documents")
    return ranker
