from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.models.small import sequence
from tests.models.vivit.cases import BACKBONE, SIZE, small_vivit
from vtnstream.config import BackboneConfig
from vtnstream.errors import ModelError
from vtnstream.models.vivit import sequence as vivit_sequence
from vtnstream.models.vivit.model import ViViT
from vtnstream.models.vivit.sequence import ClipSpan, encode_clips, encode_whole
from vtnstream.types import Features


def factorised(**changes: object) -> ViViT:
    model = small_vivit("factorised-encoder", **changes)
    if model.feature_norm.kind != "none":
        model.feature_norm.set_statistics(torch.randn(64), torch.rand(64) + 0.5)
    return model


@pytest.mark.parametrize("block_size", [7, 64, 500])
@pytest.mark.parametrize("gaps", [False, True])
def test_blocks_equal_the_whole_pass(block_size: int, gaps: bool) -> None:
    model = factorised(dense=True, feature_norm="video_mean")
    features = sequence(150, gaps=gaps)
    indices = torch.tensor(features.times.indices)[None]
    with torch.no_grad():
        plain = model.forward_features(torch.tensor(features.values)[None], indices=indices)
    blocks = encode_whole(model, features, block_size=block_size)
    assert plain.logits is not None and plain.dense_logits is not None
    np.testing.assert_allclose(blocks.logits, plain.logits[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(blocks.dense_logits, plain.dense_logits[0], rtol=1e-4, atol=1e-5)
    class_alone = encode_whole(model, features, block_size=block_size, dense=False)
    assert class_alone.dense_logits is None
    np.testing.assert_allclose(class_alone.logits, blocks.logits, rtol=1e-4, atol=1e-5)


def test_blocks_with_every_optional_module() -> None:
    arguments = {**BACKBONE.arguments, "qk_norm": True, "init_values": 0.3, "qkv_bias": False}
    model = factorised(backbone=BackboneConfig("test_vit", arguments))
    features = sequence(60)
    with torch.no_grad():
        plain = model.forward_features(
            torch.tensor(features.values)[None], indices=torch.tensor(features.times.indices)[None]
        )
    assert plain.logits is not None
    blocks = encode_whole(model, features, block_size=13)
    np.testing.assert_allclose(blocks.logits, plain.logits[0], rtol=1e-4, atol=1e-5)


def test_end_to_end_equals_features() -> None:
    model = factorised()
    frames = torch.randn(1, 24, 3, SIZE, SIZE)  # three clips long
    with torch.no_grad():
        whole = model(frames).logits
        features = torch.cat([model.encode_frames(part[None]) for part in frames[0].split(2)])
    assert whole is not None
    times = sequence(12, gaps=False).times
    output = encode_whole(model, Features(features.numpy(), times), block_size=5)
    np.testing.assert_allclose(output.logits, whole[0], rtol=1e-4, atol=1e-5)


def test_memory_is_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention processes ``block`` queries at a time, each against all keys, unmasked."""
    seen: list[tuple[int, int]] = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def watched(query: torch.Tensor, key: torch.Tensor, *args: object, **more: object) -> object:
        seen.append((query.shape[2], key.shape[2]))
        assert more.get("attn_mask") is None
        return attend(query, key, *args, **more)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    encode_whole(factorised(), sequence(700))
    assert {keys for _, keys in seen} == {701}
    assert max(queries for queries, _ in seen) == vivit_sequence.TOKENS_AT_ONCE
    assert seen[-1] == (1, 701), "the last layer is [CLS] alone"


# ------------------------------------------------------------------------------ positions


def test_positions_of_a_clip_are_rows_of_the_table() -> None:
    encoder = factorised().temporal_encoder
    assert encoder is not None
    table = encoder.pos_embed[0, 1:]
    indices = torch.tensor([[5, 6, 7, 8]])
    assert torch.equal(encoder.positions(indices, indices[:, :1], indices[:, -1:])[0], table)
    short = torch.tensor([[40, 42]])  # keeps true distances
    assert torch.equal(encoder.positions(short, short[:, :1], short[:, -1:])[0], table[[0, 2]])


def test_longer_sequences_interpolate_positions() -> None:
    """As ``torch.nn.functional.interpolate`` with its corners aligned."""
    encoder = factorised().temporal_encoder
    assert encoder is not None
    table = encoder.pos_embed[:, 1:].transpose(1, 2)
    for count in (5, 10, 31):
        wanted = torch.nn.functional.interpolate(
            table, size=count, mode="linear", align_corners=True
        )[0].T
        indices = torch.arange(count)[None] + 1000
        found = encoder.positions(indices, indices[:, :1], indices[:, -1:])[0]
        torch.testing.assert_close(found, wanted)


# ---------------------------------------------------------------------------------- clips


@pytest.mark.parametrize("window", [4, 9, 300])
def test_clips_of_a_factorised_encoder_equal_the_plain_model(window: int) -> None:
    model, features = factorised(feature_norm="dataset"), sequence(700, gaps=False)
    values = model.feature_norm(torch.tensor(features.values))
    assert model.temporal_encoder is not None and model.head is not None
    clips = [ClipSpan(first, first + window) for first in (0, 2, 4, 100, 399)]
    clips.append(ClipSpan(690, 693))
    found = list(encode_clips(model, features, clips))
    for clip, logits in zip(clips, found, strict=True):
        with torch.no_grad():
            states = model.temporal_encoder(values[None, clip.first : clip.stop])
            plain = model.head(states[0, 0])
        np.testing.assert_allclose(logits, plain, rtol=1e-4, atol=1e-5)


def test_clips_of_other_forms_are_stored_at_their_first_token() -> None:
    model, features = small_vivit("joint"), sequence(30)
    clips = [ClipSpan(first, first + 4) for first in (0, 8, 16, 26)]
    found = np.stack(list(encode_clips(model, features, clips)))
    assert model.head is not None
    with torch.no_grad():
        wanted = model.head(torch.tensor(features.values[[0, 8, 16, 26]]))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_clip_models_have_no_whole_pass() -> None:
    with pytest.raises(ModelError, match=r"small-vivit \(joint\) takes clips"):
        encode_whole(small_vivit("joint"), sequence(30))
