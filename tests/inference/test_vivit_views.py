"""Views of a ViViT equal its manually cut clips."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import vtnstream
from tests.inference.test_vivit import CLIP, FORMS, RATE, TOLERANCE, every_frame, make, scores
from vtnstream.config import RuntimeConfig, SamplingConfig
from vtnstream.models.vivit.model import ViViT
from vtnstream.preprocess.pipeline import Preprocess
from vtnstream.types import Fit
from vtnstream.video.source import open_video
from vtnstream.video.write import write_video


@pytest.fixture(scope="module")
def models() -> dict[str, ViViT]:
    return {form: make(form) for form in FORMS}


@pytest.mark.parametrize("form", FORMS)
def test_views_equal_the_mean_over_manually_cut_clips(
    video: Path, models: dict[str, ViViT], runtime: RuntimeConfig, form: str
) -> None:
    """Clips of 2 s at 0, 49.5 and 99 s of 150 s; one crop covers the whole square frame."""
    model = models[form]
    report = vtnstream.classify(video, model=model, runtime=runtime, views="3x1")
    frames = every_frame(video, model)
    rows = []
    for start in (0, 49.5, 99):  # a third of the 148 s that a clip leaves over, on the grid
        first = round(start * RATE)
        with torch.no_grad():
            rows.append(model(frames[None, first : first + 2 * CLIP]).logits[0].softmax(0))
    assert scores(report) == pytest.approx(torch.stack(rows).mean(0).tolist(), abs=TOLERANCE)
    assert report.run["num_views"] == 3


def test_three_crops_of_a_wide_frame(
    tmp_path: Path, models: dict[str, ViViT], runtime: RuntimeConfig
) -> None:
    """Left, centre and right of 64 x 32, and a clip that is padded with its last frame."""
    random = np.random.default_rng(5)
    path = tmp_path / "wide.mp4"
    pictures = (random.integers(0, 255, (4, 8, 3), np.uint8) for _ in range(6))
    wide = (np.kron(picture, np.ones((8, 8, 1), np.uint8)) for picture in pictures)
    write_video(path, wide, Fraction(RATE))
    model = models["joint"]
    report = vtnstream.classify(path, model=model, runtime=runtime, views="1x3")
    config = SamplingConfig("all")
    with open_video(path, config, fit=lambda w, h: Fit(64, 32, 0, 0, 64, 32)) as source:
        frames = np.concatenate([chunk.frames for chunk in source.chunks()])
    assert frames.shape == (6, 32, 64, 3)
    frames = np.concatenate((frames, frames[-1:], frames[-1:]))
    rows = []
    for left in (0, 16, 32):
        crop = np.ascontiguousarray(frames[:, :, left : left + 32])
        with torch.no_grad():
            clip = Preprocess(model.config.preprocess)(crop)[None]
            rows.append(model(clip).logits[0].softmax(0))
    assert scores(report) == pytest.approx(torch.stack(rows).mean(0).tolist(), abs=1e-4)
