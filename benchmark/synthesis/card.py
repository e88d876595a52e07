"""The data card: README.md as the Hugging Face Hub shows it, examples to look at, a picture, the field's terms."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from markupsafe import Markup

from benchmark.escape import md
from benchmark.files import Json, dump_yaml, write_jsonl, write_text
from benchmark.pages import flat_facts, markdown_templates
from benchmark.records import Chunk
from benchmark.specs import RULES
from benchmark.synthesis.card_header import configs_of, header
from benchmark.synthesis.draft import Draft, Dropped, seeded
from benchmark.synthesis.picture import CAPTION, kind_of, write_picture

CARD, EXAMPLES, PICTURE, TERMS = "README.md", "examples.md", "picture.png", "terms.jsonl"
_TEMPLATES = Path(__file__).parent / "templates"
_KEPT_SHOWN, _DROPPED_SHOWN, _TERMS_SHOWN = 20, 10, 30
_TEXT_SHOWN = 700  # characters of a passage
_TABLES: Final = {
    "triplets": "anchor (query), positive, negative; a row for each negative",
    "ntuples": "anchor, positive, negative_1, negative_2, ...; a row for each query",
    "pairs": "anchor, positive (a passage), label (1: made from it, 0: mined negative), score (the teacher's, 0 to 1)",
    "rag": "context, question, response, positive_retrieval, negative_retrieval, positive_reranking, "
    "negative_reranking, as argilla's synthetic-data-generator has them",
}


@dataclass(frozen=True)
class CardInput:
    """What a data card tells.

    The same input gives the same bytes, so nothing in it may depend on time, nor on whether an answer was asked for
    now or found in the journal.

    Attributes:
        title: The domain's.
        licence: Of the documents.
        language: ISO 639-3 and the script, e.g. "eng-Latn".
        passages: A sentence on where the passages come from.
        chunks: The passages.
        kept: The kept queries, at least one.
        dropped: What was removed.
        rows: What `write_all` returned.
        asked: Purpose -> model, failures, tokens and money, as `Asker.facts`.
        filters: What `run_filters` found: `leak` {test_questions, kind of leak -> queries}, `off`, `not_asked`,
            `relaxed`; each may be missing.
        negatives: What `Mined.facts` returned.
        rag: What `Rag.facts` returned.
        facts: Further findings, shown as they are.
        prompts: Prompt -> hash of its text.
        edited: Prompts that are not the package's own.
        retriever: Name of the bi-encoder of the round trip and the negatives.
        teacher: Who scored the pairs.
        development_by: What the development split keeps together, e.g. "document".
        coverage: The field's terms: {term, kind, expansion, chunks, questions, queries}.
        seed: For everything that was drawn, the examples too.
    """

    title: str
    licence: str
    language: str
    passages: str
    chunks: Sequence[Chunk]
    kept: Sequence[Draft]
    dropped: Sequence[Dropped]
    rows: Json
    asked: Json
    filters: Json
    negatives: Json
    rag: Json
    facts: Json
    prompts: Json
    edited: Sequence[str]
    retriever: str
    teacher: str
    development_by: str
    coverage: Sequence[Json]
    seed: int

    @property
    def written(self) -> int:
        """Queries before the filters."""
        return len(self.kept) + len(self.dropped)


def write_card(folder: Path, data: CardInput) -> None:
    """Write README.md, examples.md, picture.png and terms.jsonl (the rows of `coverage`) into a data set's folder.

    Args:
        folder: Where `write_all` wrote.
        data: What to tell.
    """
    funnel, configs = _funnel(data), configs_of(data.rows)
    environment = markdown_templates(_TEMPLATES)
    card = environment.get_template("card.md.jinja").render(
        data=data,
        header=Markup(dump_yaml(header(data.title, data.licence, data.language, len(data.kept), configs))),  # noqa: S704 (the dumper has quoted what needs it)
        picture=Markup("![{}]({})").format(md(CAPTION), PICTURE),
        configs=configs,
        about=_TABLES,
        funnel=funnel,
        origins=_shares(data, lambda draft: draft.origin),
        types=_shares(data, kind_of),
        difficulties=_shares(data, lambda draft: draft.difficulty),
        personas=_shares(data, lambda draft: draft.persona),
        generators=[_generator(purpose, facts) for purpose, facts in data.asked.items()],
        terms=_terms(data.coverage),
        responses=data.rag.get("responses", {}),
        flat=flat_facts,
    )
    write_text(folder / CARD, card)
    write_text(folder / EXAMPLES, environment.get_template("examples.md.jinja").render(**_examples(data)))
    write_picture(folder / PICTURE, data.kept, data.dropped, {step.rule: step.dropped for step in funnel})
    write_jsonl(folder / TERMS, data.coverage)


# --- counts ---------------------------------------------------------------------------------------------------------


class _Step(NamedTuple):
    """A rule's part in the funnel; shares are of all queries that were written."""

    rule: str
    before: int
    dropped: int
    kept: int
    share: float


