"""Black bars at the sides: found on a few frames, left out of the model's input, and told."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vtnstream.config import PreprocessConfig, SamplingConfig
from vtnstream.preprocess.spatial import frame_fit
from vtnstream.types import Fit
from vtnstream.video.bars import Bars, bars_of, coloured_bars_of, find_bars
from vtnstream.video.probe import examine
from vtnstream.video.source import open_video
from vtnstream.video.write import write_video

PREPROCESS = PreprocessConfig(size=32, resize=32, width=48, crop="squash", interpolation="area")


def _video(path: Path, left: int, top: int, *, level: int = 200, count: int = 60) -> Path:
    """Moving stripes of 160x120 pixels between bars of ``left`` and ``top`` pixels."""
    columns = np.arange(160 - 2 * left)
    frames = np.zeros((count, 120, 160, 3), np.uint8)
    for k in range(count):
        stripes = np.where((columns + 3 * k) // 8 % 2, level, level // 3).astype(np.uint8)
        frames[k, top : 120 - top, left : 160 - left] = stripes[None, :, None]
    write_video(path, frames, Fraction(25), options={"g": "10", "crf": "18"})
    return path


@pytest.mark.parametrize(("left", "top"), [(20, 0), (0, 16), (56, 0), (16, 12)])
def test_bars_are_found(tmp_path: Path, left: int, top: int) -> None:
    path = _video(tmp_path / "bars.mp4", left, top)
    found = find_bars(path, examine(path))
    expected = (left / 160, top / 120, left / 160, top / 120)
    assert found.shares() == pytest.approx(expected, abs=0.012)


@pytest.mark.parametrize("colour", [(255, 255, 255), (30, 90, 200), (128, 128, 128)])
@pytest.mark.parametrize(("left", "top"), [(20, 0), (0, 16)])
def test_coloured_bars_are_found(
    tmp_path: Path, colour: tuple[int, int, int], left: int, top: int
) -> None:
    frames = np.empty((60, 120, 160, 3), np.uint8)
    frames[:] = colour
    columns = np.arange(160 - 2 * left)
    for k in range(60):
        stripes = np.where((columns + 3 * k) // 8 % 2, 220, 20).astype(np.uint8)
        frames[k, top : 120 - top, left : 160 - left] = stripes[None, :, None]
    path = tmp_path / "bars.mp4"
    write_video(path, frames, Fraction(25), options={"g": "10", "crf": "18"})
    expected = (left / 160, top / 120, left / 160, top / 120)
    assert find_bars(path, examine(path)).shares() == pytest.approx(expected, abs=0.02)


def test_what_is_no_coloured_bar() -> None:
    """A plain background, a side of its own, and bars of two colours."""
    low = np.full((108, 192, 3), 240, np.uint8)
    high = low.copy()
    low[30:80, 60:130] = 20
    assert not coloured_bars_of(low, high), "an object before a white wall"
    low[:, 40:152] = 20
    assert coloured_bars_of(low, high).shares() == pytest.approx(
        (40 / 192, 0, 40 / 192, 0), abs=1e-6
    )
    low[3, 5] = 200
    assert not coloured_bars_of(low, high), "the bar changes"
    low[3, 5] = 240
    for values in (low, high):
        values[:, 152:] = (240, 200, 240)
    assert not coloured_bars_of(low, high), "bars of two colours"
    assert not coloured_bars_of(np.full_like(low, 240), np.full_like(low, 240)), "one plain colour"


def test_what_is_no_bar(tmp_path: Path) -> None:
    """Content at the edge in one frame, one dark side, a dark video, a video without frames."""
    plain = _video(tmp_path / "plain.mp4", 0, 0)
    assert not find_bars(plain, examine(plain))
    dark = _video(tmp_path / "dark.mp4", 20, 0, level=30)
    assert not find_bars(dark, examine(dark))
    lit = np.zeros((108, 192), np.uint8)
    lit[:, 30:] = 200
    assert not bars_of(lit), "one dark side is a part of the image"
    lit[:, 162:] = 0
    assert bars_of(lit)
    lit[50, 3] = 200
    assert not bars_of(lit)
    assert not bars_of(np.zeros((108, 192), np.uint8))


def test_the_input_is_what_lies_between_the_bars(tmp_path: Path) -> None:
    """The same pixels as of a video without bars, up to compression."""
    path = _video(tmp_path / "bars.mp4", 20, 0)
    bars = find_bars(path, examine(path))
    whole = frame_fit(PREPROCESS)
    with open_video(
        path, SamplingConfig(kind="all"), fit=bars.without(whole), interpolation="area"
    ) as source:
        cropped = np.concatenate([chunk.frames for chunk in source.chunks()])
    assert cropped.shape == (60, 32, 48, 3)
    assert cropped.min() > 30, "nothing of the bars is left"
    assert Bars().without(whole) is whole
    assert Bars(0.25, 0, 0.25, 0).without(whole)(400, 100) == Fit(96, 32, 24, 0, 48, 32)
