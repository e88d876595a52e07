"""The head of a data card: what the Hugging Face Hub and `datasets.load_dataset` read."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from benchmark.files import Json
from benchmark.licences import hub_licence

_LANGUAGES: Final = {
    "ara": "ar", "ben": "bn", "bul": "bg", "cat": "ca", "ces": "cs", "cmn": "zh", "dan": "da", "deu": "de",
    "ell": "el", "eng": "en", "est": "et", "eus": "eu", "fas": "fa", "fin": "fi", "fra": "fr", "glg": "gl", "heb": "he",
    "hin": "hi", "hrv": "hr", "hun": "hu", "ind": "id", "isl": "is", "ita": "it", "jpn": "ja", "kor": "ko", "lav": "lv",
    "lit": "lt", "nld": "nl", "nno": "nn", "nob": "nb", "nor": "no", "pol": "pl", "por": "pt", "ron": "ro", "rus": "ru",
    "slk": "sk", "slv": "sl", "spa": "es", "srp": "sr", "swe": "sv", "tam": "ta", "tha": "th", "tur": "tr", "ukr": "uk",
    "urd": "ur", "vie": "vi", "zho": "zh",
}  # fmt: skip
"""ISO 639-3 to 639-1."""
_SIZES: Final = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


class Config(NamedTuple):
    """A table of the data set, under the name that loads it.

    Attributes:
        name: For `load_dataset(folder, name)`.
        rows: Split -> rows; no split without rows, which would not load.
        files: Split -> file.
    """

    name: str
    rows: dict[str, int]
    files: dict[str, str]


def configs_of(rows: Json) -> list[Config]:
    """The tables that hold rows.

    Args:
        rows: What `write_all` returned.
    """
    configs = []
    for name in ("triplets", "ntuples", "pairs"):
        counted = {split: rows[split][name] for split in ("train", "dev") if rows[split][name]}
        configs.append(Config(name, counted, {split: f"{name}_{split}.parquet" for split in counted}))
    if rows["rag"]:
        configs.append(Config("rag", {"train": rows["rag"]}, {"train": "rag.parquet"}))
    return [config for config in configs if config.rows]


def hub_language(language: str) -> str:
    """A language as the Hub writes it.

    >>> hub_language("eng-Latn"), hub_language("xho-Latn")
    ('en', 'xho')
    """
    code = language.split("-")[0]
    return _LANGUAGES.get(code, code)


def header(title: str, licence: str, language: str, queries: int, configs: Sequence[Config]) -> Json:
    """The metadata at the head of a README.md.

    Args:
        title: The domain's.
        licence: Of the documents, in any words; one that the Hub does not know becomes "other", with its name.
        language: ISO 639-3, and what follows a hyphen.
        queries: How many there are.
        configs: The tables.
    """
    tables = [
        {
            "config_name": config.name,
            "data_files": [{"split": split, "path": path} for split, path in config.files.items()],
        }
        for config in configs
    ]
    return {
        "pretty_name": f"Synthetic queries: {title}",
        "language": [hub_language(language)],
        **hub_licence(licence),
        "task_categories": ["text-retrieval", "sentence-similarity"],
        "tags": ["synthetic", "retrieval", "rag", "sentence-transformers", "domainbench"],
        "size_categories": [next((name for limit, name in _SIZES if queries < limit), "n>1M")],
        **({"configs": tables} if tables else {}),
    }
