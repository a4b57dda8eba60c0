"""Recipes compared by cross-validation on stored features."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vtnstream import api
from vtnstream.cli.commands.train import facts_of
from vtnstream.config import (
    BackboneConfig,
    DataConfig,
    OptimConfig,
    RuntimeConfig,
    SamplingConfig,
    TemporalConfig,
    TrainConfig,
)
from vtnstream.errors import ConfigError, TrainingError
from vtnstream.models.io.checkpoint import load_model
from vtnstream.models.vtn.model import VTN
from vtnstream.training.data.targets import Sample
from vtnstream.training.run import train
from vtnstream.training.selection import background_fits, cross_validation, fitting, recipes
from vtnstream.training.selection.background_fits import Fits
from vtnstream.training.selection.calibration import fit_temperature
from vtnstream.training.selection.cross_validation import Comparison, Contender
from vtnstream.training.selection.fitting import SelectionBase, fit_recipe
from vtnstream.training.selection.folds import make_folds
from vtnstream.training.selection.recipes import RECIPES
from vtnstream.training.selection.saved_fits import Job, SavedFit, SavedFits
from vtnstream.training.selection.selecting import compares_recipes, reason_against_comparison

from .cases import class_sample, dense_sample, features, model, video
from .test_run import Recorder, write_scenes


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine videos whose colour changes, three of a scene each."""
    folder = tmp_path_factory.mktemp("few")
    lines, classes = ["path,start,end,label,scene"], ["path,label"]
    for number in range(9):
        first, second = ("blue", "red") if number % 2 else ("red", "blue")
        cut = 2 + number % 3
        write_scenes(folder / f"f{number}.mp4", [(first, cut), (second, 7 - cut)], number)
        lines += [
            f"f{number}.mp4,0,{cut},{first},{number // 3}",
            f"f{number}.mp4,{cut},7,{second},{number // 3}",
        ]
        write_scenes(folder / f"c{number}.mp4", [(first, 2)], 20 + number)
        classes.append(f"c{number}.mp4,{first}")
    (folder / "segments.csv").write_text("\n".join(lines))
    (folder / "classes.csv").write_text("\n".join(classes))
    return folder


JOB = Job("tcn", (1,))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "PASSES", 3)
    # Processes would train with all passes.
    monkeypatch.setattr(background_fits, "WORTH_SECONDS", float("inf"))


def config(annotations: Path, output: Path, **changes: object) -> TrainConfig:
    base = TrainConfig(
        annotations=str(annotations),
        output=str(output),
        weights="random",
        search_seconds=0,  # all folds, however busy the machine is
        sampling=SamplingConfig(fps=Fraction(2)),
        backbone=BackboneConfig("test_resnet"),
        preprocess={"size": 32, "resize": 32},
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def runtime(folder: Path) -> RuntimeConfig:
    return RuntimeConfig(cache_dir=folder / "store")


def test_few_segments_compare_all_recipes(videos: Path, tmp_path: Path, quick: None) -> None:
    told = Recorder()
    result = train(
        config(videos / "segments.csv", tmp_path / "m"), runtime=runtime(videos), progress=told
    )
    names = [row["recipe"] for row in result.search["table"]]
    assert sorted(names) == ["blend", "ms-tcn", "probe", "tcn"]
    assert result.recipe == names[0]
    assert result.search["folds"] == 3  # one a scene
    assert result.search["majority"] > 50 and result.search["chance"] == 50
    assert result.best.validation["accuracy"] > 80
    assert result.split == "each in turn, 3 of 3 folds" and result.in_turn
    facts = dict(facts_of(result))
    count = result.num_train
    assert facts["videos"] == f"{count} for the model, each held out once to compare recipes"
    assert facts["validation"].endswith("together; the table has means of folds)")
    assert "comparing recipes" in told.started
    written = json.loads((tmp_path / "m" / "train.json").read_text())["result"]
    assert written["search"]["table"][0]["recipe"] == result.recipe
    report = api.timeline(videos / "f1.mp4", model=tmp_path / "m", runtime=runtime(videos))
    assert report.segments is not None
    assert [s.label for s in report.segments] == ["blue", "red"]


def test_a_named_recipe_is_an_ensemble_and_repeats(
    videos: Path, tmp_path: Path, quick: None
) -> None:
    asked = config(videos / "segments.csv", tmp_path / "a", recipe="ms-tcn")
    result = train(asked, runtime=runtime(videos))
    assert result.search["members"] == 3
    one = load_model(tmp_path / "a")
    assert isinstance(one, VTN)
    assert one.config.temporal.members == 3
    assert one.config.head.dense_temperature == pytest.approx(result.search["temperature"])
    train(replace(asked, output=str(tmp_path / "b")), runtime=runtime(videos))
    two = load_model(tmp_path / "b").state_dict()
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.state_dict().items())
    for number, (ensemble, members) in enumerate((("seeds", 3), ("none", 1))):
        other = replace(asked, output=str(tmp_path / f"{number}"), ensemble=ensemble)
        assert train(other, runtime=runtime(videos)).search["members"] == members
        assert load_model(tmp_path / f"{number}").config.temporal.members == members


