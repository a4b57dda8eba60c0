"""Several class heads, verb and noun: losses, metrics, and a model that learns both."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from vtnstream import api
from vtnstream.config import (
    BackboneConfig,
    CheckpointConfig,
    ClassHead,
    DataConfig,
    HeadConfig,
    OptimConfig,
    RuntimeConfig,
    SamplingConfig,
    TemporalConfig,
    TrainConfig,
)
from vtnstream.config.shipped import shipped
from vtnstream.config.views import ViewsConfig
from vtnstream.errors import ConfigError, TrainingError
from vtnstream.models.io.card import model_card
from vtnstream.models.io.checkpoint import load_model
from vtnstream.models.vivit.model import ViViT
from vtnstream.models.vtn.model import VTNOutput
from vtnstream.progress import NullProgress
from vtnstream.training.accelerator import Engine
from vtnstream.training.data.batches import Batch
from vtnstream.training.data.mixing import mixup
from vtnstream.training.losses import head_loss
from vtnstream.training.resume import UNFINISHED_FILE
from vtnstream.training.run import TrainResult, train
from vtnstream.training.settings import train_config
from vtnstream.training.training_accuracy import TrainingAccuracy
from vtnstream.video.write import write_video

SIZES = (2, 3)
HEADS = (ClassHead("verb", ("put", "take")), ClassHead("noun", ("cup", "lid", "pan"), 2))
LABELS = torch.tensor([[0, 2], [1, 4], [1, 3]])
"""Columns of the logits: put cup, take pan, take lid."""
LOGITS = torch.tensor(
    [
        [2.0, 1.0, 3.0, 0.0, 1.0],  # put cup
        [0.5, 1.5, 0.0, 2.0, 1.0],  # take lid
        [1.0, 0.0, 0.0, 2.0, 1.0],  # put lid
    ]
)


def batch(labels: torch.Tensor = LABELS) -> Batch:
    return Batch(torch.zeros(3, 2, 4), torch.zeros(3, 2, dtype=torch.int64), None, labels, None)


def loss_of(row: np.ndarray, target: np.ndarray) -> float:
    return float(-(target * (row - np.log(np.exp(row).sum()))).sum())


def test_the_loss_is_the_sum_of_the_losses_of_the_heads() -> None:
    rows, wanted = LOGITS.double().numpy(), np.eye(5)[LABELS.numpy()].sum(1)
    expected = [
        np.mean([loss_of(r[part], w[part]) for r, w in zip(rows, wanted, strict=True)])
        for part in (slice(0, 2), slice(2, 5))
    ]
    loss = head_loss(VTNOutput(LOGITS, None), batch(), class_sizes=SIZES)
    assert float(loss) == pytest.approx(sum(expected), rel=1e-6)
    one = head_loss(VTNOutput(LOGITS[:, :2], None), batch(LABELS[:, 0]))
    assert float(one) == pytest.approx(expected[0], rel=1e-6)


def test_mixed_labels_and_class_weights_are_those_of_each_head() -> None:
    mixed, soft = mixup(batch(), 5, 0.8, np.random.default_rng(0))
    assert torch.allclose(soft[:, :2].sum(1), torch.ones(3))
    assert torch.allclose(soft[:, 2:].sum(1), torch.ones(3))
    assert not torch.allclose(soft, soft.round())
    rows, wanted = LOGITS.double().numpy(), soft.double().numpy()
    expected = sum(
        np.mean([loss_of(r[part], w[part]) for r, w in zip(rows, wanted, strict=True)])
        for part in (slice(0, 2), slice(2, 5))
    )
    loss = head_loss(VTNOutput(LOGITS, None), mixed, soft_labels=soft, class_sizes=SIZES)
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    weights = torch.tensor([3.0, 1.0, 1.0, 2.0, 0.5])
    loss = head_loss(VTNOutput(LOGITS, None), batch(), class_weights=weights, class_sizes=SIZES)
    total = 0.0
    for number, part in enumerate((slice(0, 2), slice(2, 5))):
        own = weights[LABELS[:, number]].double().numpy()
        hot = np.eye(5)[LABELS[:, number].numpy()]
        terms = [loss_of(r[part], h[part]) for r, h in zip(rows, hot, strict=True)]
        total += float((own * terms).sum() / own.sum())
    assert float(loss) == pytest.approx(total, rel=1e-6)


def test_training_accuracy_of_each_head_and_of_both() -> None:
    found = TrainingAccuracy(torch.device("cpu"), HEADS)
    found.add(VTNOutput(LOGITS, None), batch(), None)
    expected = {"accuracy": 100 / 3, "verb_accuracy": 200 / 3, "noun_accuracy": 200 / 3}
    assert found.metrics(Engine()) == pytest.approx(expected)
    other = TrainingAccuracy(torch.device("cpu"), HEADS)
    other.load(found.state())
    assert other.metrics(Engine()) == pytest.approx(expected)
    soft = torch.eye(5)[LABELS].sum(1)
    other.load([])
    other.add(VTNOutput(LOGITS, None), batch(), soft)
    assert other.metrics(Engine()) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("heads", "labels", "words"),
    [
        (("verb",), ("verb:put",), "one class head needs no name"),
        (("verb", "verb"), (), "named twice"),
        (("verb", "a:b"), (), "cannot name a class head"),
        (("verb", "action"), (), "cannot name a class head"),
        (("verb", "noun"), ("verb:put", "cup"), "HEAD:LABEL"),
        (("verb", "noun"), ("noun:cup", "verb:put"), "one head after the other"),
        (("verb", "noun"), ("verb:put", "noun:cup", "verb:take"), "one head after the other"),
    ],
)
def test_wrong_heads_are_refused(
    heads: tuple[str, ...], labels: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        HeadConfig(labels=labels, heads=heads)


VERBS = {0: ("dim", 60), 3: ("glow", 190)}
NOUNS = {2: ("blue", (-40, -40, 40)), 7: ("green", (-40, 40, -40)), 9: ("red", (40, -40, -40))}
HEADER = (
    "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,verb,verb_class,noun,"
    "noun_class"
)
SPLITS = {"train": ("P01_01", "P01_02", "P02_01", "P02_02"), "validation": ("P03_01",)}


def write_kitchen(folder: Path, name: str, seed: int) -> list[str]:
    """Write a video of all six combinations, 2 s each, and return its lines. Each segment overlaps
    the next."""
    random = np.random.default_rng(seed)
    frames, lines = [], []
    for number, place in enumerate(random.permutation(6)):
        verb, noun = list(VERBS)[place // 3], list(NOUNS)[place % 3]
        colour = VERBS[verb][1] + np.array(NOUNS[noun][1])
        noise = random.integers(-15, 16, (8, 32, 32, 3))
        frames.append(np.clip(colour + noise, 0, 255).astype(np.uint8))
        start, stop = 2 * number, 2 * number + (2.25 if number < 5 else 2)
        times = f"00:00:{start:05.2f},00:00:{stop:05.2f}"
        lines.append(f"{name}_{number},{name[:3]},{name},{times},word,{verb},thing,{noun}")
    write_video(folder / "videos" / f"{name}.MP4", iter(np.concatenate(frames)), 4)
    return lines


@pytest.fixture(scope="module")
def kitchens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Annotations and videos in the form of EPIC-Kitchens-100."""
    folder = tmp_path_factory.mktemp("epic")
    (folder / "videos").mkdir()
    for split, names in SPLITS.items():
        lines = [HEADER]
        for name in names:
            lines += write_kitchen(folder, name, int(name.replace("P", "").replace("_", "")))
        (folder / f"EPIC_100_{split}.csv").write_text("\n".join(lines) + "\n")
    for head, known in (("verb", VERBS), ("noun", NOUNS)):
        rows = [f"{number},{name},\"['{name}']\",x" for number, (name, _) in known.items()]
        file = folder / f"EPIC_100_{head}_classes.csv"
        file.write_text("\n".join(["id,key,instances,category", *rows]))
    return folder


