"""All filters in a row: each query is dropped by the first rule that objects, with the figure that it objects to.

The cheapest rules come first. What a rule needs that costs more (vectors, a cross-encoder, a judge) is worked out for
the queries that are still there when it is asked.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmark.console import Reporter
from benchmark.encoders.dense import Encoder
from benchmark.errors import BenchError
from benchmark.files import Json
from benchmark.llm.asking import Asker
from benchmark.llm.prompts import Prompts
from benchmark.project import Project
from benchmark.specs import RULES, GenerateSpec, Rule
from benchmark.synthesis.draft import ORIGINS, Draft, Dropped
from benchmark.synthesis.filters import Check, LanguageCheck, Verdict, exact_duplicates, objections, text_checks
from benchmark.synthesis.judge import cross_encoder_verdict, judge_verdict
from benchmark.synthesis.leak import LEAK_KINDS, LeakCheck, closest_similarity
from benchmark.synthesis.round_trip import by_type, round_trip_verdict, type_facts
from benchmark.synthesis.search import Corpus
from benchmark.synthesis.twins import Twin, groups, near_duplicates

_LEAK_OFF: Final = (
    "generate: the leak check is OFF: test questions may be among the training queries, and figures on the test set "
    "may be too good"
)
_MANY_ALIKE: Final = 0.2
"""Share of queries that leak by their vectors alone from which on the encoder or the threshold is to be doubted."""
_MOST_ALIKE: Final = 20
"""Near-duplicates of one query beyond which they tell of the encoder or of a pattern of questions, not of one answer."""


@dataclass(frozen=True)
class Tools:
    """What the filters need beside the queries.

    Attributes:
        project: Where the cross-encoder's spec stands.
        asker: Asks the judge.
        prompts: The judge's prompts.
        language: A figure for a question in another language than the domain's; None where that is not known.
    """

    project: Project
    asker: Asker
    prompts: Prompts
    language: LanguageCheck | None = None


@dataclass
class Filtered:
    """What the filters left and what they removed.

    Attributes:
        kept: In the order of the drafts.
        vectors: Of the kept queries; unit length, shape (n_kept, n_dimensions).
        dropped: By rule, in the order in which the rules are asked.
        also: Number of a kept query -> positions of further chunks that answer it, as its twins came from them,
            dropped or (where their rule is off) kept; they must never be its negatives.
        facts: `funnel` (rule, before, dropped, kept), `by_origin` (dropped), `by_type` (of the written questions),
            `off` (switched off), `not_asked` (nothing set to ask), `relaxed`, and the figures of each rule that was
            asked and has some: `leak`, `round_trip`, `cross_encoder`, `judge`.
    """

    kept: list[Draft]
    vectors: NDArray[np.float32]
    dropped: list[Dropped]
    also: dict[int, frozenset[int]]
    facts: Json


def run_filters(
    drafts: Sequence[Draft],
    corpus: Corpus,
    encoder: Encoder,
    spec: GenerateSpec,
    test_questions: Sequence[str],
    tools: Tools,
    reporter: Reporter,
) -> Filtered:
    """Ask every rule that is on, in the order of `benchmark.specs.RULES`.

    Args:
        drafts: Queries; of several that are alike the first one stays.
        corpus: What `Draft.chunk` counts in, and what the round trip searches.
        encoder: The one that `corpus.vectors` come from.
        spec: Which rules are on, and how strict they are.
        test_questions: The hand-made questions, for the leak check only.
        tools: Judge, cross-encoder and language check.
        reporter: Progress, and notes on everything that was relaxed.

    Raises:
        BenchError: Nothing survives; or the cross-encoder or the judge cannot be had.
    """
    rows = _Rows(drafts, encoder, reporter)
    steps = _Rules(rows, corpus, spec, test_questions, tools, reporter).steps()
    asked = [rule for rule in RULES if spec.filters.on(rule) and rule in steps]
    off = [rule for rule in RULES if not spec.filters.on(rule)]
    funnel: list[Json] = []
    relaxed: list[Json] = []
    own: Json = {}
    for rule in RULES:
        if rule not in asked:
            rows.link(rule, spec.filters.near_duplicate)
            continue
        before = len(rows.drafts)
        verdict = steps[rule]()
        rows.drop(rule, verdict.objections)
        kept = len(rows.drafts)
        funnel.append({"rule": rule, "before": before, "dropped": before - kept, "kept": kept})
        own |= {rule: verdict.facts} if verdict.facts else {}
        relaxed += [{"rule": rule, **verdict.relaxed}] if verdict.relaxed else []
        for note in verdict.notes:
            reporter.note(note)
    if "leak" in off:
        reporter.note(_LEAK_OFF)
    if not rows.drafts:
        raise BenchError(_nothing_left(rows.dropped))
    if "leak" in own:
        own["leak"]["highest_similarity_kept"] = rows.highest_similarity() if test_questions else None
    facts = {
        "funnel": funnel,
        "by_origin": _by_origin(rows.dropped),
        "by_type": type_facts(by_type(drafts), by_type(rows.drafts), own.get("round_trip", {})),
        "off": off,
        "not_asked": [rule for rule in RULES if rule not in asked and rule not in off],
        "relaxed": relaxed,
        **own,
    }
    return Filtered(rows.drafts, rows.vectors, rows.dropped, rows.also, facts)


class _Rows:
    """The queries that are still there, with what is known about each of them."""

    def __init__(self, drafts: Sequence[Draft], encoder: Encoder, reporter: Reporter) -> None:
        self.drafts = list(drafts)
        self.dropped: list[Dropped] = []
        self.closest: NDArray[np.float32] | None = None
        """Similarity to the closest test question, shape (n_rows,), once it is known."""
        self.encoder = encoder
        self._reporter = reporter
        self._vectors: NDArray[np.float32] | None = None
        self._also: list[frozenset[int]] = [frozenset()] * len(self.drafts)

    @property
    def vectors(self) -> NDArray[np.float32]:
        """Shape (n_rows, n_dimensions); encoded when they are first needed."""
        if self._vectors is None:
            texts = [draft.text for draft in self.drafts]
            label = f"{self.encoder.name}: encoding {len(texts)} queries"
            self._vectors = self.encoder.encode(texts, "query", self._reporter, label)
        return self._vectors

    @property
    def also(self) -> dict[int, frozenset[int]]:
        """Row -> further chunks that answer it, where there are any."""
        others = (found - {draft.chunk} for draft, found in zip(self.drafts, self._also, strict=True))
        return {number: found for number, found in enumerate(others) if found}

    def highest_similarity(self) -> float | None:
        """Of a row to a test question; None where nobody has looked."""
        return None if self.closest is None else round(float(self.closest.max()), 4)

    def link(self, rule: Rule, near_duplicate: float) -> None:
        """Tell twins, which a rule that is off leaves where they are, of each other's chunks.

        Args:
            rule: Nothing is done for another one than the two about duplicates.
            near_duplicate: Similarity of two queries from which on they are twins.
        """
        found: list[list[int]] = []
        if rule == "duplicate":
            found = groups(exact_duplicates(self.drafts))
        elif rule == "near_duplicate" and self.drafts:
            found = [
                group for group in groups(near_duplicates(self.vectors, near_duplicate)) if len(group) <= _MOST_ALIKE
            ]
        for group in found:
            places = frozenset().union(*(self._also[number] | {self.drafts[number].chunk} for number in group))
            for number in group:
                self._also[number] = places

    def drop(self, rule: Rule, reasons: Mapping[int, float | Twin]) -> None:
        """Move rows from the kept to the dropped; a twin's chunks go over to the row that it repeats."""
        for number, reason in sorted(reasons.items()):
            draft = self.drafts[number]
            if isinstance(reason, Twin):
                self._also[reason.other] |= self._also[number] | {draft.chunk}
            score = reason.similarity if isinstance(reason, Twin) else reason
            self.dropped.append(Dropped(draft, rule, round(float(score), 4)))
        left = [number for number in range(len(self.drafts)) if number not in reasons]
        self.drafts = [self.drafts[number] for number in left]
        self._also = [self._also[number] for number in left]
        if self._vectors is not None:
            self._vectors = self._vectors[left]
        if self.closest is not None:
            self.closest = self.closest[left]


