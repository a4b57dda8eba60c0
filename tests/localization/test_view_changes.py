"""Changes between frames, measured on thumbnails."""

from __future__ import annotations

import numpy as np
import pytest

from vtnstream.localization.view_changes import ViewChanges, measure
from vtnstream.types import FloatArray

GRID = (8, 12)
FPS = 25


def _scene(random: np.random.Generator) -> FloatArray:
    """Return one image (288,)."""
    return random.uniform(0, 255, 288).astype(np.float32)


def _measure(thumbs: FloatArray, fps: float = FPS) -> ViewChanges:
    return measure([thumbs], np.arange(len(thumbs)) / fps, GRID)


def _shots(*lengths: int, noise: float = 1.0) -> FloatArray:
    random = np.random.default_rng(0)
    parts = [np.repeat(_scene(random)[None], length, 0) for length in lengths]
    frames = np.concatenate(parts)
    return (frames + random.normal(0, noise, frames.shape)).clip(0, 255).astype(np.float32)


def test_a_cut_stands_out_and_lasts() -> None:
    found = _measure(_shots(20, 30))
    assert found.change.argmax() == 20
    assert found.ratio[20] > 10
    assert found.standout[20] > 10
    assert found.lasting[20] > 50
    others = np.delete(np.arange(50), 20)
    assert found.ratio[others].max() < 3


def test_a_flash_does_not_last() -> None:
    thumbs = _shots(50)
    thumbs[20:22] = 255
    found = _measure(thumbs)
    assert found.change[20] > 20
    assert found.lasting[20] < 5, "the same view comes back"


def test_the_limit_of_a_flash_is_a_duration() -> None:
    """At 4 frames/s a shot of a quarter of a second is a shot."""
    thumbs = _shots(10, 1, 10)
    thumbs[11:] = thumbs[0]
    assert _measure(thumbs, fps=4).lasting[10] > 50
    assert _measure(thumbs, fps=25).lasting[10] < 5


def test_brightness_and_step_are_measured() -> None:
    thumbs = _shots(30, noise=0)
    thumbs[:10] = 3
    thumbs[10:20] = 3
    thumbs[15, 40] = 200
    found = _measure(thumbs)
    assert found.brightest[:10].max() == 3
    assert found.brightest[15] == 200
    assert found.step[21:].max() == 0


def test_views_before_and_after_are_compared() -> None:
    found = _measure(_shots(20, 10, 20))
    assert found.between(20, 30) > 20
    assert found.between(5, 12) < 3, "one view"
    assert found.between(0, 12) == 255, "nothing before it"


@pytest.mark.parametrize("size", [1, 7, 500, 1100])
def test_the_result_does_not_depend_on_block_sizes(size: int) -> None:
    thumbs = _shots(300, 900, 1, 700, 600, noise=9)
    times = np.arange(len(thumbs)) / 60
    whole = measure([thumbs], times, GRID)
    parts = measure((thumbs[i : i + size] for i in range(0, len(thumbs), size)), times, GRID)
    assert len(parts) == len(thumbs)
    for name in ("change", "ratio", "standout", "lasting", "step", "brightest", "views"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_one_frame_and_no_frames_are_measured() -> None:
    assert len(_measure(_shots(1))) == 1
    assert len(measure([], np.empty(0), GRID)) == 0


def test_a_step_of_exposure_leaves_the_likeness() -> None:
    """Another view does not; noise alone is no likeness."""
    random = np.random.default_rng(5)
    one, other = random.uniform(40, 160, (2, 288))
    darker = np.concatenate((np.repeat(one[None], 20, 0), np.repeat(0.6 * one[None], 20, 0)))
    cut = np.concatenate((np.repeat(one[None], 20, 0), np.repeat(other[None], 20, 0)))
    assert _measure(darker.astype(np.float32)).likeness[20] > 0.95
    assert _measure(cut.astype(np.float32)).likeness[20] < 0.6
    flat = np.full((20, 288), 100, np.float32)
    assert abs(_measure(flat).likeness[10]) < 0.1


def test_the_spread_of_a_change() -> None:
    """A banner changes its own part of the frame."""
    frames = np.repeat(np.random.default_rng(6).uniform(40, 160, (1, 288)), 40, 0)
    banner = frames.astype(np.float32)
    banner.reshape(40, 3, 8, 12)[20:, :, 6:] += 80
    assert _measure(banner).spread[20] == pytest.approx(0.25)
    whole = frames.astype(np.float32)
    whole[20:] += 80
    assert _measure(whole).spread[20] == 1


def test_matched_brightness_is_no_change() -> None:
    """A step of brightness, contrast or tint is not one; another image of the same mean is."""
    image = np.random.default_rng(7).uniform(40, 120, 288)
    tint = np.repeat([1.3, 0.8, 1.1], 96)
    for step in (image + 60, image * 0.6, image * tint, 1.5 * image - 30):
        frames = np.concatenate((np.repeat(image[None], 20, 0), np.repeat(step[None], 20, 0)))
        found = _measure(frames.astype(np.float32))
        assert found.step[20] > 8
        assert found.change[20] < 0.5
    other = np.concatenate((np.repeat(image[None], 20, 0), np.repeat(image[None, ::-1], 20, 0)))
    assert _measure(other.astype(np.float32)).change[20] > 15
