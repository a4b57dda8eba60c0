"""Encoders of weights that were met before: built only when a frame is encoded, and equal."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vtnstream.config import BackboneConfig, RuntimeConfig
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.errors import ModelError
from vtnstream.models.backbone import create_backbone

BACKBONE = BackboneConfig("test_vit", {"img_size": 64})


def save_weights(path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    save_file(create_backbone(BACKBONE).state_dict(), path)
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return save_weights(tmp_path / "weights.safetensors", 0)


@pytest.fixture
def runtime(tmp_path: Path) -> RuntimeConfig:
    return RuntimeConfig(cache_dir=tmp_path / "cache", device="cpu", dtype="float32")


def encoder_of(weights: Path, runtime: RuntimeConfig) -> FrameEncoder:
    return FrameEncoder.from_backbone(BACKBONE, weights=weights, runtime=runtime)


def frames(encoder: FrameEncoder) -> np.ndarray:
    size = encoder.preprocess.size
    return np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)


def test_an_encoder_met_before_is_built_late_and_equal(
    weights: Path, runtime: RuntimeConfig
) -> None:
    first, second = encoder_of(weights, runtime), encoder_of(weights, runtime)
    assert first.is_built and not second.is_built
    assert second.weights_sha256 == first.weights_sha256
    assert second.num_features == first.num_features
    run = second.runner(2)
    assert not second.is_built
    np.testing.assert_array_equal(run(frames(first)), first.encode(frames(first)))
    assert second.is_built


def test_other_files_settings_and_no_cache_are_hashed_anew(
    weights: Path, runtime: RuntimeConfig
) -> None:
    first = encoder_of(weights, runtime)
    status = weights.stat()
    save_weights(weights, 1)
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    changed = encoder_of(weights, runtime)
    assert changed.is_built and changed.weights_sha256 != first.weights_sha256
    assert encoder_of(weights, replace(runtime, use_cache=False)).is_built


def test_weights_that_change_in_use_are_refused(weights: Path, runtime: RuntimeConfig) -> None:
    encoder_of(weights, runtime)
    late = encoder_of(weights, runtime)
    save_weights(weights, 1)
    with pytest.raises(ModelError, match="changed while they were in use"):
        late.encode(frames(late))


def test_damaged_notes_are_made_again(weights: Path, runtime: RuntimeConfig) -> None:
    first = encoder_of(weights, runtime)
    assert runtime.cache_dir is not None
    (note,) = (runtime.cache_dir / "networks").glob("*.json")
    note.write_text(note.read_text().replace(first.weights_sha256, "0" * 64))
    again = encoder_of(weights, runtime)
    assert again.is_built and again.weights_sha256 == first.weights_sha256
