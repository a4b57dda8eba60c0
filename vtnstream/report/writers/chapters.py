"""Segments as the chapters of a film: as text for ffmpeg, or to be written into a copy.

Chapters follow each other without holes: MP4 keeps only where each begins, and without a
chapter of its own a stretch without a label would count as the one before it, and what lies
before the first as the first.
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
"""Ticks a second that fit what readers make of a time base."""


def chapters_of(report: Report) -> list[Chapter]:
    """The segments of a report, between them chapters named ``background``, and before a range
    that does not begin with the film one that says so.

    Args:
        report: whose segments do not overlap.
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
            chapters.append(Chapter(start, end, printable(segment.label) or "-"))
        begin = max(begin, end)
    last = clock.exact(report.end_seconds)
    if chapters and last > begin:
        chapters.append(Chapter(begin, last, BACKGROUND))
    return chapters


def report_ffmetadata(report: Report) -> str:
    """FFmpeg's text form of metadata; times are exact in its own time base."""
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
