"""Choose the floating-point type of a model: as requested, or by the hardware."""

from __future__ import annotations

import torch

from vtnstream.config.runtime import DTYPES
from vtnstream.models.torch_internals.cpu_features import cpu_has
from vtnstream.registry import lookup

AUTO = "auto"
TORCH_DTYPES = {name: getattr(torch, name) for name in DTYPES if name != AUTO}
"""Names in options, feature keys and reports -> types of torch."""

_FIRST_CUDA_BFLOAT16 = 8
"""Major compute capability; older devices emulate bfloat16, slower than float32."""


def resolve_dtype(name: str, device: torch.device | str) -> str:
    """Replace ``auto`` by bfloat16 where the hardware multiplies it fast, else by float32.

    Args:
        name: one of :data:`vtnstream.config.runtime.DTYPES`.
        device: of the model.

    Returns:
        a key of :data:`TORCH_DTYPES`, never ``auto``, for use in feature keys.

    Raises:
        UsageError: the name is unknown.
    """
    if name != AUTO:
        lookup(TORCH_DTYPES, name, "dtype")
        return name
    return "bfloat16" if has_fast_bfloat16(torch.device(device)) else "float32"


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether ``device`` has instructions for products of bfloat16: CUDA since Ampere,
    AMX or AVX512-BF16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= _FIRST_CUDA_BFLOAT16
    return any(cpu_has(feature) for feature in ("amx_tile", "avx512_bf16"))


def is_slow(dtype: str, device: torch.device) -> bool:
    """Return whether ``device`` only emulates ``dtype``, which is correct but slow."""
    if dtype == "bfloat16":
        return not has_fast_bfloat16(device)
    return dtype == "float16" and device.type == "cpu" and not cpu_has("amx_fp16")
