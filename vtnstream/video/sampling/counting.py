"""Count frames by demuxing, because counts in headers are often wrong.

Uniform sampling needs the count, a pass that begins in the middle of a video needs the numbers of
its frames, and a result needs the numbers of the frames at which its segments begin and end.
"""

from __future__ import annotations

from array import array
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtnstream.errors import VideoDecodeError, VideoError
from vtnstream.transport.address import is_address
from vtnstream.transport.media import Medium
from vtnstream.types import FrameIndex, TimeRange, TokenTimes, VideoInfo
from vtnstream.video.container import opened
from vtnstream.video.decoding.clock import FrameClock
from vtnstream.video.decoding.frame_counter import FrameCounter
from vtnstream.video.decoding.reader import FrameReader
from vtnstream.video.probe import StreamFacts, examine, interruptible
from vtnstream.video.sampling.samplers import UniformGrid


def uniform_grid(reader: FrameReader, num_frames: int, span: TimeRange) -> UniformGrid:
    """Return the grid of ``num_frames`` frames of a range: ``floor(linspace(0, n - 1,
    num_frames))`` of its n frames in presentation order.

    Memory: 8 bytes per frame.

    Raises:
        VideoDecodeError: the range has no packet.
    """
    facts = reader.facts
    found = _packet_times(reader, span)
    ticks, last_duration = found.ticks, found.last_duration
    if not len(ticks):
        raise VideoDecodeError(
            f"{reader.video.path}: the video stream has no frame"
            + ("" if span == TimeRange() else " in this range: choose another --start / --end")
        )
    picks = np.floor(np.linspace(0, len(ticks) - 1, num_frames)).astype(np.int64)
    kept, order = np.unique(picks, return_inverse=True)
    times = [facts.time_of(int(ticks[i])) for i in kept]
    # The last selected frame ends where the next frame starts.
    after = int(kept[-1]) + 1
    end = facts.time_of(int(ticks[after])) if after < len(ticks) else times[-1] + last_duration
    return UniformGrid(times, end, order.astype(np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class FrameNumbers:
    """Display times of the frames in a range according to their packets (sampling kind ``all``).

    Damage and gaps are unknown here, so a decoded frame must confirm the numbers.

    Attributes:
        facts: time properties of the stream.
        ticks: display time of each frame of the range, increasing.
        keyframes: numbers of the frames that the container marks as keyframes, increasing.
    """

    facts: StreamFacts
    ticks: NDArray[np.int64]
    keyframes: NDArray[np.int64]

    @classmethod
    def of(cls, reader: FrameReader, span: TimeRange) -> FrameNumbers:
        """Read all packets. Memory: 8 bytes per frame.

        Raises:
            VideoDecodeError: the operating system cannot read the file.
        """
        found = _packet_times(reader, span)
        keyframes = np.flatnonzero(np.isin(found.ticks, found.key_ticks))
        return cls(reader.facts, found.ticks, keyframes)

    def has(self, index: int) -> bool:
        return 0 <= index < len(self.ticks)

    def time_of_token(self, index: int) -> Fraction:
        return self.facts.time_of(int(self.ticks[index]))

    def first_at(self, time: Fraction) -> int:
        return int(np.searchsorted(self.ticks, self.facts.first_tick(time)))


def count_frames(
    medium: Medium, *, stream: int | None = None, until: Fraction | None = None
) -> FrameIndex | None:
    """Number the frames of a video by its packets, without decoding.

    Args:
        medium: a local file.
        stream: index of the video stream; None chooses as ffmpeg does.
        until: player time up to which frames are needed; None is the end of the video.

    Returns:
        None if packets do not determine the displayed frames: containers without reliable times,
        damage, clock jumps, or no first frame.

    Memory: 8 bytes per frame.

    Raises:
        VideoOpenError, NoVideoStreamError: see :func:`vtnstream.video.probe.probe`.
        VideoDecodeError: the operating system cannot read the file.
    """
    info, facts, _ = examine(medium, stream=stream)
    if not facts.seekable or facts.raw_rate is not None:
        return None
    with interruptible(), opened(medium, stream=info.stream_index) as video:
        reader = FrameReader(video, facts)
        found = _packet_times(reader, TimeRange(), until=until)
    damaged = reader.counters.lifetime.num_packet_errors or reader.stopped is not None
    if damaged or found.is_damaged:
        return None
    # Leading frames of an open group of pictures at the start are never displayed.
    first = facts.first_tick(info.first_frame_seconds)
    ticks = found.ticks[np.searchsorted(found.ticks, first) :]
    stop = None if until is None else facts.first_tick(until)
    return FrameCounter.of(ticks.tolist()).index(whole=found.whole, until=stop)


def frames_up_to(
    path: str | Path, info: VideoInfo, times: TokenTimes, known: FrameIndex | None = None
) -> FrameIndex | None:
    """Count the frames up to the last token.

    Args:
        path: a local file; the frames of other videos are not counted here.
        info: its header.
        times: of the tokens, at least one.
        known: numbers that an earlier pass found.

    Returns:
        ``known`` if it covers the last token; None if frames cannot be counted reliably.
    """
    last = Fraction(float(times.end_seconds[-1]))
    if known is not None and known.covers((last + info.start_seconds) / info.time_base):
        return known
    if is_address(path) or not Path(path).is_file():
        return known
    found = None
    with suppress(VideoError):
        # The end of a range is counted too: the frame after it begins the next one.
        until = Fraction(ceil(last) + 1)
        found = count_frames(path, stream=info.stream_index, until=until)
    return found or known


@dataclass(frozen=True, slots=True, eq=False)
class _PacketTimes:
    """Times of the packets in a range.

    Attributes:
        ticks: sorted distinct timestamps (frame numbers for streams without times).
        key_ticks: timestamps of keyframes.
        last_duration: duration of the last packet in seconds.
        whole: whether the file was read to its end.
        is_damaged: whether a packet is corrupt, has no time, or is on another clock.
    """

    ticks: NDArray[np.int64]
    key_ticks: NDArray[np.int64]
    last_duration: Fraction
    whole: bool = True
    is_damaged: bool = False


def _packet_times(
    reader: FrameReader, span: TimeRange, *, until: Fraction | None = None
) -> _PacketTimes:
    """Return the times of the packets in ``span``; reading ends once decoding times exceed
    ``until``."""
    facts = reader.facts
    clock = FrameClock(facts)
    ticks, key_ticks = array("q"), array("q")
    newest, last_duration = -1, facts.frame_seconds
    stop = None if until is None else facts.first_tick(until)
    whole, is_damaged = True, False
    for packet in reader.packets():
        if stop is not None and packet.dts is not None and packet.dts > stop:
            whole = False
            break
        if packet.is_discard:
            continue
        is_damaged |= packet.is_corrupt or packet.pts is None
        tick = _tick(packet, clock, facts, len(ticks))
        ticks.append(tick)
        if packet.is_keyframe:
            key_ticks.append(tick)
        if tick >= newest:
            newest = tick
            if facts.declared and packet.duration:
                last_duration = packet.duration * facts.time_base
    found, keys = np.unique(np.array(ticks, np.int64)), np.array(key_ticks, np.int64)
    if stop is not None and not whole:
        # Packets that follow may still be shown before the last ones that were read.
        found = found[: np.searchsorted(found, stop, side="right")]
    is_damaged |= bool(clock.offset)
    if span != TimeRange():
        first = np.searchsorted(found, facts.first_tick(span.start))
        last = None if span.end is None else np.searchsorted(found, facts.first_tick(span.end))
        found = found[first:last]
    return _PacketTimes(found, keys, last_duration, whole, is_damaged)


def _tick(packet: Any, clock: FrameClock, facts: StreamFacts, count: int) -> int:
    """Return the timestamp of a packet on the timeline of the frames."""
    if facts.raw_rate is not None:
        return count
    # Decoding times increase, so they reveal wraps and jumps of the clock.
    placed = clock.place(packet.dts if packet.dts is not None else packet.pts, None)
    stamp = packet.pts if packet.pts is not None else packet.dts
    if stamp is None:
        stamp = placed.pts if placed else count
    return int(stamp) + clock.offset
