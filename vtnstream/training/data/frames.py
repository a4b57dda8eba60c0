"""Frames of every annotated video, for training from pixels: in memory while they fit, else
decoded again where they are needed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vtnstream.config import DataConfig, PreprocessConfig, SamplingConfig
from vtnstream.datasets.annotations import AnnotatedVideo
from vtnstream.errors import VideoError
from vtnstream.preprocess.spatial import frame_fit
from vtnstream.preprocess.views import uncropped_fit
from vtnstream.progress import Progress
from vtnstream.timecode import FrameCount
from vtnstream.training.data.features import VideoFeatures
from vtnstream.types import (
    FloatArray,
    FrameChunk,
    FrameFit,
    FrameIndex,
    IndexArray,
    TokenTimes,
    VideoInfo,
)
from vtnstream.video.probe import probe
from vtnstream.video.sampling.counting import count_frames
from vtnstream.video.source import open_video

_CHUNK = 32

Frames = NDArray[np.uint8]


class Geometry(NamedTuple):
    """What frames are decoded to: the model's pictures, or whole ones of a short side."""

    preprocess: PreprocessConfig
    short_side: int = 0

    def fit(self) -> FrameFit:
        """For :func:`vtnstream.video.source.open_video`."""
        if not self.short_side:
            return frame_fit(self.preprocess)
        scaled = replace(self.preprocess, resize=max(self.short_side, self.preprocess.size))
        return uncropped_fit(scaled)


@dataclass(frozen=True, slots=True, eq=False)
class FrameSequence:
    """T frames of one video with their times.

    Stands where stored features stand in a sample; what a token holds is its picture, in the
    model's geometry or, with a ``short_side``, whole at this size. ``assumed`` times are the
    header's: where no frame is, the nearest stands for it.
    """

    path: Path
    times: TokenTimes
    sampling: SamplingConfig
    preprocess: PreprocessConfig
    held: Frames | None = None
    short_side: int = 0
    assumed: bool = False

    @property
    def _geometry(self) -> Geometry:
        return Geometry(self.preprocess, self.short_side)

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
        chunks = list(_decoded(self.path, self.sampling, self._geometry, first, last))
        if not chunks:
            raise VideoError(f"{self.path}: no frame could be decoded from token {first} on")
        found = np.concatenate([chunk.times.indices for chunk in chunks])
        frames = np.concatenate([chunk.frames for chunk in chunks])[np.isin(found, indices)]
        if self.assumed:
            return _nearest(found, np.concatenate([c.frames for c in chunks]), indices)
        if len(frames) != stop - start:
            raise VideoError(f"{self.path}: the file changed since training began")
        return frames


def _decoded(
    path: Path,
    sampling: SamplingConfig,
    geometry: Geometry,
    first: int = 0,
    stop: int | None = None,
) -> Iterator[FrameChunk]:
    source = open_video(
        path,
        sampling,
        fit=geometry.fit(),
        interpolation=geometry.preprocess.interpolation,
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
    whole: Collection[AnnotatedVideo] = (),
    short_side: int = 0,
    trusting: bool = False,
) -> list[VideoFeatures]:
    """Decode every video once: its times are needed, and its frames where they fit.

    Args:
        videos: to read.
        preprocess: the model's geometry.
        sampling: which frames become tokens.
        data: ``on_bad_video`` and ``memory_bytes`` are read.
        progress: told of each video.
        whole: videos whose pictures are wanted uncropped.
        short_side: of these.
        trusting: believe the header of videos that do not fit into memory, so that nobody has
            to decode a large dataset before it is learned from.

    Raises:
        VideoError: a video cannot be read and is not to be skipped.
    """
    found: list[VideoFeatures] = []
    room = data.memory_bytes
    progress.start("decoding", total=len(videos), unit="videos")
    try:
        for number, video in enumerate(videos):
            geometry = Geometry(preprocess, short_side if video in whole else 0)
            try:
                sequence, info = _read(video.path, geometry, sampling, room, trusting)
            except VideoError as error:
                if data.on_bad_video == "stop":
                    raise
                progress.warn(f"{error} (left out of the training)")
                continue
            room -= sequence.held.nbytes if sequence.held is not None else 0
            found.append(VideoFeatures(video, sequence, info, _frames(video)))
            progress.advance(number + 1, note=video.path.name)
    finally:
        progress.finish()
    return found


def _frames(video: AnnotatedVideo) -> FrameIndex | None:
    """Numbers of the video's frames, where its annotations name some."""
    named = any(isinstance(a.start, FrameCount) for a in video.annotations)
    return count_frames(video.path) if named else None


def _read(
    path: Path, geometry: Geometry, sampling: SamplingConfig, room: int, trusting: bool
) -> tuple[FrameSequence, VideoInfo]:
    """One video, its frames held if they take no more than ``room`` bytes; and its header."""
    if trusting:
        assumed = _assumed(path, geometry, sampling, room)
        if assumed is not None:
            return assumed
    kept: list[Frames] | None = []
    times: list[TokenTimes] = []
    size = 0
    for chunk in _decoded(path, sampling, geometry):
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
    sequence = FrameSequence(path, joined, sampling, geometry.preprocess, held, geometry.short_side)
    return sequence, probe(path)


def _assumed(
    path: Path, geometry: Geometry, sampling: SamplingConfig, room: int
) -> tuple[FrameSequence, VideoInfo] | None:
    """The grid over the time that the header names, where the frames would not fit into
    memory; None where they would, or the header does not say."""
    info = probe(path)
    count = int((info.duration_from_header or 0) * sampling.fps)
    fit = geometry.fit()(info.width, info.height)
    if count < 1 or 3 * count * fit.crop_width * fit.crop_height <= room:
        return None
    indices = np.arange(count, dtype=np.int64)
    start = indices / float(sampling.fps)
    times = TokenTimes(indices, indices, start, start + 1 / float(sampling.fps))
    sequence = FrameSequence(
        path, times, sampling, geometry.preprocess, None, geometry.short_side, assumed=True
    )
    return sequence, info


def _nearest(found: IndexArray, frames: Frames, indices: IndexArray) -> Frames:
    """The frames of ``indices``, or for each that does not exist the one before it."""
    places = np.searchsorted(found, indices, side="right") - 1
    return frames[np.clip(places, 0, len(found) - 1)]
