"""README.md and eval.yaml of a test set's repository."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from markupsafe import Markup

from benchmark.escape import one_line
from benchmark.files import Json, dump_yaml
from benchmark.pages import markdown_templates
from benchmark.project import Domain
from benchmark.synthesis.card_header import Config, header

CONFIGURATIONS: Final = ("corpus", "queries", "qrels")
"""The names that mteb and our own `hub:` look for. None is called `default`: mteb would take it for the judgements."""
SPLIT: Final = "test"
_TEMPLATES: Final = Path(__file__).parent / "templates"
_SIZES: Final = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


class Counts(NamedTuple):
    """Rows of each table; the queries with those that have no answer."""

    corpus: int
    queries: int
    qrels: int
    unanswerable: int


def table_path(configuration: str) -> str:
    """Where a table lies in the repository.

    >>> table_path("corpus")
    'corpus/test-00000-of-00001.parquet'
    """
    return f"{configuration}/{SPLIT}-00000-of-00001.parquet"


def dataset_card(domain: Domain, to: str, licence: str, counts: Counts, synthetic: Sequence[Config]) -> str:
    """README.md: what `datasets` and the Hub read, then what people read.

    Args:
        domain: Whose test set.
        to: The repository.
        licence: Of the documents.
        counts: How much there is.
        synthetic: Tables of the synthetic training set, where it goes along.
    """
    spec = domain.spec
    head = header(spec.title, licence, spec.language, counts.queries, [])
    front = {
        **head,
        "pretty_name": one_line(spec.title, 200),
        "task_categories": ["text-retrieval"],
        "tags": ["retrieval", "mteb", "text", "domainbench", *(["synthetic"] if synthetic else [])],
        "size_categories": [next((name for limit, name in _SIZES if counts.corpus < limit), "n>1M")],
        "configs": [
            *({"config_name": name, "data_files": [{"split": SPLIT, "path": table_path(name)}]} for name in CONFIGURATIONS),
            *(
                {
                    "config_name": f"synthetic-{config.name}",
                    "data_files": [{"split": s, "path": f"synthetic/{file}"} for s, file in config.files.items()],
                }
                for config in synthetic
            ),
        ],
    }  # fmt: skip
    return (
        markdown_templates(_TEMPLATES)
        .get_template("dataset_card.md.jinja")
        .render(
            header=Markup(dump_yaml(front)),  # noqa: S704 (the dumper has quoted what needs it)
            title=spec.title,
            description=spec.description,
            licence=licence,
            counts=counts,
            synthetic=synthetic,
            split=SPLIT,
            snippets=_snippets(domain, to),
        )
    )


def _snippets(domain: Domain, to: str) -> Json:
    """Code of the card. What is put in is made of letters, digits and a few signs, or is written as Python does."""
    name = f"{domain.task_name}Retrieval"
    load = f'from datasets import load_dataset\n\ncorpus = load_dataset("{to}", "corpus", split="{SPLIT}")\n'
    load += f'queries = load_dataset("{to}", "queries", split="{SPLIT}")\nqrels = load_dataset("{to}", "qrels", split="{SPLIT}")'
    title = repr(one_line(domain.spec.title, 200).replace("`", "'"))
    task = (
        "from mteb.abstasks import AbsTaskRetrieval\n"
        "from mteb.abstasks.task_metadata import TaskMetadata\n\n\n"
        f"class {name}(AbsTaskRetrieval):\n"
        "    metadata = TaskMetadata(\n"
        f'        name="{name}",\n'
        f"        description={title},\n"
        f'        dataset={{"path": "{to}", "revision": "main"}},  # better: a commit\n'
        '        type="Retrieval",\n'
        '        category="t2t",\n'
        '        modalities=["text"],\n'
        f'        eval_splits=["{SPLIT}"],\n'
        f'        eval_langs=["{domain.spec.language}"],\n'
        '        main_score="ndcg_at_10",\n'
        "    )"
    )
    spec = f"hub:\n  repository: {to}\n  revision: 0123456789abcdef0123456789abcdef01234567  # the commit\n  split: {SPLIT}"
    return {key: Markup(text) for key, text in (("load", load), ("task", task), ("hub", spec))}  # noqa: S704


def eval_yaml(domain: Domain) -> str:
    """`eval.yaml`: the task that models' evaluation results on this data set name."""
    return dump_yaml(
        {
            "name": one_line(domain.spec.title, 200),
            "description": one_line(domain.spec.description or domain.spec.title, 500),
            "evaluation_framework": "mteb",
            "tasks": [{"id": f"{domain.task_name}Retrieval", "split": SPLIT}],
        }
    )
