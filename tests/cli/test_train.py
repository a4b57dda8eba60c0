"""``train`` from annotations and recipes, and a small ``demo``."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Outcome, frames
from vtnstream.synthesis.cue_videos import CueVideoConfig
from vtnstream.training import demo as demo_module
from vtnstream.video.write import write_video

Run = Callable[..., Outcome]
TINY = ("--backbone", "test_vit", "--backbone-arg", "img_size=64", "--weights", "random")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six videos of ten seconds in two classes, with annotations of both kinds."""
    folder = tmp_path_factory.mktemp("films")
    classes, segments = ["path,label,fold"], ["path,start,end,label"]
    for number in range(6):
        write_video(folder / f"{number}.mp4", frames(10), Fraction(10))
        classes.append(f"{number}.mp4,{'odd' if number % 2 else 'even'},{number % 3}")
        segments.append(f"{number}.mp4,0,4,first")
    (folder / "classes.csv").write_text("\n".join(classes))
    (folder / "segments.csv").write_text("\n".join(segments))
    return folder


def test_train_then_classify(run: Run, videos: Path) -> None:
    settings = ("--epochs", "2", "--set", "optim.batch_size=2", "--validation-fold", "2")
    outcome = run("train", videos / "classes.csv", "-o", "mine", *TINY, *settings)
    assert outcome.code == 0, outcome.err
    assert "classification: even, odd" in outcome.out
    lines = outcome.err.splitlines()
    (header,) = [n for n, line in enumerate(lines) if "epoch" in line and "val loss" in line]
    epochs = [line for line in lines[header:] if "1/2" in line or "2/2" in line]
    assert len(epochs) == 2 and sum("best" in line for line in epochs) >= 1
    assert Path("mine/curves.png").read_bytes().startswith(b"\x89PNG")
    assert "vtnstream classify VIDEO --model mine" in outcome.err
    config = json.loads(Path("mine/config.json").read_text())
    assert config["backbone"]["arguments"] == {"img_size": 64}
    again = run("train", videos / "classes.csv", "-o", "mine", *TINY, *settings)
    assert again.code == 2
    assert "mine: has a model already" in again.err and "--overwrite" in again.err
    result = json.loads(run("classify", videos / "0.mp4", "-m", "mine", "--json").out)
    assert {item["label"] for item in result["classes"]} == {"even", "odd"}


def test_segments_train_a_dense_head(run: Run, videos: Path) -> None:
    outcome = run(
        *("train", videos / "segments.csv", "-o", "mine", *TINY, "--epochs", "1", "--json"),
        *("--set", "temporal.attention_window=[8]", "--fps", "1"),
    )
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert result["task"] == "dense" and result["labels"] == ["background", "first"]
    assert json.loads(Path("mine/config.json").read_text())["sampling"]["fps"] == 1
    outcome = run("classify", videos / "0.mp4", "-m", "mine")
    assert outcome.code == 2
    assert "use vtnstream timeline" in outcome.err


def test_recipe_is_under_flags_and_over_config_files(run: Run, videos: Path) -> None:
    Path("recipe.toml").write_text(
        f"annotations = {str(videos / 'classes.csv')!r}\noutput = 'made'\n"
        "weights = 'random'\nseed = 3\n"
        "[backbone]\nname = 'test_vit'\narguments = {img_size = 64}\n"
        "[optim]\nepochs = 9\nbatch_size = 2\n"
    )
    Path("vtnstream.toml").write_text("[train]\nepochs = 5\nseed = 4\nfeature-norm = 'none'\n")
    outcome = run("train", "recipe.toml", "--epochs", "1", "--set", "optim.batch_size=3")
    assert outcome.code == 0, outcome.err
    used = json.loads(Path("made/train.json").read_text())["config"]
    assert used["optim"]["epochs"] == 1 and used["optim"]["batch_size"] == 3
    assert used["seed"] == 3 and used["feature_norm"] == "dataset"


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["absent.csv", "-o", "m"], 1, "absent.csv"),
        (["classes.csv"], 2, "-o FOLDER"),
        (["classes.csv", "-o", "m", "--set", "optim.epoch=3"], 2, "epochs"),
        (["classes.csv", "-o", "m", "--epochs", "0"], 2, "epochs"),
        (["classes.csv", "-o", "m", "--preset", "vtn-vit"], 2, "did you mean"),
        (["absent.toml"], 2, "absent.toml"),
        (["classes.csv", "-o", "m", "--task", "dense", *TINY], 2, "segments"),
    ],
)
def test_train_errors_are_one_line(
    run: Run, videos: Path, arguments: list[str], code: int, word: str
) -> None:
    os.chdir(videos)
    outcome = run("train", *arguments)
    assert outcome.code == code, outcome.err
    assert len(outcome.errors) == 1 and word in outcome.errors[0]
    assert outcome.out == ""


@pytest.fixture
def small_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real demo with a few short videos and two epochs: its output is tested, not its
    accuracy."""
    config = demo_module.DemoConfig(
        num_train=6,
        num_unseen=2,
        epochs=2,
        video=dataclasses.replace(CueVideoConfig(), seconds=24),
        workers=1,
    )
    small: Callable[..., Any] = functools.partial(demo_module.run_demo, config=config)
    monkeypatch.setattr(demo_module, "run_demo", small)


@pytest.mark.usefixtures("small_demo")
def test_demo_shows_truth_both_models_and_what_to_try(run: Run) -> None:
    outcome = run("demo", "-o", "made here")
    assert outcome.code == 0, outcome.err
    starts = [line.split()[0] for line in outcome.out.splitlines() if line.split()]
    assert [starts.count(name) for name in ("truth", "whole", "local")] == [1, 2, 2]
    (command,) = [line for line in outcome.out.splitlines() if "vtnstream timeline" in line]
    assert "'made here/videos/" in command and "--model 'made here/vtn'" in command
    outcome = run("timeline", "made here/videos/video_0006.mp4", "--model", "made here/vtn")
    assert outcome.code == 0, outcome.err


@pytest.mark.usefixtures("small_demo")
def test_demo_as_json(run: Run) -> None:
    result = json.loads(run("demo", "--json", "-q").out)
    assert 0 <= result["whole"]["accuracy"] <= 100 and result["truth"]
    assert Path("vtnstream-demo/vtn/config.json").is_file()
