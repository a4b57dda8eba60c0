"""Compare recipes by cross-validation: each fold is predicted by models that were not trained on
it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from vtnstream.metrics.classification import MeanInterval, mean_interval
from vtnstream.training.data.targets import IGNORE, Sample
from vtnstream.training.selection.background_fits import Fits
from vtnstream.training.selection.fitting import FittedModel
from vtnstream.training.selection.recipes import Recipe
from vtnstream.training.selection.saved_fits import Job
from vtnstream.types import FloatArray, IndexArray

FEWEST_FOLDS = 2
"""Folds that are evaluated despite the time limit: one fold says nothing about the noise."""


@dataclass(slots=True, eq=False)
class Contender:
    """A recipe and the predictions of its models on held-out folds.

    Attributes:
        recipe: the recipe.
        models: one model per fold.
        answers: log-probabilities of held-out samples, by their number.
        scores: per cent for each fold: accuracy of frames (or videos), and mean over the classes.
        seconds: seconds of all fits.
    """

    recipe: Recipe
    models: list[FittedModel] = field(default_factory=list)
    answers: dict[int, FloatArray] = field(default_factory=dict)
    scores: list[tuple[float, float]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def values(self) -> list[float]:
        """The criterion of the selection for each fold: the mean of both scores."""
        return [sum(pair) / 2 for pair in self.scores]

    @property
    def value(self) -> float:
        """The mean of :attr:`values`."""
        return float(np.mean(self.values))

    def interval(self, which: int) -> MeanInterval:
        """Return the mean over the folds with its 95 % interval, of the accuracy (0) or of the mean
        over the classes (1)."""
        return mean_interval([pair[which] for pair in self.scores])


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """All contenders on the same folds.

    Attributes:
        contenders: best first.
        folds: numbers of the samples of each fold that was evaluated.
        all_folds: number of all folds.
        majority: share of the most frequent class in per cent.
        chance: per cent that uniform guessing gets right.
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
        """Return whether the lead of the best recipe over another may be chance: 0 lies in the 95 %
        interval of the differences over the folds."""
        lead = [a - b for a, b in zip(self.best.values, other.values, strict=True)]
        return mean_interval(lead).low <= 0

    def beats_guessing(self, samples: Sequence[Sample], num_classes: int) -> bool:
        """Return whether the best recipe is better than always predicting the most frequent class:
        the 95 % interval of the difference over the held-out samples lies above 0. The score is
        that of :attr:`Contender.value`."""
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
        """Numbers of all samples that were held out."""
        return sorted(number for fold in self.folds for number in fold)


def compare(
    fits: Fits,
    folds: Sequence[Sequence[int]],
    num_classes: int,
    seconds: float,
    *,
    after: int = 0,
) -> Comparison:
    """Cross-validate all recipes, fold by fold, until the time limit.

    After the first fold the others are trained in parallel processes, if that saves time.

    Args:
        fits: makes the fits of the recipes.
        folds: numbers of the samples of each fold.
        num_classes: K.
        seconds: time limit; 0 is none. Two folds are predicted in any case.
        after: time that is kept for fits after the comparison, as a multiple of that of a fold.

    Raises:
        TrainingError: a fit fails.
        OutputError: a fit cannot be saved.
    """
    contenders = [Contender(recipe) for recipe in fits.recipes.values()]
    progress, samples = fits.progress, fits.base.samples
    began = time.perf_counter()
    done: list[tuple[int, ...]] = []
    jobs = [Job(each.recipe.name, tuple(fold)) for fold in folds for each in contenders]
    fits.begin("comparing recipes", jobs)
    with ExitStack() as stack:
        stack.callback(progress.finish)
        for fold in folds:
            spent = time.perf_counter() - began
            expected = spent + (1 + after) * _next_seconds(contenders, fits.workers)
            if seconds and len(done) >= FEWEST_FOLDS and expected > seconds:
                progress.warn(
                    f"the time limit of {seconds:.0f} s allows {len(done)} of {len(folds)} folds"
                )
                break
            for contender in contenders:
                _answer(fits, contender, fold, num_classes)
                count = sum(len(each.models) for each in contenders)
                progress.advance(count, note=f"{contender.recipe.name} {contender.value:.1f} %")
            done.append(tuple(fold))
            if len(done) == 1:
                left = jobs[len(contenders) :]
                stack.enter_context(fits.ahead(left, seconds_of(contenders)))
    counts = np.zeros(num_classes, np.int64)
    for sample in samples:
        counts += np.bincount(known_targets(sample), minlength=num_classes)
    ranked = sorted(contenders, key=lambda c: -c.value)
    return Comparison(
        tuple(ranked),
        tuple(done),
        len(folds),
        100 * float(counts.max() / max(counts.sum(), 1)),
        100 / int((counts > 0).sum()),
    )


def seconds_of(contenders: Sequence[Contender]) -> dict[str, float]:
    """Return the mean seconds of a fit of each recipe."""
    return {each.recipe.name: each.seconds / max(len(each.models), 1) for each in contenders}


def _next_seconds(contenders: Sequence[Contender], workers: int) -> float:
    """Estimate the time of the next fold from the fits so far."""
    fits = seconds_of(contenders).values()
    return max(sum(fits) / workers, *fits)


def _answer(fits: Fits, contender: Contender, fold: Sequence[int], num_classes: int) -> None:
    """Train on all but a fold and predict it."""
    fitted, fit = fits.take(Job(contender.recipe.name, tuple(fold)))
    contender.seconds += fit.seconds
    contender.models.append(fitted)
    contender.answers.update(zip(fold, fit.answers, strict=True))
    asked = [fits.base.samples[n] for n in fold]
    contender.scores.append(scores_of(asked, fit.answers, num_classes))


def known_targets(sample: Sample) -> IndexArray:
    """Return the classes (N,) of the labelled tokens of a sample, or (1,) of the sample."""
    if sample.targets is None:
        return np.array([sample.label], np.int64)
    known: IndexArray = sample.targets[sample.targets != IGNORE]
    return known


def known_answers(sample: Sample, answer: FloatArray) -> FloatArray:
    """Return the log-probabilities (N, K) that belong to :func:`known_targets`."""
    return answer[None] if sample.targets is None else answer[sample.targets != IGNORE]


def scores_of(
    samples: Sequence[Sample], answers: Sequence[FloatArray], num_classes: int
) -> tuple[float, float]:
    """Return the per cent of labelled tokens (or samples) that are right, and the mean over the
    classes that occur."""
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
