"""Learning curves, and suggestions of spans to label."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.test_run import write_scenes
from tests.training.test_selection import config
from vtnstream.config import RuntimeConfig
from vtnstream.config.shipped import bundled_model
from vtnstream.datasets.annotations import read_annotations
from vtnstream.errors import ModelError, TrainingError
from vtnstream.metrics.classification import MeanInterval
from vtnstream.progress import NullProgress
from vtnstream.training.learning_curve import (
    FITS_FOLDER,
    CurvePoint,
    LearningCurve,
    learning_curve,
)
from vtnstream.training.run import train
from vtnstream.training.selection import fitting
from vtnstream.training.selection.fitting import FittedModel, fit_recipe

from .conftest import Outcome

Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six videos whose colour changes, and a linear model of them."""
    folder = tmp_path_factory.mktemp("curve")
    lines = ["path,start,end,label"]
    for number in range(6):
        first, second = ("blue", "red") if number % 2 else ("red", "blue")
        write_scenes(folder / f"f{number}.mp4", [(first, 3), (second, 3)], number)
        lines += [f"f{number}.mp4,0,3,{first}", f"f{number}.mp4,3,6,{second}"]
    (folder / "labels.csv").write_text("\n".join(lines))
    asked = config(folder / "labels.csv", folder / "model", recipe="probe")
    train(asked, runtime=RuntimeConfig(cache_dir=folder / "store"))
    return folder


def test_a_curve_has_points_up_to_all_videos(trained: Path) -> None:
    found = read_annotations(trained / "labels.csv")
    curve = learning_curve(
        trained / "model",
        found,
        found.videos,
        runtime=RuntimeConfig(cache_dir=trained / "store"),
        progress=NullProgress(),
    )
    assert (curve.recipe, curve.videos, curve.folds) == ("probe", 6, 5)
    assert [point.videos for point in curve.points] == [2, 4]
    assert all(point.accuracy.mean > 90 for point in curve.points)
    with pytest.raises(TrainingError, match="one video, scene or fold only"):
        learning_curve(
            trained / "model",
            found,
            found.videos[:1],
            runtime=RuntimeConfig(cache_dir=trained / "store"),
            progress=NullProgress(),
        )


class Interrupting(NullProgress):
    """Interrupts a learning curve after its second fit."""

    def advance(self, done: float, *, note: str = "") -> None:
        if done == 2 and "videos" in note:
            raise KeyboardInterrupt


def test_an_interrupted_curve_repeats_no_finished_fit(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    shutil.copytree(trained / "model", model)
    found = read_annotations(trained / "labels.csv")
    made = []

    def counted(*arguments: Any, **named: Any) -> FittedModel:
        made.append(len(arguments[2]))
        return fit_recipe(*arguments, **named)

    monkeypatch.setattr(fitting, "fit_recipe", counted)

    def curve(progress: NullProgress) -> LearningCurve:
        runtime = RuntimeConfig(cache_dir=trained / "store")
        return learning_curve(model, found, found.videos, runtime=runtime, progress=progress)

    whole = curve(NullProgress())
    assert made == [2, 4] * 5
    assert not (model / FITS_FOLDER).exists()
    made.clear()
    with pytest.raises(KeyboardInterrupt):
        curve(Interrupting())
    assert made == [2, 4]
    made.clear()
    assert curve(NullProgress()) == whole
    assert made == [2, 4] * 4
    assert not (model / FITS_FOLDER).exists()


def test_the_command_prints_a_table_or_json(run: Run, trained: Path) -> None:
    asked = ("evaluate", trained / "labels.csv", "--model", trained / "model", "--learning-curve")
    outcome = run(*asked, "--cache-dir", trained / "store")
    assert outcome.code == 0
    assert "mean of classes" in outcome.out and "10 more videos" in outcome.out
    outcome = run(*asked, "--cache-dir", trained / "store", "--json")
    document = json.loads(outcome.out)
    assert [point["videos"] for point in document["points"]] == [2, 4]
    assert document["verdict"].startswith("10 more videos would hardly help")
    assert run(*asked, "--shuffle", "1").code == 2
    assert run("evaluate", trained / "labels.csv", "--predictions", ".", "--learning-curve").code


def test_a_model_of_unknown_training_is_refused(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "model", tmp_path / "m")
    (tmp_path / "m" / "train.json").unlink()
    found = read_annotations(trained / "labels.csv")
    with pytest.raises(ModelError, match="how this model was trained is not known"):
        learning_curve(
            tmp_path / "m",
            found,
            found.videos,
            runtime=RuntimeConfig(),
            progress=NullProgress(),
        )


@pytest.mark.parametrize(
    ("gain", "says"),
    [
        (MeanInterval(3, 2, 4, 0.95), "would help"),
        (MeanInterval(2, 0.5, 4, 0.95), "would probably help"),
        (MeanInterval(0.2, -0.5, 0.9, 0.95), "would hardly help"),
        (MeanInterval(2, -3, 7, 0.95), "cannot be told"),
    ],
)
def test_the_verdict_follows_the_interval(gain: MeanInterval, says: str) -> None:
    point = CurvePoint(4, gain, gain)
    assert says in LearningCurve("tcn", 6, 5, (point,), gain).verdict


def test_suggested_spans_are_written_and_can_be_learned(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    videos = [trained / f"f{number}.mp4" for number in range(3)]
    asked = ("suggest", *videos, "--model", trained / "model", "--length", "2", "--count", "4")
    store = ("--cache-dir", trained / "store")
    files = ("-o", trained / "todo.csv", "--page", tmp_path / "todo.html")
    outcome = run(*asked, *store, *files)
    assert outcome.code == 0, outcome.err
    assert "--unlabelled ignore" in outcome.err
    with (trained / "todo.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert {row["label"] for row in rows} == {""}
    assert all(float(row["end"]) - float(row["start"]) == 2 for row in rows)
    page = (tmp_path / "todo.html").read_text()
    assert page.count("data:image/jpeg") == 4 and "f0.mp4" in page
    # The completed table is an annotation file.
    lines = (trained / "todo.csv").read_text().splitlines()
    filled = [lines[0], *(line.replace(",,", ",blue,", 1) for line in lines[1:])]
    (trained / "todo.csv").write_text("\n".join(filled))
    found = read_annotations(trained / "todo.csv")
    assert found.labels == ("blue",)
    # What is labelled is not suggested again.
    outcome = run(*asked, *store, "--labelled", trained / "todo.csv", "--json")
    again = {(row["path"], row["start"]) for row in json.loads(outcome.out)["spans"]}
    assert not again & {(str(trained / row["path"]), float(row["start"])) for row in rows}
    assert run(*asked, *store, "--labelled", trained / "labels.csv").code == 2


def test_suggest_needs_a_model_of_labels(run: Run, trained: Path) -> None:
    assert "no model" in run("suggest", trained / "f0.mp4").err
    outcome = run("suggest", trained / "f0.mp4", "--model", bundled_model())
    assert outcome.code and "finds cuts and transitions" in outcome.err
