"""Training from pixels, with both heads."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import vtnstream
from vtnstream.config import (
    AugmentConfig,
    BackboneConfig,
    DataConfig,
    OptimConfig,
    PreprocessConfig,
    RuntimeConfig,
    SamplingConfig,
    TemporalConfig,
    TrainConfig,
)
from vtnstream.errors import AnnotationError, ConfigError
from vtnstream.training.data.augment import augment_clips
from vtnstream.training.data.frames import collect_frames
from vtnstream.training.data.targets import Sample
from vtnstream.training.run import train
from vtnstream.video.write import write_video

RATE = 8


def video(path: Path, bright_first: bool, seed: int) -> None:
    """Return noisy frames that are bright for long and dark for short, or the reverse."""
    random = np.random.default_rng(seed)
    levels = (170, 40) if bright_first else (40, 170)
    frames = (
        (random.integers(0, 60, (32, 48, 3)) + levels[k >= 4.5 * RATE]).astype(np.uint8)
        for k in range(6 * RATE)
    )
    write_video(path, frames, Fraction(RATE))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    segments, classes = ["path,start,end,label"], ["path,label"]
    for number in range(12):
        first = number % 2 == 0
        video(folder / f"{number}.mp4", first, number)
        one, two = ("light", "dark") if first else ("dark", "light")
        segments += [f"{number}.mp4,0,4.5,{one}", f"{number}.mp4,4.5,6,{two}"]
        classes.append(f"{number}.mp4,{'mostly light' if first else 'mostly dark'}")
    (folder / "segments.csv").write_text("\n".join(segments))
    (folder / "classes.csv").write_text("\n".join(classes))
    return folder


def config(folder: Path, output: Path, **changes: object) -> TrainConfig:
    values: dict[str, object] = {
        "mode": "end-to-end",
        "annotations": str(folder / "segments.csv"),
        "class_annotations": str(folder / "classes.csv"),
        "output": str(output),
        "weights": "random",
        "feature_norm": "none",
        "sampling": SamplingConfig(kind="rate", fps=Fraction(4)),
        "backbone": BackboneConfig(
            "resnet10t", {"channels": [8, 8, 16, 16], "stem_width": 8}, out_index=3,
            grid=(2, 3), projection=32,
        ),
        "preprocess": {"size": 32, "resize": 32, "width": 48, "crop": "squash",
                       "interpolation": "area"},
        "temporal": TemporalConfig(
            num_layers=2, num_heads=4, intermediate_size=64, attention_window=(8,),
            dropout=0.0, attention_dropout=0.0,
        ),
        "data": DataConfig(validation=0.25, unlabelled="background"),
        "optim": OptimConfig(epochs=15, batch_size=4, learning_rate=3e-3),
        "augment": AugmentConfig(horizontal_flip=0.5, permute_channels=0.5),
    }  # fmt: skip
    return TrainConfig(**{**values, **changes})  # type: ignore[arg-type]


def test_both_heads_learn_and_the_model_predicts(dataset: Path, tmp_path: Path) -> None:
    runtime = RuntimeConfig(cache_dir=tmp_path / "cache")
    result = train(config(dataset, tmp_path / "model"), runtime=runtime)
    assert result.task == "both"
    best = result.best.validation
    assert best["accuracy"] > 90, best
    assert best["class_accuracy"] == 100, best
    model = vtnstream.load_model(tmp_path / "model")
    torch.manual_seed(0)
    fresh = vtnstream.create_model(model.config)
    moved = (fresh.backbone.state_dict()[n] - p for n, p in model.backbone.state_dict().items()
             if p.is_floating_point())  # fmt: skip
    assert max(float(d.abs().max()) for d in moved) > 1e-3
    for number, kind in ((0, "mostly light"), (1, "mostly dark")):
        report = vtnstream.timeline(dataset / f"{number}.mp4", model=model, runtime=runtime)
        assert report.classes[0].label == kind
        labels = [s.label for s in report.segments or ()]
        assert labels == (["light", "dark"] if kind == "mostly light" else ["dark", "light"])
        assert (report.segments or ())[0].end == pytest.approx(4.5, abs=0.26)
    lines = (tmp_path / "model" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["epoch"] == 15


def test_frames_that_do_not_fit_into_memory_are_decoded_equally(
    dataset: Path, tmp_path: Path
) -> None:
    held = train(config(dataset, tmp_path / "a", optim=OptimConfig(epochs=1, batch_size=4)))
    data = DataConfig(validation=0.25, unlabelled="background", memory_bytes=300_000)
    again = train(
        config(dataset, tmp_path / "b", optim=OptimConfig(epochs=1, batch_size=4), data=data)
    )
    assert held.records[0].loss == again.records[0].loss
    assert held.records[0].validation == again.records[0].validation


@pytest.mark.parametrize("frozen", [False, True])
def test_batch_norms_are_updated_unless_frozen(dataset: Path, tmp_path: Path, frozen: bool) -> None:
    """The scale is trained in both cases."""
    optim = OptimConfig(epochs=1, batch_size=4, learning_rate=3e-3, freeze_batch_norm=frozen)
    train(config(dataset, tmp_path / "model", optim=optim))
    backbone = vtnstream.load_model(tmp_path / "model").backbone
    norms = [m for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) > 4
    for norm in norms:
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None
        as_made = bool((mean == 0).all() and (variance == 1).all())
        assert as_made == frozen
        assert not (norm.weight == norm.weight[0]).all()


def test_decoded_spans_equal_frames_in_memory(dataset: Path) -> None:
    from vtnstream.datasets.annotations import read_annotations

    videos = read_annotations(dataset / "segments.csv").videos[:2]
    preprocess = PreprocessConfig(size=32, resize=32, width=48, crop="squash")
    ask = {"preprocess": preprocess, "sampling": SamplingConfig(fps=Fraction(4))}
    progress = vtnstream.training.run.NullProgress()
    held = collect_frames(videos, **ask, data=DataConfig(), progress=progress)
    bare = collect_frames(videos, **ask, data=DataConfig(memory_bytes=0), progress=progress)
    for one, other in zip(held, bare, strict=True):
        assert other.features.held is None
        for start, stop in ((0, 24), (3, 9), (23, 24)):
            np.testing.assert_array_equal(
                one.features.span(start, stop), other.features.span(start, stop)
            )


def test_all_frames_of_a_clip_are_augmented_equally() -> None:
    random = np.random.default_rng(0)
    picture = torch.from_numpy(random.integers(0, 255, (1, 1, 6, 8, 3), np.uint8))
    clips = picture.expand(16, 5, -1, -1, -1)
    changed = augment_clips(clips, AugmentConfig(0.5, 0.5, 0.5), np.random.default_rng(1))
    assert (changed == changed[:, :1]).all()
    assert len({clip.numpy().tobytes() for clip in changed}) > 4
    same = augment_clips(clips, AugmentConfig(0, 0, 0), np.random.default_rng(1))
    assert (same == clips).all()


def test_invalid_combinations_are_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="feature_norm"):
        config(dataset, tmp_path, feature_norm="dataset")
    with pytest.raises(ConfigError, match="mixup"):
        train(config(dataset, tmp_path, optim=OptimConfig(mixup=0.2)))
    with pytest.raises(ConfigError, match="cutmix"):
        config(dataset, tmp_path, mode="frozen", optim=OptimConfig(cutmix=0.2))
    with pytest.raises(ConfigError, match="class_annotations"):
        train(config(dataset, tmp_path, task="dense"))
    short = tmp_path / "short.csv"
    short.write_text(f"path,label\n{dataset / '0.mp4'},mostly light\n")
    with pytest.raises(AnnotationError, match="has segments and no class"):
        train(config(dataset, tmp_path, class_annotations=str(short)))
    assert Sample  # the type both kinds share
