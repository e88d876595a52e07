"""`domainbench export haystack`: a pipeline with its models and documents in a folder that needs nothing of domainbench."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from benchmark.answers.ask import chosen_pipelines
from benchmark.errors import BenchError
from benchmark.export.components import Graph, component, search_graph
from benchmark.export.prompt import NO_KEY, generator, mark_of, messages, shown_text
from benchmark.files import (
    Json,
    dump_yaml,
    files_below,
    hash_file,
    replacing,
    shown,
    write_jsonl,
    write_text,
)
from benchmark.pages import markdown_templates
from benchmark.project import Domain, Project
from benchmark.records import Chunk, read_chunks
from benchmark.specs import AnswersSpec, BenchmarkSpec, Endpoint, LLMSpec

_FILES: Final = Path(__file__).parent / "files"
_REQUIREMENTS: Final = "haystack-ai>=3.4,<4\nsentence-transformers-haystack>=2,<3\n"
_MADE: Final = "pipeline.yaml"
_LEFT: Final = ("manifest.json", "trained_chunks.json")
"""Files of a model's folder that are only of use to domainbench."""
_TOP_K: Final = 5
"""Passages where the benchmark file has no `answers`."""
_MOST: Final = 4000
"""Characters of a passage that a language model reads, where the benchmark file has no `answers`."""


def export_haystack(
    project: Project, domain: Domain, benchmark: BenchmarkSpec, pipeline: str, folder: Path | None = None
) -> Iterator[str]:
    """Write a folder with a Haystack pipeline, its models, the documents and a script that asks it.

    Args:
        project: Where specs and weights are.
        domain: Whose chunks go along.
        benchmark: Its `answers` name the language model, the prompt and how many passages it gets.
        pipeline: A letter (A is the baseline) or a model spec.
        folder: Where to; must be empty, not there, or an earlier export. By default `haystack-<model spec>`.

    Yields:
        What to tell.

    Raises:
        BenchError: Something cannot be expressed in Haystack, the folder holds something else, or nothing was ingested.
    """
    (name,) = chosen_pipelines(project, benchmark, [pipeline])
    folder = folder or Path(f"haystack-{name}")
    _check_folder(folder)
    path = domain.chunks / "chunks.jsonl"
    if not path.is_file():
        raise BenchError(f"{shown(path)}: no such file; make it with: domainbench ingest")
    chunks = read_chunks(path)
    answers = benchmark.answers
    index = f"{name}-{hash_file(path)[:12]}"
    graph, last = search_graph(project, name, answers.top_k if answers else _TOP_K, index)
    with replacing(folder) as temporary:
        _copy_models(graph, temporary / "models")
        write_jsonl(temporary / "documents.jsonl", _documents(chunks, answers))
        context = _context(domain, benchmark, name, graph, last, chunks)
        _write_pipelines(temporary, project, graph, last, answers)
        context["size"] = _size(temporary / "models")
        _write_words(temporary, context)
    yield f"{shown(folder)}: {name} as a Haystack pipeline, {len(chunks)} passages, {_size(folder)} in all"
    for note in graph.notes:
        yield f"note: {note}"
    if context["no_answers"]:
        yield f"note: {context['no_answers']}"
    yield f'try it: pip install -r {shown(folder)}/requirements.txt && python {shown(folder)}/answer.py "a question"'


def _check_folder(folder: Path) -> None:
    """See to it that nothing of the user's is overwritten.

    Raises:
        BenchError: The folder is a file, or holds something that is no export.
    """
    if folder.exists() and not folder.is_dir():
        raise BenchError(f"--to: {shown(folder)} is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _MADE).is_file():
        raise BenchError(f"--to: {shown(folder)} is not empty and no earlier export; name another folder")


def _endpoint(answers: AnswersSpec | None) -> Endpoint | None:
    return answers.llm.endpoint if answers is not None else None


# --- files ----------------------------------------------------------------------------------------------------------


def _copy_models(graph: Graph, target: Path) -> None:
    for name, source in graph.models.items():
        for path in files_below(source):
            if path.name not in _LEFT:
                copy = target / name / path.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)  # a link into a cache becomes a file


