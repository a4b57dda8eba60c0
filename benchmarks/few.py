"""Training on a few videos: vtnstream's recipes beside simple peers, on the same features.

    python -m benchmarks few --data FOLDER@RATE ... --contenders auto,tcn,MS-TCN,probe --seeds 5
    python -m benchmarks few --data VIDEOS --join 5 --backbone mobilenetv2_100 \\
        --backbone-arg pad_type=same --weights W.safetensors --mean .5 --std .5 --fps 2

Each outer fold of the annotations is predicted by models that were trained on the others.
``auto`` is the default of ``vtnstream train``: its recipes are compared inside the training
folds, and networks of the best one predict together; ``NAME+seeds`` and ``NAME+folds`` are such
ensembles of one recipe, ``NAME`` one network of it. Peers are written anew in
``benchmarks/peers``. Intervals are 95 % over seeds (Student's t).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import common
from benchmarks.few_sets import FewSet, VideoReading, read_set
from benchmarks.peers.action_former import learn_action_former
from benchmarks.peers.sequence_models import NETWORKS, learn_network, learn_probe
from vtnstream.config import (
    BackboneConfig,
    HeadConfig,
    ModelConfig,
    SamplingConfig,
    TrainConfig,
)
from vtnstream.metrics.classification import mean_interval
from vtnstream.metrics.segmentation import segmentation_scores
from vtnstream.models.vtn.model import VTN
from vtnstream.progress import NullProgress
from vtnstream.training.building import start_by_width
from vtnstream.training.data.targets import Sample
from vtnstream.training.preparation import Prepared
from vtnstream.training.selection.fitting import SelectionBase, fit_recipe, predict
from vtnstream.training.selection.recipes import CONTEXT_SECONDS, recipes_for
from vtnstream.training.selection.selecting import select_recipe, tokens_per_second
from vtnstream.types import Features

PEERS = ("linear probe", *NETWORKS, "ActionFormer")
Answers = list[np.ndarray]
SCORES = 3
"""Numbers of :func:`score`."""


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    sets = [read_set(place, reading(options), options.join) for place in options.data]
    result = common.Result("few", {"seeds": options.seeds, "sets": len(sets)})
    means: dict[str, list[list[float]]] = {name: [] for name in options.contenders}
    for one in sets:
        table = result.table(
            f"{one.name}: {len(one.samples)} sequences, {len(one.labels)} classes, majority "
            f"{majority(one):.1f} %",
            *("contender", "frame accuracy", "+-", "mean of classes", "+-", "F1@50", "+-"),
            "seconds a fit",
        )
        for name in options.contenders:
            rows, seconds = [], 0.0
            for seed in range(options.seeds):
                began = time.perf_counter()
                rows.append(score(one, cross_answer(one, name, seed, options.folds)))
                seconds += time.perf_counter() - began
                common.say(f"{one.name} {name} seed {seed}: %.1f %.1f %.1f" % rows[-1])
            spans = [mean_interval([row[n] for row in rows]) for n in range(SCORES)]
            means[name].append([span.mean for span in spans])
            halves = [span.half_width if len(rows) > 1 else None for span in spans]
            fits = len(rows) * len(one.folds[: options.folds])
            cells = [
                cell for span, half in zip(spans, halves, strict=True) for cell in (span.mean, half)
            ]
            table.add(name, *cells, seconds / max(fits, 1))
            result.keep(options)
    columns = ("contender", "frame accuracy", "mean of classes", "F1@50")
    whole = result.table("mean over the sets", *columns)
    for name, found in means.items():
        whole.add(name, *(float(np.mean([row[n] for row in found])) for n in range(SCORES)))
    result.deliver(options)


def cross_answer(
    one: FewSet, name: str, seed: int, most: int | None
) -> list[tuple[Sample, np.ndarray]]:
    """Return each held-out sample with the predicted classes (T,)."""
    found: list[tuple[Sample, np.ndarray]] = []
    for fold in one.folds[:most]:
        held = set(fold)
        train = [sample for n, sample in enumerate(one.samples) if n not in held]
        values = np.concatenate([stored(sample) for sample in train])
        mean, std = values.mean(0), np.maximum(values.std(0), 1e-6)
        learned = [normal(sample, mean, std) for sample in train]
        asked = [normal(one.samples[n], mean, std) for n in fold]
        answer = peer_answers if name in PEERS else our_answers
        found += zip(asked, answer(name, learned, asked, one.labels, seed), strict=True)
    return found


def peer_answers(
    name: str, train: Sequence[Sample], test: Sequence[Sample], labels: Sequence[str], seed: int
) -> Answers:
    pairs = [(stored(s), s.targets) for s in train if s.targets is not None]
    said: Callable[[np.ndarray], np.ndarray]
    if name in NETWORKS:
        said = learn_network(name, pairs, len(labels), seed)
    elif name == "ActionFormer":
        said = learn_action_former(pairs, len(labels), seed)
    else:
        context = max(round(CONTEXT_SECONDS * tokens_per_second(train)), 1)
        said = learn_probe(pairs, len(labels), context)
    return [said(stored(sample)) for sample in test]


def our_answers(
    name: str,
    train: Sequence[Sample],
    test: Sequence[Sample],
    labels: tuple[str, ...],
    seed: int,
) -> Answers:
    recipe, _, joined = name.partition("+")
    config = TrainConfig(seed=seed, search_seconds=0)
    width = train[0].features.num_features
    torch.manual_seed(seed)
    model = VTN(
        ModelConfig(temporal=config.temporal, head=HeadConfig(dense_labels=labels)),
        _Stored(width),
    )
    start_by_width(model)
    if recipe == "auto" or joined:
        asked = replace(config, recipe=recipe, ensemble=joined or config.ensemble)
        prepared = Prepared(model, list(train), [], labels)
        fitted = select_recipe(asked, "dense", prepared, NullProgress()).model
    else:
        base = SelectionBase(model, config, train, tokens_per_second(train))
        chosen = next(each for each in recipes_for("dense") if each.name == recipe)
        fitted = fit_recipe(base, chosen, train).model
    return [answer.argmax(1) for answer in predict(fitted, test, config)]


class _Stored(nn.Module):
    """Replaces the backbone of stored features."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, frames: Tensor) -> Tensor:
        raise RuntimeError("features are stored")


