"""Dilation, several global tokens, uniform and full attention, compared with the full matrix."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.models.small import TEMPORAL, as_batch, sequence, small_vtn, stir
from vtnstream.models.io.checkpoint import load_model, save_model
from vtnstream.models.layers import banded_flash
from vtnstream.models.layers.attention import LongformerSelfAttention
from vtnstream.models.layers.positions import rotate, rotation
from vtnstream.models.layers.sliding_window import sliding_window_attention
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.models.long_sequence.windows import encode_windows

SHAPES = {
    "dilated": {"dilation": ((1,), (3,))},
    "dilated by head": {"dilation": ((1, 2, 3, 7),)},
    "more globals": {"num_global_tokens": 3},
    "uniform": {"attention": "uniform"},
    "uniform full": {"attention": "uniform", "kind": "full"},
    "full": {"kind": "full"},
    "full without globals": {"kind": "full", "global_attention": False},
    "all of it": {
        "dilation": ((1,), (1, 1, 2, 5)),
        "num_global_tokens": 2,
        "attention_window": (4, 12),
        "token_inputs": "feature+difference",
    },
}


def dense(
    attention: LongformerSelfAttention, tokens: Tensor, cls: Tensor, places: Tensor | None
) -> Tensor:
    """Compute the attention of a layer by its definition: a masked matrix of all pairs.

    Returns:
        (B, G + T, D), global tokens first.
    """
    globals_, length, heads = cls.shape[1], tokens.shape[1], attention.num_heads

    def split(states: Tensor) -> Tensor:
        return states.unflatten(-1, (heads, -1))

    both = torch.cat((cls, tokens), 1)
    ask, key, value = (
        split(each(both)) for each in (attention.query, attention.key, attention.value)
    )
    scores = torch.einsum("bthd,bshd->bhts", ask, key)
    if places is not None:
        turn = rotation(places, attention.head_dim)
        a, b = (rotate(each[:, globals_:], turn) for each in (ask, key))
        scores[:, :, globals_:, globals_:] = torch.einsum("bthd,bshd->bhts", a, b)
    own_ask, own_key, own_value = (split(each(both)) for each in attention._of_globals)
    scores[:, :, :globals_] = torch.einsum("bthd,bshd->bhts", own_ask[:, :globals_], own_key)
    if attention.uniform:
        scores = torch.zeros_like(scores)

    seen = torch.ones(heads, globals_ + length, globals_ + length, dtype=torch.bool)
    if attention.window is not None:
        apart = torch.arange(length)[:, None] - torch.arange(length)
        steps = attention.dilation * (heads if len(attention.dilation) == 1 else 1)
        for head, step in enumerate(steps):
            near = (apart % step == 0) & (apart.abs() <= attention.window // 2 * step)
            seen[head, globals_:, globals_:] = near
    if not attention.global_attention:
        seen[:, :globals_, globals_:] = False
        seen[:, globals_:, :globals_] = False
    weights = (scores / math.sqrt(attention.head_dim)).masked_fill(~seen, -math.inf).softmax(-1)
    out = torch.einsum("bhts,bshd->bthd", weights, value)
    out[:, :globals_] = torch.einsum("bhts,bshd->bthd", weights[:, :, :globals_], own_value)
    return out.flatten(2)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("length", [1, 5, 40, 200])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("way", ["flash", "blocks"])
def test_attention_equals_the_masked_matrix(
    shape: str, length: int, turned: bool, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "blocks":
        monkeypatch.setattr(banded_flash, "flash_kernel", lambda: None)
    config = small_vtn(**SHAPES[shape]).config.temporal
    places = torch.arange(length)[None] * 2 if turned else None
    turn = None if places is None else rotation(places, 8)
    for layer in range(config.num_layers):
        torch.manual_seed(layer)
        attention = LongformerSelfAttention(
            32,
            4,
            config.attention_windows[layer] if config.kind == "longformer" else None,
            dilation=config.dilations[layer],
            global_attention=config.global_attention,
            uniform=config.attention == "uniform",
        ).eval()
        stir(attention, 0.3)
        tokens, cls = torch.randn(2, length, 32), torch.randn(2, config.num_global_tokens, 32)
        with torch.no_grad():
            local = attention.local(tokens, attention.keys_values(tokens, turn), cls, angles=turn)
            running = attention.begin_global(cls)
            if attention.global_attention:
                running.update(tokens)
            found = torch.cat((attention.end_global(running), local), 1)
            expected = dense(attention, tokens, cls, places)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("block_size", [16, 50, None])
def test_blocks_windows_and_files_agree(shape: str, block_size: int | None, tmp_path: Path) -> None:
    model = small_vtn(**SHAPES[shape])
    features = sequence(150)
    values, indices = as_batch(features)
    with torch.no_grad():
        plain = model.forward_features(values, indices=indices)
    assert plain.logits is not None and plain.dense_logits is not None
    found = encode_sequence(model, features, block_size=block_size)
    first = encode_sequence(model, features, block_size=block_size, dense=False)
    np.testing.assert_allclose(found.logits, plain.logits[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(first.logits, plain.logits[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.dense_logits, plain.dense_logits[0], rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        tokens = model.embed_features(values, indices=indices)
        for start, logits in encode_windows(model, features, starts=[0, 60], window=40):
            part = slice(start, start + 40)
            alone = model.encode_tokens(tokens[:, part], indices=indices[:, part])
            expected = model.heads(alone).logits
            assert expected is not None
            np.testing.assert_allclose(logits, expected[0], rtol=1e-4, atol=1e-5)
    if block_size is None:
        loaded = load_model(save_model(model, tmp_path / "model"))
        assert loaded.config == model.config
        again = encode_sequence(loaded, features).logits
        np.testing.assert_array_equal(again, encode_sequence(model, features).logits)


@pytest.mark.parametrize("shape", SHAPES)
def test_padding_and_gradients(shape: str) -> None:
    model = small_vtn(**SHAPES[shape])
    values, _ = as_batch(sequence(60))
    mask = torch.ones(2, 60, dtype=torch.bool)
    mask[1, 33:] = False
    batch = values.repeat(2, 1, 1)
    batch[1, 33:] = 5.0
    both = model.forward_features(batch, padding_mask=mask)
    alone = model.forward_features(values[:, :33])
    assert both.logits is not None and alone.logits is not None
    assert both.dense_logits is not None and alone.dense_logits is not None
    torch.testing.assert_close(both.logits[1:], alone.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both.dense_logits[1:, :33], alone.dense_logits, rtol=1e-4, atol=1e-5)
    (both.logits.sum() + both.dense_logits[mask].sum()).backward()
    for name, parameter in model.temporal_encoder.named_parameters():
        if parameter.grad is not None:
            assert torch.isfinite(parameter.grad).all(), name
    weight = model.temporal_encoder.layers[0].attention.self.value.weight
    assert weight.grad is not None and weight.grad.abs().max() > 0


def test_uniform_attention_is_a_mean_of_the_window() -> None:
    attention = LongformerSelfAttention(8, 2, 4, uniform=True).eval()
    tokens, cls = torch.randn(1, 9, 8), torch.randn(1, 1, 8)
    with torch.no_grad():
        found = attention.local(tokens, attention.keys_values(tokens), cls)[0, 4]
        seen = torch.cat((cls[0], tokens[0, 2:7]))
        torch.testing.assert_close(found, attention.value(seen).mean(0))


@pytest.mark.parametrize("start", [0, 3, 100])
@pytest.mark.parametrize("steps", [(2,), (1, 2, 5)])
def test_dilated_queries_within_more_keys(start: int, steps: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 1, 200, 3, 8).unbind(0)
    whole = sliding_window_attention(query, key, value, window=6, dilation=steps)
    reach = 3 * max(steps)
    first, stop = max(start - reach, 0), min(start + 40, 200)
    near = slice(first, stop + reach)
    part = sliding_window_attention(
        query[:, start:stop],
        key[:, near],
        value[:, near],
        window=6,
        offset=start - first,
        dilation=steps,
    )
    torch.testing.assert_close(part, whole[:, start:stop], rtol=1e-5, atol=1e-5)


def test_one_global_token_does_not_change_checkpoints() -> None:
    names = set(small_vtn().state_dict())
    assert "global_tokens" not in names
    more = small_vtn(num_global_tokens=4)
    assert set(more.state_dict()) - names == {"global_tokens"}
    assert more.global_tokens.shape == (1, 3, 64)
    assert TEMPORAL.num_global_tokens == 1
