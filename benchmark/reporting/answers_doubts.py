"""When the figures of answers are not to be believed."""

from collections.abc import Iterator
from typing import Final

from benchmark.reporting.answers_board import JUDGED, LABELS, Answers

DOUBTFUL: Final = 0.05
"""Share of failed questions above which a mean is not to be believed."""
BIASED: Final = 1 / 3
"""Share of pairs on which the two orders disagree above which preferences say little."""

ALIKE: Final = 10
"""So many scores that are all the same make a judge suspect."""


def doubts(board: Answers) -> Iterator[str]:
    """What the figures themselves say against believing them, a line each."""
    for row in board.means:
        of = row.n_scored + row.n_failed
        if of and row.n_failed > DOUBTFUL * of:
            yield (
                f"{LABELS[row.metric]} of {row.pipeline}: {row.n_failed} of {of} questions have no score, so its mean "
                f"cannot be believed; it lies anywhere from {row.worst:.3f} to {row.best:.3f}"
            )
    for pref in board.preferences:
        asked = pref.n - pref.same - pref.failed
        if asked and pref.disagreed > BIASED * asked:
            yield (
                f"preferences for {pref.pipeline}: the judge changed its mind with the order in {pref.disagreed} of "
                f"{asked} pairs; it looks more at the place than at the answer"
            )
        if pref.failed > DOUBTFUL * pref.n:
            yield f"preferences for {pref.pipeline}: {pref.failed} of {pref.n} pairs have no verdict"
    for metric in (metric for metric in JUDGED[:3] if metric in board.scores):
        columns = board.scores[metric].values()
        values = [score for column in columns for cell in column for score in cell or () if score is not None]
        if len(values) >= ALIKE and min(values) == max(values):
            yield (
                f"{LABELS[metric]}: all {len(values)} scores are {values[0]:g}; either the answers are all alike, or the "
                "judge says the same to everything: look at some of its verdicts"
            )
