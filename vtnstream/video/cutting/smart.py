"""Smart cuts: packets are copied, and only frames near the boundaries of a part are re-encoded.

A part consists of a head, which are the frames before its first keyframe that restarts the
decoder; the packets between that keyframe and the last one before its end; and a tail, which are
the remaining frames. Encoded frames carry their own parameter sets in the stream, and the first
copied packet carries those of the source, so that one stream holds both (ISO/IEC 14496-15 5.4
and 8.4, ITU-T H.264 7.4.1.2.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np

from vtnstream.types import TimeRange
from vtnstream.video.cutting.copying import PacketWriter
from vtnstream.video.cutting.encoding import Look
from vtnstream.video.cutting.frames import FrameParts, PartFrame, Source
from vtnstream.video.cutting.nal_units import NalUnits, split
from vtnstream.video.cutting.nal_units import SmartCutError as SmartCutError
from vtnstream.video.cutting.packet_parts import PacketParts, TimedPacket

_ENCODERS = {
    "h264": ("libx264", {"preset": "veryfast", "crf": "16", "bf": "0", "forced-idr": "1"}),
    "hevc": (
        "libx265",
        {
            "preset": "veryfast",
            "crf": "17",
            "x265-params": "bframes=0:repeat-headers=1:log-level=none:open-gop=0",
        },
    ),
}
_END_OF_SEQUENCE = {"hevc": b"\x48\x01"}
"""Codec -> NAL unit after which a keyframe that is no IDR also restarts the decoder."""

_CHECKED = 12
"""Number of frames that are compared on each side of a join."""


@dataclass(frozen=True, slots=True)
class Stretches:
    """Division of a part into encoded and copied frames.

    Attributes:
        head: range of frames that are encoded before the copied ones, or None.
        first: player time of the first copied frame.
        count: number of packets from that frame on in decoding order that are copied, except for
            frames displayed before it.
        stop: player time of the first frame that is not copied.
        tail: range of frames that are encoded from there on, or None.
        times: player times of all frames of the part.
    """

    head: TimeRange | None
    first: Fraction
    count: int
    stop: Fraction
    tail: TimeRange | None
    times: tuple[Fraction, ...]

    @classmethod
    def of(cls, part: TimeRange, packets: PacketParts) -> Stretches:
        """Determine which packets of a part can be copied.

        Args:
            part: in player time.
            packets: packets of the source.

        Raises:
            SmartCutError: no packets can be copied, or it is not certain which.
            UncopyableError: packets have no times.
        """
        assert part.end is not None
        slack, end = packets.source.tolerance, part.end
        found, ended = _until(end - slack, packets.of(part.start))
        starts = [
            i for i, p in enumerate(found) if p[1] and part.start - slack <= p[0] < end - slack
        ]
        if not starts:
            raise SmartCutError("no whole group of pictures lies in it")
        first = starts[0]
        stops = [i for i, p in enumerate(found) if p[1] and i > first and p[0] <= end + slack]
        last = max((time + length for time, _, length in found[first:]), default=end)
        if ended and last <= end + slack:
            stop, border = len(found), last
        elif stops:
            stop = stops[-1]
            # In an open group, frames displayed before the keyframe are decoded after it.
            border = min(time for time, _, _ in found[stop:])
        else:
            raise SmartCutError("no whole group of pictures lies in it")
        begin = found[first][0]
        shown = [time for time, _, _ in found[first:stop] if time >= begin - slack]
        if max(shown) >= border - slack:
            raise SmartCutError("its groups of pictures overlap")
        within = sorted(t for t, _, _ in found if part.start - slack <= t < end - slack)
        return cls(
            TimeRange(part.start, begin) if begin > part.start + slack else None,
            begin,
            stop - first,
            border,
            TimeRange(border, end) if border < end - slack else None,
            tuple(within),
        )


def _until(
    end: Fraction, packets: Iterator[TimedPacket]
) -> tuple[list[tuple[Fraction, bool, Fraction]], bool]:
    """Return (time, restarts, seconds) of packets until all later frames are displayed at or after
    ``end``, and whether the file ended before that."""
    found = []
    for packet in packets:
        found.append((packet.time, packet.restarts, packet.length))
        if packet.decoded >= end:
            return found, False
    return found, True


@dataclass(frozen=True, slots=True)
class Part:
    """The written range of a part, in player time."""

    start: Fraction
    end: Fraction


class SmartPart:
    """Writes parts: encoded head, copied packets, encoded tail.

    Attributes:
        writer: receives the packets; it must be set before writing.
    """

    def __init__(self, source: Source, stream: Any) -> None:
        """Prepare for the codec of a source.

        Args:
            source: the video.
            stream: its open ``av.video.VideoStream``.

        Raises:
            SmartCutError: the codec is not supported, or there are no parameter sets.
        """
        context = stream.codec_context
        self._source = source
        self.writer: PacketWriter | None = None
        self._codec: str = context.codec.canonical_name
        extradata = bytes(context.extradata or b"")
        self._units = NalUnits.of(self._codec, extradata)
        self._tick: Fraction = source.facts.time_base
        self._lead = Fraction(0)

    def write(
        self, plan: Stretches, frames: FrameParts, packets: PacketParts, at: Fraction
    ) -> Part:
        """Write a part such that it begins at ``at`` seconds of the output.

        Raises:
            SmartCutError: the part cannot be written in this way.
        """
        start = plan.first
        if plan.head is not None:
            upcoming = frames.of(plan.head)
            opening = next(upcoming, None)
            if opening is not None:
                start = opening.start
                self._lead = _lead(plan, packets)
                self._encode(chain([opening], upcoming), at - start, ends=True)
        shift = at - start
        self._copy(plan, packets, shift)
        end = plan.stop
        if plan.tail is not None:
            end = self._encode(frames.of(plan.tail), shift) or end
        return Part(start, end)

    def _encode(
        self, frames: Iterator[PartFrame], shift: Fraction, *, ends: bool = False
    ) -> Fraction | None:
        """Encode frames; return the end of the last one in player time, or None without frames.

        Args:
            frames: in player time.
            shift: seconds from player time to the output.
            ends: whether packets of the source follow, for which the decoder's sequence is ended.
        """
        encoder: Any = None
        end: Fraction | None = None
        until: dict[int, Fraction] = {}
        made: list[Any] = []
        for found in frames:
            encoder = encoder or self._encoder(found)
            frame = found.frame
            frame.pts = round((found.start + shift) / self._tick)
            frame.time_base = self._tick
            frame.pict_type = 1 if end is None else 0
            end = found.end
            until[frame.pts] = end + shift
            made += encoder.encode(frame)
            self._write(made[:-1], until)
            del made[:-1]
        if encoder is not None:
            made += encoder.encode(None)
            self._write(made[:-1], until)
            self._write(made[-1:], until, ends=ends)
        return end

    def _copy(self, plan: Stretches, packets: PacketParts, shift: Fraction) -> None:
        writer = self.writer
        assert writer is not None
        slack, count = self._source.tolerance, 0
        for packet in packets.of(plan.first):
            if not count:
                if not packet.restarts or abs(packet.time - plan.first) > slack:
                    continue
                self._lead = packet.time - packet.decoded
            count += 1
            if packet.time >= plan.first - slack:
                data = self._units.with_sets(bytes(packet.packet)) if count == 1 else None
                copy = packet.packet if data is None else _replaced(packet.packet, data)
                writer.add(copy, packet.time + shift, packet.decoded + shift)
            if count == plan.count:
                return
        raise SmartCutError("its packets are not the same when they are read again")

    def _encoder(self, first: PartFrame) -> Any:
        name, options = _ENCODERS[self._codec]
        frame = first.frame
        if frame.interlaced_frame:
            raise SmartCutError("its frames are interlaced")
        if frame.format.name not in {f.name for f in av.Codec(name, "w").video_formats}:
            raise SmartCutError(f"its pixel format {frame.format.name} is not encoded")
        encoder: Any = av.CodecContext.create(name, "w")
        encoder.width, encoder.height, encoder.pix_fmt = (
            frame.width,
            frame.height,
            frame.format.name,
        )
        encoder.time_base, encoder.options = self._tick, dict(options)
        encoder.framerate = 1 / self._source.facts.frame_seconds
        look = Look.of(first, self._source)
        encoder.sample_aspect_ratio = first.aspect or Fraction(1)
        encoder.color_range, encoder.colorspace = look.colour[:2]
        encoder.color_primaries, encoder.color_trc = look.colour[2:]
        encoder.thread_count = 1
        return encoder

    def _write(self, packets: list[Any], until: dict[int, Fraction], *, ends: bool = False) -> None:
        writer = self.writer
        assert writer is not None
        for packet in packets:
            time = packet.pts * self._tick
            units = split(bytes(packet))
            if ends and self._codec in _END_OF_SEQUENCE:
                units.append(_END_OF_SEQUENCE[self._codec])
            made = _replaced(packet, self._units.joined(units))
            made.time_base = self._tick
            made.duration = max(1, round((until[packet.pts] - time) / self._tick))
            writer.add(made, time, time - self._lead)


def _lead(plan: Stretches, packets: PacketParts) -> Fraction:
    """Return the seconds between decoding and presentation time of the first copied packet."""
    for packet in packets.of(plan.first):
        if packet.restarts and abs(packet.time - plan.first) <= packets.source.tolerance:
            return packet.time - packet.decoded
    return Fraction(0)


def check(
    path: Path, source: FrameParts, parts: Sequence[tuple[Stretches, Part, Fraction]]
) -> None:
    """Compare a file with the source near the joins: the times of all frames, and the samples of
    copied frames.

    Args:
        path: the file.
        source: frames of the source.
        parts: division of each part, its written range, and its start in the file.

    Raises:
        SmartCutError: they differ.
    """
    written = FrameParts(Source.of(path))
    try:
        for plan, part, at in parts:
            shift = at - part.start
            for begin, end in _joins(plan, part):
                _check_times(written, plan.times, begin, end, shift)
            for begin, end in _copied_near_joins(plan):
                ours = written.of(TimeRange(begin + shift, end + shift))
                theirs = source.of(TimeRange(begin, end))
                if not all(_equal(a.frame, b.frame) for a, b in zip(ours, theirs, strict=False)):
                    raise SmartCutError("copied frames at a join came out wrong")
    finally:
        written.close()


def _check_times(
    written: FrameParts,
    times: Sequence[Fraction],
    begin: Fraction,
    end: Fraction,
    shift: Fraction,
) -> None:
    slack = written.source.tolerance
    wanted = [time + shift for time in times if begin - slack <= time < end - slack]
    found = [f.start for f in written.of(TimeRange(begin + shift, end + shift))]
    if len(found) != len(wanted):
        raise SmartCutError(f"at a join {len(found)} frames came out, not {len(wanted)}")
    if any(abs(a - b) > 4 * slack for a, b in zip(found, wanted, strict=True)):
        raise SmartCutError("times at a join came out wrong")


def _joins(plan: Stretches, part: Part) -> list[tuple[Fraction, Fraction]]:
    """Return the ranges of player time around the joins."""
    spans = []
    if plan.head is not None:
        after = [t for t in plan.times if t >= plan.first][:_CHECKED]
        spans.append((part.start, after[-1]))
    if plan.tail is not None:
        before = [t for t in plan.times if t < plan.stop][-_CHECKED:]
        spans.append((before[0], part.end))
    return spans


def _copied_near_joins(plan: Stretches) -> list[tuple[Fraction, Fraction]]:
    times = [t for t in plan.times if plan.first <= t < plan.stop]
    spans = []
    if plan.head is not None and len(times) > 1:
        spans.append((times[0], times[:_CHECKED][-1]))
    if plan.tail is not None and times:
        spans.append((times[-_CHECKED:][0], plan.stop))
    return spans


def _equal(a: Any, b: Any) -> bool:
    """Return whether two frames have equal samples."""
    if (a.width, a.height, a.format.name) != (b.width, b.height, b.format.name):
        return False
    ours, its = a.to_ndarray(), b.to_ndarray()
    return bool(np.array_equal(ours, its))


def _replaced(packet: Any, data: bytes) -> Any:
    other = av.Packet(data)
    other.pts, other.dts, other.duration = packet.pts, packet.dts, packet.duration
    other.time_base, other.is_keyframe = packet.time_base, packet.is_keyframe
    return other
