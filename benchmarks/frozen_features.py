"""VTN on frozen features against a linear probe on their mean, on one's own labelled clips.

    python -m benchmarks frozen_features LABELS.csv --backbone mobilenetv2_100 \\
        --backbone-arg pad_type=same --weights W.safetensors --mean .5 --std .5 --fps 8

Each fold of the annotations' ``fold`` column is tested once per seed by a model that was trained
on all other folds with the defaults of ``vtnstream train``; the model of the last epoch is used,
and nothing is chosen on the test fold. The probe is logistic regression on the mean of each
video's features. Intervals are 95 % over the seeds' means (Student's t).
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from vtnstream.config import (
    BackboneConfig,
    DataConfig,
    OptimConfig,
    RuntimeConfig,
    SamplingConfig,
    TrainConfig,
)
from vtnstream.datasets.annotations import read_annotations
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.metrics.classification import mean_interval
from vtnstream.models.architectures import require_vtn
from vtnstream.models.backbone import create_backbone, load_backbone_weights, native_preprocess
from vtnstream.models.io.checkpoint import load_model
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.progress import NullProgress
from vtnstream.training.data.features import VideoFeatures, collect_features
from vtnstream.training.probe import fit_probe, mean_pool
from vtnstream.training.run import train


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    base = settings(options)
    with ExitStack() as stack:
        videos = features_of_all(base, RuntimeConfig(cache_dir=options.cache_dir), stack)
        folds = sorted({str(item.video.fold) for item in videos})
        means, targets, groups = pooled(videos)
        by_seed = []
        for seed in range(options.seeds):
            hits = [test_fold(replace(base, seed=seed), fold, videos, options) for fold in folds]
            by_seed.append(sum(hits) / len(videos))
            print(f"seed {seed}: VTN {by_seed[-1]:.4f}", flush=True)
    right = 0.0
    for fold in folds:
        test = groups == fold
        probe = fit_probe(means[~test], targets[~test], int(targets.max()) + 1)
        right += probe.accuracy(means[test], targets[test]) / 100 * test.sum()
    baseline = right / len(videos)
    interval = mean_interval(by_seed)
    print(f"\n{len(videos)} videos, {len(folds)} folds, {options.seeds} seeds")
    print(f"{'':<28}{'accuracy':>10}{'95 % interval':>20}")
    low, high = interval.low, interval.high
    print(f"{'VTN, frozen backbone':<28}{interval.mean:>10.3f}{f'{low:.3f} to {high:.3f}':>20}")
    print(f"{'linear probe on the mean':<28}{baseline:>10.3f}{'(no randomness)':>20}")


def features_of_all(
    base: TrainConfig, runtime: RuntimeConfig, stack: ExitStack
) -> list[VideoFeatures]:
    """Return the stored features of every annotated video."""
    backbone = create_backbone(base.backbone)
    load_backbone_weights(backbone, str(base.weights))
    preprocess = replace(native_preprocess(base.backbone), **base.preprocess)
    return collect_features(
        read_annotations(base.annotations).videos,
        FrameEncoder(backbone, base.backbone, preprocess),
        base.sampling,
        runtime,
        data=base.data,
        stack=stack,
        progress=NullProgress(),
    )


def test_fold(
    config: TrainConfig, fold: str, videos: list[VideoFeatures], options: argparse.Namespace
) -> int:
    """Train on all other folds and count the right predictions on this one."""
    with tempfile.TemporaryDirectory() as directory:
        data = DataConfig(validation=0, exclude_folds=(fold,))
        config = replace(config, output=directory, data=data)
        train(config, runtime=RuntimeConfig(cache_dir=options.cache_dir))
        model = require_vtn(load_model(directory), "this benchmark")
    hits = 0
    for item in videos:
        if str(item.video.fold) == fold:
            logits = encode_sequence(model, item.features).logits
            assert logits is not None
            hits += model.config.head.labels[int(logits.argmax())] == label_of(item)
    return hits


def label_of(item: VideoFeatures) -> str:
    return item.video.annotations[0].label


def pooled(videos: list[VideoFeatures]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean features (V, D), class numbers (V,) and folds (V,)."""
    labels = sorted({label_of(item) for item in videos})
    means = [mean_pool(item.features) for item in videos]
    targets = [labels.index(label_of(item)) for item in videos]
    return np.stack(means), np.array(targets), np.array([str(v.video.fold) for v in videos])


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks frozen_features",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("labels", type=Path)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--backbone-arg", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--mean", type=float, default=None)
    parser.add_argument("--std", type=float, default=None)
    parser.add_argument("--fps", default="8")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=OptimConfig().epochs)
    parser.add_argument("--cache-dir", type=Path, default=None)
    return parser.parse_args(arguments)


def settings(options: argparse.Namespace) -> TrainConfig:
    preprocess = {
        name: [value] * 3
        for name, value in (("mean", options.mean), ("std", options.std))
        if value is not None
    }
    return TrainConfig(
        annotations=str(options.labels),
        weights=options.weights,
        backbone=BackboneConfig(
            options.backbone, dict(pair.split("=", 1) for pair in options.backbone_arg)
        ),
        preprocess=preprocess,
        sampling=SamplingConfig(fps=Fraction(options.fps)),
        optim=OptimConfig(epochs=options.epochs),
        recipe="own",
    )
