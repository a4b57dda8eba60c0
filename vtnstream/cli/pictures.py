"""Thumbnails for a report: of all segments for a page, of the best ones for the terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.fields import option
from vtnstream.errors import VtnstreamError
from vtnstream.types import Report, Thumbnail

thumbnails_option = option(
    "--thumbnails/--no-thumbnails",
    section="Output",
    default=None,
    help="Show thumbnails of the best segments in the terminal [default: those of a search, where "
    "the terminal shows images or 24-bit colour].",
)


def illustrated(report: Report, screen: Any, console: Console, *, wanted: bool | None) -> Report:
    """Return the report with thumbnails of the segments that a terminal shows them of.

    Args:
        report: the report.
        screen: a rich console, where the report will be printed.
        console: prints a message if thumbnails were asked for and there are none.
        wanted: the value of ``--thumbnails``; None shows them for a search.
    """
    is_search = any(segment.rank is not None for segment in report.segments or ())
    if wanted is False or not report.segments or (wanted is None and not is_search):
        return report
    from vtnstream.report.terminal.pictures import pictured, way_to_draw

    if way_to_draw(screen) is None:
        if wanted:
            console.warn("no thumbnails: standard output shows neither images nor 24-bit colour")
        return report
    video = Path(report.input)
    if wanted and not video.is_file():
        console.warn(f"no thumbnails: {report.input} is no file")
    return with_thumbnails(report, pictured(report), video, console)


def with_thumbnails(
    report: Report, numbers: Sequence[int], video: Path, console: Console
) -> Report:
    """Return the report with a thumbnail of each segment in ``numbers``, if the video is found."""
    if not numbers or not report.segments or not video.is_file():
        return report
    from vtnstream.video.thumbnails import thumbnails

    spans = [(report.segments[number].start, report.segments[number].end) for number in numbers]
    try:
        found = thumbnails(video, spans, stream=report.video.stream_index)
    except VtnstreamError as error:
        console.warn(f"no thumbnails: {error}")
        return report
    pictures: list[Thumbnail | None] = [None] * len(report.segments)
    for number, picture in zip(numbers, found, strict=True):
        pictures[number] = picture
    return dataclasses.replace(report, thumbnails=tuple(pictures))
