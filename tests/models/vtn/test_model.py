from __future__ import annotations

import pytest
import torch

from tests.models.small import HEAD, NUM_FEATURES, as_batch, sequence, small_vtn
from vtnstream.config import HeadConfig
from vtnstream.errors import ModelError
from vtnstream.models.create import create_model
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.types import Features, TokenTimes

MILLIONS = {
    "vtn-r50": 167.6,
    "vtn-r101": 186.6,
    "vtn-deit-ti": 10.0,
    "vtn-deit-b": 113.5,
    "vtn-deit-bd": 113.5,
    "vtn-vit-b-1l": 95.8,
    "vtn-vit-b": 113.5,
    "vtn-vit-b-6l": 140.1,
    "vtn-vit-b-12l": 193.2,
}


@pytest.mark.parametrize("name", MILLIONS)
def test_parameters_of_the_paper(name: str) -> None:
    """Table 3 recounted: 400 classes, P = 288."""
    model = create_model(name, num_classes=400, device="meta")
    count = sum(parameter.numel() for parameter in model.parameters())
    assert abs(count / 1e6 - MILLIONS[name]) < 0.1


def test_names_of_the_published_checkpoint() -> None:
    names = set(create_model("vtn-vit-b", num_classes=400, device="meta").state_dict())
    heads = {f"mlp_head.{part}.{kind}" for part in (0, 1, 4) for kind in ("weight", "bias")}
    assert {name for name in names if name.startswith("mlp_head")} == heads
    assert {"cls_token", "backbone.blocks.0.attn.qkv.weight"} <= names
    assert "temporal_encoder.encoder.layer.2.attention.self.value_global.bias" in names
    assert {name.partition(".")[0] for name in names} == {
        "backbone",
        "cls_token",
        "temporal_encoder",
        "mlp_head",
    }


def test_end_to_end_chunked_and_features_agree() -> None:
    """The three methods of the paper's section 3 on the same frames."""
    model = small_vtn(feature_norm="video_mean")
    frames = torch.randn(1, 12, 3, 160, 160)
    indices = torch.tensor([[0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 20, 21]])
    with torch.no_grad():
        whole = model(frames, indices=indices)
        chunks = torch.cat([model.encode_frames(part) for part in frames[0].split(5)])
        stored = model.forward_features(chunks[None], indices=indices)
    grid = indices[0].numpy()
    times = TokenTimes(grid, grid, grid / 2.0, grid / 2.0)
    blocks = encode_sequence(model, Features(chunks.numpy(), times), block_size=4)
    for reference, other, third in zip(
        whole, stored, (blocks.logits, blocks.dense_logits), strict=True
    ):
        assert reference is not None and other is not None and third is not None
        torch.testing.assert_close(other, reference, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(torch.tensor(third)[None], reference, rtol=1e-5, atol=1e-5)


def test_batch_of_padded_clips_equals_each_alone() -> None:
    model = small_vtn(feature_norm="running_mean")
    first, second = as_batch(sequence(40))[0], as_batch(sequence(25, seed=5))[0]
    batch = torch.full((2, 40, NUM_FEATURES), -1.0)
    batch[0], batch[1, :25] = first[0], second[0]
    mask = torch.ones(2, 40, dtype=torch.bool)
    mask[1, 25:] = False
    with torch.no_grad():
        both = model.forward_features(batch, padding_mask=mask)
        alone = model.forward_features(second)
    assert both.logits is not None and alone.logits is not None
    assert both.dense_logits is not None and alone.dense_logits is not None
    torch.testing.assert_close(both.logits[1:], alone.logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(both.dense_logits[1:, :25], alone.dense_logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("head", "classes", "tokens"),
    [
        (HEAD, (2, 3), (2, 7, 2)),
        (HeadConfig(labels=HEAD.labels), (2, 3), None),
        (HeadConfig(dense_labels=HEAD.dense_labels), None, (2, 7, 2)),
    ],
)
def test_heads_only_where_there_are_labels(
    head: HeadConfig, classes: tuple[int, ...] | None, tokens: tuple[int, ...] | None
) -> None:
    output = small_vtn(head=head).forward_features(torch.randn(2, 7, NUM_FEATURES))
    assert (None if output.logits is None else tuple(output.logits.shape)) == classes
    assert (None if output.dense_logits is None else tuple(output.dense_logits.shape)) == tokens


def test_projection_only_where_sizes_differ() -> None:
    assert not list(small_vtn().input_projection.parameters())
    model = small_vtn(hidden_size=32)
    assert model.input_projection.weight.shape == (32, NUM_FEATURES)
    assert model.cls_token.shape == (1, 1, 32)


def test_training_reaches_the_backbone() -> None:
    model = small_vtn().train()
    output = model(torch.randn(2, 3, 3, 160, 160))
    output.logits.sum().backward()
    assert model.backbone.patch_embed.proj.weight.grad.abs().max() > 0
    assert model.cls_token.grad.abs().max() > 0


def test_backbone_must_pool() -> None:
    model = small_vtn()
    model.backbone.global_pool = ""
    model.backbone.reset_classifier(0, "")
    with pytest.raises(ModelError, match="one vector per frame"):
        model.encode_frames(torch.randn(1, 3, 160, 160))


def test_compiles_as_one_graph() -> None:
    """No branch depends on data, so the encoder compiles as one graph."""
    model = small_vtn(head=HeadConfig(labels=HEAD.labels))
    tokens = torch.randn(1, 40, NUM_FEATURES)
    compiled = torch.compile(model.forward_features, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(tokens).logits, model.forward_features(tokens).logits)
