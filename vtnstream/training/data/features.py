"""Extract the features of all annotated videos through the feature store, and their statistics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch

from vtnstream.config import DataConfig, RuntimeConfig, SamplingConfig
from vtnstream.datasets.annotations import AnnotatedVideo
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.encoding.engines.state import EngineState
from vtnstream.encoding.extract import extract_features
from vtnstream.errors import VideoError
from vtnstream.models.vtn.feature_norm import FeatureNorm
from vtnstream.progress import Progress
from vtnstream.types import (
    Features,
    FeatureSequence,
    FloatArray,
    FrameIndex,
    TokenTimes,
    VideoInfo,
    seconds_of_frame,
)

BLOCK = 4096
"""Number of tokens read at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class VideoFeatures:
    """An annotated video with its T tokens; ``info`` and ``frames`` convert frame numbers."""

    video: AnnotatedVideo
    features: FeatureSequence
    info: VideoInfo | None = None
    frames: FrameIndex | None = None

    def frame_seconds(self, number: int) -> Fraction | None:
        """Return the time at which a frame begins, in seconds; None if it is unknown."""
        return None if self.info is None else seconds_of_frame(number, self.info, self.frames)


def collect_features(
    videos: Sequence[AnnotatedVideo],
    encoder: FrameEncoder,
    sampling: SamplingConfig,
    runtime: RuntimeConfig,
    *,
    data: DataConfig,
    stack: ExitStack,
    progress: Progress,
) -> list[VideoFeatures]:
    """Return the features of all videos, decoding those that the store lacks.

    Args:
        videos: videos to read.
        encoder: the frozen backbone.
        sampling: sampling of the frames.
        runtime: device, dtype and store.
        data: provides ``on_bad_video`` and ``memory_bytes``.
        stack: keeps features on disk open until it is closed.
        progress: shows the progress and receives warnings.

    Raises:
        VideoError: a video cannot be read and must not be skipped.
        StoreError: features cannot be stored.
    """
    found: list[VideoFeatures] = []
    engines = EngineState()
    room = data.memory_bytes
    progress.start("extracting features", total=len(videos), unit="videos")
    try:
        for number, video in enumerate(videos):
            opened = ExitStack()
            inner = _OneOfMany(progress, number, video.path.name)
            try:
                got = opened.enter_context(
                    extract_features(
                        video.path,
                        encoder,
                        sampling,
                        runtime=runtime,
                        progress=inner,
                        engines=engines,
                    )
                )
            except VideoError as error:
                if data.on_bad_video == "stop":
                    raise
                progress.warn(f"{error} (left out of the training)")
                continue
            if got.partial is not None:
                progress.warn(f"{video.path}: read in part only ({'; '.join(got.partial.reasons)})")
            size = 4 * len(got.features.times) * got.features.num_features
            if size <= room:
                room -= size
                features: FeatureSequence = load(got.features)
                opened.close()
            else:
                features = got.features
                stack.push(opened)
            found.append(VideoFeatures(video, features, got.info, got.frames))
            progress.advance(number + 1)
    finally:
        progress.finish()
    return found


class _OneOfMany:
    """Reports the progress within one video as a part of the progress over all videos."""

    def __init__(self, outer: Progress, number: int, name: str) -> None:
        self._outer, self._number, self._name = outer, number, name
        self._total: float | None = None

    def start(self, what: str, *, total: float | None, unit: str) -> None:
        self._total = total

    def advance(self, done: float, *, note: str = "") -> None:
        part = min(done / self._total, 1.0) if self._total else 0.0
        self._outer.advance(self._number + part, note=self._name)

    def finish(self) -> None:
        pass

    def warn(self, message: str) -> None:
        self._outer.warn(message)


def load(features: FeatureSequence) -> Features:
    """Read a sequence from disk into one (T, D) array in memory."""
    values = np.empty((len(features.times), features.num_features), np.float32)
    start = 0
    for block in features.blocks(BLOCK):
        values[start : start + len(block)] = block
        start += len(block)
    return Features(values, features.times)