def config(annotations: Path, output: Path, **changes: object) -> TrainConfig:
    base = TrainConfig(
        annotations=str(annotations),
        output=str(output),
        weights="random",
        sampling=SamplingConfig(fps=Fraction(4)),
        backbone=BackboneConfig("test_resnet"),
        preprocess={"size": 32, "resize": 32},
        temporal=TemporalConfig(
            num_layers=1,
            num_heads=2,
            hidden_size=32,
            intermediate_size=32,
            attention_window=(4,),
            positions="none",
            dropout=0.0,
            attention_dropout=0.0,
        ),
        head=HeadConfig(dropout=0.0),
        optim=OptimConfig(epochs=12, batch_size=8, learning_rate=1e-2, class_weights="balanced"),
    )
    return replace(base, **changes)


@pytest.fixture(scope="module")
def trained(kitchens: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainResult]:
    folder = tmp_path_factory.mktemp("model")
    runtime = RuntimeConfig(cache_dir=folder / "cache", dtype="float32")
    result = train(config(kitchens, folder / "model"), runtime=runtime)
    return folder / "model", result


def test_both_heads_are_learned(trained: tuple[Path, TrainResult], kitchens: Path) -> None:
    folder, result = trained
    assert result.task == "classification" and result.recipe == "own"
    assert result.labels == ("verb:dim", "verb:glow", "noun:blue", "noun:green", "noun:red")
    assert (result.num_train, result.num_validation) == (24, 6)
    for metrics in (result.best.validation, result.records[-1].training):
        assert min(metrics[f"{head}accuracy"] for head in ("", "verb_", "noun_")) >= 80, metrics
    model = load_model(folder)
    assert model.config.head.heads == ("verb", "noun")
    assert model.config.head.class_sizes == (2, 3)
    card = model_card(folder)
    assert "## Classes of a video: verb\n\ndim, glow" in card
    assert "## Classes of a video: noun\n\nblue, green, red" in card
    assert "| validation noun\\_accuracy |" in card


