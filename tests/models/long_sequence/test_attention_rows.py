"""Attention weights of [CLS] from the pass in blocks, compared with a softmax over all keys."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.models.small import as_batch, sequence, small_vtn
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.models.vtn.model import VTN
from vtnstream.types import Features


@torch.no_grad()
def rows_the_long_way(model: VTN, features: Features) -> np.ndarray:
    """Return (layers, H, 1 + N): softmax over ``query_global . key_global`` of every state."""
    tokens, indices = as_batch(features)
    encoder = model.temporal_encoder
    states = model.embed_features(model.normalize(tokens), indices=indices)
    turn = encoder.rotation(indices)
    states = encoder.embeddings(states, indices, None)
    cls = encoder.embeddings.embed_cls(model.cls_token)
    rows = []
    for layer in encoder.layers:
        attention = layer.attention.self
        heads = attention.num_heads
        query = attention.query_global(cls)[0].view(heads, -1)
        keys = attention.key_global(torch.cat((cls, states), 1))[0]
        scores = torch.einsum("he,nhe->hn", query, keys.view(len(keys), heads, -1))
        rows.append(torch.softmax(scores / query.shape[-1] ** 0.5, -1).numpy())
        after = layer.forward_cls(states, cls, None)
        states, cls = layer.forward_tokens(states, cls, turn, None), after
    return np.stack(rows)


@pytest.mark.parametrize("count", [1, 33, 257])
@pytest.mark.parametrize("dense", [True, False])
def test_rows_of_every_layer_and_head(count: int, dense: bool) -> None:
    model, features = small_vtn(num_layers=3), sequence(count)
    with torch.no_grad():
        for layer in model.temporal_encoder.layers:  # untrained attention is nearly even
            layer.attention.self.query_global.weight.mul_(30)
    expected = rows_the_long_way(model, features)
    output = encode_sequence(model, features, block_size=32, dense=dense, attention=range(3))
    assert output.attention is not None
    np.testing.assert_allclose(output.attention, expected[:, :, 1:], rtol=2e-4, atol=1e-7)
    if count > 1:
        assert output.attention[0].std(-1).min() > 1e-3
    last = encode_sequence(model, features, block_size=32, dense=dense, attention=(-1,))
    np.testing.assert_array_equal(last.attention, output.attention[2:])


def test_keeping_weights_changes_no_result() -> None:
    model, features = small_vtn(), sequence(150)
    plain = encode_sequence(model, features, block_size=32)
    watched = encode_sequence(model, features, block_size=32, attention=(0, -1))
    np.testing.assert_array_equal(plain.logits, watched.logits)
    np.testing.assert_array_equal(plain.dense_logits, watched.dense_logits)
    assert plain.attention is None


def test_no_weights_without_global_attention() -> None:
    model, features = small_vtn(global_attention=False), sequence(50)
    output = encode_sequence(model, features, attention=(-1,))
    assert output.attention is not None
    assert output.attention.shape[-1] == 50
    assert not output.attention.any()
