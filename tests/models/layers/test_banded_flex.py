"""Banded FlexAttention compared with the CPU implementation; compiled if there is a GPU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from vtnstream.cli.framework.settings import _OWN_VARIABLES
from vtnstream.models.layers import banded_flash, banded_flex
from vtnstream.models.layers.sliding_window import sliding_window_attention


def operands(queries: int, keys: int, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(queries)
    made = (torch.randn(2, count, 3, 16) for count in (queries, keys, keys))
    query, key, value = (each.to(device) for each in made)
    return query, key, value


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(
    ("queries", "keys", "offset"), [(1, 1, 0), (130, 130, 0), (300, 300, 0), (200, 500, 130)]
)
@pytest.mark.parametrize("reach", [1, 16, 256])
def test_the_mask_equals_the_band(queries: int, keys: int, offset: int, reach: int) -> None:
    if offset and reach > offset:
        pytest.skip("blocks inside a sequence have their whole band")
    query, key, value = operands(queries, keys)
    mask = banded_flex.band_mask(queries, keys, reach, offset, query.device)
    out, log_sum = banded_flex.attend(flex_attention, query, key, value, mask)
    expected, expected_sum = banded_flash.banded_attention(
        query, key, value, reach=reach, offset=offset
    )
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(log_sum, expected_sum, rtol=1e-5, atol=1e-5)


def test_every_pair_of_the_band_lies_in_a_tile_of_the_mask() -> None:
    """Tiles that the compiled kernel skips must be outside the band."""
    queries, keys, reach, offset = 700, 1500, 200, 410
    mask = banded_flex.band_mask(queries, keys, reach, offset, torch.device("cpu"))
    tiles = torch.zeros(-(-queries // banded_flex.TILE), -(-keys // banded_flex.TILE), dtype=bool)
    counts, columns = mask.kv_num_blocks[0, 0], mask.kv_indices[0, 0]
    for row, count in enumerate(counts.tolist()):
        assert columns[row, :count].unique().numel() == count
        tiles[row, columns[row, :count].long()] = True
    assert not tiles.all(), "far tiles are skipped"
    for query in range(queries):
        seen = torch.arange(max(query + offset - reach, 0), min(query + offset + reach + 1, keys))
        assert tiles[query // banded_flex.TILE, seen // banded_flex.TILE].all()


class OnCuda:
    """The attributes that are read from an operand on CUDA."""

    is_cuda = True
    requires_grad = False


def test_off_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(banded_flex.SWITCH, raising=False)
    assert not banded_flex.supports(OnCuda())
    monkeypatch.setenv(banded_flex.SWITCH, "1")
    assert banded_flex.supports(OnCuda())
    assert not banded_flex.supports(torch.zeros(1))
    assert banded_flex.SWITCH in _OWN_VARIABLES, "no command calls it misspelt"


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore::UserWarning")  # compilers advise
@pytest.mark.parametrize("count", [40, 3000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_on_a_gpu(dtype: torch.dtype, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value = (each.to(dtype) for each in operands(count, count, "cuda"))
    shared = {"global_key": key[:, :1], "global_value": value[:, :1]}
    monkeypatch.delenv(banded_flex.SWITCH, raising=False)
    with torch.inference_mode():
        blocks = sliding_window_attention(query, key, value, window=512, **shared)
        monkeypatch.setenv(banded_flex.SWITCH, "1")
        flex = sliding_window_attention(query, key, value, window=512, **shared)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(flex, blocks, rtol=tolerance, atol=tolerance)
