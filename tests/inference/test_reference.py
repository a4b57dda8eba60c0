"""``--reference-preprocess``: frames read and prepared as PySlowFast does, against a rewriting of
its data loader."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F

import vtnstream
from tests.synth import SyntheticVideo
from vtnstream.config import (
    BackboneConfig,
    HeadConfig,
    ModelConfig,
    PreprocessConfig,
    RuntimeConfig,
    SamplingConfig,
    TemporalConfig,
)
from vtnstream.errors import UsageError
from vtnstream.inference.reference import ReferencePreprocess, run_reference
from vtnstream.models.create import create_model
from vtnstream.models.vtn.model import VTN

FRAMES = 25
RUNTIME = RuntimeConfig(device="cpu", dtype="float32", use_cache=False)


@pytest.fixture(scope="module")
def model() -> VTN:
    torch.manual_seed(0)
    config = ModelConfig(
        sampling=SamplingConfig("uniform", num_frames=FRAMES),
        preprocess=PreprocessConfig(
            size=64, resize=75, interpolation="bilinear", mean=(0.45,) * 3, std=(0.225,) * 3
        ),
        backbone=BackboneConfig("test_vit", {"img_size": 64}),
        temporal=TemporalConfig(
            num_layers=1, num_heads=4, intermediate_size=64, positions="learned", max_positions=40
        ),
        head=HeadConfig(labels=("a", "b", "c"), mlp_dim=16),
    )
    found = create_model(config).eval()
    assert isinstance(found, VTN)
    return found


def theirs(path: Path, short_side: int = 75, size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """The clip (3, T, size, size) and its frame numbers (T,): decode, ``temporal_sampling``,
    ``tensor_normalize``, ``random_short_side_scale_jitter`` and ``uniform_crop``."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        fps = float(stream.average_rate)
        by_time = {frame.pts: frame.to_rgb().to_ndarray() for frame in container.decode(stream)}
    frames = torch.as_tensor(np.stack([by_time[pts] for pts in sorted(by_time)]))
    end = min(len(frames), FRAMES * fps / 25) - 1
    index = torch.linspace(0, end, FRAMES)
    index = torch.clamp(index, 0, frames.shape[0] - 1).long()
    clip = torch.index_select(frames, 0, index).float()
    clip = clip / 255.0
    clip = clip - torch.tensor([0.45, 0.45, 0.45])
    clip = clip / torch.tensor([0.225, 0.225, 0.225])
    clip = clip.permute(3, 0, 1, 2)
    height, width = clip.shape[2], clip.shape[3]
    new_height, new_width = short_side, short_side
    if width < height:
        new_height = math.floor((float(height) / width) * short_side)
    else:
        new_width = math.floor((float(width) / height) * short_side)
    clip = F.interpolate(clip, size=(new_height, new_width), mode="bilinear", align_corners=False)
    y, x = math.ceil((new_height - size) / 2), math.ceil((new_width - size) / 2)
    return clip[:, :, y : y + size, x : x + size], index


def noise(number: int, width: int, height: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)


VIDEOS: dict[str, Callable[[], SyntheticVideo]] = {
    "wide": lambda: SyntheticVideo(count=60, size=(162, 90), b_frames=2, draw=noise),
    "tall": lambda: SyntheticVideo(count=40, size=(90, 130), draw=noise),
    "short": lambda: SyntheticVideo(count=9, size=(128, 96), draw=noise),
    "30 frames/s": lambda: SyntheticVideo(count=70, rate=30, size=(128, 96), draw=noise),
    "29.97": lambda: SyntheticVideo(
        count=70, rate=Fraction(30000, 1001), size=(128, 96), draw=noise
    ),
    "no scaling": lambda: SyntheticVideo(count=30, size=(100, 76), draw=noise),
}


@pytest.mark.parametrize("name", VIDEOS)
def test_frames_and_pixels_are_those_of_the_reference(
    name: str, model: VTN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = VIDEOS[name]().write(tmp_path / "film.mp4")
    clip, index = theirs(path)
    seen: list[torch.Tensor] = []
    encode = model.encode_frames
    monkeypatch.setattr(model, "encode_frames", lambda x: (seen.append(x), encode(x))[1])
    result = run_reference(path, model, model.config.sampling)
    distinct, order = index.unique(return_inverse=True)
    assert result.features.times.indices.tolist() == distinct.tolist()
    ours = torch.cat(seen)[order]  # (T, 3, size, size)
    assert torch.equal(ours, clip.transpose(0, 1))
    with torch.inference_mode():
        expected = model(clip.transpose(0, 1)[None], indices=index[None]).logits
    assert np.allclose(result.output.logits, expected[0].numpy(), atol=1e-5)


def test_report_says_what_was_followed(model: VTN, tmp_path: Path) -> None:
    path = SyntheticVideo(count=120, size=(128, 96)).write(tmp_path / "film.mp4")
    analyzer = vtnstream.Analyzer(model, runtime=RUNTIME)
    report = analyzer.classify(path, vtnstream.Request(reference=True))
    assert report.run["preprocess"] == "PySlowFast" and report.end_seconds == 1.0
    assert any("reads the first 1.0 s" in warning for warning in report.warnings)
    plain = analyzer.classify(path, vtnstream.Request())
    assert plain.end_seconds > 4 and "preprocess" not in plain.run


def test_a_model_of_another_kind_and_a_damaged_video_are_refused(
    model: VTN, tmp_path: Path
) -> None:
    path = SyntheticVideo(count=30, broken=(14, 15, 16, 17)).write(tmp_path / "film.mp4")
    sampling = SamplingConfig("rate")
    with pytest.raises(UsageError, match="--reference-preprocess is for"):
        run_reference(path, model, sampling)
    with pytest.raises(UsageError, match="excludes --start"):
        vtnstream.Request(reference=True, start=3)
    text = SyntheticVideo(count=3).write(tmp_path / "cut.mp4")
    text.write_bytes(text.read_bytes()[:700])
    with pytest.raises(vtnstream.errors.VideoError):
        run_reference(text, model, model.config.sampling)


def test_the_crop_is_rounded_up() -> None:
    prepare = ReferencePreprocess(
        PreprocessConfig(size=4, resize=5, mean=(0.0,) * 3, std=(1.0,) * 3)
    )
    pixels = torch.arange(5 * 8, dtype=torch.uint8).reshape(1, 5, 8, 1).expand(-1, -1, -1, 3)
    assert torch.equal(prepare(pixels)[0, 0] * 255, pixels[0, 1:5, 2:6, 0].float())