def _documents(chunks: Sequence[Chunk], answers: AnswersSpec | None) -> Iterator[Json]:
    """Passages as Haystack's documents: the content is what was encoded and indexed here."""
    most = answers.max_characters if answers is not None else _MOST
    for chunk in chunks:
        meta = {"document": chunk.document, "title": chunk.title, "heading": chunk.heading}
        if _endpoint(answers) is not None:
            meta |= {"shown": shown_text(chunk, most), "mark": mark_of(chunk, most)}
        yield {"id": chunk.id, "content": chunk.full_text, "meta": meta}


def _write_pipelines(folder: Path, project: Project, graph: Graph, last: str, answers: AnswersSpec | None) -> None:
    writer = component(
        "haystack.components.writers.document_writer.DocumentWriter", document_store=graph.store, policy="OVERWRITE"
    )
    first = [{"sender": f"{name}.documents", "receiver": "writer.documents"} for name in graph.embedders]
    write_text(folder / "index.yaml", _yaml({**graph.embedders, "writer": writer}, first))
    endpoint = _endpoint(answers)
    if answers is not None and endpoint is not None:
        _add_answers(graph, project, answers, endpoint, last)
    write_text(folder / _MADE, _yaml(graph.components, graph.connections))


def _add_answers(graph: Graph, project: Project, answers: AnswersSpec, endpoint: Endpoint, last: str) -> None:
    llm: LLMSpec = answers.llm
    kind = "haystack.components.builders.chat_prompt_builder.ChatPromptBuilder"
    builder = graph.add("prompt", kind, template=messages(project, answers), required_variables="*")
    kind = "haystack.components.generators.chat.openai.OpenAIChatGenerator"
    graph.add("generator", kind, **generator(llm, endpoint))
    graph.inputs[builder] = "question"
    graph.connect(f"{last}.documents", f"{builder}.documents")
    graph.connect(f"{builder}.prompt", "generator.messages")


def _yaml(components: Json, connections: Sequence[Json]) -> str:
    # Through JSON: a part that stands twice is written twice, not as a YAML alias.
    return dump_yaml(json.loads(json.dumps({"components": components, "connections": list(connections)})))


# --- words ----------------------------------------------------------------------------------------------------------


def _context(
    domain: Domain, benchmark: BenchmarkSpec, name: str, graph: Graph, last: str, chunks: Sequence[Chunk]
) -> dict[str, Any]:
    answers, endpoint = benchmark.answers, _endpoint(benchmark.answers)
    why = ""
    if answers is None:
        why = "The benchmark file has no 'answers', so the pipeline finds passages and answers nothing."
    elif endpoint is None:
        why = (
            "The language model of the benchmark file runs inside of domainbench, so the pipeline finds passages only."
        )
    return {
        "pipeline": name,
        "title": domain.spec.title,
        "licence": domain.spec.licence,
        "passages": len(chunks),
        "models": ", ".join(graph.models) or "none is needed",
        "notes": graph.notes,
        "top_k": answers.top_k if answers is not None else _TOP_K,
        "answers": endpoint is not None,
        "no_answers": why,
        # Names of variables are letters, digits and low lines, and stand in code, which shows an escape as it is.
        "key": Markup(key) if endpoint is not None and (key := endpoint.api_key_env) else None,  # noqa: S704
        "no_key": Markup(NO_KEY) if endpoint is not None and not endpoint.api_key_env else None,  # noqa: S704
        "model": endpoint.model if endpoint is not None else "",
        "base_url": endpoint.base_url if endpoint is not None else "",
        "first": next(iter(graph.embedders), "writer"),
        "last": last,
        "graph": graph,
    }


def _write_words(folder: Path, context: dict[str, Any]) -> None:
    templates = markdown_templates(_FILES)
    write_text(folder / "README.md", templates.get_template("README.md.jinja").render(context))
    inputs = {name: Markup(value) for name, value in context["graph"].inputs.items()}  # noqa: S704 (our own names)
    script = templates.get_template("answer.py.jinja").render(
        {**context, "inputs": Markup(json.dumps(inputs))}  # noqa: S704
    )
    write_text(folder / "answer.py", script)
    write_text(folder / "requirements.txt", _REQUIREMENTS)


def _size(folder: Path) -> str:
    """The files below a folder in megabytes."""
    total = sum(path.stat().st_size for path in files_below(folder)) if folder.is_dir() else 0
    return f"{total / 1e6:,.1f} MB"
