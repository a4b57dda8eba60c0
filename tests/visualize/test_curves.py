"""Images of training curves show the values given."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from vtnstream.visualize.curves import _ticks, training_curves

BLUE, RED = (0x1F, 0x77, 0xB4), (0xD6, 0x27, 0x28)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def places(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Return the (N, 2) rows and columns of the pixels of a color below the legend."""
    found = np.argwhere((picture == color).all(-1))
    return found[found[:, 0] > 100]


def test_a_falling_loss_falls_and_a_rising_score_rises() -> None:
    epochs = range(1, 11)
    falling = {"training": [(e, 2.0 / e) for e in epochs]}
    rising = {"accuracy": [(e, 10.0 * e) for e in epochs]}
    picture = pixels(training_curves(falling, rising, best=7))
    left, right = picture[:, : picture.shape[1] // 2], picture[:, picture.shape[1] // 2 :]
    for panel, goes_down in ((left, True), (right, False)):
        spots = places(panel, BLUE)
        third = (spots[:, 1].max() - spots[:, 1].min()) / 3
        first = spots[spots[:, 1] < spots[:, 1].min() + third][:, 0].mean()
        last = spots[spots[:, 1] > spots[:, 1].max() - third][:, 0].mean()
        assert (last > first) == goes_down
    assert (picture == (0xBB, 0xBB, 0xBB)).all(-1).any(), "the best epoch is marked"


def test_one_panel_without_scores_and_two_colors_for_two_curves() -> None:
    both = {"training": [(1, 1.0), (2, 0.5)], "held out": [(1, 1.2), (2, 0.9)]}
    picture = pixels(training_curves(both, {}))
    wide = pixels(training_curves(both, {"accuracy": [(1, 50.0)]}))
    assert wide.shape[1] == 2 * picture.shape[1]
    assert len(places(picture, BLUE)) > 50 and len(places(picture, RED)) > 50


@pytest.mark.parametrize(
    "curve", [[(1, 0.7)], [(1, math.nan), (2, math.inf)], [(1, 1.0), (2, math.nan), (3, 1.0)], []]
)
def test_degenerate_curves_are_drawn(curve: list[tuple[float, float]]) -> None:
    assert pixels(training_curves({"training": curve}, {})).shape[2] == 3


@pytest.mark.parametrize(("low", "high"), [(0, 100), (0, 1e-4), (-3.2, 7.9), (0.693, 0.694)])
def test_ticks_are_few_and_inside_the_range(low: float, high: float) -> None:
    ticks = _ticks(low, high)
    assert 4 <= len(ticks) <= 11
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
