"""False negatives found by a language model that reads the most similar ones (RLHN, arXiv 2505.16967)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from benchmark.llm.asking import Asker
from benchmark.llm.forms import FormError, object_form
from benchmark.llm.model import Answer, ChatRequest, Message
from benchmark.llm.prompts import Prompts, fenced
from benchmark.specs import LLMSpec
from benchmark.specs.generate import Relabel
from benchmark.synthesis.barring import most_allowed
from benchmark.synthesis.draft import Draft
from benchmark.synthesis.negatives import Mined
from benchmark.synthesis.search import Corpus

ANSWERS: Final = object_form(
    "passage_answers",
    {"answers": {"type": "string", "enum": ["fully", "partly", "no"]}, "reason": {"type": "string"}},
)


@dataclass(frozen=True)
class _Suspect:
    """The negative at `place` of the corpus, one of the query `number`."""

    number: int
    place: int


def relabel(
    mined: Mined,
    corpus: Corpus,
    drafts: Sequence[Draft],
    spec: Relabel,
    llm: LLMSpec,
    asker: Asker,
    prompts: Prompts,
) -> Mined:
    """Have a language model read the negatives of the grey band, and remove those that answer their query fully.

    A negative is in the grey band when its similarity is at least `grey` times that of the query's own chunk. What
    is removed gives way to the next of the query's pool that lies below the band, where there is one. A negative
    that could not be judged stays.

    Args:
        mined: What `mine` found with a spec that asks for relabelling, so that it holds the rest of each pool.
        corpus: Where the chunks are.
        drafts: The queries.
        spec: The band.
        llm: Who reads.
        asker: Asks, and keeps the answers.
        prompts: `relabel_system`.

    Returns:
        A new `Mined`, with `removed` and `relabelled` filled: asked, fully, partly, no, failed, replaced, unreplaced.

    Raises:
        BenchError: The language model cannot be reached, or too many requests failed.
    """
    limits = [most_allowed(own, spec.grey) for own in mined.own]
    suspects = [
        _Suspect(number, place)
        for number, (places, similarities) in enumerate(zip(mined.negatives, mined.similarities, strict=True))
        for place, similarity in zip(places, similarities, strict=True)
        if similarity >= limits[number]
    ]
    requests = [_request(drafts[item.number], corpus.chunks[item.place].full_text, llm, prompts) for item in suspects]
    answers = asker.ask(llm, requests, "relabelling").answers if requests else ()
    verdicts = [_verdict(answer) for answer in answers]
    removed: list[list[int]] = [[] for _ in drafts]
    for suspect, verdict in zip(suspects, verdicts, strict=True):
        if verdict == "fully":
            removed[suspect.number].append(suspect.place)
    renewed = [_renewed(mined, number, set(removed[number]), limits[number]) for number in range(len(drafts))]
    lost = sum(map(len, removed))
    replaced = sum(len(row.added) for row in renewed)
    return replace(
        mined,
        negatives=[row.negatives for row in renewed],
        similarities=[row.similarities for row in renewed],
        rest=[row.rest for row in renewed],
        rest_similarities=[row.rest_similarities for row in renewed],
        removed=removed,
        relabelled=Counter(asked=len(suspects), replaced=replaced, unreplaced=lost - replaced) + Counter(verdicts),
    )


def _request(draft: Draft, passage: str, llm: LLMSpec, prompts: Prompts) -> ChatRequest:
    """Passage and query are fenced: what they say about answers does not reach the model as an instruction."""
    return ChatRequest(
        messages=(
            Message("system", prompts.text("relabel_system")),
            Message("user", fenced(passage) + "\n\n" + fenced(draft.text)),
        ),
        temperature=0.0,
        max_tokens=llm.max_tokens,
        form=ANSWERS,
    )


def _verdict(answer: Answer | None) -> str:
    """`fully`, `partly`, `no` or `failed`."""
    if answer is None:
        return "failed"
    try:
        return str(ANSWERS.read(answer.text)["answers"])
    except FormError:
        return "failed"


@dataclass(frozen=True)
class _Row:
    """One query's negatives and the rest of its pool after relabelling; `added` came from the rest."""

    negatives: list[int]
    similarities: list[float]
    rest: list[int]
    rest_similarities: list[float]
    added: list[int]


def _renewed(mined: Mined, number: int, removed: set[int], limit: float) -> _Row:
    """One query's row without what was removed, filled up from below the grey band, most similar first."""
    known = dict(zip(mined.negatives[number], mined.similarities[number], strict=True))
    rest = dict(zip(mined.rest[number], mined.rest_similarities[number], strict=True))
    added = [place for place, similarity in rest.items() if similarity < limit][: len(removed)]
    kept = {place: similarity for place, similarity in known.items() if place not in removed}
    kept |= {place: rest.pop(place) for place in added}
    places = sorted(kept, key=lambda place: (-kept[place], place))
    return _Row(places, [kept[place] for place in places], list(rest), list(rest.values()), added)
