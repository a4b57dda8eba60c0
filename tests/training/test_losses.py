"""Losses are compared with their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training.cases import class_sample, collate, dense_sample
from vtnstream.models.vtn.model import VTNOutput
from vtnstream.training.data.batches import Crop
from vtnstream.training.data.mixing import mixup
from vtnstream.training.losses import balanced_weights, head_loss


def test_dense_loss_ignores_padding() -> None:
    samples = [dense_sample(3, 0), dense_sample(6, 1)]
    batch = collate([Crop(s, 0, len(s)) for s in samples])
    logits = torch.randn(2, 6, 2, generator=torch.Generator().manual_seed(0))
    loss = head_loss(VTNOutput(None, logits), batch)
    log_probabilities = logits.log_softmax(-1)
    terms = [
        -log_probabilities[row, t, int(sample.targets[t])]
        for row, sample in enumerate(samples)
        for t in range(len(sample))
    ]
    torch.testing.assert_close(loss, torch.stack(terms).mean())


def test_class_weights_and_smoothing_equal_their_formula() -> None:
    batch = collate([Crop(class_sample(label, 4, n), 0, 4) for n, label in enumerate((0, 1, 1))])
    logits = torch.tensor([[1.0, 0.0], [0.5, 2.0], [0.0, 0.0]])
    logp = logits.log_softmax(-1)
    plain = head_loss(VTNOutput(logits, None), batch)
    torch.testing.assert_close(plain, -(logp[0, 0] + logp[1, 1] + logp[2, 1]) / 3)
    weighted = head_loss(VTNOutput(logits, None), batch, class_weights=torch.tensor([3.0, 1.0]))
    torch.testing.assert_close(weighted, -(3 * logp[0, 0] + logp[1, 1] + logp[2, 1]) / 5)
    smooth = head_loss(VTNOutput(logits, None), batch, label_smoothing=0.2)
    torch.testing.assert_close(smooth, 0.8 * plain + 0.2 * -logp.mean())


def test_balanced_weights_equalise_classes() -> None:
    weights = balanced_weights(np.array([90, 10, 0]))
    assert weights[0] * 90 == pytest.approx(float(weights[1] * 10))
    assert float(weights[0] * 90 + weights[1] * 10) == pytest.approx(100)
    assert weights[2] == 0


def test_mixup_mixes_features_labels_and_masks_consistently() -> None:
    crops = [Crop(s, 0, len(s)) for s in (class_sample(0, 4, 0), class_sample(1, 7, 1))]
    batch = collate(crops)
    generator = np.random.default_rng(3)
    swapped = False
    for _ in range(20):
        mixed, soft = mixup(batch, 2, 0.4, generator)
        torch.testing.assert_close(soft.sum(1), torch.ones(2))
        share = float(soft[0, 0])
        if soft[0, 1] > 0:
            swapped = True
            expected = share * batch.inputs[0] + (1 - share) * batch.inputs[1]
            torch.testing.assert_close(mixed.inputs[0], expected)
            assert mixed.padding_mask.all()
            assert mixed.indices[0].tolist() == list(range(7))
    assert swapped
