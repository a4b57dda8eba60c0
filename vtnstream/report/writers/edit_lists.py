"""Write segments for editing programs: OpenTimelineIO and, through its adapters, EDL (CMX 3600)
and Final Cut Pro 7 XML. Final Cut Pro X is in :mod:`.fcpxml`.

The sequence has the length and the timecode of its source. Each segment is a clip at its
position in the source, named by its label, with gaps between. Overlapping segments are on
further video tracks. A segment shorter than half a frame contains no frame, and has no clip.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

from vtnstream.optional import require
from vtnstream.report.place import Place
from vtnstream.report.terminal.glyphs import printable
from vtnstream.report.timebase import Timebase, editing_rate
from vtnstream.report.writers.lanes import lanes_of, tracks_of
from vtnstream.report.writers.structured import plain_data
from vtnstream.timecode import drops_frames
from vtnstream.types import Report, Segment

_REEL_LETTERS = 8


@dataclass(frozen=True, slots=True)
class Cut:
    """Frames ``[first, stop)`` of the source, counted from its first."""

    first: int
    stop: int
    segment: Segment

    @property
    def name(self) -> str:
        return printable(self.segment.name) or "-"


@dataclass(frozen=True, slots=True)
class CutList:
    """A video cut into clips.

    Attributes:
        name: of the source.
        rate: frames per second, one that has a timecode.
        drop_frame: whether the source's timecode is drop-frame.
        first_timecode: frames from 00:00:00:00 to the source's first.
        length: frames of the source, as far as they are known.
        rows: video tracks from below; the clips of each are in order and do not overlap.
    """

    name: str
    rate: Fraction
    drop_frame: bool
    first_timecode: int
    length: int
    rows: tuple[tuple[Cut, ...], ...]

    @classmethod
    def of(cls, report: Report, place: Place) -> CutList:
        """Convert the segments of a report to frames.

        Raises:
            OutputError: the frame rate is unknown.
        """
        base = Timebase.need(report)
        rate = editing_rate(base.rate)
        ratio = rate / base.rate

        def frame(seconds: float) -> int:
            if base.constant and ratio.denominator == 1:
                # Use the frame number, because the times of the file are rounded.
                return int(ratio) * (base.frame(seconds) or base.place(seconds))
            return base.at(rate).place(seconds)

        rows = []
        for segments in tracks_of(report.segments or ()).values():
            for lane in lanes_of(segments):
                cuts = (Cut(frame(s.start), frame(s.end), s) for s in lane)
                rows.append(tuple(cut for cut in cuts if cut.first < cut.stop))
        ends = [report.end_seconds, float(report.video.duration_from_header or 0)]
        ends += [s.end for s in report.segments or ()]
        return cls(
            name=printable(place.name),
            rate=rate,
            drop_frame=base.drop_frame if ratio == 1 else drops_frames(rate),
            first_timecode=int(base.first_timecode * ratio),
            length=frame(max(ends)),
            rows=tuple(rows),
        )


def report_otio(report: Report, place: Place) -> str:
    """Write OpenTimelineIO's own JSON."""
    cuts = CutList.of(report, place)
    return f"{_written(_timeline(cuts, place, cuts.rate), 'otio_json').rstrip()}\n"


def report_fcp7(report: Report, place: Place) -> str:
    """Write Final Cut Pro 7 XML, which Premiere and Resolve read."""
    cuts = CutList.of(report, place)
    timeline = _timeline(cuts, place, cuts.rate)
    display = {"fcp_xml": {"timecode": {"displayformat": "DF" if cuts.drop_frame else "NDF"}}}
    timeline.metadata.update(display)
    for clip in timeline.find_clips():
        clip.media_reference.metadata.update(display)
    return f"{_written(timeline, 'fcp_xml').rstrip()}\n"


def report_edl(report: Report, place: Place) -> str:
    """Write CMX 3600: source and record timecode of each segment. The clip's name is that of the
    source, by which editing programs find it; the label is a comment."""
    cuts = CutList.of(report, place)
    # An EDL states no rate; the adapter would use drop-frame for every rate that has it.
    rate = cuts.rate if cuts.drop_frame else Fraction(ceil(cuts.rate))
    head = f"TITLE: {cuts.name}\nFCM: {'' if cuts.drop_frame else 'NON-'}DROP FRAME\n"
    if not any(cuts.rows):
        return head
    timeline = _timeline(cuts, place, rate)
    timeline.name = ""
    for clip in timeline.find_clips():
        comment = f"COMMENT: {clip.name}"
        clip.metadata["cmx_3600"] = {"reel": _reel(cuts.name), "comments": [comment]}
        clip.name = cuts.name
    return f"{head}\n{_written(timeline, 'cmx_3600').strip()}\n"


def runs_over_a_day(report: Report, place: Place) -> bool:
    """Return whether timecode would start again at 00:00:00:00 within the source."""
    cuts = CutList.of(report, place)
    return cuts.first_timecode + cuts.length >= 24 * 3600 * cuts.rate


def _timeline(cuts: CutList, place: Place, rate: Fraction) -> Any:
    otio = require("opentimelineio", "formats")
    schema, opentime = otio.schema, otio.opentime

    def span(first: int, stop: int) -> Any:
        start, length = (opentime.RationalTime(n, float(rate)) for n in (first, stop - first))
        return opentime.TimeRange(start, length)

    timeline = schema.Timeline(cuts.name)
    timeline.global_start_time = opentime.RationalTime(0, float(rate))
    start = cuts.first_timecode
    for number, row in enumerate(cuts.rows or ((),), 1):
        track = schema.Track(f"V{number}", kind=schema.TrackKind.Video)
        timeline.tracks.append(track)
        for first, stop, cut in with_gaps(row):
            if cut is None:
                track.append(schema.Gap(source_range=span(0, stop - first)))
                continue
            source = schema.ExternalReference(place.url, span(start, start + cuts.length))
            source.name = cuts.name
            about = {"vtnstream": _about(cut.segment)}
            clip = schema.Clip(cut.name, source, span(start + first, start + stop), about)
            track.append(clip)
    return timeline


def with_gaps(row: Sequence[Cut]) -> Iterator[tuple[int, int, Cut | None]]:
    """Yield the clips of a row, and the gaps before and between them."""
    end = 0
    for cut in row:
        if cut.first > end:
            yield end, cut.first, None
        yield cut.first, cut.stop, cut
        end = cut.stop


def _about(segment: Segment) -> dict[str, Any]:
    about = {
        "label": printable(segment.label),
        "score": segment.score,
        "start_seconds": segment.start,
        "end_seconds": segment.end,
        "track": segment.track,
    }
    if segment.shot is not None:
        about["shot"] = segment.shot
    plain: dict[str, Any] = plain_data(about)
    return plain


def _written(timeline: Any, adapter: str) -> str:
    otio = require("opentimelineio", "formats")
    text: str = otio.adapters.write_to_string(timeline, adapter)
    return text


def _reel(name: str) -> str:
    """Return a reel name that every EDL reader accepts: up to eight letters and digits."""
    return re.sub(r"[^A-Za-z0-9]", "", name.rpartition(".")[0] or name)[:_REEL_LETTERS] or "AX"
