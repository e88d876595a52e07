"""Models as they are on the Hub: the configuration files of the real ones, with stand-ins for their weights."""

import importlib.util
import json
from pathlib import Path

_spec = importlib.util.spec_from_file_location("read_server", Path(__file__).with_name("read_server.py"))
read_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(read_server)
Model, ReadServer = read_server.Model, read_server.ReadServer

OLD, NEW = "0c" * 20, "1d" * 20
WEIGHTS = b"\x00" * 1000
VERSIONS = {"sentence_transformers": "3.4.1", "transformers": "4.48.0", "pytorch": "2.5.1"}


def as_bytes(files):
    return {name: body if isinstance(body, bytes) else json.dumps(body).encode() for name, body in files.items()}


def modules(*kinds, namespace="sentence_transformers.models"):
    """As modules.json: the first module in the model's own folder, the others each in one of their own."""
    return [
        {"idx": i, "name": str(i), "path": "" if i == 0 else f"{i}_{kind.rsplit('.', 1)[-1]}",
         "type": kind if "." in kind else f"{namespace}.{kind}"}
        for i, kind in enumerate(kinds)
    ]  # fmt: skip


def pooling(width, way="cls_token"):
    ways = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    return {"word_embedding_dimension": width, **{f"pooling_mode_{name}": name == way for name in ways}}


def bert(width=384, length=512, architecture="BertModel", **more):
    return {
        "architectures": [architecture], "model_type": "bert", "hidden_size": width, "max_position_embeddings": length,
        "vocab_size": 30522, **more,
    }  # fmt: skip


def model(repository, files, **more):
    return Model(repository, {OLD: as_bytes({**files, "README.md": b"old"}), NEW: as_bytes(files)}, **more)


def encoder(
    repository, config, *, prompts=None, width=384, length=512, weights="model.safetensors", extra=None, **more
):
    """A bi-encoder of transformer, pooling and normalisation, as sentence-transformers saves it."""
    own = {"__version__": VERSIONS} if prompts is None else {"__version__": VERSIONS, "prompts": prompts}
    files = {
        "modules.json": modules("Transformer", "Pooling", "Normalize"),
        "config.json": config,
        "config_sentence_transformers.json": own,
        "sentence_bert_config.json": {"max_seq_length": length, "do_lower_case": False},
        "1_Pooling/config.json": pooling(width),
        "tokenizer_config.json": {"model_max_length": length, "tokenizer_class": "BertTokenizer"},
        weights: WEIGHTS,
        "onnx/model.onnx": b"not asked for",
        **(extra or {}),
    }
    return model(
        repository, files, **{"pipeline_tag": "sentence-similarity", "library_name": "sentence-transformers", **more}
    )


