"""Examine a file before reading it: its header, first frame and kind of timestamps."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice, pairwise
from math import floor
from typing import Any, NamedTuple

import av.error

from vtnstream.transport.media import Medium
from vtnstream.types import VideoInfo
from vtnstream.video.container import (
    DEFAULT_MAX_PIXELS,
    RAW_FORMATS,
    OpenedVideo,
    container_start,
    open_video,
    opened,
)
from vtnstream.video.orientation import (
    UPRIGHT,
    display_size,
    frame_orientation,
    plausible_aspect,
)
from vtnstream.video.quicktime import timecode_rate

_PACKETS_TO_FIRST_FRAME = 300
_PACKETS_OF_ANY_STREAM = 20_000
_PACKETS_TO_JUDGE_DURATIONS = 60
_FALLBACK_RATE = Fraction(25)
_MOST_PIXELS_LEFT_OPEN = 1920 * 1088
"""Largest frame of a video that is left open for a decoder: several may wait at the same time, each
with some decoded frames."""


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """The time properties of a stream.

    Attributes:
        start: start of the container in seconds, which is subtracted from every time.
        time_base: seconds per tick.
        frame_seconds: usual duration of a frame, for frames without a stored duration.
        declared: whether the file stores frame durations.
        contiguous: whether each packet starts where the previous one ends, by definition of the
            format (MP4); a frame is then displayed until the next one unless data was lost.
        raw_rate: frames per second of an elementary stream without times, else None.
        wraps: whether the clock has 33 bits and wraps (MPEG transport and program streams).
        seekable: whether the index leads to keyframes, and packets after a seek have the same times
            as when the file is read from its start.
        header_end: player time at which the stream ends according to its header.
        container_end: the same for the whole container, which may include longer audio.
    """

    start: Fraction
    time_base: Fraction
    frame_seconds: Fraction
    declared: bool
    contiguous: bool
    raw_rate: Fraction | None
    wraps: bool
    seekable: bool
    header_end: Fraction | None
    container_end: Fraction | None

    @property
    def end_may_be_of_audio(self) -> bool:
        """Whether only the end of the whole container is known, which may be that of audio."""
        return self.header_end is None and self.container_end is not None

    def player_time(self, ticks: int) -> Fraction:
        """Return the player time of a timestamp: ``ticks * time_base - start``, computed faster."""
        base, start = self.time_base, self.start
        return Fraction(
            ticks * base.numerator * start.denominator - start.numerator * base.denominator,
            base.denominator * start.denominator,
        )

    def time_of(self, tick: int) -> Fraction:
        """Return the player time of a tick of the timeline: a tick of the file, or a frame number
        if the file has no times."""
        return self.player_time(tick) if self.raw_rate is None else tick / self.raw_rate

    def ticks_in(self, seconds: Fraction) -> int:
        """Return the number of whole ticks of the timeline in ``seconds``, rounded down."""
        return floor(seconds * (self.raw_rate or 1 / self.time_base))

    def first_tick(self, time: Fraction) -> int:
        """Return the first tick of the timeline at or after a player time."""
        return -self.ticks_in(-time - self.start)


class Begun:
    """An open video whose first frame was decoded, so that one decoder can continue from there."""

    def __init__(self, video: OpenedVideo) -> None:
        self._video: OpenedVideo | None = video

    def take(self) -> OpenedVideo | None:
        """Return the video, which the caller closes; None if it was taken or closed before."""
        video, self._video = self._video, None
        return video

    def close(self) -> None:
        """Close the video unless it was taken."""
        if (video := self.take()) is not None:
            video.close()


class Examined(NamedTuple):
    """The header of a video, the time properties of its stream, and the video itself if it was left
    open."""

    info: VideoInfo
    facts: StreamFacts
    begun: Begun | None = None

    def close(self) -> None:
        """Close the video if it is open."""
        if self.begun is not None:
            self.begun.close()


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn libav's EINTR, which it raises on Ctrl-C, into ``KeyboardInterrupt``."""
    try:
        yield
    except av.error.InterruptedError:
        raise KeyboardInterrupt from None


def probe(
    medium: Medium, *, stream: int | None = None, max_pixels: int = DEFAULT_MAX_PIXELS
) -> VideoInfo:
    """Read the header of a video and its first frame.

    Args:
        medium: a local file, a URL, or a stream.
        stream: index of the video stream in the container; None chooses as ffmpeg does.
        max_pixels: larger frames are rejected.

    Raises:
        VideoOpenError: the file cannot be opened or is rejected.
        NoVideoStreamError: it has no video stream.
        UsageError: ``stream`` is no video stream.
    """
    return examine(medium, stream=stream, max_pixels=max_pixels).info


