"""The names that ``import vtnstream`` offers, and features without building an encoder."""

from __future__ import annotations

import inspect
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import vtnstream
from vtnstream.errors import UsageError, VideoDecodeError
from vtnstream.models.backbone import create_backbone
from vtnstream.video.write import write_video

BACKBONE = "test_vit"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("api") / "video.mp4"
    random = np.random.default_rng(0)
    frames = (random.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(16))
    write_video(path, frames, Fraction(4))
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file(create_backbone(vtnstream.BackboneConfig(BACKBONE)).state_dict(), path)
    return path


def test_every_public_name_can_be_used_and_is_documented() -> None:
    for name in vtnstream.__all__:
        value = getattr(vtnstream, name)
        if name != "__version__":
            assert inspect.getdoc(value), f"{name} has no docstring"
    assert set(vtnstream.__all__) <= set(dir(vtnstream))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = vtnstream.nothing  # type: ignore[attr-defined]


def test_importing_the_package_imports_no_heavy_library() -> None:
    code = (
        "import sys, vtnstream; "
        "print([m for m in ('torch', 'av', 'timm', 'transformers', 'click') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_features_of_a_backbone_by_name(video: Path, weights: Path, tmp_path: Path) -> None:
    runtime = vtnstream.RuntimeConfig(cache_dir=tmp_path / "cache", dtype="float32")
    ask = {"backbone": BACKBONE, "weights": weights, "fps": 2, "runtime": runtime}
    features = vtnstream.extract(video, **ask)  # type: ignore[call-overload]
    assert features.values.shape == (8, 64) and features.values.dtype == np.float32
    np.testing.assert_allclose(features.times.start_seconds, np.arange(8) / 2)
    encoder = vtnstream.FrameEncoder.from_backbone(BACKBONE, weights=weights, runtime=runtime)
    file = tmp_path / "features.safetensors"
    sampling = vtnstream.SamplingConfig(fps=Fraction(2))
    report = vtnstream.extract(video, encoder, output=file, sampling=sampling, runtime=runtime)
    assert report.run["from_store"] and report.run["output"] == str(file)
    np.testing.assert_array_equal(vtnstream.load_features(file).values, features.values)


def test_requests_for_features_that_contradict_themselves(video: Path, weights: Path) -> None:
    encoder = vtnstream.FrameEncoder.from_backbone(BACKBONE, weights=weights)
    for wrong, message in (
        ({}, "name one backbone"),
        ({"encoder": encoder, "backbone": BACKBONE}, "name one backbone"),
        ({"encoder": encoder, "weights": weights}, "an encoder brings its own"),
        ({"backbone": BACKBONE}, "random weights"),
        (
            {"encoder": encoder, "fps": 1, "sampling": vtnstream.SamplingConfig()},
            "exclude each other",
        ),
    ):
        with pytest.raises(UsageError, match=message):
            vtnstream.extract(video, **wrong)  # type: ignore[call-overload]


def test_features_in_memory_are_whole_or_refused(
    video: Path, weights: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.ts"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", video, "-c", "copy", "-f", "mpegts", cut], check=True
    )
    data = bytearray(cut.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    cut.write_bytes(data)
    runtime = vtnstream.RuntimeConfig(use_cache=False)
    with pytest.raises(VideoDecodeError, match="in part only"):
        vtnstream.extract(cut, backbone=BACKBONE, weights=weights, fps=4, runtime=runtime)
