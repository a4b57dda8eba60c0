"""Crops of a scaled picture for multi-view inference (paper section 4.1): left, centre and
right of the short side, or top, centre and bottom of an upright one."""

from __future__ import annotations

from vtnstream.config import PreprocessConfig
from vtnstream.errors import UsageError
from vtnstream.preprocess.spatial import frame_fit
from vtnstream.types import Fit, FrameFit


def uncropped_fit(config: PreprocessConfig) -> FrameFit:
    """The model's scaling without its crop, so that one decoded picture serves all crops."""
    fit = frame_fit(config)

    def whole(width: int, height: int) -> Fit:
        scaled = fit(width, height)
        return Fit(scaled.width, scaled.height, 0, 0, scaled.width, scaled.height)

    return whole


def crop_corners(
    config: PreprocessConfig, width: int, height: int, num_crops: int
) -> list[tuple[int, int]]:
    """Where crops of the model's size start in a scaled picture.

    Args:
        config: the model's own preprocessing.
        width, height: of the scaled picture, in pixels.
        num_crops: 1 (centre) or 3 (spread over the long side).

    Returns:
        (left, top) of each; the middle one is that of the model's own centre crop.

    Raises:
        UsageError: three crops are asked of a geometry without a side to move along.
    """
    if num_crops > 1 and config.crop != "center":
        raise UsageError(
            f"several crops need preprocess.crop = center, not {config.crop}: use --views Nx1"
        )
    size = config.size
    left, top = round((width - config.frame_width) / 2), round((height - size) / 2)
    if num_crops == 1:
        return [(left, top)]
    if width >= height:
        return [(0, top), (left, top), (width - size, top)]
    return [(left, 0), (left, top), (left, height - size)]
