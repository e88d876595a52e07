"""A scoring head that is trained beside low-rank updates: peft leaves it out of a checkpoint, so it is kept apart."""

from pathlib import Path
from typing import Any


class Head:
    """The weights of a transformer that are not in its body; trained as a whole, and kept for every checkpoint.

    Args:
        transformer: The model with a head, low-rank updates included.
        folder: Where checkpoints are kept.
    """

    def __init__(self, transformer: Any, folder: Path) -> None:
        body = f"{transformer.base_model_prefix}."
        self._folder = folder
        self._weights = {name: weight for name, weight in transformer.named_parameters() if not name.startswith(body)}
        for weight in self._weights.values():
            weight.requires_grad_(True)

    def callback(self) -> Any:
        """A `TrainerCallback` that writes the weights before each checkpoint and removes those of older ones.

        Where training goes on from a checkpoint, the trainer has just loaded that with a random head: it is replaced.
        """
        from transformers import TrainerCallback

        head = self

        class Keep(TrainerCallback):  # type: ignore[misc]
            def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
                if state.global_step:
                    head._load(state.global_step)

            def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
                if control.should_save and state.is_world_process_zero:
                    head._save(state.global_step)

            def on_save(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
                for path in head._folder.glob("head-*.safetensors"):
                    if state.is_world_process_zero and path != head._path(state.global_step):
                        path.unlink()

        return Keep()

    def _path(self, step: int) -> Path:
        return self._folder / f"head-{step}.safetensors"

    def _save(self, step: int) -> None:
        from safetensors.torch import save_file

        temporary = self._path(step).with_suffix(".tmp")
        save_file({name: weight.detach().cpu().contiguous() for name, weight in self._weights.items()}, str(temporary))
        temporary.replace(self._path(step))

    def _load(self, step: int) -> None:
        import torch
        from safetensors.torch import load_file

        kept = load_file(str(self._path(step)))
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(kept[name])
