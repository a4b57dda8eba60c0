"""Write segments as XML for annotation tools: ELAN and CVAT."""

from __future__ import annotations

import mimetypes
from xml.etree import ElementTree

from vtnstream.optional import require
from vtnstream.report.place import Place
from vtnstream.report.terminal.glyphs import label_colors, printable
from vtnstream.report.timebase import Clock, Timebase
from vtnstream.report.writers.annotations import num_frames
from vtnstream.report.writers.lanes import rows_of
from vtnstream.types import Report


def report_eaf(report: Report, place: Place) -> str:
    """Write an ELAN annotation file: one tier, or one for each label if classes overlap.

    Times are milliseconds, rounded down at both ends.
    """
    elan = require("pympi.Elan", "formats")
    document = elan.Eaf(author="vtnstream")
    mime = mimetypes.guess_type(place.name)[0] or "video/*"
    document.add_linked_file(place.url, relpath=place.relative, mimetype=mime)
    document.remove_tier("default")
    clock = Clock.of(report.video)
    for name, segments in rows_of(report.segments or ()).items():
        document.add_tier(name)
        for segment in segments:
            start, end = clock.milliseconds(segment.start), clock.milliseconds(segment.end)
            if start < end:
                document.add_annotation(name, start, end, printable(segment.label))
    text: str = elan.to_string(document)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text.strip()}\n'


def report_cvat(report: Report) -> str:
    """Write CVAT for video 1.1.

    Each segment is a track whose box is the whole frame, from its first frame to the frame after
    its last, which is marked as outside.

    Raises:
        OutputError: frames were not counted.
    """
    base = Timebase.need(report)
    root = ElementTree.Element("annotations")
    _leaf(root, "version", "1.1")
    count = num_frames(report, base)
    if report.frames is None or report.frames.until is not None:
        # Only a part of the video was read, so the number of frames comes from the header.
        count = max(count, report.video.num_frames_from_header or 0)
    _task(root, report, count)
    for number, segment in enumerate(report.segments or ()):
        track = ElementTree.SubElement(
            root, "track", id=str(number), label=printable(segment.label), source="auto"
        )
        span = base.frames_of(segment)
        assert span is not None
        _box(track, report, span[0], outside=False)
        if span[1] < count:
            _box(track, report, span[1], outside=True)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _task(root: ElementTree.Element, report: Report, num_frames_in_all: int) -> None:
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    _leaf(task, "name", printable(report.input))
    _leaf(task, "size", str(num_frames_in_all))
    _leaf(task, "mode", "interpolation")
    labels = ElementTree.SubElement(task, "labels")
    used = {s.label for s in report.segments or ()}
    for label, color in label_colors([*report.labels, *sorted(used)]).items():
        if label in used:
            item = ElementTree.SubElement(labels, "label")
            _leaf(item, "name", printable(label))
            _leaf(item, "color", color)
            ElementTree.SubElement(item, "attributes")
    size = ElementTree.SubElement(task, "original_size")
    _leaf(size, "width", str(report.video.width))
    _leaf(size, "height", str(report.video.height))


def _box(track: ElementTree.Element, report: Report, frame: int, *, outside: bool) -> None:
    ElementTree.SubElement(
        track,
        "box",
        frame=str(frame),
        keyframe="1",
        outside=str(int(outside)),
        occluded="0",
        xtl="0.00",
        ytl="0.00",
        xbr=f"{report.video.width:.2f}",
        ybr=f"{report.video.height:.2f}",
        z_order="0",
    )


def _leaf(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = text
