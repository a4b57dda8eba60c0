"""Frames of every annotated video, for training from pixels: in memory while they fit, else
decoded again where they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vtnstream.config import DataConfig, PreprocessConfig, SamplingConfig
from vtnstream.datasets.annotations import AnnotatedVideo
from vtnstream.errors import VideoError
from vtnstream.preprocess.spatial import frame_fit
from vtnstream.progress import Progress
from vtnstream.training.features import VideoFeatures
from vtnstream.types import FloatArray, FrameChunk, TokenTimes
from vtnstream.video.probe import probe
from vtnstream.video.source import open_video

_CHUNK = 32

Frames = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class FrameSequence:
    """T frames of one video with their times.

    Stands where stored features stand in a sample; what a token holds is its picture.
    """

    path: Path
    times: TokenTimes
    sampling: SamplingConfig
    preprocess: PreprocessConfig
    held: Frames | None = None

    @property
    def num_features(self) -> int:
        """Numbers of a picture."""
        return 3 * self.preprocess.size * self.preprocess.frame_width

    def blocks(self, size: int) -> Iterator[FloatArray]:
        """Pictures flattened to (size, H * W * 3), as sequences of features have it."""
        for start in range(0, len(self.times), size):
            part = self.span(start, min(start + size, len(self.times)))
            yield part.reshape(len(part), -1).astype(np.float32)

    def span(self, start: int, stop: int) -> Frames:
        """Tokens ``[start, stop)`` as (stop - start, H, W, 3) uint8.

        Raises:
            VideoError: the video cannot be read any more.
        """
        if self.held is not None:
            return self.held[start:stop]
        indices = self.times.indices[start:stop]
        first, last = int(indices[0]), int(indices[-1]) + 1
        chunks = list(_decoded(self.path, self.sampling, self.preprocess, first, last))
        found = np.concatenate([chunk.times.indices for chunk in chunks])
        frames = np.concatenate([chunk.frames for chunk in chunks])[np.isin(found, indices)]
        if len(frames) != stop - start:
            raise VideoError(f"{self.path}: the file changed since training began")
        return frames


def _decoded(
    path: Path,
    sampling: SamplingConfig,
    preprocess: PreprocessConfig,
    first: int = 0,
    stop: int | None = None,
) -> Iterator[FrameChunk]:
    source = open_video(
        path,
        sampling,
        fit=frame_fit(preprocess),
        interpolation=preprocess.interpolation,
        chunk_size=_CHUNK,
        first_index=first - first % _CHUNK,
        stop_index=stop,
    )
    with source:
        yield from source.chunks()


def collect_frames(
    videos: Sequence[AnnotatedVideo],
    preprocess: PreprocessConfig,
    sampling: SamplingConfig,
    *,
    data: DataConfig,
    progress: Progress,
) -> list[VideoFeatures]:
    """Decode every video once: its times are needed, and its frames where they fit.

    Args:
        videos: to read.
        preprocess: the model's geometry.
        sampling: which frames become tokens.
        data: ``on_bad_video`` and ``memory_bytes`` are read.
        progress: told of each video.

    Raises:
        VideoError: a video cannot be read and is not to be skipped.
    """
    found: list[VideoFeatures] = []
    room = data.memory_bytes
    progress.start("decoding", total=len(videos), unit="videos")
    try:
        for number, video in enumerate(videos):
            try:
                sequence, rate = _read(video.path, preprocess, sampling, room)
            except VideoError as error:
                if data.on_bad_video == "stop":
                    raise
                progress.warn(f"{error} (left out of the training)")
                continue
            room -= sequence.held.nbytes if sequence.held is not None else 0
            found.append(VideoFeatures(video, sequence, rate))
            progress.advance(number + 1, note=video.path.name)
    finally:
        progress.finish()
    return found


def _read(
    path: Path, preprocess: PreprocessConfig, sampling: SamplingConfig, room: int
) -> tuple[FrameSequence, Fraction | None]:
    """One video, its frames held if they take no more than ``room`` bytes; and its rate."""
    kept: list[Frames] | None = []
    times: list[TokenTimes] = []
    size = 0
    for chunk in _decoded(path, sampling, preprocess):
        times.append(chunk.times)
        size += chunk.frames.nbytes
        if kept is not None and size <= room:
            kept.append(chunk.frames)
        else:
            kept = None
    if not times:
        raise VideoError(f"{path}: no frame could be sampled at {sampling.describe()}")
    held = np.concatenate(kept) if kept is not None else None
    joined = TokenTimes.concatenate(times)
    return FrameSequence(path, joined, sampling, preprocess, held), probe(path).average_rate
