"""Sampled decoding of one video: everything decoded, only the frames that the sampling needs, a
sparse sampling, and several decoders, or one that works on several frames at a time.

CPU seconds are those of all threads, from opening the file to the last scaled frame, with a
short side of 256 and a crop of 224. Runs of one sampling alternate, and tables give their
median. All methods must give bit-identical frames, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from benchmarks import common
from benchmarks.videos import camera_video, videos_directory
from vtnstream.config import SamplingConfig
from vtnstream.types import Fit
from vtnstream.video.source import VideoSource, open_video

SHORT_SIDE, CROP = 256, 224


@dataclass(frozen=True)
class Way:
    """One method of decoding a video."""

    name: str
    skip: bool
    decoders: int = 1


@dataclass(frozen=True)
class Run:
    """Measurements of one pass."""

    cpu: float
    wall: float
    tokens: int
    decoded: int
    packets: int


def main(arguments: list[str]) -> None:
    parser = common.parser("decode", __doc__)
    parser.add_argument("video", type=Path, nargs="?", help="[camera footage, generated]")
    parser.add_argument("--fps", default="2", help="frames per second [2]")
    parser.add_argument("--sparse", default="1/30", help="a sparse sampling [1/30]")
    parser.add_argument("--decoders", type=int, default=2, help="largest number of decoders [2]")
    parser.add_argument("--runs", type=int, default=3, help="runs of each method [3]")
    parser.add_argument("--minutes", type=float, default=3, help="of generated footage [3]")
    parser.add_argument("--videos", type=Path, help="folder of generated videos")
    options = parser.parse_args(arguments)
    video = options.video or camera_video(videos_directory(options.videos), options.minutes * 60)
    settings = {"video": video.name, "runs": options.runs, "decoders": options.decoders}
    result = common.Result("decode", settings)
    for fps in (options.fps, options.sparse):
        measure(result, video, Fraction(fps), options)
    result.deliver(options)


def measure(result: common.Result, video: Path, fps: Fraction, options: argparse.Namespace) -> None:
    """Make one table: all methods for one sampling."""
    ways = [
        Way("everything", skip=False),
        Way("what is needed", skip=True),
        Way(f"{options.decoders} side by side", skip=True, decoders=options.decoders),
    ]
    runs: dict[Way, list[Run]] = {way: [] for way in ways}
    common.say(f"{fps} frames/s: are all ways the same?")
    if len({contents(video, fps, way) for way in ways}) != 1:
        result.broken.append(f"at {fps} frames/s the ways give different frames")
    for number in range(options.runs):
        for way in ways:
            common.say(f"{fps} frames/s, {way.name}, run {number + 1} of {options.runs}")
            runs[way].append(decode(video, fps, way))
    columns = ("way", "frames", "decoded", "share", "CPU s", "ratio", "wall s")
    table = result.table(f"{video.name} at {fps} frames/s", *columns)
    plain = common.median(run.cpu for run in runs[ways[0]])
    for way, each in runs.items():
        cpu, run = common.median(run.cpu for run in each), each[0]
        share = run.decoded / run.packets
        wall = common.median(run.wall for run in each)
        table.add(way.name, run.tokens, run.decoded, share, cpu, cpu / plain, wall)


def contents(video: Path, fps: Fraction, way: Way) -> str:
    """Return a digest of all frames and their times."""
    digest = hashlib.sha256()
    with opened(video, fps, way) as source:
        for chunk in source.chunks():
            digest.update(chunk.frames.tobytes())
            for values in (chunk.times.indices, chunk.times.pts, chunk.times.end_seconds):
                digest.update(values.tobytes())
    return digest.hexdigest()


def decode(video: Path, fps: Fraction, way: Way) -> Run:
    """Measure one pass over the video."""
    wall, cpu = time.perf_counter(), time.process_time()
    with opened(video, fps, way) as source:
        tokens = sum(len(chunk.times) for chunk in source.chunks())
        stats = source.summary.stats
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Run(cpu, wall, tokens, stats.num_frames, stats.num_packets)


def opened(video: Path, fps: Fraction, way: Way) -> VideoSource:
    sampling = SamplingConfig(fps=fps)
    return open_video(video, sampling, fit=fit, skip=way.skip, decoders=way.decoders)


def fit(width: int, height: int) -> Fit:
    """Return the scaling to a short side of 256 and a centre crop of 224."""
    scale = SHORT_SIDE / min(width, height)
    across, down = round(width * scale), round(height * scale)
    return Fit(across, down, (across - CROP) // 2, (down - CROP) // 2, CROP, CROP)
