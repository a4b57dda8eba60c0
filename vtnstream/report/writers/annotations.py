"""Write segments for annotation tools and evaluation code, as plain JSON and text.

ActivityNet uses times; MS-TCN, Label Studio and FiftyOne use frame numbers. In Label Studio and
FiftyOne frames are numbered from 1, and the last one is included.
"""

from __future__ import annotations

import json
import os
from typing import Any

from vtnstream.errors import OutputError
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
    """Write a result file of ActivityNet's ``eval_detection``, for one video.

    Its files are called ``v_ID.mp4``, and its annotations ``ID``.
    """
    results = [
        {"label": s.label, "score": s.score, "segment": [s.start, s.end]}
        for s in report.segments or ()
    ]
    return _json(
        {
            "version": "VERSION 1.3",
            "results": {_stem(report).removeprefix("v_"): results},
            "external_data": {"used": False, "details": str(report.model.get("name", ""))},
        }
    )


def report_mstcn(report: Report) -> str:
    """Write MS-TCN's recognition file: one label for each frame from the beginning of the video.

    Blanks in labels become underscores, as in its data sets.

    Raises:
        OutputError: frames were not counted.
    """
    base = Timebase.need(report)
    segments = report.segments or ()
    labels = [BACKGROUND] * num_frames(report, base)
    for segment in segments:
        first, stop = base.frame(segment.start) or 0, base.frame(segment.end) or 0
        labels[first:stop] = [_without_blanks(segment.label)] * len(labels[first:stop])
    return f"{_MSTCN_HEAD}\n{' '.join(labels)}\n"


def num_frames(report: Report, base: Timebase) -> int:
    """Return the number of counted frames of the video.

    Raises:
        OutputError: frames were not counted.
    """
    if report.frames is not None:
        return report.frames.count
    end = max([report.end_seconds, *(s.end for s in report.segments or ())])
    count = base.frame(end)
    if count is None:
        raise OutputError(f"{report.input}: the frames of the video were not counted")
    return count


def labels_that_meet(report: Report) -> str | None:
    """Return an error about two labels that differ only in blanks; None if there are none."""
    met: dict[str, str] = {}
    for label in dict.fromkeys(s.label for s in report.segments or ()):
        name = _without_blanks(label)
        if met.setdefault(name, label) != label:
            return f"labels {met[name]!r} and {label!r} would both be {name!r}: rename one"
    return None


def report_label_studio(report: Report, place: Place) -> str:
    """Write one task of Label Studio with the segments as predictions of ``TimelineLabels``.

    The task's ``meta`` holds the labelling config that they need.
    """
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
                "ranges": [_support(segment, base, ("start", "end"))],
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
    """Return the labelling config of a project that shows the segments."""
    from xml.sax.saxutils import quoteattr

    base = Timebase.need(report)
    rate = float(base.rate)
    if not base.constant and report.frames and report.end_seconds > 0:
        rate = report.frames.count / report.end_seconds
    names = _labels(report)
    labels = "".join(
        f"<Label value={quoteattr(printable(name))} background={quoteattr(color)}/>"
        for name, color in label_colors(names).items()
        if name in names
    )
    return (
        f'<View><Video name="{_TO}" value="$video" frameRate="{rate:.6f}"/>'
        f'<TimelineLabels name="{_FROM}" toName="{_TO}">{labels}</TimelineLabels></View>'
    )


def report_fiftyone(report: Report) -> str:
    """Write labels of a ``FiftyOneTemporalDetectionDataset``.

    They have frame numbers if frames were counted, else times, which FiftyOne converts itself.
    """
    base = Timebase.of(report)
    detections = []
    for segment in report.segments or ():
        detection: dict[str, Any] = {"label": segment.label, "confidence": segment.score}
        span = base.frames_of(segment) if base is not None else None
        if span is not None:
            detection["support"] = [span[0] + 1, span[1]]
        else:
            detection["timestamps"] = [segment.start, segment.end]
        if segment.track:
            detection["attributes"] = {"track": segment.track}
        detections.append(detection)
    return _json({"classes": _labels(report), "labels": {_stem(report): detections}})


def _labels(report: Report) -> list[str]:
    return list(dict.fromkeys((*report.labels, *(s.label for s in report.segments or ()))))


def _support(segment: Segment, base: Timebase, names: tuple[str, str]) -> dict[str, int]:
    """Return the first and last frame of a segment, counted from 1."""
    span = base.frames_of(segment)
    assert span is not None
    return {names[0]: span[0] + 1, names[1]: span[1]}


def _without_blanks(label: str) -> str:
    return "_".join(printable(label).split()) or "_"


def _stem(report: Report) -> str:
    return os.path.splitext(base_name(report.input))[0]


def _json(document: Any) -> str:
    # ASCII only, so that every reader restores any label.
    return json.dumps(plain_data(document), ensure_ascii=True, allow_nan=False, indent=1) + "\n"
