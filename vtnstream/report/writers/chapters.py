"""Write segments as chapters: as text for ffmpeg, or into a copy of the video.

Chapters follow each other without gaps, because MP4 stores only their starts: a stretch without
a chapter of its own would belong to the chapter before it, or at the beginning to the first.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from vtnstream.labels import BACKGROUND
from vtnstream.report.terminal.glyphs import printable
from vtnstream.report.timebase import Clock
from vtnstream.types import Chapter, Report

_SPECIAL = re.compile(r"([=;#\\])")
_BEFORE = "(not analysed)"
_FINEST_CLOCK = 1_000_000_000
"""Largest number of ticks per second that readers support in a time base."""


def chapters_of(report: Report) -> list[Chapter]:
    """Return the segments as chapters, with chapters named ``background`` between them.

    If the analysed range does not begin with the video, the first chapter says so.

    Args:
        report: a report whose segments do not overlap.
    """
    clock = Clock.of(report.video)
    chapters: list[Chapter] = []
    begin = clock.exact(report.start_seconds)
    if report.segments and begin > report.video.first_frame_seconds:
        chapters.append(Chapter(Fraction(0), begin, _BEFORE))
    for segment in sorted(report.segments or (), key=lambda s: s.start):
        start, end = clock.exact(segment.start), clock.exact(segment.end)
        if start > begin:
            chapters.append(Chapter(begin, start, BACKGROUND))
        if end > start:
            chapters.append(Chapter(start, end, printable(segment.name) or "-"))
        begin = max(begin, end)
    last = clock.exact(report.end_seconds)
    if chapters and last > begin:
        chapters.append(Chapter(begin, last, BACKGROUND))
    return chapters


def report_ffmetadata(report: Report) -> str:
    """Write FFmpeg's metadata text; times are exact in its own time base."""
    chapters = chapters_of(report)
    clock = math.lcm(*(t.denominator for c in chapters for t in (c.start, c.end)), 1)
    clock = min(clock, _FINEST_CLOCK)
    lines = [";FFMETADATA1"]
    for chapter in chapters:
        lines += [
            "[CHAPTER]",
            f"TIMEBASE=1/{clock}",
            f"START={int(chapter.start * clock)}",
            f"END={int(chapter.end * clock)}",
            "title=" + _SPECIAL.sub(r"\\\1", chapter.title),
        ]
    return "\n".join(lines) + "\n"