def _funnel(data: CardInput) -> list[_Step]:
    """The rules that dropped something, in the order in which they are asked; what is no filter comes first."""
    counted = Counter(item.rule for item in data.dropped)
    order = [*sorted(counted.keys() - set(RULES)), *(rule for rule in RULES if counted[rule])]
    steps, before = [], data.written
    for rule in order:
        steps.append(_Step(rule, before, counted[rule], before - counted[rule], counted[rule] / data.written))
        before -= counted[rule]
    return steps


class _Share(NamedTuple):
    """How many queries of a kind were written and kept."""

    name: str
    written: int
    kept: int
    share: float


def _shares(data: CardInput, kind: Callable[[Draft], str]) -> list[_Share]:
    """For each kind, the most frequent first; queries without one are left out."""
    kept = Counter(kind(draft) for draft in data.kept)
    written = kept + Counter(kind(item.draft) for item in data.dropped)
    order = sorted((name for name in written if name), key=lambda name: (-written[name], name))
    return [_Share(name, written[name], kept[name], kept[name] / written[name]) for name in order]


def _generator(purpose: str, facts: Json) -> Json:
    """What a language model did for one purpose; where its answers came from (model or journal) is no matter here."""
    answered = sum(facts.get(place, 0) for place in ("asked", "journal", "replay"))
    usage = {name: facts.get(name, "unknown") for name in ("input_tokens", "output_tokens", "usd")}
    return {"purpose": purpose, "model": facts["model"], "answered": answered, "failures": facts["failures"], **usage}


def _terms(coverage: Sequence[Json]) -> Json:
    """How many of the field's terms no question speaks of, and the first of them."""
    never = [row["term"] for row in coverage if not row["questions"]]
    return {"count": len(coverage), "never": len(never), "named": never[:_TERMS_SHOWN]}


# --- examples -------------------------------------------------------------------------------------------------------


def _examples(data: CardInput) -> Json:
    """A few kept and dropped queries, drawn at random."""

    def drawn(count: int, wanted: int, name: str) -> list[int]:
        return sorted(seeded(data.seed, "examples", name).sample(range(count), min(wanted, count)))

    def row(draft: Draft) -> Json:
        chunk = data.chunks[draft.chunk]
        asked = [draft.origin, draft.type, draft.difficulty, draft.persona]
        return {
            "query": draft.text,
            "asked": ", ".join(word for word in asked if word),
            "heading": chunk.heading,
            "passage": md(chunk.text, _TEXT_SHOWN),
            "answer": draft.answer,
        }

    kept = [row(data.kept[number]) for number in drawn(len(data.kept), _KEPT_SHOWN, "kept")]
    gone = [data.dropped[number] for number in drawn(len(data.dropped), _DROPPED_SHOWN, "dropped")]
    dropped = [{**row(item.draft), "rule": item.rule, "score": item.score} for item in gone]
    return {"data": data, "kept": kept, "dropped": dropped}
