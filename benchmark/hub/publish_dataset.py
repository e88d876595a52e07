"""The test set as a data set repository that `datasets` loads, mteb evaluates, and a domain names under `hub:`."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from benchmark.errors import BenchError
from benchmark.files import Json, iter_jsonl, read_json, shown
from benchmark.hub.dataset_card import CONFIGURATIONS, Counts, dataset_card, eval_yaml, table_path
from benchmark.hub.parcel import Item, LeftOut, Parcel, files_of, unique, without_home
from benchmark.hub.publish_request import Request
from benchmark.project import Domain, Project
from benchmark.provenance import MANIFEST, Outcome
from benchmark.records import Chunk, TestSet, read_testset
from benchmark.synthesis.card_header import Config, configs_of
from benchmark.training.licences import caution

SYNTHETIC: Final = "synthetic"
_AGAIN: Final = "make it with: domainbench ingest"
_TABLES: Final = (*(f"{name}/test-*-of-*.parquet" for name in CONFIGURATIONS), "eval.yaml")
_SYNTHETIC: Final = tuple(
    f"{SYNTHETIC}/{name}"
    for name in (
        *(f"{table}_{split}.parquet" for table in ("triplets", "ntuples", "pairs") for split in ("train", "dev")),
        *("rag.parquet", "README.md", "examples.md", "picture.png"),
    )
)
"""What a synthetic set's folder holds for others; it replaces the one before, where one is sent at all."""
_NO_SYNTHETIC: Final = LeftOut(
    "synthetic training data", "--synthetic sends them; tables that were sent before stay there, out of the card"
)
_BATCH: Final = 10_000
_TEXT, _NUMBER, _FLAG = "string", "int32", "bool_"
_COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "corpus": {"_id": _TEXT, "title": _TEXT, "text": _TEXT, "doc_id": _TEXT},
    "queries": {"_id": _TEXT, "text": _TEXT, "category": _TEXT, "answer": _TEXT, "answerable": _FLAG},
    "qrels": {"query-id": _TEXT, "corpus-id": _TEXT, "score": _NUMBER},
}


def dataset_parcel(project: Project, domain: Domain, request: Request, scratch: Path) -> Parcel:
    """The tables corpus, queries and qrels with a card; with the synthetic training set where that is asked for.

    Args:
        project: Where it lies.
        domain: Whose test set.
        request: What the user asked for.
        scratch: An empty folder for the tables.

    Raises:
        BenchError: There is no test set, or one over other passages than those here; no licence, or nobody said that
            documents may be sent.
    """
    licence = request.documents_licence(domain, "the test set")
    _same_passages(domain)
    testset = read_testset(domain.testset)
    rows = {"corpus": _corpus(domain), "queries": _queries(testset), "qrels": _qrels(testset)}
    counted = {}
    items = []
    for name in CONFIGURATIONS:
        path = scratch / table_path(name)
        counted[name] = _write_table(path, _COLUMNS[name], rows[name])
        items.append(Item(table_path(name), path, table_path(name)))
    configs = _synthetic_configs(domain) if request.synthetic else []
    if configs:
        items += _synthetic_items(project, domain, configs)
    counts = Counts(**counted, unanswerable=len(testset.unanswerable))
    items.append(Item.of_text("README.md", dataset_card(domain, request.to, licence, counts, configs)))
    items.append(Item.of_text("eval.yaml", eval_yaml(domain)))
    doubt = caution(domain.spec.title, licence)
    warning = doubt and f"the documents' licence is {licence}: see to it that you may pass them on"
    return Parcel(
        "dataset",
        f"test set of {domain.name}",
        unique(items),
        (
            LeftOut("the documents' files", "the corpus holds their passages"),
            LeftOut("candidates of the reranking task", "with them mteb would rerank where it is asked to search"),
            *(() if configs else (_NO_SYNTHETIC,)),
        ),
        tuple(line for line in (warning, _source_note(domain) if configs else None) if line),
        owned=(*_TABLES, *(_SYNTHETIC if configs else ())),
    )


