"""Scaling and cropping are compared with timm's evaluation transform."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from timm.data import create_transform

from vtnstream.config import PreprocessConfig
from vtnstream.errors import ConfigError
from vtnstream.preprocess.pipeline import Preprocess
from vtnstream.preprocess.spatial import frame_fit
from vtnstream.preprocess.views import crop_corners
from vtnstream.types import Fit

SIZES = [(320, 240), (240, 320), (341, 256), (255, 257), (640, 359), (37, 999), (224, 224), (1, 1)]


def picture(width: int, height: int) -> Image.Image:
    """Return smooth colours with an edge, which show a shift by one pixel."""
    y, x = np.mgrid[0:height, 0:width]
    channels = (x * 255 / width, y * 255 / height, 200.0 * (x > width / 3))
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8))


def placed(image: Image.Image, fit: Fit, how: Image.Resampling) -> np.ndarray:
    """Apply the Fit with Pillow, as the decoder does with swscale."""
    scaled = image.resize((fit.width, fit.height), how)
    box = (fit.left, fit.top, fit.left + fit.crop_width, fit.top + fit.crop_height)
    return np.array(scaled.crop(box))


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("crop", ["center", "squash", "border"])
@pytest.mark.parametrize(("size", "crop_pct"), [(224, 0.875), (160, 0.95), (97, 1.0)])
def test_scaling_and_crop_equal_timm(
    width: int, height: int, crop: str, size: int, crop_pct: float
) -> None:
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    config = PreprocessConfig(size=size, resize=int(size / crop_pct), crop=crop, mean=mean, std=std)
    image = picture(width, height)
    transform = create_transform(
        size, crop_pct=crop_pct, crop_mode=crop, interpolation="bicubic", mean=mean, std=std
    )
    fit = frame_fit(config)(width, height)
    frame = placed(image, fit, Image.Resampling.BICUBIC)
    ours = Preprocess(config)(frame[None])[0].numpy()
    theirs = transform(image).numpy()
    if crop == "border":  # timm's border has the mean's colour, ours is black
        left, top = max(-fit.left, 0), max(-fit.top, 0)
        inside = (slice(None), slice(top, top + fit.height), slice(left, left + fit.width))
        ours, theirs = ours[inside], theirs[inside]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_border_keeps_the_whole_frame() -> None:
    fit = frame_fit(PreprocessConfig(size=224, resize=224, crop="border"))(448, 224)
    assert fit == Fit(224, 112, 0, -56, 224, 224)


def test_a_frame_without_pixels_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 x 5"):
        frame_fit(PreprocessConfig())(0, 5)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_rectangular_input_ignores_the_aspect_ratio(width: int, height: int) -> None:
    config = PreprocessConfig(size=32, resize=32, width=48, crop="squash", interpolation="area")
    assert frame_fit(config)(width, height) == Fit(48, 32, 0, 0, 48, 32)
    cut = replace(config, resize=40)
    assert frame_fit(cut)(width, height) == Fit(60, 40, 6, 4, 48, 32)


def test_rectangular_frames_are_squashed() -> None:
    with pytest.raises(ConfigError, match=r"crop = squash"):
        PreprocessConfig(size=32, resize=32, width=48)


def test_the_feature_key_contains_the_width() -> None:
    square = PreprocessConfig(size=32, resize=32, crop="squash")
    assert "width" not in square.key(), "keys of squares are what they were"
    assert replace(square, width=48).key() == {**square.key(), "width": 48}


@pytest.mark.parametrize(
    ("rounding", "across", "wide"),
    [("half-even", 58, 116), ("ceil", 59, 116), ("floor", 58, 115)],
)
def test_crops_start_where_the_code_of_the_model_starts_them(
    rounding: str, across: int, wide: int
) -> None:
    """The crop of a 4:3 frame equals PySlowFast's, that of a 16:9 frame transformers'."""
    config = PreprocessConfig(size=224, resize=256, crop_rounding=rounding)
    assert frame_fit(config)(640, 480).left == across
    assert frame_fit(config)(1920, 1080).left == wide
    fit = frame_fit(config)(640, 480)
    assert crop_corners(config, fit.width, fit.height, 3)[1] == (fit.left, fit.top)


def test_the_feature_key_contains_the_rounding() -> None:
    plain = PreprocessConfig()
    assert "crop_rounding" not in plain.key(), "keys of others are what they were"
    assert replace(plain, crop_rounding="ceil").key()["crop_rounding"] == "ceil"
    with pytest.raises(ConfigError, match="crop_rounding"):
        PreprocessConfig(crop_rounding="up")
