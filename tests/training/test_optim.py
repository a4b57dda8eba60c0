"""Optimizers, schedules, parameter groups and weight averages, and their use in the loop."""

from __future__ import annotations

import math

import pytest
import torch

from tests.training.cases import (
    class_sample,
    collate,
    dense_sample,
    features,
    model,
    settings,
    video,
)
from vtnstream.config import BackboneConfig, OptimConfig
from vtnstream.errors import ConfigError, ModelError, TrainingError
from vtnstream.models.backbone import create_backbone, layer_depths
from vtnstream.models.vtn.model import VTNOutput
from vtnstream.training.accelerator import Engine
from vtnstream.training.data.batches import Crop
from vtnstream.training.data.targets import Sample
from vtnstream.training.loop import Trainer, fit
from vtnstream.training.losses import head_loss, smoothing_loss
from vtnstream.training.optim import (
    WeightAverage,
    build_optimizer,
    learning_rate,
    parameter_groups,
)
from vtnstream.training.validation import validate

CLASSES = [class_sample(n % 2, 6 + n % 5, n) for n in range(24)]


def test_step_schedule_equals_that_of_the_paper() -> None:
    """SGD 1e-3, [0, 13, 24] x [1, .1, .01], 25 epochs (training of the VTN paper)."""
    config = settings(schedule="step", warmup=0.0, learning_rate=1e-3, epochs=25)
    at = {epoch: learning_rate(epoch / 25, config) for epoch in range(25)}
    for epoch, rate in at.items():
        wanted = 1e-3 if epoch < 13 else 1e-4 if epoch < 24 else 1e-5
        assert rate == pytest.approx(wanted), epoch
    assert learning_rate(12.999 / 25, config) == pytest.approx(1e-3)


def test_sgd_equals_that_of_torch() -> None:
    vtn = model()
    optim = OptimConfig(optimizer="sgd", momentum=0.8, weight_decay=1e-4, decayed="all")
    optimizer = build_optimizer(vtn, optim)
    assert isinstance(optimizer, torch.optim.SGD)
    (group,) = optimizer.param_groups
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.8, True, 1e-4)
    assert len(group["params"]) == sum(1 for _ in vtn.parameters())


