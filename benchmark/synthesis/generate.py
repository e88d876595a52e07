"""The generate stage: passages to synthetic training data and a development split."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from benchmark.console import SILENT, Reporter
from benchmark.encoders.adapter import open_encoder
from benchmark.encoders.pairs import PairScorer
from benchmark.encoders.store import KeptEncoder
from benchmark.files import Json, hash_file, hash_json, write_jsonl
from benchmark.llm.asking import LLM_NO_EFFECT, Asker, run_asking_stage
from benchmark.llm.journal import export_replay, open_journal
from benchmark.llm.opening import open_llm
from benchmark.llm.prompts import Prompts
from benchmark.project import Domain, Project
from benchmark.provenance import Outcome, Stage
from benchmark.records import Chunk, TestSet, read_chunks, read_testset
from benchmark.specs import GenerateSpec, LLMSpec
from benchmark.synthesis.card import CardInput, write_card
from benchmark.synthesis.draft import ORIGINS, Draft, Dropped, seeded
from benchmark.synthesis.examples import read_examples
from benchmark.synthesis.formats import Data, write_all
from benchmark.synthesis.funnel import Filtered, Tools, run_filters
from benchmark.synthesis.language import LanguageCheck
from benchmark.synthesis.negatives import Mined, mine
from benchmark.synthesis.pseudo import pseudo_drafts
from benchmark.synthesis.questions import QuestionContext, QuestionRequest, question_drafts, question_requests
from benchmark.synthesis.rag_columns import rag_rows
from benchmark.synthesis.relabel import relabel
from benchmark.synthesis.search import Corpus
from benchmark.synthesis.sources import read_imported
from benchmark.synthesis.split import Split, split_chunks
from benchmark.synthesis.teacher import Scores, score_pairs
from benchmark.synthesis.terms import Term, coverage, find_terms
from benchmark.weights import model_fingerprint

STAGE: Final = Stage("generate", 2)
_NO_EFFECT: Final[Any] = {
    "llm": LLM_NO_EFFECT,
    "filters": {"judge": {"llm": LLM_NO_EFFECT}},
    "negatives": {"relabel": {"llm": LLM_NO_EFFECT}},
    "pair_scores": {"llm": LLM_NO_EFFECT},
    "prompts": True,
}
"""Settings that change how long it takes or what it costs, not what comes out; prompts are hashed by their text."""


@dataclass(frozen=True)
class Inputs:
    """What the stage reads.

    Attributes:
        passages: The folder and outputs of the stage that made chunks.jsonl.
        source: The stage that fetched or wrote passages, where they are not the domain's own documents.
        testset: The test set, read to keep its questions out; None for a domain that has none.
    """

    passages: Outcome
    source: Outcome | None
    testset: Outcome | None


def generate(
    project: Project, domain: Domain, spec: GenerateSpec, seed: int, inputs: Inputs, reporter: Reporter,
    fresh: bool = False,
) -> Outcome:  # fmt: skip
    """Make training data out of passages; skipped when nothing that matters has changed.

    Args:
        project: Where the model specs and edited prompts stand.
        domain: Its journal keeps every answer, its replay file is read.
        spec: How many queries of which kind, which filters, which negatives.
        seed: For everything that is drawn.
        inputs: What the stages before it wrote.
        reporter: Where progress and notes go.
        fresh: Ask the language models anew; after a kill, a rerun goes on where it stopped.

    Returns:
        The files that `formats.write_all` and `card.write_card` name; facts: counts by origin and type, funnel,
        negatives, teacher, tokens and money.

    Raises:
        BenchError: A language model, an encoder, the examples or prompts cannot be had, the budget is used up, or no
            query survives.
    """
    work = Work(project, domain, spec, seed, inputs, reporter)
    work.check()
    asker = Asker(project, domain, reporter, fresh, work.prompts)
    label = f"generate {domain.name}"
    return run_asking_stage(STAGE, domain.synthetic, work, asker, reporter, label, fresh=fresh and work.asks)


def export_answers(project: Project, domain: Domain, spec: GenerateSpec, seed: int, inputs: Inputs) -> int:
    """Write the answers with which `generate` made its questions to the domain's replay file; returns how many.

    Whoever gets the project with that file needs no language model to make the same questions.
    """
    if spec.llm is None:
        return 0
    requests = Work(project, domain, spec, seed, inputs, None).requests
    identity = open_llm(spec.llm, project, domain.batches).identity
    with open_journal(domain.journal, domain.replay) as journal:
        return export_replay(journal, domain.replay, [asked.request.key(identity) for asked in requests])


class Work:
    """One run of the stage."""

    def __init__(
        self, project: Project, domain: Domain, spec: GenerateSpec, seed: int, inputs: Inputs,
        reporter: Reporter | None,
    ) -> None:  # fmt: skip
        self._project, self._domain, self._spec, self._seed, self._inputs = project, domain, spec, seed, inputs
        self._reporter = reporter or SILENT

    @cached_property
    def chunks(self) -> list[Chunk]:
        """The passages."""
        return read_chunks(self._inputs.passages.folder / "chunks.jsonl")

    @cached_property
    def requests(self) -> list[QuestionRequest]:
        """What the language model is asked to write."""
        if not self._spec.questions_per_chunk:
            return []
        context = QuestionContext(self.prompts, self._terms, self._examples, self._language.name)
        left_out = self._excluded | self._not_drawn
        return question_requests(self.chunks, self._spec, self._seed, context, left_out)

    @property
    def asks(self) -> bool:
        """Whether any language model is asked for anything."""
        spec = self._spec
        judged = spec.filters.judge is not None and spec.filters.on("judge")
        relabelled, scored = spec.negatives.relabel is not None, spec.pair_scores.teacher == "llm"
        return bool(spec.questions_per_chunk) or judged or relabelled or scored or spec.rag_columns == "written"

    @cached_property
    def prompts(self) -> Prompts:
        """The package's prompts, or the user's."""
        folder = self._spec.prompts
        return Prompts(self._project.root / folder if folder else None)

    @cached_property
    def _terms(self) -> tuple[Term, ...]:
        return find_terms(self.chunks)

    @cached_property
    def _language(self) -> LanguageCheck:
        return LanguageCheck(self._domain.spec.language)

    @cached_property
    def _testset(self) -> TestSet:
        return read_testset(self._inputs.testset.folder) if self._inputs.testset else TestSet((), ())

    @cached_property
    def _test_questions(self) -> list[str]:
        return [query.text for query in (*self._testset.queries, *self._testset.unanswerable)]

    @cached_property
    def _examples(self) -> Sequence[Any]:
        if self._spec.examples is None:
            return ()
        return read_examples(self._domain.folder / self._spec.examples, self._test_questions)

    @cached_property
    def _excluded(self) -> frozenset[int]:
        """Positions of the chunks that nothing is asked about."""
        if not self._spec.exclude_test_evidence:
            return frozenset()
        relevant = {chunk for row in self._testset.qrels.values() for chunk in row}
        return frozenset(number for number, chunk in enumerate(self.chunks) if chunk.id in relevant)

    @property
    def _not_drawn(self) -> frozenset[int]:
        """Chunks beyond the number that questions are wanted for; the draw of a chunk depends on that chunk alone."""
        most = self._spec.question_chunks
        if most is None:
            return frozenset()
        order = sorted(
            set(range(len(self.chunks))) - self._excluded,
            key=lambda number: (seeded(self._seed, "drawn", self.chunks[number].id).random(), number),
        )
        return frozenset(order[most:])

    def check(self) -> None:
        """Find mistakes of the user before anything takes long."""
        _ = self.prompts, self._examples
        language = self._domain.spec.language
        if not self._language.known and self._spec.filters.on("language"):
            self._reporter.note(f"generate: '{language}' cannot be recognised; the language is not checked")
        begun = self._spec.questions_per_chunk and self._spec.llm is not None and not self._spec.llm.instructed
        edited = any(name.startswith("local_") for name in self.prompts.edited)
        if begun and not language.startswith("eng-") and not edited:
            self._reporter.note(
                f"generate: a very small model begins its questions in English, though the passages are '{language}'; "
                "edit the prompts local_*.txt (domainbench prompts FOLDER), or take a model that follows instructions"
            )

    def hashes(self) -> dict[str, str]:
        """Hashes of everything that is read."""
        inputs, replay = self._inputs, self._domain.replay
        examples = self._domain.folder / self._spec.examples if self._spec.examples else None
        names = {
            "retriever": self._spec.retriever,
            "filter": self._spec.filters.cross_encoder.model if self._spec.filters.cross_encoder else None,
            "rescorer": self._spec.negatives.cross_encoder,
            "teacher": self._spec.pair_scores.model,
        }
        llms = [self._spec.llm, *self._others]
        return {
            "language models": hash_json(
                [open_llm(llm, self._project, self._domain.batches).identity for llm in llms if llm]
            ),
            "chunks": inputs.passages.outputs_hash,
            "source": inputs.source.outputs_hash if inputs.source else "",
            "testset": inputs.testset.outputs_hash if inputs.testset else "",
            "replay": hash_file(replay) if self.asks and replay.is_file() else "",
            "examples": hash_file(examples) if examples else "",
            **{what: model_fingerprint(self._project, name) for what, name in names.items() if name},
        }

    @property
    def _others(self) -> list[LLMSpec | None]:
        """Language models that judge, relabel and score, where they are not the generator's own."""
        judge, relabelling = self._spec.filters.judge, self._spec.negatives.relabel
        return [judge.llm if judge else None, relabelling.llm if relabelling else None, self._spec.pair_scores.llm]

    def settings(self) -> Json:
        """Every setting that changes the output."""
        spec, domain = self._spec.model_dump(mode="json", exclude=_NO_EFFECT), self._domain.spec
        told = {"language": domain.language, "title": domain.title, "licence": domain.licence}
        return {**spec, "seed": self._seed, "prompts": self.prompts.hashes, "domain": told}

    def build(self, folder: Path, asker: Asker) -> Json:
        """Make everything and write it to the folder."""
        split = split_chunks(self.chunks, self._spec.development_share, self._seed)
        if split.unit not in {"document", "passage"}:
            self._reporter.note(
                f"generate: too few documents to hold some out; the development split is by {split.unit}"
            )
        encoder = open_encoder(self._project, self._spec.retriever)
        corpus = Corpus.open(self._domain, encoder, self.chunks, self._reporter)
        drafts, unread = self._drafts(asker, corpus)
        language = self._language if self._language.known else None
        tools = Tools(self._project, asker, self.prompts, language)
        kept = KeptEncoder(self._domain, encoder)
        filtered = run_filters(drafts, corpus, kept, self._spec, self._test_questions, tools, self._reporter)
        mined = self._mine(corpus, filtered, split, asker)
        scores = self._scores(corpus, filtered, mined, asker)
        rag = rag_rows(self.chunks, filtered.kept, mined, self._spec, asker, self.prompts)
        dropped = [*unread, *filtered.dropped]
        count = self._spec.negatives.count
        rows = write_all(
            folder, Data(self.chunks, filtered.kept, dropped, mined, split, count, scores, rag, filtered.also)
        )
        if self._inputs.source:
            write_jsonl(folder / "passages.jsonl", (chunk.to_json() for chunk in self.chunks))
        facts = {
            "kept": _by_origin(filtered.kept),
            "written": _by_origin([*drafts, *(item.draft for item in unread)]),
            "dropped": dict(Counter(item.rule for item in dropped)),
            **filtered.facts,
            "rows": rows,
            "development_by": split.unit,
            "chunks_repeated_everywhere": split.common,
            "excluded_chunks": len(self._excluded),
            "negatives": mined.facts(),
            "scores": {"teacher": scores.teacher, "scale": scores.scale, "failed": scores.failed},
            "rag": rag.facts(),
            "llm": asker.facts,
            "retriever": {"name": encoder.name, "fingerprint": encoder.fingerprint},
        }
        write_card(folder, self._card(filtered, dropped, facts))
        self._say(filtered.kept, dropped, rows)
        return facts

    def _drafts(self, asker: Asker, corpus: Corpus) -> tuple[list[Draft], list[Dropped]]:
        """Questions and pseudo-queries as written or read, and answers that hold no question."""
        questions: list[Draft] = []
        unread: list[Dropped] = []
        if self.requests and self._spec.llm is not None:
            asked = asker.ask(self._spec.llm, [item.request for item in self.requests], "questions")
            questions, unread = question_drafts(self.requests, asked.answers, self.chunks)
        imported = read_imported(self._inputs.source.folder, self.chunks) if self._inputs.source else []
        pseudo = pseudo_drafts(
            self.chunks, self._spec.pseudo, self._seed, self._excluded, corpus.bm25, self._domain.spec.language
        )
        return [*questions, *imported, *pseudo], unread

    def _mine(self, corpus: Corpus, filtered: Filtered, split: Split, asker: Asker) -> Mined:
        spec = self._spec.negatives
        rescorer = None
        if spec.cross_encoder:
            label = f"{spec.cross_encoder}: scoring negatives"
            rescorer = PairScorer(self._project, spec.cross_encoder, self._reporter, label)
        mined = mine(
            corpus, filtered.kept, filtered.vectors, split.held_out, filtered.also, spec,
            spec.near_duplicate, self._seed, rescorer,
        )  # fmt: skip
        if spec.relabel:
            llm = self._llm(spec.relabel.llm)
            mined = relabel(mined, corpus, filtered.kept, spec.relabel, llm, asker, self.prompts)
        return mined

    def _scores(self, corpus: Corpus, filtered: Filtered, mined: Mined, asker: Asker) -> Scores:
        spec = self._spec.pair_scores
        llm = self._llm(spec.llm) if spec.teacher == "llm" else None
        return score_pairs(
            corpus,
            filtered.kept,
            filtered.vectors,
            mined,
            spec,
            asker,
            llm,
            self.prompts,
            self._project,
            self._reporter,
        )

    def _llm(self, own: LLMSpec | None) -> LLMSpec:
        """A purpose's own language model, or the generator's; the benchmark file was checked for one of them."""
        llm = own or self._spec.llm
        assert llm is not None  # noqa: S101 (see GenerateSpec)
        return llm

    def _card(self, filtered: Filtered, dropped: Sequence[Dropped], facts: Json) -> CardInput:
        source = self._inputs.source
        spec = self._domain.spec
        return CardInput(
            title=spec.title, licence=spec.licence, language=spec.language, passages=_origin_of(self._spec, source),
            chunks=self.chunks, kept=filtered.kept, dropped=dropped, rows=facts["rows"],
            asked={**(source.facts.get("llm", {}) if source else {}), **facts["llm"]}, filters=filtered.facts,
            negatives=facts["negatives"], rag=facts["rag"],
            facts={
                "round trip": facts.get("round_trip", {}),
                "by type of question": facts["by_type"],
                "passages that answer test questions, left out of generation": facts["excluded_chunks"],
                "pairs scored": facts["scores"],
            },
            prompts=self.prompts.hashes, edited=self.prompts.edited, retriever=self._spec.retriever,
            teacher=facts["scores"]["teacher"], development_by=facts["development_by"],
            coverage=coverage(self._terms, filtered.kept, self.chunks), seed=self._seed,
        )  # fmt: skip

    def _say(self, kept: Sequence[Draft], dropped: Sequence[Dropped], rows: Json) -> None:
        origins = ", ".join(f"{count} {origin}" for origin, count in _by_origin(kept).items())
        rules = ", ".join(f"{count} {rule}" for rule, count in Counter(item.rule for item in dropped).most_common())
        self._reporter.note(
            f"generate: {len(kept)} queries kept ({origins}), {rows['train']['queries']} for training and "
            f"{rows['dev']['queries']} for development; dropped: {rules or 'none'}"
        )
        self._reporter.note("generate: look at examples.md, picture.png and README.md beside the data")


def _origin_of(spec: GenerateSpec, source: Outcome | None) -> str:
    """Where the passages come from, in a sentence for the card."""
    if spec.source is None or source is None:
        return "The passages are cut from the domain's own documents."
    if spec.source.dataset is not None:
        dataset = spec.source.dataset
        where = f"{dataset.hub} at {dataset.revision}" if dataset.hub else dataset.path
        return f"The passages come from the data set {where}, split {dataset.split}."
    return (
        "The passages were written by a language model from a description of the field; no document stands behind them."
    )


def _by_origin(drafts: Sequence[Draft]) -> dict[str, int]:
    counts = Counter(draft.origin for draft in drafts)
    return {origin: counts[origin] for origin in ORIGINS if counts[origin]}
