"""Count the frames of a video, for results about it."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from math import ceil
from pathlib import Path

from vtnstream.errors import VideoError
from vtnstream.transport.address import is_address
from vtnstream.types import FrameIndex, TokenTimes, VideoInfo
from vtnstream.video.sampling.counting import count_frames


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
    if known is not None and known.covers(_tick(last, info)):
        return known
    if is_address(path) or not Path(path).is_file():
        return known
    found = None
    with suppress(VideoError):
        # The end of a range is counted too: the frame after it begins the next one.
        until = Fraction(ceil(last) + 1)
        found = count_frames(path, stream=info.stream_index, until=until)
    return found or known


def _tick(seconds: Fraction, info: VideoInfo) -> Fraction:
    return (seconds + info.start_seconds) / info.time_base