def test_weight_decay_of_all_excludes_batch_norms() -> None:
    vtn = model()
    vtn.backbone = create_backbone(BackboneConfig("resnet10t"))
    groups = parameter_groups(vtn, OptimConfig(decayed="all", weight_decay=0.1))
    spared = [p for g in groups if not g["weight_decay"] for p in g["params"]]  # type: ignore[union-attr]
    norms = [m for m in vtn.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {id(p) for p in spared} == {id(p) for m in norms for p in m.parameters()}


def test_layers_near_the_input_have_lower_learning_rates() -> None:
    vtn = model()
    optim = OptimConfig(layer_decay=0.5, backbone_factor=0.1)
    factors = {}
    names = {id(p): n for n, p in vtn.named_parameters()}
    for group in parameter_groups(vtn, optim):
        for parameter in group["params"]:  # type: ignore[union-attr]
            factors[names[id(parameter)]] = group["factor"]
    depths = layer_depths(vtn.backbone)
    last = max(depths.values())
    assert factors["backbone.pos_embed"] == pytest.approx(0.1 * 0.5 ** (last + 1))
    assert factors["backbone.norm.weight"] == pytest.approx(0.1 * 0.5)
    assert factors["backbone.blocks.0.mlp.fc1.weight"] < factors["backbone.blocks.1.mlp.fc1.weight"]
    assert factors["cls_token"] == 1.0


def test_learning_rate_factors_reach_the_optimizer() -> None:
    vtn = model()
    config = settings(epochs=1, backbone_factor=0.5, mode="end-to-end")
    trainer = Trainer(vtn, CLASSES, config, Engine(), print)
    seen: list[float] = []
    trainer.optimizer.step = lambda: seen.extend(g["lr"] for g in trainer.optimizer.param_groups)  # type: ignore[method-assign]
    crops = [Crop(sample, 0, len(sample)) for sample in CLASSES[:2]]
    trainer.step(collate(crops, vtn.token_inputs), 0.01)
    assert set(seen) == {0.01, 0.005}


def test_averaged_weights_are_validated_and_kept() -> None:
    config = settings(epochs=4, average=0.95)
    averaged, plain = model(), model()
    result = fit(averaged, CLASSES[:16], CLASSES[16:], config)
    fit(plain, CLASSES[:16], [], settings(epochs=4))
    assert not torch.equal(averaged.cls_token, plain.cls_token)
    assert validate(averaged, CLASSES[16:], config) == result.records[-1].validation


def test_the_average_equals_its_formula() -> None:
    vtn = model()
    average = WeightAverage(vtn, 0.9)
    expected = vtn.cls_token.detach().clone()
    for step in range(1, 200):
        with torch.no_grad():
            vtn.cls_token += 0.1
        average.update()
        decay = min(0.9, step / (step + 9))
        expected = decay * expected + (1 - decay) * vtn.cls_token.detach()
    torch.testing.assert_close(average.state["cls_token"], expected)
    own = vtn.cls_token.detach().clone()
    with average.applied():
        torch.testing.assert_close(vtn.cls_token.detach(), expected)
    torch.testing.assert_close(vtn.cls_token.detach(), own)


def test_gradient_checkpointing_gives_equal_losses() -> None:
    def losses(on: bool, **temporal: object) -> list[float]:
        vtn = model(dense=True, dropout=0.2, attention_dropout=0.1, **temporal)
        vtn.temporal_encoder.grad_checkpointing = on
        samples = [dense_sample(12, n) for n in range(8)]
        return [record.loss for record in fit(vtn, samples, [], settings(epochs=2)).records]

    assert losses(True) == pytest.approx(losses(False), rel=1e-5)


def test_a_step_with_a_nan_loss_may_be_skipped() -> None:
    broken = features(8)
    broken.values[3, 2] = math.nan
    bad = Sample(video(), broken, 0, 8, 1)
    told: list[str] = []
    config = settings(epochs=2, on_bad_loss="skip", batch_size=1)
    vtn = model()
    result = fit(vtn, [*CLASSES[:6], bad], [], config, warn=told.append)
    assert len(told) == 2 and "the step is left out" in told[0]
    assert result.records[-1].steps == 12
    assert all(torch.isfinite(p).all() for p in vtn.parameters())
    with pytest.raises(TrainingError, match=r"20\. time in a row|no step of epoch"):
        fit(model(), [bad], [], settings(epochs=30, on_bad_loss="skip"), warn=told.append)


def test_the_steadiness_loss_equals_its_formula() -> None:
    logits = torch.randn(2, 5, 3)
    seen = torch.ones(2, 4, dtype=torch.bool)
    seen[1, 2:] = False
    log = logits.log_softmax(-1)
    steps = [
        min(4.0, abs(float(log[b, t + 1, k] - log[b, t, k]))) ** 2
        for b in range(2)
        for t in range(4)
        for k in range(3)
        if seen[b, t]
    ]
    assert float(smoothing_loss(logits, seen)) == pytest.approx(sum(steps) / len(steps))
    samples = [dense_sample(3, 0), dense_sample(5, 1)]
    batch = collate([Crop(s, 0, len(s)) for s in samples])
    two = torch.randn(2, 5, 2)
    plain = head_loss(VTNOutput(None, two), batch)
    both = head_loss(VTNOutput(None, two), batch, temporal_smoothing=0.15)
    real = torch.tensor([[True, True, False, False], [True] * 4])
    assert float(both - plain) == pytest.approx(0.15 * float(smoothing_loss(two, real)), rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"optimizer": "adam"}, "adamw"),
        ({"optimizer": "sgd", "momentum": 0.0}, "nesterov"),
        ({"step_epochs": (0, 5)}, "one for each"),
        ({"step_epochs": (1, 5, 6)}, "begin at 0"),
        ({"step_epochs": (0, 6, 5)}, "increase"),
        ({"average": 1.0}, "share"),
        ({"grad_clip": -1.0}, "negative"),
        ({"layer_decay": 0.0}, "positive"),
        ({"on_bad_loss": "ignore"}, "skip"),
    ],
)
def test_invalid_settings_are_refused(changes: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        OptimConfig(**changes)  # type: ignore[arg-type]


def test_layer_decay_of_unknown_layers_is_an_error() -> None:
    inner = create_backbone(BackboneConfig("resnet10t", out_index=2, grid=(2, 2), projection=8))
    with pytest.raises(ModelError, match="layer_decay"):
        layer_depths(inner)
