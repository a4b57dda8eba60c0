"""Train one recipe on some of the samples, and predict others."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from vtnstream.config import TrainConfig
from vtnstream.errors import TrainingError
from vtnstream.models.architectures import build_model, require_vtn
from vtnstream.models.vtn.model import VTN
from vtnstream.training.accelerator import Engine
from vtnstream.training.building import start_by_width
from vtnstream.training.data.batches import Crop, assemble
from vtnstream.training.data.reading import BatchReader
from vtnstream.training.data.targets import Sample
from vtnstream.training.forward import device_of, run_model
from vtnstream.training.loop import fit
from vtnstream.training.optim import trained_state
from vtnstream.training.selection.linear import solve_linear
from vtnstream.training.selection.recipes import Recipe
from vtnstream.training.selection.saved_fits import Job, SavedFit
from vtnstream.types import FloatArray


@dataclass(frozen=True, slots=True)
class SelectionBase:
    """The common start of all recipes.

    Attributes:
        model: a model of the frozen backbone with labels and ``feature_norm``; its encoder is
            that of the recipe ``attention``.
        config: config of the training.
        samples: all training samples, normalised.
        rate: tokens per second.
    """

    model: VTN
    config: TrainConfig
    samples: Sequence[Sample]
    rate: float

    def settings(self, recipe: Recipe, num_videos: int) -> TrainConfig:
        """Return the training config of a recipe."""
        return recipe.make(self.config, num_videos, self.rate)

    def untrained(self, config: TrainConfig) -> VTN:
        """Return an untrained model with these settings, the same backbone and ``feature_norm``."""
        own = self.model.config
        head = dataclasses.replace(own.head, linear=config.head.linear)
        temporal = own.temporal if config.temporal == self.config.temporal else config.temporal
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            built = build_model(
                dataclasses.replace(own, temporal=temporal, head=head), self.model.backbone
            )
            model = require_vtn(built, "training on stored features")
            if config.weight_init == "xavier":
                start_by_width(model)
        model.feature_norm.load_state_dict(self.model.feature_norm.state_dict())
        return model.to(device_of(self.model))


@contextlib.contextmanager
def _one_thread(model: VTN) -> Iterator[None]:
    """Use one thread on a CPU: the matrix products of these networks are too small to be divided,
    and on a busy machine two threads that wait for each other took twenty times as long."""
    if device_of(model).type != "cpu":
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, slots=True, eq=False)
class FittedModel:
    """A trained model, the mean loss at the end, and the number of optimiser steps."""

    model: VTN
    loss: float
    steps: int


def fit_recipe(
    base: SelectionBase,
    recipe: Recipe,
    samples: Sequence[Sample],
    warn: Callable[[str], None] = lambda message: None,
) -> FittedModel:
    """Train a recipe.

    Raises:
        TrainingError: the loss is not finite.
    """
    config = base.settings(recipe, len({sample.video.path for sample in samples}))
    model = base.untrained(config)
    with _one_thread(model):
        if recipe.is_linear:
            device = device_of(model)
            loss = solve_linear(model.cpu(), samples, config.seed)
            return FittedModel(model.to(device).eval(), loss, 0)
        fitted = fit(model, samples, (), config, warn=warn)
    last = fitted.records[-1]
    return FittedModel(model.eval(), last.loss, last.steps)


def fit_job(
    base: SelectionBase, recipe: Recipe, job: Job, warn: Callable[[str], None]
) -> tuple[FittedModel, SavedFit]:
    """Train a recipe on all samples but those that are held out, and predict these.

    Args:
        base: samples and settings.
        recipe: the recipe of the job.
        job: what is held out and what is learned from, and the number that is added to the seed.
        warn: receives warnings.

    Raises:
        TrainingError: no video is left to train on, or the loss is not finite.
    """
    chosen = job.learned or sorted(set(range(len(base.samples))) - set(job.held))
    learned = [base.samples[n] for n in chosen]
    if not learned:
        raise TrainingError("no video is left to train on when a fold is held out")
    began = time.perf_counter()
    own = dataclasses.replace(base.config, seed=base.config.seed + job.member)
    fitted = fit_recipe(dataclasses.replace(base, config=own), recipe, learned, warn)
    answers = predict(fitted.model, [base.samples[n] for n in job.held], base.config)
    seconds = time.perf_counter() - began
    state = {name: tensor.cpu() for name, tensor in trained_state(fitted.model).items()}
    return fitted, SavedFit(state, fitted.loss, fitted.steps, seconds, answers)


def restored(base: SelectionBase, recipe: Recipe, job: Job, fit: SavedFit) -> FittedModel:
    """Return the model of a fit that another process or an earlier run made."""
    model = base.untrained(base.settings(recipe, len(base.samples) - len(job.held)))
    model.load_state_dict(fit.state, strict=False)
    return FittedModel(model.eval(), fit.loss, fit.steps)


@torch.inference_mode()
def predict(model: VTN, samples: Sequence[Sample], config: TrainConfig) -> list[FloatArray]:
    """Return the log-probabilities of each sample: (T, K) for its tokens or (K,) for the whole."""
    model.eval()
    reader = BatchReader(model, config, Engine(), lambda message: None)
    found: list[FloatArray] = []
    with _one_thread(model):
        for sample in samples:
            crops = [Crop(sample, 0, len(sample))]
            rows = [row for row in reader.rows(crops) if row is not None]
            batch = assemble(crops, rows, clip_positions=reader.clip_positions)
            output = run_model(model, batch.to(device_of(model)))
            logits = output.logits if sample.targets is None else output.dense_logits
            assert logits is not None
            found.append(logits[0].float().log_softmax(-1).cpu().numpy())
    return found
