"""Errors of features and scores in bfloat16, on real architectures.

Processors without such instructions emulate it with the same rounding.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import vtnstream
from tests.small_model import noise_frames
from vtnstream.config import BackboneConfig, PreprocessConfig, RuntimeConfig
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.models.backbone import create_backbone
from vtnstream.models.vtn.model import VTN


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("deit_tiny_patch16_224", {"img_size": 96}), ("resnet18", {}), ("mobilenetv3_small_050", {})],
)
def test_bfloat16_features_keep_their_direction(name: str, arguments: dict[str, int]) -> None:
    torch.manual_seed(0)
    config = BackboneConfig(name, arguments)
    backbone, preprocess = create_backbone(config), PreprocessConfig(size=96, resize=96)
    blocks = np.stack(list(noise_frames(count=6)))
    frames = np.pad(blocks, ((0, 0), (16, 16), (16, 16), (0, 0)), mode="reflect")
    exact, half = (
        FrameEncoder(backbone, config, preprocess, dtype=dtype).encode(frames)
        for dtype in ("float32", "bfloat16")
    )
    assert half.dtype == np.float32 and not np.array_equal(exact, half)
    norms = np.linalg.norm(exact, axis=1)
    assert (np.linalg.norm(half - exact, axis=1) / norms).max() < 0.03
    cosines = (exact * half).sum(1) / (norms * np.linalg.norm(half, axis=1))
    assert cosines.min() > 0.999


def test_bfloat16_scores_differ_by_hundredths(
    video: Path, model: VTN, runtime: RuntimeConfig
) -> None:
    """The untrained heads of the model are scaled until tokens differ."""
    exact, half = (
        vtnstream.classify(video, model=model, runtime=replace(runtime, dtype=dtype))
        for dtype in ("float32", "bfloat16")
    )
    expected = {score.label: score.score for score in exact.classes}
    assert {score.label: score.score for score in half.classes} == pytest.approx(expected, abs=0.05)


def test_an_emulated_precision_is_warned_about_once(
    video: Path, model: VTN, runtime: RuntimeConfig
) -> None:
    from vtnstream.encoding.engines.state import EngineState
    from vtnstream.encoding.extract import extract_features
    from vtnstream.models.precision import is_slow
    from vtnstream.progress import NullProgress

    told: list[str] = []

    class Listener(NullProgress):
        def warn(self, message: str) -> None:
            told.append(message)

    half = replace(runtime, dtype="float16", use_cache=False)
    encoder, engines = FrameEncoder.from_model(model, half), EngineState()
    for _ in range(2):
        with extract_features(
            video,
            encoder,
            model.config.sampling,
            runtime=half,
            progress=Listener(),
            engines=engines,
        ):
            pass
    assert len(told) == is_slow("float16", encoder.device)
    assert all("float16 is emulated on this CPU and slow" in message for message in told)


def test_the_weights_of_the_caller_keep_their_precision() -> None:
    """A backbone that nobody else uses is converted itself, with the same features."""
    torch.manual_seed(0)
    config = BackboneConfig("test_vit", {"img_size": 64})
    preprocess = PreprocessConfig(size=64, resize=64)
    backbone = create_backbone(config).eval()
    own = copy.deepcopy(backbone)
    shared = FrameEncoder(backbone, config, preprocess, dtype="bfloat16")
    owned = FrameEncoder(own, config, preprocess, dtype="bfloat16", owned=True)
    assert {p.dtype for p in backbone.parameters()} == {torch.float32}
    assert {p.dtype for p in shared.network.parameters()} == {torch.bfloat16}
    assert shared.weights_sha256 == owned.weights_sha256
    frames = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)
    np.testing.assert_array_equal(shared.encode(frames), owned.encode(frames))
