"""The generate stage: chunks to synthetic training data and a development split."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmark.console import Reporter
from benchmark.encoders.dense import DenseEncoder
from benchmark.errors import BenchError
from benchmark.files import Json, hash_file
from benchmark.llm.journal import ask, export_replay, open_journal
from benchmark.llm.opening import open_llm
from benchmark.llm.prompts import prompts_hash
from benchmark.project import Domain, Project
from benchmark.provenance import MANIFEST, Outcome, Stage, run_stage
from benchmark.records import Chunk, read_chunks, read_testset
from benchmark.specs import GenerateSpec
from benchmark.synthesis.draft import SOURCES, Draft, Dropped
from benchmark.synthesis.filters import apply_rules
from benchmark.synthesis.formats import Data, write_all
from benchmark.synthesis.negatives import mine
from benchmark.synthesis.pseudo import pseudo_drafts
from benchmark.synthesis.questions import QuestionRequest, question_drafts, question_requests
from benchmark.synthesis.search import Corpus, near_duplicates, source_ranks
from benchmark.synthesis.split import split_chunks
from benchmark.weights import model_fingerprint

STAGE: Final = Stage("generate", 1)
_ENOUGH_SHARE: Final = 0.3
_ENOUGH_PAIRS: Final = 100
_MOST_RELAXED: Final = 8
_NO_EFFECT: Final = {
    "llm": {"endpoint": {"concurrency", "timeout", "retries"}, "local": {"batch_size"}},
}
"""Settings that change how long it takes, not what comes out."""


def generate(
    project: Project,
    domain: Domain,
    spec: GenerateSpec,
    seed: int,
    chunks: Outcome,
    testset: Outcome,
    reporter: Reporter,
    fresh: bool = False,
) -> Outcome:
    """Make training data out of a domain's chunks; skipped when nothing that matters has changed.

    Args:
        project: Where the model specs stand.
        domain: Whose chunks; its journal keeps every answer, its replay file is read.
        spec: How many queries of which kind, which filters, which negatives.
        seed: For everything that is drawn.
        chunks: What the ingest stage wrote.
        testset: What the testset stage wrote; read to keep test questions out, and for nothing else.
        reporter: Where progress and notes go.
        fresh: Ask the language model anew; after a kill, a rerun goes on where it stopped.

    Returns:
        The files that `formats.write_all` names; facts: counts by source, funnel, negatives, tokens and money.

    Raises:
        BenchError: The language model or the retriever cannot be had, or no query survives.
    """
    work = _Work(project, domain, spec, seed, reporter, chunks, testset)
    if fresh and work.requests:
        # Without its manifest the stage is made again, even when this run is killed and started without `fresh`.
        (domain.synthetic / MANIFEST).unlink(missing_ok=True)
    settings = {**spec.model_dump(mode="json", exclude=_NO_EFFECT), "seed": seed, "prompts": prompts_hash()}
    inputs = {
        "chunks": chunks.outputs_hash,
        "testset": testset.outputs_hash,
        "retriever": model_fingerprint(project, spec.retriever),
        "replay": hash_file(domain.replay) if work.requests and domain.replay.is_file() else "",
    }
    outcome = run_stage(
        STAGE, domain.synthetic, inputs=inputs, settings=settings, build=lambda folder: work.build(folder, fresh),
        reporter=reporter, label=f"generate {domain.name}",
    )  # fmt: skip
    if work.requests and not outcome.skipped:
        with open_journal(domain.journal) as journal:
            journal.renewed(work.keys)
    return outcome


def export_answers(project: Project, domain: Domain, spec: GenerateSpec, seed: int, chunks: Outcome) -> int:
    """Write the answers that `generate` needs to the domain's replay file; returns how many.

    Whoever gets the project with that file needs no language model to make the same training data.
    """
    if spec.llm is None:
        return 0
    identity = open_llm(spec.llm, project).identity
    requests = question_requests(read_chunks(chunks.folder / "chunks.jsonl"), spec, seed)
    with open_journal(domain.journal, domain.replay) as journal:
        return export_replay(journal, domain.replay, [asked.request.key(identity) for asked in requests])


@dataclass
class _Filtered:
    """What the filters left, with vectors of shape (n_kept, n_dimensions), and what they removed."""

    kept: list[Draft]
    vectors: NDArray[np.float32]
    dropped: list[Dropped]
    facts: Json


class _Work:
    """One run of the stage."""

    def __init__(
        self, project: Project, domain: Domain, spec: GenerateSpec, seed: int, reporter: Reporter,
        chunks: Outcome, testset: Outcome,
    ) -> None:  # fmt: skip
        self._project, self._domain, self._spec, self._seed = project, domain, spec, seed
        self._reporter, self._testset = reporter, testset
        self._chunks: list[Chunk] = read_chunks(chunks.folder / "chunks.jsonl")
        self.requests: list[QuestionRequest] = question_requests(self._chunks, spec, seed)
        self._llm = open_llm(spec.llm, project) if spec.llm is not None else None

    @property
    def keys(self) -> list[str]:
        """The journal's keys of all requests."""
        assert self._llm is not None  # noqa: S101 (there are no requests without one)
        return [asked.request.key(self._llm.identity) for asked in self.requests]

    def build(self, folder: Path, fresh: bool) -> Json:
        """Make everything and write it to the folder."""
        split = split_chunks(self._chunks, self._spec.development_share, self._seed)
        if split.unit != "document":
            self._reporter.note(
                f"generate: too few documents to hold some out; the development split is by {split.unit}"
            )
        drafts, unread, llm_facts = self._drafts(fresh)
        filtered, corpus, teacher = self._filter(drafts)
        mined = mine(corpus, filtered.kept, filtered.vectors, split.held_out, self._spec, self._seed)
        dropped = [*unread, *filtered.dropped]
        rows = write_all(folder, Data(self._chunks, filtered.kept, dropped, mined, split, self._spec.negatives))
        self._say(filtered.kept, dropped, rows)
        return {
            "kept": _by_source(filtered.kept),
            "written": _by_source([*drafts, *(item.draft for item in unread)]),
            "funnel": dict(Counter(item.rule for item in dropped)),
            **filtered.facts,
            "rows": rows,
            "development_by": split.unit,
            "negatives": mined.facts(),
            "llm": llm_facts,
            "retriever": {"name": teacher.name, "fingerprint": teacher.fingerprint},
            "teacher_of_scores": teacher.name,
        }

    def _drafts(self, fresh: bool) -> tuple[list[Draft], list[Dropped], Json]:
        """Questions and pseudo-queries as written, answers that hold no question, and what the model cost."""
        questions: list[Draft] = []
        unread: list[Dropped] = []
        facts: Json = {}
        if self.requests and self._llm is not None:
            with open_journal(self._domain.journal, self._domain.replay) as journal:
                asked = ask(self._llm, [item.request for item in self.requests], journal, self._reporter, fresh=fresh)
            questions, unread = question_drafts(self.requests, asked.answers, self._chunks)
            facts = {"model": self._llm.identity, **asked.sources, "failures": asked.failures, **asked.usage}
        return [*questions, *pseudo_drafts(self._chunks, self._spec, self._seed)], unread, facts

    def _filter(self, drafts: Sequence[Draft]) -> tuple[_Filtered, Corpus, DenseEncoder]:
        """Rules first; what is left is encoded, sent on the round trip and freed of near-duplicates."""
        test = read_testset(self._testset.folder)
        questions = [query.text for query in (*test.queries, *test.unanswerable)]
        kept, dropped = apply_rules(drafts, self._chunks, questions)
        encoder = DenseEncoder.load(self._project, self._spec.retriever)
        corpus = Corpus.open(self._domain, encoder, self._chunks, self._reporter)
        texts = [draft.text for draft in kept]
        vectors = encoder.encode(texts, "query", self._reporter, f"{encoder.name}: encoding {len(texts)} queries")
        filtered = _Filtered(kept, vectors, dropped, {})
        if self._spec.round_trip_k:
            self._round_trip(filtered, corpus)
        twins = near_duplicates(filtered.vectors, self._spec.near_duplicate)
        _remove(filtered, {number: ("near_duplicate", round(score, 4)) for number, score in twins.items()})
        if not filtered.kept:
            reasons = Counter(item.rule for item in filtered.dropped).most_common()
            raise BenchError(
                "generate: no query survived the filters (dropped by "
                + ", ".join(f"{rule}: {count}" for rule, count in reasons)
                + "); use more text, or loosen round_trip_k"
            )
        return filtered, corpus, encoder

    def _round_trip(self, filtered: _Filtered, corpus: Corpus) -> None:
        drafts = filtered.kept
        ranks = source_ranks(corpus, [d.text for d in drafts], filtered.vectors, [d.chunk for d in drafts])
        k = relaxed_k(ranks, drafts, self._spec.round_trip_k)
        if k > self._spec.round_trip_k:
            self._reporter.note(
                f"generate: few queries find their own passage among the first {self._spec.round_trip_k}; "
                f"relaxed to the first {k}"
            )
        total = Counter(draft.source for draft in drafts)
        passed = Counter(draft.source for draft, rank in zip(drafts, ranks, strict=True) if rank <= k)
        shares = {source: passed[source] / total[source] for source in SOURCES if total[source]}
        filtered.facts["round_trip"] = {"k": k, "asked_k": self._spec.round_trip_k, "passed_share": shares}
        _remove(filtered, {n: ("round_trip", float(rank)) for n, rank in enumerate(ranks.tolist()) if rank > k})

    def _say(self, kept: Sequence[Draft], dropped: Sequence[Dropped], rows: Json) -> None:
        sources = ", ".join(f"{count} {source}" for source, count in _by_source(kept).items())
        rules = ", ".join(f"{count} {rule}" for rule, count in Counter(item.rule for item in dropped).most_common())
        self._reporter.note(
            f"generate: {len(kept)} queries kept ({sources}), {rows['train']['queries']} for training and "
            f"{rows['dev']['queries']} for development; dropped: {rules or 'none'}"
        )


