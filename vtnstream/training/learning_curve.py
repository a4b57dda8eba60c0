"""Measure how much a model improves with more training videos.

The recipe of a model is trained again on parts of the annotated videos, and evaluated by
cross-validation.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtnstream.config import HeadConfig, RuntimeConfig, TrainConfig
from vtnstream.config.loading import from_dict
from vtnstream.datasets.annotations import AnnotatedVideo, Annotations
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.errors import ModelError, TrainingError, VtnstreamError
from vtnstream.labels import BACKGROUND, stable_order
from vtnstream.metrics.classification import MeanInterval, mean_interval
from vtnstream.models.architectures import VideoModel, build_model, require_vtn
from vtnstream.models.io.checkpoint import load_model
from vtnstream.models.vtn.model import VTN
from vtnstream.progress import Progress
from vtnstream.training.building import start_by_width
from vtnstream.training.data.features import collect_features, fit_feature_norm, normalized
from vtnstream.training.data.targets import Sample, class_samples, dense_samples
from vtnstream.training.selection.background_fits import Fits
from vtnstream.training.selection.cross_validation import scores_of
from vtnstream.training.selection.fitting import SelectionBase
from vtnstream.training.selection.folds import make_folds
from vtnstream.training.selection.recipes import BLEND, BLENDED, Recipe, recipes_for
from vtnstream.training.selection.saved_fits import Job, SavedFits
from vtnstream.training.selection.selecting import tokens_per_second
from vtnstream.training.unlabelled import resolve_unlabelled

SHARES = (0.125, 0.25, 0.5, 1.0)
"""Shares of the training videos of a fold on which models are trained."""

FEWEST = 2
"""Number of videos of the smallest part."""

MORE_VIDEOS = 10
"""Number of additional videos whose gain is estimated."""

FITS_FOLDER = "learning-curve"
"""Folder in the model's folder that keeps finished fits until the curve is complete."""