class _Rules:
    """Each rule as a function that says what it thinks of the queries that are left."""

    def __init__(
        self, rows: _Rows, corpus: Corpus, spec: GenerateSpec, test_questions: Sequence[str], tools: Tools,
        reporter: Reporter,
    ) -> None:  # fmt: skip
        self._rows, self._corpus, self._spec, self._tools = rows, corpus, spec, tools
        self._test_questions, self._reporter = test_questions, reporter

    def steps(self) -> dict[Rule, Callable[[], Verdict]]:
        """The rules that have all they need."""
        rows, filters = self._rows, self._spec.filters
        steps: dict[Rule, Callable[[], Verdict]] = {
            rule: partial(self._text_rule, check) for rule, check in text_checks(self._tools.language).items()
        }
        steps |= {
            "duplicate": lambda: Verdict(exact_duplicates(rows.drafts)),
            "leak": self._leak,
            "round_trip": lambda: round_trip_verdict(self._corpus, rows.drafts, rows.vectors, filters.round_trip_k),
            "near_duplicate": lambda: Verdict(near_duplicates(rows.vectors, filters.near_duplicate)),
        }
        if filters.cross_encoder is not None:
            steps["cross_encoder"] = self._cross_encoder
        if filters.judge is not None:
            steps["judge"] = self._judge
        return steps

    def _text_rule(self, check: Check) -> Verdict:
        return Verdict(objections(check, self._rows.drafts, self._corpus.chunks))

    def _leak(self) -> Verdict:
        """By words first, so that nothing is encoded that is known to leak."""
        rows, threshold = self._rows, self._spec.filters.leak_similarity
        check = LeakCheck(self._test_questions)
        leaks = {number: leak for number, draft in enumerate(rows.drafts) if (leak := check(draft.text))}
        kinds = Counter(leak.kind for leak in leaks.values())
        rows.drop("leak", {number: leak.score for number, leak in leaks.items()})
        rows.closest = closest_similarity(rows.vectors, rows.encoder.encode(self._test_questions, "query"))
        alike = [number for number, score in enumerate(rows.closest.tolist()) if score >= threshold]
        kinds["embedding"] = len(alike)
        note = (
            f"generate: {len(alike)} of {len(rows.drafts)} queries resemble a test question by their vectors alone; "
            f"if {rows.encoder.name} finds everything alike, raise filters.leak_similarity ({threshold})"
        )
        return Verdict(
            {number: float(rows.closest[number]) for number in alike},
            {
                "test_questions": len(self._test_questions),
                "similarity": threshold,
                **{kind: kinds[kind] for kind in LEAK_KINDS},
            },
            notes=(note,) if len(alike) > _MANY_ALIKE * len(rows.drafts) else (),
        )

    def _cross_encoder(self) -> Verdict:
        chosen = self._spec.filters.cross_encoder
        assert chosen is not None  # noqa: S101 (`steps` has looked)
        return cross_encoder_verdict(
            self._rows.drafts, self._corpus.chunks, chosen, self._tools.project, self._reporter
        )

    def _judge(self) -> Verdict:
        chosen = self._spec.filters.judge
        assert chosen is not None  # noqa: S101 (`steps` has looked)
        llm = chosen.llm or self._spec.llm
        assert llm is not None  # noqa: S101 (GenerateSpec has looked)
        tools = self._tools
        return judge_verdict(self._rows.drafts, self._corpus.chunks, chosen, llm, tools.asker, tools.prompts)


def _by_origin(dropped: Sequence[Dropped]) -> Json:
    counts = Counter((item.draft.origin, item.rule) for item in dropped)
    return {
        origin: {rule: counts[origin, rule] for rule in RULES if counts[origin, rule]}
        for origin in ORIGINS
        if any(item.draft.origin == origin for item in dropped)
    }


def _nothing_left(dropped: Sequence[Dropped]) -> str:
    if not dropped:
        return "generate: there is no query to filter; use more text"
    reasons = Counter(item.rule for item in dropped).most_common()
    return (
        "generate: no query survived the filters (dropped by "
        + ", ".join(f"{rule}: {count}" for rule, count in reasons)
        + "); use more text, or loosen or switch off rules in generate.filters"
    )
