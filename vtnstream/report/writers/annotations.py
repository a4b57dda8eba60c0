"""Segments as annotation tools and evaluation code read them: plain JSON and text.

ActivityNet and FiftyOne take times; MS-TCN and Label Studio count pictures. Label Studio and
FiftyOne number them from 1 and mean the last one too.
"""

from __future__ import annotations

import json
import os
from typing import Any

from vtnstream.labels import BACKGROUND
from vtnstream.report.naming import base_name
from vtnstream.report.place import Place
from vtnstream.report.terminal.glyphs import label_colors, printable
from vtnstream.report.timebase import Timebase
from vtnstream.report.writers.structured import plain_data
from vtnstream.types import Report, Segment

_MSTCN_HEAD = "### Frame level recognition: ###"
_FROM, _TO = "segments", "video"
"""Names of the control and the video in Label Studio's config."""


def report_activitynet(report: Report) -> str:
    """A result file of ActivityNet's ``eval_detection``, for one video."""
    results = [
        {"label": s.label, "score": s.score, "segment": [s.start, s.end]}
        for s in report.segments or ()
    ]
    return _json(
        {
            "version": "VERSION 1.3",
            "results": {_stem(report): results},
            "external_data": {"used": False, "details": str(report.model.get("name", ""))},
        }
    )


def report_mstcn(report: Report) -> str:
    """MS-TCN's recognition file: one label for each picture from the beginning of the video;
    blanks in labels become underscores, as in its data sets."""
    base = Timebase.need(report)
    segments = report.segments or ()
    end = max([report.end_seconds, *(s.end for s in segments)])
    labels = [BACKGROUND] * base.frame(end)
    for segment in segments:
        first, stop = base.frame(segment.start), base.frame(segment.end)
        labels[first:stop] = [_blankless(segment.label)] * (stop - first)
    return f"{_MSTCN_HEAD}\n{' '.join(labels)}\n"


def labels_that_meet(report: Report) -> str | None:
    """Which two labels would become one without their blanks; None where all stay apart."""
    met: dict[str, str] = {}
    for label in dict.fromkeys(s.label for s in report.segments or ()):
        name = _blankless(label)
        if met.setdefault(name, label) != label:
            return f"labels {met[name]!r} and {label!r} would both be {name!r}: rename one"
    return None


def report_label_studio(report: Report, place: Place) -> str:
    """One task of Label Studio with the segments as predictions of ``TimelineLabels``, and in
    its ``meta`` the labelling config that they fit."""
    base = Timebase.need(report)
    result = [
        {
            "id": f"segment-{number}",
            "from_name": _FROM,
            "to_name": _TO,
            "type": "timelinelabels",
            "origin": "prediction",
            "score": segment.score,
            "value": {
                "ranges": [dict(zip(("start", "end"), _pictures(segment, base), strict=True))],
                "timelinelabels": [printable(segment.label)],
            },
        }
        for number, segment in enumerate(report.segments or (), 1)
    ]
    prediction = {"model_version": str(report.model.get("name", "")), "result": result}
    task = {
        "data": {"video": place.name},
        "meta": {"labeling_config": label_studio_config(report)},
        "predictions": [prediction],
    }
    return _json([task])


def label_studio_config(report: Report) -> str:
    """The labelling config of a project that shows the segments."""
    from xml.sax.saxutils import quoteattr

    base = Timebase.need(report)
    names = _labels(report)
    labels = "".join(
        f"<Label value={quoteattr(printable(name))} background={quoteattr(color)}/>"
        for name, color in label_colors(names).items()
        if name in names
    )
    return (
        f'<View><Video name="{_TO}" value="$video" frameRate="{float(base.rate):.6f}"/>'
        f'<TimelineLabels name="{_FROM}" toName="{_TO}">{labels}</TimelineLabels></View>'
    )


def report_fiftyone(report: Report) -> str:
    """Labels of a ``FiftyOneTemporalDetectionDataset``: pictures where their rate is constant,
    else times, which FiftyOne converts itself."""
    base = Timebase.of(report)
    detections = []
    for segment in report.segments or ():
        detection: dict[str, Any] = {"label": segment.label, "confidence": segment.score}
        if base is not None and base.constant:
            detection["support"] = list(_pictures(segment, base))
        else:
            detection["timestamps"] = [segment.start, segment.end]
        if segment.track:
            detection["attributes"] = {"track": segment.track}
        detections.append(detection)
    return _json({"classes": _labels(report), "labels": {_stem(report): detections}})


def _labels(report: Report) -> list[str]:
    return list(dict.fromkeys((*report.labels, *(s.label for s in report.segments or ()))))


def _pictures(segment: Segment, base: Timebase) -> tuple[int, int]:
    """First and last picture of a segment, counted from 1; never none."""
    first, stop = base.frame(segment.start), base.frame(segment.end)
    return first + 1, max(stop, first + 1)


def _blankless(label: str) -> str:
    return "_".join(printable(label).split()) or "_"


def _stem(report: Report) -> str:
    return os.path.splitext(base_name(report.input))[0]


def _json(document: Any) -> str:
    # ASCII only: whatever a label holds, any reader gets it back.
    return json.dumps(plain_data(document), ensure_ascii=True, allow_nan=False, indent=1) + "\n"
