"""Provide videos as local files (see :mod:`vtnstream.transport.spool`).

The parts of a playlist whose initialisation section or clock changes are joined to one file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import av
import av.error
from av.bitstream import BitStreamFilterContext

from vtnstream.errors import VideoOpenError
from vtnstream.progress import Progress
from vtnstream.transport import spool
from vtnstream.video.container import opened, output_url, reason_of

_FILTERS = {
    "h264": "h264_mp4toannexb",
    "hevc": "hevc_mp4toannexb",
    "mpeg2video": "dump_extra",
    "mpeg4": "dump_extra",
}
"""Codec -> bit stream filter that writes parameter sets into the stream, where they may change."""

_IN_MATROSKA = ("vp8", "vp9", "av1")
"""Codecs that MPEG transport streams do not hold, and whose packets state their parameters."""
_FIRST_TIME = Fraction(10)
"""Presentation time of the first frame in seconds, so that decoding times are not negative."""


def local_copy(
    path: str | Path, progress: Progress, limit_bytes: int
) -> AbstractContextManager[str | Path]:
    """Call :func:`vtnstream.transport.spool.local_copy` with :func:`join_runs`."""
    return spool.local_copy(path, progress, limit_bytes, join=join_runs)


def join_runs(parts: Sequence[Path], target: Path) -> None:
    """Write the video streams of files, one after the other, to an MPEG transport stream, or to
    Matroska.

    Args:
        parts: files of one codec; sizes and parameters may differ.
        target: the new file.

    Raises:
        VideoOpenError: a part has no video, the codec changes, or it cannot change parameters
            within a stream.
    """
    at, last = _FIRST_TIME, Fraction(0)
    try:
        with opened(parts[0]) as video:
            codec = _codec(video.stream)
        kind = "matroska" if codec in _IN_MATROSKA else "mpegts"
        with av.open(output_url(target), "w", format=kind) as out:
            copy: Any = None
            for part in parts:
                with opened(part) as video:
                    stream = video.stream
                    if _codec(stream) != codec:
                        raise VideoOpenError(
                            f"{target}: its codec changes from {codec} to {_codec(stream)}: give "
                            "the files of its parts one by one"
                        )
                    if copy is None:
                        copy = out.add_stream_from_template(stream, opaque=True)
                    at, last = _append(
                        out, copy, video.container.demux(stream), _filter(stream, part), at, last
                    )
    except (av.error.FFmpegError, ValueError) as error:
        if isinstance(error, VideoOpenError):
            raise
        raise VideoOpenError(
            f"{target}: its parts cannot be read as one ({reason_of(error)})"
        ) from error


def _codec(stream: Any) -> str:
    return str(stream.codec_context.codec.canonical_name)


def _filter(stream: Any, part: Path) -> Callable[[Any], list[Any]]:
    codec = _codec(stream)
    if codec in _FILTERS:
        context = BitStreamFilterContext(_FILTERS[codec], stream)
        return lambda packet: list(context.filter(packet))
    if codec in _IN_MATROSKA:
        return lambda packet: [packet]
    raise VideoOpenError(f"{part}: changes its initialisation, which {codec} cannot be read over")


def _append(
    out: Any,
    copy: Any,
    packets: Iterator[Any],
    convert: Callable[[Any], list[Any]],
    at: Fraction,
    last: Fraction,
) -> tuple[Fraction, Fraction]:
    """Write packets such that the first frame is displayed at ``at`` seconds.

    Decoding times follow ``last``: a part that reorders more frames would begin before the end of
    the previous one.

    Returns:
        the end of the last frame, and the last decoding time.
    """
    begin: Fraction | None = None
    end = at
    for packet in packets:
        if not packet.size or packet.pts is None or packet.dts is None:
            continue
        base, length = packet.time_base, packet.duration or 0
        if begin is None:
            begin = packet.pts * base
        shift = round((at - begin) / base)
        after = floor(last / base) + 1
        packet.pts, packet.dts = packet.pts + shift, max(packet.dts + shift, after)
        last = packet.dts * base
        end = max(end, (packet.pts + length) * base)
        for converted in convert(packet):
            converted.time_base = base
            converted.stream = copy
            out.mux_one(converted)
    return end, last
