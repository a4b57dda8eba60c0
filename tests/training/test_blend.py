"""A blend of two recipes is chosen and joined as it was compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from vtnstream.config import TrainConfig
from vtnstream.training.selection.blend import widened, with_blend
from vtnstream.training.selection.cross_validation import Comparison, Contender, scores_of
from vtnstream.training.selection.fitting import SelectionBase
from vtnstream.training.selection.recipes import RECIPES

from .cases import dense_sample, features, model


def test_a_widened_network_gives_the_same_answers() -> None:
    about = {"kind": "tcn", "positions": "none", "num_layers": 3, "num_stages": 2, "dropout": 0.0}
    narrow = model(dense=True, num_heads=1, **about)
    wide = model(
        dense=True,
        seed=1,
        num_heads=2,
        local_attention=True,
        token_inputs="feature+difference",
        **about,
    )
    for one in (narrow, wide):
        one.config = replace(one.config, head=replace(one.config.head, labels=()))
        one.mlp_head = None
        one.eval()
    inputs = torch.from_numpy(features(30, 3).values)[None]
    with torch.inference_mode():
        before = narrow.forward_features(inputs).dense_logits
        after = widened(narrow, wide).forward_features(inputs).dense_logits
    assert before is not None and after is not None
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize(("wrong", "first"), [((0, 0, 1, 0), "blend"), ((5, 4, 5, 4), "probe")])
def test_a_blend_is_preferred_within_noise(wrong: tuple[int, ...], first: str) -> None:
    """``probe`` is right, the others are wrong in the first tokens of each fold."""
    samples = [dense_sample(8, number) for number in range(4)]
    base = SelectionBase(model(dense=True), TrainConfig(), samples, 2.0)
    folds = tuple((number,) for number in range(4))
    contenders = []
    for recipe in (each for each in RECIPES if "dense" in each.tasks and each.competes):
        made = Contender(recipe)
        for number, sample in enumerate(samples):
            assert sample.targets is not None
            said = sample.targets.copy()
            if recipe.name != "probe":
                said[: wrong[number]] = 1 - said[: wrong[number]]
            made.answers[number] = np.log(np.where(said[:, None] == [0, 1], 0.99, 0.01))
            made.scores.append(scores_of([sample], [made.answers[number]], 2))
        contenders.append(made)
    ranked = tuple(sorted(contenders, key=lambda each: -each.value))
    compared = Comparison(ranked, folds, 4, 50.0, 50.0)
    assert compared.best.recipe.name == "probe"
    assert with_blend(compared, base, wanted=False).best.recipe.name == first
    assert with_blend(compared, base, wanted=True).best.recipe.name == "blend"
