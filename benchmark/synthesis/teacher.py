"""Scores of (query, passage) pairs for the cross-encoder to learn from, by a teacher of the user's choice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmark.console import Reporter
from benchmark.encoders.pairs import cross_encoder_scores
from benchmark.llm.asking import Asker
from benchmark.llm.forms import FormError, object_form
from benchmark.llm.model import Answer, ChatRequest, Message
from benchmark.llm.prompts import Prompts, fenced
from benchmark.project import Project
from benchmark.specs import LLMSpec, PairScores
from benchmark.synthesis.draft import Draft
from benchmark.synthesis.negatives import Mined
from benchmark.synthesis.search import Corpus

HIGHEST_GRADE: Final = 4
GRADE: Final = object_form(
    "pair_grade",
    {"grade": {"type": "integer", "minimum": 0, "maximum": HIGHEST_GRADE}, "reason": {"type": "string"}},
)


@dataclass(frozen=True)
class Scores:
    """What a teacher says of every pair.

    Attributes:
        own: For each query the score of its positive, from 0 to 1.
        negatives: For each query the scores of its negatives, from 0 to 1, in their order.
        teacher: Who scored, in words.
        scale: What a score means, in words.
        failed: Pairs that a language model did not grade; they have their label, 1 or 0.
    """

    own: list[float]
    negatives: list[list[float]]
    teacher: str
    scale: str
    failed: int = 0


@dataclass(frozen=True)
class _Tools:
    """What a teacher may need beside the pairs."""

    spec: PairScores
    asker: Asker
    llm: LLMSpec | None
    prompts: Prompts
    project: Project
    reporter: Reporter


def score_pairs(
    corpus: Corpus,
    drafts: Sequence[Draft],
    vectors: NDArray[np.float32],
    mined: Mined,
    spec: PairScores,
    asker: Asker,
    llm: LLMSpec | None,
    prompts: Prompts,
    project: Project,
    reporter: Reporter,
) -> Scores:
    """Score each query with its positive and its negatives.

    The bi-encoder and BM25 score the chunk that a query came from; the cross-encoder and the language model read the
    positive as it is trained on, sometimes without the query's sentence.

    Args:
        corpus: Where the chunks are.
        drafts: The queries.
        vectors: Their vectors, shape (n_queries, n_dimensions); only their number matters, for `mined` has the
            similarities.
        mined: Their negatives.
        spec: Who scores.
        asker: Asks the language model, and keeps the answers.
        llm: The grading language model; None for the other teachers.
        prompts: `pair_score_system`.
        project: Where the cross-encoder's spec stands.
        reporter: Shows progress.

    Raises:
        BenchError: The model cannot be had or reached, or too many requests failed.
        ValueError: Queries, vectors and negatives are not equally many, or the language model is missing.
    """
    if not len(drafts) == len(vectors) == len(mined.negatives):
        raise ValueError(f"{len(drafts)} queries, {len(vectors)} vectors, {len(mined.negatives)} rows of negatives")
    if spec.teacher == "bi-encoder":
        return _by_bi_encoder(mined)
    if spec.teacher == "bm25":
        return _by_bm25(corpus, drafts, mined, reporter)
    tools = _Tools(spec, asker, llm, prompts, project, reporter)
    pairs = list(_pairs(corpus, drafts, mined))
    return _by_cross_encoder(pairs, mined, tools) if spec.teacher == "cross-encoder" else _by_llm(pairs, mined, tools)


def _by_bi_encoder(mined: Mined) -> Scores:
    return Scores(
        [_clipped(similarity) for similarity in mined.own],
        [[_clipped(similarity) for similarity in row] for row in mined.similarities],
        "the bi-encoder that the negatives were mined with",
        "cosine similarity of query and chunk; what is below 0 counts as 0",
    )


def _by_bm25(corpus: Corpus, drafts: Sequence[Draft], mined: Mined, reporter: Reporter) -> Scores:
    own, negatives = [], []
    rows = list(zip(drafts, mined.negatives, strict=True))
    for draft, places in reporter.track(rows, total=len(rows), label="BM25: scoring pairs"):
        scores = corpus.bm25.scores(draft.text)
        highest = float(scores.max(initial=0.0))
        shares = [_clipped(float(scores[place]) / highest) if highest > 0 else 0.0 for place in (draft.chunk, *places)]
        own.append(shares[0])
        negatives.append(shares[1:])
    return Scores(
        own, negatives, "BM25", "BM25 score divided by the query's highest in the corpus; 0 where no word matches"
    )


def _by_cross_encoder(pairs: Sequence[tuple[str, str]], mined: Mined, tools: _Tools) -> Scores:
    name = str(tools.spec.model)
    label = f"{name}: scoring {len(pairs)} pairs"
    scores = cross_encoder_scores(tools.project, name, pairs, tools.reporter, label)
    own, negatives = _by_query([_clipped(score) for score in scores.tolist()], mined)
    return Scores(own, negatives, f"the cross-encoder {name}", "sigmoid of the cross-encoder's logit")


def _by_llm(pairs: Sequence[tuple[str, str]], mined: Mined, tools: _Tools) -> Scores:
    if tools.llm is None:
        raise ValueError("a language model is needed")
    system = tools.prompts.text("pair_score_system")
    requests = [
        ChatRequest(
            messages=(Message("system", system), Message("user", fenced(passage) + "\n\n" + fenced(query))),
            temperature=0.0,
            max_tokens=tools.llm.max_tokens,
            form=GRADE,
        )
        for query, passage in pairs
    ]
    grades = [_grade(answer) for answer in tools.asker.ask(tools.llm, requests, "pair scores").answers]
    labels = [label for row in mined.negatives for label in (1.0, *[0.0] * len(row))]
    shares = [label if grade is None else grade / HIGHEST_GRADE for grade, label in zip(grades, labels, strict=True)]
    own, negatives = _by_query(shares, mined)
    model = tools.asker.facts["pair scores"]["model"]
    return Scores(
        own,
        negatives,
        f"the language model {model}",
        f"a grade of relevance from 0 (irrelevant) to {HIGHEST_GRADE} (answers fully), divided by {HIGHEST_GRADE}; "
        "a pair that was not graded has 1 if it is a query with its own passage, else 0",
        failed=grades.count(None),
    )


def _pairs(corpus: Corpus, drafts: Sequence[Draft], mined: Mined) -> Iterator[tuple[str, str]]:
    """Each query with its positive, then with each of its negatives."""
    for draft, places in zip(drafts, mined.negatives, strict=True):
        yield draft.text, draft.positive
        for place in places:
            yield draft.text, corpus.chunks[place].full_text


def _by_query(scores: Sequence[float], mined: Mined) -> tuple[list[float], list[list[float]]]:
    """Scores in the order of `_pairs`: those of the positives, and those of each query's negatives."""
    own, negatives, start = [], [], 0
    for places in mined.negatives:
        own.append(scores[start])
        negatives.append(list(scores[start + 1 : start + 1 + len(places)]))
        start += 1 + len(places)
    return own, negatives


def _clipped(score: float) -> float:
    return min(max(float(score), 0.0), 1.0)


def _grade(answer: Answer | None) -> int | None:
    if answer is None:
        return None
    try:
        return int(GRADE.read(answer.text)["grade"])
    except FormError:
        return None
