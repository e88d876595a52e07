"""The model card: README.md in every folder that training writes, as the Hugging Face Hub shows it.

Titles, licences and names of the user's are data: whatever the template prints is escaped for Markdown.
"""

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from benchmark.escape import code, md
from benchmark.files import Json, dump_yaml, iter_jsonl, read_json, write_text
from benchmark.licences import hub_licence
from benchmark.pages import flat_facts, markdown_templates
from benchmark.project import Domain, Project
from benchmark.provenance import MANIFEST, code_state, package_versions
from benchmark.specs import AdapterRun, BiEncoderRun, CrossEncoderRun
from benchmark.stats import Floats
from benchmark.training.card_figures import choice_rows, compared, development_rows
from benchmark.training.licences import Lineage, caution
from benchmark.training.wording import loss_in_words, usage

_TEMPLATES: Final = Path(__file__).parent / "templates"
_TOLD: Final = frozenset({"pairs", "development", "choice"})
_LONGEST: Final = 20  # values of a list that a card shows
_VECTORS: Final = "It turns queries and passages into vectors whose cosine says how well they fit."
_UNITS: Final = {
    "adapter": "queries, each with its passage,",
    "bi-encoder": "queries, each with its passage,",
    "cross-encoder": "pairs of a query and a passage, labelled relevant or not,",
}
_ABOUT: Final = {
    "adapter": "A linear adapter on {base}, trained on synthetic queries of the domain {title}: {more}.",
    "bi-encoder": f"A bi-encoder: {{base}}, fine-tuned on synthetic queries of the domain {{title}}. {_VECTORS}",
    "mixture": "A bi-encoder: {base}, fine-tuned on synthetic queries of the domain {title}, and averaged weight by "
    f"weight with what it was before{{more}}. {_VECTORS}",
    "cross-encoder": "A reranker: {base}, fine-tuned on synthetic queries of the domain {title}. It reads a query and "
    "a passage together and gives the pair a score.",
}


@dataclass(frozen=True)
class Card:
    """What a model card tells.

    Attributes:
        domain: Whose synthetic data were used.
        run: The settings.
        seed: For everything random.
        facts: What the trainer returns: `pairs`, `development` {queries or pairs, before, after, perhaps unit: what
            they are}, perhaps `choice` (`Choice.to_json`); everything else is shown as it is.
        mixed: Whether this is the mixture with the base, not the tuned model itself; its share is the fact
            `saved_share`.
        before: nDCG@10 of each development query under the base, where known: intervals are then given.
        after: The same under this model.
    """

    domain: Domain
    run: AdapterRun | BiEncoderRun | CrossEncoderRun
    seed: int
    facts: Json
    mixed: bool = False
    before: Floats | None = None
    after: Floats | None = None

    @property
    def name(self) -> str:
        """Of the model spec."""
        return f"{self.run.name}-mixed" if self.mixed else self.run.name


def write_card(project: Project, target: Path, card: Card) -> None:
    """Write README.md into a model's folder and copy the licence files of its base.

    The same facts give the same bytes on the same machine. README.md is no part of a model's fingerprint.

    Args:
        project: Where the base's spec stands.
        target: The folder; the weights must be in it already.
        card: What to tell.

    Raises:
        BenchError: The folder of the base is not there.
    """
    lineage = Lineage.of(project, card.run.base)
    whole = (target / "modules.json").is_file()
    legal = lineage.copy_legal(project, target) if whole else []
    domain, facts = card.domain.spec, card.facts
    warnings = [
        caution(f"Base {card.run.base}", lineage.licence),
        caution(f"Documents of {domain.title}", domain.licence),
    ]
    text = (
        markdown_templates(_TEMPLATES)
        .get_template("model_card.md.jinja")
        .render(
            header=Markup(dump_yaml(_front(card, lineage, whole))),  # noqa: S704 (the dumper has quoted what needs it)
            name=card.name,
            about=_about(card),
            cautions=[line for line in warnings if line],
            usage=usage(card.run, lineage.source, target),
            pairs=facts["pairs"],
            unit=_UNITS[card.run.kind],
            title=domain.title,
            language=domain.language,
            data=_data(card.domain),
            loss=loss_in_words(card.run, facts),
            settings=_settings(card),
            development=development_rows(facts["development"]),
            compared=compared(card.before, card.after, card.seed),
            choice=choice_rows(facts.get("choice"), facts.get("saved_share")),
            further=list(_further(facts)),
            provenance=list(_provenance(lineage)),
            base=card.run.base,
            licence=lineage.licence,
            documents_licence=domain.licence,
            legal=legal,
        )
    )
    write_text(target / "README.md", text)


def _front(card: Card, lineage: Lineage, whole: bool) -> Json:
    """The metadata that the Hub reads."""
    reranker = card.run.kind == "cross-encoder"
    tags = {
        "adapter": ["feature-extraction", "linear-adapter"],
        "bi-encoder": ["feature-extraction", *(["merge"] if card.mixed else [])],
        "cross-encoder": ["cross-encoder", "reranker"],
    }[card.run.kind]
    return {
        "language": [hub_language(card.domain.spec.language)],
        **hub_licence(lineage.licence),
        **({"library_name": "sentence-transformers"} if whole else {}),
        "pipeline_tag": "text-ranking" if reranker else "sentence-similarity",
        "tags": ["sentence-transformers", *tags, "synthetic", "domainbench"],
        **({"base_model": lineage.hub} if lineage.hub else {}),
    }


