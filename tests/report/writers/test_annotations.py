"""Annotation files, read by the libraries of their tools."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pympi
import pytest
from labelformat.formats.activitynet import ActivityNetTemporalClassificationInput
from labelformat.formats.cvat import CVATObjectDetectionInput

from tests.report.cases import REPORT, VIDEO, report
from tests.report.videos import COUNT, Case
from vtnstream.report.place import Place
from vtnstream.report.writers.annotations import (
    label_studio_config,
    labels_that_meet,
    report_activitynet,
    report_fiftyone,
    report_label_studio,
    report_mstcn,
)
from vtnstream.report.writers.xml_annotations import report_cvat, report_eaf
from vtnstream.types import Report, Segment

ODD = ("<a> & 'b'", 'x"y', "two\nlines", "\x00", "切", "", "=1+1", "\ud800")
OVERLAPPING = (
    Segment(0.0, 4.0, "person", 0.9),
    Segment(1.0, 2.0, "car", 0.8),
    Segment(3.0, 5.0, "person", 0.7),
)


def place_of(one: Report) -> Place:
    return Place.of(one, Path("results"))


def odd() -> Report:
    return report(segments=tuple(Segment(k, k + 1, label, 0.5) for k, label in enumerate(ODD)))


def test_activitynet(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(report_activitynet(case.report), encoding="utf-8")
    (video,) = ActivityNetTemporalClassificationInput(path).get_labels()
    assert video.video_id == case.path.stem
    found = [(e.start_time_s, e.end_time_s, e.category.name) for e in video.events]
    for (start, end, label), (a, b, name) in zip(found, case.spans, strict=True):
        assert (start, end) == pytest.approx((a, b), abs=5e-7)
        assert label == name


def test_activitynet_calls_its_files_v_and_the_id() -> None:
    found = json.loads(report_activitynet(report(input="films/v_x1-_abcdefg.mp4")))["results"]
    assert list(found) == ["x1-_abcdefg"]


def test_activitynet_keeps_any_label() -> None:
    found = json.loads(report_activitynet(odd()))["results"]["movie"]
    assert [item["label"] for item in found] == list(ODD)


# ------------------------------------------------------------------------------- MS-TCN


def mstcn_labels(text: str) -> list[str]:
    """Read a recognition file as MS-TCN's ``eval.py`` does."""
    return text.split("\n")[1].split()


def test_mstcn_has_one_label_per_frame(case: Case) -> None:
    labels = mstcn_labels(report_mstcn(case.report))
    wanted = ["background"] * COUNT
    for first, stop, label in case.cuts:
        wanted[first:stop] = ["_".join(label.split())] * (stop - first)
    assert labels == wanted


def test_labels_that_would_become_equal_are_refused() -> None:
    clash = (Segment(0, 1, "a b", 1), Segment(1, 2, "a  b", 1))
    assert "'a b' and 'a  b' would both be 'a_b'" in (
        labels_that_meet(report(segments=clash)) or ""
    )
    assert labels_that_meet(odd()) is None
    assert len(set(mstcn_labels(report_mstcn(odd())))) == len(ODD) + 1  # and background


# --------------------------------------------------------------------------------- ELAN


def tiers(text: str, tmp_path: Path) -> dict[str, list[tuple[int, int, str]]]:
    path = tmp_path / "film.eaf"
    path.write_text(text, encoding="utf-8")
    read = pympi.Elan.Eaf(str(path))
    return {
        name: [row[:3] for row in read.get_annotation_data_for_tier(name)]
        for name in read.get_tier_names()
    }


def test_eaf(case: Case, tmp_path: Path) -> None:
    text = report_eaf(case.report, Place.of(case.report, case.path.parent))
    assert tiers(text, tmp_path) == {
        "segments": [(int(a * 1000), int(b * 1000), label) for a, b, label in case.spans]
    }
    media = ElementTree.fromstring(text).find(".//MEDIA_DESCRIPTOR")
    assert media is not None
    assert media.get("MEDIA_URL") == case.path.as_uri()
    assert media.get("RELATIVE_MEDIA_URL") == "./" + case.path.name.replace(" ", "%20")


def test_eaf_has_one_tier_per_overlapping_class(tmp_path: Path) -> None:
    one = report(segments=OVERLAPPING, video=dataclasses.replace(VIDEO, start_seconds=Fraction(0)))
    assert tiers(report_eaf(one, place_of(one)), tmp_path) == {
        "person": [(0, 4000, "person")],
        "person (2)": [(3000, 5000, "person")],
        "car": [(1000, 2000, "car")],
    }
    (found,) = tiers(report_eaf(odd(), place_of(odd())), tmp_path).values()
    assert len(found) == len(ODD) and found[0][2] == ODD[0] and found[2][2] == r"two\nlines"