def examine(
    medium: Medium,
    *,
    stream: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    leave_open: bool = False,
) -> Examined:
    """Read what :func:`probe` reads, and the time properties of the stream for decoding.

    Args:
        medium, stream, max_pixels: as for :func:`probe`.
        leave_open: leave a file open where a decoder can continue after the first frame as if it
            had begun there itself; the caller closes the result.
    """
    with interruptible(), ExitStack() as stack:
        video = open_video(medium, stream=stream, max_pixels=max_pixels)
        stack.callback(video.close)
        facts = _facts(video, declared=_durations_are_stored(video, max_pixels))
        first = _first_frame(video)
        if first is not None and first.pts is None:  # libav guesses times from the first packets
            facts = replace(facts, seekable=False)
        info = _info(video, facts, first)
        if not (leave_open and _can_be_continued(video, facts)):
            return Examined(info, facts)
        stack.pop_all()
        return Examined(info, facts, Begun(video))


def _can_be_continued(video: OpenedVideo, facts: StreamFacts) -> bool:
    """Return whether reading can go on after the first frame as if nothing had been read before."""
    context = video.stream.codec_context
    return (
        isinstance(video.file, io.FileIO)
        and bool(video.decoded_before)
        and not facts.end_may_be_of_audio
        and context.width * context.height <= _MOST_PIXELS_LEFT_OPEN
    )


def _first_frame(video: OpenedVideo) -> Any | None:
    """Return the first frame that can be decoded, within limits; damage is ignored here.

    Without damage, the video keeps what was read and decoded.
    """
    video.use_one_thread()
    done: list[tuple[Any, list[Any]]] = []
    tried, is_clean = 0, True
    try:
        for packet in islice(video.demux(video.stream), _PACKETS_OF_ANY_STREAM):
            tried += 1
            try:
                frames = packet.decode() if packet.size else []
            except (av.error.FFmpegError, ValueError):
                frames, is_clean = [], False
            if packet.size:
                done.append((packet, frames))
            # What is encrypted is not decoded when the video is read.
            is_clean = is_clean and not packet.has_sidedata("encryption_info")
            if frames:
                if is_clean:
                    video.continue_after(done)
                return frames[0]
            if tried >= _PACKETS_TO_FIRST_FRAME:
                return None
        return next(iter(video.stream.codec_context.decode(None)), None)
    except av.error.InterruptedError:
        raise
    except (av.error.FFmpegError, OSError, ValueError):
        return None


def _durations_are_stored(video: OpenedVideo, max_pixels: int) -> bool:
    """Return whether the file stores frame durations; otherwise libav fills in guesses.

    MP4 and GIF always store them. Matroska may: the first packets are read again without
    guesses.
    """
    if video.is_format("mov", "mp4", "gif", "apng"):
        return True
    if not video.is_format("matroska", "webm"):
        return False
    index = video.stream.index
    with opened(video.medium, stream=index, max_pixels=max_pixels, fill_in=False) as bare:
        try:
            packets = islice(bare.container.demux(bare.stream), _PACKETS_TO_JUDGE_DURATIONS)
            spans = sorted((p.pts, p.duration) for p in packets if p.size and p.pts is not None)
        except av.error.InterruptedError:
            raise
        except (av.error.FFmpegError, OSError):
            return False
    if not spans or not all(duration for _, duration in spans):
        return False
    # Some muxers store a default duration for variable-rate video, which is meaningless.
    steps = [(b[0] - a[0], a[1]) for a, b in pairwise(spans)]
    num_odd = sum(1 for step, duration in steps if step > 1.5 * duration)
    return num_odd * 5 <= len(steps)


def _facts(video: OpenedVideo, *, declared: bool) -> StreamFacts:
    stream = video.stream
    start = container_start(video)
    time_base = stream.time_base or Fraction(1, 1_000_000)
    raw_rate = None
    if video.is_format(*RAW_FORMATS):
        # The demuxer assumes 25 frames/s; the decoder reads the rate from the bit stream.
        raw_rate = _plausible_rate(stream.codec_context.framerate) or _FALLBACK_RATE
    rate = raw_rate or _nominal_rate(stream)
    whole = video.container.duration
    origin = Fraction(video.container.start_time or 0, 1_000_000)
    return StreamFacts(
        start=Fraction(0) if raw_rate else start,
        time_base=time_base,
        frame_seconds=1 / rate,
        declared=declared,
        contiguous=video.is_format("mov", "mp4"),
        raw_rate=raw_rate,
        wraps=video.is_format("mpegts", "mpeg") and time_base == Fraction(1, 90_000),
        seekable=video.is_format("mov", "mp4", "matroska", "webm"),
        header_end=None if raw_rate else _stream_end(stream, start),
        container_end=(
            Fraction(whole, 1_000_000) + origin - start if whole and not raw_rate else None
        ),
    )


