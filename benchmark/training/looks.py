"""Looks at the development split during training: the best weights are kept, and training stops when it peaked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmark.files import dump_json, read_json, write_text

_HISTORY: Final = "looks.json"


class Looks:
    """Scores of a model at some steps of its training, and its weights at the best of them.

    A training that is resumed goes through some steps again. With the same seed on the same machine it has the same
    weights there, so that what was seen at a step is not looked at again, and whether to stop is asked of the looks
    up to that step alone: the end is the same as without the kill.

    Attributes:
        scores: Step -> score.
    """

    def __init__(
        self, model: Any, score: Callable[[], float], folder: Path, every: int, patience: int, *, new_head: bool
    ) -> None:
        """Take up what is kept in the folder.

        Args:
            model: The module whose weights are kept.
            score: How good the model is as it stands; higher is better.
            folder: Where the looks and the best weights are kept.
            every: Steps between two looks; the last step has one of its own.
            patience: Looks without a better one after which training stops.
            new_head: Whether the model scores at random before it is trained. If not, it is looked at before the
                first step too, and of equal looks the first is the best, closest to what the model was; if so, the
                last, for a few queries are soon in the right order by chance.
        """
        self._new_head = new_head
        self._model, self._score, self._folder = model, score, folder
        self._every, self._patience = every, patience
        path = folder / _HISTORY
        kept = read_json(path)["looks"] if path.is_file() else []
        self.scores: dict[int, float] = {entry["step"]: entry["score"] for entry in kept}

    @property
    def best(self) -> int:
        """The step with the highest score; of equals see `new_head`."""
        return max(self.scores, key=lambda step: (self.scores[step], step if self._new_head else -step))

    def over(self, step: int) -> bool:
        """Whether the looks up to a step say that the peak has passed: patience is lost where nothing gets better."""
        seen = {at: score for at, score in self.scores.items() if at <= step}
        peak = max(seen, key=lambda at: (seen[at], -at), default=step)
        return sum(at > peak for at in seen) >= self._patience

    def look(self, step: int, *, writes: bool = True) -> None:
        """Score the model, and keep its weights unless they were better before; nothing if that was done before.

        Args:
            step: Where training stands.
            writes: Whether this process looks and writes; of several that train together only one does.
        """
        if step in self.scores:
            return
        score = _told_to_all(self._score() if writes else 0.0)
        self.scores[step] = score
        if writes:
            if self.best == step:
                self._save(step)
            entries = [{"step": at, "score": seen} for at, seen in sorted(self.scores.items())]
            write_text(self._folder / _HISTORY, dump_json({"looks": entries}))
            for path in self._folder.glob("best-*.safetensors"):
                if path != self._weights(self.best):
                    path.unlink()

    def restore(self) -> None:
        """Give the model the weights of the best look."""
        from safetensors.torch import load_model

        load_model(self._model, str(self._weights(self.best)), device=str(next(self._model.parameters()).device))

    def callback(self) -> Any:
        """A `TrainerCallback` that looks."""
        from transformers import TrainerCallback

        looks = self

        class Look(TrainerCallback):  # type: ignore[misc]
            def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
                if not looks._new_head and state.global_step == 0:
                    looks.look(0, writes=state.is_world_process_zero)

            def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
                step = state.global_step
                if step % looks._every and step < state.max_steps:
                    return
                looks.look(step, writes=state.is_world_process_zero)
                if looks.over(step):
                    control.should_training_stop = True
                    # No checkpoint of the end: whoever resumes from it would train one more step.
                    control.should_save = False

        return Look()

    def _weights(self, step: int) -> Path:
        return self._folder / f"best-{step}.safetensors"

    def _save(self, step: int) -> None:
        from safetensors.torch import save_model

        path = self._weights(step)
        temporary = path.with_suffix(".tmp")
        save_model(self._model, str(temporary))
        temporary.replace(path)


def _told_to_all(score: float) -> float:
    """What the first of several processes that train together has found; the score itself where there is one."""
    from accelerate.utils import broadcast_object_list

    found: list[float] = broadcast_object_list([score], from_process=0)
    return found[0]
