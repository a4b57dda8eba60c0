"""Checkpoints of the reference, compared with an independent forward pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.models.io.pyslowfast_files import SMALL, Size, checkpoint, make_reference, recipe, save
from vtnstream.config.shipped import shipped_labels
from vtnstream.models.io.checkpoint import load_model, save_model
from vtnstream.models.io.pyslowfast import Choices, import_checkpoint

SMALL_CHOICES = Choices(backbone="test_vit", num_heads=4, attention_window=6)


def test_kinetics_400_labels_are_those_of_torchvision() -> None:
    from torchvision.models.video import R3D_18_Weights

    labels = shipped_labels("kinetics-400")
    assert list(labels) == R3D_18_Weights.KINETICS400_V1.meta["categories"]
    assert len(labels) == 400 and list(labels) == sorted(labels)


@pytest.mark.parametrize("length", [1, 16, 45])
@pytest.mark.parametrize("stated", ["by choice", "by its config"])
def test_logits_of_the_reference(tmp_path: Path, length: int, stated: str) -> None:
    """Frame numbers wrap at the end of the table; two clips at once; saved and loaded."""
    reference = make_reference(SMALL)
    if stated == "by choice":
        path = save(tmp_path / "c.pyth", checkpoint(reference))
        imported = import_checkpoint(path, SMALL_CHOICES)
    else:
        path = save(tmp_path / "c.pyth", checkpoint(reference, cfg=recipe(SMALL)))
        imported = import_checkpoint(path, Choices(backbone="test_vit"))
    model = load_model(save_model(imported.model, tmp_path / "model"))
    frames = torch.randn(2, length, 3, 160, 160)
    numbers = torch.stack((torch.arange(length), torch.arange(length) * 7 // 3))
    with torch.no_grad():
        ours = model(frames, indices=numbers).logits
    torch.testing.assert_close(ours, reference(frames, numbers), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_logits_of_the_reference_at_full_size(tmp_path: Path) -> None:
    """ViT-B/16, 3 layers, 400 classes, and all other values of the published config."""
    reference = make_reference(Size())
    path = save(tmp_path / "VTN_VIT_B_KINETICS.pyth", checkpoint(reference))
    imported = import_checkpoint(path)
    config = imported.model.config
    assert config.temporal.attention_windows == (18, 18, 18) and config.temporal.num_heads == 12
    assert config.temporal.max_positions == 288 and config.head.labels[0] == "abseiling"
    frames = torch.randn(1, 40, 3, 224, 224)
    numbers = torch.arange(40)[None] * 8
    with torch.no_grad():
        ours = imported.model(frames, indices=numbers).logits
    torch.testing.assert_close(ours, reference(frames, numbers), rtol=1e-4, atol=1e-4)


def test_colours_sampling_and_sizes_of_the_published_model(tmp_path: Path) -> None:
    path = save(tmp_path / "c.pyth", checkpoint(make_reference(SMALL)))
    imported = import_checkpoint(path, SMALL_CHOICES)
    config = imported.model.config
    assert config.preprocess.mean == (0.45,) * 3 and config.preprocess.std == (0.225,) * 3
    assert (config.preprocess.resize, config.preprocess.size) == (256, 224)
    assert config.sampling.key() == {"kind": "uniform", "num_frames": 250}
    assert config.temporal.positions == "learned" and config.temporal.max_positions == 50
    assert config.head.labels == shipped_labels("kinetics-400")
    assert "holds no config" in imported.notes[0] and "alphabetical" in imported.notes[1]
    assert not imported.model.training


def test_choices_take_precedence_over_the_stored_config(tmp_path: Path) -> None:
    size = replace(SMALL, window=10, classes=3)
    data = {"MEAN": [0.1, 0.2, "3e-1"], "STD": [0.5] * 3, "TEST_CROP_SIZE": 160}
    stored = recipe(size, **data, TRAIN_JITTER_SCALES=[182, 228], EVAL_NUM_FRAMES=99)
    path = save(tmp_path / "c.pyth", checkpoint(make_reference(size), cfg=stored))
    choices = Choices(name="mine", backbone="test_vit", labels=("a", "b", "c"))
    imported = import_checkpoint(path, choices)
    config = imported.model.config
    assert imported.notes == () and config.name == "mine"
    assert config.preprocess.mean == (0.1, 0.2, 0.3) and config.preprocess.size == 160
    assert config.preprocess.resize == 182 and config.sampling.num_frames == 99
    assert config.temporal.attention_window == (10,) and config.temporal.num_heads == 4
    other = import_checkpoint(path, replace(choices, attention_window=4, num_heads=2))
    assert other.model.config.temporal.attention_window == (4,)
    assert other.model.config.temporal.num_heads == 2


def test_prefixes_of_data_parallel_are_removed(tmp_path: Path) -> None:
    content = checkpoint(make_reference(SMALL))
    content["model_state"] = {f"module.{k}": v for k, v in content["model_state"].items()}
    assert import_checkpoint(save(tmp_path / "c.pyth", content), SMALL_CHOICES).model