def test_a_result_has_both_heads_and_their_product(
    trained: tuple[Path, TrainResult], kitchens: Path, tmp_path: Path
) -> None:
    folder, _ = trained
    runtime = RuntimeConfig(cache_dir=tmp_path / "cache", dtype="float32")
    video = kitchens / "videos" / "P03_01.MP4"
    model = load_model(folder)
    report = api.classify(video, model=model, start=0, end=2, runtime=runtime)
    assert [head.name for head in report.heads] == ["verb", "noun"]
    verbs, nouns = ({c.label: c.score for c in head.classes} for head in report.heads)
    assert sum(verbs.values()) == pytest.approx(1) and sum(nouns.values()) == pytest.approx(1)
    assert set(verbs) == {"dim", "glow"} and set(nouns) == {"blue", "green", "red"}
    products = {f"{v} {n}": verbs[v] * nouns[n] for v in verbs for n in nouns}
    assert {c.label: c.score for c in report.classes} == pytest.approx(products)
    scores = [c.score for c in report.classes]
    assert scores == sorted(scores, reverse=True)
    views = api.classify(video, model=model, views=ViewsConfig(num_clips=2), runtime=runtime)
    for head in views.heads:
        assert sum(c.score for c in head.classes) == pytest.approx(1, abs=1e-5)
    timeline = api.timeline(video, model=model, window=8, runtime=runtime)
    tracks = {segment.track: set() for segment in timeline.segments or ()}
    for segment in timeline.segments or ():
        tracks[segment.track].add(segment.label.partition(":")[0])
    assert tracks == {"verb": {"verb"}, "noun": {"noun"}}


