"""What is counted of answers for the manifest and for the screen."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from benchmark.answer_records import Answered, Asked
from benchmark.files import Json


def same_passages(answers: Sequence[Answered]) -> int:
    """How many answers are another pipeline's, because it found the same passages in the same order.

    Raises:
        ValueError: Two answers to one question differ though their passages do not.
    """
    first: dict[tuple[str, tuple[str, ...]], Answered] = {}
    same = 0
    for row in answers:
        known = first.setdefault((row.question, row.passages), row)
        if replace(row, pipeline=known.pipeline) != known:
            raise ValueError(
                f"{row.question}: {known.pipeline} and {row.pipeline} have the same passages, not one answer"
            )
        same += known is not row
    return same


def by_pipeline(questions: Sequence[Asked], answers: Sequence[Answered]) -> Json:
    """Counts for each pipeline: failures, questions that were declined, and answers without or with wrong citations."""
    answerable = {asked.id: asked.answerable for asked in questions}
    counts: dict[str, Counter[str]] = {}
    for row in answers:
        kind = "answerable" if answerable[row.question] else "unanswerable"
        count = counts.setdefault(row.pipeline, Counter())
        count[kind] += 1
        count["failed"] += bool(row.failure)
        count[f"declined_{kind}"] += row.declined
        count["uncited"] += not (row.failure or row.declined or row.cited or row.invented)
        count["invented"] += bool(row.invented)
    keys = (
        "answerable", "unanswerable", "failed", "declined_answerable", "declined_unanswerable", "uncited", "invented",
    )  # fmt: skip
    return {name: {key: count[key] for key in keys} for name, count in counts.items()}
