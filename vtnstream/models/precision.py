"""In which floating-point type a model computes: the user's word, or what the hardware is
fast at."""

from __future__ import annotations

import torch

from vtnstream.config.runtime import DTYPES
from vtnstream.models.torch_internals.cpu_features import cpu_has
from vtnstream.registry import lookup

AUTO = "auto"
TORCH_DTYPES = {name: getattr(torch, name) for name in DTYPES if name != AUTO}
"""Torch's types by the names that options, feature keys and reports use."""

_FIRST_CUDA_BFLOAT16 = 8
"""Major compute capability; older devices emulate bfloat16, slower than float32."""


def resolve_dtype(name: str, device: torch.device | str) -> str:
    """``auto`` is bfloat16 where the hardware multiplies it fast, else float32.

    Args:
        name: one of :data:`vtnstream.config.runtime.DTYPES`.
        device: what will compute.

    Returns:
        A key of :data:`TORCH_DTYPES`: never ``auto``, so that it can stand in a feature key.

    Raises:
        UsageError: the name is unknown.
    """
    if name != AUTO:
        lookup(TORCH_DTYPES, name, "dtype")
        return name
    return "bfloat16" if has_fast_bfloat16(torch.device(device)) else "float32"


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether ``device`` has instructions for products of bfloat16: CUDA from Ampere on, AMX
    or AVX512-BF16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= _FIRST_CUDA_BFLOAT16
    return any(cpu_has(feature) for feature in ("amx_tile", "avx512_bf16"))


def is_slow(dtype: str, device: torch.device) -> bool:
    """Whether ``device`` only emulates ``dtype``: the numbers are right, and come slowly."""
    if dtype == "bfloat16":
        return not has_fast_bfloat16(device)
    return dtype == "float16" and device.type == "cpu" and not cpu_has("amx_fp16")
