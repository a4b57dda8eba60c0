"""Frames of all formats are upright, in the correct colours and of the model's size."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests import synth
from tests.synth import SyntheticVideo, joined, quadrants
from tests.video.reading import read, sampling
from vtnstream.errors import VideoDecodeError
from vtnstream.types import Fit
from vtnstream.video.orientation import (
    Orientation,
    display_size,
    orientation_from_matrix,
    plausible_aspect,
)
from vtnstream.video.probe import probe
from vtnstream.video.resize import cropped

ONE = 1 << 16
MATRICES = {
    "upright": (ONE, 0, 0, ONE),
    "90 clockwise": (0, ONE, -ONE, 0),
    "180": (-ONE, 0, 0, -ONE),
    "270 clockwise": (0, -ONE, ONE, 0),
    "left to right": (-ONE, 0, 0, ONE),
    "top to bottom": (ONE, 0, 0, -ONE),
    "transposed": (0, ONE, ONE, 0),
    "anti-transposed": (0, -ONE, -ONE, 0),
}


def full(matrix: tuple[int, int, int, int]) -> tuple[int, ...]:
    a, b, c, d = matrix
    return (a, b, 0, c, d, 0, 0, 0, 1 << 30)


def shown_by(matrix: tuple[int, int, int, int], picture: np.ndarray) -> np.ndarray:
    """Move each pixel by the matrix: (x, y) -> (a x + c y, b x + d y)."""
    a, b, c, d = (v // ONE for v in matrix)
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width]
    right, down = a * x + c * y, b * x + d * y
    right, down = right - right.min(), down - down.min()
    out = np.zeros((down.max() + 1, right.max() + 1, 3), np.uint8)
    out[down, right] = picture
    return out


@pytest.mark.parametrize("name", MATRICES)
def test_every_display_matrix_is_applied(tmp_path: Path, name: str) -> None:
    video = SyntheticVideo(
        count=3, size=(96, 64), matrix=full(MATRICES[name]), draw=lambda _n, w, h: quadrants(w, h)
    )
    path = video.write(tmp_path / "film.mp4")
    wanted = shown_by(MATRICES[name], quadrants(96, 64))
    height, width = wanted.shape[:2]
    info = probe(path)
    assert (info.width, info.height) == (width, height)
    frame = read(path, fit=lambda w, h: Fit(w, h, 0, 0, w, h)).frames[0]
    assert frame.shape == wanted.shape
    assert np.abs(frame.astype(int) - wanted).mean() < 6


def test_rotation_is_clockwise() -> None:
    assert orientation_from_matrix(full(MATRICES["90 clockwise"])) == (Orientation(90), True)
    assert orientation_from_matrix(full(MATRICES["left to right"])) == (Orientation(0, True), True)
    cosine, sine = ONE * 9 // 10, ONE // 3
    tilted, exact = orientation_from_matrix(full((cosine, sine, -sine, cosine)))
    assert tilted == Orientation(0)
    assert not exact
    assert orientation_from_matrix((0,) * 9)[0] == Orientation(0)


@pytest.mark.parametrize("aspect", [Fraction(2, 1), Fraction(2, 3)])
def test_the_sample_aspect_ratio_stretches_the_width(tmp_path: Path, aspect: Fraction) -> None:
    path = SyntheticVideo(count=3, aspect=aspect).write(tmp_path / "film.mp4")
    seen: list[tuple[int, int]] = []

    def fit(width: int, height: int) -> Fit:
        seen.append((width, height))
        return Fit(32, 32, 0, 0, 32, 32)

    reading = read(path, fit=fit)
    assert set(seen) == {(round(128 * aspect), 96)}
    assert reading.info.sample_aspect_ratio == aspect
    assert (reading.info.width, reading.info.coded_width) == (round(128 * aspect), 128)


def test_implausible_aspect_ratios_are_ignored() -> None:
    assert plausible_aspect(Fraction(65535)) == (1, False)
    assert plausible_aspect(Fraction(0)) == (1, True)
    assert display_size(10, 20, Fraction(3, 2), Orientation(90)) == (20, 15)


def test_the_size_may_change_within_a_stream(tmp_path: Path) -> None:
    first = SyntheticVideo(count=25).write(tmp_path / "a.ts")
    second = SyntheticVideo(count=25, start=1, size=(256, 144)).write(tmp_path / "b.ts")
    seen = set()

    def fit(width: int, height: int) -> Fit:
        seen.add((width, height))
        return Fit(32, 32, 0, 0, 32, 32)

    reading = read(joined(tmp_path / "joined.ts", first, second), sampling(fps=5), fit=fit)
    assert seen == {(128, 96), (256, 144)}
    assert reading.numbers == [0, 5, 10, 15, 20] * 2


FORMATS = {
    "yuv420p": "libx264",
    "yuv422p": "libx264",
    "yuv444p": "libx264",
    "yuv420p10le": "libx264",
    "yuv422p10le": "libx264",
    "yuvj420p": "mjpeg",
    "yuva420p": "ffv1",
    "gray": "ffv1",
    "bgr0": "ffv1",
    "yuv411p": "ffv1",
    "gbrp10le": "ffv1",
    "rgb24": "png",
    "rgba": "png",
}


@pytest.mark.parametrize("name", FORMATS)
def test_pixel_formats_are_converted(tmp_path: Path, name: str) -> None:
    options = {"preset": "ultrafast", "crf": "18"} if FORMATS[name] == "libx264" else {}
    video = SyntheticVideo(count=30, codec=FORMATS[name], options=options, pix_fmt=name, ticks=25)
    suffix = "mov" if FORMATS[name] == "png" else "mkv"
    reading = read(video.write(tmp_path / f"film.{suffix}"), sampling(fps=5))
    assert reading.numbers == [0, 5, 10, 15, 20, 25]
    white, black = reading.frames[1].max(), reading.frames[1].min()
    assert abs(int(white) - 200) <= 12
    assert abs(int(black) - 40) <= 12


@pytest.mark.parametrize("size", [(130, 98), (161, 121), (67, 51)])
def test_odd_sizes_are_scaled(tmp_path: Path, size: tuple[int, int]) -> None:
    video = SyntheticVideo(count=10, codec="ffv1", options={}, ticks=25, size=size)
    frame = read(video.write(tmp_path / "film.mkv"), sampling("all")).frames[7]
    assert synth.read(frame) == 7
    wanted = synth.paint(7, 32, 32)
    inner = np.s_[10:14, 10:14]  # within one field: no garbage columns, no bleeding
    assert np.abs(frame[inner].astype(int) - wanted[inner]).max() <= 8


def tagged(path: Path, matrix: str, full_range: bool) -> Path:
    """Encode quadrants with a colour matrix and range, with the matching tags."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv444p"
        spaces = {"bt601": 5, "bt709": 1}
        stream.codec_context.colorspace = spaces[matrix]
        stream.codec_context.color_range = 2 if full_range else 1
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(_to_yuv(quadrants(), matrix, full_range), "yuv444p")
            frame.pts, frame.colorspace = number, spaces[matrix]
            frame.color_range = 2 if full_range else 1
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def _to_yuv(rgb: np.ndarray, matrix: str, full_range: bool) -> np.ndarray:
    """Return (3, h, w) by the definition of ITU-R BT.601 and BT.709."""
    kr, kb = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[matrix]
    r, g, b = np.moveaxis(rgb.astype(float) / 255, -1, 0)
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    if full_range:
        planes = [y * 255, u * 255 + 128, v * 255 + 128]
    else:
        planes = [y * 219 + 16, u * 224 + 128, v * 224 + 128]
    return np.clip(np.round(planes), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [False, True])
