"""Decoded frames, their times, and decoding statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtnstream.types.arrays import FloatArray, IndexArray, SecondsArray, check_shape
from vtnstream.types.frame_index import FrameIndex


@dataclass(frozen=True, slots=True)
class DecodeStats:
    """Counts of packets, frames and errors; counts of several chunks can be added.

    A frame that is neither sampled nor a reference of a sampled frame is not decoded. Damage in
    such a frame is not counted, and no token depends on it.
    """

    num_packets: int = 0
    num_packet_errors: int = 0
    """Packets that failed to decode, and read errors of the demuxer."""
    num_corrupt: int = 0
    """Packets or frames that libav flagged as corrupt."""
    num_frames: int = 0
    """Decoded frames, sampled or not; frames that were not needed are not included."""
    num_dropped: int = 0
    """Frames dropped because their time did not increase."""

    def __add__(self, other: DecodeStats) -> DecodeStats:
        return DecodeStats(
            self.num_packets + other.num_packets,
            self.num_packet_errors + other.num_packet_errors,
            self.num_corrupt + other.num_corrupt,
            self.num_frames + other.num_frames,
            self.num_dropped + other.num_dropped,
        )


@dataclass(frozen=True, slots=True, eq=False)
class TokenTimes:
    """The times of T tokens in the video.

    Attributes:
        indices: (T,) int64, strictly increasing positions on the sampling grid. A jump marks a
            gap, so that positions stay proportional to time.
        pts: (T,) int64, presentation timestamps of the frames in the stream's time base.
        start_seconds: (T,) float64, player time at which each token starts.
        end_seconds: (T,) float64, player time at which it ends: the start of the next token, or
            the end of its own frame before a gap and at the end of the file.
    """

    indices: IndexArray
    pts: IndexArray
    start_seconds: SecondsArray
    end_seconds: SecondsArray

    def __post_init__(self) -> None:
        count = len(self.indices)
        check_shape("indices", self.indices, np.int64, None)
        check_shape("pts", self.pts, np.int64, count)
        check_shape("start_seconds", self.start_seconds, np.float64, count)
        check_shape("end_seconds", self.end_seconds, np.float64, count)

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        if not len(self):
            return "TokenTimes(0 tokens)"
        return (
            f"TokenTimes({len(self)} tokens, "
            f"{self.start_seconds[0]:.3f} to {self.end_seconds[-1]:.3f} s)"
        )

    def __getitem__(self, part: slice) -> TokenTimes:
        return TokenTimes(
            self.indices[part], self.pts[part], self.start_seconds[part], self.end_seconds[part]
        )

    @classmethod
    def empty(cls) -> TokenTimes:
        whole, real = np.empty(0, np.int64), np.empty(0, np.float64)
        return cls(whole, whole.copy(), real, real.copy())

    @classmethod
    def concatenate(cls, parts: list[TokenTimes]) -> TokenTimes:
        if not parts:
            return cls.empty()
        return cls(
            np.concatenate([p.indices for p in parts]),
            np.concatenate([p.pts for p in parts]),
            np.concatenate([p.start_seconds for p in parts]),
            np.concatenate([p.end_seconds for p in parts]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class FrameChunk:
    """The frames of one backbone batch: all tokens of the sampling grid in ``[first_index,
    stop_index)``.

    Attributes:
        frames: (T, h, w, 3) uint8 RGB, upright, scaled and cropped to the model's size. If a token
            has several frames, they are stacked along h. Frames decoded by NVDEC are a tensor on
            the GPU.
        times: :class:`TokenTimes` of the T tokens; T is 0 if the whole chunk lies in a gap.
        first_index: first grid position of the chunk, a multiple of the chunk size.
        stop_index: one past the last grid position.
        stats: decoding statistics since the previous chunk.
        rows: indices of the tokens that have frames, or None if all have (clips start only at some
            tokens).
    """

    frames: NDArray[np.uint8]
    times: TokenTimes
    first_index: int
    stop_index: int
    stats: DecodeStats
    rows: IndexArray | None = None

    def __post_init__(self) -> None:
        count = len(self.times) if self.rows is None else len(self.rows)
        check_shape("frames", self.frames, np.uint8, count, None, None, 3)

    def spread(self, values: FloatArray) -> FloatArray:
        """Expand values of the frames to all T tokens, with zeros for tokens without a frame."""
        if self.rows is None:
            return values
        spread = np.zeros((len(self.times), values.shape[1]), np.float32)
        spread[self.rows] = values
        return spread

    def __repr__(self) -> str:
        return f"FrameChunk({self.frames.shape}, grid {self.first_index}:{self.stop_index})"


@dataclass(frozen=True, slots=True)
class DecodeSummary:
    """The outcome of decoding a whole file or range.

    ``problems`` is empty if everything requested was read; otherwise each entry is one sentence
    that says why the result is partial. ``end_problems`` repeats those that concern only the end
    of the file. ``warnings`` do not make a result partial.
    """

    stats: DecodeStats
    end_seconds: float
    """Player time at which the last decoded frame ends (0 if no frame was decoded)."""
    reached_end: bool
    """Whether the file was read as far as possible (``--end`` did not stop it)."""
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    end_problems: tuple[str, ...] = ()
    frames: FrameIndex | None = None
    """Frame numbers, if the pass began with the first frame and skipped none."""
