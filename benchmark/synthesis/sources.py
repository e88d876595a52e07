"""The source stage: passages from elsewhere than a domain's documents, to make training data from.

Texts of a data set become documents, which the ingest stage then cuts like a user's own; a data set with the columns
of argilla's synthetic-data-generator becomes passages and the questions that came with them; a description of the
domain becomes passages that a language model writes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmark.console import Reporter
from benchmark.errors import BenchError
from benchmark.escape import md
from benchmark.files import Json, hash_text, iter_jsonl, write_jsonl
from benchmark.llm.asking import LLM_NO_EFFECT, Asker
from benchmark.llm.opening import open_llm
from benchmark.llm.prompts import Prompts
from benchmark.project import Domain, Project
from benchmark.provenance import MANIFEST, Outcome, Stage, kept, run_stage
from benchmark.records import Chunk
from benchmark.specs import DatasetSource, GenerateSpec
from benchmark.synthesis.draft import Draft
from benchmark.synthesis.passages import PROMPTS, write_passages
from benchmark.synthesis.rag_columns import COLUMNS
from benchmark.synthesis.tables import check_columns, data_hash, named, open_table

STAGE: Final = Stage("source", 1)
CHUNKS, IMPORTED, DOCUMENTS = "chunks.jsonl", "imported.jsonl", "documents"
_KEPT_COLUMNS: Final = ("response", "negative_retrieval", "positive_reranking", "negative_reranking")


def make_source(
    project: Project, domain: Domain, spec: GenerateSpec, seed: int, reporter: Reporter, fresh: bool = False
) -> Outcome:
    """Fill `results/<domain>/source` from `spec.source`; skipped when nothing that matters has changed.

    A data set's texts: `documents/<row>.md`, for the ingest stage. Otherwise `chunks.jsonl` (records.Chunk), and for
    a data set of questions `imported.jsonl` {chunk, question, and what came with it} (see `read_imported`).

    Args:
        project: What local paths and prompts are relative to.
        domain: Whose training data; its journal keeps every answer.
        spec: With a `source`.
        seed: For what is drawn while topics are asked for.
        reporter: Where progress and notes go.
        fresh: Ask the language model anew.

    Returns:
        Facts: `holds` ("documents" or "chunks"), counts of rows, passages and of what was dropped and why.

    Raises:
        BenchError: The data set or the language model cannot be had, or nothing in it is of use.
        ValueError: The specification has no source.
    """
    if spec.source is None:
        raise ValueError("no source to make passages from")
    dataset = spec.source.dataset
    if dataset is not None:
        return run_stage(
            STAGE, domain.source, inputs={"data": data_hash(project, dataset)},
            settings=dataset.model_dump(mode="json"),
            build=lambda folder: _from_dataset(folder, project, dataset), reporter=reporter,
            label=f"source {domain.name}",
        )  # fmt: skip
    return _from_prompt(project, domain, spec, seed, reporter, fresh)


def read_imported(folder: Path, chunks: Sequence[Chunk]) -> list[Draft]:
    """The questions that came with a data set, in its order; none where the source has none.

    Args:
        folder: Of the source stage.
        chunks: The passages; questions about others are left out.
    """
    path = folder / IMPORTED
    if not path.is_file():
        return []
    places = {chunk.id: place for place, chunk in enumerate(chunks)}
    return [
        Draft(row["question"], place, "imported", chunks[place].full_text, answer=row["response"])
        for row in iter_jsonl(path)
        if (place := places.get(row["chunk"])) is not None
    ]


@dataclass(frozen=True)
class _Order:
    """What passages are written from, and what decides them."""

    prompts: Prompts
    inputs: dict[str, str]
    settings: Json

    @classmethod
    def of(cls, project: Project, domain: Domain, spec: GenerateSpec, seed: int) -> "_Order":
        assert spec.llm is not None and spec.source is not None and spec.source.prompt is not None  # noqa: S101
        prompts = Prompts(project.root / spec.prompts if spec.prompts else None)
        settings = {
            **spec.source.prompt.model_dump(mode="json"),
            "llm": spec.llm.model_dump(mode="json", exclude=LLM_NO_EFFECT),
            "prompts": {name: prompts.hashes[name] for name in PROMPTS},
            "seed": seed,
        }
        return cls(prompts, {"llm": open_llm(spec.llm, project, domain.batches).identity}, settings)


def passages_are_written(project: Project, domain: Domain, spec: GenerateSpec, seed: int) -> bool:
    """Whether `make_source` would find the passages of a description as they are wanted, and ask nobody."""
    order = _Order.of(project, domain, spec, seed)
    return kept(STAGE, domain.source, STAGE.fingerprint(order.inputs, order.settings)) is not None


def _from_prompt(
    project: Project, domain: Domain, spec: GenerateSpec, seed: int, reporter: Reporter, fresh: bool
) -> Outcome:
    assert spec.llm is not None and spec.source is not None and spec.source.prompt is not None  # noqa: S101
    llm, source = spec.llm, spec.source.prompt
    order = _Order.of(project, domain, spec, seed)
    if fresh:
        # Without its manifest the stage is made again, even when this run is killed and started without `fresh`.
        (domain.source / MANIFEST).unlink(missing_ok=True)
    with Asker(project, domain, reporter, fresh, order.prompts) as asker:

        def build(folder: Path) -> Json:
            written, facts = write_passages(source, llm, asker, order.prompts, seed, reporter)
            write_jsonl(folder / CHUNKS, (chunk.to_json() for chunk in written))
            return {"holds": "chunks", **facts, "llm": asker.facts}

        outcome = run_stage(
            STAGE, domain.source, inputs=order.inputs, settings=order.settings, build=build, reporter=reporter,
            label=f"source {domain.name}",
        )  # fmt: skip
        if not outcome.skipped:
            asker.finish()
    return outcome


def _from_dataset(folder: Path, project: Project, source: DatasetSource) -> Json:
    with open_table(project, source) as table:
        build = _texts if source.columns == "text" else _questions
        facts = build(folder, source, table)
    return {"data": named(source), **facts}


def _kind(table: Any, column: str) -> str:
    """What a column holds, in the words of its file."""
    feature = table.features[column]
    return str(getattr(feature, "dtype", type(feature).__name__))


# --- texts ----------------------------------------------------------------------------------------------------------


def _texts(folder: Path, source: DatasetSource, table: Any) -> Json:
    wanted = list(dict.fromkeys([source.text, *([source.title] if source.title is not None else [])]))
    check_columns(source, table.column_names, wanted)
    written = empty = 0
    for number, row in enumerate(table.select_columns(wanted)):
        title = row[source.title] if source.title is not None else None
        document = _document(number, _cleaned(row[source.text]), _cleaned(str(title)) if title is not None else "")
        if document is None:
            empty += 1
            continue
        path = folder / DOCUMENTS / document.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document.content, encoding="utf-8", newline="\n")
        written += 1
    if not written:
        raise BenchError(
            f"source.dataset: {named(source)}: the column '{source.text}' ({_kind(table, source.text)}) "
            f"holds no text in any of its {len(table)} rows"
        )
    return {"holds": "documents", "rows": len(table), "documents": written, "empty": empty}


class _Document(NamedTuple):
    """A file for the ingest stage: its name and content."""

    name: str
    content: str


_FRONT = re.compile(r"---[ \t]*\n[\w-]+[ \t]*:.*?\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_ATX = re.compile(r"^ {0,3}#{1,6}(?:[ \t].*)?$", re.MULTILINE)
_SUBHEADING = re.compile(r"^#{2,6}[ \t]+\S", re.MULTILINE)
_UNDERLINED = re.compile(r"^.*\S.*\n {0,3}(?:=+|-+)[ \t]*$", re.MULTILINE)
_FIRST_LEVEL = re.compile(r"^# +\S", re.MULTILINE)
_MARKS = re.compile(r"^[\s#>*+\-=|]+")
_TITLE_WORDS = 8
_NAME_BYTES = 150


def _cleaned(value: object) -> str:
    """A text that can be written as UTF-8, with Unix line ends; empty for what is no text."""
    if not isinstance(value, str):
        return ""
    text = value.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    return text.encode("utf-8", "replace").decode("utf-8")


def _document(number: int, text: str, title: str) -> _Document | None:
    """A row as a file whose title the ingest stage reads, and whose text it takes as it is.

    Markdown keeps its headings; other text gets its title as a first-level heading. Text that is no Markdown but has
    lines that Markdown takes for headings (a comment in a script, an underlined word) becomes a plain text file: its
    title is the file's name.

    Returns:
        None where there is no text, or none below its headings.
    """
    front = _FRONT.match(text)
    start = front.end() if front else 0
    body = text[start:]
    begun = body.lstrip().startswith("# ")
    # Several first-level headings and none below them are more likely comments.
    markdown = bool(_SUBHEADING.search(body)) or (begun and len(_FIRST_LEVEL.findall(body)) == 1)
    if not any(map(str.isalnum, _ATX.sub("", body) if markdown else body)):
        return None
    title = " ".join(title.split())
    if not markdown and (front or _ATX.search(body) or _UNDERLINED.search(body)):
        return _Document(f"{number:08d}/{_file_name(title or _opening(body))}.txt", text)
    if begun and (not title or re.match(rf"\s*# +{re.escape(title)}[ \t]*(?:\n|$)", body)):
        return _Document(f"{number:08d}.md", text)
    return _Document(f"{number:08d}.md", f"{text[:start]}# {md(title or _opening(body))}\n\n{body}")


def _opening(text: str) -> str:
    """The first words of a text, in place of a title."""
    first = next(line for line in text.split("\n") if any(map(str.isalnum, line)))
    return " ".join(_MARKS.sub("", first).split()[:_TITLE_WORDS])


def _file_name(title: str) -> str:
    """A title as a file's name; the ingest stage turns it back into words."""
    plain = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]+', " ", title)
    short = plain.encode("utf-8")[:_NAME_BYTES].decode("utf-8", "ignore")
    return " ".join(short.split()).strip(" .~") or "text"


