"""``--labels`` of ``timeline`` and ``classify``: examples, words, and training from the result."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from tests.cli.conftest import Outcome
from tests.search.scenes import write_scenes

Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes") / "scenes.mp4")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.getbasetemp() / "labels-cache"
    monkeypatch.setenv("VTNSTREAM_CACHE_DIR", str(folder))


@pytest.fixture
def labels(scenes: Path, tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text(f"first = @{scenes}@1-3\nthird = @{scenes}@13-15\n", "utf-8")
    return path


def document(outcome: Outcome) -> Any:
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def spans(report: Any, label: str) -> list[Any]:
    """Return the segments of a label; smoothing moves their ends by up to half its window."""
    return [
        pytest.approx((s["start"], s["end"]), abs=1.5)
        for s in report["segments"]
        if s["label"] == label
    ]


def test_prototypes_make_a_timeline(
    scenes: Path, labels: Path, model_folder: Path, run: Run
) -> None:
    report = document(
        run("timeline", scenes, "--labels", labels, "-m", model_folder, "--json", "-q")
    )
    assert spans(report, "first") == [(0, 6), (24, 30)]
    assert spans(report, "third") == [(12, 18)]
    assert report["score_name"] == "match"
    assert report["classes"][0]["label"] == "first"
    assert 0.2 < report["classes"][0]["score"] < 0.6  # two of five scenes
    assert report["settings"]["tracks"] == ["match"]


def test_labels_with_a_backbone_alone(scenes: Path, labels: Path, run: Run) -> None:
    backbone = ("--backbone", "test_vit", "--backbone-arg", "img_size=64")
    command = ("timeline", scenes, "--labels", labels, *backbone, "--fps", "2")
    report = document(run(*command, "--dtype", "float32", "--json", "-q"))
    assert spans(report, "first") == [(0, 6), (24, 30)]
    assert spans(report, "third") == [(12, 18)]
    assert report["classes"][0]["label"] == "first" and report["score_name"] == "match"
    assert report["model"]["name"] == "test_vit"


def matroska(source: Path, target: Path) -> Path:
    """The same packets in a file that can be read as it grows."""
    with av.open(str(source)) as read, av.open(str(target), "w") as written:
        stream = written.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                written.mux(packet)
    return target


@pytest.mark.parametrize("more", [(), ("--multi-label",)])
def test_a_stream_is_labelled_while_it_arrives(
    scenes: Path,
    labels: Path,
    model_folder: Path,
    run: Run,
    tmp_path: Path,
    more: tuple[str, ...],
) -> None:
    video = matroska(scenes, tmp_path / "scenes.mkv")
    command = ("timeline", video, "--labels", labels, "-m", model_folder, "-q", *more)
    outcome = run(*command, "--follow", "--follow-timeout", "1s")
    assert outcome.code == 0, outcome.err
    events = [json.loads(line) for line in outcome.out.splitlines()]
    final = [event for event in events if event["event"] == "segment" and event["final"]]
    assert events[0]["track"] == "match" and {"first", "third"} <= set(events[0]["labels"])
    late = [event for event in final if event["start"] >= 18]
    assert {event["label"] for event in late} == {"first"}  # the scene that comes again
    assert late[-1]["end"] == pytest.approx(30, abs=0.3)
    assert all(a["start"] <= b["start"] for a, b in itertools.pairwise(final))
    result = events[-1]
    assert result["event"] == "result" and result["score_name"] == "match"
    whole = {c["label"]: c["score"] for c in document(run(*command, "--json"))["classes"]}
    found = {c["label"]: c["score"] for c in result["classes"]}
    assert found == pytest.approx(whole, abs=1e-3)


def test_labels_may_overlap(scenes: Path, labels: Path, model_folder: Path, run: Run) -> None:
    labels.write_text(labels.read_text("utf-8") + f"again = @{scenes}@2-4\n", "utf-8")
    command = ("timeline", scenes, "--labels", labels, "-m", model_folder, "--json", "-q")
    report = document(run(*command, "--multi-label"))
    assert spans(report, "first") == [(0, 6), (24, 30)]
    assert spans(report, "again") == [(0, 6), (24, 30)]
    assert {c["label"]: c["score"] > 0.5 for c in report["classes"]} == {
        "first": True,
        "third": True,
        "again": True,
    }


def test_classes_without_a_timeline(
    scenes: Path, labels: Path, model_folder: Path, run: Run
) -> None:
    command = ("classify", scenes, "--labels", labels, "-m", model_folder, "--json", "-q")
    report = document(run(*command))
    assert report["segments"] is None and report["classes"][0]["label"] == "first"
    late = document(run(*command, "--start", "12", "--end", "18"))
    assert late["classes"][0]["label"] == "third" and late["classes"][0]["score"] > 0.8


def test_localisation_options_work_on_matches(
    scenes: Path, labels: Path, model_folder: Path, run: Run
) -> None:
    command = ("timeline", scenes, "--labels", labels, "-m", model_folder, "--json", "-q")
    report = document(run(*command, "--viterbi", "3", "--background", "--merge-gap", "20"))
    assert {s["label"] for s in report["segments"]} <= {"background", "first", "third"}
    assert spans(report, "first") == [(0, 30)]


def test_from_an_answer_to_a_model(
    scenes: Path, labels: Path, model_folder: Path, run: Run, tmp_path: Path
) -> None:
    """The loop of docs/howto/search.md: label, correct, train, use the model."""
    out = tmp_path / "answers"
    command = ("timeline", scenes, "--labels", labels, "-m", model_folder, "-q")
    assert run(*command, "-f", "train-csv", "-o", out).code == 0
    annotations = out / "scenes.mp4.train.csv"
    with annotations.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["first", "third", "first"]
    assert (out / rows[0]["path"]).samefile(scenes)
    rows[1]["label"] = "corner"  # the correction
    with annotations.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    trained = run(
        "train", annotations, "--backbone", "test_vit", "--backbone-arg", "img_size=64",
        "--size", "64", "--resize", "64", "--epochs", "1", "--fps", "2", "--validation", "0",
        "-o", tmp_path / "model", "-q",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    report = document(run("timeline", scenes, "-m", tmp_path / "model", "--json", "-q"))
    assert {"corner", "first"} <= set(report["labels"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--labels", ""), "no label"),
        (("--labels", "a; a"), "named twice"),
        (("--labels", "absent.txt"), "no such labels file"),
        (("--labels", "a; b"), "understands no words"),
        (("--labels", "a", "--window", "8"), "--window is for a trained head"),
        (("--labels", "a", "--localize", "dense"), "--localize is for a trained head"),
        (("--labels", "a", "--whole"), "--whole cannot be used with --labels"),
        (("--labels", "a", "--method", "end-to-end"), "--method cannot be used with --labels"),
        (("--labels", "a = @gone.mp4@1-2"), "gone.mp4: No such file"),
        (("--multi-label",), "--multi-label needs --labels"),
        (("--weights", "x.pth"), "--weights needs --labels"),
        (("--labels", "a", "--backbone", "test_vit"), "exclude each other"),
    ],
)
def test_wrong_requests_are_one_line(
    arguments: tuple[str, ...], message: str, scenes: Path, model_folder: Path, run: Run
) -> None:
    outcome = run("timeline", scenes, "-m", model_folder, *arguments)
    assert outcome.code in (1, 2)
    (line,) = outcome.errors
    assert message in line
