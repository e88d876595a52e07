"""Low-rank adaptation (Hu et al., arXiv 2106.09685) through peft, merged into the weights when training is over."""

from typing import Any

from benchmark.errors import BenchError
from benchmark.specs.finetune import Lora


def add_lora(model: Any, settings: Lora, name: str) -> None:
    """Freeze a transformer and put trainable low-rank updates beside its layers.

    Args:
        model: A `SentenceTransformer` or `CrossEncoder`.
        settings: Rank, scaling, layers.
        name: The run's, for error messages.

    Raises:
        BenchError: peft is not installed, the model has no transformer, or no layers of these names.
    """
    try:
        from peft import LoraConfig, TaskType
    except ImportError:
        raise BenchError(f"{name}: 'lora' needs the package peft: pip install \"domainbench[lora]\"") from None
    if not model.has_peft_compatible_model():
        raise BenchError(f"{name}: 'lora' needs a transformer, which the base is not; train all weights")
    config = LoraConfig(
        task_type=TaskType.FEATURE_EXTRACTION,
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=settings.targets,
    )
    try:
        model.add_adapter(config)
    except ValueError as error:
        if "target modules" not in str(error).lower():
            raise
        names = sorted({path.rsplit(".", 1)[-1] for path, layer in model.named_modules() if _is_linear(layer)})
        raise BenchError(
            f"{name}: 'lora.targets': no layer of the base is called {settings.targets}; it has {', '.join(names)}"
        ) from None


def merge_lora(model: Any) -> None:
    """Add the updates to the weights and remove every trace of peft, so that the model is a plain one again."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    transformer = model.transformers_model
    for path, layer in list(transformer.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge(safe_merge=True)
            parent, _, last = path.rpartition(".")
            setattr(transformer.get_submodule(parent), last, layer.get_base_layer())
    transformer._hf_peft_config_loaded = False
    del transformer.peft_config
    for weight in transformer.parameters():
        weight.requires_grad_(True)


def _is_linear(layer: Any) -> bool:
    import torch

    return isinstance(layer, torch.nn.Linear)
