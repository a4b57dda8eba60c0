"""The model in numpy equals the model in torch in float32, and its rows depend on nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.models.small import sequence, stir
from vtnstream.config import ModelConfig, RuntimeConfig
from vtnstream.config.shipped import bundled_model
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.models.io.checkpoint import load_model, read_config, save_model, weights_sha256
from vtnstream.models.long_sequence import state_file
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.models.long_sequence.windows import encode_windows
from vtnstream.models.numpy_vtn.layout import supports
from vtnstream.models.numpy_vtn.model import NumpyVTN, load_numpy_vtn
from vtnstream.models.vtn.model import VTN

BUNDLED = read_config(bundled_model())
TOLERANCE = 1e-5
"""Of the largest number of a result."""


def changed(parts: Mapping[str, Mapping[str, Any]]) -> ModelConfig:
    """The bundled model's config with changed fields of its parts."""
    replaced = {name: replace(getattr(BUNDLED, name), **fields) for name, fields in parts.items()}
    return replace(BUNDLED, **replaced)


def both(config: ModelConfig, folder: Path) -> tuple[VTN, NumpyVTN]:
    """A model with random weights in torch and in numpy."""
    torch.manual_seed(0)
    model = VTN(config).eval()
    stir(model)
    for name, value in model.backbone.state_dict().items():
        if value.ndim == 1:  # BatchNorm: zeros hide what comes before them
            value.copy_(torch.rand_like(value) / 2 + 0.5)
        elif "projection" in name:
            value.normal_(std=0.1)
    save_model(model, folder)
    found = load_numpy_vtn(folder)
    assert found is not None
    return model, found


def close(found: np.ndarray | None, expected: np.ndarray | None) -> None:
    assert found is not None and expected is not None
    assert found.shape == expected.shape and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def pixels(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"backbone": {"out_index": 1, "grid": (2, 3)}},
        {"backbone": {"out_index": 2, "grid": (1, 1), "projection": 0, "thumbnail": ()}},
        {"backbone": {"out_index": 2, "arguments": {"channels": [8, 24, 4, 4], "stem_width": 12}}},
        {
            "backbone": {"out_index": 4, "grid": (2, 2), "thumbnail": (4, 16)},
            "preprocess": {
                "size": 64,
                "resize": 64,
                "width": 64,
                "mean": (0.485, 0.456, 0.406),
                "std": (0.229, 0.224, 0.225),
            },
        },
    ],
)
def test_features(parts: Mapping[str, Mapping[str, Any]], tmp_path: Path) -> None:
    config = changed(parts)
    model, found = both(config, tmp_path / "model")
    frames = pixels(21, config.preprocess.size, config.preprocess.frame_width)
    expected = FrameEncoder.from_model(model, RuntimeConfig(dtype="float32")).encode(frames)
    close(found.frames(frames), expected)
    assert found.weights_sha256 == weights_sha256(model)
    assert found.backbone_sha256 == weights_sha256(model.backbone)


@pytest.mark.parametrize("count", [1, 2, 31, 33, 1100])
@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"temporal": {"token_inputs": "feature+difference", "attention_window": (8, 64, 8)}},
        {
            "temporal": {"token_inputs": "feature", "num_layers": 1, "num_heads": 2},
            "head": {"linear": True, "temperature": 2.0, "dense_temperature": 0.5},
        },
        {"temporal": {"hidden_size": 48, "similarity_reach": 3}, "head": {"mlp_dim": 20}},
    ],
)
def test_sequences(count: int, parts: Mapping[str, Mapping[str, Any]], tmp_path: Path) -> None:
    model, found = both(changed(parts), tmp_path / "model")
    features = sequence(count, found.num_features)
    layers = range(model.config.temporal.num_layers)
    expected = encode_sequence(model, features, attention=layers)
    output = found.encode_sequence(features, attention=layers)
    close(output.logits, expected.logits)
    close(output.dense_logits, expected.dense_logits)
    close(output.attention, expected.attention)
    alone = found.encode_sequence(features, dense=False)
    close(alone.logits, expected.logits)
    assert alone.dense_logits is None and alone.attention is None


@pytest.mark.parametrize("positions", ["absolute", "clip"])
def test_windows(positions: str, tmp_path: Path) -> None:
    config = changed({"temporal": {"window_positions": positions}})
    model, found = both(config, tmp_path / "model")
    features, starts = sequence(300, found.num_features), [0, 7, 7, 40, 230]
    expected = dict(encode_windows(model, features, starts=starts, window=70))
    read = list(found.encode_windows(features, starts, 70))
    assert [start for start, _ in read] == starts
    for start, logits in read:
        close(logits, expected[start])