def test_a_run_continues_with_both_heads(kitchens: Path, tmp_path: Path) -> None:
    """An interrupted run gives the same losses and metrics as one in a single piece."""
    runtime = RuntimeConfig(cache_dir=tmp_path / "cache", dtype="float32")
    optim = replace(config(kitchens, tmp_path).optim, epochs=3, mixup=0.2, average=0.9)
    checkpoint = CheckpointConfig(seconds=0)
    whole = config(kitchens, tmp_path / "whole", optim=optim, checkpoint=checkpoint)
    train(whole, runtime=runtime)

    class Interrupt(NullProgress):
        def advance(self, done: float, *, note: str = "") -> None:
            if "loss" in note and done > 1.4:
                raise KeyboardInterrupt

    parts = replace(whole, output=str(tmp_path / "parts"))
    with pytest.raises(KeyboardInterrupt):
        train(parts, runtime=runtime, progress=Interrupt())
    assert (tmp_path / "parts" / UNFINISHED_FILE).exists()
    train(parts, runtime=runtime)
    one, two = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "parts")
    )
    keep = ("epoch", "loss", "validation", "training")
    assert [{k: r[k] for k in keep} for r in one] == [{k: r[k] for k in keep} for r in two]


def test_several_heads_are_for_classification_only(kitchens: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"heads \(verb, noun\) are for task = classification"):
        train(config(kitchens, tmp_path / "m", task="dense"))
    with pytest.raises(ConfigError, match="there are 2 class heads"):
        train(config(kitchens, tmp_path / "m", recipe="probe", optim=OptimConfig()))
    table = tmp_path / "one.csv"
    video = kitchens / "videos" / "P03_01.MP4"
    table.write_text(
        f"path,start,end,label:verb,label:noun\n{video},0,2,put,cup\n{video},2,4,put,lid\n"
    )
    data = DataConfig(validation=0)
    with pytest.raises(TrainingError, match="only one verb to learn from"):
        train(
            config(table, tmp_path / "m", data=data),
            runtime=RuntimeConfig(cache_dir=tmp_path / "cache", dtype="float32"),
        )


def test_the_recipe_of_epic_kitchens_takes_the_steps_of_the_paper(
    kitchens: Path, tmp_path: Path
) -> None:
    path = shipped("train") / "epic100_vivit_l_fe.toml"
    asked = train_config(path)
    optim = asked.optim
    # The sum of two losses at half the rate, clipped at twice the norm, is their mean at 0.5 and 1.
    assert (2 * optim.learning_rate, optim.grad_clip / 2) == (0.5, 1)
    assert (optim.epochs, optim.batch_size, optim.mixup, optim.label_smoothing) == (
        50,
        64,
        0.1,
        0.2,
    )
    assert (optim.stochastic_depth, asked.augment.rand_augment) == (0.2, (2, 15))
    assert asked.vivit is not None and asked.vivit.stride == 1 and asked.sampling.fps == 12.5
    small = {
        "backbone.name": "test_vit",
        "backbone.arguments": {"img_size": 32},
        "preprocess.size": 32,
        "preprocess.resize": 36,
        "augment.short_side": [36, 44],
        "vivit.num_frames": 4,
        "vivit.temporal_layers": 1,
        "optim.epochs": 1,
        "optim.batch_size": 12,
        "pretrained": False,
        "weights": "random",
        "annotations": str(kitchens),
        "output": str(tmp_path / "m"),
    }
    result = train(train_config(path, small), runtime=RuntimeConfig(device="cpu"))
    assert result.records[-1].steps == 2 and result.num_train == 24
    assert {"accuracy", "verb_accuracy", "noun_accuracy"} <= set(result.best.validation)
    model = load_model(tmp_path / "m")
    assert isinstance(model, ViViT) and model.head is not None
    assert model.head.out_features == 5 and model.config.head.heads == ("verb", "noun")
