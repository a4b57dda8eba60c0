"""Videos to measure on: generated like camera footage, and lengthened without encoding again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from vtnstream.video.write import write_video

Picture = NDArray[np.uint8]

CAMERA = {"preset": "veryfast", "crf": "20", "bf": "3", "b-pyramid": "normal", "g": "250"}
"""Encoder settings of typical camera and web videos: B-frames without references, keyframes
seconds apart."""

_SCENE_SECONDS = 4
_GRAIN = 6


def videos_directory(given: Path | None) -> Path:
    """Return the directory of generated videos, which are kept between runs."""
    place = given or Path(tempfile.gettempdir()) / "vtnstream-benchmarks"
    place.mkdir(parents=True, exist_ok=True)
    return place


def camera_video(
    directory: Path, seconds: float, width: int = 1280, height: int = 720, fps: int = 25
) -> Path:
    """Write a generated H.264 video once, and return its path.

    It resembles camera footage: pans over detailed scenes with moving objects and grain, and a
    cut every four seconds.
    """
    path = directory / f"camera_{width}x{height}_{fps}fps_{seconds:g}s.mp4"
    if not path.exists():
        write_video(path, _camera(round(seconds * fps), width, height, fps), fps, options=CAMERA)
    return path


def camera_clips(
    directory: Path, count: int, seconds: float, width: int = 640, height: int = 360, fps: int = 25
) -> list[Path]:
    """Write short generated H.264 videos with different content once, and return their paths."""
    folder = directory / f"clips_{width}x{height}_{fps}fps_{seconds:g}s"
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number:05d}.mp4" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            part = path.with_suffix(".part.mp4")  # an interrupted run leaves no short clip
            frames = _camera(round(seconds * fps), width, height, fps, seed=number)
            write_video(part, frames, fps, options=CAMERA)
            os.replace(part, path)
    return paths


def _camera(count: int, width: int, height: int, fps: int, seed: int = 0) -> Iterator[Picture]:
    random = np.random.default_rng(seed)
    grain = random.integers(-_GRAIN, _GRAIN + 1, (8, height, width, 3), np.int8)
    length = _SCENE_SECONDS * fps
    for first in range(0, count, length):
        scene = _scene(random, width + 2 * length, height + length)
        objects = random.uniform(0, 1, (6, 4))
        for number in range(min(length, count - first)):
            picture = scene[number // 2 : number // 2 + height, 2 * number : 2 * number + width]
            picture = picture.astype(np.int16)
            for x, y, size, speed in objects:
                left = int((x + speed * number / length) % 1 * width)
                top, side = int(y * 0.8 * height), int((0.05 + 0.15 * size) * height)
                picture[top : top + side, left : left + side] = 255 * size
            picture += grain[(first + number) % len(grain)]
            yield np.clip(picture, 0, 255).astype(np.uint8)


def _scene(random: np.random.Generator, width: int, height: int) -> Picture:
    """Generate an image with detail at every scale, like natural images: octaves of noise."""
    total = np.zeros((height, width, 3), np.float32)
    for octave in range(7):
        cell = 2 ** (8 - octave)
        rows, columns = height // cell + 2, width // cell + 2
        noise = random.standard_normal((rows, columns, 3)).astype(np.float32)
        enlarged = noise.repeat(cell, axis=0).repeat(cell, axis=1)
        total += enlarged[:height, :width] * cell**0.6
    total *= 55 / total.std()
    return np.clip(total + 120, 0, 255).astype(np.uint8)


def block_video(directory: Path, seconds: float) -> Path:
    """Write a video of noise blocks, 320 x 180 at 4 frames/s, which is very cheap to decode."""
    path = directory / f"blocks_{seconds:g}s.mp4"
    minute = directory / "blocks_60s.mp4"
    if not minute.exists():
        random = np.random.default_rng(0)
        blocks = random.integers(0, 255, (64, 9, 16, 3), np.uint8)
        frames = (np.kron(blocks[n // 4 % 64], np.ones((20, 20, 1), np.uint8)) for n in range(240))
        write_video(minute, frames, 4)
    if not path.exists():
        repeat_video(minute, path, round(seconds / 60))
    return path


def repeat_video(source: Path, path: Path, times: int) -> Path:
    """Repeat ``source`` in one file by copying packets, once: hours of video in seconds."""
    if path.exists():
        return path
    part = path.with_name(path.name + ".part")
    with av.open(os.fspath(part), "w", format="mp4") as target:
        stream, offset = None, 0
        for _ in range(times):
            with av.open(os.fspath(source)) as container:
                video = container.streams.video[0]
                stream = stream or target.add_stream_from_template(video)
                end = 0
                for packet in container.demux(video):
                    if packet.dts is None or packet.pts is None:
                        continue
                    end = max(end, packet.pts + (packet.duration or 0))
                    packet.pts += offset
                    packet.dts += offset
                    packet.stream = stream
                    target.mux(packet)
                offset += end
    os.replace(part, path)
    return path
