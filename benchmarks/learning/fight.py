"""Real labelled clips, tested fold by fold.

Compared are a sequence with the mean of its frames, a trained backbone with stored features, and
learned with uniform attention (paper figure 4 and Table 2d).

    python -m benchmarks learning fight FOLDER --backbone mobilenetv2_100 \\
        --backbone-arg pad_type=same --weights W.safetensors --mean .5 --std .5

FOLDER holds ``labels.csv`` (path, label, fold, scene); clips of one scene share a fold. Each
fold is tested once per seed by a model that was trained on the others: last epoch, recipes fixed
beforehand, nothing chosen on any fold. Intervals are 95 % over videos (bootstrap). *end-to-end*
trains encoder and head on stored features first, then everything from pixels with frozen batch
norms: eight clips are too few to estimate new statistics.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks import common
from benchmarks.frozen_features import features_of_all, label_of, pooled
from vtnstream.analyzer import Analyzer
from vtnstream.config import (
    BackboneConfig,
    DataConfig,
    OptimConfig,
    RuntimeConfig,
    SamplingConfig,
    TemporalConfig,
    TrainConfig,
)
from vtnstream.inference.request import Request
from vtnstream.metrics.classification import bootstrap_interval
from vtnstream.training.data.features import VideoFeatures
from vtnstream.training.probe import fit_probe
from vtnstream.training.run import train

AIM = 75.0
"""Target accuracy in percent of the model trained end to end."""
PROBE = "linear probe on the mean"


class Clip(NamedTuple):
    """One labelled clip."""

    path: str
    label: str
    fold: str


@dataclass(frozen=True)
class Contender:
    """One recipe: the ``mode`` of training, and differences in the temporal encoder."""

    mode: str = "frozen"
    temporal: dict[str, Any] = field(default_factory=dict)


CONTENDERS = {
    PROBE: Contender(),
    "frozen VTN": Contender(),
    "frozen VTN, uniform attention": Contender(temporal={"attention": "uniform"}),
    "end-to-end VTN": Contender("two-stage"),
    "end-to-end VTN, uniform attention": Contender("two-stage", {"attention": "uniform"}),
}


def main(arguments: list[str]) -> None:
    options = parse(arguments[1:])
    torch.set_num_threads(1)
    result = common.Result(
        "learning_fight",
        settings={
            "seeds": options.seeds,
            "pixels": options.size,
            "fps": str(options.fps),
            "epochs frozen": options.epochs,
            "epochs end to end": options.epochs_end_to_end,
        },
    )
    base = settings(options)
    with ExitStack() as stack:
        cache = stack.enter_context(tempfile.TemporaryDirectory())
        runtime = RuntimeConfig(cache_dir=Path(cache), dtype="float32")
        videos = features_of_all(base, runtime, stack)
        hits = {
            name: measure(name, base, videos, runtime, options)
            for name in options.only or CONTENDERS
        }
    report(result, videos, hits)
    result.deliver(options)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = common.parser("learning fight", __doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--backbone-arg", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--weights", required=True, help="of the backbone")
    parser.add_argument("--mean", type=float, help="of all colours [the backbone's own]")
    parser.add_argument("--std", type=float, help="of all colours [the backbone's own]")
    parser.add_argument("--size", type=int, default=112, help="pixels [112]")
    parser.add_argument("--fps", type=Fraction, default=Fraction(4), help="[4]")
    parser.add_argument("--seeds", type=int, default=3, help="[3]")
    parser.add_argument("--epochs", type=int, default=40, help="on stored features [40]")
    parser.add_argument("--epochs-end-to-end", type=int, default=4, help="[4]")
    parser.add_argument("--workers", type=int, default=1, help="trainings side by side [1]")
    parser.add_argument("--only", action="append", choices=list(CONTENDERS))
    return parser.parse_args(arguments)


def settings(options: argparse.Namespace) -> TrainConfig:
    """Return the settings that all contenders share, such as the frozen backbone."""
    arguments = dict(pair.split("=", 1) for pair in options.backbone_arg)
    colours = {"mean": options.mean, "std": options.std}
    return TrainConfig(
        annotations=str(options.folder / "labels.csv"),
        weights=options.weights,
        backbone=BackboneConfig(options.backbone, arguments),
        preprocess={
            **{name: [value] * 3 for name, value in colours.items() if value is not None},
            "size": options.size,
            "resize": options.size,
        },
        sampling=SamplingConfig(fps=options.fps),
        recipe="own",
    )


def recipe(name: str, base: TrainConfig, options: argparse.Namespace) -> TrainConfig:
    """Return the training configuration of one contender."""
    contender = CONTENDERS[name]
    temporal = TemporalConfig(
        **{
            "num_layers": 2,
            "num_heads": 4,
            "hidden_size": 128,
            "intermediate_size": 256,
            "token_inputs": "feature+difference",
            **contender.temporal,
        }
    )
    frozen = OptimConfig(epochs=options.epochs)
    if contender.mode == "frozen":
        return replace(base, temporal=temporal, optim=frozen)
    optim = OptimConfig(
        epochs=options.epochs_end_to_end,
        batch_size=8,
        learning_rate=1e-4,
        backbone_factor=0.1,
        freeze_batch_norm=True,
    )
    return replace(base, mode=contender.mode, temporal=temporal, first=frozen, optim=optim)


def measure(
    name: str,
    base: TrainConfig,
    videos: list[VideoFeatures],
    runtime: RuntimeConfig,
    options: argparse.Namespace,
) -> np.ndarray:
    """Return (seeds, videos): 1 if a clip was classified correctly when its fold was tested."""
    if name == PROBE:
        return probe_hits(videos)[None]
    clips = [Clip(str(v.video.path), label_of(v), str(v.video.fold)) for v in videos]
    recipes = [replace(recipe(name, base, options), seed=seed) for seed in range(options.seeds)]
    jobs = [(config, fold) for config in recipes for fold in sorted({c.fold for c in clips})]
    rows = np.zeros((options.seeds, len(clips)))
    for config, fold, hits in _tested(jobs, clips, runtime, options.workers):
        rows[config.seed, list(hits)] = list(hits.values())
        share = 100 * float(np.mean(list(hits.values())))
        common.say(f"seed {config.seed}, fold {fold}, {name}: {share:.1f}")
    return rows


def _tested(
    jobs: Sequence[tuple[TrainConfig, str]],
    clips: Sequence[Clip],
    runtime: RuntimeConfig,
    workers: int,
) -> Iterator[tuple[TrainConfig, str, dict[int, bool]]]:
    """Yield each job with its :func:`test_fold`, in processes of their own if there are several."""
    if workers == 1:
        for config, fold in jobs:
            yield config, fold, test_fold(config, fold, clips, runtime)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        tests = {pool.submit(test_fold, *job, clips, runtime): job for job in jobs}
        for done in as_completed(tests):
            yield *tests[done], done.result()


def probe_hits(videos: list[VideoFeatures]) -> np.ndarray:
    """Return the hits (videos,) of logistic regression on mean features, which has no
    randomness."""
    means, targets, folds = pooled(videos)
    hits = np.zeros(len(videos))
    for fold in np.unique(folds):
        test = folds == fold
        probe = fit_probe(means[~test], targets[~test], int(targets.max()) + 1)
        hits[test] = probe.logits(means[test]).argmax(1) == targets[test]
    return hits


def test_fold(
    config: TrainConfig, fold: str, clips: Sequence[Clip], runtime: RuntimeConfig
) -> dict[int, bool]:
    """Train on all other folds, and classify the clips of this one as ``vtnstream classify``
    does.

    Returns:
        index of a clip of this fold -> whether it was classified correctly.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = DataConfig(validation=0, exclude_folds=(fold,))
        train(replace(config, output=folder, data=data), runtime=runtime)
        if config.mode != "frozen":  # no other contender uses the features of this backbone
            runtime = replace(runtime, use_cache=False)
        analyzer = Analyzer(folder, runtime=runtime)
    return {
        place: analyzer.classify(clip.path, Request()).classes[0].label == clip.label
        for place, clip in enumerate(clips)
        if clip.fold == fold
    }


def report(result: common.Result, videos: list[VideoFeatures], hits: dict[str, np.ndarray]) -> None:
    """Make the table with one row per contender."""
    folds = len({item.video.fold for item in videos})
    table = result.table(
        f"Per cent of {len(videos)} clips named rightly, {folds} folds by scene",
        *("learned by", "right", "95 %, from", "to", "each seed"),
    )
    for name, rows in hits.items():
        span = bootstrap_interval(rows.mean(0).tolist())
        seeds = ", ".join(f"{100 * row.mean():.1f}" for row in rows)
        table.add(name, 100 * float(rows.mean()), 100 * span.low, 100 * span.high, seeds)
    best = "end-to-end VTN"
    if best in hits:
        result.target(f"{best}: per cent right", 100 * float(hits[best].mean()), AIM)
