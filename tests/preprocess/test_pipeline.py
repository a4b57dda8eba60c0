from __future__ import annotations

import numpy as np
import pytest
import torch

from vtnstream.config import PreprocessConfig
from vtnstream.preprocess.pipeline import Preprocess

CONFIG = PreprocessConfig(size=4, resize=4, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))


def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)


def test_pixels_are_normalised_and_keep_their_layout() -> None:
    pixels = frames()
    result = Preprocess(CONFIG)(pixels)
    assert result.shape == (3, 3, 4, 5) and result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)  # no byte was moved
    expected = (pixels[2, 1, 4] / 255 - np.array(CONFIG.mean)) / np.array(CONFIG.std)
    np.testing.assert_allclose(result[2, :, 1, 4].numpy(), expected, atol=1e-6)


def test_read_only_arrays_are_accepted() -> None:
    pixels = frames()
    same = pixels.copy()
    pixels.flags.writeable = False
    Preprocess(CONFIG)(pixels[::-1])
    assert (pixels == same).all()


def test_rounds_to_the_compute_type_once() -> None:
    exact = Preprocess(CONFIG)(frames())
    half = Preprocess(CONFIG)(frames(), dtype=torch.bfloat16)
    assert torch.equal(half, exact.bfloat16())


def test_an_empty_array_gives_an_empty_tensor() -> None:
    assert Preprocess(CONFIG)(np.empty((0, 4, 4, 3), np.uint8)).shape == (0, 3, 4, 4)


@pytest.mark.parametrize("wrong", [frames().astype(np.float32), frames()[0], frames()[..., :2]])
def test_arrays_of_other_shapes_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        Preprocess(CONFIG)(wrong)