def stored(sample: Sample) -> np.ndarray:
    assert isinstance(sample.features, Features)
    return sample.features.values


def normal(sample: Sample, mean: np.ndarray, std: np.ndarray) -> Sample:
    values = ((stored(sample) - mean) / std).astype(np.float32)
    return replace(sample, features=Features(values, sample.features.times))


def score(one: FewSet, said: Sequence[tuple[Sample, np.ndarray]]) -> tuple[float, float, float]:
    """Percent of labelled tokens that are right, the mean over the classes, and F1@50."""
    truth = np.concatenate([s.targets for s, _ in said if s.targets is not None])
    answers = np.concatenate([answer for _, answer in said])
    answers, truth = answers[truth >= 0], truth[truth >= 0]
    hits = answers == truth
    classes = [hits[truth == k].mean() for k in range(len(one.labels)) if (truth == k).any()]
    videos = []
    for sample, answer in said:
        assert sample.targets is not None
        known = sample.targets >= 0
        if known.any():
            videos.append((answer[known].tolist(), sample.targets[known].tolist()))
    f1 = segmentation_scores(videos, ignore=(), thresholds=(0.5,)).f1[0.5]
    return 100 * float(hits.mean()), 100 * float(np.mean(classes)), f1


def majority(one: FewSet) -> float:
    truth = np.concatenate([s.targets for s in one.samples if s.targets is not None])
    counts = np.bincount(truth[truth >= 0])
    return 100 * float(counts.max() / counts.sum())


def reading(options: argparse.Namespace) -> VideoReading | None:
    if options.backbone is None:
        return None
    colours = {"mean": options.mean, "std": options.std}
    return VideoReading(
        BackboneConfig(options.backbone, dict(pair.split("=", 1) for pair in options.backbone_arg)),
        str(options.weights),
        {name: (value,) * 3 for name, value in colours.items() if value is not None},
        SamplingConfig(fps=Fraction(options.fps)),
        options.cache_dir,
    )


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = common.parser("few", __doc__)
    parser.add_argument("--data", nargs="+", required=True, metavar="FOLDER[@RATE]")
    parser.add_argument("--join", type=int, default=1, help="videos of a fold joined into one")
    parser.add_argument(
        "--contenders",
        type=common.split,
        default=["auto", "tcn", "ms-tcn", *PEERS],
        metavar="A,B",
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folds", type=int, default=None, help="outer folds at most")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--backbone")
    parser.add_argument("--backbone-arg", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--weights")
    parser.add_argument("--mean", type=float)
    parser.add_argument("--std", type=float)
    parser.add_argument("--fps", default="2")
    parser.add_argument("--cache-dir", type=Path)
    return parser.parse_args(arguments)
