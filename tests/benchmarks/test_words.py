"""Metrics and layouts of the words benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.words.layouts import read_set
from benchmarks.words.scores import (
    Presence,
    average_precision,
    mean_average_precision,
    recall_at_one,
    retrieval_precision,
    tiou,
)
from benchmarks.words.spaces import class_names
from vtnstream.errors import AnnotationError


def test_figures_of_moment_retrieval() -> None:
    assert tiou((0, 4), (2, 6)) == pytest.approx(1 / 3)
    truth = [(0.0, 10.0), (20.0, 30.0)]
    assert recall_at_one([(1, 9)], truth) and not recall_at_one([(12, 18), (0, 10)], truth)
    assert not recall_at_one([], truth)
    assert average_precision([(0, 10), (50, 60), (20, 30)], truth, 0.5) == pytest.approx(5 / 6)
    assert average_precision([(0, 10), (0, 10)], truth, 0.5) == 0.5  # found once
    assert mean_average_precision([(0, 10), (20, 30)], truth) == 1
    assert mean_average_precision([(0, 7)], [(0, 10)]) == pytest.approx(0.5)  # .5 to .7


def test_retrieval_and_presence() -> None:
    related = np.array([True, False, True])
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    assert retrieval_precision(scores, related) == pytest.approx((1 + 2 / 3) / 2)
    presence = Presence()
    presence.add(shown=True, answered=True, seconds=60)
    presence.add(shown=False, answered=True, seconds=1800)
    presence.add(shown=False, answered=False, seconds=1800)
    assert presence.false_answers_an_hour == 1 and presence.found == 1


def test_layouts_of_public_sets(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "a.mp4").touch()
    row = {"vid": "a", "query": "a dog", "relevant_windows": [[2, 6], [8, 10]]}
    lines = [json.dumps(row), json.dumps({**row, "vid": "gone"})]
    (tmp_path / "highlight_val_release.jsonl").write_text("\n".join(lines), "utf-8")
    (tmp_path / "charades_sta_test.txt").write_text("a 1.5 4##a person runs.\n", "utf-8")
    item = {"label": "Diving", "segment": [1, 2]}
    database = {"a": {"subset": "test", "annotations": [item, item]}}
    (tmp_path / "thumos14.json").write_text(json.dumps({"database": database}), "utf-8")
    (moment,) = read_set("qvhighlights", tmp_path)
    assert (moment.query, moment.spans) == ("a dog", ((2, 6), (8, 10)))
    (moment,) = read_set("charades-sta", tmp_path)
    assert (moment.query, moment.spans) == ("a person runs.", ((1.5, 4),))
    (moment,) = read_set("thumos14", tmp_path)
    assert moment.video == videos / "a.mp4" and moment.spans == ((1, 2), (1, 2))
    (videos / "a.mp4").unlink()
    with pytest.raises(AnnotationError, match="none of the annotated videos"):
        read_set("thumos14", tmp_path)


def test_names_of_classes(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("  0  background\n  1  tench, Tinca tinca\n", "utf-8")
    assert class_names(path) == ["tench"]
    path.write_text("tench, Tinca tinca\ngoldfish\n", "utf-8")
    assert class_names(path) == ["tench", "goldfish"]
