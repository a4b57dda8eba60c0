"""Decoded frames, their times, and what decoding met on the way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtnstream.types.arrays import FloatArray, IndexArray, SecondsArray, check_shape
from vtnstream.types.frame_index import FrameIndex


@dataclass(frozen=True, slots=True)
class DecodeStats:
    """What decoding met, as counts that add up over chunks.

    Frames that the sampling does not look at, and that no sampled frame is predicted from, are
    not decoded: damage inside them is neither met nor counted, and touches no token.
    """

    num_packets: int = 0
    num_packet_errors: int = 0
    """Packets whose decoding raised, and read errors of the demuxer."""
    num_corrupt: int = 0
    """Packets or frames that libav flagged as corrupt."""
    num_frames: int = 0
    """Frames decoded, sampled or not; fewer than the video has where some were not needed."""
    num_dropped: int = 0
    """Frames left out because their time did not increase."""

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
    """Where each of T tokens stands in the source.

    Attributes:
        indices: (T,) int64, strictly increasing position on the sampling grid. A jump is a
            gap: positions keep true time.
        pts: (T,) int64, presentation timestamp of the frame in the stream's time base.
        start_seconds: (T,) float64, player time at which the token starts.
        end_seconds: (T,) float64, its end: the next token's start, or before a gap and at
            the end of the file the end of its own frame.
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
    """Frames decoded together: every token of the sampling grid in ``[first_index,
    stop_index)``, which is one batch of the backbone.

    Attributes:
        frames: (T, h, w, 3) uint8 RGB, upright, scaled and cropped to the model's size; where
            a token is made of several, they stand one below the other. Decoded on a GPU, a
            tensor there.
        times: their T :class:`TokenTimes`; T may be 0 where the grid lies in a gap.
        first_index: first grid position this chunk answers for, a multiple of the chunk size.
        stop_index: one past the last.
        stats: what decoding met since the chunk before.
        rows: the tokens that have a frame where not all have (clips begin at some only).
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
        """What was computed of the frames, for all T tokens: zeros where there is no frame."""
        if self.rows is None:
            return values
        spread = np.zeros((len(self.times), values.shape[1]), np.float32)
        spread[self.rows] = values
        return spread

    def __repr__(self) -> str:
        return f"FrameChunk({self.frames.shape}, grid {self.first_index}:{self.stop_index})"


@dataclass(frozen=True, slots=True)
class DecodeSummary:
    """What a whole pass over a file came to.

    ``problems`` is empty where everything that was asked for was read; otherwise each entry
    is one plain sentence that says why the result is partial. Those that are about the end
    of the file, not about the way there, stand in ``end_problems`` too. ``warnings`` do not
    make a result partial.
    """

    stats: DecodeStats
    end_seconds: float
    """Player time at which the last decoded frame ends (0 when nothing was decoded)."""
    reached_end: bool
    """The file was read as far as it can be (not stopped by ``--end``)."""
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    end_problems: tuple[str, ...] = ()
    frames: FrameIndex | None = None
    """Numbers of the frames, where the pass began with the first and left none out."""
