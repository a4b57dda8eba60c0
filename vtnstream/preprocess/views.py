"""Crops of a scaled frame for multi-view inference (paper section 4.1): left, centre and right of
a landscape frame, or top, centre and bottom of a portrait frame."""

from __future__ import annotations

from vtnstream.config import PreprocessConfig
from vtnstream.errors import UsageError
from vtnstream.preprocess.spatial import crop_start, frame_fit
from vtnstream.types import Fit, FrameFit


def uncropped_fit(config: PreprocessConfig) -> FrameFit:
    """Return the model's scaling without its crop, so that one decoded frame gives all crops."""
    fit = frame_fit(config)

    def whole(width: int, height: int) -> Fit:
        scaled = fit(width, height)
        return Fit(scaled.width, scaled.height, 0, 0, scaled.width, scaled.height)

    return whole


def crop_corners(
    config: PreprocessConfig, width: int, height: int, num_crops: int
) -> list[tuple[int, int]]:
    """Return the corners of crops of the model's input size in a scaled frame.

    Args:
        config: the model's preprocessing.
        width, height: size of the scaled frame in pixels.
        num_crops: 1 (centre) or 3 (along the longer side).

    Returns:
        (left, top) of each crop; the middle one is the model's own centre crop.

    Raises:
        UsageError: three crops are requested, and the preprocessing is not ``center``.
    """
    if num_crops > 1 and config.crop != "center":
        raise UsageError(
            f"several crops need preprocess.crop = center, not {config.crop}: use --views Nx1"
        )
    size = config.size
    rounding = config.crop_rounding
    left = crop_start(width, config.frame_width, rounding)
    top = crop_start(height, size, rounding)
    if num_crops == 1:
        return [(left, top)]
    if width >= height:
        return [(0, top), (left, top), (width - size, top)]
    return [(left, 0), (left, top), (left, height - size)]