def test_a_comparison_that_was_cut_off_goes_on(
    videos: Path, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = config(videos / "segments.csv", tmp_path / "whole", recipe="ms-tcn", ensemble="seeds")
    whole = train(asked, runtime=runtime(videos))
    begun = replace(asked, output=str(tmp_path / "begun"))
    fits: list[str] = []

    def fit(*arguments: Any, **more: Any) -> Any:
        fits.append("fit")
        if len(fits) in (2, 5):
            raise KeyboardInterrupt
        return fit_recipe(*arguments, **more)

    monkeypatch.setattr(fitting, "fit_recipe", fit)
    with pytest.raises(KeyboardInterrupt):
        train(begun, runtime=runtime(videos))
    assert len(list((tmp_path / "begun" / "search").iterdir())) == 1
    with pytest.raises(KeyboardInterrupt):
        train(begun, runtime=runtime(videos))
    assert len(list((tmp_path / "begun" / "search").iterdir())) == 3
    result = train(begun, runtime=runtime(videos))
    assert len(fits) == 8  # three folds and three seeds, of which two were begun twice
    assert not (tmp_path / "begun" / "search").exists()
    assert [row["folds"] for row in result.search["table"]] == [
        row["folds"] for row in whole.search["table"]
    ]
    one = load_model(tmp_path / "whole").state_dict()
    two = load_model(tmp_path / "begun").state_dict()
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def test_fits_of_other_settings_are_made_anew(tmp_path: Path) -> None:
    samples = [class_sample(n % 2, 4, n) for n in range(4)]
    fit = SavedFit({"w": torch.ones(2)}, 0.5, 3, 1.0, [np.zeros(2, np.float32)])
    SavedFits(tmp_path, TrainConfig(), samples).save(JOB, fit)
    found = SavedFits(tmp_path, TrainConfig(search_seconds=9), samples).load(JOB)
    assert found is not None
    assert torch.equal(found.state["w"], torch.ones(2)) and found.steps == 3
    assert SavedFits(tmp_path, TrainConfig(seed=1), samples).load(JOB) is None
    assert SavedFits(tmp_path, TrainConfig(), samples[:3]).load(JOB) is None
    assert SavedFits(tmp_path, TrainConfig(), samples).load(Job("tcn", (1, 2))) is None
    (tmp_path / "search" / "tcn_1_0.pt").write_bytes(b"half")
    assert SavedFits(tmp_path, TrainConfig(), samples).load(JOB) is None


def test_guessing_is_told_apart_from_learning() -> None:
    samples = [
        Sample(video(f"{n}.mp4"), features(4), 0, 4, targets=np.array([0, 0, 0, 1]))
        for n in range(12)
    ]

    def compared(*said: int) -> Comparison:
        answer = np.full((4, 2), -9.0, np.float32)
        answer[range(4), said] = 0.0
        best = Contender(RECIPES[0], answers=dict.fromkeys(range(12), answer))
        return Comparison((best,), (tuple(range(12)),), 1, 75.0, 50.0)

    assert compared(0, 0, 0, 1).beats_guessing(samples, 2)
    assert not compared(0, 0, 0, 0).beats_guessing(samples, 2)
    assert not compared(0, 1, 1, 0).beats_guessing(samples, 2)


def test_a_blend_answers_with_the_mean_of_its_networks(
    videos: Path, tmp_path: Path, quick: None
) -> None:
    asked = config(videos / "segments.csv", tmp_path / "m", recipe="blend")
    result = train(asked, runtime=runtime(videos))
    assert result.recipe == "blend"
    assert result.search["members"] == 4  # three networks of one recipe, one of the other
    assert {row["recipe"] for row in result.search["table"]} == {"blend", "tcn", "ms-tcn"}
    report = api.timeline(videos / "f1.mp4", model=tmp_path / "m", runtime=runtime(videos))
    assert report.segments
    seeds = replace(asked, output=str(tmp_path / "seeds"), ensemble="seeds")
    assert train(seeds, runtime=runtime(videos)).search["members"] == 3  # two and one
    with pytest.raises(ConfigError, match="blend is an ensemble"):
        compares_recipes(replace(asked, ensemble="none"), "dense", 9, 1)
    with pytest.raises(ConfigError, match="not for the task classification"):
        compares_recipes(asked, "classification", 9, 1)


def test_few_classes_compare_recipes_too(videos: Path, tmp_path: Path, quick: None) -> None:
    result = train(config(videos / "classes.csv", tmp_path / "m"), runtime=runtime(videos))
    assert {row["recipe"] for row in result.search["table"]} == {"attention", "probe", "tcn"}
    assert result.best.validation["accuracy"] == 100
    report = api.classify(videos / "c0.mp4", model=tmp_path / "m", runtime=runtime(videos))
    assert report.classes[0].label == "red"


@pytest.mark.parametrize("name", ["probe", "blend"])
def test_each_recipe_makes_a_usable_model(
    videos: Path, tmp_path: Path, quick: None, name: str
) -> None:
    causal = TemporalConfig(
        num_layers=2, num_heads=4, hidden_size=128, intermediate_size=256, causal=name == "blend"
    )
    asked = config(videos / "segments.csv", tmp_path / "m", recipe=name, temporal=causal)
    assert train(asked, runtime=runtime(videos)).recipe == name
    assert load_model(tmp_path / "m").config.temporal.causal == causal.causal
    report = api.timeline(videos / "f0.mp4", model=tmp_path / "m", runtime=runtime(videos))
    assert report.segments


def test_the_annotations_own_validation_videos_are_kept_out(
    videos: Path, tmp_path: Path, quick: None
) -> None:
    asked = config(
        videos / "segments.csv", tmp_path / "m", recipe="probe", data=DataConfig(validation=0.3)
    )
    lines = (videos / "segments.csv").read_text().splitlines()
    split = [lines[0] + ",split"]
    split += [f"{line},{'val' if line.endswith(',2') else 'train'}" for line in lines[1:]]
    (videos / "split.csv").write_text("\n".join(split))
    result = train(replace(asked, annotations=str(videos / "split.csv")), runtime=runtime(videos))
    assert (result.num_train, result.num_validation, result.in_turn) == (6, 3, False)
    assert result.search["folds"] == 2


def test_settings_by_hand_are_left_alone() -> None:
    plain = TrainConfig()
    assert compares_recipes(plain, "dense", 20, 1)
    assert not compares_recipes(plain, "dense", 2000, 1)
    assert not compares_recipes(plain, "dense", 20, 2)
    assert not compares_recipes(replace(plain, recipe="own"), "dense", 20, 1)
    by_hand = replace(plain, optim=OptimConfig(epochs=3))
    assert not compares_recipes(by_hand, "dense", 20, 1)
    assert reason_against_comparison(by_hand, "dense", 20) == "optim is set by hand"
    with pytest.raises(ConfigError, match="recipe tcn cannot be used: optim is set by hand"):
        compares_recipes(replace(by_hand, recipe="tcn"), "dense", 20, 1)
    with pytest.raises(ConfigError, match="is not for the task classification"):
        compares_recipes(replace(plain, recipe="ms-tcn"), "classification", 20, 1)
    with pytest.raises(ConfigError, match="recipe"):
        TrainConfig(recipe="best")


def test_one_group_cannot_be_compared(videos: Path, tmp_path: Path) -> None:
    lines = (videos / "segments.csv").read_text().splitlines()
    (videos / "one.csv").write_text("\n".join(lines[:3]))
    asked = config(videos / "one.csv", tmp_path / "m", recipe="probe")
    with pytest.raises(TrainingError, match="held out in turn"):
        train(asked, runtime=runtime(videos))
    assert not (tmp_path / "m").exists()


def test_groups_are_never_parted_and_classes_spread() -> None:
    samples = [
        Sample(video(f"{n}.mp4", group=str(n // 2)), features(4), 0, 4, label=n // 2 % 2)
        for n in range(20)
    ]
    folds = make_folds(samples, 2, seed=0)
    assert sorted(n for fold in folds for n in fold) == list(range(20))
    assert len(folds) == 5
    for fold in folds:
        groups = {samples[n].video.group for n in fold}
        assert all(samples[n].video.group not in groups for n in range(20) if n not in fold)
        assert {samples[n].label for n in fold} == {0, 1}
    assert make_folds(samples[:2], 2, seed=0) == []


def test_a_time_limit_leaves_out_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Recorder()
    samples = [class_sample(n % 2, 4, n) for n in range(10)]
    base = type("Base", (), {"samples": samples, "config": None, "model": None})()
    monkeypatch.setattr(
        cross_validation, "_answer", lambda *rest: rest[1].scores.append((1.0, 1.0))
    )
    config = TrainConfig()
    fits = Fits(base, {"tcn": RECIPES[0]}, SavedFits(None, config, ()), told)
    folds = [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    got = cross_validation.compare(fits, folds, 2, 1e-9)
    assert (len(got.folds), got.all_folds) == (2, 5)
    assert "allows 2 of 5 folds" in told.warnings[0]
    assert len(cross_validation.compare(fits, folds, 2, 0).folds) == 5


def test_fits_of_processes_equal_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [dense_sample(8, n) for n in range(6)]
    untrained = model(dense=True)
    settings = TrainConfig(temporal=untrained.config.temporal, optim=OptimConfig(epochs=2))
    base = SelectionBase(untrained, settings, samples, 2.0)
    dense = (recipe for recipe in RECIPES if "dense" in recipe.tasks)
    chosen = [recipe for recipe in dense if recipe.name in ("attention", "probe")]
    folds = [[0, 1], [2, 3], [4, 5]]
    told = Recorder()
    fits = Fits(
        base, {recipe.name: recipe for recipe in chosen}, SavedFits(None, settings, ()), told
    )
    alone = cross_validation.compare(fits, folds, 2, 0)
    monkeypatch.setattr(background_fits, "WORTH_SECONDS", 0.0)
    monkeypatch.setattr("vtnstream.machine.num_cores", lambda: 2)
    made: list[str] = []

    def fit_job(base: SelectionBase, recipe: recipes.Recipe, *rest: Any) -> Any:
        made.append(recipe.name)
        return fitting.fit_job(base, recipe, *rest)

    monkeypatch.setattr(background_fits, "fit_job", fit_job)
    together = cross_validation.compare(fits, folds, 2, 0)
    assert made == ["probe", "attention"]  # of the first fold; processes make the others
    assert not told.warnings
    for one, two in zip(alone.contenders, together.contenders, strict=True):
        assert (one.recipe.name, one.scores) == (two.recipe.name, two.scores)
        for a, b in zip(one.models, two.models, strict=True):
            other = b.model.state_dict()
            assert all(torch.equal(v, other[k]) for k, v in a.model.state_dict().items())


def test_processes_are_few_enough_for_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    base = SelectionBase(model(dense=True), TrainConfig(), [dense_sample(8, 0)], 2.0)
    monkeypatch.setattr("vtnstream.machine.num_cores", lambda: 64)
    monkeypatch.setattr("vtnstream.machine.memory_bytes", lambda: 8 * 10**9)
    assert background_fits.num_workers(base, 2) == 2
    assert background_fits.num_workers(base, 100) == 3
    monkeypatch.setattr("vtnstream.machine.memory_bytes", lambda: 10**9)
    assert background_fits.num_workers(base, 100) == 1


def test_a_lead_within_noise_is_told_apart() -> None:
    def contender(*scores: float) -> Contender:
        return Contender(RECIPES[0], scores=[(s, s) for s in scores])

    best = contender(80, 82, 81, 79)
    close, far = contender(79, 84, 80, 78), contender(60, 61, 63, 58)
    compared = Comparison((best, close, far), (), 4, 50.0, 50.0)
    assert compared.is_noise(close)
    assert not compared.is_noise(far)


def test_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3))
    odds = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    targets = np.array([rng.choice(3, p=row) for row in odds])
    for factor in (0.5, 1.0, 3.0):
        scaled = factor * logits
        answers = scaled - np.log(np.exp(scaled).sum(1, keepdims=True))
        assert fit_temperature(answers.astype(np.float32), targets) == pytest.approx(
            factor, rel=0.15
        )