def read_span(features: FeatureSequence, start: int, stop: int) -> FloatArray:
    """Return the tokens ``[start, stop)`` of a sequence, (stop - start, D)."""
    if isinstance(features, Features):
        return features.values[start:stop]
    parts: list[FloatArray] = []
    first = 0
    for block in features.blocks(BLOCK):
        if first >= stop:
            break
        parts.append(block[max(start - first, 0) : stop - first].copy())
        first += len(block)
    return np.concatenate(parts)


class FeatureStatistics:
    """Mean and standard deviation over all tokens of many videos, in one pass and float64.

    Partial results are merged, so that no large sums cancel (Chan et al. 1979).
    """

    def __init__(self, num_features: int) -> None:
        self.count = 0
        self.mean = np.zeros(num_features, np.float64)
        self._squares = np.zeros(num_features, np.float64)
        self._within = np.zeros(num_features, np.float64)

    def add_video(self, features: FeatureSequence) -> None:
        """Add all tokens of one video."""
        video = FeatureStatistics(features.num_features)
        for block in features.blocks(BLOCK):
            video._add_block(block.astype(np.float64))
        self._merge(video)
        self._within += video._squares

    def _add_block(self, block: np.ndarray) -> None:
        part = FeatureStatistics(block.shape[1])
        part.count = len(block)
        if part.count:
            part.mean = block.mean(axis=0)
            part._squares = ((block - part.mean) ** 2).sum(axis=0)
            self._merge(part)

    def _merge(self, other: FeatureStatistics) -> None:
        total = self.count + other.count
        if total:
            delta = other.mean - self.mean
            self._squares += other._squares + delta**2 * (self.count * other.count / total)
            self.mean += delta * (other.count / total)
            self.count = total

    @property
    def std(self) -> np.ndarray:
        """(D,) standard deviation over all tokens."""
        return np.sqrt(self._squares / max(self.count, 1))

    @property
    def std_within(self) -> np.ndarray:
        """(D,) standard deviation around the mean of each video."""
        return np.sqrt(self._within / max(self.count, 1))


def fit_feature_norm(norm: FeatureNorm, videos: Iterable[VideoFeatures]) -> None:
    """Set the statistics of a model's ``feature_norm`` from the training videos."""
    if norm.kind == "none":
        return
    statistics = FeatureStatistics(len(norm.mean))
    for item in videos:
        statistics.add_video(item.features)
    std = statistics.std if norm.kind == "dataset" else statistics.std_within
    norm.set_statistics(torch.from_numpy(statistics.mean), torch.from_numpy(std))


class _NormalizedFeatures:
    """A feature sequence to which a model's ``feature_norm`` is applied while it is read."""

    def __init__(self, features: FeatureSequence, norm: FeatureNorm) -> None:
        self._features, self._norm = features, norm

    @property
    def times(self) -> TokenTimes:
        return self._features.times

    @property
    def num_features(self) -> int:
        return self._features.num_features

    def blocks(self, size: int) -> Iterator[FloatArray]:
        """Yield blocks as :class:`vtnstream.types.FeatureSequence` does."""
        normalize = self._norm.over(self._features, size)
        for block in self._features.blocks(size):
            values = torch.tensor(block, device=_device(self._norm))
            yield normalize(values).cpu().numpy()


def _device(norm: FeatureNorm) -> torch.device:
    return next((buffer.device for buffer in norm.buffers()), torch.device("cpu"))


def normalized(features: FeatureSequence, norm: FeatureNorm) -> FeatureSequence:
    """Apply ``feature_norm`` to a sequence; a sequence in memory stays in memory."""
    if norm.kind == "none":
        return features
    seen = _NormalizedFeatures(features, norm)
    return load(seen) if isinstance(features, Features) else seen
