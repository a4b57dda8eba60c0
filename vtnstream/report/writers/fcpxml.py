"""Write segments as a project of Final Cut Pro X.

OpenTimelineIO's adapter is not used: at 23.976 and 29.97 it leaves the frame duration empty and
counts lanes in whole frames per second, and it runs ffprobe on any path. Elements and attributes
are those of Apple's FCPXML reference, version 1.8; times are exact fractions of a second.
"""

from __future__ import annotations

from fractions import Fraction
from xml.etree import ElementTree

from vtnstream.report.facts import percent
from vtnstream.report.place import Place
from vtnstream.report.writers.edit_lists import Cut, CutList, with_gaps
from vtnstream.types import Report

Element = ElementTree.Element
_FORMAT, _ASSET = "r1", "r2"


def report_fcpxml(report: Report, place: Place) -> str:
    """Write one project with the clips in its storyline, overlapping ones in lanes above it."""
    cuts = CutList.of(report, place)
    root = Element("fcpxml", version="1.8")
    _resources(root, report, cuts, place)
    event = _child(_child(root, "library"), "event", name="vtnstream")
    project = _child(event, "project", name=cuts.name)
    sequence = _child(
        project,
        "sequence",
        format=_FORMAT,
        duration=_time(cuts, cuts.length),
        tcStart="0s",
        tcFormat=_tc_format(cuts),
    )
    spine = _child(sequence, "spine")
    if len(cuts.rows) == 1:
        for first, stop, cut in with_gaps(cuts.rows[0]):
            _item(spine, cuts, first, stop, cut)
    else:
        # All clips are attached to one gap of the length of the source, and use its times.
        whole = _item(spine, cuts, 0, max(cuts.length, 1), None)
        for lane, row in enumerate(cuts.rows, 1):
            for cut in row:
                _item(whole, cuts, cut.first, cut.stop, cut).set("lane", str(lane))
    ElementTree.indent(root, "    ")
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n{text}\n'


def _resources(root: Element, report: Report, cuts: CutList, place: Place) -> None:
    resources = _child(root, "resources")
    _child(
        resources,
        "format",
        id=_FORMAT,
        frameDuration=_seconds(1 / cuts.rate),
        width=str(report.video.width),
        height=str(report.video.height),
    )
    asset = _child(
        resources,
        "asset",
        id=_ASSET,
        name=cuts.name,
        src=place.url,
        start=_time(cuts, cuts.first_timecode),
        duration=_time(cuts, cuts.length),
        hasVideo="1",
        format=_FORMAT,
    )
    if report.video.has_audio:
        asset.set("hasAudio", "1")


def _item(parent: Element, cuts: CutList, first: int, stop: int, cut: Cut | None) -> Element:
    """Add a clip or a gap at frame ``first`` of its parent."""
    times = {"offset": _time(cuts, first), "duration": _time(cuts, stop - first)}
    if cut is None:
        return _child(parent, "gap", name="Gap", start="0s", **times)
    clip = _child(
        parent,
        "asset-clip",
        ref=_ASSET,
        name=cut.name,
        start=_time(cuts, cuts.first_timecode + first),
        format=_FORMAT,
        tcFormat=_tc_format(cuts),
        **times,
    )
    _child(clip, "note").text = percent(cut.segment.score)
    return clip


def _child(parent: Element, tag: str, **attributes: str) -> Element:
    return ElementTree.SubElement(parent, tag, attributes)


def _time(cuts: CutList, frames: int) -> str:
    return _seconds(frames / cuts.rate)


def _seconds(time: Fraction) -> str:
    return (
        f"{time.numerator}s" if time.denominator == 1 else f"{time.numerator}/{time.denominator}s"
    )


def _tc_format(cuts: CutList) -> str:
    return "DF" if cuts.drop_frame else "NDF"
