"""Demux one stream; damage is counted and skipped."""

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
from vtnstream.video.decoding.counters import DecodeCounters
from vtnstream.video.probe import StreamFacts

_MAX_READ_ERRORS_IN_A_ROW = 8
_MAX_READ_ERRORS = 200


class CancelledError(Exception):
    """The consumer has stopped reading."""


class SeekUnverifiedError(Exception):
    """A seek did not reach its target; the file must be read from its start."""


@dataclass(slots=True)
class PacketReader:
    """Reads the packets of the selected stream of an open file.

    Attributes:
        cancelled: called before each packet; True stops.
        counters, continuity: count failed reads.
        stopped: why reading ended before the end of the file, or None.
        others_end: player time at which the other streams end, or None if not recorded.
        after_seek: whether reading begins after a seek.
    """

    video: OpenedVideo
    facts: StreamFacts
    counters: DecodeCounters
    continuity: Continuity
    cancelled: Callable[[], bool]
    stopped: str | None = None
    others_end: Fraction | None = None
    after_seek: bool = False
    _first: Any = None

    def __post_init__(self) -> None:
        if not self.facts.end_may_be_of_audio:
            for stream in self.video.container.streams:
                if stream is not self.video.stream:
                    stream.discard = av.stream.Discard.all

    def seek(self, time: Fraction) -> Any:
        """Seek to a keyframe at or before ``time``. Must be called before any packet is read.

        Returns:
            The packet of the keyframe, which will be the first to be read.

        Raises:
            SeekUnverifiedError: the index does not lead to such a keyframe.
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
                self._first, self.after_seek = packet, True
                return packet
            if packet.has_sidedata("new_extradata"):
                break  # the decoder would miss this side data, which is sent only once
        raise SeekUnverifiedError

    def _demuxed(self, limit: int) -> Iterator[Any]:
        for packet in self.video.container.demux(self.video.stream):
            yield packet
            limit -= 1
            if not limit:
                return

    def packets(self) -> Iterator[Any]:
        """Yield packets to the end of the file; read errors are skipped up to a limit.

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
                # The disk or network failed, not the video. Missing data may be readable later, so
                # no result may be stored.
                place = format_time(self.continuity.last_time, digits=2)
                raise VideoDecodeError(
                    f"{self.video.path}: reading failed after {place} ({reason_of(error)}); check "
                    "the disk or network and run again, or stop before it with --end"
                ) from error

    def count_error(self) -> None:
        """Count a packet that cannot be read or decoded."""
        self.counters.count("num_packet_errors")
        self.continuity.note_damage()

    def _demux(self) -> Iterator[Any]:
        ours = self.video.stream
        streams = [ours]
        if self.facts.end_may_be_of_audio:  # record the end of the audio too
            streams += [s for s in self.video.container.streams if s.type == "audio"]
        for packet in self.video.demux(*streams):
            # Skip empty packets (libav's end markers, and dropped frames of AVI), which mean the
            # end of the video to a decoder.
            if not packet.size:
                continue
            if packet.stream_index == ours.index:
                yield packet
            elif packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base - self.facts.start
                self.others_end = end if self.others_end is None else max(self.others_end, end)