def test_the_bundled_model() -> None:
    model, found = load_model("edits"), load_numpy_vtn(bundled_model())
    assert isinstance(model, VTN) and found is not None
    frames = pixels(40, 32, 48)
    expected = FrameEncoder.from_model(model, RuntimeConfig(dtype="float32")).encode(frames)
    close(found.frames(frames), expected)
    features = sequence(200, found.num_features)
    logits = encode_sequence(model, features)
    output = found.encode_sequence(features)
    close(output.logits, logits.logits)
    close(output.dense_logits, logits.dense_logits)


def test_states_in_a_file_are_bit_identical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = load_numpy_vtn(bundled_model())
    assert found is not None
    features = sequence(1500, found.num_features)
    expected = found.encode_sequence(features)
    monkeypatch.setattr(state_file, "STATES_IN_MEMORY", 0)
    output = found.encode_sequence(features, scratch=tmp_path)
    np.testing.assert_array_equal(output.dense_logits, expected.dense_logits)
    np.testing.assert_array_equal(output.logits, expected.logits)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "parts",
    [
        {"backbone": {"name": "resnet14t"}},
        {"backbone": {"out_index": 0}},
        {"backbone": {"arguments": {**BUNDLED.backbone.arguments, "drop_path_rate": 0.1}}},
        {"backbone": {"grid": (2, 2)}},
        {"backbone": {"thumbnail": (5, 12)}},
        {"preprocess": {"width": 40}},
        {"temporal": {"kind": "full"}},
        {"temporal": {"positions": "learned"}},
        {"temporal": {"num_heads": 3, "hidden_size": 99}},
        {"temporal": {"dilation": ((1,), (2,), (1,))}},
        {"temporal": {"token_inputs": "feature+context"}},
        {"temporal": {"num_global_tokens": 2}},
        {"temporal": {"attention": "uniform"}},
        {"temporal": {"global_attention": False}},
    ],
)
def test_other_layouts_are_left_to_torch(parts: Mapping[str, Mapping[str, Any]]) -> None:
    assert supports(BUNDLED) and not supports(changed(parts))


def test_faulty_folders_are_left_to_torch(tmp_path: Path) -> None:
    folder = save_model(load_model("edits"), tmp_path / "model")
    assert load_numpy_vtn(folder) is not None
    weights, config = folder / "model.safetensors", folder / "config.json"
    good = weights.read_bytes()
    state = load_model("edits").state_dict()
    for name, value in (
        ("cls_token", torch.zeros(1, 1, 95)),
        ("dense_head.bias", torch.full((7,), float("nan"))),
        ("dense_head.bias", torch.zeros(7, dtype=torch.float16)),
        ("more", torch.zeros(1)),
    ):
        from safetensors.torch import save_file

        save_file({**state, name: value}, weights)
        assert load_numpy_vtn(folder) is None, name
    weights.write_bytes(good[:-4])
    assert load_numpy_vtn(folder) is None
    weights.unlink()
    assert load_numpy_vtn(folder) is None
    weights.write_bytes(good)
    data = json.loads(config.read_text())
    config.write_text(json.dumps({**data, "colour": 1}))
    assert load_numpy_vtn(folder) is None
    config.write_text("{")
    assert load_numpy_vtn(folder) is None
    config.write_text(json.dumps(data))
    assert load_numpy_vtn(folder) is not None


def test_hostile_folders_are_left_to_torch(tmp_path: Path) -> None:
    """A pipe would block, a device never end, and a config may describe more than memory holds."""
    folder = save_model(load_model("edits"), tmp_path / "model")
    weights, config = folder / "model.safetensors", folder / "config.json"
    good, data = weights.read_bytes(), json.loads(config.read_text())
    for name in (weights, config):
        for other in ("/dev/zero", None):
            name.unlink()
            os.mkfifo(name) if other is None else name.symlink_to(other)
            assert load_numpy_vtn(folder) is None
        name.unlink()
        weights.write_bytes(good)
        config.write_text(json.dumps(data))
    for part, field, value in (
        ("temporal", "num_layers", 10**9),
        ("temporal", "attention_window", [10**12]),
        ("temporal", "similarity_reach", 10**12),
        ("preprocess", "size", 2**30),
    ):
        changes = {field: value, "resize": value} if field == "size" else {field: value}
        config.write_text(json.dumps({**data, part: {**data[part], **changes}}))
        assert load_numpy_vtn(folder) is None
    config.write_text('{"a":' * 10**5)
    assert load_numpy_vtn(folder) is None
