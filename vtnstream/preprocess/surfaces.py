"""Convert decoded surfaces (luma, and chroma at half the size) to RGB frames of the model's size.

The conversion runs in torch on the device of the planes, so that frames decoded on a GPU are not
copied to the host. Each plane is resampled to the target size first, then colours are converted, as
in swscale. Resampling multiplies by one filter matrix per axis; the filter is widened when a frame
is scaled down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from math import ceil, floor, pi, sin
from typing import Any

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from vtnstream.registry import lookup
from vtnstream.types import Colour, Fit

RESIZER = "torch-surface-1"
"""Name in the feature key; it must change whenever the resulting pixels change."""

_LUMA_OF_RED_AND_BLUE = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020
    10: (0.2627, 0.0593),
}
"""Matrix number (H.273 table 4) -> luma weights of red and blue. Other numbers mean BT.601, as in
swscale."""
_BT601 = (0.299, 0.114)
_FULL_RANGE = 2


class SurfaceConverter:
    """Converts surfaces to RGB frames on their device.

    Args:
        interpolation: a key of :data:`KERNELS`.
    """

    def __init__(self, interpolation: str) -> None:
        self._interpolation = interpolation

    @contextmanager
    def at(self, device: int) -> Iterator[None]:
        """Make torch's CUDA context on this GPU current in the calling thread.

        Raises (when entered):
            RuntimeError, AssertionError: there is no such GPU.
        """
        with torch.cuda.device(device):
            # A thread gets a context only with its first operation on the device.
            torch.zeros(1, device=torch.device("cuda", device))
            yield

    @torch.inference_mode()
    def frame(
        self, planes: Sequence[Any], colour: Colour, fit: Fit, rotation: int, mirrored: bool
    ) -> Tensor:
        """Convert a luma and a chroma plane to the model's input frame.

        The frame is scaled, mirrored, rotated clockwise, then cropped.

        Args:
            planes: luma and chroma, which support ``__dlpack__``.
            colour: matrix, range and bit depth.
            fit: size and crop of the upright frame.
            rotation: degrees clockwise, a multiple of 90.
            mirrored: whether the frame is mirrored horizontally before the rotation.

        Returns:
            (crop_height, crop_width, 3) uint8 on the planes' device.
        """
        # Pass the capsule, not the plane: torch would name a stream, which PyAV rejects. Decoder
        # and torch both work on the device's default stream, which keeps their order.
        luma, chroma = (from_dlpack(plane.__dlpack__()) for plane in planes)
        turned = rotation in (90, 270)
        size = (fit.height, fit.width) if turned else (fit.width, fit.height)
        frame = to_rgb(luma, chroma, colour, size, interpolation=self._interpolation)
        if mirrored:
            frame = frame.flip(1)
        return cropped(torch.rot90(frame, -rotation // 90), fit)

    def stack(self, frames: Sequence[Tensor]) -> Tensor:
        """Stack frames to (T, h, w, 3).

        The work is complete on return, so that other CUDA streams may read the result.
        """
        stacked = torch.stack(list(frames))
        if stacked.is_cuda:
            torch.cuda.current_stream(stacked.device).synchronize()
        return stacked


def to_rgb(
    luma: Tensor,
    chroma: Tensor,
    colour: Colour,
    size: tuple[int, int],
    *,
    interpolation: str = "bicubic",
) -> Tensor:
    """Convert one surface to RGB.

    Each chroma sample is assumed at the centre of four luma samples, as by swscale for frames of
    PyAV, which does not pass on the chroma location.

    Args:
        luma: (H, W) uint8 or uint16.
        chroma: (h, w, 2), Cb and Cr; h and w are half of H and W, rounded up.
        colour: matrix, range and bit depth.
        size: (width, height) of the result.
        interpolation: a key of :data:`KERNELS`.

    Returns:
        (height, width, 3) uint8, on the planes' device.

    Raises:
        UsageError: the interpolation is unknown.
    """
    width, height = size

    def resampled(plane: Tensor) -> Tensor:
        down = _weights(interpolation, plane.shape[0], height, plane.device)
        across = _weights(interpolation, plane.shape[1], width, plane.device)
        return down @ (plane.float() / colour.levels) @ across.T

    y = resampled(luma)  # (height, width)
    cb, cr = (resampled(chroma[..., c]) for c in (0, 1))
    return _ycbcr_to_rgb(y, cb, cr, colour)


def _ycbcr_to_rgb(y: Tensor, cb: Tensor, cr: Tensor, colour: Colour) -> Tensor:
    """Convert Y, Cb and Cr (h, w) with 8-bit levels to RGB (h, w, 3) uint8."""
    of_red, of_blue = _LUMA_OF_RED_AND_BLUE.get(colour.matrix, _BT601)
    of_green = 1 - of_red - of_blue
    cb, cr = cb - 128, cr - 128
    if colour.colour_range != _FULL_RANGE:
        y = (y - 16) * (255 / 219)
        cb, cr = cb * (255 / 224), cr * (255 / 224)
    from_red, from_blue = 2 * (1 - of_red), 2 * (1 - of_blue)
    green = y - from_red * of_red / of_green * cr - from_blue * of_blue / of_green * cb
    rgb = torch.stack((y + from_red * cr, green, y + from_blue * cb), dim=-1)
    return rgb.round_().clamp_(0, 255).to(torch.uint8)


def cropped(frame: Tensor, fit: Fit) -> Tensor:
    """Crop an upright (h, w, 3) frame to the box of ``fit``; the box is black outside the frame."""
    height, width = frame.shape[:2]
    x0, y0 = max(fit.left, 0), max(fit.top, 0)
    x1, y1 = min(fit.left + fit.crop_width, width), min(fit.top + fit.crop_height, height)
    box = frame.new_zeros(fit.crop_height, fit.crop_width, 3)
    if x1 > x0 and y1 > y0:
        part = frame[y0:y1, x0:x1]
        box[y0 - fit.top : y1 - fit.top, x0 - fit.left : x1 - fit.left] = part
    return box


# ------------------------------------------------------------------------------- filters


def _cubic(x: float, _: float) -> float:
    # Keys' kernel with swscale's parameter, -0.6.
    if x < 1:
        return (1.4 * x - 2.4) * x * x + 1
    return ((-0.6 * x + 3) * x - 4.8) * x + 2.4 if x < 2 else 0.0


def _triangle(x: float, _: float) -> float:
    return max(0.0, 1 - x)


def _area(x: float, scale: float) -> float:
    """Return the overlap of the cells of a sample and a result; bilinear when scaling up."""
    if scale <= 1:
        return _triangle(x, scale)
    return min(1.0, max(0.0, 0.5 - (x - 0.5) * scale))


def _lanczos(x: float, _: float) -> float:
    if x == 0:
        return 1.0
    return sin(pi * x) * sin(pi * x / 3) / (pi * x * pi * x / 3) if x < 3 else 0.0


KERNELS: dict[str, tuple[Callable[[float, float], float], float]] = {
    "bicubic": (_cubic, 2.0),
    "bilinear": (_triangle, 1.0),
    "area": (_area, 1.0),
    "lanczos": (_lanczos, 3.0),
}
"""Name in the config -> (kernel, radius). The arguments of a kernel are the distance, in units of
results (of samples when a frame is scaled up), and the number of samples per result."""


@lru_cache(maxsize=64)
def _weights(interpolation: str, samples: int, size: int, device: torch.device) -> Tensor:
    """Return the resampling matrix (size, samples) float32: the weight of each sample in each
    result.

    Args:
        interpolation: a key of :data:`KERNELS`.
        samples: number of input samples.
        size: number of results.
        device: device of the matrix.
    """
    kernel, radius = lookup(KERNELS, interpolation, "interpolation")
    scale = samples / size
    widened = max(1.0, scale)
    table = torch.zeros(size, samples, dtype=torch.float64)
    for target in range(size):
        centre = (target + 0.5) * scale - 0.5
        reach = radius * widened
        for sample in range(ceil(centre - reach), floor(centre + reach) + 1):
            weight = kernel(abs(sample - centre) / widened, scale)
            table[target, min(max(sample, 0), samples - 1)] += weight
    return (table / table.sum(dim=1, keepdim=True)).float().to(device)
