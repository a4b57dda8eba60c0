from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models.vivit.cases import (
    BACKBONE,
    LABELS,
    SIZE,
    reference,
    small_vivit,
    vivit_config,
)
from vtnstream.config import (
    BackboneConfig,
    HeadConfig,
    ModelConfig,
    SamplingConfig,
    TemporalConfig,
    ViViTConfig,
)
from vtnstream.config.loading import from_dict, to_dict
from vtnstream.config.vivit import FORMS
from vtnstream.errors import CheckpointError, ConfigError, ModelError, VtnstreamError
from vtnstream.models.backbone import create_backbone
from vtnstream.models.complexity import count_parameters, count_vivit_products
from vtnstream.models.create import create_model
from vtnstream.models.io.checkpoint import load_model, save_model, weights_sha256
from vtnstream.models.layers.tubelet import TubeletEmbedding, inflate_kernel
from vtnstream.models.presets import preset
from vtnstream.models.vivit.model import ViViT

PAPER = {
    "vivit-b-16x2": (88.9, 455.2),
    "vivit-b-16x2-fe": (115.1, 284.4),
    "vivit-b-16x2-fsa": (117.3, 372.3),
    "vivit-b-16x2-fdp": (88.9, 277.1),
}
"""Millions of parameters and GFLOPs with attention products (Table 6 of the paper)."""


