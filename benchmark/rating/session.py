"""One rater's way through the items: what is done, what comes next, what is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from benchmark.files import Json, hash_json
from benchmark.rating.pairs import POINTS, SCALES, TIE, Item, shown_text
from benchmark.rating.store import Rating, Store

SIDES: Final = ("left", "right")
MOST_NOTE: Final = 4_000  # characters of a note


class FormError(Exception):
    """What the page sent is no rating; says why."""


@dataclass(frozen=True)
class Form:
    """A rating as the page has it: by side, and perhaps half filled in.

    Attributes:
        scores: Side -> scale -> 1..5, as far as given.
        preferred: left, right, tie, or None.
        note: The rater's words.
    """

    scores: dict[str, dict[str, int]] = field(default_factory=lambda: {side: {} for side in SIDES})
    preferred: str | None = None
    note: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether every scale of both answers and the preference are given."""
        return self.preferred is not None and all(len(self.scores[side]) == len(SCALES) for side in SIDES)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is given."""
        return self.preferred is None and not self.note and not any(self.scores.values())

    def to_json(self) -> Json:
        """A JSON object that `parsed` reads."""
        return {"scores": self.scores, "preferred": self.preferred, "note": self.note}

    @classmethod
    def parsed(cls, value: object) -> "Form":
        """Check what came from a page or from a kept draft.

        Raises:
            FormError: It is something else.
        """
        if not isinstance(value, dict) or not {"scores", "preferred", "note"} <= value.keys():
            raise FormError("scores, preferred and note are needed")
        note, preferred = value["note"], value["preferred"]
        if not isinstance(note, str) or len(note) > MOST_NOTE:
            raise FormError(f"a note is a text of at most {MOST_NOTE} characters")
        if preferred not in (None, TIE, *SIDES):
            raise FormError("preferred is left, right, tie or null")
        return cls(_scores(value["scores"]), preferred, note.encode("utf-8", "replace").decode().strip())


def _scores(value: object) -> dict[str, dict[str, int]]:
    if not isinstance(value, dict) or set(value) != set(SIDES):
        raise FormError("scores are given for left and right")
    for scores in value.values():
        if not isinstance(scores, dict) or not set(scores) <= set(SCALES):
            raise FormError(f"the scales are {', '.join(SCALES)}")
        if any(type(score) is not int or score not in POINTS for score in scores.values()):
            raise FormError(f"scores are {POINTS[0]} to {POINTS[-1]}")
    return {side: dict(value[side]) for side in SIDES}


class Session:
    """One rater's way through the items. Items are counted from 1, as the page shows them.

    Args:
        items: What is to be rated, in order.
        store: The rater's file.
        rater: The rater's name.
        seed: Decides, with the rater's name, which answer stands where.
        always_reference: Whether the reference answer may be read before rating.
    """

    def __init__(
        self, items: Sequence[Item], store: Store, rater: str, seed: int, always_reference: bool = False
    ) -> None:
        self.items = tuple(items)
        self.rater = rater
        self.always_reference = always_reference
        self._store = store
        self._sides = [item.sides(rater, seed) for item in self.items]
        self._saw_reference: set[int] = set()

    def __len__(self) -> int:
        return len(self.items)

    def texts(self, n: int) -> Mapping[str, str]:
        """Side -> the answer that stands there."""
        return {side: shown_text(answer) for side, answer in zip(SIDES, self._sides[n - 1], strict=True)}

    def cited(self, n: int) -> Mapping[str, tuple[str, ...]]:
        """Side -> ids of the chunks that its answer cites."""
        return {side: answer.cited for side, answer in zip(SIDES, self._sides[n - 1], strict=True)}

    def rating(self, n: int) -> Rating | None:
        """The rating that counts for the answers as they are."""
        found = self._store.last.get(self.items[n - 1].key)
        return found if found is not None and found.answers == self.items[n - 1].answers_hash else None

    def is_stale(self, n: int) -> bool:
        """Whether there is a rating, but of answers that have changed since."""
        return self.items[n - 1].key in self._store.last and self.rating(n) is None

    @property
    def stale(self) -> int:
        """How many items have to be rated again."""
        return sum(self.is_stale(n) for n in self._numbers)

    @property
    def done(self) -> int:
        """How many items are rated."""
        return sum(self.rating(n) is not None for n in self._numbers)

    @property
    def _numbers(self) -> range:
        return range(1, len(self) + 1)

    def form(self, n: int) -> Form:
        """What is filled in: a draft first, since it is younger than the rating."""
        draft = self._store.draft(self._name(n))
        if draft is not None:
            try:
                return Form.parsed(draft)
            except FormError:
                pass
        rating = self.rating(n)
        if rating is None:
            return Form()
        pipelines = self._pipelines(n)
        sides = {pipeline: side for side, pipeline in pipelines.items()} | {TIE: TIE}
        scores = {side: dict(rating.scores[pipelines[side]]) for side in SIDES}
        return Form(scores, sides[rating.preferred], rating.note)

    def save(self, n: int, form: Form) -> bool:
        """Keep what is filled in: as a rating where it is complete, as a draft otherwise.

        Returns:
            Whether it is a rating.

        Raises:
            OSError: It cannot be written; what was kept before stays.
        """
        if not form.is_complete:
            self._store.keep_draft(self._name(n), None if form.is_empty else form.to_json())
            return False
        pipelines = self._pipelines(n)
        before = self.rating(n)
        rating = Rating(
            question=self.items[n - 1].asked.id,
            left=pipelines["left"],
            right=pipelines["right"],
            scores={pipelines[side]: {scale: form.scores[side][scale] for scale in SCALES} for side in SIDES},
            preferred=(pipelines | {TIE: TIE})[str(form.preferred)],
            note=form.note,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            answers=self.items[n - 1].answers_hash,
            saw_reference=n in self._saw_reference or (before is not None and before.saw_reference),
        )
        self._store.append(rating)
        self._store.keep_draft(self._name(n), None)
        return True

    def reference(self, n: int) -> str | None:
        """What a person wrote as answer; None where it may not be read yet."""
        if self.rating(n) is None and not self.always_reference:
            return None
        self._saw_reference.add(n)
        asked = self.items[n - 1].asked
        if not asked.answerable:
            return "The documents do not answer this question; to say so is right."
        return asked.reference or "Nobody has written an answer to this question."

    def start(self) -> int | None:
        """Where the rater goes on: what was before them last, if it is open, else the next open one."""
        names = {self._name(n): n for n in self._numbers}
        place = names.get(self._store.place or "")
        if place is not None and self.rating(place) is None:
            return place
        return self.next_after(place or 0)

    def next_after(self, n: int) -> int | None:
        """The next item that is not rated, from the beginning again after the last; None where all are."""
        order = (*range(n + 1, len(self) + 1), *range(1, n + 1))
        return next((number for number in order if self.rating(number) is None), None)

    def _name(self, n: int) -> str:
        """The item's name among drafts; another one when its answers have changed."""
        item = self.items[n - 1]
        return hash_json([item.asked.id, sorted(item.pair), item.answers_hash])

    def _pipelines(self, n: int) -> dict[str, str]:
        return {side: answer.pipeline for side, answer in zip(SIDES, self._sides[n - 1], strict=True)}