BGE = encoder(
    "BAAI/bge-small-en-v1.5", bert(), parameters=33_360_000, downloads=9_000_000,
    card={"license": "mit", "language": ["en"], "tags": ["sentence-transformers", "mteb"]}, tags=["safetensors", "bert"],
    pipeline_tag="feature-extraction",
)  # fmt: skip
E5 = encoder(
    "intfloat/multilingual-e5-small", bert(), parameters=117_653_760, downloads=4_000_000,
    card={"license": "mit", "language": ["multilingual", "en", "de"]}, tags=["safetensors"],
)  # fmt: skip
E5_INSTRUCT = encoder(
    "intfloat/multilingual-e5-large-instruct", bert(1024, 514), parameters=559_890_432, width=1024,
    card={"license": "mit", "language": ["en"]},
)  # fmt: skip
NOMIC = encoder(
    "nomic-ai/nomic-embed-text-v1.5",
    {**bert(768, architecture="NomicBertModel"), "model_type": "nomic_bert", "auto_map": {
        "AutoConfig": "nomic-ai/nomic-bert-2048--configuration_hf_nomic_bert.NomicBertConfig",
        "AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel",
    }},
    width=768, parameters=136_731_648, downloads=2_000_000, card={"license": "apache-2.0", "language": ["en"]},
    tags=["safetensors", "custom_code"],
)  # fmt: skip
QWEN = encoder(
    "Qwen/Qwen3-Embedding-0.6B",
    {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 1024,
     "max_position_embeddings": 32768, "vocab_size": 151669},
    prompts={
        "query": "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
        "document": "",
    },
    width=1024, length=32768, parameters=595_776_512, downloads=5_000_000,
    card={"license": "apache-2.0", "base_model": ["Qwen/Qwen3-0.6B-Base"]}, tags=["safetensors"],
    pipeline_tag="feature-extraction",
)  # fmt: skip
RERANKER = model(
    "cross-encoder/ms-marco-MiniLM-L6-v2",
    {
        "config.json": bert(384, architecture="BertForSequenceClassification", id2label={"0": "LABEL_0"},
                            sentence_transformers={"activation_fn": "torch.nn.modules.linear.Identity"}),
        "tokenizer_config.json": {"model_max_length": 512},
        "model.safetensors": WEIGHTS,
        "pytorch_model.bin": WEIGHTS,
    },
    card={"license": "apache-2.0", "language": ["en"], "datasets": ["sentence-transformers/msmarco"],
          "tags": ["transformers"]},
    tags=["cross-encoder", "safetensors"], pipeline_tag="text-ranking", library_name="sentence-transformers",
    parameters=22_713_601, downloads=3_000_000,
)  # fmt: skip
SPLADE = model(
    "naver/splade-v3",
    {
        "modules.json": modules("MLMTransformer", "SpladePooling", namespace="sentence_transformers.sparse_encoder.models"),
        "config.json": bert(768, architecture="BertForMaskedLM"),
        "config_sentence_transformers.json": {"model_type": "SparseEncoder", "prompts": {"query": "", "document": ""},
                                              "similarity_fn_name": "dot"},
        "sentence_bert_config.json": {"max_seq_length": 512},
        "1_SpladePooling/config.json": {"pooling_strategy": "max", "activation_function": "relu",
                                        "word_embedding_dimension": 30522},
        "tokenizer_config.json": {"model_max_length": 512},
        "model.safetensors": WEIGHTS,
    },
    card={"license": "cc-by-nc-sa-4.0", "language": ["en"], "tags": ["splade"]},
    tags=["sparse-encoder", "safetensors"], pipeline_tag="feature-extraction", library_name="sentence-transformers",
    downloads=400_000, parameters=109_514_298,
)  # fmt: skip
COLBERT = model(
    "lightonai/GTE-ModernColBERT-v1",
    {
        "modules.json": modules("Transformer", "pylate.models.Dense.Dense"),
        "config.json": {**bert(768, 8192, "ModernBertModel"), "model_type": "modernbert"},
        "config_sentence_transformers.json": {
            "prompts": {}, "similarity_fn_name": "MaxSim", "query_prefix": "[Q] ", "document_prefix": "[D] ",
            "query_length": 32, "document_length": 300, "do_query_expansion": True,
        },
        "sentence_bert_config.json": {"max_seq_length": 299},
        "1_Dense/config.json": {"in_features": 768, "out_features": 128, "bias": False},
        "1_Dense/model.safetensors": WEIGHTS,
        "tokenizer_config.json": {"model_max_length": 299},
        "model.safetensors": WEIGHTS,
    },
    card={"license": "apache-2.0", "tags": ["ColBERT", "PyLate"], "datasets": ["lightonai/ms-marco-en-bge-gemma"]},
    tags=["safetensors"], pipeline_tag="sentence-similarity", library_name="PyLate", downloads=90_000,
    parameters=149_015_808,
)  # fmt: skip
OWN_CODE = encoder(
    "org/own-code",
    {**bert(), "model_type": "new", "auto_map": {"AutoModel": "modeling_new.NewModel", "AutoConfig": "configuration_new.NewConfig"}},
    extra={"modeling_new.py": b"class NewModel: ...", "configuration_new.py": b"class NewConfig: ..."},
    parameters=1_000_000, downloads=1_000, card={"license": "mit", "tags": ["finance"]}, tags=["custom_code", "safetensors"],
)  # fmt: skip
OWN_MODULE = model(
    "org/own-module",
    {
        "modules.json": [{"idx": 0, "name": "0", "path": "", "type": "custom_st.Transformer"}],
        "config.json": bert(), "custom_st.py": b"", "model.safetensors": WEIGHTS,
    },
    card={},
)  # fmt: skip
PICKLED = encoder(
    "org/pickled", bert(), weights="pytorch_model.bin", card={"license": "mit"}, downloads=500,
    prompts={"query": "", "document": "", "classification": "Classify: "},
)  # fmt: skip
HALF_PICKLED = encoder("org/half-pickled", bert(), card={}, extra={"2_Dense/pytorch_model.bin": WEIGHTS})
HALF_PICKLED.files[NEW]["modules.json"] = json.dumps(modules("Transformer", "Pooling", "Dense")).encode()
GATED = encoder("org/gated", bert(), gated=True, card={"license": "gemma"}, downloads=700)
JINA = encoder(
    "org/like-jina", bert(),
    prompts={"retrieval.query": "Represent the query for retrieving evidence documents: ",
             "retrieval.passage": "Represent the document for retrieval: ", "classification": "", "separation": "x: "},
    card={"license": "other", "license_name": "my-licence", "datasets": ["zeta-alpha-ai/NanoNQ", "org/Village"]},
)  # fmt: skip
SILENT = model("org/silent_model", {"config.json": {"architectures": ["BertModel"]}, "model.safetensors": WEIGHTS})
GENERATIVE = model(
    "org/chat", {"config.json": {"architectures": ["Qwen2ForCausalLM"]}, "model.safetensors": WEIGHTS}, downloads=10,
)  # fmt: skip
CLASSIFIER = model(
    "org/sentiment",
    {"config.json": bert(architecture="BertForSequenceClassification", id2label={"0": "bad", "1": "good", "2": "none"}),
     "model.safetensors": WEIGHTS},
)  # fmt: skip
MASKED = model("org/plain-mlm", {"config.json": bert(architecture="BertForMaskedLM"), "model.safetensors": WEIGHTS})
LORA = model(
    "org/lora", {"adapter_config.json": {"base_model_name_or_path": "org/base"}, "adapter_model.safetensors": WEIGHTS}
)
GGUF = model("org/gguf", {"model.gguf": WEIGHTS}, library_name="gguf")
ONNX = model("org/onnx", {"config.json": bert(), "model.onnx": WEIGHTS})
FINANCE = encoder(
    "org/FinBridge-embed", bert(), card={"license": "apache-2.0", "language": "en", "tags": ["finance"]},
    tags=["safetensors"], parameters=20_000_000, downloads=200,
)  # fmt: skip
FINANCE_ID = encoder(
    "org/finance-embedding-investopedia", bert(), card={"license": "cc-by-nc-4.0"}, parameters=109_000_000, downloads=900,
)  # fmt: skip
FIN_RERANKER = model(
    "org/finance-reranker",
    {"config.json": bert(architecture="BertForSequenceClassification", num_labels=1), "model.safetensors": WEIGHTS},
    pipeline_tag="text-ranking", tags=["reranker"], downloads=50, card={"license": "mit"},
)  # fmt: skip

ALL = [
    BGE, E5, E5_INSTRUCT, NOMIC, QWEN, RERANKER, SPLADE, COLBERT, OWN_CODE, OWN_MODULE, PICKLED, HALF_PICKLED, GATED, JINA,
    SILENT, GENERATIVE, CLASSIFIER, MASKED, LORA, GGUF, ONNX, FINANCE, FINANCE_ID, FIN_RERANKER,
]  # fmt: skip


def of_folder(repository, folder, **more):
    """A repository with the files of a real model."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
    return model(repository, files, **more)
