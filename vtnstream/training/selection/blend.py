"""Networks of two recipes as one model: they err in different moments, so that the mean of their
probabilities is better than either. Rare classes are raised, because learning on few videos
answers them too seldom."""

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
from vtnstream.training.selection.fitting import FittedModel, SearchBase
from vtnstream.training.selection.recipes import BLEND, BLENDED, Recipe
from vtnstream.types import FloatArray

_SHARE = 2 / 3
"""Of the first recipe in the mean of the probabilities."""

_RAISED = 0.3
"""Power of its frequency that a class's score is divided by."""


def with_blend(compared: Comparison, base: SearchBase, *, wanted: bool) -> Comparison:
    """Add the blend of two recipes to a comparison of both. It costs no fit, because the answers
    on the held-out folds are there already.

    Args:
        compared: with both recipes; without one of them it is returned as it is.
        base: whose samples were compared on.
        wanted: the blend was asked for by name, and comes first whatever its score.
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
    ranked = sorted(
        (made, *compared.contenders), key=lambda c: (not (wanted and c is made), -c.value)
    )
    return dataclasses.replace(compared, contenders=tuple(ranked))


def blended_networks(compared: Comparison, base: SearchBase) -> list[FittedModel]:
    """The networks of a blend, ready to be joined: all of the first recipe and every other fold's
    of the second."""
    rows = {row.recipe.name: row for row in compared.contenders}
    first, second = (rows[name] for name in BLENDED)
    shape = first.models[0].model
    pairs = [*zip(first.models, compared.folds, strict=True)]
    pairs += [*zip(second.models, compared.folds, strict=True)][1::2]
    return [
        dataclasses.replace(fitted, model=_raised(widened(fitted.model, shape), _shift(base, fold)))
        for fitted, fold in pairs
    ]


def _shift(base: SearchBase, fold: Sequence[int]) -> FloatArray:
    """(K,) what is added to the logits of models that did not see a fold; 0 for a class that they
    never saw, which is the lowest."""
    held = set(fold)
    learned: list[Sample] = [s for n, s in enumerate(base.samples) if n not in held]
    head = base.model.config.head
    counts = class_counts(learned, len(head.dense_labels)).astype(np.float64)
    shares = np.where(counts > 0, counts / max(counts.sum(), 1.0), 1.0)
    shift: FloatArray = (-_RAISED * np.log(shares)).astype(np.float32)
    return shift


def _mixed(first: FloatArray, second: FloatArray, shift: FloatArray) -> FloatArray:
    """Log-probabilities (T, K) of two models, raised and averaged."""
    parts = [torch.from_numpy(part + shift).log_softmax(-1).exp() for part in (first, second)]
    made: FloatArray = (_SHARE * parts[0] + (1 - _SHARE) * parts[1]).clamp(min=1e-12).log().numpy()
    return made


def _raised(model: VTN, shift: FloatArray) -> VTN:
    """The model itself, with its last logits shifted."""
    assert isinstance(model.dense_head, TcnHead)
    model.dense_head.shift_logits(torch.from_numpy(shift))
    return model


def widened(model: VTN, shape: VTN) -> VTN:
    """A copy with the encoder of another model of as many layers and stages, and the same outputs:
    weights of inputs that it does not take, and of attention that it does not have, are 0.

    Args:
        model: with ``token_inputs = "feature"`` or those of ``shape``.
        shape: the other model, around the same backbone.
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