WORTHWHILE = 1.0
"""Gain, in percentage points of accuracy, from which more videos are recommended."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Accuracy of models trained on a number of videos.

    Attributes:
        videos: number of training videos.
        accuracy: percentage of correct labelled tokens (or videos), mean over the folds.
        mean_class_accuracy: mean over the classes, in percent.
    """

    videos: int
    accuracy: MeanInterval
    mean_class_accuracy: MeanInterval


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Accuracy by number of training videos.

    Attributes:
        recipe: recipe that was trained.
        videos: number of annotated videos.
        folds: number of folds of the cross-validation.
        points: from few videos to all training videos of a fold.
        gain: percentage points of accuracy that :data:`MORE_VIDEOS` videos in addition to
            ``videos`` would bring, by a fit of a + b / sqrt(n) in each fold, with the 95 % interval
            over the folds.
    """

    recipe: str
    videos: int
    folds: int
    points: tuple[CurvePoint, ...]
    gain: MeanInterval

    @property
    def verdict(self) -> str:
        """Sentence that says whether more videos would help."""
        gain = f"{self.gain.mean:+.1f} points of accuracy, {_range(self.gain)}"
        more = f"{MORE_VIDEOS} more videos"
        if self.gain.low >= WORTHWHILE:
            return f"{more} would help ({gain})"
        if self.gain.high < WORTHWHILE:
            return f"{more} would hardly help ({gain}): other features may"
        if self.gain.low > 0:
            return f"{more} would probably help ({gain})"
        return f"whether {more} would help cannot be told from these ({gain})"

    def document(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {
            "recipe": self.recipe,
            "videos": self.videos,
            "folds": self.folds,
            "points": [
                {
                    "videos": point.videos,
                    "accuracy": point.accuracy.mean,
                    "accuracy_interval": [point.accuracy.low, point.accuracy.high],
                    "mean_class_accuracy": point.mean_class_accuracy.mean,
                    "mean_class_interval": [
                        point.mean_class_accuracy.low,
                        point.mean_class_accuracy.high,
                    ],
                }
                for point in self.points
            ],
            "more_videos": MORE_VIDEOS,
            "gain": self.gain.mean,
            "gain_interval": [self.gain.low, self.gain.high],
            "verdict": self.verdict,
        }


def _range(interval: MeanInterval) -> str:
    return f"95 %: {interval.low:+.1f} to {interval.high:+.1f}"


def learning_curve(
    folder: str | Path,
    annotations: Annotations,
    videos: Sequence[AnnotatedVideo],
    *,
    runtime: RuntimeConfig,
    progress: Progress,
) -> LearningCurve:
    """Train the recipe of a model on parts of the annotated videos. After an interruption, the fits
    that were finished are read from the model's folder, if it can be written.

    Args:
        folder: folder of a model that ``vtnstream train`` trained on stored features.
        annotations: annotations that define the labels.
        videos: annotated videos that are used.
        runtime: device and store of the features.
        progress: shows the progress and receives warnings.

    Raises:
        ModelError: the folder does not contain how its model was trained.
        TrainingError: there are too few videos, or the loss is not finite.
        VideoError: a video cannot be read.
        OutputError: a fit cannot be saved.
    """
    model = require_vtn(load_model(folder), "a learning curve")
    config, recipe, task = _training_of(Path(folder), model)
    if model.config.head.heads or annotations.heads:
        raise ModelError(f"{folder}: a learning curve is made for models with one class head")
    with ExitStack() as stack:
        samples, base_model = _samples(
            model, config, task, annotations, videos, runtime, stack, progress
        )
        base = SelectionBase(base_model, config, samples, tokens_per_second(samples))
        head = base_model.config.head
        labels = head.dense_labels if task == "dense" else head.labels
        folds = make_folds(samples, len(labels), config.seed)
        if not folds:
            raise TrainingError(
                f"{annotations.source}: a learning curve holds videos out in turn, and there is "
                "one video, scene or fold only"
            )
        kept = Path(folder) / FITS_FOLDER
        saved = SavedFits(kept if os.access(folder, os.W_OK) else None, config, samples)
        fits = Fits(base, {recipe.name: recipe}, saved, progress)
        sizes, scores = _measure(fits, recipe, folds, len(labels))
        shutil.rmtree(kept, ignore_errors=True)
    points = tuple(
        CurvePoint(size, *(mean_interval([row[k][n] for row in scores]) for n in range(2)))
        for k, size in enumerate(sizes)
    )
    count = len(_paths(samples))
    gains = [_gain(sizes, [pair[0] for pair in row], count) for row in scores]
    return LearningCurve(recipe.name, count, len(folds), points, mean_interval(gains))


def _training_of(folder: Path, model: VideoModel) -> tuple[TrainConfig, Recipe, str]:
    """Return configuration, recipe and task of a trained model.

    Raises:
        ModelError: they are not known, or the training cannot be repeated on stored features.
    """
    path = folder / "train.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        config = from_dict(TrainConfig, document["config"], where=str(path))
        name, task = str(document["result"]["recipe"]), str(document["result"]["task"])
    except (OSError, ValueError, KeyError, TypeError, VtnstreamError) as error:
        raise ModelError(
            f"{path}: a learning curve repeats a training, and how this model was trained is not "
            f"known ({str(error).splitlines()[0]}): name the folder of a model that vtnstream "
            "train made"
        ) from error
    if config.mode != "frozen" or task not in ("dense", "classification"):
        raise ModelError(
            f"{folder}: a learning curve repeats a training on stored features with one head, and "
            f"this model was trained with mode {config.mode} and task {task}"
        )
    own = Recipe("own", "the settings as they are", _as_they_are)
    known = {recipe.name: recipe for recipe in recipes_for(task)}
    if name == BLEND:  # its networks are those of other recipes
        name = BLENDED[0]
    return config, known.get(name, own), task


def _as_they_are(config: TrainConfig, num_videos: int, rate: float) -> TrainConfig:
    return config


def _samples(
    model: VTN,
    config: TrainConfig,
    task: str,
    annotations: Annotations,
    videos: Sequence[AnnotatedVideo],
    runtime: RuntimeConfig,
    stack: ExitStack,
    progress: Progress,
) -> tuple[list[Sample], VTN]:
    """Return normalised samples, and an untrained model around the backbone of ``model``."""
    encoder = FrameEncoder.from_model(model, runtime)
    found = collect_features(
        videos,
        encoder,
        model.config.sampling,
        runtime,
        data=config.data,
        stack=stack,
        progress=progress,
    )
    missing = None
    if task == "dense":
        choice = resolve_unlabelled(config.data.unlabelled, found, annotations.labels)
        missing = BACKGROUND if choice.is_background else None
    labels = stable_order(annotations.labels, background=missing is not None)
    head = HeadConfig(dense_labels=labels) if task == "dense" else HeadConfig(labels=labels)
    own = dataclasses.replace(model.config, temporal=config.temporal, head=head)
    untrained = require_vtn(build_model(own, model.backbone), "a learning curve")
    start_by_width(untrained)
    fit_feature_norm(untrained.feature_norm, found)
    untrained.to(encoder.device)
    seen = [
        dataclasses.replace(item, features=normalized(item.features, untrained.feature_norm))
        for item in found
    ]
    made, unseen = (
        dense_samples(seen, labels, missing) if task == "dense" else class_samples(seen, labels)
    )
    for message in unseen:
        progress.warn(message)
    return made, untrained


def _measure(
    fits: Fits, recipe: Recipe, folds: Sequence[Sequence[int]], num_classes: int
) -> tuple[list[int], list[list[tuple[float, float]]]]:
    """Return the numbers of videos, and for each fold the scores of the model of each number."""
    base = fits.base
    rest = [_paths([s for n, s in enumerate(base.samples) if n not in set(f)]) for f in folds]
    sizes = _sizes(min(len(paths) for paths in rest))
    if len(sizes) < 2:
        raise TrainingError(
            f"a learning curve needs more videos: {len(_paths(base.samples))} in {len(folds)} "
            "scenes or folds leave one to learn from"
        )
    jobs = []
    for number, (fold, paths) in enumerate(zip(folds, rest, strict=True)):
        order = np.random.default_rng([base.config.seed, number]).permutation(len(paths))
        for size in sizes:
            chosen = {paths[n] for n in order[:size]}
            learned = (
                n
                for n, sample in enumerate(base.samples)
                if n not in set(fold) and sample.video.path in chosen
            )
            jobs.append(Job(recipe.name, tuple(fold), learned=tuple(learned)))
    scores = []
    fits.begin("learning curve", jobs)
    try:
        for done, job in enumerate(jobs, start=1):
            answers = fits.take(job)[1].answers
            scores.append(scores_of([base.samples[n] for n in job.held], answers, num_classes))
            videos = sizes[(done - 1) % len(sizes)]
            fits.progress.advance(done, note=f"{videos} videos {scores[-1][0]:.1f} %")
    finally:
        fits.progress.finish()
    return sizes, [scores[n : n + len(sizes)] for n in range(0, len(scores), len(sizes))]


def _paths(samples: Sequence[Sample]) -> list[Path]:
    """Return the path of each video once, in order."""
    return list(dict.fromkeys(sample.video.path for sample in samples))


def _sizes(most: int) -> list[int]:
    """Return increasing numbers of videos, of which ``most`` is the last."""
    return sorted({max(min(FEWEST, most), round(most * share)) for share in SHARES})


def _gain(sizes: Sequence[int], accuracies: Sequence[float], videos: int) -> float:
    """Return the points that :data:`MORE_VIDEOS` more than ``videos`` bring by a fit of a - b /
    sqrt(n)."""
    inverse = 1 / np.sqrt(np.asarray(sizes, np.float64))
    slope = float(np.polyfit(inverse, np.asarray(accuracies, np.float64), 1)[0])
    step = 1 / np.sqrt(videos) - 1 / np.sqrt(videos + MORE_VIDEOS)
    return -slope * float(step)