def test_colour_matrix_and_range_are_applied(tmp_path: Path, matrix: str, full_range: bool) -> None:
    path = tagged(tmp_path / "film.mkv", matrix, full_range)
    frame = read(path, fit=lambda w, h: Fit(w, h, 0, 0, w, h)).frames[0].astype(int)
    wanted = quadrants().astype(int)
    for row in (24, 72):
        for column in (32, 96):
            assert np.abs(frame[row, column] - wanted[row, column]).max() <= 3


def test_scaling_down_averages_pixels(tmp_path: Path) -> None:
    """Stripes of one pixel become grey, because scaling is antialiased."""

    def stripes(_number: int, width: int, height: int) -> np.ndarray:
        picture = np.zeros((height, width, 3), np.uint8)
        picture[:, ::2] = 255
        return picture

    video = SyntheticVideo(
        count=3, codec="ffv1", options={}, pix_fmt="gray", ticks=25, draw=stripes
    )
    path = video.write(tmp_path / "film.mkv")
    for interpolation in ("bicubic", "bilinear", "area", "lanczos"):
        frame = read(path, interpolation=interpolation).frames[0]
        assert abs(frame[4:-4, 4:-4].mean() - 127) < 6
        assert frame[4:-4, 4:-4].std() < 25


def test_interlaced_frames_are_scaled_as_one(tmp_path: Path) -> None:
    """Scaling the fields separately would give a still image comb edges."""
    video = SyntheticVideo(
        count=5,
        codec="mpeg2video",
        options={"flags": "+ildct+ilme", "qscale": "1", "b": "8M"},
        ticks=25,
        draw=lambda _n, w, h: quadrants(w, h),
    )
    path = video.write(tmp_path / "film.mkv")
    frame = read(path, sampling("all"), fit=lambda w, h: Fit(64, 48, 0, 0, 64, 48)).frames[0]
    column = frame[:, 16].astype(int)
    assert (np.abs(np.diff(column[:20], axis=0)).max(axis=1) < 12).all()


def test_crop_boxes_are_applied() -> None:
    picture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    planes = [picture[..., channel] for channel in range(3)]
    inside = cropped(planes, Fit(6, 4, 1, 1, 3, 2))
    assert np.array_equal(inside, picture[1:3, 1:4])
    assert inside.base is None
    around = cropped(planes, Fit(6, 4, -1, -2, 8, 8))
    assert np.array_equal(around[2:6, 1:7], picture)
    assert around.sum() == picture.sum()


def test_the_crop_is_taken_from_the_rotated_frame(tmp_path: Path) -> None:
    video = SyntheticVideo(
        count=3,
        size=(128, 64),
        matrix=full(MATRICES["90 clockwise"]),
        draw=lambda _n, w, h: quadrants(w, h),
    )
    path = video.write(tmp_path / "film.mp4")
    # DisplayedFrame 64 x 128: blue and red above, white and green below. The top half is cut.
    frame = read(path, fit=lambda w, h: Fit(32, 64, 0, 0, 32, 32)).frames[0]
    assert frame[4, 4].argmax() == 2
    assert frame[4, 28].argmax() == 0
    assert frame[28, 28].argmax() == 0


def test_extreme_shapes_are_refused(tmp_path: Path) -> None:
    video = SyntheticVideo(count=3, codec="ffv1", options={}, ticks=25, size=(2000, 16))
    path = video.write(tmp_path / "film.mkv")
    with pytest.raises(VideoDecodeError, match="too large"):
        read(path, fit=lambda w, h: Fit(w * 16, h * 16, 0, 0, 32, 32), max_pixels=1_000_000)
