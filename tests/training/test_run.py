"""``vtnstream train`` makes a model folder from files; inference uses it."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vtnstream import api
from vtnstream.config import (
    BackboneConfig,
    DataConfig,
    OptimConfig,
    RuntimeConfig,
    SamplingConfig,
    TemporalConfig,
    TrainConfig,
)
from vtnstream.errors import AnnotationError, ConfigError, OutputError, TrainingError, VideoError
from vtnstream.models.io.checkpoint import load_model
from vtnstream.progress import NullProgress
from vtnstream.training.run import train
from vtnstream.video.write import write_video

COLOURS = {"blue": (30, 30, 220), "red": (220, 30, 30)}


class Recorder(NullProgress):
    """Progress that keeps all notes and warnings."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def start(self, what: str, *, total: float | None, unit: str) -> None:
        self.started.append(what)

    def advance(self, done: float, *, note: str = "") -> None:
        self.notes.append(note)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def write_scenes(path: Path, parts: list[tuple[str, float]], seed: int) -> None:
    """Return plain colours with noise at 4 frames per second."""
    rng = np.random.default_rng(seed)
    colours = [COLOURS[name] for name, seconds in parts for _ in range(int(seconds * 4))]
    noise = rng.integers(-25, 26, (len(colours), 32, 32, 3))
    frames = np.clip(np.array(colours)[:, None, None] + noise, 0, 255).astype(np.uint8)
    write_video(path, iter(frames), 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight videos of one colour each, and eight that change colour, with their annotations."""
    folder = tmp_path_factory.mktemp("films")
    classes, segments = ["path,label,fold"], ["path,start,end,label"]
    for number in range(8):
        name = ("blue", "red")[number % 2]
        other = ("blue", "red")[1 - number % 2]
        write_scenes(folder / f"c{number}.mp4", [(name, 3 + number % 3)], number)
        classes.append(f"c{number}.mp4,{name},{number // 4}")
        write_scenes(folder / f"s{number}.mp4", [(name, 3), (other, 2)], 50 + number)
        segments.append(f"s{number}.mp4,0,3,{name}")
        if other == "red":  # blue after red is left without a label: background
            segments.append(f"s{number}.mp4,3,5,{other}")
    (folder / "classes.csv").write_text("\n".join(classes))
    (folder / "segments.csv").write_text("\n".join(segments))
    return folder


def config(annotations: Path, output: Path, **changes: object) -> TrainConfig:
    base = TrainConfig(
        annotations=str(annotations),
        output=str(output),
        weights="random",
        sampling=SamplingConfig(fps=Fraction(2)),
        backbone=BackboneConfig("test_resnet"),
        preprocess={"size": 32, "resize": 32},
        temporal=TemporalConfig(
            num_layers=2,
            num_heads=2,
            hidden_size=16,
            intermediate_size=32,
            attention_window=(4,),
            attention_dropout=0.0,
        ),
        data=DataConfig(validation=0.25),
        optim=OptimConfig(epochs=15, batch_size=4, learning_rate=1e-2, label_smoothing=0.0),
    )
    return replace(base, **changes)


@pytest.fixture
def runtime(folder: Path) -> RuntimeConfig:
    return RuntimeConfig(device="cpu", cache_dir=folder / "store")


def test_classification_is_trained(folder: Path, tmp_path: Path, runtime: RuntimeConfig) -> None:
    progress = Recorder()
    result = train(
        config(folder / "classes.csv", tmp_path / "model"), runtime=runtime, progress=progress
    )
    assert result.task == "classification"
    assert result.labels == ("blue", "red")
    assert (result.num_train, result.num_validation) == (6, 2)
    assert result.best.validation["accuracy"] == 100
    assert progress.started == ["extracting features", "training"]
    assert any("validation 100.0 %" in note for note in progress.notes)

    lines = (tmp_path / "model" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["epoch"] for record in records] == list(range(1, 16))
    assert records[0]["loss"] > records[-1]["loss"]
    assert records[-1]["training"]["accuracy"] == 100
    assert all(0 <= record["training"]["accuracy"] <= 100 for record in records)
    summary = json.loads((tmp_path / "model" / "train.json").read_text())
    assert summary["result"]["best"]["epoch"] == result.best.epoch
    assert summary["config"]["sampling"]["fps"] == 2

    model = load_model(tmp_path / "model")
    assert model.config.preprocess.size == 32
    assert model.config.feature_norm == "dataset"
    for number in range(8):
        report = api.classify(folder / f"c{number}.mp4", model=model, runtime=runtime)
        assert report.classes[0].label == ("blue", "red")[number % 2]
    assert load_model(tmp_path / "model" / "last").config == model.config


def test_segments_with_background_are_trained(
    folder: Path, tmp_path: Path, runtime: RuntimeConfig
) -> None:
    settings = config(folder / "segments.csv", tmp_path / "model", feature_norm="dataset")
    settings = replace(
        settings,
        optim=replace(settings.optim, epochs=40),
        data=replace(settings.data, unlabelled="background"),
    )
    result = train(settings, runtime=runtime)
    assert result.task == "dense"
    assert result.unlabelled.startswith("background")
    assert result.labels == ("background", "blue", "red")
    report = api.timeline(folder / "s0.mp4", model=tmp_path / "model", runtime=runtime)
    assert report.segments is not None
    assert [(s.label, s.start, s.end) for s in report.segments] == [
        ("blue", 0.0, 3.0),
        ("red", 3.0, pytest.approx(5.0, abs=0.26)),
    ]
    report = api.timeline(folder / "s1.mp4", model=tmp_path / "model", runtime=runtime)
    assert report.segments is not None
    assert [s.label for s in report.segments] == ["red"]


def test_short_gaps_are_ignored(folder: Path, tmp_path: Path, runtime: RuntimeConfig) -> None:
    result = train(config(folder / "segments.csv", tmp_path / "model"), runtime=runtime)
    assert result.labels == ("blue", "red")
    assert result.unlabelled.startswith("ignore (82% of the videos is labelled")
    written = json.loads((tmp_path / "model" / "train.json").read_text())
    assert written["result"]["unlabelled"] == result.unlabelled


def test_segments_are_trained_as_clips_of_a_class(
    folder: Path, tmp_path: Path, runtime: RuntimeConfig
) -> None:
    settings = config(
        folder / "segments.csv",
        tmp_path / "model",
        task="classification",
        data=DataConfig(validation=0.25, clip_tokens=3),
    )
    result = train(settings, runtime=runtime)
    assert result.task == "classification"
    assert result.num_train + result.num_validation == 12
    model = load_model(tmp_path / "model")
    assert model.config.temporal.window_positions == "clip"
    report = api.timeline(folder / "s0.mp4", window=3, model=model, runtime=runtime)
    assert report.segments is not None
    assert [s.label for s in report.segments] == ["blue", "red"]


def test_the_same_seed_gives_the_same_model(
    folder: Path, tmp_path: Path, runtime: RuntimeConfig
) -> None:
    settings = config(folder / "classes.csv", tmp_path / "a")
    settings = replace(settings, optim=replace(settings.optim, epochs=3))
    one = train(settings, runtime=runtime)
    two = train(replace(settings, output=str(tmp_path / "b")), runtime=runtime)
    assert [r.loss for r in one.records] == [r.loss for r in two.records]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]
    other = train(replace(settings, seed=1, output=str(tmp_path / "c")), runtime=runtime)
    assert [r.loss for r in other.records] != [r.loss for r in one.records]


def test_folds_are_held_out(folder: Path, tmp_path: Path, runtime: RuntimeConfig) -> None:
    settings = config(
        folder / "classes.csv",
        tmp_path / "model",
        data=DataConfig(validation=0, exclude_folds=("1",)),
        optim=OptimConfig(epochs=1),
    )
    result = train(settings, runtime=runtime)
    assert (result.num_train, result.num_validation, result.split) == (4, 0, "none")
    assert result.best.validation == {}


def test_bad_videos_stop_or_are_skipped(
    folder: Path, tmp_path: Path, runtime: RuntimeConfig
) -> None:
    text = (folder / "classes.csv").read_text()
    (folder / "broken.mp4").write_bytes(b"no video")
    broken, gone = folder / "broken.csv", folder / "gone.csv"
    broken.write_text(f"{text}\nbroken.mp4,red,0\n")
    gone.write_text(f"{text}\ngone.mp4,red,0\n")
    settings = config(broken, tmp_path / "model", optim=OptimConfig(epochs=1))
    with pytest.raises(VideoError, match=r"broken\.mp4"):
        train(settings, runtime=runtime)
    with pytest.raises(AnnotationError, match=r"line 10 .*gone\.mp4"):
        train(replace(settings, annotations=str(gone)), runtime=runtime)
    skip = DataConfig(on_bad_video="skip", validation=0)
    for file, name in ((broken, "broken.mp4"), (gone, "gone.mp4")):
        result = train(replace(settings, annotations=str(file), data=skip), runtime=runtime)
        assert result.num_train == 8
        assert any(name in w and "left out" in w for w in result.warnings)


def test_features_on_disk_give_equal_losses(
    folder: Path, tmp_path: Path, runtime: RuntimeConfig
) -> None:
    settings = config(folder / "classes.csv", tmp_path / "a", optim=OptimConfig(epochs=2))
    data = replace(settings.data, memory_bytes=0)
    one = train(settings, runtime=runtime)
    two = train(replace(settings, output=str(tmp_path / "b"), data=data), runtime=runtime)
    assert [r.loss for r in one.records] == pytest.approx([r.loss for r in two.records])


def test_long_videos_replace_learned_by_rotary_positions(
    folder: Path, tmp_path: Path, runtime: RuntimeConfig
) -> None:
    settings = config(folder / "classes.csv", tmp_path / "m", optim=OptimConfig(epochs=1))
    learned = replace(settings.temporal, positions="learned", max_positions=8)
    result = train(replace(settings, temporal=learned), runtime=runtime)
    assert any("rotary positions instead" in warning for warning in result.warnings)
    assert load_model(tmp_path / "m").config.temporal.positions == "rotary"


def test_invalid_requests_are_refused(folder: Path, tmp_path: Path, runtime: RuntimeConfig) -> None:
    settings = config(folder / "classes.csv", tmp_path / "model", optim=OptimConfig(epochs=1))
    with pytest.raises(ConfigError, match="annotations and output are needed"):
        train(replace(settings, output=""))
    with pytest.raises(ConfigError, match="task dense needs segments"):
        train(replace(settings, task="dense"), runtime=runtime)
    one_class = folder / "one.csv"
    one_class.write_text("path,label\nc0.mp4,blue\nc2.mp4,blue\n")
    with pytest.raises(TrainingError, match="only one class"):
        train(replace(settings, annotations=str(one_class)), runtime=runtime)
    outside = folder / "outside.csv"
    outside.write_text("path,start,end,label\ns0.mp4,90,99,blue\ns1.mp4,90,99,red\n")
    with pytest.raises(TrainingError, match="no sampled frame falls into any segment"):
        train(replace(settings, annotations=str(outside), task="classification"), runtime=runtime)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"metrics\.jsonl"):
        train(replace(settings, output=str(tmp_path / "file" / "m")), runtime=runtime)


def test_a_failed_run_keeps_the_best_model(
    folder: Path, tmp_path: Path, runtime: RuntimeConfig
) -> None:
    settings = config(folder / "classes.csv", tmp_path / "model")
    epochs = 0

    class Interrupting(NullProgress):
        def advance(self, done: float, *, note: str = "") -> None:
            nonlocal epochs
            epochs += "validation" in note
            if epochs > 8:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(settings, runtime=runtime, progress=Interrupting())
    model = load_model(tmp_path / "model")
    assert model.config.head.labels == ("blue", "red")


def test_rectangular_frames_inner_layers_and_differences_are_trained(
    folder: Path, tmp_path: Path, runtime: RuntimeConfig
) -> None:
    """A model like the edit-structure model is trained and makes a timeline."""
    shaped = config(
        folder / "segments.csv",
        tmp_path / "model",
        backbone=BackboneConfig("resnet10t", {"stem_width": 8}, out_index=3, grid=(1, 2)),
        preprocess={"size": 16, "resize": 16, "width": 32, "crop": "squash"},
    )
    temporal = replace(shaped.temporal, token_inputs="feature+difference+similarity")
    train(replace(shaped, temporal=temporal), runtime=runtime)
    model = load_model(tmp_path / "model")
    assert model.config.temporal.token_inputs == "feature+difference+similarity"
    assert model.num_features == 2 * model.backbone.body.feature_info.channels()[0]
    report = api.timeline(folder / "s0.mp4", model=model, runtime=runtime)
    again = api.timeline(folder / "s0.mp4", model=model, runtime=runtime)
    whole = api.timeline(folder / "s0.mp4", model=model, runtime=runtime, method="end-to-end")
    found = [(s.label, s.start, s.end) for s in report.segments]
    assert found == [("blue", 0.0, 3.0), ("red", 3.0, 4.75)]
    assert [(s.label, s.start, s.end) for s in whole.segments] == found
    assert again.segments == report.segments


@pytest.mark.parametrize("kind", ["full", "transformers:BertModel"])
def test_other_temporal_encoders_are_trained(
    folder: Path, tmp_path: Path, runtime: RuntimeConfig, kind: str
) -> None:
    shaped = config(folder / "classes.csv", tmp_path / "model")
    positions = "learned" if kind.startswith("transformers") else "rotary"
    temporal = replace(shaped.temporal, kind=kind, positions=positions)
    result = train(replace(shaped, temporal=temporal), runtime=runtime)
    assert result.best.validation["accuracy"] == 100
    report = api.classify(folder / "c0.mp4", model=tmp_path / "model", runtime=runtime)
    assert report.classes[0].label == "blue"


def test_a_causal_model_is_trained_for_online_use(
    folder: Path, tmp_path: Path, runtime: RuntimeConfig
) -> None:
    shaped = config(folder / "segments.csv", tmp_path / "model", feature_norm="running_mean")
    temporal = replace(shaped.temporal, causal=True, token_inputs="feature+difference")
    optim = replace(shaped.optim, epochs=40)
    train(replace(shaped, temporal=temporal, optim=optim), runtime=runtime)
    model = load_model(tmp_path / "model")
    assert model.config.temporal.causal
    report = api.timeline(folder / "s0.mp4", model=model, runtime=runtime)
    assert [(s.label, s.start) for s in report.segments or ()] == [("blue", 0.0), ("red", 3.0)]


def test_a_class_without_samples_gives_a_warning(
    folder: Path, tmp_path: Path, runtime: RuntimeConfig
) -> None:
    lines = (folder / "classes.csv").read_text().splitlines()
    # the first video is held out and is the only green one
    lines = [f"{line},train" for line in lines[2:]] + ["c0.mp4,green,9,validation"]
    (folder / "green.csv").write_text("\n".join(["path,label,fold,split", *lines]))
    progress = Recorder()
    optim = OptimConfig(epochs=10, batch_size=4, learning_rate=1e-2, class_weights="balanced")
    asked = config(folder / "green.csv", tmp_path / "m", optim=optim)
    result = train(asked, runtime=runtime, progress=progress)
    assert result.labels == ("blue", "green", "red")
    assert any("no training sample of green" in warning for warning in progress.warnings)
    report = api.classify(folder / "c1.mp4", model=tmp_path / "m" / "last", runtime=runtime)
    assert report.classes[0].label == "red"