def _plausible_rate(rate: Fraction | None) -> Fraction | None:
    return Fraction(rate) if rate and Fraction(1, 3600) <= rate <= 480 else None


def _nominal_rate(stream: Any) -> Fraction:
    for rate in (stream.average_rate, stream.base_rate, stream.codec_context.framerate):
        if plausible := _plausible_rate(rate):
            return plausible
    return _FALLBACK_RATE


def _stream_end(stream: Any, start: Fraction) -> Fraction | None:
    """Return the player time of the end of the stream according to its header."""
    if stream.duration and stream.time_base:
        end: Fraction = (stream.duration + (stream.start_time or 0)) * stream.time_base
        return end - start
    # Matroska muxers write the end of each track as a tag.
    if match := re.fullmatch(
        r"(\d+):(\d\d):(\d\d(?:\.\d+)?)\x00*", stream.metadata.get("DURATION", "")
    ):
        seconds = int(match[1]) * 3600 + int(match[2]) * 60 + Fraction(match[3])
        return seconds - start if seconds else None
    return None


def _info(video: OpenedVideo, facts: StreamFacts, first: Any | None) -> VideoInfo:
    stream, context = video.stream, video.stream.codec_context
    orientation, exact = frame_orientation(first) if first is not None else (UPRIGHT, True)
    aspect, plausible = plausible_aspect(
        stream.sample_aspect_ratio or context.sample_aspect_ratio or None
    )
    width, height = (first.width, first.height) if first else (context.width, context.height)
    shown = display_size(width, height, aspect, orientation) if width and height else (0, 0)
    own_duration = facts.header_end
    if own_duration is None:
        own_duration = facts.container_end
    return VideoInfo(
        path=video.path,
        size_bytes=video.size_bytes,
        format_name=video.format_name,
        codec_name=str(context.codec.canonical_name),
        profile=context.profile,
        pixel_format=first.format.name if first else context.pix_fmt,
        stream_index=stream.index,
        num_video_streams=video.num_video_streams,
        width=shown[0],
        height=shown[1],
        coded_width=width,
        coded_height=height,
        rotation=orientation.rotation,
        mirrored=orientation.mirrored,
        sample_aspect_ratio=aspect,
        time_base=facts.time_base,
        start_seconds=facts.start,
        average_rate=facts.raw_rate or _plausible_rate(stream.average_rate),
        duration_from_header=own_duration,
        num_frames_from_header=stream.frames or None,
        has_audio=any(s.type == "audio" for s in video.container.streams),
        warnings=tuple(_warnings(video, facts, exact, plausible)),
        first_frame_seconds=_first_frame_seconds(facts, first),
        start_timecode=_start_timecode(video),
        timecode_rate=_timecode_rate(video),
    )


def _first_frame_seconds(facts: StreamFacts, first: Any | None) -> Fraction:
    if first is None or first.pts is None or facts.raw_rate is not None:
        return Fraction(0)
    seconds: Fraction = first.pts * facts.time_base - facts.start
    return max(Fraction(0), seconds)


def _start_timecode(video: OpenedVideo) -> str | None:
    """Return the timecode of the first frame, which is stored in the video stream, in the
    container, or in a QuickTime timecode track."""
    streams = (s for s in video.container.streams if s.type in ("data", "unknown"))
    for holder in (video.stream, video.container, *streams):
        if text := holder.metadata.get("timecode"):
            return str(text)
    return None


def _timecode_rate(video: OpenedVideo) -> Fraction | None:
    """Return the frames per second of a QuickTime timecode track; they may differ from those of the
    video (video with 50 frames/s often has timecode with 25)."""
    if not video.is_format("mov", "mp4") or _start_timecode(video) is None:
        return None
    return _plausible_rate(timecode_rate(video.file))


def _warnings(
    video: OpenedVideo, facts: StreamFacts, exact_orientation: bool, plausible_shape: bool
) -> Iterator[str]:
    if video.num_video_streams > 1:
        yield (
            f"{video.num_video_streams} video streams: stream {video.stream.index} was chosen "
            "(choose another with --stream)"
        )
    if facts.raw_rate is not None:
        yield (
            "an elementary stream without times: they are computed at "
            f"{float(facts.raw_rate):.6g} frames/s"
        )
    if not exact_orientation:
        yield "the display matrix is not a multiple of 90 degrees: the nearest one was used"
    if not plausible_shape:
        yield "the pixel aspect ratio in the header is implausible: square pixels were assumed"
