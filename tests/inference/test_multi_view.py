"""Multi-view inference against manually cut clips and crops of all frames of the video."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import vtnstream
from vtnstream.config import BackboneConfig, PreprocessConfig, RuntimeConfig, SamplingConfig
from vtnstream.config.views import ViewsConfig
from vtnstream.errors import ConfigError, UsageError
from vtnstream.models.vtn.model import VTN
from vtnstream.preprocess.pipeline import Preprocess
from vtnstream.types import Fit
from vtnstream.video.source import open_video
from vtnstream.video.write import write_video

RATE = 10
SECONDS = 20


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 s at 10 frames/s, 128 x 64, every frame different."""
    path = tmp_path_factory.mktemp("views") / "wide.mp4"
    random = np.random.default_rng(3)
    small = (random.integers(0, 255, (8, 16, 3), np.uint8) for _ in range(SECONDS * RATE))
    frames = (np.kron(one, np.ones((8, 8, 1), np.uint8)) for one in small)
    write_video(path, frames, Fraction(RATE))
    return path


@pytest.fixture(scope="module")
def paper_model(model: VTN, wide: Path) -> VTN:
    """Return the small model with the geometry and sampling of the paper: a crop inside a larger
    scaled frame, and evenly spaced frames."""
    torch.manual_seed(1)
    config = replace(
        model.config,
        backbone=BackboneConfig("test_vit", {"img_size": 64}),
        feature_norm="none",
        sampling=SamplingConfig(kind="uniform", num_frames=25),
        preprocess=PreprocessConfig(size=64, resize=72, mean=(0.5,) * 3, std=(0.5,) * 3),
        temporal=replace(model.config.temporal, positions="learned"),
    )
    other = vtnstream.create_model(config)
    other.eval()
    clips = all_frames(wide)[:192, 4:68, :64].reshape(12, 16, 64, 64, 3)
    with torch.no_grad():  # untrained heads answer alike everywhere: spread what they say
        prepared = Preprocess(config.preprocess)(clips.reshape(-1, 64, 64, 3))
        logits = other(prepared.view(12, 16, 3, 64, 64)).logits
        head, scale = other.mlp_head[4], 2 / logits.std(0)
        head.bias.sub_(logits.mean(0)).mul_(scale)
        head.weight.mul_(scale[:, None])
    return other


def all_frames(path: Path) -> np.ndarray:
    """Return every frame with its short side scaled to 72: (200, 72, 144, 3)."""

    def whole(width: int, height: int) -> Fit:
        return Fit(144, 72, 0, 0, 144, 72)

    with open_video(path, SamplingConfig(kind="all"), fit=whole) as source:
        return np.concatenate([chunk.frames for chunk in source.chunks()])


def test_views_are_the_mean_over_clips_and_crops(
    wide: Path, paper_model: VTN, runtime: RuntimeConfig
) -> None:
    report = vtnstream.classify(wide, model=paper_model, views="4x3", runtime=runtime)

    frames = all_frames(wide)
    prepare = Preprocess(paper_model.config.preprocess)
    inside = np.floor(np.linspace(0, 51 - 1, 16)).astype(int)  # 5.12 s of 10 frames/s
    rows = []
    for clip in range(4):
        # The first frame at or after delta * i / n; delta is 20 - 5.12 s.
        start = int(np.ceil(Fraction(1488, 100) * clip / 4 * RATE))
        picked = frames[start + inside]
        for left in (0, 40, 80):
            view = np.ascontiguousarray(picked[:, 4:68, left : left + 64])
            with torch.inference_mode():
                logits = paper_model(
                    prepare(view)[None], indices=torch.from_numpy(inside)[None]
                ).logits
            rows.append(torch.softmax(logits[0].double(), -1).numpy())
    expected = np.mean(rows, 0)
    assert np.std(rows, 0).max() > 0.01, "the views must differ for the mean to mean anything"
    got = {c.label: c.score for c in report.classes}
    np.testing.assert_allclose([got[x] for x in ("a", "b", "c")], expected, atol=2e-4)
    assert report.run["num_views"] == 12
    assert report.run["views"] == "4x3"
    assert report.partial is None


def test_a_model_that_samples_by_rate_keeps_its_grid(
    wide: Path, model: VTN, runtime: RuntimeConfig
) -> None:
    """One clip of the whole length and one crop is the full pass."""
    whole = vtnstream.classify(wide, model=model, runtime=runtime, end=8)
    one = vtnstream.classify(wide, model=model, views="1x1", runtime=runtime, end=8)
    assert one.run["tokens"] == whole.run["tokens"] == 16
    assert {c.label: c.score for c in one.classes} == pytest.approx(
        {c.label: c.score for c in whole.classes}, abs=1e-5
    )


def test_short_videos_repeat_their_last_frame(
    wide: Path, paper_model: VTN, runtime: RuntimeConfig
) -> None:
    report = vtnstream.classify(wide, model=paper_model, views="10x1", runtime=runtime, end=2)
    assert report.run["num_views"] == 1
    assert report.end_seconds <= 5.2


@pytest.mark.parametrize("text", ["10", "0x3", "3x2", "x", "10x33"])
def test_invalid_views_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="views"):
        ViewsConfig.parse(text)


def test_views_and_timelines_exclude_each_other(
    wide: Path, model: VTN, runtime: RuntimeConfig
) -> None:
    from vtnstream.analyzer import Analyzer
    from vtnstream.config import TimelineConfig
    from vtnstream.inference.request import Request

    request = Request(views=ViewsConfig())
    with pytest.raises(UsageError, match="classify"):
        Analyzer(model, runtime=runtime).timeline(wide, request, TimelineConfig())
    with pytest.raises(UsageError, match="excludes"):
        Request(views=ViewsConfig(), method="end-to-end")
    squash = replace(model.config, preprocess=replace(model.config.preprocess, crop="squash"))
    with pytest.raises(UsageError, match="crop = center"):
        vtnstream.classify(
            wide, model=vtnstream.create_model(squash).eval(), views="2x3", runtime=runtime
        )
