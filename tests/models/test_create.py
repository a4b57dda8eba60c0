from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.models.small import CONFIG
from vtnstream.config.loading import from_dict, to_dict
from vtnstream.config.model import ModelConfig
from vtnstream.errors import UsageError
from vtnstream.models.backbone import native_preprocess
from vtnstream.models.create import create_model
from vtnstream.models.presets import ALIASES, preset, presets


def test_presets_equal_the_papers() -> None:
    found = {name: config for name, config in presets().items() if config.architecture == "vtn"}
    assert len(found) == 9 and all(name.startswith("vtn-") for name in found)
    for name, config in found.items():
        assert config.name == name
        assert config.sampling.kind == "uniform" and config.sampling.num_frames == 250
        assert config.temporal.positions == "learned" and config.temporal.max_positions == 288
        assert config.temporal.attention_window == (32,)
        assert config.feature_norm == "none"
        assert "." in config.backbone.name, "the weights' tag is pinned"
        native = native_preprocess(config.backbone)
        transformer = config.backbone.name.startswith(("vit_", "deit_"))
        resize = 256 if transformer else native.resize  # the paper's, where timm's is 248
        assert config.preprocess == replace(native, resize=resize)
        assert from_dict(ModelConfig, to_dict(config)) == config


def test_aliases_and_unknown_names() -> None:
    assert {alias: preset(alias).name for alias in ALIASES} == ALIASES
    with pytest.raises(UsageError, match="did you mean 'vtn-vit-b"):
        preset("vtn-vitb")


def test_classes_by_number_or_name() -> None:
    model = create_model("vtn-deit-ti", num_classes=3, device="meta")
    assert model.config.head.labels == ("class_0", "class_1", "class_2")
    model = create_model(CONFIG, labels=("a", "b"), dense_labels=("x",), device="meta")
    assert model.config.head.labels == ("a", "b")
    assert model.mlp_head[4].out_features == 2 and model.dense_head.out_features == 1
    assert create_model("vtn-deit-ti", device="meta").mlp_head is None
    with pytest.raises(UsageError, match="2 labels for num_classes=3"):
        create_model(CONFIG, num_classes=3, labels=("a", "b"))
    with pytest.raises(UsageError, match="at least 1"):
        create_model(CONFIG, num_classes=0)


def test_meta_device_allocates_no_weights() -> None:
    model = create_model("vtn-r101", num_classes=400, device="meta")
    assert all(tensor.is_meta for tensor in model.state_dict().values())


def test_untrained_model_is_ready_to_train() -> None:
    torch.manual_seed(0)
    model = create_model("vtn-deit-ti", num_classes=5)
    assert model.training
    table = model.temporal_encoder.embeddings.position_embeddings.weight.detach()
    assert table.std() > 0.5
    small = create_model("vtn-deit-ti", num_classes=5, position_init="normal")
    table = small.temporal_encoder.embeddings.position_embeddings.weight.detach()
    assert table.std() < 0.03
