"""Write segments as subtitles, for players: SubRip and WebVTT.

Each segment is one cue with its label and score, in player time. Times are rounded down to
milliseconds at both ends, so that consecutive cues do not overlap; cues of overlapping segments
do, and players stack them.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from datetime import timedelta

from vtnstream.report.facts import percent
from vtnstream.report.terminal.glyphs import printable
from vtnstream.report.timebase import Clock
from vtnstream.types import Report, Segment

# SubRip has no escapes, and players take these for tags: full-width forms say the same.
_HARMLESS = str.maketrans("<>{}", "＜＞｛｝")


def report_srt(report: Report) -> str:
    """Write the segments as SubRip."""
    import srt

    cues = [
        srt.Subtitle(
            number,
            timedelta(milliseconds=start),
            timedelta(milliseconds=end),
            text.translate(_HARMLESS),
        )
        for number, (start, end, text) in enumerate(_cues(report), 1)
    ]
    return str(srt.compose(cues, reindex=False))


def report_vtt(report: Report) -> str:
    """Write the segments as WebVTT."""
    import webvtt

    document = webvtt.WebVTT()
    for start, end, text in _cues(report):
        cue = webvtt.Caption(_timestamp(start), _timestamp(end), html.escape(text, quote=False))
        document.captions.append(cue)
    return f"{document.content.rstrip()}\n"


def _cues(report: Report) -> Iterator[tuple[int, int, str]]:
    """Yield start and end in milliseconds, and the text of each cue."""
    clock = Clock.of(report.video)
    for segment in report.segments or ():
        start, end = clock.milliseconds(segment.start), clock.milliseconds(segment.end)
        if start < end:
            yield start, end, _text(segment)


def _text(segment: Segment) -> str:
    score = f"({percent(segment.score)})" if segment.score == segment.score else ""
    track = f"[{segment.track}]" if segment.track else ""
    parts = (track, printable(segment.name).strip(), score)
    return " ".join(part for part in parts if part) or "-"


def _timestamp(milliseconds: int) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}.{milliseconds:03d}"
