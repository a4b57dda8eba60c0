"""Real videos with known shots, each as it is and altered in ways that leave its shots as they
are: bars, a crop, a low bitrate, other frame rates, steps of exposure, stutter. And cuts within
one take.

Rules that hold on the few real videos at hand alone show here: a variant has the same truth and
is another video.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.footage import RealVideo

WIDTH, HEIGHT = 240, 160
"""Pixels of a variant's file; the model reads far fewer."""
MOST_FRAMES = 1500
MOST_EDITED = 3600
Frames = NDArray[np.uint8]
Pair = tuple[int, int]
PLAIN, JUMPS = "plain", "jump cuts"


@dataclass(frozen=True, slots=True)
class FrameTruth:
    """Transitions by frames: first frames of shots, and stretches [first, last]."""

    cuts: tuple[int, ...] = ()
    graduals: tuple[Pair, ...] = ()
    open: tuple[Pair, ...] = ()

    def until(self, count: int) -> FrameTruth:
        """What begins within the first ``count`` frames."""
        return FrameTruth(
            tuple(c for c in self.cuts if c < count),
            tuple(span for span in self.graduals if span[0] < count),
            tuple(span for span in self.open if span[0] < count),
        )

    def picked(self, places: NDArray[np.int64]) -> FrameTruth:
        """The truth of the frames ``places`` in order."""

        def moved(frame: int) -> int:
            return int(np.searchsorted(places, frame))

        def spans(found: Sequence[Pair]) -> tuple[Pair, ...]:
            pairs = ((moved(a), max(moved(b + 1) - 1, moved(a))) for a, b in found)
            return tuple((a, b) for a, b in pairs if a < len(places))

        cuts = sorted({moved(c) for c in self.cuts if moved(c) < len(places)})
        return FrameTruth(tuple(cuts), spans(self.graduals), spans(self.open))


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A video at the size of the model's input, with its truth.

    Attributes:
        name: of the file it was made from.
        part: see :mod:`benchmarks.footage`.
        frames: (T, 32, 48, 3).
        starts, ends: (T,) seconds.
        truth: by frames.
        edited: whether it is an edited video; else a take.
    """

    name: str
    part: str
    frames: Frames
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    truth: FrameTruth
    edited: bool

    @property
    def fps(self) -> float:
        return (len(self.starts) - 1) / max(float(self.starts[-1] - self.starts[0]), 1e-6)


@dataclass(frozen=True, slots=True, eq=False)
class _Altered:
    frames: Frames
    truth: FrameTruth
    fps: float
    crf: int = 26
    gop: int = 250


def read(path: Path, width: int, height: int) -> tuple[Frames, NDArray[np.float64]]:
    """All frames of a video at one size, and the seconds at which they start and the last ends."""
    from vtnstream.config import SamplingConfig
    from vtnstream.types import Fit
    from vtnstream.video.source import open_video

    def fit(_wide: int, _high: int) -> Fit:
        return Fit(width, height, 0, 0, width, height)

    with open_video(path, SamplingConfig(kind="all"), fit=fit, interpolation="area") as source:
        chunks = list(source.chunks())
    edges = [*(c.times.start_seconds for c in chunks), chunks[-1].times.end_seconds[-1:]]
    return np.concatenate([c.frames for c in chunks]), np.concatenate(edges).astype(np.float64)


def truth_of(video: RealVideo, count: int) -> FrameTruth:
    """Its truth by decoded frames, which another decoder may have counted at another rate."""
    annotated = int(str((video.annotation or {}).get("frames", count)))
    scale = 1.0 if abs(annotated - count) <= 2 else count / annotated

    def spans(name: str) -> tuple[Pair, ...]:
        return tuple((round(a * scale), round(b * scale)) for a, b in video.frames_of(name))

    cuts = tuple(round(a * scale) for a, _ in video.frames_of("cuts"))
    return FrameTruth(cuts, spans("graduals"), spans("open"))


def plain(video: RealVideo) -> Clip:
    """The video as it is."""
    frames, edges = read(video.path, 48, 32)
    truth = truth_of(video, len(frames))
    name = f"{video.path.parent.name}/{video.path.name}"
    return Clip(name, video.part, frames, edges[:-1], edges[1:], truth, not video.is_take)


def variants(video: RealVideo) -> Iterator[tuple[str, Clip]]:
    """Each variant's name and the video in it, decoded from a file of its own."""
    frames, edges = read(video.path, WIDTH, HEIGHT)
    truth = truth_of(video, len(frames))
    fps = (len(frames) - 1) / max(float(edges[-2] - edges[0]), 1e-6)
    frames = frames[: MOST_FRAMES if video.is_take else MOST_EDITED]
    truth = truth.until(len(frames))
    name = f"{video.path.parent.name}/{video.path.name}"
    random = np.random.default_rng(zlib.crc32(name.encode()))
    for kind, made in _altered(frames, truth, fps, random).items():
        small = _coded(made)
        starts = np.arange(len(small)) / made.fps
        ends = starts + 1 / made.fps
        yield kind, Clip(name, video.part, small, starts, ends, made.truth, not video.is_take)


