"""Look up processor instructions that torch can use for products in half precision."""

from __future__ import annotations

import torch


def cpu_has(feature: str) -> bool:
    """Return whether the processor has an instruction set.

    Args:
        feature: ``amx_tile``, ``amx_fp16`` or ``avx512_bf16``.

    Returns:
        False as well if this release of torch cannot tell: float32 is then the default.
    """
    query = getattr(torch.cpu, f"_is_{feature}_supported", None)
    try:
        return query is not None and bool(query())
    except (RuntimeError, TypeError):
        return False
