"""Read the frames of annotated videos for training from pixels.

Frames are kept in memory while they fit, and decoded again otherwise.
"""

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
    """Size of decoded frames: the model's input size, or whole frames with a given short side."""

    preprocess: PreprocessConfig
    short_side: int = 0

    def fit(self) -> FrameFit:
        """Return the scaling and crop for :func:`vtnstream.video.source.open_video`."""
        if not self.short_side:
            return frame_fit(self.preprocess)
        scaled = replace(self.preprocess, resize=max(self.short_side, self.preprocess.size))
        return uncropped_fit(scaled)


@dataclass(frozen=True, slots=True, eq=False)
class FrameSequence:
    """T frames of one video with their times.

    In a sample it takes the place of stored features: a token is a frame.

    Attributes:
        path: the video.
        times: times of the T frames.
        sampling: sampling of the frames.
        preprocess: preprocessing of the model.
        held: (T, H, W, 3) frames in memory, or None.
        short_side: short side of whole frames; 0 for frames of the model's input size.
        assumed: whether ``times`` follow from the header; a frame that does not exist is then
            replaced by the one before it.
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
        """Number of values of a frame of the model's input size."""
        return 3 * self.preprocess.size * self.preprocess.frame_width

    def blocks(self, size: int) -> Iterator[FloatArray]:
        """Yield flattened frames (size, H * W * 3) float32, as feature sequences do."""
        for start in range(0, len(self.times), size):
            part = self.span(start, min(start + size, len(self.times)))
            yield part.reshape(len(part), -1).astype(np.float32)

    def span(self, start: int, stop: int) -> Frames:
        """Return the frames ``[start, stop)`` as (stop - start, H, W, 3) uint8.

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
    """Read every video once, to get its times, and its frames if they fit into memory.

    Args:
        videos: videos to read.
        preprocess: preprocessing of the model.
        sampling: sampling of the frames.
        data: provides ``on_bad_video`` and ``memory_bytes``.
        progress: shows the progress and receives warnings.
        whole: videos whose frames are needed without a crop.
        short_side: short side of these frames.
        trusting: take the times of videos that do not fit into memory from their headers, so that a
            large dataset need not be decoded before training.

    Raises:
        VideoError: a video cannot be read and must not be skipped.
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
    """Return the frame index of a video if its annotations contain frame numbers, else None."""
    named = any(isinstance(a.start, FrameCount) for a in video.annotations)
    return count_frames(video.path) if named else None


def _read(
    path: Path, geometry: Geometry, sampling: SamplingConfig, room: int, trusting: bool
) -> tuple[FrameSequence, VideoInfo]:
    """Return the frames of a video, kept in memory if they take at most ``room`` bytes, and its
    header."""
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
    """Return the frames that the header's duration implies, without decoding.

    The result is None if the frames would fit into memory, or the header states no duration.
    """
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
    """Return the frames of ``indices``; a frame that does not exist is replaced by the previous
    one."""
    places = np.searchsorted(found, indices, side="right") - 1
    return frames[np.clip(places, 0, len(found) - 1)]
