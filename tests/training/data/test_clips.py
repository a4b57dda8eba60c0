"""Clips as in the papers: footprint, sides, crops, one random change per clip, mixing."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.test_run import Recorder, config, write_scenes
from vtnstream import api
from vtnstream.config import (
    AugmentConfig,
    DataConfig,
    OptimConfig,
    PreprocessConfig,
    RuntimeConfig,
    SamplingConfig,
    TrainConfig,
)
from vtnstream.config.train import RANDOM_WEIGHTS
from vtnstream.errors import ConfigError
from vtnstream.models.io.checkpoint import load_model
from vtnstream.training.data.augment import augment_clips, draw_change
from vtnstream.training.data.batches import Batch
from vtnstream.training.data.clips import clip_sampling, clip_stride
from vtnstream.training.data.mixing import cutmix, mix_batch, mixup
from vtnstream.training.run import train
from vtnstream.training.settings import train_config

SIZE = PreprocessConfig(size=32, resize=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of one colour each; the first is shorter than a clip."""
    folder = tmp_path_factory.mktemp("films")
    lines = ["path,label"]
    for number in range(8):
        name = ("blue", "red")[number % 2]
        write_scenes(folder / f"{number}.mp4", [(name, 1 if number == 0 else 5)], number)
        lines.append(f"{number}.mp4,{name}")
    (folder / "classes.csv").write_text("\n".join(lines))
    return folder


def footprint(seconds: float, frames: int, sampling: SamplingConfig) -> TrainConfig:
    data = DataConfig(clip_tokens=frames, clip_seconds=seconds)
    return TrainConfig(mode="end-to-end", feature_norm="none", sampling=sampling, data=data)


def test_footprints_equal_those_of_the_paper() -> None:
    """16 frames over 5.12 s are every 8th at 25 frames/s, with the positions 0, 8, 16 ..."""
    uniform = SamplingConfig(kind="uniform", num_frames=250)
    for seconds, frames, stride in ((5.12, 16, 8), (2.56, 16, 4), (5.12, 32, 4), (2.56, 32, 2)):
        asked = footprint(seconds, frames, uniform)
        assert clip_stride(asked) == stride
        assert clip_sampling(asked) == SamplingConfig(kind="rate", fps=Fraction(25))
    own = SamplingConfig(fps=Fraction(2))
    assert clip_stride(footprint(16.0, 8, own)) == 4
    assert clip_sampling(footprint(16.0, 8, own)) == own
    with pytest.raises(ConfigError, match="take 12 seconds"):
        clip_stride(footprint(5.12, 24, own))
    with pytest.raises(ConfigError, match="clip_tokens"):
        DataConfig(clip_seconds=2.0)
    with pytest.raises(ConfigError, match="end-to-end"):
        TrainConfig(data=DataConfig(clip_tokens=4, clip_seconds=2.0))


def test_clips_with_a_footprint_are_trained_on(folder: Path, tmp_path: Path) -> None:
    seen: list[Batch] = []
    import vtnstream.training.data.batches as batches
    import vtnstream.training.data.reading as reading

    whole = batches.assemble

    def watched(*args: object, **more: object) -> Batch:
        batch = whole(*args, **more)  # type: ignore[arg-type]
        seen.append(batch)
        return batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "assemble", watched)
        settings = config(
            folder / "classes.csv",
            tmp_path / "m",
            mode="end-to-end",
            feature_norm="none",
            sampling=SamplingConfig(kind="uniform", num_frames=12),
            data=DataConfig(validation=0.25, clip_tokens=6, clip_seconds=2.4),
            optim=OptimConfig(epochs=6, batch_size=4, learning_rate=1e-2),
            augment=AugmentConfig(short_side=(34, 44)),
        )
        result = train(settings, runtime=RuntimeConfig(device="cpu"))
    assert result.best.validation["accuracy"] == 100
    for batch in seen:
        assert batch.inputs.shape[1:] == (6, 32, 32, 3)
        assert batch.padding_mask is None
        assert batch.indices.tolist() == [list(range(0, 60, 10))] * len(batch.inputs)
    model = load_model(tmp_path / "m")
    assert model.config.sampling.num_frames == 12
    assert model.config.temporal.window_positions == "clip"
    report = api.classify(folder / "1.mp4", model=model, runtime=RuntimeConfig(device="cpu"))
    assert report.classes[0].label == "red"