# --------------------------------------------------------------------------------- CVAT


def test_cvat(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "annotations.xml"
    path.write_text(report_cvat(case.report), encoding="utf-8")
    names = {category.name for category in CVATObjectDetectionInput(path).get_categories()}
    assert names == {label for *_, label in case.cuts}
    root = ElementTree.parse(path).getroot()
    size = int(root.findtext("meta/task/size") or 0)
    found = []
    for track in root.iter("track"):
        begin, *rest = track.findall("box")
        assert begin.get("outside") == "0" and [box.get("outside") for box in rest] in ([], ["1"])
        assert (begin.get("xbr"), begin.get("ybr")) == ("128.00", "96.00")
        stop = int(rest[0].get("frame", "")) if rest else size
        found.append((int(begin.get("frame", "")), stop, track.get("label")))
    assert found == list(case.cuts) and size == COUNT


def test_datumaro_reads_cvat(tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro")
    (tmp_path / "annotations.xml").write_text(report_cvat(REPORT), encoding="utf-8")
    dataset = datumaro.Dataset.import_from(str(tmp_path), "cvat")
    labels = [label.name for label in dataset.categories()[datumaro.AnnotationType.label]]
    assert set(labels) >= {"preparation", "dissection", "clipping", "packaging"}


# ------------------------------------------------------------------------- Label Studio


def ranges(text: str) -> list[tuple[int, int, str]]:
    (task,) = json.loads(text)
    (prediction,) = task["predictions"]
    found = []
    for item in prediction["result"]:
        (span,) = item["value"]["ranges"]
        (label,) = item["value"]["timelinelabels"]
        found.append((span["start"], span["end"], label))
    return found


def test_label_studio_counts_from_1_and_includes_the_last(case: Case) -> None:
    found = ranges(report_label_studio(case.report, place_of(case.report)))
    assert found == [(a + 1, b, label) for a, b, label in case.cuts]


def test_label_studio_config_names_every_label() -> None:
    root = ElementTree.fromstring(label_studio_config(odd()))
    names = [label.get("value") for label in root.iter("Label")]
    assert {*ODD[:2], *REPORT.labels} < set(names)
    assert root.find("Video").get("frameRate") == "29.970030"  # type: ignore[union-attr]


def test_label_studios_own_library_accepts_the_predictions() -> None:
    interface = pytest.importorskip("label_studio_sdk.label_interface").LabelInterface
    for one in (REPORT, odd()):
        (task,) = json.loads(report_label_studio(one, place_of(one)))
        config = interface(task["meta"]["labeling_config"])
        assert config.validate_prediction(task["predictions"][0])


# ----------------------------------------------------------------------------- FiftyOne


def detections(text: str) -> list[dict[str, Any]]:
    document = json.loads(text)
    (found,) = document["labels"].values()
    return list(found)


def test_fiftyone_has_frames(case: Case) -> None:
    found = detections(report_fiftyone(case.report))
    spans = [(*d["support"], d["label"]) for d in found]
    assert spans == [(a + 1, b, label) for a, b, label in case.cuts]


def test_fiftyone_has_times_if_frames_were_not_counted(case: Case) -> None:
    uncounted = dataclasses.replace(case.report, frame_rate=None, frames=None)
    found = detections(report_fiftyone(uncounted))
    for detection, (start, end, label) in zip(found, case.spans, strict=True):
        assert detection["timestamps"] == pytest.approx([start, end], abs=5e-7)
        assert detection["label"] == label


def test_fiftyone_itself_reads_it(case: Case, tmp_path: Path) -> None:
    importers = pytest.importorskip("fiftyone.utils.data.importers")
    path = tmp_path / "labels.json"
    path.write_text(report_fiftyone(case.report), encoding="utf-8")
    importer = importers.FiftyOneTemporalDetectionDatasetImporter(
        data_path=str(case.path.parent), labels_path=str(path)
    )
    with importer:
        ((video, _, found, _),) = list(importer)
    assert video == str(case.path)
    if case.rate is not None:
        spans = [(*d.support, d.label) for d in found.detections]
        assert spans == [(a + 1, b, label) for a, b, label in case.cuts]


@pytest.mark.parametrize("render", [report_fiftyone, report_activitynet])
def test_json_keeps_any_label_and_no_nan(render: Any) -> None:
    one = report(segments=tuple(Segment(0, 1, label, float("nan")) for label in ODD))
    text = render(one)
    assert text.isascii()
    json.loads(text, parse_constant=lambda name: pytest.fail(name))
