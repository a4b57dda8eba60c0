from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vtnstream.models.layers import banded_flash
from vtnstream.models.layers.positions import rotate, rotation
from vtnstream.models.layers.sliding_window import sliding_window_attention


def heads(batch: int, length: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, length, 3, 8, generator=generator)


def plain(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    window: int,
    valid: Tensor,
    shared: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Tensor:
    """The definition, with the full T x T matrix."""
    length = query.shape[1]
    distance = torch.arange(length)[:, None] - torch.arange(length)[None]
    band = (distance.abs() <= window // 2) & (valid[:, None, :] | (distance == 0))
    scores = torch.einsum("bthd,bshd->bhts", query, key) / math.sqrt(query.shape[-1])
    scores = scores.masked_fill(~band[:, None], float("-inf"))
    if shared is not None:
        extra = torch.einsum("bthd,bghd->bhtg", shared[2], shared[0]) / math.sqrt(query.shape[-1])
        scores = torch.cat((extra, scores), -1)
        value = torch.cat((shared[1], value), 1)
    return torch.einsum("bhts,bshd->bthd", scores.softmax(-1), value)


@pytest.fixture(params=["flash", "blocks"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run every test with torch's kernel on strided views and with public operators."""
    if request.param == "blocks":
        monkeypatch.setattr(banded_flash, "flash_kernel", lambda: None)
    else:
        assert banded_flash.supports(torch.zeros(1)), "this torch lacks the kernel"
    return str(request.param)


@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 64, 150, 400])
@pytest.mark.parametrize("window", [2, 8, 64, 160, 600])
@pytest.mark.parametrize("num_globals", [0, 1, 3])
@pytest.mark.parametrize("padded", [False, True])
def test_equal_to_banded_softmax(length: int, window: int, num_globals: int, padded: bool) -> None:
    query, key, value = (heads(2, length, seed) for seed in range(3))
    valid = torch.ones(2, length, dtype=torch.bool)
    if padded:
        valid[1, length // 2 :] = False
    shared = None
    if num_globals:
        shared = (heads(2, num_globals, 4), heads(2, num_globals, 5), query)
    result = sliding_window_attention(
        query,
        key,
        value,
        window=window,
        valid=valid if padded else None,
        global_key=shared[0] if shared else None,
        global_value=shared[1] if shared else None,
    )
    torch.testing.assert_close(
        result, plain(query, key, value, window, valid, shared), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("num_globals", [1, 2])
def test_rotary_positions_rotate_local_queries_only(num_globals: int) -> None:
    query, key, value = (heads(1, 70, seed) for seed in range(3))
    shared = (heads(1, num_globals, 4), heads(1, num_globals, 5), query)
    turn = rotation(torch.arange(70)[None] * 5, 8)
    result = sliding_window_attention(
        rotate(query, turn),
        rotate(key, turn),
        value,
        window=16,
        global_key=shared[0],
        global_value=shared[1],
        global_query=query,
    )
    valid = torch.ones(1, 70, dtype=torch.bool)
    expected = plain(rotate(query, turn), rotate(key, turn), value, 16, valid, shared)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


def test_half_precision_keeps_the_global_scores() -> None:
    """Scores appended to the query as numbers lose no precision."""
    query, key, value = (heads(1, 64, seed).bfloat16() for seed in range(3))
    shared = (10 * heads(1, 1, 4).bfloat16(), heads(1, 1, 5).bfloat16())
    arguments = {"window": 16, "global_key": shared[0], "global_value": shared[1]}
    beside = sliding_window_attention(query, key, value, global_query=query, **arguments)
    valid = torch.ones(1, 64, dtype=torch.bool)
    exact = plain(
        query.float(),
        key.float(),
        value.float(),
        16,
        valid,
        (shared[0].float(), shared[1].float(), query.float()),
    )
    error = (beside.float() - exact).abs().max()
    direct = sliding_window_attention(query, key, value, **arguments)
    assert error <= 2 * (direct.float() - exact).abs().max() + 1e-3


@pytest.mark.parametrize("start", [0, 5, 40, 300])
@pytest.mark.parametrize("count", [37, 96, 200])
def test_queries_within_more_keys(start: int, count: int) -> None:
    query, key, value = (heads(1, 500, seed) for seed in range(3))
    whole = sliding_window_attention(query, key, value, window=20)
    stop = min(start + count, 500)
    first, last = max(start - 10, 0), stop + 10
    part = sliding_window_attention(
        query[:, start:stop],
        key[:, first:last],
        value[:, first:last],
        window=20,
        offset=start - first,
    )
    torch.testing.assert_close(part, whole[:, start:stop], rtol=1e-5, atol=1e-5)


def test_padding_is_ignored_and_finite() -> None:
    query, key, value = (heads(2, 60, seed) for seed in range(3))
    valid = torch.ones(2, 60, dtype=torch.bool)
    valid[0, 20:50] = False  # wider than the window: rows with no valid key
    clean = sliding_window_attention(query, key, value, window=8, valid=valid)
    value[~valid] = 1e9
    key[~valid] = 1e9
    dirty = sliding_window_attention(query, key, value, window=8, valid=valid)
    assert torch.isfinite(clean).all() and torch.isfinite(dirty).all()
    torch.testing.assert_close(dirty[valid], clean[valid])


def test_linear_in_length() -> None:
    """200,000 tokens: a matrix of all pairs would be 160 GB."""
    tokens = torch.randn(1, 200_000, 1, 4)
    result = sliding_window_attention(tokens, tokens, tokens, window=8)
    middle = slice(100_000, 100_100)
    near = slice(middle.start - 4, middle.stop + 4)
    part = sliding_window_attention(
        tokens[:, middle], tokens[:, near], tokens[:, near], window=8, offset=4
    )
    torch.testing.assert_close(result[:, middle], part, rtol=1e-5, atol=1e-5)


def test_gradients_match_the_definition() -> None:
    inputs = [heads(1, 45, seed).double().requires_grad_() for seed in range(3)]
    valid = torch.ones(1, 45, dtype=torch.bool)
    valid[:, 40:] = False
    ours = sliding_window_attention(*inputs, window=10, valid=valid)
    theirs = plain(*inputs, 10, valid)
    weight = heads(1, 45, 9).double() * valid[:, :, None, None]
    for a, b in zip(
        torch.autograd.grad((ours * weight).sum(), inputs),
        torch.autograd.grad((theirs * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
