"""Top-1 accuracy on the batches of training."""

from __future__ import annotations

import pytest
import torch

from vtnstream.models.vtn.model import VTNOutput
from vtnstream.training.accelerator import Engine
from vtnstream.training.data.batches import Batch
from vtnstream.training.data.targets import IGNORE
from vtnstream.training.training_accuracy import TrainingAccuracy

CPU = torch.device("cpu")
LABELS = torch.tensor([0, 1, 1])
TARGETS = torch.tensor([[0, 1], [1, IGNORE], [0, IGNORE]])
OUTPUT = VTNOutput(
    torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]]),  # right, right, wrong
    torch.tensor([[[2.0, 0.0], [2.0, 0.0]], [[0.0, 1.0], [9.0, 0.0]], [[0.0, 1.0], [0.0, 9.0]]]),
)


def batch(labels: torch.Tensor | None, targets: torch.Tensor | None) -> Batch:
    count = 2 if targets is None else targets.shape[1]
    return Batch(
        inputs=torch.zeros(3, count, 4),
        padding_mask=torch.ones(3, count, dtype=torch.bool),
        indices=torch.zeros(3, count, dtype=torch.int64),
        labels=labels,
        targets=targets,
    )


@pytest.mark.parametrize(
    ("labels", "targets", "metrics"),
    [
        (LABELS, None, {"accuracy": 200 / 3}),
        (None, TARGETS, {"accuracy": 50.0}),  # right, wrong, right, wrong of the labelled tokens
        (LABELS, TARGETS, {"accuracy": 50.0, "class_accuracy": 200 / 3}),
    ],
)
def test_each_head_is_counted(
    labels: torch.Tensor | None, targets: torch.Tensor | None, metrics: dict[str, float]
) -> None:
    found = TrainingAccuracy(CPU)
    assert found.metrics(Engine()) == {}
    for _ in range(2):
        found.add(OUTPUT, batch(labels, targets), None)
    assert found.metrics(Engine()) == pytest.approx(metrics)
    other = TrainingAccuracy(CPU)
    other.load(found.state())
    assert other.metrics(Engine()) == found.metrics(Engine())
    other.load([])
    assert other.metrics(Engine()) == {}


def test_a_mixed_sample_has_the_label_of_its_larger_share() -> None:
    soft = torch.tensor([[0.7, 0.3], [0.6, 0.4], [0.4, 0.6]])
    found = TrainingAccuracy(CPU)
    found.add(OUTPUT, batch(LABELS, None), soft)
    assert found.metrics(Engine())["accuracy"] == pytest.approx(100 / 3)
