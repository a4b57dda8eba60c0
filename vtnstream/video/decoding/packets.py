"""Demuxing one stream: damage is counted and passed over, never trusted, never waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.error

from vtnstream.errors import VideoDecodeError
from vtnstream.timecode import format_time
from vtnstream.video.container import OpenedVideo, reason_of
from vtnstream.video.decoding.continuity import Continuity
from vtnstream.video.decoding.tally import Tally
from vtnstream.video.probe import StreamFacts

_MAX_READ_ERRORS_IN_A_ROW = 8
_MAX_READ_ERRORS = 200


class CancelledError(Exception):
    """The consumer has left."""


class SeekUnverifiedError(Exception):
    """A seek did not land where it must: read the file from its start."""


@dataclass(slots=True)
class PacketReader:
    """Packets of the chosen stream of an open file.

    Attributes:
        cancelled: asked before each packet.
        tally, continuity: where failed reads are counted.
        stopped: why reading ended before the end of the file.
        others_end: player time at which the other streams end, where that was followed.
        sought: reading begins in the middle of the file.
    """

    video: OpenedVideo
    facts: StreamFacts
    tally: Tally
    continuity: Continuity
    cancelled: Callable[[], bool]
    stopped: str | None = None
    others_end: Fraction | None = None
    sought: bool = False
    _first: Any = None

    def __post_init__(self) -> None:
        if not self._follows_others:
            for stream in self.video.container.streams:
                if stream is not self.video.stream:
                    stream.discard = av.stream.Discard.all

    @property
    def _follows_others(self) -> bool:
        """Sound that outlasts the picture may explain the container's duration."""
        return self.facts.header_end is None and self.facts.container_end is not None

    def seek(self, time: Fraction) -> Any:
        """Go to a keyframe at or before ``time``; to be called before anything is read.

        Returns:
            The keyframe's packet, which will be the first to be read.

        Raises:
            SeekUnverifiedError: no such keyframe was found where the index says.
        """
        stream = self.video.stream
        target = (time + self.facts.start) // self.facts.time_base
        for seconds_back in (0, 2, 10):
            aim = target - int(seconds_back / self.facts.time_base)
            try:
                self.video.container.seek(aim, stream=stream, backward=True)
                packet = next((p for p in self._demuxed(1) if p.size), None)
            except (av.error.FFmpegError, OSError) as error:
                raise SeekUnverifiedError from error
            if packet is None or packet.pts is None:
                raise SeekUnverifiedError
            if packet.is_keyframe and not packet.is_corrupt and packet.pts <= target:
                self._first, self.sought = packet, True
                return packet
            if packet.has_sidedata("new_extradata"):
                break  # said once: the decoder would never hear of it
        raise SeekUnverifiedError

    def _demuxed(self, limit: int) -> Iterator[Any]:
        for packet in self.video.container.demux(self.video.stream):
            yield packet
            limit -= 1
            if not limit:
                return

    def packets(self) -> Iterator[Any]:
        """To the end of the file, over read errors as far as that makes sense.

        Raises:
            VideoDecodeError: the operating system cannot read the file.
        """
        if self._first is not None:
            yield self._first
            self._first = None
        in_a_row = errors = 0
        while True:
            try:
                for packet in self._demux():
                    if self.cancelled():
                        raise CancelledError
                    in_a_row = 0
                    yield packet
                return
            except av.error.InterruptedError:
                raise KeyboardInterrupt from None
            except av.error.FFmpegError as error:
                in_a_row, errors = in_a_row + 1, errors + 1
                self.count_error()
                if in_a_row >= _MAX_READ_ERRORS_IN_A_ROW or errors >= _MAX_READ_ERRORS:
                    self.stopped = f"the file cannot be read further ({reason_of(error)})"
                    return
            except OSError as error:
                # The disk or network failed, not the film: what is missing now may be there
                # next time, so nothing may be concluded or stored from it.
                place = format_time(self.continuity.last_time, digits=2)
                raise VideoDecodeError(
                    f"{self.video.path}: reading failed after {place} ({reason_of(error)}); check "
                    "the disk or network and run again, or ask for what lies before with --end"
                ) from error

    def count_error(self) -> None:
        """A packet that cannot be read or decoded."""
        self.tally.count("num_packet_errors")
        self.continuity.note_damage()

    def _demux(self) -> Iterator[Any]:
        ours = self.video.stream
        streams = [ours]
        if self._follows_others:
            streams += [s for s in self.video.container.streams if s.type == "audio"]
        for packet in self.video.container.demux(*streams):
            # An empty packet would tell the decoder that the film is over: libav's own end
            # markers, and dropped frames of AVI.
            if not packet.size:
                continue
            if packet.stream_index == ours.index:
                yield packet
            elif packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base - self.facts.start
                self.others_end = end if self.others_end is None else max(self.others_end, end)
