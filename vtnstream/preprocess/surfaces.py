"""Pictures as video decoders keep them (luma, and chroma at half the size) to RGB of the model's
size, in torch, where the planes are: on a GPU no picture passes through the host.

Each plane is resampled by itself, straight to the size asked for, as swscale does; colours are
worked out only there. Resampling is two products with matrices that hold the filter, widened
where a picture gets smaller.
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
"""Part of the feature key: changes whenever the pixels that come out change."""

_LUMA_OF_RED_AND_BLUE = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020
    10: (0.2627, 0.0593),
}
"""By the number of the matrix (H.273 table 4); all others are read as BT.601, as swscale does."""
_BT601 = (0.299, 0.114)
_FULL_RANGE = 2


class SurfacePainter:
    """Pictures of surfaces, made where these are.

    Args:
        interpolation: a name of :data:`KERNELS`.
    """

    def __init__(self, interpolation: str) -> None:
        self._interpolation = interpolation

    @contextmanager
    def at(self, device: int) -> Iterator[None]:
        """Within, torch's context on the GPU of this number is the calling thread's current one.

        Raises (when entered):
            RuntimeError, AssertionError: there is no such GPU.
        """
        with torch.cuda.device(device):
            # To name a device is not enough: a thread has a context from its first work on.
            torch.zeros(1, device=torch.device("cuda", device))
            yield

    @torch.inference_mode()
    def picture(
        self, planes: Sequence[Any], colour: Colour, fit: Fit, rotation: int, mirrored: bool
    ) -> Tensor:
        """The model's picture (crop_height, crop_width, 3) uint8 of luma and chroma that give
        themselves by ``__dlpack__``: first mirrored, then turned clockwise, then cropped."""
        # The capsule, not the plane: torch would name a stream, which PyAV refuses. Decoder and
        # torch meet in the device's default stream, in whose order both work.
        luma, chroma = (from_dlpack(plane.__dlpack__()) for plane in planes)
        turned = rotation in (90, 270)
        size = (fit.height, fit.width) if turned else (fit.width, fit.height)
        picture = to_rgb(luma, chroma, colour, size, interpolation=self._interpolation)
        if mirrored:
            picture = picture.flip(1)
        return cropped(torch.rot90(picture, -rotation // 90), fit)

    def stack(self, pictures: Sequence[Tensor]) -> Tensor:
        """Pictures to (T, h, w, 3), done when this returns: streams of their own may read it."""
        stacked = torch.stack(list(pictures))
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
    """One surface to a picture. Chroma is taken to stand in the middle of four luma samples, as
    swscale takes it where frames come from PyAV, which does not hand on where it stands.

    Args:
        luma: (H, W) uint8 or uint16.
        chroma: (h, w, 2), Cb and Cr, h and w half of H and W, rounded up.
        colour: matrix, range and depth.
        size: (width, height) of the result.
        interpolation: a name of :data:`KERNELS`.

    Returns:
        (height, width, 3) uint8, on the planes' device.

    Raises:
        UsageError: the interpolation is unknown.
    """
    width, height = size

    def resampled(plane: Tensor) -> Tensor:
        down = weights(interpolation, plane.shape[0], height, plane.device)
        across = weights(interpolation, plane.shape[1], width, plane.device)
        return down @ (plane.float() / colour.levels) @ across.T

    light = resampled(luma)  # (height, width)
    blue, red = (resampled(chroma[..., c]) for c in (0, 1))
    return _mixed(light, blue, red, colour)


def _mixed(light: Tensor, blue: Tensor, red: Tensor, colour: Colour) -> Tensor:
    """Y, Cb, Cr (h, w) in the levels of 8 bits to RGB (h, w, 3) uint8."""
    of_red, of_blue = _LUMA_OF_RED_AND_BLUE.get(colour.matrix, _BT601)
    of_green = 1 - of_red - of_blue
    blue, red = blue - 128, red - 128
    if colour.colour_range != _FULL_RANGE:
        light = (light - 16) * (255 / 219)
        blue, red = blue * (255 / 224), red * (255 / 224)
    from_red, from_blue = 2 * (1 - of_red), 2 * (1 - of_blue)
    green = light - from_red * of_red / of_green * red - from_blue * of_blue / of_green * blue
    picture = torch.stack((light + from_red * red, green, light + from_blue * blue), dim=-1)
    return picture.round_().clamp_(0, 255).to(torch.uint8)


def cropped(picture: Tensor, fit: Fit) -> Tensor:
    """The box of ``fit`` cut out of an upright (h, w, 3) picture; what lies outside is black."""
    height, width = picture.shape[:2]
    x0, y0 = max(fit.left, 0), max(fit.top, 0)
    x1, y1 = min(fit.left + fit.crop_width, width), min(fit.top + fit.crop_height, height)
    box = picture.new_zeros(fit.crop_height, fit.crop_width, 3)
    if x1 > x0 and y1 > y0:
        part = picture[y0:y1, x0:x1]
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
    """Of a sample's cell, the part that the result covers; where the picture grows, bilinear."""
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
"""By the config's names: the kernel, of a distance in results (samples where the picture grows)
and the samples a result spans; and where it ends."""


@lru_cache(maxsize=64)
def weights(interpolation: str, samples: int, size: int, device: torch.device) -> Tensor:
    """What each of ``size`` results takes of each sample, (size, samples) float32.

    Args:
        interpolation: a name of :data:`KERNELS`.
        samples: how many there are.
        size: how many there shall be.
        device: where it is needed.
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
