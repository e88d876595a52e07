"""Finds the evidence of all questions in the documents, one document at a time."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from benchmark.domain.corpus import DOCUMENTS, DUPLICATES, iter_chunks
from benchmark.domain.evidence import Place, Searchable, Span, relevant, shorten
from benchmark.domain.questions import Asked, Evidence
from benchmark.errors import Problems
from benchmark.files import iter_jsonl

_SPANS_SHOWN = 4


class Located(NamedTuple):
    """A piece of evidence, its place, its words, and the chunks that hold it."""

    query: str
    document: str
    span: Span
    text: str
    chunks: tuple[str, ...]


class _Item(NamedTuple):
    """A piece of evidence to look for, and how a message about it begins."""

    where: str
    query: str
    evidence: Evidence


class _Fault(NamedTuple):
    """What is wrong with a piece of evidence; with the quote, where that was not found."""

    text: str
    quote: str = ""


def locate(
    asked: Sequence[Asked], chunks: Path, problems: Problems, unreadable: Collection[str]
) -> tuple[Located, ...]:
    """Find the evidence of all questions.

    Args:
        asked: The questions.
        chunks: A folder that the ingest stage filled.
        problems: Where evidence goes that cannot be found, in the order of the questions.
        unreadable: Documents that were told as problems already; evidence in them is passed over.

    Returns:
        What was found, in the order of the questions.
    """
    items = [_Item(where, question.id, evidence) for where, question in asked for evidence in question.evidence]
    numbers: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        numbers.setdefault(item.evidence.document, []).append(number)
    places = _places(chunks, numbers)
    results: dict[int, Located | _Fault] = {}
    names: list[str] = []
    for row in iter_jsonl(chunks / DOCUMENTS):
        name = row["document"]
        names.append(name)
        if name in numbers:
            text = Searchable(row["text"])
            results |= {number: _look_up(items[number], text, places.get(name, [])) for number in numbers[name]}
    _hint_elsewhere(results, chunks)
    for number, item in enumerate(items):
        result = results.get(number)
        if isinstance(result, _Fault):
            problems.add(f"{item.where}: {result.text}")
        elif result is None and item.evidence.document not in unreadable:
            problems.add(f"{item.where}: no document '{item.evidence.document}'{_alike(item.evidence.document, names)}")
    return tuple(result for _, result in sorted(results.items()) if isinstance(result, Located))


def _places(chunks: Path, documents: Collection[str]) -> dict[str, list[Place]]:
    """The chunks of some documents in the order of the text; a dropped one counts for the one that it repeats."""
    places: dict[str, list[Place]] = {}
    for chunk in iter_chunks(chunks):
        if chunk.document in documents:
            places.setdefault(chunk.document, []).append(Place(chunk.start, chunk.end, chunk.id))
    for row in iter_jsonl(chunks / DUPLICATES):
        if row["kind"] == "exact" and row["document"] in documents:
            places.setdefault(row["document"], []).append(Place(row["start"], row["end"], row["of"]))
    return {document: sorted(found) for document, found in places.items()}


def _look_up(item: _Item, text: Searchable, places: Sequence[Place]) -> Located | _Fault:
    """The evidence's place, or what is wrong with it."""
    evidence = item.evidence
    document = evidence.document
    if evidence.span is not None:
        spans = [Span(*evidence.span)]
        what = "the span {}-{}".format(*evidence.span)
        if spans[0].end > len(text.text):
            return _Fault(f"{what} goes beyond the {len(text.text)} characters of '{document}'")
    else:
        quote = evidence.quote or ""
        spans = text.find(quote)
        what = f'the quote "{shorten(quote)}"'
        if not spans:
            nearest = text.nearest(quote)
            hint = f'the nearest there: "{nearest}"' if nearest else "no word of it is there"
            return _Fault(f"{what} is not in '{document}'; {hint}", quote.strip())
    by_chunks = {relevant(span, places): span for span in reversed(spans)}
    by_chunks.pop((), None)
    if not by_chunks:
        return _Fault(f"{what} lies in no chunk of '{document}' (a heading alone?); choose the passage below it")
    if len(by_chunks) > 1:
        return _Fault(f"{what} stands in '{document}' {_several(spans)}")
    [(chunks, span)] = by_chunks.items()
    return Located(item.query, document, span, text.text[span.start : span.end], chunks)


def _several(spans: Sequence[Span]) -> str:
    shown = ", ".join(f"{span.start}-{span.end}" for span in spans[:_SPANS_SHOWN])
    more = ", ..." if len(spans) > _SPANS_SHOWN else ""
    return (
        f"{len(spans)} times, in different chunks (characters {shown}{more}); "
        "quote more of the passage, or give 'start' and 'end'"
    )


def _hint_elsewhere(results: dict[int, Located | _Fault], chunks: Path) -> None:
    """Where a quote that was not found stands word for word in another document, say so."""
    lost = {number: fault for number, fault in results.items() if isinstance(fault, _Fault) and fault.quote}
    if not lost:
        return
    for row in iter_jsonl(chunks / DOCUMENTS):
        for number in [number for number, fault in lost.items() if fault.quote in row["text"]]:
            results[number] = _Fault(f"{lost.pop(number).text}; but it is in '{row['document']}'")


def _alike(name: str, names: Sequence[str]) -> str:
    """A hint at the document that was meant: the same file in another folder or case, or a similar name."""
    stem = name.rsplit("/", 1)[-1].rsplit(".", 1)[0].casefold()
    same = [other for other in names if other.rsplit("/", 1)[-1].rsplit(".", 1)[0].casefold() == stem]
    close = same or get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else f"; there are {len(names)} others"
