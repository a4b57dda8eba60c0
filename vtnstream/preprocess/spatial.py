"""The scaling and cropping of frames to the model's input size. It equals timm's evaluation
transform to the pixel."""

from __future__ import annotations

from vtnstream.config import PreprocessConfig
from vtnstream.types import Fit, FrameFit


def frame_fit(config: PreprocessConfig) -> FrameFit:
    """A function from the displayed (width, height) of a frame to its :class:`Fit`.

    ``center`` rounds like torchvision's Resize (the longer side is rounded down) and CenterCrop;
    ``border`` rounds like timm's ResizeKeepRatio and CenterCropOrPad.
    """
    scale = {"center": _short_side, "squash": _both_sides, "border": _long_side}[config.crop]
    across, down = config.frame_width, config.size

    def fit(width: int, height: int) -> Fit:
        if width < 1 or height < 1:
            raise ValueError(f"a frame of {width} x {height} pixels cannot be scaled")
        new_width, new_height = scale(width, height, config.resize)
        if across != down:  # squash only
            new_width = round(new_height * across / down)
        left, top = _margin(new_width, across), _margin(new_height, down)
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


def _margin(length: int, size: int) -> int:
    """Start of the crop; negative if a border is needed on both sides."""
    if length < size:
        return -((size - length) // 2)
    return round((length - size) / 2)