def relaxed_k(ranks: NDArray[np.int64], drafts: Sequence[Draft], k: int) -> int:
    """K, doubled until 30 % of the model's questions and 100 queries (or half of them) survive; 8 K at most."""
    written = np.array([draft.source == "llm" for draft in drafts], dtype=bool)
    wanted = min(_ENOUGH_PAIRS, len(drafts) / 2)
    most = k * _MOST_RELAXED
    while k < most:
        passed = ranks <= k
        enough = not written.any() or float(passed[written].mean()) >= _ENOUGH_SHARE
        if enough and passed.sum() >= wanted:
            break
        k *= 2
    return k


def _remove(filtered: _Filtered, reasons: dict[int, tuple[str, float]]) -> None:
    """Move the queries with these numbers from the kept to the dropped."""
    filtered.dropped += [Dropped(filtered.kept[number], *reason) for number, reason in sorted(reasons.items())]
    left = [number for number in range(len(filtered.kept)) if number not in reasons]
    filtered.kept = [filtered.kept[number] for number in left]
    filtered.vectors = filtered.vectors[left]


def _by_source(drafts: Sequence[Draft]) -> dict[str, int]:
    counts = Counter(draft.source for draft in drafts)
    return {source: counts[source] for source in SOURCES if counts[source]}
