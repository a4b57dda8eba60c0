"""Causal mode: no influence of later tokens, and a stream equals the pass over the whole."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.models.small import as_batch, sequence, small_vtn
from vtnstream import OnlineModel
from vtnstream.config import ModelConfig, TemporalConfig
from vtnstream.errors import ConfigError, ModelError
from vtnstream.models.io.checkpoint import load_model, save_model
from vtnstream.models.io.parts import parts_of
from vtnstream.models.layers.positions import rotate, rotation
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.models.vtn.longformer_layer import LongformerLayer
from vtnstream.models.vtn.model import VTN

SHAPES: dict[str, dict[str, object]] = {
    "plain": {},
    "learned positions": {"positions": "learned"},
    "fixed positions": {"positions": "fixed"},
    "wide": {"attention_window": (120,)},
    "narrow and deep": {"attention_window": (2, 4, 8), "num_layers": 3},
    "more globals": {"num_global_tokens": 3},
    "no globals": {"global_attention": False},
    "uniform": {"attention": "uniform"},
    "differences": {"token_inputs": "feature+difference", "hidden_size": 32},
}


def causal(shape: str = "plain", **options: object) -> VTN:
    return small_vtn(**{"causal": True, **SHAPES[shape], **options})  # type: ignore[arg-type]


def layer_by_definition(
    layer: LongformerLayer, tokens: Tensor, cls: Tensor, places: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Compute one step after another: (T, D), (T, G, D) to the same shapes."""
    attention = layer.attention.self
    heads, size = attention.num_heads, attention.head_dim
    scale = 0.0 if attention.uniform else 1 / math.sqrt(size)

    def split(projection: torch.nn.Module, states: Tensor) -> Tensor:
        made: Tensor = projection(states).unflatten(-1, (heads, size))
        return made

    ask, key, value = (
        split(each, tokens) for each in (attention.query, attention.key, attention.value)
    )
    turned_ask, turned_key = ask, key
    if places is not None:
        turn = rotation(places[None], size)
        turned_ask, turned_key = rotate(ask[None], turn)[0], rotate(key[None], turn)[0]
    seen, looked = [], []
    reach = attention.window // 2
    for t in range(len(tokens)):
        first = max(t - reach, 0)
        scores = torch.einsum("hd,shd->hs", turned_ask[t], turned_key[first : t + 1])
        values = value[first : t + 1]
        if attention.global_attention:
            of_cls = torch.einsum("hd,ghd->hg", ask[t], split(attention.key, cls[t]))
            scores = torch.cat((of_cls, scores), -1)
            values = torch.cat((split(attention.value, cls[t]), values))
        seen.append(torch.einsum("hs,shd->hd", (scores * scale).softmax(-1), values).flatten())

        asks = [split(attention.query_global, cls[s]) for s in range(t + 1)]
        own = torch.einsum("ghd,fhd->ghf", asks[t], split(attention.key_global, cls[t]))
        values = split(attention.value_global, cls[t])
        if attention.global_attention:
            keys = split(attention.key_global, tokens[: t + 1])
            past = torch.stack(
                [torch.einsum("ghd,hd->gh", asks[s], keys[s]) for s in range(t + 1)], -1
            )
            own = torch.cat((own, past), -1)
            values = torch.cat((values, split(attention.value_global, tokens[: t + 1])))
        looked.append(torch.einsum("ghs,shd->ghd", (own * scale).softmax(-1), values).flatten(1))
    return layer.finish(torch.stack(seen), tokens), layer.finish(torch.stack(looked), cls)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("length", [1, 37])
def test_equal_to_the_definition(shape: str, length: int) -> None:
    model = causal(shape)
    values, indices = as_batch(sequence(length))
    encoder = model.temporal_encoder
    with torch.no_grad():
        found = model.forward_features(values, indices=indices)
        tokens = model.embed_features(values, indices=indices)
        tokens = encoder.embeddings(tokens, indices)[0]
        cls = encoder.embed_cls(model.all_global_tokens())[0].expand(length, -1, -1)
        places = indices[0] if model.config.temporal.positions == "rotary" else None
        for layer in encoder.layers:
            tokens, cls = layer_by_definition(layer, tokens, cls, places)
        torch.testing.assert_close(found.dense_logits[0], model.token_logits(tokens))
        torch.testing.assert_close(found.logits[0], model.class_logits(cls[-1, 0]))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", ["none", "running_mean"])
