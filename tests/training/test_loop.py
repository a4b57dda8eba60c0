"""The training loop learns, is deterministic, and stops when it should."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from tests.training.cases import class_sample, dense_sample, features, model, settings, video
from vtnstream.config import OptimConfig
from vtnstream.errors import TrainingError
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.training.data.targets import Sample
from vtnstream.training.loop import fit
from vtnstream.training.optim import learning_rate, parameter_groups, trained_state
from vtnstream.training.records import Fit
from vtnstream.training.validation import validate

CLASSES = [class_sample(n % 2, 6 + n % 5, n) for n in range(64)]
HELD_OUT = [class_sample(n % 2, 6 + n % 5, 100 + n) for n in range(32)]
DENSE = [dense_sample(12 + n % 4, n) for n in range(32)]


def losses(fitted: Fit) -> list[float]:
    return [record.loss for record in fitted.records]


def test_a_class_determined_by_one_token_is_learned() -> None:
    vtn = model()
    assert validate(vtn, HELD_OUT, settings())["accuracy"] < 75
    fitted = fit(vtn, CLASSES, HELD_OUT, settings(epochs=20))
    assert fitted.best is not None
    assert fitted.best.validation["accuracy"] >= 90


def test_dense_targets_are_learned_and_validated() -> None:
    vtn = model(dense=True)
    fitted = fit(vtn, DENSE[:24], DENSE[24:], settings(epochs=15))
    assert fitted.best is not None
    assert fitted.best.validation["accuracy"] >= 90
    assert {"loss", "edit", "f1@10", "f1@25", "f1@50"} <= set(fitted.best.validation)


def test_losses_depend_on_the_seed() -> None:
    config = settings(epochs=3, mixup=0.3, data={"max_tokens": 7})

    def run(seed: int) -> list[float]:
        vtn = model(dropout=0.2, attention_dropout=0.1)
        torch.randn(seed + 5)  # the global generator's state must not matter
        return losses(fit(vtn, CLASSES, HELD_OUT[:4], replace(config, seed=seed)))

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_the_global_random_state_is_not_changed() -> None:
    vtn = model()
    torch.manual_seed(7)
    expected = torch.randn(3)
    torch.manual_seed(7)
    fit(vtn, CLASSES[:8], [], settings(epochs=1))
    assert torch.equal(torch.randn(3), expected)


def test_the_frozen_backbone_is_not_changed() -> None:
    vtn = model()
    before = {n: p.clone() for n, p in vtn.state_dict().items()}
    fit(vtn, CLASSES[:16], [], settings(epochs=2))
    after = vtn.state_dict()
    assert all(torch.equal(before[n], after[n]) for n in before if n.startswith("backbone."))
    assert not torch.equal(before["cls_token"], after["cls_token"])
    assert not any(name.startswith("backbone.") for name in trained_state(vtn))


def test_best_is_the_epoch_with_the_highest_accuracy() -> None:
    fitted = fit(model(), CLASSES, HELD_OUT, settings(epochs=8))
    scores = [(r.validation["accuracy"], -r.validation["loss"]) for r in fitted.records]
    assert fitted.best is not None
    assert fitted.best.epoch == 1 + max(range(8), key=scores.__getitem__)
    vtn = model()
    vtn.load_state_dict(fitted.best_state, strict=False)
    assert validate(vtn, HELD_OUT, settings()) == fitted.best.validation


def test_without_validation_the_last_epoch_is_kept() -> None:
    vtn = model()
    fitted = fit(vtn, CLASSES[:16], [], settings(epochs=3))
    assert fitted.best is fitted.records[-1]
    assert torch.equal(fitted.best_state["cls_token"], vtn.state_dict()["cls_token"])


def test_training_stops_when_patience_is_exhausted() -> None:
    frozen = settings(epochs=30, learning_rate=1e-12, patience=4)
    fitted = fit(model(), CLASSES[:8], HELD_OUT[:8], frozen)
    assert fitted.stopped_early
    assert fitted.best is not None
    assert len(fitted.records) == fitted.best.epoch + 4 < 30


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    broken = features(8)
    broken.values[3, 2] = math.nan
    sample = Sample(video(), broken, 0, 8, 1)
    with pytest.raises(TrainingError, match=r"loss is nan in epoch 1 .*learning_rate"):
        fit(model(), [sample], [], settings(epochs=2))


@pytest.mark.parametrize("dense", [False, True])
def test_outputs_that_are_not_numbers_are_an_error(dense: bool) -> None:
    held = [dense_sample(8, 0) if dense else CLASSES[0]]
    vtn = model(dense=dense)
    last = vtn.dense_head if dense else vtn.mlp_head[-1]
    last.bias.data.fill_(math.nan)  # as after an overflow
    with pytest.raises(TrainingError, match="of held-out videos are not finite: lower"):
        validate(vtn, held, settings())


def test_learning_rate_rises_then_falls() -> None:
    for schedule in ("onecycle", "cosine", "constant"):
        config = settings(schedule=schedule, warmup=0.25, learning_rate=1.0)
        rates = [learning_rate(step / 100, config) for step in range(100)]
        top = rates.index(max(rates))
        assert top == 25 and rates[top] == pytest.approx(1.0)
        assert rates[:26] == sorted(rates[:26])
        assert rates[0] == pytest.approx(1 / 25 if schedule == "onecycle" else 0.0)
        if schedule == "constant":
            assert set(rates[25:]) == {1.0}
        else:
            assert rates[25:] == sorted(rates[25:], reverse=True)
            assert rates[-1] < 0.01
    assert learning_rate(0.0, settings(warmup=0.0, learning_rate=1.0)) == pytest.approx(1.0)


def test_weight_decay_applies_to_matrices_only() -> None:
    vtn = model(dense=True, positions="learned")
    decayed, rest = (group["params"] for group in parameter_groups(vtn, OptimConfig()))
    names = {id(p): n for n, p in vtn.named_parameters()}
    assert "dense_head.weight" in {names[id(p)] for p in decayed}
    plain = {names[id(p)] for p in rest}
    assert {"cls_token", "temporal_encoder.embeddings.position_embeddings.weight"} <= plain
    assert len(decayed) + len(rest) == sum(1 for p in vtn.parameters() if p.requires_grad)


def test_class_weights_and_clips_are_trained() -> None:
    config = settings(epochs=12, class_weights="balanced", data={"clip_tokens": 5})
    uneven = [s for s in CLASSES if s.label] + [s for s in CLASSES if not s.label][:4]
    vtn = model(window_positions="clip")
    fitted = fit(vtn, uneven, HELD_OUT, config)
    assert all(math.isfinite(loss) for loss in losses(fitted))


def test_validation_in_clips_scores_each_token_once() -> None:
    vtn = model(dense=True, attention_window=(64,))
    samples = [dense_sample(23, 1), dense_sample(9, 2)]
    clips = validate(vtn, samples, settings(data={"clip_tokens": 10}))
    right = count = 0
    for sample in samples:
        for start in range(0, len(sample), 10):
            part = range(start, min(start + 10, len(sample)))
            piece = type(sample.features)(
                sample.features.values[part.start : part.stop],
                sample.features.times[part.start : part.stop],
            )
            dense = encode_sequence(vtn.eval(), piece).dense_logits
            assert dense is not None and sample.targets is not None
            right += int((dense.argmax(1) == sample.targets[part.start : part.stop]).sum())
            count += len(part)
    assert clips["accuracy"] == pytest.approx(100 * right / count)
