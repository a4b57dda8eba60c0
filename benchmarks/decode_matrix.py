"""Decoding and scaling alone: vtnstream beside ffmpeg and torchcodec, for codecs, sizes and rates.

Each contender reads a video at a rate and scales each sampled frame to a short side of 256, as RGB.
vtnstream reads as ``extract`` does, with as many decoders as there are threads. ffmpeg is the
command with ``-threads N -vf fps=RATE,scale=W:H`` and writes to the null device. torchcodec reads
with ``get_frames_played_at`` in batches of 32 and scales within its decoder, without scanning the
file first; with one thread and with N, of which the faster counts.

Videos are generated (pans over detail, moving objects, grain, a cut every four seconds), encoded
once by ffmpeg, and kept. Wall time counts, from opening the file to the last scaled frame; for
ffmpeg it includes the start of the process, some 0.05 s. Contenders alternate.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from benchmarks import common, machine
from benchmarks.children import Child, Failure, Median, interleave
from benchmarks.videos import camera_video, videos_directory

RATE = 30
"""Frames per second of the videos."""

SECONDS = {360: 40, 720: 40, 1080: 20, 2160: 10}
"""Length of the video of each height."""

SOURCE_SECONDS = 12
"""Length of the generated video that is encoded again and again."""

ENCODERS: dict[str, tuple[str, ...]] = {
    "h264": ("libx264", "-preset", "veryfast", "-crf", "23"),
    "hevc": ("libx265", "-preset", "superfast", "-crf", "26", "-x265-params", "log-level=none"),
    "vp9": ("libvpx-vp9", "-deadline", "realtime", "-cpu-used", "6", "-crf", "33", "-b:v", "0"),
    "av1": ("libaom-av1", "-cpu-used", "8", "-crf", "33", "-b:v", "0"),
}
SUFFIXES = {"h264": "mp4", "hevc": "mp4", "vp9": "webm", "av1": "mkv"}

SHORT_SIDE = 256
BATCH = 32
LEAST_RATIO = 0.9
"""Target for each cell: no more than 10 % slower than the faster of the others."""

OURS, FFMPEG, TORCHCODEC = "vtnstream", "ffmpeg", "torchcodec"


@dataclass(frozen=True)
class Cell:
    """One video at one rate."""

    codec: str
    height: int
    rate: str

    def __str__(self) -> str:
        return f"{self.codec} {self.height}p at {self.rate}/s"


def main(arguments: list[str]) -> None:
    parser = common.parser("decode_matrix", __doc__)
    parser.add_argument("--codecs", default=",".join(ENCODERS))
    parser.add_argument("--heights", default=",".join(map(str, SECONDS)))
    parser.add_argument("--rates", default=f"1/10,2,{RATE}", help="sampled frames a second")
    parser.add_argument("--runs", type=int, default=3, help="runs of each contender")
    parser.add_argument("--threads", type=int, default=machine.cores(), help="[number of cores]")
    parser.add_argument("--videos", type=Path, help="folder of generated videos")
    parser.add_argument("--encode-only", action="store_true", help="make the videos and stop")
    options = parser.parse_args(arguments)
    directory = videos_directory(options.videos)
    settings = {"runs": options.runs, "threads": options.threads}
    result = common.Result("decode_matrix", settings)
    codecs, heights = common.split(options.codecs), [int(h) for h in common.split(options.heights)]
    videos = {(c, h): encoded_video(directory, c, h) for c in codecs for h in heights}
    if options.encode_only:
        return
    found = {}
    for (codec, height), video in videos.items():
        for rate in common.split(options.rates):
            cell = Cell(codec, height, rate)
            common.say(str(cell))
            found[cell] = measure(video, cell, options)
    report(result, found)
    result.deliver(options)


def encoded_video(directory: Path, codec: str, height: int) -> Path:
    """Encode the generated video once with a codec and at a height; return its path."""
    seconds = SECONDS[height]
    path = directory / f"matrix_{codec}_{height}p_{seconds}s.{SUFFIXES[codec]}"
    if path.exists():
        return path
    source = camera_video(directory, SOURCE_SECONDS, 1920, 1080, RATE)
    common.say(f"encoding {path.name}")
    part = path.with_name(f"part-{path.name}")
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-stream_loop", "-1", "-i", source]
    command += ["-t", seconds, "-vf", f"scale={height * 16 // 9}:{height}", "-pix_fmt", "yuv420p"]
    command += ["-c:v", *ENCODERS[codec], "-threads", machine.cores(), part]
    subprocess.run([str(word) for word in command], check=True)
    os.replace(part, path)
    return path


def measure(video: Path, cell: Cell, options: argparse.Namespace) -> dict[str, Median | Failure]:
    """Run all contenders on one cell in turn."""
    threads = options.threads
    settings: dict[str, tuple[str, dict[str, Any]]] = {
        OURS: ("OurDecoder", {"threads": threads}),
        FFMPEG: ("FfmpegDecoder", {"threads": threads}),
    }
    for number in sorted({1, threads}):
        settings[f"{TORCHCODEC}, {number}"] = ("TorchcodecDecoder", {"threads": number})
    size = {"width": _width(cell.height), "height": SHORT_SIDE}
    children = {
        name: Child(f"benchmarks.decode_matrix:{kind}", {**own, **size, "rate": cell.rate})
        for name, (kind, own) in settings.items()
    }
    try:
        for child in children.values():
            child.call("load", video=str(video))
        return interleave(children, options.runs, "decode", video=str(video))
    finally:
        for child in children.values():
            child.close()


def _width(height: int) -> int:
    return round(height * 16 // 9 * SHORT_SIDE / height)


def report(result: common.Result, found: dict[Cell, dict[str, Median | Failure]]) -> None:
    """Add the table of all cells, and the targets."""
    table = result.table(
        "Decoding and scaling",
        *("codec", "height", "frames/s", "frames", "vtnstream, s", "ffmpeg, s", "torchcodec, s"),
        *("faster of both / vtnstream", "CPU s", "ffmpeg, CPU s", "torchcodec, CPU s"),
        note="torchcodec: the faster of one thread and of all.",
    )
    ratios: dict[str, float] = {}
    for cell, runs in found.items():
        place: list[common.Cell] = [cell.codec, cell.height, cell.rate]
        ours = runs[OURS]
        if isinstance(ours, Failure):
            table.add(*place, f"cannot run here: {ours.reason}", *[None] * 7)
            result.broken.append(f"{cell}: {ours.reason}")
            continue
        ran = [run for name, run in runs.items() if name.startswith(TORCHCODEC)]
        peers = [_measured(runs[FFMPEG]), min(map(_measured, ran))]
        ratios[str(cell)] = ratio = min(wall for wall, _ in peers) / ours.wall
        walls, cpus = zip(*peers, strict=True)
        seconds = [None if wall == float("inf") else wall for wall in walls]
        table.add(*place, ours.values[0], ours.wall, *seconds, ratio, ours.cpu, *cpus)
    if ratios:
        worst = min(ratios, key=ratios.__getitem__)
        what = f"times faster than the faster of ffmpeg and torchcodec, in the worst cell ({worst})"
        result.target(what, ratios[worst], LEAST_RATIO)
        slower = [name for name, ratio in ratios.items() if ratio < LEAST_RATIO]
        result.notes += [f"slower by more than 10 %: {name}" for name in slower]


def _measured(run: Median | Failure) -> tuple[float, float | None]:
    return (float("inf"), None) if isinstance(run, Failure) else (run.wall, run.cpu)


class OurDecoder:
    """Decoding as in ``extract``, with the batch size of a CPU."""

    def __init__(self, threads: int, width: int, height: int, rate: str) -> None:
        from vtnstream.config import SamplingConfig
        from vtnstream.types import Fit

        self._sampling = SamplingConfig(fps=Fraction(rate))
        self._fit = Fit(width, height, 0, 0, width, height)
        self._decoders = threads

    def load(self, video: str) -> None:
        """Import what decoding needs."""
        import vtnstream.video.source  # noqa: F401

    def decode(self, video: str) -> int:
        """Read the sampled frames; return their number."""
        from vtnstream.video.source import open_video

        with open_video(
            video,
            self._sampling,
            fit=lambda _width, _height: self._fit,
            chunk_size=4,
            decoders=self._decoders,
        ) as source:
            return sum(len(chunk.times) for chunk in source.chunks())


class FfmpegDecoder:
    """The command of ffmpeg."""

    def __init__(self, threads: int, width: int, height: int, rate: str) -> None:
        self._before = ["-threads", str(threads)]
        self._after = ["-vf", f"fps={rate},scale={width}:{height}", "-pix_fmt", "rgb24"]

    def load(self, video: str) -> None:
        """Do nothing: each call is a process of its own."""

    def decode(self, video: str) -> None:
        """Read the sampled frames."""
        command = ["ffmpeg", "-v", "error", "-nostdin", *self._before, "-i", video, *self._after]
        subprocess.run([*command, "-an", "-f", "rawvideo", "-y", os.devnull], check=True)


class TorchcodecDecoder:
    """torchcodec, in batches."""

    def __init__(self, threads: int, width: int, height: int, rate: str) -> None:
        self._threads, self._size, self._rate = threads, (height, width), Fraction(rate)

    def load(self, video: str) -> None:
        """Import it."""
        import torchcodec.transforms  # noqa: F401
        from torchcodec.decoders import VideoDecoder  # noqa: F401

    def decode(self, video: str) -> int:
        """Read the sampled frames; return their number."""
        from torchcodec.decoders import VideoDecoder
        from torchcodec.transforms import Resize

        decoder = VideoDecoder(
            video,
            num_ffmpeg_threads=self._threads,
            seek_mode="approximate",
            transforms=[Resize(self._size)],
        )
        end = decoder.metadata.end_stream_seconds
        times = [float(k / self._rate) for k in range(int(end * self._rate) + 1)]
        times = [time for time in times if time < end]
        batches = (times[first : first + BATCH] for first in range(0, len(times), BATCH))
        return sum(len(decoder.get_frames_played_at(seconds=batch)) for batch in batches)
