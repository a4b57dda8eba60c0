"""Generated videos in which a cue in the first seconds changes the meaning of everything later.

In the opening of six seconds a coloured bar of class c is shown for two. Then phases follow, each
of one moving pattern v, and the label of a phase is (v + c) mod 3. c is uniform and independent of
v: without the bar, the rest of the video says nothing about any label. A model must carry the cue
through the whole video.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vtnstream.errors import ConfigError, OutputError
from vtnstream.progress import NullProgress, Progress
from vtnstream.synthesis.rendering import render_all
from vtnstream.types import Segment
from vtnstream.video.write import write_video

LABELS = ("attack", "defence", "pause")
"""Labels of the phases; the cue decides which side has the ball."""
CUES = ("red", "green", "blue")
"""Colours of the bar, in the order of c."""
PATTERNS = ("rows", "columns", "ball")
"""Patterns of the phases, in the order of v."""

OPENING_SECONDS = 6
"""Before the first phase; without a label."""
CUE_SECONDS = 2
_ENCODER = {"preset": "ultrafast", "crf": "30"}
"""Noise is most of such a video: finer quantisation makes it ten times larger."""


@dataclass(frozen=True, slots=True)
class CueVideoConfig:
    """How the videos look.

    Attributes:
        seconds: length of a video, its opening included.
        fps: frames per second of the file.
        size: side of the square frame in pixels.
        min_phase: seconds of the shortest phase.
        max_phase: seconds of the longest.
        noise: largest pixel noise, of 255.
    """

    seconds: int = 60
    fps: int = 4
    size: int = 64
    min_phase: int = 5
    max_phase: int = 12
    noise: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.min_phase <= self.max_phase:
            raise ConfigError("cue videos: phases need 0 < min_phase <= max_phase")
        if self.seconds < OPENING_SECONDS + self.min_phase:
            raise ConfigError(f"cue videos: {self.seconds} s have no room for a phase")
        if self.fps < 1 or self.size < 16 or self.size % 2 or not 0 <= self.noise < 128:
            raise ConfigError(
                "cue videos: at least 1 frame/s, an even side from 16, noise below 128"
            )


@dataclass(frozen=True, slots=True)
class Phase:
    """One pattern v from ``start`` to ``end`` in seconds."""

    start: int
    end: int
    pattern: int


@dataclass(frozen=True, slots=True)
class CueVideoPlan:
    """The cue and the phases of one video. ``seed`` determines both, and the pixels."""

    seed: tuple[int, ...]
    cue: int
    cue_start: int
    phases: tuple[Phase, ...]

    def segments(self) -> tuple[Segment, ...]:
        """Return the ground truth: each phase with its label and score 1."""
        return tuple(
            Segment(float(p.start), float(p.end), LABELS[(p.pattern + self.cue) % 3], 1.0)
            for p in self.phases
        )


@dataclass(frozen=True, slots=True)
class CueVideo:
    """A video on disk with its plan, which is the ground truth."""

    path: Path
    plan: CueVideoPlan


def plan_video(seed: Sequence[int], config: CueVideoConfig) -> CueVideoPlan:
    """Draw cue and phases of one video."""
    rng = np.random.default_rng(list(seed))
    cue = int(rng.integers(3))
    cue_start = int(rng.integers(OPENING_SECONDS - CUE_SECONDS + 1))
    phases: list[Phase] = []
    start, pattern = OPENING_SECONDS, int(rng.integers(3))
    while start < config.seconds:
        end = start + int(rng.integers(config.min_phase, config.max_phase + 1))
        if config.seconds - end < config.min_phase:
            end = config.seconds
        phases.append(Phase(start, end, pattern))
        start, pattern = end, (pattern + int(rng.integers(1, 3))) % 3
    return CueVideoPlan(tuple(seed), cue, cue_start, tuple(phases))


def render(plan: CueVideoPlan, config: CueVideoConfig) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a video, (size, size, 3) uint8 RGB; memory holds one phase."""
    rng = np.random.default_rng([*plan.seed, 1])
    back = rng.integers(70, 130, 3, np.int16)
    fore = back + rng.integers(40, 80, 3, np.int16)
    for start, end, pattern in _parts(plan):
        times = np.arange(start * config.fps, end * config.fps) / config.fps
        frames = np.empty((len(times), config.size, config.size, 3), np.int16)
        if pattern is None:  # a dark title, alike in all videos
            frames[:] = 30
            shown = (times >= plan.cue_start) & (times < plan.cue_start + CUE_SECONDS)
            frames[shown, : config.size // 3, :, plan.cue] = 230
        else:
            frames[:] = back
            frames[_pattern(pattern, times - start, config.size, rng)] = fore
        if config.noise:
            frames += rng.integers(-config.noise, config.noise + 1, frames.shape, np.int8)
        yield from np.clip(frames, 0, 255, out=frames).astype(np.uint8)


def _parts(plan: CueVideoPlan) -> Iterator[tuple[int, int, int | None]]:
    """Yield (start, end, pattern) of the opening, which has none, and of each phase."""
    yield 0, OPENING_SECONDS, None
    for phase in plan.phases:
        yield phase.start, phase.end, phase.pattern


def _pattern(
    pattern: int, times: NDArray[np.float64], size: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return which pixels of each frame are foreground, (T, size, size)."""
    grid = np.arange(size) / size
    speed, phase, turn = rng.uniform(0.1, 0.4), rng.uniform(), rng.choice([-1, 1])
    if pattern < 2:
        wave = np.sin(2 * np.pi * (4 * grid[None] + turn * (speed * times[:, None] + phase)))
        stripes = wave > 0  # (T, size)
        lines = stripes[:, :, None] if pattern == 0 else stripes[:, None, :]
        return np.broadcast_to(lines, (len(times), size, size))
    x = 0.5 + 0.3 * np.cos(2 * np.pi * (speed * times + phase))
    y = 0.5 + 0.3 * turn * np.sin(2 * np.pi * (speed * times + phase))
    across = (grid[None, :] - x[:, None]) ** 2  # (T, size)
    down = (grid[None, :] - y[:, None]) ** 2
    inside: NDArray[np.bool_] = across[:, None, :] + down[:, :, None] < 0.2**2
    return inside


def make_video(path: Path, seed: Sequence[int], config: CueVideoConfig) -> CueVideo:
    """Render and write one video.

    Raises:
        OutputError: the file cannot be written.
    """
    plan = plan_video(seed, config)
    write_video(path, render(plan, config), config.fps, options=_ENCODER)
    return CueVideo(path, plan)


def make_videos(
    directory: str | Path,
    num_videos: int,
    *,
    seed: int = 0,
    config: CueVideoConfig | None = None,
    workers: int = 2,
    progress: Progress | None = None,
) -> list[CueVideo]:
    """Write ``video_0000.mp4`` ... into ``directory``, the same whatever ``workers`` is: each
    video has its own seed.

    Raises:
        OutputError: a file cannot be written.
    """
    directory, progress = Path(directory), progress or NullProgress()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{directory}: cannot be made ({error.strerror or error})") from error
    paths = [directory / f"video_{index:04d}.mp4" for index in range(num_videos)]
    work = partial(_make_numbered, seed=seed, config=config or CueVideoConfig())
    return render_all(work, paths, workers=workers, progress=progress)


def _make_numbered(index: int, path: Path, *, seed: int, config: CueVideoConfig) -> CueVideo:
    return make_video(path, (seed, index), config)


def write_annotations(
    path: str | Path, videos: Sequence[CueVideo], *, splits: Sequence[str] | None = None
) -> Path:
    """Write the labels of the videos as the CSV that ``vtnstream train`` reads:
    ``path,start,end,label`` and, with ``splits`` (one per video), ``split``. Paths are relative
    to the CSV.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    header = ["path", "start", "end", "label", *(["split"] if splits else [])]
    rows: list[list[str | float]] = [[*header]]
    for number, video in enumerate(videos):
        name = Path(os.path.relpath(video.path, path.parent)).as_posix()
        extra = [splits[number]] if splits else []
        rows += [[name, s.start, s.end, s.label, *extra] for s in video.plan.segments()]
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    return path
