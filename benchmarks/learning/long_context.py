"""Two tasks that need the whole video, trained with several seeds.

Models are tested on unseen videos, and on videos five times longer than those of training.
*phases*: every second of a video of 60 s is labelled by the image it shows and by the colour of
a bar in the first six seconds. Measured are the percentage of right frames and segmental F1@50
after the opening. *order*: which of three bars, at least 20 s apart in 120 s (a frame every two
seconds), came first, second and third. Measured is the percentage of right videos. No layer's
window reaches from one bar to the next.

A causal encoder (config ``temporal.causal``) learns *order*: [CLS] has seen only what came
before an event at the time of the event, so no positions need to be compared, and the length
does not matter.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks import common
from benchmarks.learning import videos
from benchmarks.learning.models import Contender, Probe, Recipe, Scores, ask, learn
from vtnstream.config import HeadConfig
from vtnstream.metrics.segmentation import segmentation_scores
from vtnstream.synthesis.cue_videos import LABELS
from vtnstream.training.data.targets import Sample

LONGER = 5
CLIP = 16
TRAIN, TEST, LONG = 0, 1, 2
"""Splits; splits of seeds from 100 on were used for development."""


@dataclass(frozen=True)
class Task:
    """One task, its recipe and its targets.

    Attributes:
        draw: makes a video from its seed and length.
        head: of the models.
        frames: length of the training videos.
        step: seconds from one frame to the next.
        counts: numbers of training, test and long videos.
        recipe: of every contender.
        contenders: the first one must reach the targets.
        columns: metrics on test videos, then on long ones.
        bounds: target of each column.
    """

    draw: Callable[[tuple[int, ...], int], videos.LabelledVideo]
    head: HeadConfig
    frames: int
    step: int
    counts: tuple[int, int, int]
    recipe: Recipe
    contenders: dict[str, Contender]
    columns: tuple[str, ...]
    bounds: tuple[float, ...]


TASKS = {
    "phases": Task(
        videos.phases,
        HeadConfig(dense_labels=LABELS),
        60,
        1,
        (320, 100, 40),
        Recipe(epochs=20, layers=2, window=8),
        {
            "VTN": Contender(),
            "without global attention": Contender({"global_attention": False}),
            f"clips of {CLIP} frames": Contender(clip=CLIP),
            "each frame alone": Contender(probe=True),
        },
        ("frames", "F1@50"),
        (98.0, 90.0),
    ),
    "order": Task(
        videos.order,
        HeadConfig(labels=videos.ORDERS, dropout=0.0),
        60,
        2,
        (1200, 200, 200),
        Recipe(epochs=24, layers=3, window=4),
        {
            "VTN, causal": Contender({"causal": True}),
            "VTN": Contender(),
            "VTN, learned positions": Contender(
                {"positions": "learned", "max_positions": 60 * LONGER + 2}
            ),
            f"clips of {CLIP} frames": Contender(clip=CLIP),
            "mean of all frames": Contender(probe=True),
        },
        ("videos",),
        (95.0,),
    ),
}


def main(arguments: list[str]) -> None:
    name, options = parse(arguments)
    torch.set_num_threads(1)
    task = TASKS[name]
    names = options.only or list(task.contenders)
    eye = videos.Eye()
    scores: dict[str, list[list[float]]] = {name: [] for name in names}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        training, test, far = _videos(task, eye, seed)
        for contender in names:
            found = measure(task, contender, seed, training, (test, far))
            scores[contender].append(found)
            common.say(f"seed {seed}, {contender}: {np.round(found, 1).tolist()}")
        result = common.Result(f"learning_{name}", settings=_settings(task, options, seed))
        report(result, task, scores)
        result.deliver(options)  # keeps the results of earlier seeds if a later one fails


def parse(arguments: list[str]) -> tuple[str, argparse.Namespace]:
    """Parse the task and its options."""
    name = arguments[0]
    parser = common.parser(f"learning {name}", __doc__)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each contender [3]")
    parser.add_argument("--first-seed", type=int, default=0, help="[0]")
    parser.add_argument(
        "--only", action="append", choices=list(TASKS[name].contenders), help="some contenders"
    )
    return name, parser.parse_args(arguments[1:])


def _settings(task: Task, options: argparse.Namespace, last: int) -> dict[str, Any]:
    seeds = f"{options.first_seed} to {last}"
    recipe = task.recipe
    return {
        "seeds": seeds,
        "videos": task.counts[0],
        "epochs": recipe.epochs,
        "layers": recipe.layers,
        "attention window": recipe.window,
    }


def _videos(task: Task, eye: videos.Eye, seed: int) -> tuple[list[Sample], ...]:
    """Generate the training, test and long videos."""
    lengths = (task.frames, task.frames, LONGER * task.frames)
    splits = zip((TRAIN, TEST, LONG), task.counts, lengths, strict=True)
    return tuple(
        eye.samples(task.draw, seed, part, count, length) for part, count, length in splits
    )


def measure(
    task: Task,
    name: str,
    seed: int,
    training: Sequence[Sample],
    splits: Sequence[Sequence[Sample]],
) -> list[float]:
    """Measure every column on every split."""
    contender = task.contenders[name]
    answer: Callable[[Sample], Scores]
    if contender.probe:
        answer = Probe(training, len(task.head.dense_labels or task.head.labels)).ask
    else:
        model = learn(contender, task.recipe, task.head, training, seed)

        def answer(video: Sample) -> Scores:
            return ask(model, video, contender.clip)

    return [score for split in splits for score in judge(split, [answer(f) for f in split])]


def judge(split: Sequence[Sample], answers: Sequence[Scores]) -> list[float]:
    """Return the percentage of right videos; or that of right labelled frames, and F1@50."""
    if split[0].targets is None:
        hits = [int(a.argmax()) == video.label for a, video in zip(answers, split, strict=True)]
        return [100 * float(np.mean(hits))]
    truths = []
    for video, answer in zip(split, answers, strict=True):
        assert video.targets is not None
        asked = video.targets >= 0
        truths.append((answer.argmax(-1)[asked].tolist(), video.targets[asked].tolist()))
    found = segmentation_scores(truths, ignore=())
    return [found.frame_accuracy, found.f1[0.5]]


def report(result: common.Result, task: Task, scores: dict[str, list[list[float]]]) -> None:
    """Make one row per contender: the mean over seeds, and the worst seed of each target."""
    seconds = task.step * task.frames
    lengths = (f"{seconds} s", f"{LONGER * seconds} s")
    columns = [f"{column}, {length}" for length in lengths for column in task.columns]
    classes = len(task.head.dense_labels or task.head.labels)
    table = result.table(
        f"Per cent right on unseen videos (chance {100 / classes:.0f})",
        *("learned by", *columns, "each seed"),
        note=f"Means over seeds. Trained on {seconds} s, last epoch, nothing chosen.",
    )
    for name, rows in scores.items():
        seeds = "; ".join("/".join(f"{value:.1f}" for value in row) for row in rows)
        table.add(name, *(float(value) for value in np.mean(rows, axis=0)), seeds)
    first = next(iter(task.contenders))
    if first not in scores:
        return
    worst = np.min(scores[first], axis=0)
    for column, bound, value in zip(columns, task.bounds * 2, worst, strict=True):
        result.target(f"{first}: {column}, worst seed", float(value), bound)
