"""The head of a data card: what the Hugging Face Hub and `datasets.load_dataset` read."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from benchmark.files import Json

_LICENCES: Final = frozenset({
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "cc-by-2.0",
    "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0", "epl-2.0",
    "etalab-2.0", "eupl-1.1", "gfdl", "gpl-2.0", "gpl-3.0", "isc", "lgpl-2.1", "lgpl-3.0", "mit", "mpl-2.0", "odbl",
    "odc-by", "osl-3.0", "pddl", "unknown", "unlicense", "zlib",
})  # fmt: skip
"""Licences that the Hub knows by name, most of them SPDX identifiers in lower case."""
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


def header(title: str, licence: str, language: str, queries: int, configs: Sequence[Config]) -> Json:
    """The metadata at the head of a README.md.

    Args:
        title: The domain's.
        licence: Of the documents, in any words; one that the Hub does not know becomes "other".
        language: ISO 639-3, and what follows a hyphen.
        queries: How many there are.
        configs: The tables.
    """
    known, code = licence.strip().lower(), language.split("-")[0]
    tables = [
        {
            "config_name": config.name,
            "data_files": [{"split": split, "path": path} for split, path in config.files.items()],
        }
        for config in configs
    ]
    return {
        "pretty_name": f"Synthetic queries: {title}",
        "language": [_LANGUAGES.get(code, code)],
        "license": known if known in _LICENCES else "other",
        "task_categories": ["text-retrieval", "sentence-similarity"],
        "tags": ["synthetic", "retrieval", "rag", "sentence-transformers", "domainbench"],
        "size_categories": [next((name for limit, name in _SIZES if queries < limit), "n>1M")],
        **({"configs": tables} if tables else {}),
    }
