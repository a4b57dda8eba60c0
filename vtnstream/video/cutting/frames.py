"""Read the frames of a part with their display times, with the reader of the analysis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from vtnstream.types import DecodeStats, TimeRange, VideoInfo
from vtnstream.video.container import OpenedVideo, opened
from vtnstream.video.decoding.frame_timeline import DisplayedFrame, FrameTimeline
from vtnstream.video.decoding.packets import SeekUnverifiedError
from vtnstream.video.decoding.reader import FrameReader
from vtnstream.video.probe import StreamFacts, examine

TOLERANCE = Fraction(1, 2000)
"""Difference in seconds between stored times (rounded to microseconds) and times of frames."""

_MAX_OVERHANG = Fraction(1, 20)
"""Seconds by which the last frame may exceed the part, so that the frame rate stays constant."""

_MIN_DISPLAY = Fraction(1, 10)
"""Minimum display time, in seconds, of a frame that began before the part; shorter ones are
dropped."""

_MIN_SEEK_SECONDS = Fraction(2)
_MIN_HOLD = Fraction(1)


@dataclass(frozen=True, slots=True)
class Source:
    """The video to cut.

    Attributes:
        path: a local file.
        info: its stream properties.
        facts: time properties of its video stream.
    """

    path: str | Path
    info: VideoInfo
    facts: StreamFacts

    @classmethod
    def of(cls, path: str | Path, stream: int | None = None) -> Source:
        """Examine a file.

        Args:
            path: a local file.
            stream: index of the video stream; None chooses as ffmpeg does.

        Raises:
            VideoOpenError, NoVideoStreamError, UsageError: see
                :func:`vtnstream.video.probe.examine`.
        """
        found = examine(path, stream=stream)
        return cls(path, found.info, found.facts)

    def opened(self, stack: ExitStack) -> OpenedVideo:
        """Open the file until ``stack`` is closed."""
        return stack.enter_context(opened(self.path, stream=self.info.stream_index))

    @property
    def tolerance(self) -> Fraction:
        """Seconds by which a given time may differ from the time of its frame."""
        return min(TOLERANCE, self.facts.frame_seconds / 4)


@dataclass(frozen=True, slots=True)
class PartFrame:
    """A frame of a part.

    Attributes:
        frame: the decoded ``av.VideoFrame`` in coded orientation.
        aspect: sample aspect ratio of its stream, or None if it states none.
        start, end: player time in seconds, within the part.
    """

    frame: Any
    aspect: Fraction | None
    start: Fraction
    end: Fraction


@dataclass(slots=True)
class FrameParts:
    """Reads the frames of parts in order of time.

    Reading continues from one part to the next. The file is opened again if a seek saves time,
    or if a part lies before the current position.

    Attributes:
        source: the video.
        stats: decoding statistics of all parts so far.
    """

    source: Source
    stats: DecodeStats = field(default_factory=DecodeStats)
    _stack: ExitStack = field(default_factory=ExitStack)
    _reader: FrameReader | None = None
    _frames: Iterator[DisplayedFrame] | None = None
    _kept: list[DisplayedFrame] = field(default_factory=list)
    """The last frames read, with which the next part may begin."""

    def close(self) -> None:
        """Close the file."""
        self._frames = None
        self._kept.clear()
        self._stack.close()

    def of(self, part: TimeRange) -> Iterator[PartFrame]:
        """Yield the frames of a part.

        A frame that begins before the part is included if it is displayed for a tenth of a
        second within it, or for the whole part (such as a slide).

        Args:
            part: in player time; without an end, it lasts to the end of the video.

        Raises (while iterating):
            VideoDecodeError: the operating system cannot read the file.
        """
        slack = self.source.tolerance
        for shown in self._from(part.start):
            if part.end is not None and shown.time >= part.end - slack:
                break
            if shown.end <= part.start + slack:
                continue
            start = shown.time
            if start < part.start - slack:
                fills = part.end is not None and shown.end >= part.end - slack
                if not fills and shown.end - part.start < _MIN_DISPLAY:
                    continue
                start = part.start
            picture = shown.decoded
            end = _shown_until(shown, part, self.source.facts.frame_seconds)
            yield PartFrame(picture.frame, picture.aspect, start, end)
        if self._reader is not None:
            self.stats += self._reader.counters.take()

    def _from(self, start: Fraction) -> Iterator[DisplayedFrame]:
        """Yield frames from ``start`` on, possibly a few before it; the last ones are kept for the
        next part."""
        if not self._can_continue(start):
            self._open(start)
        yield from [*self._kept]
        while self._frames is not None:
            shown = next(self._frames, None)
            if shown is None:
                return
            self._kept = [*self._kept[-1:], shown]
            yield shown

    def _can_continue(self, start: Fraction) -> bool:
        """Return whether ``start`` can be reached by reading on from the current position."""
        if self._frames is None or not self._kept or self._kept[0].time > start:
            return False
        return not self.source.facts.seekable or start - self._kept[-1].time < _MIN_SEEK_SECONDS

    def _open(self, start: Fraction) -> None:
        self.close()
        if self.source.facts.seekable and start > _MIN_SEEK_SECONDS:
            with suppress(SeekUnverifiedError):
                self._read(start)
                return
            self.close()
        self._read(None)

    def _read(self, start: Fraction | None) -> None:
        reader = FrameReader(self.source.opened(self._stack), self.source.facts)
        if start is not None:
            reader.seek(start)
        frames = iter(FrameTimeline(reader, _MIN_HOLD))
        self._reader, self._frames = reader, frames
        first = next(frames, None)  # the first frame verifies the seek
        self._kept = [] if first is None else [first]


def _shown_until(shown: DisplayedFrame, part: TimeRange, usual: Fraction) -> Fraction:
    if part.end is None or shown.end - part.end <= min(usual, _MAX_OVERHANG):
        return shown.end
    return part.end
