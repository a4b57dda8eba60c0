"""Scaling and cropping of frames to the model's input size, identical to timm's evaluation
transform to the pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import ceil, floor

from vtnstream.config import PreprocessConfig
from vtnstream.types import Fit, FrameFit

_ROUNDINGS: Mapping[str, Callable[[Fraction], int]] = {
    "half-even": round,
    "floor": floor,
    "ceil": ceil,
}


def frame_fit(config: PreprocessConfig) -> FrameFit:
    """Return a function from the displayed (width, height) of a frame to its :class:`Fit`.

    ``center`` rounds like torchvision's Resize (the longer side is rounded down) and CenterCrop;
    ``border`` rounds like timm's ResizeKeepRatio and CenterCropOrPad. ``crop_rounding`` replaces
    the rounding of CenterCrop for models of other code.

    The returned function raises ValueError for a frame without pixels.
    """
    scale = {"center": _short_side, "squash": _both_sides, "border": _long_side}[config.crop]
    across, down = config.frame_width, config.size

    def fit(width: int, height: int) -> Fit:
        if width < 1 or height < 1:
            raise ValueError(f"a frame of {width} x {height} pixels cannot be scaled")
        new_width, new_height = scale(width, height, config.resize)
        if across != down:  # squash only
            new_width = round(new_height * across / down)
        rounding = config.crop_rounding
        left = crop_start(new_width, across, rounding)
        top = crop_start(new_height, down, rounding)
        return Fit(new_width, new_height, left, top, across, down)

    return fit


def _short_side(width: int, height: int, resize: int) -> tuple[int, int]:
    if width <= height:
        return resize, int(resize * height / width)
    return int(resize * width / height), resize


def _both_sides(width: int, height: int, resize: int) -> tuple[int, int]:
    return resize, resize


def _long_side(width: int, height: int, resize: int) -> tuple[int, int]:
    ratio = max(width / resize, height / resize)
    return max(round(width / ratio), 1), max(round(height / ratio), 1)


def crop_start(length: int, size: int, rounding: str = "half-even") -> int:
    """Return the start of a centred crop in pixels; negative if borders are added instead.

    Args:
        length: length of the side before the crop, in pixels.
        size: length of the side of the crop.
        rounding: ``half-even``, ``floor`` or ``ceil``, for a start that is not a whole number.
    """
    if length < size:
        return -((size - length) // 2)
    return _ROUNDINGS[rounding](Fraction(length - size, 2))