def hub_language(language: str) -> str:
    """The language as the Hub has it: ISO 639-1 where there is such a code, ISO 639-3 otherwise.

    >>> hub_language("eng-Latn"), hub_language("nds-Latn")
    ('en', 'nds')
    """
    from lingua import IsoCode639_3, Language

    name = language.partition("-")[0]
    try:
        known = Language.from_iso_code_639_3(IsoCode639_3.from_str(name.upper()))
    except ValueError:
        return name
    return str(known.iso_code_639_1.name.lower())


def _about(card: Card) -> Markup:
    """What the model is, in two sentences."""
    words = _ABOUT["mixture" if card.mixed else card.run.kind]
    more = ""
    if isinstance(card.run, AdapterRun):
        both = card.run.sides == "both"
        more = f"a matrix for queries{' and one for documents' if both else '; documents keep the vectors of the base'}"
    elif card.mixed:
        more = f": share {card.facts['saved_share']:g} of the tuned weights"
    return Markup(words).format(base=code(card.run.base), title=md(card.domain.spec.title), more=more)  # noqa: S704


def _settings(card: Card) -> list[tuple[str, str]]:
    """Every setting of the run, and the seed."""
    told = {
        name: "not set" if value is None else value
        for name, value in card.run.effective.items()
        if name not in {"name", "kind", "base"}
    }
    return [("base", card.run.base), *_rows(told), ("seed", str(card.seed))]


def _rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Facts for a table; long lists are counted."""
    return list(flat_facts(_short(facts)))


def _short(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _short(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple) and len(value) > _LONGEST:
        return f"{len(value)} values"
    return value


# --- data -----------------------------------------------------------------------------------------------------------


def _data(domain: Domain) -> Json:
    """What is known of the synthetic queries: counts by kind, who wrote them, and where the passages came from."""
    manifest = domain.synthetic / MANIFEST
    known = read_json(manifest) if manifest.is_file() else {}
    facts, source = known.get("facts", {}), known.get("settings", {}).get("source") or {}
    asked = dict(facts.get("llm", {}))
    passages = "Their passages are cut from the domain's own documents."
    if source.get("prompt"):
        passages = "Their passages were written by a language model; no document stands behind them."
        written = domain.source / MANIFEST
        asked |= read_json(written).get("facts", {}).get("llm", {}) if written.is_file() else {}
    elif source.get("dataset"):
        dataset = source["dataset"]
        passages = f"Their passages come from the data set {dataset.get('hub') or dataset.get('path')}."
    return {
        "known": bool(facts),
        "origins": _origins(domain),
        "writers": [
            {"purpose": purpose, "model": row["model"]}
            for purpose, row in asked.items()
            if isinstance(row, dict) and "model" in row
        ],
        "passages": passages,
        "by": facts.get("development_by"),
    }


def _origins(domain: Domain) -> list[Json]:
    """How many kept queries of each kind there are in either split, the most frequent first."""
    path = domain.synthetic / "queries.jsonl"
    counts: dict[str, dict[str, int]] = {}
    for row in iter_jsonl(path) if path.is_file() else ():
        of_kind = counts.setdefault(row.get("origin", "unknown"), {"train": 0, "dev": 0})
        of_kind[row.get("split", "train")] += 1
    return [
        {"name": name, **row} for name, row in sorted(counts.items(), key=lambda item: (-item[1]["train"], item[0]))
    ]


# --- the rest -------------------------------------------------------------------------------------------------------


def _further(facts: Json) -> Iterator[tuple[str, str]]:
    """Whatever else the trainer found: steps, loss, seconds, memory."""
    development = {
        name: value
        for name, value in facts["development"].items()
        if name not in {"queries", "pairs", "unit", "before", "tuned", "after"}
    }
    rest = {name: value for name, value in facts.items() if name not in _TOLD}
    yield from _rows({**rest, **({"development": development} if development else {})})


def _provenance(lineage: Lineage) -> Iterator[tuple[str, str]]:
    """Base, code, machine and packages."""
    yield "base's weights", lineage.where
    if lineage.source.revision:
        yield "base's revision", lineage.source.revision
    state = code_state()
    if state.get("commit"):
        yield "domainbench's commit", state["commit"] + (", with changes" if state.get("dirty") else "")
    yield "trained on", hardware()
    yield "Python", platform.python_version()
    yield from package_versions().items()


def hardware() -> str:
    """The machine in words: GPUs by name, or the processor's kind and number of cores."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}, {platform.system()}"
    chip = "Apple GPU" if torch.backends.mps.is_available() else "no GPU"
    return f"{chip}, {os.cpu_count()} cores {platform.machine()}, {platform.system()}"
