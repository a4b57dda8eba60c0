"""The display of coded frames: rotation, mirroring and sample aspect ratio."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAX_ASPECT = 20
"""Larger sample aspect ratios are errors, not anamorphic video."""


@dataclass(frozen=True, slots=True)
class Orientation:
    """The orientation of a coded frame: for display it is first mirrored left to right, then
    rotated clockwise by ``rotation`` degrees (0, 90, 180 or 270)."""

    rotation: int = 0
    mirrored: bool = False

    @property
    def transposed(self) -> bool:
        """Whether width and height are exchanged."""
        return self.rotation in (90, 270)

    def apply(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Mirror and rotate a (h, w) plane or (h, w, 3) frame; returns a view."""
        if self.mirrored:
            frame = frame[:, ::-1]
        return np.rot90(frame, -self.rotation // 90) if self.rotation else frame


UPRIGHT = Orientation()


def orientation_from_matrix(matrix: tuple[int, ...]) -> tuple[Orientation, bool]:
    """Read a display matrix (a b u c d v x y w, 16.16 fixed point).

    A coded point (x, y), y downwards, is displayed at (a x + c y, b x + d y): ISO/IEC 14496-12.

    Returns:
        the nearest of the eight orientations, and whether the matrix is exactly one of them.
    """
    a, b, _, c, d = matrix[:5]
    straight, crossed = abs(a) + abs(d), abs(b) + abs(c)
    if straight == crossed:  # all zero, or 45 degrees
        return UPRIGHT, straight == 0
    mirrored = a * d - b * c < 0
    # Undo the mirroring of x, then read the direction of the x axis.
    right, down = (-a, -b) if mirrored else (a, b)
    if straight > crossed:
        rotation, exact = (0 if right > 0 else 180), crossed * 100 <= straight
    else:
        rotation, exact = (90 if down > 0 else 270), straight * 100 <= crossed
    return Orientation(rotation, mirrored), exact


def frame_orientation(frame: Any) -> tuple[Orientation, bool]:
    """Return the orientation of a decoded frame from its display matrix, and whether it is exact;
    without a matrix the frame is upright."""
    try:
        # Iterating over this mapping yields its values.
        for data in frame.side_data:
            if data.type.name == "DISPLAYMATRIX":
                return orientation_from_matrix(struct.unpack("=9i", bytes(data)[:36]))
        return UPRIGHT, True
    except (ValueError, struct.error):
        # This PyAV does not know a kind of side data; only the angle is available.
        clockwise = round(-frame.rotation / 90) * 90 % 360
        return Orientation(clockwise), frame.rotation % 90 == 0


def plausible_aspect(ratio: Fraction | None) -> tuple[Fraction, bool]:
    """Return the sample aspect ratio to use, and whether the given one was plausible."""
    if ratio is None or ratio == 0:
        return Fraction(1), True
    if Fraction(1, _MAX_ASPECT) <= ratio <= _MAX_ASPECT:
        return Fraction(ratio), True
    return Fraction(1), False


def display_size(
    width: int, height: int, aspect: Fraction, orientation: Orientation
) -> tuple[int, int]:
    """Return the displayed (width, height) of a coded frame.

    As in players, the sample aspect ratio scales the coded width; then the frame is rotated.
    """
    wide = max(1, round(width * aspect))
    return (height, wide) if orientation.transposed else (wide, height)
