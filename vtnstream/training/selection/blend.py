"""Join the networks of two recipes to one model. They err at different times, so the mean of their
probabilities is better than either. Scores of rare classes are raised, because models of few
videos predict them too seldom."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from vtnstream.models.architectures import build_model, require_vtn
from vtnstream.models.vtn.model import VTN
from vtnstream.models.vtn.tcn import TcnHead
from vtnstream.training.data.targets import Sample, class_counts
from vtnstream.training.selection.cross_validation import Comparison, Contender, scores_of
from vtnstream.training.selection.fitting import FittedModel, SelectionBase
from vtnstream.training.selection.recipes import BLEND, BLENDED, Recipe
from vtnstream.types import FloatArray

_SHARE = 2 / 3
"""Share of the first recipe in the mean of the probabilities."""

_RAISED = 0.5
"""The probability of a class is divided by this power of its frequency."""


def with_blend(compared: Comparison, base: SelectionBase, *, wanted: bool) -> Comparison:
    """Add the blend of two recipes to a comparison of both. It needs no fit, because the
    predictions on the held-out folds exist already. It comes first, unless another recipe is better
    by more than noise: a blend loses less where the comparison misleads.

    Args:
        compared: the comparison; it is returned unchanged if one of the recipes is missing.
        base: the samples of the comparison.
        wanted: whether the blend was requested by name; it comes first in any case.
    """
    rows = {row.recipe.name: row for row in compared.contenders}
    if not all(name in rows for name in BLENDED):
        return compared
    first, second = (rows[name] for name in BLENDED)
    recipe = Recipe(
        BLEND, "tcn and ms-tcn, 2 : 1, rare classes raised", first.recipe.make, tasks=("dense",)
    )
    made = Contender(recipe, seconds=first.seconds + second.seconds)
    for fold in compared.folds:
        shift = _shift(base, fold)
        asked = [base.samples[n] for n in fold]
        answers = [_mixed(first.answers[n], second.answers[n], shift) for n in fold]
        made.answers.update(zip(fold, answers, strict=True))
        made.scores.append(scores_of(asked, answers, len(shift)))
    ranked = sorted((made, *compared.contenders), key=lambda c: -c.value)
    found = dataclasses.replace(compared, contenders=tuple(ranked))
    if wanted or found.is_noise(made):
        ranked.remove(made)
        ranked.insert(0, made)
    return dataclasses.replace(compared, contenders=tuple(ranked))


def blended(
    first: Sequence[tuple[FittedModel, Sequence[int]]],
    second: Sequence[FittedModel],
    base: SelectionBase,
) -> list[FittedModel]:
    """Return the networks of a blend, which can be joined.

    Args:
        first: networks of the first recipe, each with the samples that it was not trained on.
        second: networks of the second recipe, trained on all samples.
        base: the samples.
    """
    shape = first[0][0].model
    pairs = [*first, *((fitted, ()) for fitted in second)]
    return [_raised(fitted, shape, _shift(base, held)) for fitted, held in pairs]


def _shift(base: SelectionBase, fold: Sequence[int]) -> FloatArray:
    """Return the numbers (K,) that are added to the logits of models that were not trained on a
    fold; 0, the lowest, for a class that they never saw."""
    held = set(fold)
    learned: list[Sample] = [s for n, s in enumerate(base.samples) if n not in held]
    head = base.model.config.head
    counts = class_counts(learned, len(head.dense_labels)).astype(np.float64)
    shares = np.where(counts > 0, counts / max(counts.sum(), 1.0), 1.0)
    shift: FloatArray = (-_RAISED * np.log(shares)).astype(np.float32)
    return shift


def _mixed(first: FloatArray, second: FloatArray, shift: FloatArray) -> FloatArray:
    """Return the mean of two models as log-probabilities (T, K), with rare classes raised."""
    parts = [torch.from_numpy(part + shift).log_softmax(-1).exp() for part in (first, second)]
    made: FloatArray = (_SHARE * parts[0] + (1 - _SHARE) * parts[1]).clamp(min=1e-12).log().numpy()
    return made


def _raised(fitted: FittedModel, shape: VTN, shift: FloatArray) -> FittedModel:
    """Return a copy of a network in the shape of another one, with shifted logits."""
    model = widened(fitted.model, shape)
    assert isinstance(model.dense_head, TcnHead)
    model.dense_head.shift_logits(torch.from_numpy(shift))
    return dataclasses.replace(fitted, model=model)


def widened(model: VTN, shape: VTN) -> VTN:
    """Return a copy of a model in the shape of another one with as many layers and stages. Its
    outputs are the same: weights of inputs and of attention that it does not have are 0.

    Args:
        model: a model with ``token_inputs = "feature"`` or those of ``shape``.
        shape: the other model, with the same backbone.
    """
    wide = require_vtn(build_model(shape.config, shape.backbone), "a blend of recipes")
    state, target = model.state_dict(), wide.state_dict()
    for name, tensor in target.items():
        if name not in state:
            state[name] = torch.zeros_like(tensor)
        elif state[name].shape != tensor.shape:  # features come first among the token inputs
            filled = torch.zeros_like(tensor)
            filled[:, : state[name].shape[1]] = state[name]
            state[name] = filled
    wide.load_state_dict(state)
    return wide.to(shape.cls_token.device).eval()
