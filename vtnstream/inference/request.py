"""The request for one video: its part, sampling and method."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vtnstream.config import SamplingConfig
from vtnstream.config.runtime import METHODS
from vtnstream.config.views import ViewsConfig
from vtnstream.errors import UsageError
from vtnstream.timecode import FrameCount, parse_time
from vtnstream.transport.address import is_address
from vtnstream.types import TimeRange
from vtnstream.video.probe import probe
from vtnstream.video.sampling.counting import count_frames

TimeLike = str | int | float | Fraction


@dataclass(frozen=True, slots=True)
class Request:
    """The part of a video to analyse, and the method.

    Attributes:
        sampling: replaces the model's own sampling.
        start: source time in seconds or in any form of :mod:`vtnstream.timecode`; None is the
            beginning.
        end: the same; None is the end of the file.
        features: a file of ``vtnstream extract`` to use instead of decoding.
        method: ``chunked`` (memory does not grow with the video) or ``end-to-end``.
        stream: index of the video stream if a file has several.
        views: classify by clips and crops instead of one pass over the whole sequence.
        whole: let a ViViT that supports it read the video as one sequence, not in sliding clips.
        shuffle: seed of a random order of the frames, each at the time of another; None keeps the
            order.
        reference: sample and preprocess as PySlowFast does, for comparisons with its numbers.
        frame_scores: keep the scores of each token of a timeline in the report.

    Raises:
        UsageError: the parts exclude each other.
    """

    sampling: SamplingConfig | None = None
    start: TimeLike | None = None
    end: TimeLike | None = None
    features: str | Path | None = None
    method: str = "chunked"
    stream: int | None = None
    views: ViewsConfig | None = None
    whole: bool = False
    shuffle: int | None = None
    reference: bool = False
    frame_scores: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"method must be one of {', '.join(METHODS)}, not {self.method!r}")
        if self.views is not None and (self.features is not None or self.method != "chunked"):
            raise UsageError("--views excludes --features and --method end-to-end")
        if self.views is not None and self.whole:
            raise UsageError("--views and --whole exclude each other")
        if self.features is not None and self.method != "chunked":
            raise UsageError("stored features and --method end-to-end exclude each other")
        if self.shuffle is not None and (self.views is not None or self.method != "chunked"):
            raise UsageError("shuffled frames need one chunked pass over the whole video")
        if self.reference:
            self._check_reference()

    @property
    def is_plain(self) -> bool:
        """Whether it asks for one pass over the frames of a video, in their order."""
        return self.is_one_pass and self.features is None and self.shuffle is None

    @property
    def is_one_pass(self) -> bool:
        """Whether it asks for one pass over features of frames, stored or not."""
        return self.views is None and self.method == "chunked" and not self.reference

    def _check_reference(self) -> None:
        others = {
            "--start": self.start,
            "--end": self.end,
            "--features": self.features,
            "--method": self.method if self.method != "chunked" else None,
            "--views": self.views,
            "--whole": self.whole or None,
            "shuffled frames": self.shuffle,
        }
        for name, value in others.items():
            if value is not None:
                raise UsageError(
                    f"--reference-preprocess excludes {name}: the reference decides what is read"
                )


def time_range(
    path: str | Path, start: TimeLike | None, end: TimeLike | None, stream: int | None = None
) -> TimeRange:
    """Parse a range of source time; the frames are counted for ``2700f``.

    Raises:
        UsageError: not a time, or the range is empty.
    """
    first = _seconds(path, start, stream) if start is not None else Fraction(0)
    last = _seconds(path, end, stream) if end is not None else None
    if last is not None and last <= first:
        raise UsageError(f"--end {end} is not after --start {start if start else 0}")
    return TimeRange(first, last)


def _seconds(path: str | Path, value: TimeLike, stream: int | None) -> Fraction:
    parsed = parse_time(value) if isinstance(value, str) else Fraction(value)
    if isinstance(parsed, FrameCount):
        return _frame_seconds(path, parsed.frames, stream)
    if parsed < 0:
        raise UsageError(f"times start at 0, not {value}")
    return parsed


def _frame_seconds(path: str | Path, number: int, stream: int | None) -> Fraction:
    """Return the time at which a frame begins, from counted frames or else from the rate in the
    header."""
    info = probe(path, stream=stream)
    frames = None if is_address(path) else count_frames(path, stream=stream)
    if frames is not None:
        found = frames.seconds(number, info)
        if found is None:
            raise UsageError(
                f"{path}: there is no frame {number}: it has {frames.count}, counted from 0"
            )
        return found
    if not info.average_rate:
        raise UsageError(f"{path}: its frame rate is unknown: give times in seconds")
    return number / info.average_rate
