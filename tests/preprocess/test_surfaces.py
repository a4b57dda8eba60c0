"""Conversion of surfaces to RGB in torch, compared with swscale on the same samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.synth import SyntheticVideo
from vtnstream.errors import UsageError
from vtnstream.preprocess.surfaces import KERNELS, SurfaceConverter, to_rgb
from vtnstream.types import Colour, Fit
from vtnstream.video.resize import FrameResizer

MATRICES = {"bt709": 1, "unknown": 2, "fcc": 4, "bt470bg": 5, "bt601": 6, "240m": 7, "bt2020": 9}
SIZES = {
    "down": ((320, 240), (128, 96)),
    "odd": ((321, 241), (100, 75)),
    "up": ((64, 48), (101, 80)),
    "same": ((96, 64), (96, 64)),
}
MOST, MEAN = 1, 0.05
"""Tolerance in levels of 255: both implementations round, at different steps."""


def soft(width: int, height: int) -> NDArray[np.uint8]:
    """Return a frame of varying colours without edges, at which a codec or filter would ring."""
    random = np.random.default_rng(0)
    coarse = torch.from_numpy(random.uniform(0, 255, (1, 3, height // 12 + 2, width // 12 + 2)))
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    picture: NDArray[np.uint8] = fine[0].permute(1, 2, 0).clamp(0, 255).byte().numpy().copy()
    return picture


def made(size: tuple[int, int], layout: str, matrix: int = 1, full: bool = False) -> Any:
    frame = av.VideoFrame.from_ndarray(soft(*size), "rgb24").reformat(format=layout)
    frame.colorspace, frame.color_range = matrix, 2 if full else 1
    return frame


def planes(frame: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return luma (H, W) and chroma (h, w, 2) of a semi-planar frame, with the last half column."""
    kind = np.uint8 if frame.format.name == "nv12" else np.uint16
    luma, chroma = (
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size).copy().view(kind)
        for plane in frame.planes
    )
    pairs = chroma[:, : -(-frame.width // 2) * 2].reshape(len(chroma), -1, 2).copy()
    return torch.from_numpy(luma[:, : frame.width].copy()), torch.from_numpy(pairs)


def by_swscale(
    frame: Any, size: tuple[int, int], interpolation: str = "bicubic"
) -> NDArray[np.uint8]:
    fit = Fit(*size, 0, 0, *size)
    resize = FrameResizer("x", lambda w, h: fit, interpolation=interpolation, max_pixels=10**8)
    return resize(frame, None)


def assert_near(ours: torch.Tensor, theirs: NDArray[np.uint8], most: float, mean: float) -> None:
    assert ours.dtype == torch.uint8 and ours.shape == theirs.shape
    difference = np.abs(ours.numpy().astype(int) - theirs)
    assert difference.max() <= most and difference.mean() <= mean


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("layout", ["nv12", "p010le"])
def test_every_matrix_and_range_equals_swscale(layout: str, matrix: str, full: bool) -> None:
    frame = made((160, 120), layout, MATRICES[matrix], full)
    colour = Colour(MATRICES[matrix], 2 if full else 1, 1 if layout == "nv12" else 256)
    ours = to_rgb(*planes(frame), colour, (100, 75))
    assert_near(ours, by_swscale(frame, (100, 75)), MOST, MEAN)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("interpolation", KERNELS)
def test_every_filter_and_size_equals_swscale(interpolation: str, sizes: str) -> None:
    source, size = SIZES[sizes]
    frame = made(source, "nv12")
    ours = to_rgb(*planes(frame), Colour(1, 1), size, interpolation=interpolation)
    assert_near(ours, by_swscale(frame, size, interpolation), MOST, MEAN)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("depth", [8, 10])
def test_frames_equal_software_for_every_chroma_location(
    tmp_path: Path, depth: int, place: int
) -> None:
    pix_fmt, layout = ("yuv420p", "nv12") if depth == 8 else ("yuv420p10le", "p010le")
    options = {"preset": "ultrafast", "crf": "12", "x264-params": f"chromaloc={place}"}
    video = SyntheticVideo(count=2, size=(160, 96), options=options, pix_fmt=pix_fmt)
    video.draw = lambda _n, w, h: soft(w, h)
    with av.open(str(video.write(tmp_path / "film.mp4"))) as container:
        frame = next(container.decode(video=0))
    surface = frame.reformat(format=layout)  # the same samples, in the layout of a GPU
    colour = Colour(int(frame.colorspace), int(frame.color_range), 1 if depth == 8 else 256)
    ours = to_rgb(*planes(surface), colour, (100, 60))
    assert_near(ours, by_swscale(frame, (100, 60)), MOST, MEAN)


@pytest.mark.parametrize("layout", ["nv12", "p010le"])
def test_a_converter_reads_planes_by_dlpack(layout: str) -> None:
    frame = made((160, 120), layout)
    converter = SurfaceConverter("bicubic")
    colour = Colour(1, 1, 1 if layout == "nv12" else 256)
    size, upright = (100, 75), Fit(100, 75, 0, 0, 100, 75)
    whole = converter.frame(frame.planes, colour, upright, 0, False)
    assert_near(whole, by_swscale(frame, size), MOST, MEAN)
    box = converter.frame(frame.planes, colour, Fit(100, 75, 10, 5, 32, 24), 0, False)
    assert torch.equal(box, whole[5:29, 10:42])
    around = converter.frame(frame.planes, colour, Fit(100, 75, -2, -3, 104, 81), 0, False)
    assert torch.equal(around[3:78, 2:102], whole) and around.sum() == whole.sum()
    turned = converter.frame(frame.planes, colour, Fit(75, 100, 0, 0, 75, 100), 90, False)
    assert np.array_equal(turned.numpy(), np.rot90(whole.numpy(), -1))
    mirrored = converter.frame(frame.planes, colour, Fit(75, 100, 0, 0, 75, 100), 270, True)
    assert np.array_equal(mirrored.numpy(), np.rot90(whole.numpy()[:, ::-1], -3))
    assert converter.stack([whole, whole]).shape == (2, 75, 100, 3)


def test_an_unknown_filter_is_an_error() -> None:
    frame = made((32, 32), "nv12")
    with pytest.raises(UsageError, match="bicubic"):
        to_rgb(*planes(frame), Colour(1, 1), (8, 8), interpolation="bicubik")