def _same_passages(domain: Domain) -> None:
    """See to it that the judgements are about the passages that go with them.

    Raises:
        BenchError: One of the two is missing, or the passages were made anew and the test set was not.
    """
    manifests = {}
    for folder in (domain.chunks, domain.testset):
        if not (folder / MANIFEST).is_file():
            raise BenchError(f"{shown(folder)}: no test set; {_AGAIN}")
        manifests[folder] = read_json(folder / MANIFEST)
    passages = Outcome(domain.chunks, True, manifests[domain.chunks]).outputs_hash
    if manifests[domain.testset].get("inputs", {}).get("chunks") != passages:
        raise BenchError(f"{shown(domain.testset)}: was made from other passages than {shown(domain.chunks)}; {_AGAIN}")


def _corpus(domain: Domain) -> Iterator[Json]:
    for row in iter_jsonl(domain.chunks / "chunks.jsonl"):
        chunk = Chunk.from_json(row)
        # The heading is what an encoder sees before the text, here as with us.
        yield {"_id": chunk.id, "title": chunk.heading, "text": chunk.text, "doc_id": chunk.document}


def _queries(testset: TestSet) -> Iterator[Json]:
    for answerable, queries in ((True, testset.queries), (False, testset.unanswerable)):
        for query in queries:
            yield {
                "_id": query.id, "text": query.text, "category": query.category, "answer": query.answer,
                "answerable": answerable,
            }  # fmt: skip


def _qrels(testset: TestSet) -> Iterator[Json]:
    for query in testset.queries:
        for chunk, score in testset.qrels[query.id].items():
            yield {"query-id": query.id, "corpus-id": chunk, "score": score}


def _write_table(path: Path, columns: Mapping[str, str], rows: Iterator[Json]) -> int:
    """Write a parquet file batch by batch; the same rows give the same bytes. Returns how many there were."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    schema = pyarrow.schema(
        [pyarrow.field(name, getattr(pyarrow, kind)(), nullable=False) for name, kind in columns.items()]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with ParquetWriter(path, schema) as writer:
        while batch := list(islice(rows, _BATCH)):
            writer.write_table(pyarrow.Table.from_pylist(batch, schema=schema))
            count += len(batch)
        if not count:
            writer.write_table(schema.empty_table())
    return count


# --- synthetic training data ----------------------------------------------------------------------------------------


def _synthetic_configs(domain: Domain) -> list[Config]:
    """The tables of the synthetic set.

    Raises:
        BenchError: There is no such set.
    """
    path = domain.synthetic / MANIFEST
    if not path.is_file():
        raise BenchError(f"{shown(domain.synthetic)}: no synthetic data; make them with: domainbench generate")
    return configs_of(read_json(path)["facts"]["rows"])


def _synthetic_items(project: Project, domain: Domain, configs: list[Config]) -> Iterator[Item]:
    """The tables and the card with what it shows."""
    tables = {file for config in configs for file in config.files.values()}
    for path in files_of(domain.synthetic, project.results.parent):
        place = f"{SYNTHETIC}/{path.relative_to(domain.synthetic).as_posix()}"
        if path.name in tables or path.suffix == ".png":
            yield Item.of_file(place, path)
        elif path.suffix == ".md":
            yield Item.of_text(place, without_home(path.read_text(encoding="utf-8"), project.root), shown(path))


def _source_note(domain: Domain) -> str | None:
    """A word where the synthetic set's passages are not the documents'."""
    settings: Any = read_json(domain.synthetic / MANIFEST).get("settings", {})
    source = settings.get("source") or {}
    if source.get("dataset"):
        named = source["dataset"].get("hub") or source["dataset"].get("path")
        return f"the synthetic set's passages come from {named}, whose licence may be another than the documents'"
    return None
