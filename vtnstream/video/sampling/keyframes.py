"""Find the keyframes of a file in the index of its container, without reading packets."""

from __future__ import annotations

from fractions import Fraction

import av.error

from vtnstream.video.container import OpenedVideo
from vtnstream.video.probe import StreamFacts

_MOST_REORDERED = Fraction(1)
"""Seconds; a longer distance between the first keyframe and the start of the video is no effect of
reordered frames."""


def keyframe_times(video: OpenedVideo, facts: StreamFacts) -> list[Fraction]:
    """Return the player times of keyframes, increasing; empty if the container has no index.

    They are for plans only: indices may be wrong, and those of MP4 have decoding times. The video
    must be closed afterwards, because reading continues elsewhere.
    """
    stream = video.stream
    end = facts.header_end or facts.container_end
    if not facts.seekable or end is None:
        return []
    try:
        # Matroska reads its index only before it seeks.
        video.container.seek(int((end + facts.start) / facts.time_base), stream=stream)
    except (av.error.FFmpegError, OSError):
        return []
    ticks = sorted({entry.timestamp for entry in stream.index_entries if entry.is_keyframe})
    times = [facts.player_time(tick) for tick in ticks]
    # The first frame is displayed at the start, so its time is the delay of decoding times.
    delay = -times[0] if times and abs(times[0]) <= _MOST_REORDERED else Fraction(0)
    return [time + delay for time in times]
