"""The frames of a part, each with the time it is on screen, as the reader of videos finds them."""

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
"""Seconds by which stored times (rounded to microseconds) may be off those of frames."""

_LONGEST_OVERHANG = Fraction(1, 20)
"""Seconds by which the last frame of a part may outlast it, so that frame rates stay constant."""

_NOTICED = Fraction(1, 10)
"""Seconds: a frame that began before the part is shown for at least so long, or left out."""

_WORTH_SEEKING = Fraction(2)
_PATIENCE = Fraction(1)


@dataclass(frozen=True, slots=True)
class Source:
    """The video that is cut.

    Attributes:
        path: a local file.
        info: its header.
        facts: how the times of its video stream are read.
    """

    path: str | Path
    info: VideoInfo
    facts: StreamFacts

    @classmethod
    def of(cls, path: str | Path, stream: int | None = None) -> Source:
        """Examine a file; ``stream`` is the index of its video stream, None the usual choice.

        Raises:
            VideoOpenError, NoVideoStreamError, UsageError: as
                :func:`vtnstream.video.probe.examine`.
        """
        return cls(path, *examine(path, stream=stream))

    def opened(self, stack: ExitStack) -> OpenedVideo:
        """The file, open until ``stack`` is closed."""
        return stack.enter_context(opened(self.path, stream=self.info.stream_index))

    @property
    def tolerance(self) -> Fraction:
        """Seconds by which a time may miss a frame's and still mean it."""
        return min(TOLERANCE, self.facts.frame_seconds / 4)


@dataclass(frozen=True, slots=True)
class PartFrame:
    """A frame of a part.

    Attributes:
        frame: ``av.VideoFrame`` as it was decoded, not turned upright.
        aspect: sample aspect ratio of its stream, None where it does not say.
        start, end: player time in seconds, within the part.
    """

    frame: Any
    aspect: Fraction | None
    start: Fraction
    end: Fraction


@dataclass(slots=True)
class FrameParts:
    """Frames of parts in the order of time. Reading goes on from one part to the next; the file
    is opened anew where a seek saves time or a part lies before what was read."""

    source: Source
    stats: DecodeStats = field(default_factory=DecodeStats)
    _stack: ExitStack = field(default_factory=ExitStack)
    _reader: FrameReader | None = None
    _frames: Iterator[DisplayedFrame] | None = None
    _kept: list[DisplayedFrame] = field(default_factory=list)
    """The latest frames, which the next part may begin with."""

    def close(self) -> None:
        """Close the file."""
        self._frames = None
        self._kept.clear()
        self._stack.close()

    def of(self, part: TimeRange) -> Iterator[PartFrame]:
        """The frames of a part.

        A frame that begins before the part belongs to it where it stays on screen for a tenth of
        a second in it, or where nothing else is shown: a slide that was there already.

        Args:
            part: in player time; without an end, to the end of the video.

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
                if not fills and shown.end - part.start < _NOTICED:
                    continue
                start = part.start
            picture = shown.decoded
            end = _shown_until(shown, part, self.source.facts.frame_seconds)
            yield PartFrame(picture.frame, picture.aspect, start, end)
        if self._reader is not None:
            self.stats += self._reader.counters.take()

    def _from(self, start: Fraction) -> Iterator[DisplayedFrame]:
        """Frames from ``start`` on, perhaps a few before it, one kept for the next part."""
        if not self._goes_on(start):
            self._open(start)
        yield from [*self._kept]
        while self._frames is not None:
            shown = next(self._frames, None)
            if shown is None:
                return
            self._kept = [*self._kept[-1:], shown]
            yield shown

    def _goes_on(self, start: Fraction) -> bool:
        """Whether reading on from where the last part ended leads to ``start``."""
        if self._frames is None or not self._kept or self._kept[0].time > start:
            return False
        return not self.source.facts.seekable or start - self._kept[-1].time < _WORTH_SEEKING

    def _open(self, start: Fraction) -> None:
        self.close()
        if self.source.facts.seekable and start > _WORTH_SEEKING:
            with suppress(SeekUnverifiedError):
                self._read(start)
                return
            self.close()
        self._read(None)

    def _read(self, start: Fraction | None) -> None:
        reader = FrameReader(self.source.opened(self._stack), self.source.facts)
        if start is not None:
            reader.seek(start)
        frames = iter(FrameTimeline(reader, _PATIENCE))
        self._reader, self._frames = reader, frames
        first = next(frames, None)  # a seek is proven by its first frame
        self._kept = [] if first is None else [first]


def _shown_until(shown: DisplayedFrame, part: TimeRange, usual: Fraction) -> Fraction:
    if part.end is None or shown.end - part.end <= min(usual, _LONGEST_OVERHANG):
        return shown.end
    return part.end
