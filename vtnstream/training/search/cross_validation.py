"""Recipes held against each other: each fold is answered by models that never saw it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vtnstream.errors import TrainingError
from vtnstream.metrics.classification import MeanInterval, mean_interval
from vtnstream.progress import Progress
from vtnstream.training.data.targets import IGNORE, Sample
from vtnstream.training.optim import trained_state
from vtnstream.training.search.fitting import FittedModel, SearchBase, fit_recipe, predict
from vtnstream.training.search.recipes import Recipe
from vtnstream.training.search.saved_fits import SavedFit, SavedFits
from vtnstream.types import FloatArray, IndexArray

FEWEST_FOLDS = 2
"""Answered in any case, whatever the time limit: one fold tells nothing of the noise."""


@dataclass(slots=True, eq=False)
class Contender:
    """A recipe and what its models said of the folds they had not seen.

    Attributes:
        recipe: whose.
        models: one a fold.
        answers: log-probabilities of held-out samples, by their number.
        scores: percent of each fold: frame accuracy (or that of videos) and mean of classes.
        seconds: all fits together.
    """

    recipe: Recipe
    models: list[FittedModel] = field(default_factory=list)
    answers: dict[int, FloatArray] = field(default_factory=dict)
    scores: list[tuple[float, float]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def values(self) -> list[float]:
        """What recipes are chosen by, one a fold: the mean of both scores."""
        return [sum(pair) / 2 for pair in self.scores]

    @property
    def value(self) -> float:
        """Their mean."""
        return float(np.mean(self.values))

    def interval(self, which: int) -> MeanInterval:
        """Mean over the folds with its 95 % interval: 0 is the accuracy, 1 the mean of classes."""
        return mean_interval([pair[which] for pair in self.scores])


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """All contenders on the same folds.

    Attributes:
        contenders: best first.
        folds: numbers of the samples of each fold that was answered.
        all_folds: how many there were.
        majority: percent of the most frequent class.
        chance: percent that guessing all classes alike gets right.
    """

    contenders: tuple[Contender, ...]
    folds: tuple[tuple[int, ...], ...]
    all_folds: int
    majority: float
    chance: float

    @property
    def best(self) -> Contender:
        return self.contenders[0]

    def is_noise(self, other: Contender) -> bool:
        """Whether the best one's lead over another may be chance: 0 lies in the 95 % interval of
        the differences of their folds."""
        lead = [a - b for a, b in zip(self.best.values, other.values, strict=True)]
        return mean_interval(lead).low <= 0

    def beats_guessing(self, samples: Sequence[Sample], num_classes: int) -> bool:
        """Whether the best one is better than always answering the most frequent class: 0 lies
        below the 95 % interval of the difference. The score is that of :attr:`Contender.value`,
        and the interval is over the held-out samples."""
        targets = {n: known_targets(samples[n]) for n in self.answered}
        counts = np.bincount(np.concatenate(list(targets.values())), minlength=num_classes)
        present = counts > 0
        weights = np.zeros(num_classes)
        weights[present] = 1 / counts.sum() + 1 / (present.sum() * counts[present])
        lead = []
        for number, truth in targets.items():
            said = known_answers(samples[number], self.best.answers[number]).argmax(1)
            better = (said == truth).astype(float) - (truth == counts.argmax())
            lead.append(float((weights[truth] * better).sum()))
        return mean_interval(lead).low > 0

    @property
    def answered(self) -> list[int]:
        """Numbers of all samples that were held out once."""
        return sorted(number for fold in self.folds for number in fold)


def compare(
    base: SearchBase,
    recipes: Sequence[Recipe],
    folds: Sequence[Sequence[int]],
    num_classes: int,
    seconds: float,
    progress: Progress,
    saved: SavedFits | None = None,
) -> Comparison:
    """Cross-validate, fold after fold with every recipe, until the time is up.

    Args:
        base: samples and settings.
        recipes: to be compared.
        folds: numbers of the samples of each.
        num_classes: K.
        seconds: limit; 0 is none. Two folds are answered in any case.
        progress: told of each fit.
        saved: where fits are kept and found; None keeps none.

    Raises:
        TrainingError: a fit fails.
        OutputError: a fit cannot be saved.
    """
    saved = saved or SavedFits(None, base.config, ())
    contenders = [Contender(recipe) for recipe in recipes]
    began = time.perf_counter()
    done: list[tuple[int, ...]] = []
    progress.start("comparing recipes", total=len(folds) * len(recipes), unit="fits")
    try:
        for number, fold in enumerate(folds):
            spent = time.perf_counter() - began
            if seconds and len(done) >= FEWEST_FOLDS and spent * (1 + 1 / len(done)) > seconds:
                progress.warn(
                    f"the time limit of {seconds:.0f} s allows {len(done)} of {len(folds)} folds"
                )
                break
            for place, contender in enumerate(contenders):
                _answer(base, contender, fold, num_classes, progress, saved)
                fits = number * len(recipes) + place + 1
                progress.advance(fits, note=f"{contender.recipe.name} {contender.value:.1f} %")
            done.append(tuple(fold))
    finally:
        progress.finish()
    counts = np.zeros(num_classes, np.int64)
    for sample in base.samples:
        counts += np.bincount(known_targets(sample), minlength=num_classes)
    ranked = sorted(contenders, key=lambda c: -c.value)
    return Comparison(
        tuple(ranked),
        tuple(done),
        len(folds),
        100 * float(counts.max() / max(counts.sum(), 1)),
        100 / int((counts > 0).sum()),
    )


def _answer(
    base: SearchBase,
    contender: Contender,
    fold: Sequence[int],
    num_classes: int,
    progress: Progress,
    saved: SavedFits,
) -> None:
    """Train on all but a fold and answer it, or take both from an earlier run."""
    name = contender.recipe.name
    asked = [base.samples[n] for n in fold]
    fit = saved.load(name, fold)
    if fit is None:
        fitted, fit = _fit(base, contender.recipe, fold, progress)
        saved.save(name, fold, fit)
    else:
        fitted = _restored(base, contender.recipe, fit, len(fold))
    contender.seconds += fit.seconds
    contender.models.append(fitted)
    contender.answers.update(zip(fold, fit.answers, strict=True))
    contender.scores.append(scores_of(asked, fit.answers, num_classes))


def _fit(
    base: SearchBase, recipe: Recipe, fold: Sequence[int], progress: Progress
) -> tuple[FittedModel, SavedFit]:
    held = set(fold)
    learned = [sample for n, sample in enumerate(base.samples) if n not in held]
    if not learned:
        raise TrainingError("nothing is left to learn from when a fold is held out")
    began = time.perf_counter()
    fitted = fit_recipe(base, recipe, learned, progress.warn)
    answers = predict(fitted.model, [base.samples[n] for n in fold], base.config)
    seconds = time.perf_counter() - began
    state = {name: tensor.cpu() for name, tensor in trained_state(fitted.model).items()}
    return fitted, SavedFit(state, fitted.loss, fitted.steps, seconds, answers)


def _restored(base: SearchBase, recipe: Recipe, fit: SavedFit, held: int) -> FittedModel:
    model = base.untrained(base.settings(recipe, len(base.samples) - held))
    model.load_state_dict(fit.state, strict=False)
    return FittedModel(model.eval(), fit.loss, fit.steps)


def known_targets(sample: Sample) -> IndexArray:
    """Classes of a sample's labelled tokens, or of the sample."""
    if sample.targets is None:
        return np.array([sample.label], np.int64)
    known: IndexArray = sample.targets[sample.targets != IGNORE]
    return known


def known_answers(sample: Sample, answer: FloatArray) -> FloatArray:
    """(N, K) log-probabilities beside :func:`known_targets`."""
    return answer[None] if sample.targets is None else answer[sample.targets != IGNORE]


def scores_of(
    samples: Sequence[Sample], answers: Sequence[FloatArray], num_classes: int
) -> tuple[float, float]:
    """Percent of labelled tokens (or of samples) that are right, and the mean over the classes
    that occur."""
    right, total = np.zeros(num_classes), np.zeros(num_classes)
    for sample, answer in zip(samples, answers, strict=True):
        targets = known_targets(sample)
        hits = known_answers(sample, answer).argmax(1) == targets
        total += np.bincount(targets, minlength=num_classes)
        right += np.bincount(targets, weights=hits, minlength=num_classes)
    present = total > 0
    if not present.any():
        return 0.0, 0.0
    accuracy = 100 * float(right.sum() / total.sum())
    return accuracy, 100 * float((right[present] / total[present]).mean())
