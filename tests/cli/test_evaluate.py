"""``vtnstream evaluate`` of a model and of its stored predictions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from vtnstream.cli.confusion import print_confusion
from vtnstream.cli.framework.console import Console
from vtnstream.config import HeadConfig

from .conftest import Outcome

Run = Callable[..., Outcome]


@pytest.fixture
def phases(tmp_path: Path, video: Path) -> Path:
    path = tmp_path / "phases.csv"
    path.write_text(
        f"path,start,end,label,split\n{video},0,20,dark,test\n{video},20,40,light,test\n"
    )
    return path


def test_a_model_and_its_stored_answers_score_alike(
    run: Run, phases: Path, video: Path, model_folder: Path, tmp_path: Path
) -> None:
    asked = run("evaluate", phases, "--model", model_folder, "--phases", "--json")
    assert asked.code == 0, asked.err
    live = json.loads(asked.out)
    assert run("timeline", video, "--model", model_folder, "-o", tmp_path / "said").code == 0
    stored = json.loads(
        run("evaluate", phases, "--predictions", tmp_path / "said", "--phases", "--json").out
    )
    assert live["videos"] == stored["videos"] == 1
    assert live["metrics"] == pytest.approx(stored["metrics"], abs=1e-3)
    assert 0 <= live["metrics"]["frame_accuracy"] <= 100
    assert {"mAP@.5:.95", "edit", "F1@50", "phase_jaccard"} <= set(live["metrics"])


def test_a_model_without_background_never_answers_it(
    run: Run, video: Path, model_folder: Path, tmp_path: Path
) -> None:
    from vtnstream.models.create import create_model
    from vtnstream.models.io.checkpoint import load_model, save_model

    config = load_model(model_folder).config
    head = HeadConfig(dense_labels=("dark", "light"))
    plain = save_model(create_model(replace(config, head=head)), tmp_path / "plain")
    table = tmp_path / "all.csv"
    table.write_text(f"path,start,end,label\n{video},0,20,dark\n{video},20,40,light\n")
    asked = run("evaluate", table, "--model", plain, "--json")
    assert asked.code == 0, asked.err
    live = json.loads(asked.out)
    # Tokens at 0, 0.5 ... 39.5 s; the last one ends with its frame, at 39.6 of 40 s.
    assert live["metrics"]["seconds_not_covered"] == pytest.approx(0.4)
    assert live["confusion"]["labels"] == ["dark", "light"]
    assert sum(map(sum, live["confusion"]["counts"])) == 400 - 4
    told = run("evaluate", table, "--model", plain)
    assert "background" not in told.out
    assert "0.4 s of 40.0 s (1.0%)" in told.err
    assert run("timeline", video, "--model", plain, "-o", tmp_path / "said").code == 0
    stored = json.loads(run("evaluate", table, "--predictions", tmp_path / "said", "--json").out)
    assert stored["confusion"] == live["confusion"]


def test_a_table_of_confusion_has_no_empty_row(capsys: pytest.CaptureFixture[str]) -> None:
    counts = [[0, 0, 0, 0], [0, 3, 1, 0], [1, 0, 4, 0], [0, 0, 0, 0]]
    print_confusion(Console(), {"labels": ["no answer", "a", "b", "unseen"], "counts": counts})
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert lines[0][:4] == ["no", "answer", "A", "B"]
    assert lines[1:] == [[".", "75", "25", "A", "a"], ["20", ".", "80", "B", "b"]]


def test_classes_in_words(run: Run, video: Path, model_folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "classes.csv"
    table.write_text(f"path,label\n{video},calm\n")
    outcome = run("evaluate", table, "--model", model_folder)
    assert outcome.code == 0, outcome.err
    assert "top1" in outcome.out
    assert "calm" in outcome.out
    views = run("evaluate", table, "--model", model_folder, "--order", "multi-view")
    assert views.code == 0, views.err
    assert "30" in views.out or "10 clips x 3 crops" in views.out


def test_a_window_without_segments_causes_a_warning(
    run: Run, video: Path, model_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "classes.csv").write_text(f"path,label\n{video},calm\n")
    arguments = ("evaluate", tmp_path / "classes.csv", "--model", model_folder)
    assert "--window has no effect" in run(*arguments, "--window", "8").err
    assert "--window" not in run(*arguments).err


def test_labels_that_are_not_the_models(
    run: Run, video: Path, model_folder: Path, tmp_path: Path
) -> None:
    table = tmp_path / "classes.csv"
    table.write_text(f"path,label\n{video},zebra\n")
    outcome = run("evaluate", table, "--model", model_folder)
    assert outcome.code == 1 and len(outcome.errors) == 1
    assert "the model has none of its labels (zebra)" in outcome.errors[0]
    other = video.with_name("other.mp4")
    other.write_bytes(video.read_bytes())
    table.write_text(f"path,label\n{video},zebra\n{other},calm\n")
    outcome = run("evaluate", table, "--model", model_folder)
    assert outcome.code == 0
    assert "the model does not have these labels: zebra" in outcome.err


def test_frames_in_random_order(run: Run, phases: Path, model_folder: Path, tmp_path: Path) -> None:
    outcome = run("evaluate", phases, "--model", model_folder, "--shuffle", "0", "--json")
    assert outcome.code == 0, outcome.err
    assert "frames shuffled (seed 0)" in json.loads(outcome.out)["order"]
    plain = run("evaluate", phases, "--model", model_folder, "--json")
    assert json.loads(plain.out)["metrics"] != json.loads(outcome.out)["metrics"]
    outcome = run("evaluate", phases, "--predictions", tmp_path, "--shuffle", "0")
    assert outcome.code == 2 and "needs a model" in outcome.errors[0]


def test_options_that_would_do_nothing_are_refused(
    run: Run, phases: Path, model_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "classes.csv").write_text("path,label\na.mp4,x\n")
    stored = ("evaluate", phases, "--predictions", tmp_path)
    classes = ("evaluate", tmp_path / "classes.csv", "--predictions", tmp_path)
    for arguments, flag in (
        ((*stored, "--window", "8"), "--window"),
        ((*stored, "--order", "offline"), "--order"),
        ((*classes, "--phases"), "--phases"),
        ((*classes, "--frame-rate", "5"), "--frame-rate"),
    ):
        outcome = run(*arguments)
        assert outcome.code == 2
        assert f"{flag} does nothing with" in outcome.errors[0]


def test_videos_without_prediction_cause_a_warning(run: Run, phases: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"results": {"other": []}}))
    outcome = run("evaluate", phases, "--predictions", path)
    assert outcome.code == 0
    assert "no prediction for 1 of 1 videos" in outcome.err
    assert "frame_accuracy" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give a model"),
        (("--predictions", "x", "--model", "y"), "give a model"),
        (("--model", "MODEL", "--order", "multi-view"), "these are segments"),
        (("--model", "MODEL", "--order", "online"), "uses later frames"),
        (("--model", "MODEL", "--split", "train"), "no video in that split"),
        (("--model", "MODEL", "--split", "no"), "split 'no' is none of"),
    ],
)
def test_requests_that_cannot_be(
    run: Run, phases: Path, model_folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    outcome = run(
        "evaluate", phases, *(str(model_folder) if a == "MODEL" else a for a in arguments)
    )
    assert outcome.code in (1, 2)
    assert words in outcome.errors[0]


def test_online_needs_a_causal_model_and_causal_settings(
    run: Run, phases: Path, model_folder: Path, tmp_path: Path
) -> None:
    from dataclasses import replace

    from vtnstream.models.create import create_model
    from vtnstream.models.io.checkpoint import load_model, save_model

    config = load_model(model_folder).config
    made = replace(config, temporal=replace(config.temporal, causal=True))
    folder = save_model(create_model(made), tmp_path / "causal")
    asked = ("evaluate", phases, "--model", folder, "--order", "online", "--json")
    outcome = run(*asked)
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["order"] == "each moment is predicted from the frames up to it"
    for flag in (("--smoothing", "median"), ("--min-duration", "2"), ("--viterbi", "1")):
        refused = run(*asked, *flag)
        assert refused.code == 2 and "uses later moments" in refused.errors[0]
    refused = run(*asked, "--localize", "sliding")
    assert refused.code == 2 and "dense head" in refused.errors[0]


def test_orders_belong_to_classes_or_segments(
    run: Run, video: Path, model_folder: Path, tmp_path: Path
) -> None:
    table = tmp_path / "classes.csv"
    table.write_text(f"path,label\n{video},calm\n")
    outcome = run("evaluate", table, "--model", model_folder, "--order", "offline")
    assert outcome.code == 2 and "segments, but these are classes" in outcome.errors[0]
    outcome = run("evaluate", table, "--model", model_folder, "--order", "multi-view-4x3")
    assert outcome.code == 0 and "4 clips x 3 crops" in outcome.out


def test_activitynet_counts_videos_without_segments_and_unknown_ones(
    run: Run, tmp_path: Path
) -> None:
    """As its own script: mAP 50 with false positives in a video without segments."""
    jump = {"label": "jump", "segment": [10, 20]}
    database = {
        "aaa": {"subset": "validation", "duration": 100, "annotations": [jump]},
        "neg": {"subset": "validation", "duration": 100, "annotations": []},
    }
    truth, results = tmp_path / "gt.json", tmp_path / "res.json"
    truth.write_text(json.dumps({"database": database}))
    found = {"aaa": [{**jump, "score": 0.8}], "neg": [{**jump, "score": 0.9}]}
    results.write_text(json.dumps({"results": found}))
    asked = ("evaluate", truth, "--split", "validation", "--predictions", results, "--json")
    assert json.loads(run(*asked).out)["metrics"]["mAP@.5:.95"] == 50
    results.write_text(json.dumps({"results": {**found, "neg": [], "new": found["neg"]}}))
    outcome = run(*asked)
    assert json.loads(outcome.out)["metrics"]["mAP@.5:.95"] == 50
    assert "1 video not among the annotated ones" in outcome.err and "new" in outcome.err


def test_annotations_in_frames_with_a_frame_rate(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "groundTruth"
    folder.mkdir()
    (folder / "a.txt").write_text("pour\n" * 30 + "background\n" * 15)
    results = tmp_path / "res.json"
    pour = {"label": "pour", "score": 1.0, "segment": [0, 2]}
    results.write_text(json.dumps({"results": {"a": [pour]}}))
    outcome = run("evaluate", tmp_path, "--predictions", results)
    assert outcome.code == 1 and "--frame-rate" in outcome.errors[0]
    outcome = run("evaluate", tmp_path, "--predictions", results, "--frame-rate", "15", "--json")
    metrics = json.loads(outcome.out)["metrics"]
    assert metrics["frame_accuracy"] == metrics["mAP@.5:.95"] == 100