def test_crops_equal_crops_of_the_scaled_frame() -> None:
    """Scaling and cropping in one step equals scaling first and cropping afterwards."""
    from torchvision.transforms.v2 import functional

    rng = np.random.default_rng(0)
    smooth = torch.from_numpy(rng.integers(0, 255, (1, 3, 4, 6), np.uint8))
    picture = functional.resize(smooth, [120, 180], antialias=True)
    clip = picture.permute(0, 2, 3, 1).expand(3, -1, -1, -1)
    sides = set()
    for seed in range(20):
        drawn = AugmentConfig(horizontal_flip=0, short_side=(40, 60))
        change = draw_change(drawn, SIZE, np.random.default_rng(seed))
        found = change(clip)
        assert found.shape == (3, 32, 32, 3) and (found == found[:1]).all()
        assert change.box is not None
        share, across, down = change.box
        side = round(32 / share)
        sides.add(side)
        scaled = functional.resize(picture, [side, round(side * 1.5)], antialias=True)
        top, left = round(down * (side - 32)), round(across * (round(side * 1.5) - 32))
        expected = scaled[0, :, top : top + 32, left : left + 32].permute(1, 2, 0)
        assert (found[0].float() - expected.float()).abs().mean() < 6
    assert min(sides) < 44 and max(sides) > 56


