"""Make the model of the best recipe of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtnstream.models.vtn.model import VTN
from vtnstream.training.selection.background_fits import Fits
from vtnstream.training.selection.blend import blended
from vtnstream.training.selection.cross_validation import Comparison, seconds_of
from vtnstream.training.selection.ensemble import can_join, join
from vtnstream.training.selection.fitting import FittedModel
from vtnstream.training.selection.recipes import BLEND, BLENDED
from vtnstream.training.selection.saved_fits import Job

NUM_SEEDS = 3
"""Networks that ``ensemble = seeds`` trains on all videos. Those of a blend are two of the first
recipe and one of the second, which is its share."""


@dataclass(frozen=True, slots=True, eq=False)
class FinalModel:
    """A trained model.

    Attributes:
        model: the model.
        loss: loss at the end of training, the mean over the members.
        steps: optimiser steps of one member.
        members: number of networks whose probabilities are averaged.
    """

    model: VTN
    loss: float
    steps: int
    members: int


def final_model(fits: Fits, compared: Comparison) -> FinalModel:
    """Return the model of the best recipe, as ``ensemble`` says.

    Networks that cannot be joined, such as a linear one, are trained once on all videos.

    Raises:
        TrainingError: a fit fails.
        OutputError: a fit cannot be saved.
    """
    best, ensemble = compared.best, fits.base.config.ensemble
    if best.recipe.name == BLEND:
        return _joined(_blend(fits, compared, ensemble))
    is_joined = can_join(best.models[0].model)
    if ensemble == "folds" and is_joined:
        return _joined(best.models)
    count = NUM_SEEDS if ensemble == "seeds" and is_joined else 1
    jobs = [Job(best.recipe.name, member=number) for number in range(count)]
    found = _trained_on_all(fits, compared, jobs)
    if count > 1:
        return _joined(found)
    return FinalModel(found[0].model, found[0].loss, found[0].steps, 1)


def _blend(fits: Fits, compared: Comparison, ensemble: str) -> list[FittedModel]:
    """Return the networks of a blend. Those of the second recipe are trained on all videos, because
    its networks of the folds are clearly worse."""
    first, second = BLENDED
    if ensemble == "seeds":
        jobs = [Job(first), Job(first, member=1), Job(second)]
        one, two, last = _trained_on_all(fits, compared, jobs)
        return blended([(one, ()), (two, ())], [last], fits.base)
    row = next(each for each in compared.contenders if each.recipe.name == first)
    jobs = [Job(second, member=number) for number in range(max(len(compared.folds) // 2, 1))]
    others = _trained_on_all(fits, compared, jobs)
    return blended([*zip(row.models, compared.folds, strict=True)], others, fits.base)


def _trained_on_all(fits: Fits, compared: Comparison, jobs: Sequence[Job]) -> list[FittedModel]:
    seconds = seconds_of([each for each in compared.contenders if each.models])
    found: list[FittedModel] = []
    fits.begin("training on all videos", jobs)
    try:
        with fits.ahead(jobs, seconds):
            for number, job in enumerate(jobs, start=1):
                found.append(fits.take(job)[0])
                fits.progress.advance(number)
    finally:
        fits.progress.finish()
    return found


def _joined(networks: Sequence[FittedModel]) -> FinalModel:
    loss = float(np.mean([fitted.loss for fitted in networks]))
    models = [fitted.model for fitted in networks]
    return FinalModel(join(models), loss, networks[0].steps, len(models))
