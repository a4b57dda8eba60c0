"""Select a recipe by cross-validation, and make the model of the best one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtnstream.config import HeadConfig, TrainConfig
from vtnstream.errors import ConfigError, TrainingError
from vtnstream.models.architectures import require_vtn
from vtnstream.models.vtn.model import VTN
from vtnstream.progress import Progress
from vtnstream.registry import suggestion
from vtnstream.training.data.targets import Sample
from vtnstream.training.preparation import Prepared
from vtnstream.training.selection.background_fits import Fits
from vtnstream.training.selection.blend import with_blend
from vtnstream.training.selection.calibration import fit_temperature
from vtnstream.training.selection.cross_validation import (
    Comparison,
    compare,
    known_answers,
    known_targets,
    scores_of,
)
from vtnstream.training.selection.final import final_model
from vtnstream.training.selection.fitting import SelectionBase, predict
from vtnstream.training.selection.folds import make_folds
from vtnstream.training.selection.recipes import BLEND, BLENDED, recipes_for
from vtnstream.training.selection.saved_fits import SavedFits

_AFTER = {"seeds": 2, "folds": 1, "none": 1}
"""Time of the fits after a comparison, as a multiple of that of all recipes on one fold."""

MOST_VIDEOS = 500
"""With more videos, a recipe is compared only if it is asked for."""


def reason_against_comparison(
    config: TrainConfig, task: str, num_videos: int, num_heads: int = 1
) -> str | None:
    """Why recipes are not compared, in words; None where they can be."""
    defaults = TrainConfig()
    temporal = dataclasses.replace(config.temporal, causal=defaults.temporal.causal)
    reasons = {
        "mode is " + config.mode: config.mode != "frozen",
        f"the task is {task}": task == "both",
        f"there are {num_heads} class heads": num_heads > 1,
        "temporal is set by hand": temporal != defaults.temporal,
        "optim is set by hand": config.optim != defaults.optim,
        "head is set by hand": config.head != HeadConfig(),
        "training starts from a model": bool(config.start),
        "clips are trained on": bool(config.data.clip_tokens),
        "precision is set by hand": config.precision != defaults.precision,
        "weight_init is set by hand": config.weight_init != defaults.weight_init,
    }
    if config.recipe == "auto":
        reasons[f"there are {num_videos} videos"] = num_videos > MOST_VIDEOS
    return next((why for why, holds in reasons.items() if holds), None)


def compares_recipes(
    config: TrainConfig, task: str, num_videos: int, num_processes: int, num_heads: int = 1
) -> bool:
    """Whether recipes are compared, or one is cross-validated.

    Raises:
        ConfigError: a recipe was named and cannot be used.
    """
    if config.recipe == "own":
        return False
    why = reason_against_comparison(config, task, num_videos, num_heads)
    if why is None and num_processes > 1:
        why = "several processes train together"
    if config.recipe == "auto":
        return why is None
    if why is not None:
        raise ConfigError(f"recipe {config.recipe} cannot be used: {why} (recipe = own trains so)")
    names = [recipe.name for recipe in recipes_for(task)]
    if task == "dense":
        names.append(BLEND)
    if config.recipe == BLEND and config.ensemble == "none":
        raise ConfigError("recipe blend is an ensemble: set ensemble = seeds or folds")
    if config.recipe not in names:
        hint = suggestion(config.recipe, names)
        raise ConfigError(f"recipe {config.recipe} is not for the task {task}{hint}")
    return True


@dataclass(frozen=True, slots=True, eq=False)
class SelectedModel:
    """The model of the best recipe.

    Attributes:
        model: trained, calibrated.
        comparison: results of all recipes.
        recipe: name of the best recipe.
        members: number of networks whose probabilities are averaged; 1 means a model that was
            trained on all videos.
        temperature: divides the logits.
        loss: loss at the end of training, the mean over the members.
        steps: optimiser steps of one member.
        epochs: passes over the videos.
        metrics: metrics on held-out videos, or on the validation set of the annotations.
    """

    model: VTN
    comparison: Comparison
    recipe: str
    members: int
    temperature: float
    loss: float
    steps: int
    epochs: int
    metrics: dict[str, float]

    def document(self) -> dict[str, Any]:
        """Return JSON data for ``train.json``."""
        compared = self.comparison
        rows = []
        for contender in compared.contenders:
            accuracy, classes = contender.interval(0), contender.interval(1)
            rows.append(
                {
                    "recipe": contender.recipe.name,
                    "about": contender.recipe.about,
                    "accuracy": accuracy.mean,
                    "accuracy_interval": [accuracy.low, accuracy.high],
                    "mean_class_accuracy": classes.mean,
                    "mean_class_interval": [classes.low, classes.high],
                    "folds": [list(pair) for pair in contender.scores],
                    "within_noise": compared.is_noise(contender),
                    "seconds": contender.seconds,
                }
            )
        return {
            "recipe": self.recipe,
            "members": self.members,
            "temperature": self.temperature,
            "folds": len(compared.folds),
            "all_folds": compared.all_folds,
            "majority": compared.majority,
            "chance": compared.chance,
            "table": rows,
        }


def select_recipe(
    config: TrainConfig,
    task: str,
    prepared: Prepared,
    progress: Progress,
    folder: Path | None = None,
) -> SelectedModel:
    """Compare the recipes, or cross-validate the one that the config names, and train the best.

    Args:
        config: with ``recipe``, ``search_seconds``, ``ensemble`` and ``seed``.
        task: ``dense`` or ``classification``.
        prepared: samples; the comparison does not use those of ``validation``.
        progress: receives fits and warnings.
        folder: keeps the fits, so that an interrupted comparison continues; None keeps none.

    Raises:
        TrainingError: there is only one group of videos, or a fit fails.
        OutputError: a fit cannot be saved.
    """
    num_classes = len(prepared.labels)
    base = SelectionBase(
        require_vtn(prepared.model, "training on stored features"),
        config,
        prepared.training,
        tokens_per_second(prepared.training),
    )
    recipes = recipes_for(task)
    if config.recipe == "auto":
        recipes = tuple(recipe for recipe in recipes if recipe.competes)
    elif config.recipe == BLEND:
        recipes = tuple(recipe for recipe in recipes if recipe.name in BLENDED)
    else:
        recipes = tuple(recipe for recipe in recipes if recipe.name == config.recipe)
    folds = make_folds(base.samples, num_classes, config.seed)
    if not folds:
        raise TrainingError(
            "recipes are compared on videos held out in turn, and there is one video, scene or "
            "fold only: label another, or take --recipe own"
        )
    by_name = {recipe.name: recipe for recipe in recipes}
    fits = Fits(base, by_name, SavedFits(folder, config, base.samples), progress)
    ensemble = config.ensemble if task == "dense" else "none"
    compared = compare(fits, folds, num_classes, config.search_seconds, after=_AFTER[ensemble])
    if ensemble != "none":
        compared = with_blend(compared, base, wanted=config.recipe == BLEND)
    _warn_of_guessing(compared, base, num_classes, progress)
    final = final_model(fits, compared)
    best = compared.best
    settings = base.settings(best.recipe, len({s.video.path for s in base.samples}))
    temperature = _calibrate(base.samples, compared)
    model = final.model
    metrics = _metrics(base, compared, model, prepared.validation, num_classes)
    head = model.config.head
    if task == "dense":
        head = dataclasses.replace(head, dense_temperature=temperature)
    else:
        head = dataclasses.replace(head, temperature=temperature)
    model.config = dataclasses.replace(model.config, head=head)
    epochs = 0 if best.recipe.is_linear else settings.optim.epochs
    return SelectedModel(
        model,
        compared,
        best.recipe.name,
        final.members,
        temperature,
        final.loss,
        final.steps,
        epochs,
        metrics,
    )


def _warn_of_guessing(
    compared: Comparison, base: SelectionBase, num_classes: int, progress: Progress
) -> None:
    """Warn if nothing was learned."""
    if compared.beats_guessing(base.samples, num_classes):
        return
    accuracy, classes = compared.best.interval(0).mean, compared.best.interval(1).mean
    progress.warn(
        f"no recipe is clearly better than guessing: the best one, {compared.best.recipe.name}, "
        f"has an accuracy of {accuracy:.1f} % and a mean of classes of {classes:.1f} %, the most "
        f"frequent class alone {compared.majority:.1f} % and {compared.chance:.1f} %: check the "
        "labels, add videos, or take a backbone that sees the difference"
    )


def tokens_per_second(samples: Sequence[Sample]) -> float:
    """Return the median number of tokens per second over the videos."""
    rates = []
    for sample in samples:
        times = sample.features.times
        seconds = float(times.end_seconds[-1] - times.start_seconds[0])
        if seconds > 0:
            rates.append(len(times) / seconds)
    return float(np.median(rates)) if rates else 1.0


def _calibrate(samples: Sequence[Sample], compared: Comparison) -> float:
    answers, targets = [], []
    for number in compared.answered:
        answers.append(known_answers(samples[number], compared.best.answers[number]))
        targets.append(known_targets(samples[number]))
    return fit_temperature(np.concatenate(answers), np.concatenate(targets))


def _metrics(
    base: SelectionBase,
    compared: Comparison,
    model: VTN,
    validation: Sequence[Sample],
    num_classes: int,
) -> dict[str, float]:
    """Return metrics on the validation videos of the annotations, else on the held-out videos."""
    if validation:
        samples = list(validation)
        answers = predict(model, samples, base.config)
    else:
        samples = [base.samples[n] for n in compared.answered]
        answers = [compared.best.answers[n] for n in compared.answered]
    accuracy, classes = scores_of(samples, answers, num_classes)
    losses = []
    for sample, answer in zip(samples, answers, strict=True):
        targets = known_targets(sample)
        losses.append(-known_answers(sample, answer)[np.arange(len(targets)), targets])
    return {
        "accuracy": accuracy,
        "mean_class_accuracy": classes,
        "loss": float(np.concatenate(losses).mean()),
    }
