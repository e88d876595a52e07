"""Domains as MTEB tasks: `<Domain>Retrieval` and `<Domain>Reranking`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmark.errors import BenchError
from benchmark.files import hash_json, iter_jsonl
from benchmark.project import Domain, source_hash
from benchmark.records import Chunk, TestSet, read_chunks, read_testset

TaskKind = Literal["retrieval", "reranking"]
TASK_KINDS: tuple[TaskKind, ...] = ("retrieval", "reranking")
# mteb's own grid without 1000: its bookkeeping at that depth costs more than the search.
K_VALUES = (1, 3, 5, 10, 20, 100)
# Licences that mteb's metadata knows by name, among those that documents usually carry; others go unnamed.
_LICENCES = frozenset(
    {"apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-3.0", "cc-by-sa-4.0", "cc-by-sa-3.0", "cc-by-nc-4.0",
     "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "bsd-3-clause", "gpl-3.0"}
)  # fmt: skip


@dataclass(frozen=True)
class TaskData:
    """What an MTEB task is filled with; `candidates` only for reranking."""

    chunks: Sequence[Chunk]
    testset: TestSet
    candidates: dict[str, list[str]] | None


Loader = Callable[[Domain, TaskKind], TaskData]


def task_name(domain: Domain, kind: TaskKind) -> str:
    """`structured_finance`, `retrieval` -> `StructuredFinanceRetrieval`."""
    return domain.task_name + kind.capitalize()


def read_task_data(domain: Domain, kind: TaskKind) -> TaskData:
    """Read what the ingest, testset and candidates stages wrote."""
    candidates = None
    if kind == "reranking":
        rows = iter_jsonl(domain.candidates / "candidates.jsonl")
        candidates = {row["query"]: row["chunks"] for row in rows}
    return TaskData(read_chunks(domain.chunks / "chunks.jsonl"), read_testset(domain.testset), candidates)


def task_class(domain: Domain, kind: TaskKind, loader: Loader, k_values: Sequence[int] = K_VALUES) -> type[Any]:
    """An `AbsTaskRetrieval` subclass for a domain; its data are loaded when mteb asks for them.

    Args:
        domain: The domain.
        kind: Which of its two tasks.
        loader: Brings the data; it may have to make them first.
        k_values: Cut-offs of the metrics; the largest is the depth that is retrieved.

    Raises:
        BenchError: domain.yaml holds a language or an MTEB domain that mteb does not know.
    """
    from mteb.abstasks import AbsTaskRetrieval

    def load_data(self: Any, num_proc: int | None = None, *, timer: Any = None, **kwargs: Any) -> None:
        if self.data_loaded:
            return
        self.dataset = {"default": {"test": _split_data(loader(domain, kind))}}
        self.dataset_transform(num_proc=num_proc)
        self.data_loaded = True

    body = {
        "__doc__": f"{domain.spec.title} ({kind}).",
        "metadata": _metadata(domain, kind),
        "k_values": tuple(k_values),
        "load_data": load_data,
    }
    return type(task_name(domain, kind), (AbsTaskRetrieval,), body)


def _metadata(domain: Domain, kind: TaskKind) -> Any:
    from mteb.abstasks.task_metadata import TaskMetadata
    from pydantic import ValidationError

    licence = domain.spec.licence.lower()
    try:
        return TaskMetadata(
            name=task_name(domain, kind),
            description=domain.spec.description or domain.spec.title,
            dataset={"path": f"local/{domain.name}", "revision": hash_json([source_hash(domain), kind])[:40]},
            type=kind.capitalize(),
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=[domain.spec.language],
            main_score="ndcg_at_10",
            domains=domain.spec.mteb_domains or None,
            license=licence if licence in _LICENCES else None,
        )
    except ValidationError as error:
        lines = (f"tasks/{domain.name}/domain.yaml: mteb refuses {e['loc'][0]}: {e['msg']}" for e in error.errors())
        raise BenchError(*lines) from None


def _split_data(data: TaskData) -> Any:
    from datasets import Dataset
    from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData

    rows = [{"id": chunk.id, "title": chunk.heading, "text": chunk.text} for chunk in data.chunks]
    return RetrievalSplitData(
        corpus=Dataset.from_list(rows),
        queries=Dataset.from_list([{"id": query.id, "text": query.text} for query in data.testset.queries]),
        relevant_docs={query: dict(chunks) for query, chunks in data.testset.qrels.items()},
        top_ranked=data.candidates,
    )


def register(domains: Iterable[Domain], loader: Loader) -> list[str]:
    """Make the tasks of these domains known to `mteb.get_task`; returns their names.

    mteb has no public way to do this; its registry is touched here and nowhere else.

    Raises:
        BenchError: A name is mteb's own, or a domain.yaml does not fit mteb.
    """
    from mteb.get_tasks import _TASKS_REGISTRY

    names = []
    for domain in domains:
        for kind in TASK_KINDS:
            name = task_name(domain, kind)
            known = _TASKS_REGISTRY.get(name)
            if known is not None and not known.metadata.dataset["path"].startswith("local/"):
                raise BenchError(
                    f"tasks/{domain.name}/domain.yaml: mteb has a task {name} of its own; choose another 'task_name'"
                )
            _TASKS_REGISTRY[name] = task_class(domain, kind, loader)
            names.append(name)
    return names
