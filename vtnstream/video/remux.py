"""Copy a video with new chapters; packets are copied without re-encoding."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain, islice
from math import ceil
from pathlib import Path
from typing import Any

import av
import av.error

from vtnstream.errors import OutputError, VtnstreamError
from vtnstream.replacing import check_target, move_into_place
from vtnstream.types import Chapter
from vtnstream.video.container import OpenedVideo, container_start, opened, output_url, reason_of
from vtnstream.video.probe import interruptible

CONTAINERS = {
    ".mkv": "matroska",
    ".webm": "webm",
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
}
"""Suffix -> container that stores chapters."""

_PACKETS_TO_FIRST_TIMES = 500
_CLOCK = 1000
_COVER = av.stream.Disposition.attached_pic
_WRITE_ERRORS = (av.error.FFmpegError, OSError, ValueError)


def copy_with_chapters(
    source: str | Path,
    target: str | Path,
    chapters: Sequence[Chapter],
    *,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Copy the video, audio and subtitle streams of a video and replace its chapters.

    Time 0 of the copy is the start of the source, so that player times, and the chapters with
    them, do not change.

    Args:
        source: a local video.
        target: the copy; its suffix determines the container.
        chapters: in player time, in order.
        overwrite: replace ``target`` if it exists (the source is never replaced).

    Returns:
        One sentence for each part of the source that is not in the copy.

    Raises:
        OutputError: the copy cannot be written, or ``target`` exists; no partial file is left.
        VideoOpenError: the source cannot be opened.
    """
    target = Path(target)
    kind = CONTAINERS.get(target.suffix.lower())
    if kind is None:
        raise OutputError(
            f"{target}: chapters are kept in {', '.join(CONTAINERS)} files: choose one of these"
        )
    check_target(target, sources=[source], overwrite=overwrite)
    part = target.with_name(f".vtnstream-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with interruptible(), opened(source) as video:
            left_out = _copy(video, part, kind, chapters)
        move_into_place(part, target, overwrite=overwrite)
    except _WRITE_ERRORS as error:
        if isinstance(error, VtnstreamError):
            raise
        own = Path(source).suffix
        raise OutputError(
            f"{target}: the copy cannot be written ({reason_of(error)}); "
            f"try a copy with the ending of the source ({own}), or .mkv"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return left_out


def _copy(
    video: OpenedVideo, part: Path, kind: str, chapters: Sequence[Chapter]
) -> tuple[str, ...]:
    with av.open(output_url(part), "w", format=kind) as out:
        out.metadata.update(video.container.metadata)
        streams, left_out = _streams(video, out, kind)
        inputs = [stream for stream in video.container.streams if stream.index in streams]
        packets = _packets(video.container.demux(inputs))
        early = list(islice(packets, _PACKETS_TO_FIRST_TIMES))
        shift = _shift(video, early, kind)
        later = container_start(video) + shift
        out.set_chapters([_entry(n, chapter, later) for n, chapter in enumerate(chapters, 1)])
        for packet in chain(early, packets):
            ticks = round(shift / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks
            packet.stream = streams[packet.stream.index]
            out.mux_one(packet)
    return tuple(left_out)


def _streams(video: OpenedVideo, out: Any, kind: str) -> tuple[dict[int, Any], list[str]]:
    """Return index of each copied stream -> its copy, and messages about omitted streams."""
    copies: dict[int, Any] = {}
    left_out: list[str] = []
    for stream in video.container.streams:
        cover = stream.type == "video" and stream.disposition & _COVER
        if stream.type not in ("video", "audio", "subtitle"):
            left_out.append(f"stream {stream.index} ({stream.type}) is not in the copy")
        elif stream.codec_context is None:
            what = "its codec is not known here"
            left_out.append(f"stream {stream.index} ({stream.type}) is not in the copy: {what}")
        elif cover and kind in ("matroska", "webm"):
            left_out.append(f"stream {stream.index} (cover picture) is not in the copy")
        else:
            copy = out.add_stream_from_template(stream, opaque=True)
            copy.metadata.update(stream.metadata)
            copy.disposition = stream.disposition
            copies[stream.index] = copy
    return copies, left_out


def _packets(packets: Iterable[Any]) -> Iterator[Any]:
    """Return packets without the empty ones that mark the end."""
    return (packet for packet in packets if packet.size)


def _shift(video: OpenedVideo, early: Sequence[Any], kind: str) -> Fraction:
    """Return the seconds to add to every time, such that the source's start becomes 0.

    If the container cannot store negative times, packets before the start (of audio) become 0.
    """
    shift = -container_start(video)
    if kind in ("matroska", "webm"):
        first = min((p.pts * p.time_base for p in early if p.pts is not None), default=-shift)
        shift = max(shift, -first)
    return shift


def _entry(number: int, chapter: Chapter, later: Fraction) -> dict[str, Any]:
    """Return a chapter in the form of PyAV, in milliseconds, the unit of MP4.

    Times are rounded up, so that a player that jumps to a chapter does not show the previous
    frame.
    """
    return {
        "id": number,
        "start": ceil((chapter.start + later) * _CLOCK),
        "end": ceil((chapter.end + later) * _CLOCK),
        "time_base": Fraction(1, _CLOCK),
        "metadata": {"title": chapter.title},
    }
