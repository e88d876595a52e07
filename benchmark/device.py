"""Where models run, and how exactly they may calculate there."""


def device_name() -> str:
    """Where models run: cuda, mps or cpu."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def fast_bfloat16() -> bool:
    """Whether this machine multiplies in bfloat16 faster than in float32: newer GPUs, CPUs with AVX512-BF16 or AMX.

    Elsewhere on CPUs bfloat16 is emulated and slower.
    """
    import torch

    if device_name() == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device_name() == "cpu" and any(getattr(torch.cpu, name, lambda: False)() for name in asked)