def _altered(
    frames: Frames, truth: FrameTruth, fps: float, random: np.random.Generator
) -> dict[str, _Altered]:
    count = len(frames)
    left, top = (int(random.integers(0, int(side * 0.4))) for side in (WIDTH, HEIGHT))
    inner = frames[:, top : top + int(HEIGHT * 0.6), left : left + int(WIDTH * 0.6)]
    found = {
        "bars at the sides": _Altered(_barred(frames, 30, 0), truth, fps, 23),
        "vertical in landscape": _Altered(_barred(frames, 82, 0), truth, fps, 23),
        "letterbox, low bitrate": _Altered(_barred(frames, 0, 20), truth, fps, 40, 48),
        "crop": _Altered(_resized(inner, WIDTH, HEIGHT), truth, fps),
        "lowest bitrate": _Altered(frames, truth, fps, 44, 30),
        "exposure steps": _Altered(_stepped(frames, random), truth, fps),
        "stutter": _Altered(frames[_held(count, truth, random)], truth, fps, 28),
    }
    if fps > 18:
        half = np.arange(0, count, 2)
        found["half the frame rate"] = _Altered(frames[half], truth.picked(half), fps / 2, 28)
    if fps < 50:
        doubled = np.minimum((np.arange(int(count / fps * 60)) * fps / 60).astype(int), count - 1)
        found["60 frames/s"] = _Altered(frames[doubled], truth.picked(doubled), 60, 28)
    return found


def _resized(frames: Frames, width: int, height: int) -> Frames:
    from PIL import Image

    box = Image.Resampling.BOX
    return np.stack([np.asarray(Image.fromarray(f).resize((width, height), box)) for f in frames])


def _barred(frames: Frames, left: int, top: int) -> Frames:
    out = np.zeros_like(frames)
    wide, high = WIDTH - 2 * left, HEIGHT - 2 * top
    out[:, top : top + high, left : left + wide] = _resized(frames, wide, high)
    return out


def _stepped(frames: Frames, random: np.random.Generator) -> Frames:
    """Brightness that steps twice, by a half or so."""
    count = len(frames)
    levels = np.ones(count)
    first, second = sorted(random.integers(5, max(count - 5, 6), 2).tolist())
    levels[first:] *= random.choice([0.65, 1.45])
    levels[second:] *= random.choice([0.7, 1.35])
    out = np.empty_like(frames)
    for k in range(count):
        out[k] = (frames[k] * levels[k]).clip(0, 255)
    return out


def _held(count: int, truth: FrameTruth, random: np.random.Generator) -> NDArray[np.int64]:
    """Frame numbers of a recording that stops now and then, not across a cut."""
    places = np.arange(count)
    for _ in range(max(2, count // 150)):
        first, length = int(random.integers(count)), int(random.integers(2, 12))
        if not any(first - 2 <= cut <= first + length + 2 for cut in truth.cuts):
            places[first : first + length] = first
    return places


def _coded(made: _Altered) -> Frames:
    """Through H.264 and scaled to the model's input, (T, 32, 48, 3)."""
    import av

    buffer = io.BytesIO()
    options = {"preset": "superfast", "crf": str(made.crf), "g": str(made.gop)}
    with av.open(buffer, "w", format="mp4") as output:
        rate = Fraction(made.fps).limit_denominator(1000)
        stream = output.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in made.frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")
            output.mux(stream.encode(picture))
        output.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer) as source:
        small = [
            f.reformat(48, 32, "rgb24", interpolation="AREA", threads=1).to_ndarray()
            for f in source.decode(video=0)
        ]
    return np.stack(small)


def jump_cuts(clip: Clip, *, videos: int = 2, length: int = 240) -> Iterator[Clip]:
    """Pieces of 8 to 50 frames of a take, joined: cuts between two moments of one place. A join
    that does not stand out from the motion around it is no cut, and is not made."""
    if len(clip.frames) < 90:
        return
    values = clip.frames.astype(np.int16)
    for number in range(videos):
        random = np.random.default_rng((number, zlib.crc32(clip.name.encode())))
        places: list[int] = []
        cuts: list[int] = []
        for _ in range(400):
            first = int(random.integers(1, len(values) - 60))
            piece = range(first, first + int(random.integers(8, 50)))
            if places and not _stands_out(values, places[-1], first):
                continue
            if places:
                cuts.append(len(places))
            places += piece
            if len(places) >= length:
                break
        if len(cuts) >= 2:
            starts = np.arange(len(places)) / clip.fps
            truth = FrameTruth(tuple(cuts))
            frames = clip.frames[places]
            ends = starts + 1 / clip.fps
            yield Clip(clip.name, clip.part, frames, starts, ends, truth, True)


def _stands_out(values: NDArray[np.int16], last: int, first: int) -> bool:
    def step(a: int, b: int) -> float:
        return float(np.abs(values[a] - values[b]).mean())

    return step(last, first) > max(4.0, 3 * max(step(last, last - 1), step(first + 1, first)))
