"""Torch's flash attention kernel for CPUs, which also returns the logsumexp of each query.

``scaled_dot_product_attention`` runs the same kernel but drops the logsumexp, which is needed
to merge two softmaxes. If the kernel is missing or wrong, banded attention is computed in
blocks with public operators.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache

import torch
from torch import Tensor

_NAME = "_scaled_dot_product_flash_attention_for_cpu"

FlashKernel = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Query (N, L, H, Dh), keys and values (N, S, H, Dh), float mask (N or 1, 1, L, S) to the
attended values (N, L, H, Dh) and the natural logsumexp of the scores (N, L, H) float32."""

_TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 3e-2}


@cache
def flash_kernel() -> FlashKernel | None:
    """Return the kernel, or None if this release of torch has none with the expected results.

    The check attends over a few vectors in float32 and bfloat16, once per process. It runs in a
    thread of its own, unaffected by modes of the caller (counting, fake tensors, default
    devices).
    """
    results: list[bool] = []

    def check() -> None:
        with suppress(Exception):  # another signature or layout raises many kinds of error
            results.append(all(_is_right(dtype) for dtype in _TOLERANCES))

    if _find() is not None:
        thread = threading.Thread(target=check)
        thread.start()
        thread.join()
    return _call if results == [True] else None


def _find() -> Callable[..., tuple[Tensor, Tensor]] | None:
    """Return the operator, whose signature may differ from release to release."""
    return getattr(torch.ops.aten, _NAME, None)


def _call(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Run the operator; the arguments are those of :data:`FlashKernel`."""
    kernel = _find()
    assert kernel is not None
    out, log_sum = kernel(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        0.0,
        False,
        attn_mask=mask.expand(len(query), 1, -1, -1),
        scale=query.shape[-1] ** -0.5,
    )
    return out.transpose(1, 2), log_sum.transpose(1, 2)


@torch.no_grad()
def _is_right(dtype: torch.dtype) -> bool:
    """Compare the kernel with the definition of attention on overlapping strided spans of keys,
    which is how banded attention calls it."""
    spans, length, width, step, heads, size = 3, 4, 8, 2, 2, 16
    count = width + (spans - 1) * step
    query = _waves(1.0, spans, length, heads, size).to(dtype)
    key, value = (
        _waves(speed, count, heads, size).to(dtype).unfold(0, width, step).permute(0, 3, 1, 2)
        for speed in (2.0, 3.0)
    )  # views (N, S, H, Dh)
    mask = torch.zeros(1, 1, length, width, dtype=dtype, device="cpu")
    mask[..., 0, 3:] = mask[..., 2, :5] = float("-inf")
    out, log_sum = _call(query, key, value, mask)
    scores = torch.einsum("nlhd,nshd->nhls", query.double(), key.double()) / math.sqrt(size)
    scores = scores + mask.double()
    expected = torch.einsum("nhls,nshd->nlhd", scores.softmax(-1), value.double())
    expected_sum = scores.logsumexp(-1).transpose(1, 2)  # (N, L, H)
    if out.shape != expected.shape or log_sum.shape != expected_sum.shape:
        return False
    if out.dtype != dtype or log_sum.dtype != torch.float32:
        return False
    most = _TOLERANCES[dtype]
    error = torch.maximum((out - expected).abs().amax(), (log_sum - expected_sum).abs().amax())
    return bool(error <= most)


def _waves(speed: float, *shape: int) -> Tensor:
    """Return values between -1 and 1 that are the same on every call."""
    steps = torch.arange(math.prod(shape), dtype=torch.float32, device="cpu")
    return torch.sin(speed * (1 + steps)).view(shape)
