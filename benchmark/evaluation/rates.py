"""How many texts or pairs a model does in a second on this machine: as measured before, or on a sample."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from benchmark.console import SILENT, Reporter
from benchmark.encoders.store import rate
from benchmark.errors import BenchError
from benchmark.evaluation.needs import Model, Texts
from benchmark.project import Project

if TYPE_CHECKING:
    from benchmark.evaluation.evaluate import Evaluator

_SAMPLE: Final = 64
"""Texts or pairs that are measured, at most; of work that is not more, measuring would be the better part."""
_FIRST: Final = 4
_SECONDS: Final = 1.0
"""What measuring may take beyond loading; it ends after the step in which it is reached."""


class Rates:
    """Rates of models, each found out once.

    Args:
        project: Where the specs stand.
        measure: Whether models of which nothing is known are loaded and tried on a sample.
        reporter: Told which one is tried.
    """

    def __init__(self, project: Project, *, measure: bool = False, reporter: Reporter = SILENT) -> None:
        self._project = project
        self._measure = measure
        self._reporter = reporter
        self._known: dict[str, float | None] = {}

    def seconds(
        self, model: Model, source: Texts | Literal["pairs"], count: int, evaluator: "Evaluator"
    ) -> float | None:
        """About how long something takes; None where that is not known.

        Args:
            model: What does it.
            source: Which texts it encodes, or whether it scores pairs.
            count: How many of them.
            evaluator: Of the domain whose texts they are.
        """
        scored = rate(self._project, model.fingerprint, "query") if source in ("queries", "unanswerable") else None
        each = scored or self._known.get(model.fingerprint)
        if each is None:
            return None
        # Of questions nothing but passages is known, at first: they take as much less time as they are shorter.
        shorter = 1.0 if scored or source == "pairs" else _length(evaluator, source) / _length(evaluator, "corpus")
        return count / each * shorter

    def learn(self, model: Model, count: int, evaluator: "Evaluator") -> None:
        """Find out how many passages an encoder, or pairs a cross-encoder, does in a second.

        Args:
            model: What does them.
            count: How many texts or pairs it has to do, in all.
            evaluator: A domain whose texts may be tried.
        """
        key = model.fingerprint
        if key in self._known:
            return
        kept = rate(self._project, key, "pair" if model.family == "cross-encoder" else "document")
        if kept is None and self._measure and count > _SAMPLE and self._is_at_hand(model):
            self._reporter.note(f"{model.spec}: measuring how fast it is here")
            kept = self._tried(model, evaluator)
        self._known[key] = kept

    def _is_at_hand(self, model: Model) -> bool:
        """Whether trying a model costs nothing but a moment: no money, as an API does, and no export of its weights."""
        if model.family == "api":
            return False
        from benchmark.encoders.backends import exported_folder

        is_torch = self._project.model_spec(model.spec).backend == "torch"
        return is_torch or exported_folder(self._project, model.fingerprint).is_dir()

    def _tried(self, model: Model, evaluator: "Evaluator") -> float | None:
        """A model that breaks while it is measured will tell of it when its turn comes."""
        from benchmark.encoders.dense import model_errors

        try:
            with model_errors(f"model_specs/{model.spec}.yaml: cannot be measured"):
                return _measured(self._project, model, evaluator)
        except BenchError:
            return None


def _measured(project: Project, model: Model, evaluator: "Evaluator") -> float | None:
    passages = spread(evaluator.texts("corpus"), _SAMPLE)
    loaded = _opened(project, model)
    if model.family != "cross-encoder":
        return per_second(passages, lambda part: loaded.encode(part, "document"))
    from benchmark.encoders.pairs import logits

    queries = evaluator.texts("queries")
    pairs = [(queries[number % len(queries)], passage) for number, passage in enumerate(passages)]
    return per_second(pairs, lambda part: logits(loaded, part, SILENT, name=model.spec))


def per_second(
    items: Sequence[Any], work: Callable[[Sequence[Any]], object], seconds: float = _SECONDS
) -> float | None:
    """How many items are done in a second: in growing groups, of which the first only warms up.

    Args:
        items: What to work on; not all of it, where that would take long.
        work: Does some of them.
        seconds: After which no further group is begun.
    """
    groups: list[tuple[int, float]] = []
    size, left = _FIRST, items
    while left and sum(taken for _, taken in groups) < seconds:
        group, left = left[:size], left[size:]
        size *= 2
        started = time.perf_counter()
        work(group)
        groups.append((len(group), time.perf_counter() - started))
    counted = groups[1:] or groups
    total = sum(taken for _, taken in counted)
    return sum(count for count, _ in counted) / total if total > 0 else None


def _length(evaluator: "Evaluator", source: Texts) -> float:
    """Characters of a text, on average, and at least one."""
    texts = evaluator.texts(source)
    return max(1.0, sum(map(len, texts)) / max(1, len(texts)))


def spread(texts: Sequence[str], count: int) -> list[str]:
    """So many texts at most, evenly spaced."""
    return list(texts[:: max(1, -(-len(texts) // count))])


def _opened(project: Project, model: Model) -> Any:
    """The model, loaded; an encoder of ours or a library's cross-encoder."""
    if model.family == "cross-encoder":
        from benchmark.encoders.backends import open_reranker

        return open_reranker(project, model.spec)
    if model.family == "sparse":
        from benchmark.encoders.sparse import SparseModel

        return SparseModel.load(project, model.spec)
    if model.family == "late-interaction":
        from benchmark.encoders.late import LateInteractionModel

        return LateInteractionModel.load(project, model.spec)
    from benchmark.encoders.adapter import open_encoder

    return open_encoder(project, model.spec)
