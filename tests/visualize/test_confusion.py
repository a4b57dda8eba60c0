"""Images of confusion matrices."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from vtnstream.visualize.confusion import confusion_image


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_cell_colours_follow_shares_of_the_row() -> None:
    labels = ["sitting", "standing"]
    whole = pixels(confusion_image(labels, [[10, 0], [0, 10]]))
    mixed = pixels(confusion_image(labels, [[5, 5], [0, 10]]))
    assert whole.shape == mixed.shape
    blue = (whole[..., 2] - whole[..., 0]) > 100
    assert 0.02 < blue.mean() < 0.6
    changed = np.argwhere((whole != mixed).any(-1))
    height = changed[:, 0].max() - changed[:, 0].min()
    assert height <= 46 * 2  # the first row only


def test_empty_rows_and_long_names_are_drawn() -> None:
    assert pixels(confusion_image(["a" * 80, "b"], [[0, 0], [1, 2]])).size
