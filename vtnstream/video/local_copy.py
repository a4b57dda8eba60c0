"""Provide videos as local files (see :mod:`vtnstream.transport.spool`).

The parts of a playlist whose initialisation section changes are joined to one MPEG transport
stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.bitstream import BitStreamFilterContext

from vtnstream.errors import VideoOpenError
from vtnstream.progress import Progress
from vtnstream.transport import spool
from vtnstream.video.container import opened, output_url, reason_of

_FILTERS = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}
"""Codec -> bit stream filter that writes parameter sets into the stream, where they may change."""

_LIKE_VIDEO = ("mpeg2video", "mpeg4")
_FIRST_TIME = Fraction(10)
"""Presentation time of the first frame in seconds, so that decoding times are not negative."""


def local_copy(
    path: str | Path, progress: Progress, limit_bytes: int
) -> AbstractContextManager[str | Path]:
    """Call :func:`vtnstream.transport.spool.local_copy` with :func:`join_runs`."""
    return spool.local_copy(path, progress, limit_bytes, join=join_runs)


def join_runs(parts: Sequence[Path], target: Path) -> None:
    """Write the video streams of files, one after the other, to an MPEG transport stream.

    Args:
        parts: files of one codec; sizes and parameters may differ.
        target: the new file.

    Raises:
        VideoOpenError: a part has no video, or its codec cannot change parameters within a stream.
    """
    at = _FIRST_TIME
    try:
        with av.open(output_url(target), "w", format="mpegts") as out:
            copy: Any = None
            for part in parts:
                with opened(part) as video:
                    stream = video.stream
                    if copy is None:
                        copy = out.add_stream_from_template(stream)
                    at = _append(
                        out, copy, video.container.demux(stream), _filter(stream, part), at
                    )
    except (av.error.FFmpegError, ValueError) as error:
        if isinstance(error, VideoOpenError):
            raise
        raise VideoOpenError(
            f"{target}: its parts cannot be read as one ({reason_of(error)})"
        ) from error


def _filter(stream: Any, part: Path) -> Callable[[Any], list[Any]]:
    codec = stream.codec_context.codec.canonical_name
    if codec in _FILTERS:
        context = BitStreamFilterContext(_FILTERS[codec], stream)
        return lambda packet: list(context.filter(packet))
    if codec in _LIKE_VIDEO:
        return lambda packet: [packet]
    raise VideoOpenError(f"{part}: changes its initialisation, which {codec} cannot be read over")


def _append(
    out: Any,
    copy: Any,
    packets: Iterator[Any],
    convert: Callable[[Any], list[Any]],
    at: Fraction,
) -> Fraction:
    """Write packets such that the first frame is displayed at ``at`` seconds; return their end."""
    begin: Fraction | None = None
    end = at
    for packet in packets:
        if not packet.size or packet.pts is None or packet.dts is None:
            continue
        base, length = packet.time_base, packet.duration or 0
        if begin is None:
            begin = packet.pts * base
        shift = round((at - begin) / base)
        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
        end = max(end, (packet.pts + length) * base)
        for converted in convert(packet):
            converted.time_base = base
            converted.stream = copy
            out.mux_one(converted)
    return end
