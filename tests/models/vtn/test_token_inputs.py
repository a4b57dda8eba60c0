from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.models.small import NUM_FEATURES, TEMPORAL, as_batch, sequence, small_vtn
from vtnstream.config import TemporalConfig
from vtnstream.errors import ConfigError
from vtnstream.models.io.checkpoint import load_model, save_model
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.models.long_sequence.windows import encode_windows
from vtnstream.models.vtn.model import VTN
from vtnstream.models.vtn.token_inputs import TokenInputs

KINDS = ("feature", "feature+difference", "feature+difference+similarity")


def plain(kind: str, values: Tensor, indices: Tensor, reach: int) -> Tensor:
    """Compute by the definition, token by token: (T, D) to (T, E)."""
    rows = []
    for t in range(len(values)):

        def neighbour(k: int, t: int = t) -> Tensor:
            there = 0 <= t + k < len(values) and int(indices[t + k] - indices[t]) == k
            return values[t + k if there else t]

        def alike(a: Tensor, b: Tensor) -> Tensor:
            return torch.nn.functional.cosine_similarity(a, b, dim=0)

        row = [values[t]]
        if kind != "feature":
            step = values[t] - neighbour(-1)
            row += [step, step.abs()]
        if kind == "feature+difference+similarity":
            near = range(1, reach + 1)
            row += [
                torch.stack([alike(values[t], neighbour(k)) for k in near]),
                torch.stack([alike(values[t], neighbour(-k)) for k in near]),
                torch.stack([alike(neighbour(-k), neighbour(k)) for k in near]),
            ]
        rows.append(torch.cat(row))
    return torch.stack(rows)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reach", [1, 3, 12])
@pytest.mark.parametrize("count", [1, 2, 40, 150])
@pytest.mark.parametrize("gaps", [False, True])
def test_equal_to_the_definition(kind: str, reach: int, count: int, gaps: bool) -> None:
    values, indices = as_batch(sequence(count, 8, gaps=gaps))
    made = TokenInputs(kind, 8, reach)
    result = made(values, indices)
    assert result.shape == (1, count, made.size)
    torch.testing.assert_close(
        result[0], plain(kind, values[0], indices[0], reach), rtol=1e-5, atol=1e-5
    )


def test_a_gap_is_not_a_change() -> None:
    """Tokens across a gap are not neighbours: a gap does not mean that the video changed."""
    values = torch.randn(1, 6, 4)
    inputs = TokenInputs("feature+difference+similarity", 4, 2)(
        values, torch.tensor([[3, 4, 5, 9, 10, 11]])
    )
    difference, similar = inputs[0, :, 4:12], inputs[0, :, 12:].view(6, 3, 2)
    for first in (0, 3):
        assert not difference[first].any()
        assert (similar[first, 1] == 1).all()
    assert (similar[[2, 5], 0] == 1).all()
    assert difference[[1, 2, 4, 5]].abs().sum(-1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_not_a_neighbour(kind: str) -> None:
    values, _ = as_batch(sequence(30, 8))
    indices = torch.arange(30)[None]
    mask = torch.arange(30)[None] < 20
    made = TokenInputs(kind, 8, 12)
    short = made(values[:, :20], indices[:, :20])
    values[:, 20:] = 1e9
    torch.testing.assert_close(made(values, indices, mask)[:, :20], short)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1, 11, 30, 257])
@pytest.mark.parametrize("block_size", [1, 5, 64, 1000])
def test_blocks_keep_their_neighbours(kind: str, count: int, block_size: int) -> None:
    features = sequence(count, 8)
    values, indices = as_batch(features)
    made = TokenInputs(kind, 8, 12)
    blocks = list(made.in_blocks(values[0].split(block_size), features.times.indices))
    result = torch.cat(blocks) if blocks else torch.empty(0, made.size)
    torch.testing.assert_close(result, made(values, indices)[0], rtol=1e-5, atol=1e-5)
    assert all(len(block) <= block_size + made.after for block in blocks)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("feature_norm", ["none", "video_mean", "running_mean"])