def test_a_changed_token_changes_nothing_before_it(shape: str, norm: str) -> None:
    model = causal(shape, feature_norm=norm)
    values, indices = as_batch(sequence(90))
    online = OnlineModel(model).push
    for changed in (1, 64, 89):
        other = values.clone()
        other[:, changed:] = torch.randn_like(other[:, changed:]) * 5
        with torch.no_grad():
            before = model.forward_features(values, indices=indices).dense_logits[0]
            after = model.forward_features(other, indices=indices).dense_logits[0]
        torch.testing.assert_close(after[:changed], before[:changed], rtol=1e-5, atol=1e-5)
        assert not torch.allclose(after[changed], before[changed], atol=1e-3)
    whole = online(values[0], indices[0]).logits
    late = OnlineModel(model).push(other[0], indices[0]).logits
    torch.testing.assert_close(late[:89], whole[:89], rtol=1e-5, atol=1e-5)
    if model.config.temporal.global_attention:
        assert not torch.allclose(late[89], whole[89], atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pieces", [(1,), (7, 1, 64)])
def test_a_stream_equals_the_whole(shape: str, pieces: tuple[int, ...]) -> None:
    norms = ("none", "dataset", "running_mean") if shape == "differences" else ("running_mean",)
    for norm in norms:
        model = causal(shape, feature_norm=norm)
        features = sequence(80)
        values, indices = as_batch(features)
        with torch.no_grad():
            whole = model.forward_features(values, indices=indices)
        online = OnlineModel(model)
        start, number, said, classes = 0, 0, [], []
        while start < 80:
            stop = min(start + pieces[number % len(pieces)], 80)
            output = online.push(values[0, start:stop], indices[0, start:stop])
            said.append(output.dense_logits)
            classes.append(output.logits)
            start, number = stop, number + 1
        close = {"rtol": 1e-4, "atol": 1e-5}
        torch.testing.assert_close(torch.cat(said), whole.dense_logits[0], **close)
        torch.testing.assert_close(torch.cat(classes)[-1], whole.logits[0], **close)
        held = [state.past.key.shape[1] for state in online._attention.states]
        reaches = [window // 2 for window in model.config.temporal.attention_windows]
        assert held == [min(reach, 80) for reach in reaches]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [0, 130])
def test_blocks_equal_the_whole(shape: str, count: int) -> None:
    model = causal(shape)
    features = sequence(count)
    values, indices = as_batch(features)
    with torch.no_grad():
        whole = model.forward_features(values, indices=indices)
    for size in (50, None):
        for dense in (True, False):
            found = encode_sequence(model, features, block_size=size, dense=dense)
            np.testing.assert_allclose(found.logits, whole.logits[0], rtol=1e-4, atol=1e-5)
            assert (found.dense_logits is None) == (not dense)
            if dense:
                expected = whole.dense_logits[0]
                np.testing.assert_allclose(found.dense_logits, expected, rtol=1e-4, atol=1e-5)


def test_one_layer_equals_the_offline_encoder() -> None:
    """If all steps have the same query, the running softmax equals the softmax."""
    for shape in ("plain", "more globals", "uniform"):
        options = {**SHAPES[shape], "num_layers": 1}
        ours, theirs = causal(shape, num_layers=1), small_vtn(**options)  # type: ignore[arg-type]
        theirs.load_state_dict(ours.state_dict())
        features = sequence(100)
        found = encode_sequence(ours, features, attention=[-1])
        expected = encode_sequence(theirs, features, attention=[-1])
        np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.attention, expected.attention, rtol=1e-4, atol=1e-6)


def test_padding_and_gradients() -> None:
    model = causal()
    values, _ = as_batch(sequence(90))
    mask = torch.ones(2, 90, dtype=torch.bool)
    mask[1, 33:] = False
    batch = values.repeat(2, 1, 1)
    batch[1, 33:] = 500.0
    both = model.forward_features(batch, padding_mask=mask)
    alone = model.forward_features(values[:, :33])
    torch.testing.assert_close(both.logits[1:], alone.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both.dense_logits[1:, :33], alone.dense_logits, rtol=1e-4, atol=1e-5)
    (both.logits.sum() + both.dense_logits[mask].sum()).backward()
    for name, parameter in model.temporal_encoder.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
    assert model.cls_token.grad.abs().max() > 0


def test_growing_scores_keep_earlier_tokens() -> None:
    """A later token with a high score must not make the sums of earlier steps underflow."""
    model = causal()
    values, indices = as_batch(sequence(80))
    grown = values * torch.linspace(1, 2000, 80)[None, :, None]
    with torch.no_grad():
        output = model.forward_features(grown, indices=indices)
    assert torch.isfinite(output.dense_logits).all() and torch.isfinite(output.logits).all()


def test_half_precision_tokens_are_close() -> None:
    model = causal("more globals")
    values, indices = as_batch(sequence(70))
    twin = model.in_precision(torch.bfloat16)
    with torch.no_grad():
        whole = model.forward_features(values, indices=indices).dense_logits
        half = twin.forward_features(values, indices=indices).dense_logits
    assert (half.float() - whole).abs().max() < 0.15 * whole.abs().max()


def test_dropout_leaves_the_mean() -> None:
    model = causal(dropout=0.0, attention_dropout=0.3, num_layers=1)
    values, _ = as_batch(sequence(40))
    torch.manual_seed(0)
    with torch.no_grad():
        quiet = model.temporal_encoder(model.embed_features(values), model.cls_token)
        model.train()
        attended = []
        for _ in range(150):
            attended.append(model.temporal_encoder(model.embed_features(values), model.cls_token))
    mean = torch.stack(attended).mean(0)
    assert (attended[0] - attended[1]).abs().max() > 1e-3
    assert (mean - quiet).abs().mean() < 0.4 * (attended[0] - quiet).abs().mean()


def test_a_causal_model_is_saved_and_loaded(tmp_path: Path) -> None:
    model = causal("differences", feature_norm="running_mean")
    loaded = load_model(save_model(model, tmp_path / "model"))
    assert loaded.config.temporal.causal
    features = sequence(50)
    np.testing.assert_array_equal(
        encode_sequence(loaded, features).logits, encode_sequence(model, features).logits
    )


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"kind": "full"}, "longformer"),
        ({"dilation": ((2,),)}, "dilation"),
        ({"token_inputs": "feature+difference+similarity"}, "later"),
    ],
)
def test_options_that_need_later_tokens_are_refused(options: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        TemporalConfig(causal=True, **options)  # type: ignore[arg-type]


def test_unsupported_uses_are_refused() -> None:
    with pytest.raises(ConfigError, match="running_mean"):
        ModelConfig(temporal=TemporalConfig(causal=True), feature_norm="video_mean")
    with pytest.raises(ModelError, match="attends to later tokens"):
        OnlineModel(small_vtn())
    with pytest.raises(ModelError, match="online"):
        parts_of(causal())
    assert "causal" in TemporalConfig(causal=True).describe()