def frames(count: int = 8, batch: int = 2, *, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------- the four models


@pytest.mark.parametrize("name", PAPER)
def test_parameters_and_gflops_of_the_paper(name: str) -> None:
    model = create_model(name, num_classes=400, device="meta")
    millions, gflops = PAPER[name]
    assert abs(count_parameters(model) / 1e6 - millions) < 0.1
    products = count_vivit_products(model)
    assert abs(products.full / 1e9 / gflops - 1) < 0.01
    assert products.attention > 0


@pytest.mark.parametrize("form", FORMS)
def test_equal_to_a_dense_reference(form: str) -> None:
    model = small_vivit(form)
    clip = frames()
    with torch.no_grad():
        ours, theirs = model(clip).logits, reference(model, clip)
    assert theirs.std() > 0.02
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_every_frame_and_patch_matters(form: str) -> None:
    model, clip = small_vivit(form), frames(batch=1)
    with torch.no_grad():
        before = model(clip).logits
        for frame in range(8):
            for corner in (slice(0, 16), slice(16, 32)):
                other = clip.clone()
                other[:, frame, :, corner, corner] += 1
                assert (model(other).logits - before).abs().max() > 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_training_reaches_every_parameter(form: str) -> None:
    """With stochastic depth and dropout, which are off in evaluation."""
    regular = {"drop_path_rate": 0.2, "proj_drop_rate": 0.1, "attn_drop_rate": 0.1}
    backbone = BackboneConfig("test_vit", {**BACKBONE.arguments, **regular})
    model = small_vivit(form, backbone=backbone).train()
    for _ in range(4):  # stochastic depth leaves a block out now and then
        model(frames(batch=4)).logits.square().sum().backward()
    without = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert not without
    clip = frames()
    assert not torch.equal(model(clip).logits, model(clip).logits)
    model.eval()
    assert torch.equal(model(clip).logits, model(clip).logits)


def test_padding_frames_and_sizes_are_refused() -> None:
    model = small_vivit("joint")
    for wrong in (frames(7), frames(10)):
        with pytest.raises(ModelError, match="do not divide into samples of 8"):
            model(wrong)
    with pytest.raises(ModelError, match="do not divide into tubelets"):
        model(torch.randn(1, 8, 3, 33, 32))
    with pytest.raises(ModelError, match="36 tubelets, the model has 16 positions"):
        model(torch.randn(1, 8, 3, 48, 48))
    with pytest.raises(ModelError, match="reads no sequence"):
        model(frames(16))


# ------------------------------------------------------------------ from an image model


def image_model(**arguments: Any) -> Any:
    torch.manual_seed(5)
    image = create_backbone(BackboneConfig("test_vit", {**BACKBONE.arguments, **arguments})).eval()
    with torch.no_grad():
        for parameter in image.parameters():
            parameter.normal_(std=0.15)
    return image


def still(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    frame = torch.randn(batch, 3, SIZE, SIZE)
    return frame, frame[:, None].expand(-1, 8, -1, -1, -1)


@pytest.mark.parametrize("init", ["central-frame", "average"])
def test_a_still_clip_equals_the_image_model(init: str) -> None:
    frame, clip = still()
    image = image_model()
    with torch.no_grad():
        tokens = image.norm_pre(image._pos_embed(image.patch_embed(frame)))
        features = image(frame)
        patches = tokens[:, 1:]
        sequence = small_encoder("factorised-encoder", init)
        for index in range(4):
            sample = clip[:, 2 * index : 2 * index + 2]
            torch.testing.assert_close(sequence.backbone.embed(sample), tokens)
            torch.testing.assert_close(sequence.encode_frames(sample), features)
        for form in ("factorised-self-attention", "factorised-dot-product"):
            embedded = small_encoder(form, init).backbone.embed(clip)
            torch.testing.assert_close(embedded, patches[:, None].expand(-1, 4, -1, -1))
        joint = small_encoder("joint", init).backbone.embed(clip)
        torch.testing.assert_close(joint[:, :1], tokens[:, :1])
        torch.testing.assert_close(joint[:, 1:], patches.repeat(1, 4, 1))


def small_encoder(form: str, init: str = "central-frame", **image: Any) -> ViViT:
    return ViViT(vivit_config(form, tubelet_init=init), image_model(**image)).eval()


def test_central_frame_and_average_initialisation() -> None:
    image = torch.randn(4, 3, 2, 2)
    central, average = (inflate_kernel(image, 3, i) for i in ("central-frame", "average"))
    assert torch.equal(central[:, :, 1], image) and not central[:, :, [0, 2]].any()
    torch.testing.assert_close(average, image[:, :, None].expand(-1, -1, 3, -1, -1) / 3)
    assert central.shape == average.shape == (4, 3, 3, 2, 2)


def test_added_attention_starts_at_zero_and_can_learn() -> None:
    """Initially model 3 equals the image model on each tubelet index."""
    model = small_encoder("factorised-self-attention", class_token=False, global_pool="avg")
    image = image_model(class_token=False, global_pool="avg")
    frames = torch.randn(4, 3, SIZE, SIZE)
    clip = frames.repeat_interleave(2, dim=0)[None]  # each frame a tubelet long
    with torch.no_grad():
        tokens = model.backbone.encode(model.backbone.embed(clip))
        torch.testing.assert_close(tokens[0], image.forward_features(frames))
    model.train()
    model.encode_frames(clip).square().sum().backward()
    assert model.backbone.blocks[0].attn_time.proj.weight.grad.abs().max() > 0
    with torch.no_grad():
        for block in model.backbone.blocks:
            block.attn_time.proj.weight -= block.attn_time.proj.weight.grad
    model.zero_grad()
    model.encode_frames(clip).square().sum().backward()
    assert model.backbone.blocks[0].attn_time.qkv.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"reg_tokens": 2},
        {"no_embed_class": True},
        {"init_values": 0.3},
        {"qk_norm": True},
        {"class_token": False, "global_pool": "avg"},
        {"class_token": False, "global_pool": "map"},
        {"pre_norm": True},
        {"act_layer": "gelu_tanh"},
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_any_plain_vit_can_be_inflated(form: str, arguments: dict[str, Any]) -> None:
    """On a clip of one still tubelet, forms that keep the image model's pooling give its result
    for the frame; the others average its patches, if it has no prefix tokens."""
    image = image_model(**arguments)
    config = vivit_config(form, num_frames=2, temporal_layers=1)
    config = replace(config, backbone=BackboneConfig("test_vit", BACKBONE.arguments | arguments))
    model = ViViT(config, image_model(**arguments)).eval()
    frame, clip = still()
    with torch.no_grad():
        features = model.encode_frames(clip[:, :2])
        keeps_its_pool = form in ("joint", "factorised-encoder") or "class_token" in arguments
        if keeps_its_pool and form != "factorised-dot-product":
            torch.testing.assert_close(features, image(frame), rtol=1e-4, atol=1e-5)
    assert features.shape == (2, 64) and features.isfinite().all()
    names = set(model.state_dict())
    assert ("backbone.cls_token" in names) == (
        form in ("joint", "factorised-encoder") and "class_token" not in arguments
    )


def test_single_frames_are_uniform_frame_sampling() -> None:
    """t = 1: each frame is cut into the image model's patches."""
    image = image_model()
    embedding = TubeletEmbedding(image.patch_embed.proj, 1, "average")
    clip = frames(3)
    with torch.no_grad():
        tokens = embedding(clip)
        for number in range(3):
            torch.testing.assert_close(
                tokens[:, number], image.patch_embed(clip[:, number]).flatten(1, -2)
            )


def test_preset_starts_from_given_image_weights() -> None:
    """``create_model`` inflates the weights of timm's backbone."""
    torch.manual_seed(3)
    model = create_model(vivit_config("joint"), labels=LABELS)
    torch.manual_seed(3)
    image = create_backbone(BACKBONE)
    kernel = model.backbone.patch_embed.proj.weight
    assert torch.equal(kernel[:, :, 1], image.patch_embed.proj.weight) and not kernel[:, :, 0].any()
    assert torch.equal(model.backbone.blocks[1].mlp.fc1.weight, image.blocks[1].mlp.fc1.weight)
    assert not model.head.weight.any(), "the head starts at zero"


# --------------------------------------------------------------------------- house rules


@pytest.mark.parametrize("form", FORMS)
def test_folder_rebuilds_the_model(form: str, tmp_path: Path) -> None:
    model = small_vivit(form, dense=form == "factorised-encoder")
    loaded = load_model(save_model(model, tmp_path / "model"))
    assert isinstance(loaded, ViViT) and loaded.config == model.config
    assert weights_sha256(loaded) == weights_sha256(model)
    with torch.no_grad():
        assert torch.equal(loaded(frames()).logits, model(frames()).logits)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = save_model(small_vivit("factorised-encoder"), tmp_path / "model")
    text = (folder / "config.json").read_text()
    for old, new, message in (
        ('"temporal_layers": 2', '"temporal_layers": 1000000', "2 temporal layers, the config"),
        ('"num_frames": 8', '"num_frames": 16', r"misshapen \(temporal_encoder.pos_embed"),
        ("factorised-encoder", "joint", "2 temporal layers, the config has 0"),
        ('"form"', '"forms"', "unknown key 'forms'"),
    ):
        assert old in text
        (folder / "config.json").write_text(text.replace(old, new))
        with pytest.raises(VtnstreamError, match=message) as caught:
            load_model(folder)
        assert "\n" not in str(caught.value)
    save_model(small_vivit("joint"), folder)
    (folder / "config.json").write_text(
        text.replace("factorised-encoder", "factorised-dot-product")
    )
    with pytest.raises(CheckpointError):
        load_model(folder)


@pytest.mark.parametrize("name", [*PAPER, "vivit-l-16x2-fe"])
def test_presets_have_the_clip_of_the_paper(name: str) -> None:
    config = preset(name)
    assert config.vivit is not None
    assert (config.vivit.clip_tokens, config.vivit.frame_step) == (16, Fraction(2, 25))
    # tubelets follow each other without a hole
    assert 1 / config.sampling.fps == config.vivit.tubelet[0] * config.vivit.frame_step
    assert from_dict(ModelConfig, to_dict(config)) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"form": "model-2"}, "vivit.form must be one of joint"),
        ({"tubelet": (2, 16)}, "frames, height and width"),
        ({"tubelet": (3, 16, 16)}, "8 must be a multiple of the 3 frames"),
        ({"stride": 0}, "vivit.stride must be positive"),
        ({"tubelet_init": "random"}, "tubelet_init must be one of"),
    ],
)
def test_invalid_configs(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        vivit_config(**{"form": "joint", **changes})


def test_contradictory_configs() -> None:
    base = vivit_config("factorised-encoder")
    with pytest.raises(ConfigError, match=r"requires a table \[vivit\]"):
        replace(base, vivit=None)
    with pytest.raises(ConfigError, match=r"requires a table \[vivit\]"):
        ModelConfig(vivit=ViViTConfig())
    with pytest.raises(ConfigError, match="temporal is for a VTN"):
        replace(base, temporal=TemporalConfig(num_layers=2))
    with pytest.raises(ConfigError, match="mlp_dim is for a VTN"):
        replace(base, head=HeadConfig(labels=LABELS, mlp_dim=8))
    with pytest.raises(ConfigError, match=r"13 samples/s are too many.*less than 12\.5"):
        replace(base, sampling=SamplingConfig(fps=Fraction(13)))
    with pytest.raises(ConfigError, match="dense_labels: form 'joint' has no features per token"):
        vivit_config("joint", dense=True)
    with pytest.raises(ConfigError, match="feature_norm: form 'joint'"):
        vivit_config("joint", feature_norm="dataset")


@pytest.mark.parametrize(
    ("backbone", "changes", "message"),
    [
        (BackboneConfig("test_resnet"), {}, "plain vision transformer"),
        (BackboneConfig("deit_tiny_distilled_patch16_224"), {}, "plain vision transformer"),
        (BackboneConfig("test_vit", {"img_size": SIZE, "patch_size": 8}), {}, "8 x 8 pixels"),
        (BackboneConfig("test_vit", {"img_size": 64}), {}, "arguments.img_size"),
        (
            BackboneConfig("test_vit", {"img_size": SIZE, "num_heads": 1}),
            {},
            "even number of heads",
        ),
        (BackboneConfig("test_vit", {"img_size": SIZE, "drop_rate": 0.1}), {}, "head.dropout"),
    ],
)
def test_unusable_backbones(
    backbone: BackboneConfig, changes: dict[str, Any], message: str
) -> None:
    config = vivit_config("factorised-dot-product", backbone=backbone, **changes)
    with pytest.raises(ModelError, match=message) as caught:
        create_model(config)
    assert backbone.name in str(caught.value) and "\n" not in str(caught.value)
