"""Learning curves of a model's recipe."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.test_run import write_film
from tests.training.test_search import config
from vtnstream.config import RuntimeConfig
from vtnstream.datasets.annotations import read_annotations
from vtnstream.errors import ModelError, TrainingError
from vtnstream.metrics.classification import MeanInterval
from vtnstream.progress import NullProgress
from vtnstream.training.learning_curve import CurvePoint, LearningCurve, learning_curve
from vtnstream.training.run import train

from .conftest import Outcome

Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six films whose colour changes, and a linear model of them."""
    folder = tmp_path_factory.mktemp("curve")
    lines = ["path,start,end,label"]
    for number in range(6):
        first, second = ("blue", "red") if number % 2 else ("red", "blue")
        write_film(folder / f"f{number}.mp4", [(first, 3), (second, 3)], number)
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
