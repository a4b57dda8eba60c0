"""The flash kernel is used only if it gives the results that its check expects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from vtnstream.models.layers.sliding_window import implementation_for, sliding_window_attention
from vtnstream.models.torch_internals import flash_kernel as gate


@pytest.fixture(autouse=True)
def fresh_check() -> Iterator[None]:
    gate.flash_kernel.cache_clear()
    yield
    gate.flash_kernel.cache_clear()


def attended() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 2, 150, 3, 16, generator=generator)
    return sliding_window_attention(
        query, key, value, window=16, global_key=key[:, :1], global_value=value[:, :1]
    )


def with_another_signature(query: Tensor, key: Tensor, value: Tensor) -> Any:
    raise AssertionError("never called with these arguments")


def with_sums_to_base_2(*operands: Any, **options: Any) -> tuple[Tensor, Tensor]:
    out, log_sum = KERNEL(*operands, **options)
    return out, log_sum / torch.log(torch.tensor(2.0))


def without_mask(*operands: Any, attn_mask: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    return KERNEL(*operands, attn_mask=torch.zeros_like(attn_mask), **options)


def without_sums(*operands: Any, **options: Any) -> tuple[Tensor, Tensor]:
    out, log_sum = KERNEL(*operands, **options)
    return out, log_sum[..., :1]


KERNEL: Any = gate._find()


@pytest.mark.skipif(KERNEL is None, reason="this release of torch has no such kernel")
def test_the_kernel_of_this_torch_passes() -> None:
    assert gate.flash_kernel() is not None
    assert implementation_for(torch.zeros(1)) == "flash"


@pytest.mark.parametrize(
    "kernel",
    [None, with_another_signature, with_sums_to_base_2, without_mask, without_sums],
)
def test_another_kernel_is_not_used(
    kernel: Callable[..., Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = attended()
    gate.flash_kernel.cache_clear()
    monkeypatch.setattr(gate, "_find", lambda: kernel)
    assert gate.flash_kernel() is None
    assert implementation_for(torch.zeros(1)) == "blocks"
    torch.testing.assert_close(attended(), expected, rtol=1e-5, atol=1e-5)


def test_the_check_is_independent_of_the_modes_of_its_caller() -> None:
    with torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
        found = gate.flash_kernel()
    assert (found is None) == (KERNEL is None)