@pytest.mark.parametrize("block_size", [8, 33, None])
def test_blocks_equal_the_plain_pass(kind: str, feature_norm: str, block_size: int | None) -> None:
    model = small_vtn(token_inputs=kind, feature_norm=feature_norm)
    features = sequence(150)
    tokens, indices = as_batch(features)
    with torch.no_grad():
        whole = model.forward_features(tokens, indices=indices)
    blocks = encode_sequence(model, features, block_size=block_size)
    assert whole.logits is not None and blocks.logits is not None
    assert whole.dense_logits is not None and blocks.dense_logits is not None
    np.testing.assert_allclose(blocks.logits, whole.logits[0].numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        blocks.dense_logits, whole.dense_logits[0].numpy(), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window", [1, 20, 300])
def test_windows_use_the_token_before_them(kind: str, window: int) -> None:
    """Windows are taken from tokens that were computed over the whole sequence."""
    model = small_vtn(token_inputs=kind, feature_norm="video_mean")
    features = sequence(400)
    values, indices = as_batch(features)
    with torch.no_grad():
        tokens = model.embed_features(model.normalize(values), indices=indices)
        for start, logits in encode_windows(model, features, starts=[0, 7, 90], window=window):
            part = slice(start, start + window)
            encoded = model.encode_tokens(tokens[:, part], indices=indices[:, part])
            expected = model.heads(encoded).logits
            assert expected is not None
            np.testing.assert_allclose(logits, expected[0].numpy(), rtol=1e-4, atol=1e-5)


def test_embedding_is_linear_over_the_inputs(tmp_path: object) -> None:
    model = small_vtn(token_inputs=KINDS[2], similarity_reach=5, hidden_size=NUM_FEATURES)
    assert model.input_projection.weight.shape == (NUM_FEATURES, 3 * NUM_FEATURES + 15)
    assert small_vtn(token_inputs=KINDS[1]).input_projection.weight.shape == (64, 192)
    folder = save_model(model, f"{tmp_path}/model")
    loaded = load_model(folder)
    tokens, indices = as_batch(sequence(40))
    with torch.no_grad():
        ours = model.forward_features(tokens, indices=indices).logits
        theirs = loaded.forward_features(tokens, indices=indices).logits
    assert torch.equal(ours, theirs)


def test_gradients_reach_the_backbone_through_differences() -> None:
    model: VTN = small_vtn(token_inputs=KINDS[2], similarity_reach=2).train()
    with torch.no_grad():
        model.input_projection.weight[:, :NUM_FEATURES] = 0  # the feature itself
    output = model(torch.randn(2, 5, 3, 160, 160))
    output.logits.sum().backward()
    gradient = model.backbone.patch_embed.proj.weight.grad
    assert torch.isfinite(gradient).all() and gradient.abs().max() > 0


def test_differences_of_bfloat16_features_are_exact() -> None:
    """Differences are computed in float32, before conversion to the encoder's precision."""
    model = small_vtn(token_inputs=KINDS[1]).to(torch.bfloat16)
    values = 100 + torch.randn(1, 9, NUM_FEATURES) * 0.01
    indices = torch.arange(9)[None]
    inputs = model.token_inputs(values, indices)
    step = values[:, 1:] - values[:, :-1]
    torch.testing.assert_close(inputs[:, 1:, NUM_FEATURES : 2 * NUM_FEATURES], step)
    assert model.embed_features(values, indices=indices).dtype == torch.bfloat16


def test_names_and_reach_are_checked() -> None:
    with pytest.raises(ConfigError, match="token_inputs must be one of feature, "):
        TemporalConfig(token_inputs="difference")
    with pytest.raises(ConfigError, match="similarity_reach"):
        TemporalConfig(similarity_reach=0)
    assert TEMPORAL.token_inputs == "feature"