# --- questions ------------------------------------------------------------------------------------------------------


def _questions(folder: Path, source: DatasetSource, table: Any) -> Json:
    check_columns(source, table.column_names, COLUMNS[:2])
    present = [name for name in COLUMNS if name in table.column_names]
    dropped = dict.fromkeys(present, 0)
    chunks: dict[str, Chunk] = {}
    rows: dict[tuple[str, str], Json] = {}
    whole = 0
    for row in _whole_rows(table.select_columns(present), present, dropped):
        whole += 1
        chunk = _passage(row["context"])
        chunks.setdefault(chunk.id, chunk)
        kept = {name: row.get(name, "") for name in _KEPT_COLUMNS}
        rows.setdefault((chunk.id, row["question"]), {"chunk": chunk.id, "question": row["question"], **kept})
    if not rows:
        often = ", ".join(f"{name}: {count}" for name, count in dropped.items() if count) or "no rows"
        raise BenchError(f"source.dataset: {named(source)}: no row has text in every column (empty: {often})")
    write_jsonl(folder / CHUNKS, (chunk.to_json() for chunk in chunks.values()))
    write_jsonl(folder / IMPORTED, rows.values())
    return {
        "holds": "chunks",
        "rows": len(table),
        "passages": len(chunks),
        "questions": len(rows),
        "dropped_rows": len(table) - whole,
        "empty_by_column": dropped,
        "duplicates": whole - len(rows),
        "columns": present,
    }


def _whole_rows(table: Any, columns: Sequence[str], dropped: dict[str, int]) -> Iterator[Mapping[str, str]]:
    """Rows with text in every column; what others lack is counted by column."""
    for row in table:
        texts = {name: _cleaned(row[name]).strip() for name in columns}
        lacking = [name for name, text in texts.items() if not any(map(str.isalnum, text))]
        for name in lacking:
            dropped[name] += 1
        if not lacking:
            yield texts


def _passage(text: str) -> Chunk:
    name = f"passage-{hash_text(text)[:16]}"
    return Chunk(name, name, "", (), -1, -1, text)