@pytest.mark.parametrize(
    "drawn",
    [
        {"rand_augment": (2, 9)},
        {"colour_jitter": 0.4},
        {"grey": 0.5},
        {"erasing": 0.5},
        {"short_side": (32, 40), "rand_augment": (1, 15), "grey": 0.2},
    ],
)
def test_all_frames_of_a_clip_share_one_random_change(drawn: dict[str, object]) -> None:
    rng = np.random.default_rng(0)
    picture = torch.from_numpy(rng.integers(0, 255, (1, 1, 32, 32, 3), np.uint8))
    clips = picture.expand(12, 4, -1, -1, -1)
    asked = AugmentConfig(horizontal_flip=0, **drawn)  # type: ignore[arg-type]
    state = torch.get_rng_state()
    changed = augment_clips(clips, asked, np.random.default_rng(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert changed.dtype == torch.uint8 and (changed == changed[:, :1]).all()
    assert len({clip.numpy().tobytes() for clip in changed}) > 1
    assert torch.equal(changed, augment_clips(clips, asked, np.random.default_rng(1)))


def frames_batch(count: int = 6, labels: tuple[int, ...] = (0, 1, 2, 0, 1, 2)) -> Batch:
    inputs = torch.stack([torch.full((3, 16, 20, 3), 10 * n, dtype=torch.uint8) for n in range(6)])
    indices = torch.arange(3).expand(6, -1)
    return Batch(inputs[:count], indices[:count], None, torch.tensor(labels[:count]), None)


def test_cutmix_uses_one_box_for_all_frames() -> None:
    batch, rng = frames_batch(), np.random.default_rng(0)
    shares = set()
    for _ in range(10):
        mixed, soft = cutmix(batch, 3, 1.0, rng)
        first = mixed.inputs[:, :1]
        assert (mixed.inputs == first).all(), "another box in another frame"
        for row in range(6):
            values, counts = mixed.inputs[row, 0, :, :, 0].unique(return_counts=True)
            own = counts[values == 10 * row].sum() / (16 * 20)
            if len(values) == 2:
                other = int(values[values != 10 * row] // 10)
                expected = torch.zeros(3)
                expected[row % 3] += own
                expected[other % 3] += 1 - own
                torch.testing.assert_close(soft[row], expected)
            shares.add(round(float(own), 3))
    assert len(shares) > 5
    assert (batch.inputs == frames_batch().inputs).all()


def test_mixup_mixes_pixels_but_no_dense_labels() -> None:
    batch = frames_batch()
    mixed, soft = mixup(batch, 3, 0.8, np.random.default_rng(2))
    assert mixed.inputs.is_floating_point()
    torch.testing.assert_close(soft.sum(1), torch.ones(6))
    dense = replace(batch, targets=torch.zeros(6, 3, dtype=torch.int64))
    same, none = mix_batch(dense, 3, OptimConfig(mixup=0.8), np.random.default_rng(0))
    assert same is dense and none is None
    kinds = set()
    for seed in range(12):
        asked = OptimConfig(mixup=0.8, cutmix=1.0)
        found, _ = mix_batch(batch, 3, asked, np.random.default_rng(seed))
        kinds.add(found.inputs.is_floating_point())
    assert kinds == {True, False}


def test_two_stage_training_runs_and_resumes(folder: Path, tmp_path: Path) -> None:
    settings = config(
        folder / "classes.csv",
        tmp_path / "m",
        mode="two-stage",
        first=OptimConfig(epochs=6, batch_size=4, learning_rate=1e-2),
        optim=OptimConfig(epochs=2, batch_size=4, learning_rate=1e-4, backbone_factor=0.1),
    )
    runtime = RuntimeConfig(device="cpu", cache_dir=tmp_path / "store")
    progress = Recorder()
    result = train(settings, runtime=runtime, progress=progress)
    assert progress.started == ["extracting features", "training", "decoding", "training"]
    first, second = load_model(tmp_path / "m" / "frozen"), load_model(tmp_path / "m")
    a, b = first.state_dict(), second.state_dict()
    assert torch.equal(a["feature_norm.mean"], b["feature_norm.mean"])
    moved = [name for name in a if not torch.equal(a[name], b[name])]
    assert any(name.startswith("backbone.") for name in moved)
    before = result.records[0].loss
    alone = replace(settings, mode="end-to-end", feature_norm="none", output=str(tmp_path / "e"))
    assert before < 0.8 * train(alone, runtime=runtime).records[0].loss
    again = Recorder()
    train(settings, runtime=runtime, progress=again)  # the first stage stands
    assert again.started == ["decoding", "training"]


def test_the_start_model_is_checked(folder: Path, tmp_path: Path) -> None:
    runtime = RuntimeConfig(device="cpu", cache_dir=tmp_path / "store")
    quick = OptimConfig(epochs=1, batch_size=4)
    asked = config(folder / "classes.csv", tmp_path / "a", optim=quick)
    train(asked, runtime=runtime)
    begun = replace(asked, start=str(tmp_path / "a"), output=str(tmp_path / "b"))
    told = Recorder()
    train(replace(begun, weights=None), runtime=runtime, progress=told)
    assert not told.warnings
    other = replace(begun, temporal=replace(begun.temporal, hidden_size=8))
    with pytest.raises(ConfigError, match="start is a model of another shape"):
        train(other, runtime=runtime)
    more = (folder / "classes.csv").read_text().replace("7.mp4,red", "7.mp4,green")
    (folder / "more.csv").write_text(more)
    data = DataConfig(validation=0)
    third = replace(begun, annotations=str(folder / "more.csv"), data=data)
    assert train(replace(third, output=str(tmp_path / "c")), runtime=runtime).labels == (
        "blue",
        "green",
        "red",
    )


def test_a_vivit_learns(folder: Path, tmp_path: Path) -> None:
    tiny = {
        "preset": "vivit-b-16x2-fe",
        "mode": "end-to-end",
        "annotations": str(folder / "classes.csv"),
        "output": str(tmp_path / "m"),
        "weights": RANDOM_WEIGHTS,
        "backbone.name": "test_vit",
        "backbone.arguments": {"img_size": 32, "depth": 2},
        "preprocess": {"size": 32, "resize": 32},
        "vivit.num_frames": 4,
        "vivit.stride": 8,
        "sampling.fps": "25/16",
        "vivit.temporal_layers": 1,
        "data.validation": 0.25,
        "optim.epochs": 5,
        "optim.batch_size": 4,
        "optim.learning_rate": 3e-3,
        "optim.gradient_checkpointing": True,
        "optim.stochastic_depth": 0.1,
    }
    result = train(train_config(None, tiny), runtime=RuntimeConfig(device="cpu"))
    assert result.best.validation["accuracy"] == 100
    model = load_model(tmp_path / "m")
    assert model.config.architecture == "vivit"
    assert "drop_path_rate" not in model.config.backbone.arguments
    report = api.classify(folder / "1.mp4", model=model, runtime=RuntimeConfig(device="cpu"))
    assert report.classes[0].label == "red"
    with pytest.raises(ConfigError, match="trained from pixels"):
        train_config(None, {**tiny, "mode": "frozen", "optim.stochastic_depth": 0.0})
    with pytest.raises(ConfigError, match="classification"):
        train_config(None, {**tiny, "task": "dense"})


def test_times_come_from_headers_if_frames_do_not_fit(folder: Path, tmp_path: Path) -> None:
    """A large dataset is not decoded before training."""
    settings = config(
        folder / "classes.csv",
        tmp_path / "held",
        mode="end-to-end",
        feature_norm="none",
        sampling=SamplingConfig(kind="uniform", num_frames=12),
        optim=OptimConfig(epochs=2, batch_size=4),
        augment=AugmentConfig(short_side=(34, 44)),
    )
    data = DataConfig(validation=0.25, clip_tokens=6, clip_seconds=2.4)
    losses = []
    for name, memory in (("held", 10**9), ("read", 0)):
        asked = replace(
            settings, output=str(tmp_path / name), data=replace(data, memory_bytes=memory)
        )
        result = train(asked, runtime=RuntimeConfig(device="cpu"))
        losses.append([(record.loss, dict(record.validation)) for record in result.records])
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"optim": OptimConfig(stochastic_depth=0.1)},
        {"optim": OptimConfig(layer_decay=0.8)},
        {"augment": AugmentConfig(rand_augment=(2, 9))},
        {"augment": AugmentConfig(short_side=(256, 320))},
    ],
)
def test_options_of_pixel_training_are_refused_for_stored_features(
    changes: dict[str, object],
) -> None:
    with pytest.raises(ConfigError, match="needs pixels"):
        TrainConfig(**changes)  # type: ignore[arg-type]
